"""What data have said: of the weights of a layer, of the observation noise. Everything here adds up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from sk_epsnn._arrays import Array, astype, exp, log, sum_over, where
from sk_epsnn.ep.sites import UpdateCounts

#: Prior of a learned noise: this many pseudo-observations ...
NOISE_PRIOR_MASS = 0.1
#: ... of this variance, in units of the target's variance.
NOISE_START = 0.1


def kept_share(known: float, total_mass: float, mass: float) -> float:
    """Exponent of eq. 33: what of evidence of mass ``known`` is not a batch's own share.

    Everything in the first pass, where the batch has had no part in it, and 0 where nothing is known.
    """
    return min(1.0, max(total_mass - mass, 0.0) / known) if known > 0 else 0.0


class Evidence(NamedTuple):
    """Natural parameters of a factor on the weights of a layer, shapes as in `Weights`; not always a density."""

    precision: Array
    shift: Array

    def plus(self, other: Evidence) -> Evidence:
        """Product of the factors."""
        return Evidence(self.precision + other.precision, self.shift + other.shift)

    def times(self, exponent: float) -> Evidence:
        """Power of the factor."""
        return Evidence(exponent * self.precision, exponent * self.shift)

    def minus(self, other: Evidence) -> Evidence:
        """Quotient of the factors."""
        return Evidence(self.precision - other.precision, self.shift - other.shift)


@dataclass(frozen=True)
class NoiseEvidence:
    """Sufficient statistics of the observation noise: ``variance = squares / mass``, each output its own.

    Attributes
    ----------
    prior_mass, prior_squares : float
        Pseudo-observations of the prior.
    mass : float
    squares : array of shape (n_out,)
    """

    prior_mass: float
    prior_squares: float
    mass: float
    squares: Array

    @classmethod
    def none_yet(cls, squares: Array, prior_mass: float = NOISE_PRIOR_MASS) -> NoiseEvidence:
        """What is known of a noise before the data; ``squares`` is an array of zeros, one for each output."""
        return cls(prior_mass, prior_mass * NOISE_START, 0.0, squares)

    def cavity(self, exponent: float) -> NoiseEvidence:
        """Take the batch's own share out, as for the weights."""
        return replace(self, mass=exponent * self.mass, squares=exponent * self.squares)

    def known(self, variance: Array, mass: float) -> NoiseEvidence:
        """The same prior with ``mass`` observations that make ``variance`` the estimate."""
        return replace(self, mass=mass, squares=variance * (self.prior_mass + mass) - self.prior_squares)

    def plus(self, other: NoiseEvidence, times: int = 1) -> NoiseEvidence:
        """Add what another one has observed, or take it out with ``times=-1``; the prior stays."""
        return replace(self, mass=self.mass + times * other.mass, squares=self.squares + times * other.squares)

    @property
    def variance(self) -> Array:
        """Current estimate, shape (n_out,)."""
        return (self.prior_squares + self.squares) / (self.prior_mass + self.mass)

    def absorb(self, residual: Array, spread: Array, sample_weight: Array, power: float) -> NoiseEvidence:
        """Add a batch: the fixed point of ``v = (prior + sum E[(y - u)^2]) / (prior mass + mass)``.

        ``E[(y - u)^2] = (v r / D)^2 + v S / D`` with ``D = v + alpha S`` is the second moment of the noise under
        the tilted distribution; its fixed point is the maximum of the power-EP evidence in ``v``.
        """
        weight, residual, spread = (astype(part, "float64") for part in (sample_weight[:, None], residual, spread))
        mass = self.mass + float(sum_over(weight))

        def squares(variance: Array) -> Array:
            total = variance + power * spread
            second_moment = (variance * residual / total) ** 2 + variance * spread / total
            return self.squares + sum_over(weight * second_moment, axis=0)

        def estimate(squares: Array) -> Array:
            return (self.prior_squares + squares) / (self.prior_mass + mass)

        # The second moment lies between 0 and r^2 + S, which brackets the fixed point: bisect it in the logarithm.
        low = log(estimate(self.squares))
        high = log(estimate(self.squares + sum_over(weight * (residual**2 + spread), axis=0)))
        for _ in range(40):
            middle = 0.5 * (low + high)
            grows = log(estimate(squares(exp(middle)))) > middle
            low, high = where(grows, middle, low), where(grows, high, middle)
        return replace(self, mass=mass, squares=squares(exp(low)))


class Change(NamedTuple):
    """What a state has learned since an earlier one: everything in it adds up.

    Attributes
    ----------
    layers : list of Evidence
    mass : float
    noise : NoiseEvidence or None
    counts : UpdateCounts
    step : float
        Newton step length that worked last; of several, the shortest.
    """

    layers: list[Evidence]
    mass: float
    noise: NoiseEvidence | None
    counts: UpdateCounts
    step: float
