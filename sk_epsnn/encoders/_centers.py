"""Where the preferred values of a population lie, and how far its neurons listen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64s = NDArray[np.float64]
Counts = NDArray[np.int_]

#: Half-width of the automatic raised cosine as a fraction of the feature's range. The EP paper does not give its own;
#: 0.24 of the range (1.44 on [-1, 5]) was wide enough to bridge the gaps in the data of its regression example.
REACH = 0.24
# Evenly spaced neurons are spent on empty space where so many pairs of different values lie within half the reach of
# each other: .23 of the pairs of a uniform feature do, .39 of 500 normal values, .54 of 50,000, .78 of 500 lognormal.
_CROWDED = 2.0 / 3.0
_LARGEST_HALF = 0.5 * float(np.finfo(np.float64).max)


def even_centers(low: Float64s, high: Float64s, n_neurons: int) -> Float64s:
    """Evenly spaced values from `low` to `high`, both of shape (n_features,): shape (n_features, n_neurons)."""
    fractions = np.linspace(0.0, 1.0, n_neurons) if n_neurons > 1 else np.array([0.5])
    # A weighted mean of the ends meets both exactly and overflows by rounding at most, which the clipping undoes.
    with np.errstate(over="ignore"):
        centers = np.outer(low, 1.0 - fractions) + np.outer(high, fractions)
    # It also makes the centres of a constant feature exactly equal to its value.
    return np.clip(centers, low[:, np.newaxis], high[:, np.newaxis])


def are_crowded(values: Float64s, counts: Counts) -> bool:
    """Whether most of a feature lies in a small part of its range.

    Pairs are counted among the rows, so that a long tail of single values does not hide the many in the bulk, and
    among the distinct values, so that a code for "missing", far from the rest, is one value however often it occurs.
    A binary feature has no two different values that are near, whatever their counts.

    Parameters
    ----------
    values : array of shape (n_values,)
        Distinct values, ascending.
    counts : array of shape (n_values,)
        How often each occurs.
    """
    # From halves: the range itself overflows when both ends are huge.
    halves = 0.5 * values
    distance = 0.5 * REACH * (halves[-1] - halves[0])
    first = np.searchsorted(halves, halves - distance, side="left")
    last = np.searchsorted(halves, halves + distance, side="right")
    for weights in (counts.astype(np.float64), np.ones(len(values))):
        below = np.concatenate([[0.0], np.cumsum(weights)])
        same = weights @ weights
        near, pairs = weights @ (below[last] - below[first]) - same, below[-1] ** 2 - same
        if near > _CROWDED * pairs:
            return True
    return False


def tails(values: Float64s, counts: Counts) -> tuple[float, float]:
    """How far the lowest and how far the highest rows of a feature spread: a tenth of all, and ten more."""
    rank, n_rows = np.cumsum(counts), int(counts.sum())
    n_outer = min(n_rows // 10 + 10, n_rows - 1)
    first, last = np.searchsorted(rank, [n_outer, n_rows - 1 - n_outer], side="right")
    with np.errstate(over="ignore"):
        return float(values[first] - values[0]), float(values[-1] - values[last])


def quantile_centers(values: Float64s, n_neurons: int, beyond: float = 0.0) -> tuple[Float64s, Float64s]:
    """Centres at evenly spaced quantiles of the distinct values, and the reach of the neuron at each.

    As in the evenly spaced code, a neuron reaches over 0.24 of the quantiles to one side. Of its two sides that is the
    one where they are nearer, so that a long tail does not blur the bulk, and at least the next centre on either side,
    so that some neuron fires everywhere in between.

    Parameters
    ----------
    values : array of shape (n_values,)
        Distinct values, ascending, at least two.
    n_neurons : int
        At least two.
    beyond : float, default=0
        How far the centres go on beyond the range, in units of the reach at its ends.
    """

    def quantiles(fractions: Float64s) -> Float64s:
        place = np.clip(fractions, 0.0, 1.0) * (len(values) - 1)
        index = np.minimum(place.astype(np.int64), len(values) - 2)
        found = values[index] * (1.0 - (place - index)) + values[index + 1] * (place - index)
        return 0.5 * np.clip(found, values[index], values[index + 1])

    def halves(fractions: Float64s) -> Float64s:
        """Halves of the quantiles, which do not overflow, along a line beyond the ends."""
        first, reach_up, reach_down, last = quantiles(np.array([0.0, REACH, 1.0 - REACH, 1.0]))
        outside = np.minimum(fractions, 0.0) * (reach_up - first) + np.maximum(fractions - 1.0, 0.0) * (
            last - reach_down
        )
        return np.clip(quantiles(fractions) + outside / REACH, -_LARGEST_HALF, _LARGEST_HALF)

    with np.errstate(over="ignore"):
        fractions = np.linspace(-beyond * REACH, 1.0 + beyond * REACH, n_neurons)
        centers = halves(fractions)
        below = np.where(fractions >= REACH, centers - halves(fractions - REACH), np.inf)
        above = np.where(fractions <= 1.0 - REACH, halves(fractions + REACH) - centers, np.inf)
        gaps = np.concatenate([[0.0], np.diff(centers), [0.0]])
        reach = np.maximum(np.minimum(below, above), np.maximum(gaps[:-1], gaps[1:]))
    return 2.0 * centers, 2.0 * np.minimum(reach, _LARGEST_HALF)
