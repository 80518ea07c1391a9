"""Observed outputs: the activation block with its value clamped (eq. 31 of [1]_).

An output turns the Gaussian message ``u ~ N(M, S)`` and a target into ``log Z``, with ``Z`` the normaliser of the
tilted distribution, and its derivatives

    g = dlogZ/dM,    gamma = -d2logZ/dM2,    kappa = -2 dlogZ/dS.

These are the EP messages in derivative form: a Gaussian site of precision tau and shift nu on ``u`` has
``g = (nu - tau M) / (1 + tau S)`` and ``gamma = tau / (1 + tau S)``; the tilted mean is ``M + S g`` and the
tilted variance ``S - S**2 gamma``.

References
----------
.. [1] D. Yao, S. McLaughlin, Y. Altmann, "Training of spiking neural networks with expectation-propagation",
   arXiv:2506.23757, 2025.
"""

from __future__ import annotations

import numpy as np

from sk_epsnn._arrays import (
    Array,
    HoldsArrays,
    astype,
    clip,
    log,
    log1p,
    ones_like,
    sum_over,
)
from sk_epsnn.messages import Competition, Derivatives, Spread


class Output(HoldsArrays):
    """An observed output unit: the activation block with its value clamped."""

    name: str
    #: Whether a potential of exactly 0 is decided by convention: a threshold without noise.
    has_ties = False
    #: Units for each target; the first ones have targets of their own.
    units_per_target = 1
    #: Whether `evidence` takes no longer than `log_partition`.
    derivatives_are_free = False

    def targeted(self, units: Array) -> Array:
        """Columns of the units that have a target of their own."""
        return units

    def predicted(self, spread: Spread) -> Spread:
        """Spread of these units in a prediction."""
        return spread

    def step_curvature(self, message: Derivatives) -> Array:
        """Curvature in each potential that a Newton step may use."""
        return clip(message.gamma, min=0.0)

    def competition(self, message: Derivatives, target: Array) -> Competition | None:
        """Curvature in the potentials of all units together, given their message; None where each has its own."""
        return None

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


class GaussianOutput(Output):
    """Real output ``y ~ N(u, noise_variance)`` (regression).

    Parameters
    ----------
    noise_variance : array of shape (n_out,)
        Variance of the observation noise.
    """

    name = "gaussian"
    #: Whether the noise depends on the inputs; None where that is to be found out.
    varies: bool | None = False

    def __init__(self, noise_variance: Array):
        self.noise_variance = noise_variance

    def with_noise_variance(self, noise_variance: Array) -> GaussianOutput:
        """The same with another noise."""
        return GaussianOutput(noise_variance)

    def noise(self, spread: Spread) -> Array:
        """Variance of the observation noise, for rows whose potentials have this spread."""
        return self.noise_variance

    def evidence(self, mean: Array, variance: Array, target: Array, power: float) -> tuple[Array, Derivatives]:
        """Closed form; ``power = 1`` gives ``log N(y; M, S + noise)``, 0 the expected log likelihood."""
        noise = astype(self.noise_variance, mean.dtype)
        total = noise + power * variance
        residual = target - mean
        g = residual / total
        gamma = 1 / total
        ratio = variance / noise
        spread = ratio if power == 0 else log1p(power * ratio) / power
        log_z = -0.5 * (residual * g + spread + log(2 * np.pi * noise))
        return log_z, Derivatives(g, gamma, gamma - power * g * g)
