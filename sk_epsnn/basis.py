"""Coordinates in which the first layer is trained, and the Gaussian prior expressed in them.

With a prior that is isotropic, turning the inputs to their principal axes changes nothing in the model and makes a
posterior of independent weights nearly exact. In those axes a *spectral* prior can give directions of large input
variance larger weights. Both are linear maps of the inputs with a constant 1 appended, so every result can be read
back in the space of the inputs.

Sparse rows of many columns, such as words, stay sparse where nothing is turned, and only the columns that occur get
axes of their own. Nothing is known of the others but the prior: their weights have mean 0 and one variance, so to a
potential they are a single input of their length with a single weight.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import gen_batches

from sk_epsnn._arrays import (
    Array,
    astype,
    concat,
    converted,
    diagonal,
    entries,
    is_any,
    like,
    new_empty,
    new_ones,
    stack,
    to_numpy,
    vecdot,
    zeros_like,
)
from sk_epsnn._sklearn import one_blas_thread
from sk_epsnn._sparse_rows import SparseRows, canonical, occurring_columns

#: Squared offset, in units of the total variance, above which inputs are centred if that was left open.
OFFSET_LIMIT = 10.0
_CHUNK = 4096
#: Entries of an axis below this share of the largest are rounding.
_NOTHING = 1e-18
#: Sparse rows stay sparse where they have at least so many columns, and at most this share of them is not 0.
LEAST_SPARSE_COLUMNS, MOST_DENSITY = 1024, 0.02
#: The first columns always have axes of their own: formulas for few inputs are for models of few columns.
_LEAST_AXES = 64


@dataclass(frozen=True)
class InputBasis:
    """An invertible linear map ``x' = [x, 1] R`` and the spread of the data along its axes.

    Attributes
    ----------
    rotation : array of shape (n_features, n_axes) or None
        Orthonormal columns divided by the scale; None stands for the identity divided by the scale.
    offset : array of shape (n_axes,)
        Constant added to the rotated inputs (minus the rotated mean, when the inputs are centred).
    scale : float
        Power of two near the root mean square of the inputs.
    constant : bool
        Whether x' ends with an explicit constant 1. A rotation of ``[x, 1]`` as a whole needs none.
    second_moment : array of shape (n_axes,)
        Mean square of x' along each axis (without the constant).
    mean : array of shape (n_axes,)
        Mean of x' (without the constant).
    varies : boolean array of shape (n_axes,)
        Axes along which the data has any extent.
    columns : integer array or None
        Where sparse rows stay sparse: the columns with an axis of their own, ascending. One more axis, the last one,
        stands for the length of what a row has in the others. None: there are no others, and rows become dense.
    n_others : int
        Columns that share the last axis.
    """

    rotation: Array | None
    offset: Array
    scale: float
    constant: bool
    second_moment: Array
    mean: Array
    varies: NDArray[np.bool_]
    columns: Array | None = None
    n_others: int = 0

    @property
    def n_axes(self) -> int:
        """Number of network inputs, the constant included."""
        return self.offset.shape[0] + self.constant

    def transform(self, X: Array | sparse.csr_array) -> Array:
        """Rows of the network's input, in the dtype of ``X``; sparse rows become dense here, or `SparseRows`."""
        if self.columns is not None:
            return self._few_entries(X)
        n_values = self.offset.shape[0]
        result = new_empty(self.offset, (X.shape[0], self.n_axes), X.dtype)
        if self.rotation is not None:
            result[:, :n_values] = X @ astype(self.rotation, X.dtype)
        else:
            dense = X.toarray() if sparse.issparse(X) else X
            result[:, :n_values] = dense if self.scale == 1 else dense * (1 / self.scale)
        if is_any(self.offset != 0):
            result[:, :n_values] += astype(self.offset, X.dtype)
        if self.constant:
            result[:, -1] = 1.0
        return result

    def _few_entries(self, X: Array | sparse.csr_array) -> Array:
        """`transform` where rows stay sparse; other libraries than NumPy have no such rows, and get dense ones."""
        rows, n_rest = canonical(X if sparse.issparse(X) else to_numpy(X)), self.offset.shape[0] - 1
        columns, offset = to_numpy(self.columns), to_numpy(self.offset)
        place, known = _places(columns, rows.indices)
        row = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
        values = rows.data * (1 / self.scale)
        squares = np.bincount(row[~known], values[~known] ** 2, minlength=rows.shape[0])
        far = np.flatnonzero(squares)
        data = np.concatenate([values[known], np.sqrt(squares[far])]).astype(rows.dtype, copy=False)
        row, place = np.append(row[known], far), np.append(place[known], np.full(len(far), n_rest))
        offset = np.append(offset, np.ones(int(self.constant))).astype(rows.dtype)
        result = SparseRows(sparse.csr_array((data, (row, place)), shape=(rows.shape[0], self.n_axes)), offset)
        return result if isinstance(self.offset, np.ndarray) else like(result.toarray(), self.offset)

    def unknown_columns(self, X: Array | sparse.csr_array) -> NDArray[np.int_]:
        """Columns that occur in rows and have no axis of their own yet."""
        if self.columns is None:
            return np.empty(0, int)
        return np.setdiff1d(occurring_columns(X if sparse.issparse(X) else to_numpy(X)), to_numpy(self.columns))

    def with_columns(self, columns: NDArray[np.int_]) -> tuple[InputBasis, NDArray[np.int_]]:
        """The same map with axes of their own for more columns, and the axis here of each axis there.

        Weights of a new axis are those of the one that its column shared until now.
        """
        mine = to_numpy(self.columns)
        every = np.union1d(mine, columns)
        place, known = _places(mine, every)
        axes = np.append(np.where(known, place, len(mine)), len(mine))
        grown = converted(replace(self, columns=None), lambda array: entries(array, like(axes, array)))
        added = len(every) - len(mine)
        grown = replace(grown, columns=like(every, self.offset), n_others=self.n_others - added)
        return grown, np.append(axes, len(mine) + 1) if self.constant else axes

    def by_column(self, values: Array) -> Array:
        """What is known for each axis, shape (n_out, n_axes) without the constant, for each column of the data."""
        if self.columns is None:
            return values
        place, known = _places(to_numpy(self.columns), np.arange(self.columns.shape[0] + self.n_others))
        return entries(values, like(np.where(known, place, self.columns.shape[0]), values), axis=1)

    def _per_axis(self) -> Array:
        """How many columns share each axis."""
        counts = np.ones(self.offset.shape[0])
        if self.columns is not None:
            counts[-1] = self.n_others
        return counts

    def balance(self, means: Array) -> Array:
        """Subtract from each unit's bias what its weights add to the potential on average over the data.

        Parameters
        ----------
        means : array of shape (n_out, n_axes)
            Weights in this basis, the constant included.
        """
        if self.constant:
            balanced = means.copy()
            balanced[:, -1] -= means[:, :-1] @ self.mean
            return balanced
        # The constant lies along the offset: these weights realise a potential of 1 for every x.
        size = float(self.offset @ self.offset)
        a = self.offset / size if size > 0 else self.offset
        return means - np.outer(means @ (self.mean - self.offset), a)

    def prior_variances(
        self,
        value: float | None,
        exponent: float,
        potential_variance: float,
        bias_share: float,
        floor: float = 0.0,
    ) -> Array:
        """Prior variance of the weight on each axis, shape (n_axes,).

        Parameters
        ----------
        value : float or None
            Variance of a weight in the space of the inputs; None scales the prior to the data instead.
        exponent : float
            Spectral exponent beta: variances proportional to ``second_moment ** beta``. 0 is isotropic.
        potential_variance : float
            With ``value=None``: the prior variance of a potential, averaged over the data.
        bias_share : float
            With ``value=None``: the share of it that comes from the bias, if that is an input of its own.
        floor : float, default=0
            Added to the second moments before they are raised to the exponent, in units of their mean: axes that the
            data hardly use keep weights enough for unknown inputs to be doubted.
        """
        moment, counts = self.second_moment, self._per_axis()
        total = (counts * moment).sum()
        shape = (moment / (total / counts.sum()) + floor) ** exponent
        shape *= total / (counts * moment * shape).sum()
        if value is None:
            bias = bias_share * potential_variance if self.constant else 0.0
            variances = shape * (potential_variance - bias) / total
        else:
            variances, bias = shape * value * self.scale**2, value
        return np.append(variances, bias) if self.constant else variances

    def to_inputs(self, mean: Array, covariance: Array) -> tuple[Array, Array, Array, Array]:
        """Weights as they act on the raw inputs.

        Parameters
        ----------
        mean : array of shape (n_out, n_axes)
        covariance : array of shape (n_out, n_axes) or (n_out, n_axes, n_axes)

        Returns
        -------
        coef, intercept, coef_variance, intercept_variance
            Shapes (n_out, n_features) and (n_out,).
        """
        n_values, to_constant = self.offset.shape[0], self.offset
        if self.constant:
            to_constant = concat([self.offset, new_ones(self.offset, (1,), "float64")])
        if covariance.ndim == 2:
            intercept_variance = covariance @ (to_constant * to_constant)
        else:
            units = [covariance[i, :, :] for i in range(covariance.shape[0])]
            intercept_variance = stack([to_constant @ unit @ to_constant for unit in units])
        if self.rotation is None:
            own = covariance if covariance.ndim == 2 else diagonal(covariance)
            coef, coef_variance = mean[:, :n_values] / self.scale, own[:, :n_values] / self.scale**2
            return self.by_column(coef), mean @ to_constant, self.by_column(coef_variance), intercept_variance
        axes = self.rotation
        if self.constant:
            axes = concat([axes, zeros_like(axes[:, :1])], axis=1)
        if covariance.ndim == 2:
            coef_variance = covariance @ (axes * axes).T
        else:
            coef_variance = stack([vecdot(axes @ unit, axes) for unit in units])
        return mean @ axes.T, mean @ to_constant, coef_variance, intercept_variance


def fit_basis(
    X: Array | sparse.csr_array,
    sample_weight: Array,
    *,
    rotate: bool,
    center: bool | None,
    constant: bool,
    rescale: bool = True,
    spikes: bool = False,
    keep_sparse: bool = False,
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
        Subtract the mean first; None does so only for inputs whose offset outweighs their spread. Otherwise, with
        ``constant``, the constant takes part in the rotation, which leaves an isotropic prior on weights and bias
        exactly as it was. With None the constant is of the size of the inputs, so that their unit does not matter.
    constant : bool
        Whether potentials have a bias.
    rescale : bool, default=True
        Divide by the root mean square of the inputs (weights on fixed levels need the inputs as they are).
    spikes : bool, default=False
        Whether every entry is 0 or 1: such inputs stay as they are, and the sums are exact in their own dtype.
    keep_sparse : bool, default=False
        Let sparse rows of many columns stay sparse, with axes for the columns that occur. That is for weights whose
        prior has the same variance, and the mean 0, in columns that do not.
    """
    average, square = _column_moments(X, sample_weight, spikes)
    follows = center is None
    if center is None:
        offset = float((average * average).sum())
        center = offset > OFFSET_LIMIT * float(square.sum() - offset)
    mean = average if center else np.zeros(X.shape[1])
    variance = np.maximum(square - mean * mean, 0)
    size = 1.0 if spikes else _power_of_two(float(np.sqrt(variance.mean())))
    scale = size if rescale else 1.0
    if not rotate:
        moment, varies = _never_zero(variance / scale**2, sample_weight.sum())
        basis = InputBasis(None, -mean / scale, scale, constant, moment, (average - mean) / scale, varies)
        return _of_occurring_columns(basis, X) if keep_sparse and stays_sparse(X) else basis
    gram = _second_moment(X, sample_weight, mean, spikes)
    joint = constant and not center
    if joint:
        unit = size if follows else 1.0
        column = unit * average[:, None]
        gram = np.block([[gram, column], [column.T, np.full((1, 1), unit * unit)]])
    # Thousands of small products, after each of which threads would wait for each other.
    with one_blas_thread():
        moment, vectors = np.linalg.eigh(gram)
    moment, vectors = np.maximum(moment[::-1], 0) / scale**2, vectors[:, ::-1] / scale
    # What is nothing but rounding would be slow: numbers too small for a full set of digits are.
    vectors[np.abs(vectors) < _NOTHING * np.abs(vectors).max()] = 0.0
    # Fix the signs: the basis must not depend on the order of operations inside the eigensolver.
    largest = np.abs(vectors).argmax(0)
    vectors = vectors * np.sign(vectors[largest, np.arange(vectors.shape[1])])
    moment, varies = _never_zero(moment, sample_weight.sum())
    if joint:
        axes, offset = vectors[:-1], unit * vectors[-1]
        return InputBasis(axes, offset, scale, False, moment, average @ axes + offset, varies)
    return InputBasis(vectors, -mean @ vectors, scale, constant, moment, (average - mean) @ vectors, varies)


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


def _places(columns: NDArray[np.int_], wanted: NDArray[np.int_]) -> tuple[NDArray[np.int_], NDArray[np.bool_]]:
    """Where some of the columns, which ascend, hold what is wanted, and whether they do."""
    place = np.minimum(np.searchsorted(columns, wanted), len(columns) - 1)
    return place, columns[place] == wanted


def _column_moments(X: Array | sparse.csr_array, sample_weight: Array, spikes: bool) -> tuple[Array, Array]:
    """Weighted mean and mean square of every column, in float64; spikes are their own squares."""
    total, square = np.zeros(X.shape[1]), np.zeros(X.shape[1])
    for rows in gen_batches(X.shape[0], _CHUNK):
        chunk, weight = _chunk(X, sample_weight, rows, spikes)
        total += to_numpy(chunk.T @ weight)
        if not spikes:
            square += to_numpy((chunk.multiply(chunk) if sparse.issparse(chunk) else chunk * chunk).T @ weight)
    mass = float(sample_weight.sum(dtype=np.float64))
    return total / mass, (total if spikes else square) / mass


def _second_moment(X: Array | sparse.csr_array, sample_weight: Array, mean: Array, spikes: bool) -> Array:
    """Weighted second-moment matrix about ``mean``, in float64."""
    gram = np.zeros((X.shape[1], X.shape[1]))
    shift = like(mean, X)
    for rows in gen_batches(X.shape[0], _CHUNK):
        chunk, weight = _chunk(X, sample_weight, rows, spikes)
        dense = chunk.toarray() if sparse.issparse(chunk) else chunk
        if not spikes and mean.any():
            dense = dense - shift
        gram += to_numpy((dense * weight[:, None]).T @ dense)
    gram /= float(sample_weight.sum(dtype=np.float64))
    return gram - np.outer(mean, mean) if spikes else gram


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
