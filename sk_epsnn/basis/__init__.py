"""Coordinates in which the first layer is trained, and the Gaussian prior expressed in them.

With a prior that is isotropic, turning the inputs to their principal axes changes nothing in the model and makes a
posterior of independent weights nearly exact. In those axes a *spectral* prior can give directions of large input
variance larger weights. Both are linear maps of the inputs with a constant 1 appended, so every result can be read
back in the space of the inputs.

Sparse rows of many columns, such as words, stay sparse where nothing is turned, and only the columns that occur get
axes of their own. Nothing is known of the others but the prior: their weights have mean 0 and one variance, so to a
potential they are a single input of their length with a single weight.
"""

from sk_epsnn.basis.fitting import OFFSET_LIMIT, fit_basis, stays_sparse
from sk_epsnn.basis.input_basis import InputBasis
from sk_epsnn.basis.span import SpanBasis

__all__ = ["OFFSET_LIMIT", "InputBasis", "SpanBasis", "fit_basis", "stays_sparse"]
