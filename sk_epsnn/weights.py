"""Families of weight posterior: Gaussian, independent or joint per output unit, and categorical on a grid of levels.

Every family is exponential, with natural parameters (precision, shift): the density of one weight is a base measure
times ``exp(shift * w - precision * w**2 / 2)``. Products and powers of densities are sums and multiples of these.
State is kept in float64 whatever the data's dtype.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property, reduce
from typing import Any, Self

import numpy as np

from sk_epsnn._arrays import (
    Array,
    HoldsArrays,
    absolute,
    astype,
    cholesky,
    clip,
    concat,
    copy_of,
    diagonal,
    eigenvalues,
    entries,
    exp,
    inverse,
    is_all,
    like,
    log,
    log_determinant,
    maximum,
    new_array,
    position_of_largest,
    reshape,
    solve,
    sqrt,
    stack,
    to_numpy,
    total_of,
)
from sk_epsnn.messages import WeightMoments
from sk_epsnn.numerics import plus_diagonal

#: No level is less probable than the most probable one by more than this, in nats: no weight is ever fixed.
LOG_ODDS_BOUND = 30.0
#: Longest Newton step of a discrete weight, in log-odds between the extreme levels.
LOG_ODDS_STEP = 4.0


class Weights(HoldsArrays, ABC):
    """A density over the weights of one layer, independent across output units.

    Attributes
    ----------
    precision : array of shape (n_out, n_in), or (n_out, n_in, n_in) if joint
        Natural parameter of ``-w**2 / 2``.
    shift : array of shape (n_out, n_in)
        Natural parameter of ``w``.
    mean : array of shape (n_out, n_in)
    """

    precision: Array
    shift: Array
    mean: Array

    #: Whether the variance of a weight follows from its mean (given the precision), as on a grid of levels.
    variance_follows_mean: bool

    def power_blend(self, base: Self, exponent: float) -> Self:
        """The normalised density ``base * (self / base)**exponent``; eq. 33 with ``exponent = 1 - 1/B``."""
        if exponent == 1:
            return self
        if exponent == 0:
            return base
        precision = base.precision + exponent * (self.precision - base.precision)
        shift = base.shift + exponent * (self.shift - base.shift)
        return self.with_natural(precision, shift)

    @abstractmethod
    def with_natural(self, precision: Array, shift: Array) -> Self:
        """Density of the same family with the given natural parameters."""

    @property
    @abstractmethod
    def is_proper(self) -> bool:
        """Whether the natural parameters belong to a density."""

    @abstractmethod
    def moments(self, temperature: float, dtype: Any) -> WeightMoments:
        """Mean and ``temperature`` times the covariance."""

    @abstractmethod
    def kl_mean_part(self, base: Self) -> float:
        """The part of ``KL(self || base)`` that changes when the mean moves, in nats."""

    @abstractmethod
    def kl_spread_part(self, base: Self) -> float:
        """The part of ``KL(self || base)`` that depends on the covariances only, in nats."""

    @abstractmethod
    def mean_cost(self, cavity: Self, site: Array, temperature: float) -> Array:
        """Derivative in the shift, divided by the variance, of what the energy subtracts from the log evidence.

        That is ``KL(self || cavity)``, and for weights whose variance follows the mean also ``temperature * site / 2``
        times the variance: `mean_gradient` of the mixing block is what it balances.
        """

    @abstractmethod
    def mean_curvature(self, cavity: Self) -> Array:
        """Derivative of `mean_cost` in the mean; a diagonal of shape (n_out, n_in), or matrices if joint."""

    @abstractmethod
    def moved(self, delta: Array) -> Self:
        """Density whose mean has moved by ``delta`` (to first order), the precision as it was."""

    @abstractmethod
    def with_site(self, cavity: Self, site: Array, temperature: float, step: float) -> Self:
        """Let the precision follow a site precision by the fraction ``step``, the mean as it is (to first order)."""

    @abstractmethod
    def recentred(self, other: Self) -> Self:
        """Density with the mean of another, and the precision of this one where these are free of each other."""

    @abstractmethod
    def mode(self) -> Array:
        """Most probable weights, shape (n_out, n_in)."""

    def sample(self, temperature: float, rng: np.random.RandomState) -> Array:
        """Weights drawn with ``temperature`` times the covariance, shape (n_out, n_in)."""
        mean, variance, covariance = self.moments(temperature, "float64")
        noise = like(rng.standard_normal(tuple(mean.shape)), mean)
        if covariance is None:
            return mean + sqrt(variance) * noise
        return mean + (cholesky(covariance) @ noise[:, :, None])[:, :, 0]


class GaussianWeights(Weights):
    """A Gaussian density, held as precision and mean.

    Parameters
    ----------
    precision : array
        Shape (n_out, n_in) if the weights are independent, (n_out, n_in, n_in) if joint.
    mean : array of shape (n_out, n_in)
    """

    variance_follows_mean = False

    def __init__(self, precision: Array, mean: Array):
        self.precision = precision
        self.mean = mean

    @property
    def shift(self) -> Array:
        """Second natural parameter, precision times mean, shape (n_out, n_in)."""
        return self.times(self.mean)

    @classmethod
    @abstractmethod
    def from_natural(cls, precision: Array, shift: Array) -> Self:
        """Density with the given natural parameters (the precision must be positive definite)."""

    def with_natural(self, precision: Array, shift: Array) -> Self:
        """See `Weights.with_natural`."""
        return self.from_natural(precision, shift)

    @abstractmethod
    def times(self, vectors: Array) -> Array:
        """Precision times one vector per unit, shape (n_out, n_in)."""

    @abstractmethod
    def marginals(self) -> tuple[Array, Array]:
        """Precision and shift of each weight's own density, shape (n_out, n_in)."""

    @abstractmethod
    def times_factor(self, precision: Array, shift: Array) -> Self:
        """Product with a Gaussian factor per weight, given by natural parameters of shape (n_out, n_in)."""

    def kl_mean_part(self, base: Self) -> float:
        """See `Weights.kl_mean_part`: ``(m - m0)^T P0 (m - m0) / 2``."""
        delta = self.mean - base.mean
        return 0.5 * total_of(delta * base.times(delta))

    def mean_cost(self, cavity: Self, site: Array, temperature: float) -> Array:
        """See `Weights.mean_cost`: ``P_c (m - m_c)``."""
        return cavity.times(self.mean - cavity.mean)

    def mean_curvature(self, cavity: Self) -> Array:
        """See `Weights.mean_curvature`."""
        return cavity.precision

    def moved(self, delta: Array) -> Self:
        """See `Weights.moved`; exact."""
        return type(self)(self.precision, self.mean + delta)

    def with_site(self, cavity: Self, site: Array, temperature: float, step: float) -> Self:
        """See `Weights.with_site`; the energy counts the KL of the covariances times the temperature."""
        return type(self)(self.precision + step * (cavity.precision + site - self.precision), self.mean)

    def recentred(self, other: Self) -> Self:
        """See `Weights.recentred`."""
        return type(self)(self.precision, other.mean)

    def mode(self) -> Array:
        """See `Weights.mode`."""
        return self.mean


class IndependentWeights(GaussianWeights):
    """Every weight has its own Gaussian (the factorised family of the paper)."""

    @classmethod
    def from_natural(cls, precision: Array, shift: Array) -> Self:
        """See `GaussianWeights.from_natural`."""
        return cls(precision, shift / precision)

    @property
    def is_proper(self) -> bool:
        """See `Weights.is_proper`."""
        return is_all(self.precision > 0)

    def times(self, vectors: Array) -> Array:
        """Elementwise product."""
        return self.precision * vectors

    def marginals(self) -> tuple[Array, Array]:
        """See `GaussianWeights.marginals`."""
        return self.precision, self.shift

    def times_factor(self, precision: Array, shift: Array) -> Self:
        """See `GaussianWeights.times_factor`."""
        return self.from_natural(self.precision + precision, self.shift + shift)

    def moments(self, temperature: float, dtype: Any) -> WeightMoments:
        """See `Weights.moments`."""
        return WeightMoments(astype(self.mean, dtype), astype(temperature / self.precision, dtype), None)

    def kl_spread_part(self, base: Self) -> float:
        """See `Weights.kl_spread_part`."""
        ratio = base.precision / self.precision
        return 0.5 * total_of(ratio - log(ratio) - 1)


class JointWeights(GaussianWeights):
    """The weights into one unit share a full Gaussian; units are independent of each other."""

    @classmethod
    def from_natural(cls, precision: Array, shift: Array) -> Self:
        """See `GaussianWeights.from_natural`."""
        return cls(precision, solve(precision, shift[:, :, None])[:, :, 0])

    @property
    def is_proper(self) -> bool:
        """See `Weights.is_proper`."""
        return is_all(eigenvalues(self.precision) > 0)

    # The matrices of a posterior are asked for several times in every sweep; nothing changes them in place.

    @cached_property
    def covariance(self) -> Array:
        """Inverse of the precision, shape (n_out, n_in, n_in)."""
        return inverse(self.precision)

    @cached_property
    def _log_det(self) -> float:
        """Log-determinant of the precision, summed over the units."""
        return total_of(log_determinant(self.precision))

    def __getstate__(self) -> dict[str, Array]:
        return {"precision": self.precision, "mean": self.mean}

    def times(self, vectors: Array) -> Array:
        """Matrix-vector product, one matrix per unit."""
        return (self.precision @ vectors[:, :, None])[:, :, 0]

    def marginals(self) -> tuple[Array, Array]:
        """See `GaussianWeights.marginals`."""
        precision = 1 / diagonal(self.covariance)
        return precision, precision * self.mean

    def times_factor(self, precision: Array, shift: Array) -> Self:
        """See `GaussianWeights.times_factor`."""
        return self.from_natural(plus_diagonal(self.precision, precision), self.shift + shift)

    def moments(self, temperature: float, dtype: Any) -> WeightMoments:
        """See `Weights.moments`."""
        covariance = astype(temperature * self.covariance, dtype)
        return WeightMoments(astype(self.mean, dtype), diagonal(covariance), covariance)

    def kl_spread_part(self, base: Self) -> float:
        """See `Weights.kl_spread_part`."""
        trace = total_of(base.precision * self.covariance)
        n_out, n_in = self.mean.shape
        return 0.5 * (trace - base._log_det + self._log_det - n_out * n_in)


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
        self.log_normaliser, self.mean, self.variance, self.slope = self._statistics()

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

    def _statistics(self) -> tuple[Array, Array, Array, Array]:
        """Log-normaliser, mean, variance, and ``Cov(w, w**2) / Var(w)``."""
        logs = self._log_weights()
        top = reduce(maximum, logs)
        probabilities = [exp(part - top) for part in logs]
        total = sum(probabilities)
        mean = sum(a * p for a, p in zip(self.levels, probabilities, strict=True)) / total
        deviations = [(a - mean, p / total) for a, p in zip(self.levels, probabilities, strict=True)]
        variance = sum(p * d * d for d, p in deviations)
        third = sum(p * d * d * d for d, p in deviations)
        # The log-odds are bounded, hence no variance is 0.
        result = [top + log(total), mean, variance, 2 * mean + third / variance]
        if self.constant:
            precision, shift = self.precision[:, -1:], self.shift[:, -1:]
            bias = shift / precision
            parts = [0.5 * (shift * bias - log(precision)), bias, 1 / precision, 2 * bias]
            result = [concat([a, b], axis=1) for a, b in zip(result, parts, strict=True)]
        return result[0], result[1], result[2], result[3]

    def probabilities(self) -> Array:
        """Posterior probabilities of the levels, shape (n_out, n_discrete, n_levels)."""
        logs = stack(self._log_weights(), axis=2)
        return exp(logs - self.log_normaliser[:, : self.n_discrete, None])

    def with_natural(self, precision: Array, shift: Array) -> Self:
        """See `Weights.with_natural`."""
        return type(self)(precision, shift, self.levels, self.log_probabilities, self.constant)

    @property
    def is_proper(self) -> bool:
        """See `Weights.is_proper`; any numbers will do but for a bias."""
        return is_all(self.precision[:, self.n_discrete :] > 0)

    def moments(self, temperature: float, dtype: Any) -> WeightMoments:
        """See `Weights.moments`."""
        return WeightMoments(astype(self.mean, dtype), astype(temperature * self.variance, dtype), None)

    def kl_mean_part(self, base: Self) -> float:
        """See `Weights.kl_mean_part`: here all of KL."""
        square = self.variance + self.mean * self.mean
        linear = (self.shift - base.shift) * self.mean - 0.5 * (self.precision - base.precision) * square
        return total_of(linear - self.log_normaliser + base.log_normaliser)

    def kl_spread_part(self, base: Self) -> float:
        """See `Weights.kl_spread_part`: nothing, the whole of KL moves with the mean."""
        return 0.0

    def mean_cost(self, cavity: Self, site: Array, temperature: float) -> Array:
        """See `Weights.mean_cost`; the third central moment says how fast the variance follows the mean."""
        divergence = self.shift - cavity.shift - 0.5 * self.slope * (self.precision - cavity.precision)
        return divergence + (0.5 * self.slope - self.mean) * (temperature * site)

    def mean_curvature(self, cavity: Self) -> Array:
        """See `Weights.mean_curvature`; without the part that comes from the site, so that it stays positive."""
        return 1 / self.variance

    def moved(self, delta: Array) -> Self:
        """See `Weights.moved`; no step is longer than `LOG_ODDS_STEP`."""
        change = delta / self.variance
        n, width = self.n_discrete, self.levels[-1] - self.levels[0]
        # Between more than two levels a sharp density needs more to move by half a level.
        limit = LOG_ODDS_STEP / width + 0.5 * absolute(self.precision[:, :n]) * width / (len(self.levels) - 1)
        change[:, :n] = clip(change[:, :n], -limit, limit)
        return self.with_natural(self.precision, self.shift + change)

    def with_site(self, cavity: Self, site: Array, temperature: float, step: float) -> Self:
        """See `Weights.with_site`; all of KL counts fully here, so the site is cooled with its moments."""
        change = step * (cavity.precision + temperature * site - self.precision)
        return self.with_natural(self.precision + change, self.shift + 0.5 * self.slope * change)

    def recentred(self, other: Self) -> Self:
        """See `Weights.recentred`: the other one itself."""
        return other

    def mode(self) -> Array:
        """See `Weights.mode`; the mean of a bias."""
        best = position_of_largest(stack(self._log_weights()), axis=0)
        levels = new_array(self.mean, self.levels, "float64")
        most = reshape(entries(levels, reshape(best, (-1,))), best.shape)
        return concat([most, self.mean[:, -1:]], axis=1) if self.constant else most

    def sample(self, temperature: float, rng: np.random.RandomState) -> Array:
        """See `Weights.sample`; levels are drawn by their probabilities, whatever the temperature."""
        drawn = super().sample(temperature, rng)
        below = np.cumsum(to_numpy(self.probabilities()), axis=2)[:, :, :-1]
        index = (rng.random_sample((*below.shape[:2], 1)) > below).sum(axis=2)
        levels = like(np.array(self.levels)[index], self.mean)
        return concat([levels, drawn[:, -1:]], axis=1) if self.constant else levels
