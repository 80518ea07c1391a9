"""Weights on a grid of levels, and the lattice of the potentials that such weights give."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any, NamedTuple, Self

import numpy as np

from sk_epsnn._arrays import (
    Array,
    absolute,
    astype,
    concat,
    copy_of,
    copysign,
    entries,
    exp,
    full_like,
    is_all,
    like,
    log,
    maximum,
    new_array,
    position_of_largest,
    reshape,
    stack,
    to_numpy,
)
from sk_epsnn.messages import WeightMoments
from sk_epsnn.weights.base import Weights

#: No level is less probable than the most probable one by more than this, in nats: no weight is ever fixed.
LOG_ODDS_BOUND = 30.0


class LevelWeights(Weights):
    """Independent weights on a grid of levels, with a Gaussian bias where there is one.

    The probability of level ``a_k`` is proportional to ``p0_k exp(shift * a_k - precision * a_k**2 / 2)``: two
    numbers per weight, however many levels (the messages of eqs. 26-28 are quadratic in the weight).

    Parameters
    ----------
    precision, shift : array of shape (n_out, n_in)
        Natural parameters; 0 and 0 give the level probabilities of the prior.
    levels : tuple of float
        Ascending.
    log_probabilities : tuple of float
        Logarithms of the prior probabilities ``p0_k``.
    constant : bool
        Whether the last column is a bias; a bias is Gaussian.
    """

    variance_follows_mean = True

    def __init__(
        self,
        precision: Array,
        shift: Array,
        levels: tuple[float, ...],
        log_probabilities: tuple[float, ...],
        constant: bool,
    ):
        self.levels, self.log_probabilities, self.constant = levels, log_probabilities, constant
        self.precision, self.shift = precision, shift
        if len(levels) == 2:
            # The square of a weight of two levels is linear in the weight: one natural parameter says it all.
            n = self.n_discrete
            self.precision, self.shift = copy_of(precision), copy_of(shift)
            self.shift[:, :n] -= 0.5 * sum(levels) * precision[:, :n]
            self.precision[:, :n] = 0.0
        self.mean, self.variance, self.slope = self._statistics()

    @property
    def n_discrete(self) -> int:
        """Number of columns that hold discrete weights."""
        return self.precision.shape[1] - self.constant

    def _log_weights(self) -> list[Array]:
        """Unnormalised log-probabilities of each level, each of shape (n_out, n_discrete), within the bound."""
        n = self.n_discrete
        logs = [
            p + a * self.shift[:, :n] - (0.5 * a * a) * self.precision[:, :n]
            for a, p in zip(self.levels, self.log_probabilities, strict=True)
        ]
        least = reduce(maximum, logs) - LOG_ODDS_BOUND
        return [maximum(part, least) for part in logs]

    def _statistics(self) -> tuple[Array, Array, Array]:
        """Mean, variance, and ``Cov(w, w**2) / Var(w)``."""
        statistics = self._of_two_levels() if len(self.levels) == 2 else self._of_levels()
        if not self.constant:
            return statistics
        variance = 1 / self.precision[:, -1:]
        bias = self.shift[:, -1:] * variance
        mean, spread, slope = (
            concat([a, b], axis=1) for a, b in zip(statistics, (bias, variance, 2 * bias), strict=True)
        )
        return mean, spread, slope

    def _of_two_levels(self) -> tuple[Array, Array, Array]:
        """Statistics of the discrete weights by one exponential."""
        low, high = self.levels
        half, middle = 0.5 * (high - low), 0.5 * (high + low)
        log_odds = (high - low) * self.shift[:, : self.n_discrete]
        log_odds += self.log_probabilities[1] - self.log_probabilities[0]
        odds = exp(maximum(-absolute(log_odds), -LOG_ODDS_BOUND))
        share = 1 / (1 + odds)
        mean = middle + copysign((half * (1 - odds)) * share, log_odds)
        return mean, (4 * half * half) * odds * share * share, full_like(mean, high + low)

    def _of_levels(self) -> tuple[Array, Array, Array]:
        """Statistics of the discrete weights."""
        logs = self._log_weights()
        top = reduce(maximum, logs)
        probabilities = [exp(part - top) for part in logs]
        share = 1 / sum(probabilities)
        mean = sum(a * p for a, p in zip(self.levels, probabilities, strict=True)) * share
        deviations = [(a - mean, p * share) for a, p in zip(self.levels, probabilities, strict=True)]
        squares = [(d, p * d * d) for d, p in deviations]
        # The log-odds are bounded, hence no variance is 0.
        variance = sum(square for _, square in squares)
        return mean, variance, 2 * mean + sum(square * d for d, square in squares) / variance

    @property
    def log_normaliser(self) -> Array:
        """Logarithm of what divides the unnormalised density of every weight, shape (n_out, n_in)."""
        logs = self._log_weights()
        top = reduce(maximum, logs)
        result = top + log(sum(exp(part - top) for part in logs))
        if not self.constant:
            return result
        precision, shift = self.precision[:, -1:], self.shift[:, -1:]
        return concat([result, 0.5 * (shift * shift / precision - log(precision))], axis=1)

    def probabilities(self) -> Array:
        """Posterior probabilities of the levels, shape (n_out, n_discrete, n_levels)."""
        logs = stack(self._log_weights(), axis=2)
        return exp(logs - self.log_normaliser[:, : self.n_discrete, None])

    def with_natural(self, precision: Array, shift: Array) -> Self:
        """Density on the same levels with the given natural parameters."""
        return type(self)(precision, shift, self.levels, self.log_probabilities, self.constant)

    @property
    def is_proper(self) -> bool:
        """Whether the natural parameters belong to a density: any numbers do, but for the precision of a bias."""
        return is_all(self.precision[:, self.n_discrete :] > 0)

    def moments(self, temperature: float, dtype: Any) -> WeightMoments:
        """Mean and ``temperature`` times the variance of every weight, in a dtype."""
        return WeightMoments(astype(self.mean, dtype), astype(temperature * self.variance, dtype), None)

    def mode(self) -> Array:
        """Most probable level of every weight, and the mean of a bias, shape (n_out, n_in)."""
        best = position_of_largest(stack(self._log_weights()), axis=0)
        levels = new_array(self.mean, self.levels, "float64")
        most = reshape(entries(levels, reshape(best, (-1,))), best.shape)
        return concat([most, self.mean[:, -1:]], axis=1) if self.constant else most

    def sample(self, temperature: float, rng: np.random.RandomState) -> Array:
        """Levels drawn by their probabilities at any temperature, biases with ``temperature`` times their variance."""
        drawn = super().sample(temperature, rng)
        below = np.cumsum(to_numpy(self.probabilities()), axis=2)[:, :, :-1]
        index = (rng.random_sample((*below.shape[:2], 1)) > below).sum(axis=2)
        levels = like(np.array(self.levels)[index], self.mean)
        return concat([levels, drawn[:, -1:]], axis=1) if self.constant else levels


class Lattice(NamedTuple):
    """Values that potentials can take when weights sit on an even grid and inputs are spikes.

    Attributes
    ----------
    spacing : float
        Distance between neighbouring values.
    alternates : bool
        Whether 0 is a value only for an even number of spikes (as with weights -1 and +1); otherwise it always is.
    """

    spacing: float
    alternates: bool


def find_lattice(levels: Sequence[float]) -> Lattice | None:
    """Lattice of potentials for weights on ``levels``; None if the grid is uneven, or 0 is no value of it."""
    spacing = np.diff(levels)
    if not np.allclose(spacing, spacing[0], rtol=1e-9, atol=0):
        return None
    halves = 2 * levels[0] / spacing[0]
    if abs(halves - np.round(halves)) > 1e-9:
        return None
    return Lattice(float(spacing[0]), bool(np.round(halves) % 2))
