"""Real outputs of one noise."""

from __future__ import annotations

import numpy as np

from sk_epsnn._arrays import (
    Array,
    astype,
    log,
    log1p,
)
from sk_epsnn.messages import Derivatives, Spread
from sk_epsnn.outputs.base import Output


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
