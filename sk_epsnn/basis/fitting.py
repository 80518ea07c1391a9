"""Choose the coordinates of the inputs from rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import gen_batches

from sk_epsnn._arrays import Array, astype, converted, largest, like, smallest, to_numpy
from sk_epsnn._sklearn import one_blas_thread
from sk_epsnn._sparse_rows import canonical, occurring_columns
from sk_epsnn.basis.input_basis import InputBasis
from sk_epsnn.basis.scales import column_scales
from sk_epsnn.basis.span import SpanBasis

#: Squared offset, in units of the total variance, above which inputs are centred if that was left open.
OFFSET_LIMIT = 10.0
_CHUNK = 4096
#: Entries of an axis below this share of the largest are rounding.
_NOTHING = 1e-18
#: A variance below this share of the mean square may be the rounding of a constant.
_DUST = 1e-12
#: Rows have no extent along axes of less than this share of the largest mean square.
_LEAST_MOMENT = 1e-10
#: Sparse rows stay sparse where they have at least so many columns, and at most this share of them is not 0.
LEAST_SPARSE_COLUMNS, MOST_DENSITY = 1024, 0.02
#: The first columns always have axes of their own: formulas for few inputs are for models of few columns.
_LEAST_AXES = 64
#: A mean this many sizes of its column beyond the usual value is that of a few wild cells; so is a variance of this
#: many squares of the size.
_MOST_SHIFT, _MOST_MOMENT = 2.0, 4.0


def fit_basis(
    X: Array | sparse.csr_array,
    sample_weight: Array,
    *,
    rotate: bool,
    center: bool | None,
    constant: bool,
    scaling: str = "all",
    spikes: bool = False,
    keep_sparse: bool = False,
    span: bool = False,
) -> InputBasis:
    """Choose the basis from data.

    Parameters
    ----------
    X : array or CSR array of shape (n_samples, n_features)
    sample_weight : array of shape (n_samples,)
        Of NumPy, as is the basis; sums over the rows are taken where ``X`` is.
    rotate : bool
        Turn to the principal axes.
    center : bool or None
        Subtract the mean first; None does so only for inputs whose offset outweighs their spread (for each column apart
        where each is scaled by its own size and nothing is turned). Otherwise, with
        ``constant``, the constant takes part in the rotation, which leaves an isotropic prior on weights and bias
        exactly as it was. With None the constant is of the size of the inputs, so that their unit does not matter.
    constant : bool
        Whether potentials have a bias.
    scaling : {"all", "each", "none"}, default="all"
        Divide all columns by the root mean square of the inputs, or each by its own size (`column_scales`), or leave
        them as they are, which weights on fixed levels need.
    spikes : bool, default=False
        Whether every entry is 0 or 1: such inputs stay as they are, and the sums are exact in their own dtype.
    keep_sparse : bool, default=False
        Let sparse rows of many columns stay sparse, with axes for the columns that occur. That is for weights whose
        prior has the same variance, and the mean 0, in columns that do not.
    span : bool, default=False
        Where rows are turned, and there are fewer of them than columns, let there be axes in the span of the rows only,
        and one for all other directions (`SpanBasis`). Not where the constant takes part in the rotation.
    """
    X = canonical(X) if sparse.issparse(X) else X
    average, square = _column_moments(X, sample_weight, spikes)
    usual = None if spikes or scaling != "each" else column_scales(X, sample_weight)
    size = np.ones(X.shape[1]) if usual is None else usual.size
    follows = center is None
    if center is None:
        offset = ((average / size) ** 2).sum()
        center = bool(offset > OFFSET_LIMIT * ((square / size**2).sum() - offset))
    mean = average if center else np.zeros(X.shape[1])
    if usual is not None:
        near = np.clip(average, usual.usual - _MOST_SHIFT * size, usual.usual + _MOST_SHIFT * size)
        each = follows and not rotate and constant
        mean = np.where(np.abs(usual.usual) > size, near, 0.0) if each else near if center else mean
    variance = np.maximum(square - 2 * average * mean + mean * mean, 0)
    if usual is None:
        size = np.full(X.shape[1], 1.0 if spikes else _power_of_two(float(np.sqrt(variance.mean()))))
    scale = np.ones(X.shape[1]) if scaling == "none" else size
    tame = variance / scale**2
    if usual is not None:
        tame = np.minimum(tame, _MOST_MOMENT + ((usual.usual - mean) / size) ** 2)
    if not rotate:
        moment, varies = _never_zero(tame, sample_weight.sum())
        basis = InputBasis(None, -mean / scale, scale, constant, moment, (average - mean) / scale, varies)
        return _of_occurring_columns(basis, X) if keep_sparse and stays_sparse(X) else basis
    joint = constant and not center
    if span and not joint and X.shape[0] < X.shape[1]:
        total = np.inf if usual is None else tame.sum()
        return _span(X, sample_weight, mean, scale, average, constant, total)
    gram = _second_moment(X, sample_weight, mean, scale, spikes)
    if joint:
        unit = float(((size if follows or usual is not None else 1.0) / scale)[0])
        column = unit * (average / scale)[:, None]
        gram = np.block([[gram, column], [column.T, np.full((1, 1), unit * unit)]])
    moment, vectors = _principal_axes(gram)
    if usual is not None:
        # No axis is longer than all columns together, but for wild cells.
        moment = np.minimum(moment, tame.sum() + (unit * unit if joint else 0.0))
    moment, varies = _never_zero(moment, sample_weight.sum())
    if joint:
        axes, offset = vectors[:-1] / scale[:, None], unit * vectors[-1]
        return InputBasis(axes, offset, scale, False, moment, average @ axes + offset, varies)
    axes = vectors / scale[:, None]
    return InputBasis(axes, -mean @ axes, scale, constant, moment, (average - mean) @ axes, varies)


def _span(
    X: Array | sparse.csr_array,
    sample_weight: Array,
    mean: Array,
    scale: Array,
    average: Array,
    constant: bool,
    total: float,
) -> InputBasis:
    """Principal axes of few rows, worked out from the products of the rows with each other."""
    dense = X.toarray() if sparse.issparse(X) else to_numpy(X)
    mass = sample_weight.sum(dtype=np.float64)
    rows = (dense - mean) / scale * np.sqrt(sample_weight / mass)[:, None]
    moment, vectors = _principal_axes(rows @ rows.T)
    moment, vectors = (part[..., moment > _LEAST_MOMENT * moment[0]] for part in (moment, vectors))
    axes = _with_signs(np.linalg.qr(rows.T @ vectors)[0])
    n_axes = axes.shape[1]
    # Those that the rows do not use share the last axis.
    every = np.append(np.minimum(moment, total), np.zeros(X.shape[1] - n_axes))
    moment, varies = (part[: n_axes + 1] for part in _never_zero(every, mass))
    axes = axes / scale[:, None]
    offset, centre = np.append(-mean @ axes, 0.0), np.append((average - mean) @ axes, 0.0)
    n_others = X.shape[1] - n_axes
    return SpanBasis(axes, offset, scale, constant, moment, centre, varies, None, n_others, mean)


def _principal_axes(gram: Array) -> tuple[Array, Array]:
    """Eigenvalues, the largest first, and eigenvectors of a symmetric matrix without negative ones."""
    # Thousands of small products, after each of which threads would wait for each other.
    with one_blas_thread():
        moment, vectors = np.linalg.eigh(gram)
    moment, vectors = np.maximum(moment[::-1], 0), vectors[:, ::-1].copy()
    # What is nothing but rounding would be slow: numbers too small for a full set of digits are.
    vectors[np.abs(vectors) < _NOTHING * np.abs(vectors).max()] = 0.0
    return moment, _with_signs(vectors)


def _with_signs(vectors: Array) -> Array:
    """Columns with fixed signs: a basis must not depend on the order of operations inside an eigensolver."""
    largest = np.abs(vectors).argmax(0)
    return vectors * np.sign(vectors[largest, np.arange(vectors.shape[1])])


def stays_sparse(X: Array | sparse.csr_array) -> bool:
    """Whether products of rows are faster, and smaller, where they stay sparse."""
    wide = sparse.issparse(X) and X.shape[1] >= LEAST_SPARSE_COLUMNS
    return wide and X.nnz <= MOST_DENSITY * X.shape[0] * X.shape[1]


def _of_occurring_columns(basis: InputBasis, X: sparse.csr_array) -> InputBasis:
    """The basis with axes of their own for the columns that occur in rows only; it says the same of all columns."""
    columns = np.union1d(np.arange(_LEAST_AXES), occurring_columns(X))
    others = np.setdiff1d(np.arange(X.shape[1]), columns, assume_unique=True)
    # The others are all alike; without any, whatever column stands for them is not used.
    axes = np.append(columns, others[:1] if len(others) else columns[:1])
    few = converted(basis, lambda array: array[axes])
    return replace(few, columns=columns, n_others=len(others))


def _column_moments(X: Array | sparse.csr_array, sample_weight: Array, spikes: bool) -> tuple[Array, Array]:
    """Weighted mean and mean square of every column, in float64; spikes are their own squares."""
    total, square = np.zeros(X.shape[1]), np.zeros(X.shape[1])
    for rows in gen_batches(X.shape[0], _CHUNK):
        chunk, weight = _chunk(X, sample_weight, rows, spikes)
        total += to_numpy(chunk.T @ weight)
        if not spikes:
            square += to_numpy((chunk.multiply(chunk) if sparse.issparse(chunk) else chunk * chunk).T @ weight)
    mass = float(sample_weight.sum(dtype=np.float64))
    average, square = total / mass, (total if spikes else square) / mass
    if not spikes and ((square - average**2 <= _DUST * square) & (square > 0)).any():
        # Of constants both are exact, or rounding would be the only spread that there is.
        low, high = (to_numpy(_extreme(X, which)).astype(np.float64) for which in (smallest, largest))
        average, square = np.where(low == high, (low, low**2), (average, square))
    return average, square


def _extreme(X: Any, which: Callable[..., Array]) -> Array:
    """Smallest or largest entry of every column."""
    if sparse.issparse(X):
        return (X.min if which is smallest else X.max)(axis=0).toarray().ravel()
    return which(X, axis=0)


def _second_moment(X: Array | sparse.csr_array, sample_weight: Array, mean: Array, scale: Array, spikes: bool) -> Array:
    """Weighted second-moment matrix about ``mean`` of columns divided by their scale, in float64."""
    gram = np.zeros((X.shape[1], X.shape[1]))
    shift = like(mean, X)
    for rows in gen_batches(X.shape[0], _CHUNK):
        chunk, weight = _chunk(X, sample_weight, rows, spikes)
        dense = chunk.toarray() if sparse.issparse(chunk) else chunk
        if not spikes and mean.any():
            dense = dense - shift
        gram += to_numpy((dense * weight[:, None]).T @ dense)
    gram /= float(sample_weight.sum(dtype=np.float64))
    gram = gram - np.outer(mean, mean) if spikes else gram
    return gram / np.outer(scale, scale)


def _chunk(X: Any, sample_weight: Array, rows: slice, spikes: bool) -> tuple[Any, Array]:
    """Some rows and weights in the dtype to sum in: sums of a few thousand spikes are exact in any."""
    dtype = X.dtype if spikes else "float64"
    chunk = X[rows, :]
    weight = astype(like(sample_weight[rows], X), dtype)
    return astype(chunk, dtype, copy=False), weight


def _power_of_two(size: float) -> float:
    """Nearest power of two, 1 for zero: dividing by it is exact."""
    return float(2.0 ** np.round(np.log2(size))) if size > 0 else 1.0


def _never_zero(moment: Array, mass: float) -> tuple[Array, NDArray[np.bool_]]:
    """Shrink the spectrum towards its mean by one sample's worth, so that unseen directions keep a small prior.

    Also says which entries were above rounding error before.
    """
    if not moment.any():  # a single row, say: nothing is known of the spread
        return np.ones_like(moment), np.ones(len(moment), dtype=bool)
    average = moment.mean()
    varies = moment > 1e-10 * moment.max()
    return (mass * np.where(varies, moment, 0) + average) / (mass + 1), varies
