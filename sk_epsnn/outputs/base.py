"""What every observed output does."""

from __future__ import annotations

from sk_epsnn._arrays import (
    Array,
    HoldsArrays,
    clip,
    ones_like,
    sum_over,
)
from sk_epsnn.messages import Derivatives, Spread


class Output(HoldsArrays):
    """An observed output unit: the activation block with its value clamped."""

    name: str
    #: Whether a potential of exactly 0 is decided by convention: a threshold without noise.
    has_ties = False
    #: Units for each target; the first ones have targets of their own.
    units_per_target = 1

    def targeted(self, units: Array) -> Array:
        """Columns of the units that have a target of their own."""
        return units

    def predicted(self, spread: Spread) -> Spread:
        """Spread of these units in a prediction."""
        return spread

    def step_curvature(self, message: Derivatives) -> Array:
        """Curvature in each potential that a Newton step may use."""
        return clip(message.gamma, min=0.0)

    def log_partition(self, mean: Array, variance: Array, target: Array, power: float) -> Array:
        """``(1/alpha) log E f(y|u)**alpha`` for each sample and unit, in nats."""
        return self.evidence(mean, variance, target, power)[0]

    def evidence(self, mean: Array, variance: Array, target: Array, power: float) -> tuple[Array, Derivatives]:
        """Log partition function, as `log_partition` gives it, and its derivatives."""
        raise NotImplementedError

    def log_density(self, mean: Array, variance: Array, target: Array) -> Array:
        """Log density of the targets of each row as they are predicted, in nats, shape (n_samples,)."""
        return sum_over(self.log_partition(mean, variance, target, 1.0), axis=1)

    def log_odds(self, mean: Array, variance: Array) -> Array:
        """``log p / (1 - p)`` of the probability ``p`` that a spiking output fires."""
        ones = ones_like(mean)
        return self.log_partition(mean, variance, ones, 1.0) - self.log_partition(mean, variance, -ones, 1.0)

    def potential_of(self, share: Array) -> Array:
        """Potentials at which the units fire with these probabilities, shape (n_out,); of NumPy, for a start."""
        return 0 * share
