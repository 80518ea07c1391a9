"""A real output whose noise depends on the inputs: of two units for each target the second says the log of its noise.

With the tilted density ``N(u1; M1, S1) N(u2; M2, S2) N(y; u1, v exp(u2))**alpha`` messages go to both units (what they
are made of: `sk_epsnn.outputs.base`). Given ``u2`` the first unit has a Gaussian output of known noise. What is left,
an average over ``u2``, has a closed form in the variational limit ``alpha = 0``, and else is a quadrature.
"""

from __future__ import annotations

import math
from copy import copy
from functools import partial, reduce
from typing import Any

from sk_epsnn._arrays import (
    Array,
    astype,
    clip,
    concat,
    exp,
    in_chunks,
    largest,
    log,
    log1p,
    maximum,
    sqrt,
    zeros_like,
)
from sk_epsnn.messages import Derivatives, Spread
from sk_epsnn.numerics import NORMAL_RANGE, normal_grid
from sk_epsnn.outputs.base import GaussianOutput

#: Most nats that a noise may be above or below where ``u2`` is 0: squares of it stay within float32.
MOST_LOG_NOISE = 40.0
#: Fisher information about the log of a variance, the curvature to expect in it.
FISHER = 0.5
#: Steps of the rule over ``u2``, at most: the likelihood is analytic within +- i pi / 2 of real values.
_STEP = 0.5
#: Wider Gaussians get the rule for this standard deviation, which keeps its cost bounded.
_MOST_SD = 10.0


class HeteroscedasticOutput(GaussianOutput):
    """Real output ``y ~ N(u1, noise_variance * exp(u2))``; the units of all means come first, then all log noises.

    Parameters
    ----------
    noise_variance : array of shape (n_targets,)
        Variance of the observation noise where ``u2`` is 0.
    varies : bool or None, default=None
        Whether ``u2`` counts; None says that it does not yet, False that it has been found not to. Without it the noise
        is constant, and the second units get no messages.
    factors : array of shape (2, n_targets) or None, default=None
        What predictions multiply the variance of ``u1`` and the noise by; None is 1.
    """

    name = "heteroscedastic"
    units_per_target = 2

    def __init__(self, noise_variance: Array, varies: bool | None = None, factors: Array | None = None):
        super().__init__(noise_variance)
        self.varies = varies
        self.factors = factors

    def with_noise_variance(self, noise_variance: Array) -> HeteroscedasticOutput:
        """The same with another noise where ``u2`` is 0."""
        return self._with(noise_variance=noise_variance)

    def with_noise_that(self, *, varies: bool) -> HeteroscedasticOutput:
        """The same with a noise that depends on ``u2``, or does not for good."""
        return self._with(varies=varies)

    def with_factors(self, factors: Array) -> HeteroscedasticOutput:
        """The same with other factors on the variances of predictions."""
        return self._with(factors=factors)

    def _with(self, **changes: Any) -> HeteroscedasticOutput:
        result = copy(self)
        vars(result).update(changes)
        return result

    def targeted(self, units: Array) -> Array:
        """Columns of the units of the means."""
        return _halves(units)[0]

    def predicted(self, spread: Spread) -> Spread:
        """Spread of the units of the means in a prediction."""
        mean, *parts = (self.targeted(part) for part in spread)
        if self.factors is not None:
            factor = astype(self.factors[0, :], mean.dtype)
            parts = [factor * part for part in parts]
        return Spread(mean, *parts)

    def noise(self, spread: Spread) -> Array:
        """Expected noise variance of each row and target, ``v exp(M2 + S2 / 2)``."""
        noise = astype(self.noise_variance, spread.mean.dtype)
        if self.factors is not None:
            noise = noise * astype(self.factors[1, :], noise.dtype)
        if not self.varies:
            return noise
        mean, variance = (_halves(part)[1] for part in (spread.mean, spread.epistemic + spread.aleatoric))
        return noise * _exp(mean + 0.5 * variance)

    def step_curvature(self, message: Derivatives) -> Array:
        """Curvature in each potential that a Newton step may use.

        That of a log noise vanishes where it is too high, and would promise a step without end.
        """
        of_mean, of_noise = _halves(message.gamma)
        return concat([clip(of_mean, min=0.0), clip(of_noise, min=FISHER if self.varies else 0.0)], axis=1)

    def log_partition(self, mean: Array, variance: Array, target: Array, power: float) -> Array:
        """``(1/alpha) log E N(y; u1, v exp(u2))**alpha`` of each sample and target in nats, without its derivatives."""
        if power == 0 or not self.varies:
            return self.evidence(mean, variance, target, power)[0]
        (m1, m2), (s1, s2) = _halves(mean), _halves(variance)
        log_noise = m2 + log(astype(self.noise_variance, mean.dtype))
        return in_chunks(partial(_log_average, power=power), (target - m1) ** 2, s1, log_noise, s2)

    def log_density(self, mean: Array, variance: Array, target: Array) -> Array:
        """Log density of the targets of each row as they are predicted, in nats, shape (n_samples,)."""
        if self.factors is None:
            return super().log_density(mean, variance, target)
        factors = astype(self.factors, mean.dtype)
        of_mean, of_noise = _halves(variance)
        plain = self._with(noise_variance=self.noise_variance * self.factors[1, :], factors=None)
        return plain.log_density(mean, concat([factors[0, :] * of_mean, of_noise], axis=1), target)

    def evidence(self, mean: Array, variance: Array, target: Array, power: float) -> tuple[Array, Derivatives]:
        """Closed form for ``power`` 0, the expected log likelihood; else quadrature over ``u2``."""
        (m1, m2), (s1, s2) = _halves(mean), _halves(variance)
        noise = astype(self.noise_variance, mean.dtype)
        if not self.varies:
            log_z, message = GaussianOutput(noise).evidence(m1, s1, target, power)
            return log_z, Derivatives(*(concat([part, zeros_like(part)], axis=1) for part in message))
        if power == 0:
            return _expected(target - m1, s1, m2, s2, noise)
        log_noise = m2 + log(noise)
        parts = in_chunks(partial(_averaged, power=power), target - m1, s1, log_noise, s2)
        log_z, g1, gamma1, kappa1, g2, gamma2, kappa2 = parts
        pairs = ([g1, g2], [gamma1, gamma2], [kappa1, kappa2])
        return log_z, Derivatives(*(concat(pair, axis=1) for pair in pairs))


def _halves(units: Array) -> tuple[Array, Array]:
    """Columns of the units of the means, and of those of the log noises."""
    n_targets = units.shape[1] // 2
    return units[:, :n_targets], units[:, n_targets:]


def _exp(log_noise: Array) -> Array:
    return exp(clip(log_noise, -MOST_LOG_NOISE, MOST_LOG_NOISE))


def _expected(residual: Array, s1: Array, m2: Array, s2: Array, noise: Array) -> tuple[Array, Derivatives]:
    """``E log N(y; u1, v exp(u2)) = -1/2 [log(2 pi v) + M2 + r e]``: ``r = E (y - u1)^2``, ``e = E exp(-u2) / v``."""
    precision = _exp(0.5 * s2 - m2) / noise
    ratio = (residual * residual + s1) * precision
    log_z = -0.5 * (log(2 * math.pi * noise) + m2 + ratio)
    curvature = concat([precision, 0.5 * ratio], axis=1)
    return log_z, Derivatives(concat([residual * precision, 0.5 * (ratio - 1)], axis=1), curvature, curvature)


def _averaged(residual: Array, s1: Array, log_noise: Array, s2: Array, power: float) -> tuple[Array, ...]:
    """``(1/alpha) log E N(y; u1, exp(u2))**alpha`` and its derivatives, for ``u2 ~ N(log_noise, s2)``.

    With ``v = exp(u2)`` and ``D = v + alpha S1``, ``l = (1/alpha) log E N(y; u1, v)**alpha`` over ``u1`` has the slopes
    ``q = (y - M1) / D`` in ``M1`` and ``h = [(S1 + q^2 D v) / D - 1] / 2`` in ``u2``. With averages over the tilted
    ``u2``, ``g1 = E q``, ``kappa1 = E [1/D - alpha q^2]``, ``g2 = E h``, ``kappa2 = -E [h' + alpha h^2]``, and
    ``gamma = kappa + alpha g^2`` by the heat equation.
    """
    square = residual * residual
    noises, heights = _nodes(square, s1, log_noise, s2, power)
    top = reduce(maximum, heights)
    sums = [zeros_like(square) for _ in range(6)]
    for v, height in zip(noises, heights, strict=True):
        total = v + power * s1
        q = residual / total
        slope = 0.5 * ((s1 + q * q * total * v) / total - 1)
        bend = 0.5 * v * (q * q * (power * s1 - v) - s1 / total) / total
        weight = exp(height - top)
        terms = (1.0, q, 1 / total, q * q, slope, bend + power * slope * slope)
        sums = [part + weight * term for part, term in zip(sums, terms, strict=True)]
    mass = sums[0]
    g1, inverse, second, g2, bend = (part / mass for part in sums[1:])
    kappa1, kappa2 = inverse - power * second, -bend
    log_z = (log(mass) + top) / power
    return log_z, g1, kappa1 + power * g1 * g1, kappa1, g2, kappa2 + power * g2 * g2, kappa2


def _log_average(square: Array, s1: Array, log_noise: Array, s2: Array, power: float) -> Array:
    """The first result of `_averaged`, without the work for its derivatives."""
    _, heights = _nodes(square, s1, log_noise, s2, power)
    top = reduce(maximum, heights)
    return (log(sum((exp(height - top) for height in heights), zeros_like(top))) + top) / power


def _nodes(square: Array, s1: Array, log_noise: Array, s2: Array, power: float) -> tuple[list[Array], list[Array]]:
    """Noise variances at the nodes of a rule for ``u2``, and the logarithm of what each adds to the integral."""
    sd = sqrt(s2)
    widest = min(float(largest(sd)), _MOST_SD) if sd.shape[0] else 0.0
    rule = normal_grid(math.ceil(NORMAL_RANGE * max(1.0, widest / _STEP)))
    noises = [_exp(log_noise + x * sd) for x, _ in rule]
    return noises, [
        power * _log_density(square, s1, v, power) + math.log(w) for v, (_, w) in zip(noises, rule, strict=True)
    ]


def _log_density(square: Array, s1: Array, v: Array, power: float) -> Array:
    """``(1/alpha) log E N(y; u1, v)**alpha`` over ``u1``."""
    return -0.5 * (log(2 * math.pi * v) + log1p(power * s1 / v) / power + square / (v + power * s1))
