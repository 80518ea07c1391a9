"""Where the values of a column usually are, and how far from there the others are: its own unit.

The usual value is one that a quarter of the rows have or more, such as the 0 of pixels and counts, or else the lower
median. The size of a column is that of the deviations from it of the rows that differ at all: so a column of 0 and 1
has the size 1 however rare the ones are, columns of normal numbers that of their standard deviation, and a single wild
cell changes nothing. Sizes are powers of two, by which dividing is exact.

Rates, spikes and pixels have a unit already: where all values lie in [0, 1], and most columns reach beyond a half, the
size of every column is 1. A neuron that hardly fired so far may well fire at its full rate in other rows.
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
#: This mean for the normal distribution of variance 1; that of a binary column is its step.
_OF_NORMAL = float(np.sqrt(0.67448975 * 1.64485363))
#: Columns most of whose rows have the usual value count as many rows of their kind's size as this beside their own.
_KIND_ROWS = 5.0
#: A value that this share of the rows have is usual.
_FREQUENT = 0.25
#: Most columns of rates reach this.
_LEAST_TOP = 0.5
#: Columns that are sorted at a time.
_COLUMNS = 64


class ColumnScales(NamedTuple):
    """What is usual in every column, each of shape (n_features,).

    Attributes
    ----------
    usual : array
        The most frequent value, or the lower median where none is frequent.
    size : array
        Power of two near the size of the deviations from it.
    """

    usual: NDArray[np.float64]
    size: NDArray[np.float64]


class _Deviations(NamedTuple):
    """Of the rows of each column that do not have the usual value: their weight, and quantiles of how far they are."""

    usual: NDArray[np.float64]
    weight: NDArray[np.float64]
    size: NDArray[np.float64]


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
    log_size = np.zeros(X.shape[1]) if _have_unit(X, some) else _pooled(found, weight.sum())
    most = 0.8 * np.finfo(str(X.dtype).split(".")[-1]).maxexp
    return ColumnScales(found.usual, 2.0 ** np.clip(np.round(log_size), -most, most))


def _have_unit(X: Array | sparse.csr_array, rows: Array | sparse.csr_array) -> bool:
    """Whether all values are in [0, 1], and those of most columns of these rows come near 1."""
    values = X.data if sparse.issparse(X) else X
    if is_any(values < 0) or is_any(values > 1):
        return False
    top = rows.max(axis=0).toarray() if sparse.issparse(rows) else to_numpy(rows).max(0)
    return bool(np.median(top) >= _LEAST_TOP)


def _pooled(found: _Deviations, total: float) -> NDArray[np.float64]:
    """Logarithms to base 2 of the sizes, those of rare deviations pulled towards their kind's."""
    usual, weight, size = found
    seen, steady = weight > 0, weight < 0.5 * total
    own = np.log2(size, out=np.zeros_like(size), where=seen)
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
    deviations, mass = _sorted(np.abs(values - usual), weight)
    none = (mass * (deviations == 0)).sum(0)
    low, high = (_quantiles(deviations, mass, none, share) for share in (_BULK, _TAIL))
    others = np.where(deviations[-1] > 0, weight.sum() - none, 0.0)
    return _Deviations(usual, others, np.sqrt(low) * np.sqrt(high) / _factor(low, high))


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
    result = _Deviations(np.zeros(n_features), stored, size)
    full = np.flatnonzero(2 * stored >= total)
    for i in range(0, len(full), _COLUMNS):
        few = full[i : i + _COLUMNS]
        for mine, theirs in zip(result, _of_columns(columns[:, few].toarray(), weight), strict=True):
            mine[few] = theirs
    return result
