"""Where the values of a column usually are, and how far from there the others are: its own unit.

The usual value is one that a quarter of the rows have or more, such as the 0 of pixels and counts, or else the lower
median. The size of a column is its standard deviation, to which far values count as near ones, so that a wild cell
changes nothing; but no less than it would be if half of the rows differed from the usual value, as far as those do
that differ at all. So a column of 0 and 1 has the size 1/2 however rare the ones are. Sizes are powers of two, by
which dividing is exact.

Rates, spikes and pixels have a unit already: where all values lie in [0, 1], and most columns reach beyond a half, the
size of every column is 1. A neuron that hardly fired so far may well fire at its full rate in other rows. Columns of
one order but for a few cells far beyond it, which somebody has divided by their largest value, have the size of what
is left without these.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sk_epsnn._arrays import Array, is_any, to_numpy

#: Rows that are looked at, evenly spaced; more would not move a power of two.
MOST_ROWS = 2_000
#: Shares of the deviations that lie below the two that a size is the geometric mean of: the bulk and the tail.
_BULK, _TAIL = 0.5, 0.9
#: This mean for the normal distribution of variance 1.
_OF_NORMAL = float(np.sqrt(0.67448975 * 1.64485363))
#: Deviations of more than so many times their size count as this many.
_FAR = 4.0
#: Standard deviation of a column half of whose rows are one step away from the others.
_BALANCED = 0.5
#: Columns most of whose rows have the usual value count as many rows of their kind's size as this beside their own.
_KIND_ROWS = 5.0
#: A value that this share of the rows have is usual.
_FREQUENT = 0.25
#: Rates are in [0, 1] but for rounding.
_ROUNDING = 1e-6
#: Most columns of rates reach this.
_LEAST_TOP = 0.5
#: Deviations whose tail is at most so many times their bulk are of one order.
_ORDER = 16.0
#: A largest value of so many times the size is beyond its order.
_BEYOND = 32.0
#: Columns that are sorted at a time.
_COLUMNS = 64


class ColumnScales(NamedTuple):
    """What is usual in every column, each of shape (n_features,).

    Attributes
    ----------
    usual : array
        The most frequent value, or the lower median where none is frequent.
    size : array
        Power of two near the standard deviation, or near that of a balanced column where most rows are alike.
    """

    usual: NDArray[np.float64]
    size: NDArray[np.float64]


class _Deviations(NamedTuple):
    """Weight and size of the deviations of those rows of each column that deviate, and the spread of all rows.

    `even` are columns the bulk and the tail of whose deviations are of one order.
    """

    usual: NDArray[np.float64]
    weight: NDArray[np.float64]
    size: NDArray[np.float64]
    spread: NDArray[np.float64]
    even: NDArray[np.bool_]


def column_scales(X: Array | sparse.csr_array, sample_weight: NDArray[np.floating]) -> ColumnScales:
    """Usual value and size of every column.

    Where most rows have the usual value, such as pixels at the border or words, the few others say little: their size
    is pulled towards that of all columns of this kind. Columns of zeros have that size, other constant columns that of
    their value, unless nothing varies at all. Columns of rates have the size 1.
    """
    n_samples, some = X.shape[0], X
    if n_samples > MOST_ROWS:
        rows = np.linspace(0, n_samples - 1, MOST_ROWS).astype(int)
        some, sample_weight = X[rows, :], sample_weight[rows]
    weight = np.asarray(sample_weight, np.float64)
    found = _of_sparse(some, weight) if sparse.issparse(X) else _of_dense(to_numpy(some), weight)
    log_size, top = _pooled(found, weight.sum()), _top_of_rates(X, some)
    if top is not None:
        squeezed = found.even & (found.weight >= 0.5 * weight.sum()) & (top > _BEYOND * found.size)
        log_size = np.where(squeezed, log_size - np.log2(_BALANCED), 0.0)
    most = 0.8 * np.finfo(str(X.dtype).split(".")[-1]).maxexp
    return ColumnScales(found.usual, 2.0 ** np.clip(np.round(log_size), -most, most))


def _top_of_rates(X: Array | sparse.csr_array, rows: Array | sparse.csr_array) -> NDArray[np.float64] | None:
    """Largest values of all columns in these rows, if all values are in [0, 1] and most columns come near 1."""
    values = X.data if sparse.issparse(X) else X
    if is_any(values < -_ROUNDING) or is_any(values > 1 + _ROUNDING):
        return None
    top = rows.max(axis=0).toarray() if sparse.issparse(rows) else to_numpy(rows).max(0)
    return top if np.median(top) >= _LEAST_TOP else None


def _pooled(found: _Deviations, total: float) -> NDArray[np.float64]:
    """Logarithms to base 2 of the sizes, those of rare deviations pulled towards their kind's."""
    usual, weight, size, spread, _ = found
    seen, steady = weight > 0, weight < 0.5 * total
    own = np.log2(np.maximum(_BALANCED * size, spread), out=np.zeros_like(size), where=seen)
    level = np.log2(np.abs(usual), out=np.zeros_like(usual), where=usual != 0)
    if not seen.any():
        return np.full(len(own), level[usual != 0].mean() if usual.any() else 0.0)
    kind = seen & steady if (seen & steady).any() else seen
    typical = np.average(own[kind], weights=weight[kind])
    pulled = (weight * own + _KIND_ROWS * typical) / (weight + _KIND_ROWS)
    return np.where(seen, np.where(steady, pulled, own), np.where(usual == 0, typical, level))


def _of_dense(X: np.ndarray, weight: NDArray[np.float64]) -> _Deviations:
    parts = [_of_columns(X[:, i : i + _COLUMNS], weight) for i in range(0, X.shape[1], _COLUMNS)]
    return _Deviations(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _of_columns(X: np.ndarray, weight: NDArray[np.float64]) -> _Deviations:
    """`_Deviations` of a few dense columns."""
    values = X.astype(np.float64)
    usual = _usual(values, *_sorted(values, weight), weight)
    signed = values - usual
    deviations, mass = _sorted(np.abs(signed), weight)
    none = (mass * (deviations == 0)).sum(0)
    low, high = (_quantiles(deviations, mass, none, share) for share in (_BULK, _TAIL))
    others = np.where(deviations[-1] > 0, weight.sum() - none, 0.0)
    size = np.sqrt(low) * np.sqrt(high) / _factor(low, high)
    near = _near(signed, size)
    spread = _spread(weight @ near, weight @ near**2, weight.sum(), size)
    return _Deviations(usual, others, size, spread, high <= _ORDER * low)


def _near(deviations: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Deviations in units of their size, far ones as near ones."""
    return np.clip(deviations / np.where(size > 0, size, 1.0), -_FAR, _FAR)


def _spread(first: np.ndarray, second: np.ndarray, total: float, size: np.ndarray) -> np.ndarray:
    """Standard deviation of columns whose near deviations have these sums and sums of squares."""
    return size * np.sqrt(np.maximum(second / total - (first / total) ** 2, 0.0))


def _usual(values: np.ndarray, ordered: np.ndarray, mass: np.ndarray, weight: NDArray[np.float64]) -> np.ndarray:
    """The most frequent value of each column, or the lower median where none is frequent."""
    # A value of a quarter of the rows or more lies at one of the quartiles.
    quartiles = [_quantiles(ordered, mass, np.zeros(values.shape[1]), share) for share in (0.5, 0.25, 0.75)]
    shares = np.array([weight @ (values == each) for each in quartiles]) / weight.sum()
    best = shares.argmax(0)
    columns = np.arange(len(best))
    most = shares[best, columns]
    return np.where(most >= _FREQUENT, np.array(quartiles)[best, columns], quartiles[0])


def _sorted(values: np.ndarray, weight: NDArray[np.float64]) -> tuple[np.ndarray, np.ndarray]:
    """Columns in ascending order, and the weights of their entries."""
    if (weight == weight[0]).all():
        return np.sort(values, axis=0), np.broadcast_to(weight[:, None], values.shape)
    order = np.argsort(values, axis=0, kind="stable")
    return np.take_along_axis(values, order, axis=0), weight[order]


def _quantiles(values: np.ndarray, mass: np.ndarray, before: np.ndarray, share: float) -> np.ndarray:
    """Least value of each sorted column up to which there is this share of the weight beyond the first entries'."""
    reached = np.cumsum(mass, axis=0)
    wanted = before + share * (reached[-1] - before)
    place = (reached < wanted * (1 - 1e-12)).sum(0)
    return values[np.minimum(place, len(values) - 1), np.arange(values.shape[1])]


def _factor(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """What a normal distribution would have; a column with one step is of the size of the step."""
    return np.where(low == high, 1.0, _OF_NORMAL)


def _of_sparse(X: Any, weight: NDArray[np.float64]) -> _Deviations:
    """`_Deviations` of sparse columns; where fewer than half of the entries are stored the usual value is 0."""
    columns = sparse.csc_array(X)
    columns.eliminate_zeros()
    n_features, total = columns.shape[1], weight.sum()
    owner = np.repeat(np.arange(n_features), np.diff(columns.indptr))
    mass = weight[columns.indices]
    stored = np.bincount(owner, mass, n_features).astype(np.float64)
    size = np.zeros(n_features)
    occurring = np.flatnonzero(stored)
    order = np.lexsort((np.abs(columns.data), owner))
    values, reached = np.abs(columns.data).astype(np.float64)[order], np.cumsum(mass[order])
    last = columns.indptr[1:][occurring] - 1
    before = np.append(0.0, reached[last[:-1]]) if len(last) else reached
    low, high = (
        values[np.minimum(np.searchsorted(reached, before + share * stored[occurring] * (1 - 1e-9)), last)]
        for share in (_BULK, _TAIL)
    )
    size[occurring] = np.sqrt(low) * np.sqrt(high) / _factor(low, high)
    even = np.ones(n_features, bool)
    even[occurring] = high <= _ORDER * low
    near = _near(columns.data.astype(np.float64), size[owner])
    first, second = (np.bincount(owner, mass * power, n_features) for power in (near, near**2))
    result = _Deviations(np.zeros(n_features), stored, size, _spread(first, second, total, size), even)
    full = np.flatnonzero(2 * stored >= total)
    for i in range(0, len(full), _COLUMNS):
        few = full[i : i + _COLUMNS]
        for mine, theirs in zip(result, _of_columns(columns[:, few].toarray(), weight), strict=True):
            mine[few] = theirs
    return result
