"""Weight priors. A conjugate prior enters the posterior once, as natural parameters, and needs no site update.

References
----------
.. [1] D. Yao, S. McLaughlin, Y. Altmann, arXiv:2506.23757, 2025, Section IV-A.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sk_epsnn.numerics import Array
from sk_epsnn.weights import GaussianWeights, IndependentWeights, JointWeights


class WeightPrior:
    """Base class: a prior makes the density q0(W) that a layer starts from."""

    name: str

    def density(self, mean: Array, variance: Array, joint: bool) -> GaussianWeights:
        """q0(W) of one layer, with prior means and variances of shape (n_out, n_in)."""
        raise NotImplementedError


class GaussianPrior(WeightPrior):
    """Independent Gaussian weights; conjugate, so q0(W) is the prior itself."""

    name = "gaussian"

    def density(self, mean: Array, variance: Array, joint: bool) -> GaussianWeights:
        """See `WeightPrior.density`; ``joint`` chooses the family that the posterior will live in."""
        precision = 1 / variance
        if not joint:
            return IndependentWeights(precision, mean)
        matrices: Any = np.zeros((*precision.shape, precision.shape[1]))
        diagonal = np.arange(precision.shape[1])
        matrices[:, diagonal, diagonal] = precision
        return JointWeights(matrices, mean)


PRIORS = {c.name: c for c in (GaussianPrior,)}
