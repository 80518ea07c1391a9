"""Activation blocks: hidden neurons and observed outputs (eq. 31 of [1]_).

A hidden neuron turns the Gaussian message ``u ~ N(M, S)`` into a spike probability and, given the log-ratio that
the next layer sends back for the spike, returns the derivatives of ``log Z`` that flow down. An observed output is
the same block with the spike clamped. In both, with ``Z`` the normaliser of the tilted distribution,

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

import math
from functools import reduce
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from sk_epsnn._arrays import Array, HoldsArrays, array_namespace
from sk_epsnn._sklearn import Interval, Option
from sk_epsnn.numerics import (
    NORMAL_RANGE,
    expected_sigmoid,
    expected_softplus,
    hazard,
    log_expected_sigmoid,
    log_expected_sigmoid_value,
    log_ndtr,
    ndtr,
    normal_grid,
    normal_pdf,
)
from sk_epsnn.sites import Derivatives

#: Wider Gaussians get the rule for this standard deviation, which keeps its cost bounded.
MOST_SD = 100.0


class SpikeMoments(NamedTuple):
    """Spike probability ``E f(u)`` and its first two derivatives in the mean of ``u``."""

    probability: Array
    first: Array
    second: Array


class HiddenActivation:
    """A neuron that fires with probability ``f(u)``."""

    name: str
    #: Whether a potential of exactly 0 is decided by convention: a threshold without noise.
    has_ties = False

    def forward(self, mean: Array, variance: Array) -> SpikeMoments:
        """Predictive spike probability and its derivatives; message q0(v) of eq. 31."""
        raise NotImplementedError

    def repeat_probability(self, moments: SpikeMoments) -> Array:
        """``E f(u)**2``: two spikes drawn with the same potential both fire."""
        raise NotImplementedError

    def backward(self, moments: SpikeMoments, log_ratio: Array) -> Derivatives:
        """Message to ``u`` given the log-ratio ``log q1(v=1)/q1(v=0)`` that came down (eq. 31).

        ``Z = 1 + p (exp(log_ratio) - 1)`` up to a constant, so everything follows from ``p`` and its derivatives;
        ``kappa`` uses the heat equation ``dp/dS = p'' / 2``.
        """
        p, first, second = moments
        odds = array_namespace(log_ratio).expm1(log_ratio)
        lam = odds / (1 + p * odds)
        g = lam * first
        return Derivatives(g, g * g - lam * second, -lam * second)


class Heaviside(HiddenActivation):
    """Deterministic threshold: the neuron fires when ``u >= 0``."""

    name = "heaviside"
    has_ties = True

    def forward(self, mean: Array, variance: Array) -> SpikeMoments:
        """Spike probability ``Phi(M / sqrt(S))`` with its derivatives."""
        sd = array_namespace(variance).sqrt(variance)
        z = mean / sd
        first = normal_pdf(z) / sd
        return SpikeMoments(ndtr(z), first, -z * first / sd)

    def repeat_probability(self, moments: SpikeMoments) -> Array:
        """The threshold is deterministic: firing twice is firing once."""
        return moments.probability


class Sigmoid(HiddenActivation):
    """Stochastic neuron: fires with probability ``1 / (1 + exp(-u))``."""

    name = "sigmoid"

    def forward(self, mean: Array, variance: Array) -> SpikeMoments:
        """Spike probability ``E sigma(u)`` by the mixture of eight probits, with its derivatives."""
        return SpikeMoments(*expected_sigmoid(mean, variance))

    def repeat_probability(self, moments: SpikeMoments) -> Array:
        """``E sigma**2 = E sigma - E sigma'``."""
        return moments.probability - moments.first


class Output(HoldsArrays):
    """An observed output unit: the activation block with its value clamped."""

    name: str
    #: See `HiddenActivation.has_ties`.
    has_ties = False

    def log_partition(self, mean: Array, variance: Array, target: Array, power: float) -> Array:
        """``(1/alpha) log E f(y|u)**alpha`` for each sample and unit, in nats."""
        return self.evidence(mean, variance, target, power)[0]

    def evidence(self, mean: Array, variance: Array, target: Array, power: float) -> tuple[Array, Derivatives]:
        """Log partition function (see `log_partition`) and its derivatives."""
        raise NotImplementedError

    def log_odds(self, mean: Array, variance: Array) -> Array:
        """``log p / (1 - p)`` of the probability ``p`` that a spiking output fires."""
        ones = array_namespace(mean).ones_like(mean)
        return self.log_partition(mean, variance, ones, 1.0) - self.log_partition(mean, variance, -ones, 1.0)


class GaussianOutput(Output):
    """Real output ``y ~ N(u, noise_variance)`` (regression).

    Parameters
    ----------
    noise_variance : array of shape (n_out,)
        Variance of the observation noise.
    """

    name = "gaussian"

    def __init__(self, noise_variance: Array):
        self.noise_variance = noise_variance

    def evidence(self, mean: Array, variance: Array, target: Array, power: float) -> tuple[Array, Derivatives]:
        """Closed form; ``power = 1`` gives ``log N(y; M, S + noise)``, 0 the expected log likelihood."""
        xp = array_namespace(mean)
        noise = xp.astype(self.noise_variance, mean.dtype)
        total = noise + power * variance
        residual = target - mean
        g = residual / total
        gamma = 1 / total
        ratio = variance / noise
        spread = ratio if power == 0 else xp.log1p(power * ratio) / power
        log_z = -0.5 * (residual * g + spread + xp.log(2 * np.pi * noise))
        return log_z, Derivatives(g, gamma, gamma - power * g * g)


class SigmoidOutput(Output):
    """Spiking output that fires with probability ``sigma(u)``; targets are -1 (silent) and +1 (spike)."""

    name = "sigmoid"

    def evidence(self, mean: Array, variance: Array, target: Array, power: float) -> tuple[Array, Derivatives]:
        """Closed forms for ``power`` 1 (EP) and 0 (the variational limit), quadrature in between."""
        margin = target * mean
        if power == 1:
            log_z, slope, second = log_expected_sigmoid(margin, variance)
            return log_z, Derivatives(target * slope, -second, -second - slope * slope)
        if power == 0:
            value, first, _ = expected_sigmoid(-margin, variance)
            return -expected_softplus(-margin, variance), Derivatives(target * value, first, first)
        return self._quadrature(margin, variance, target, power)

    def log_partition(self, mean: Array, variance: Array, target: Array, power: float) -> Array:
        """See `Output.log_partition`; skips the derivatives."""
        xp = array_namespace(mean)
        margin = target * mean
        if power == 1:
            return log_expected_sigmoid_value(margin, variance)
        if power == 0:
            return -expected_softplus(-margin, variance)
        sd = xp.sqrt(variance)
        total = xp.zeros_like(margin)
        reference = _reference_loss(margin, sd, power)
        for x, w in _nodes(sd):
            total += w * xp.exp(power * (reference - _softplus(-(margin + x * sd))))
        return xp.log(total) / power - reference

    def log_odds(self, mean: Array, variance: Array) -> Array:
        """See `Output.log_odds`; from the smaller of the two probabilities, which loses no digits."""
        xp = array_namespace(mean)
        if not xp.any(variance > float(xp.finfo(variance.dtype).smallest_normal)):
            return mean
        log_rare = log_expected_sigmoid_value(-xp.abs(mean), variance)
        return xp.copysign(xp.log1p(-xp.exp(log_rare)) - log_rare, mean)

    @staticmethod
    def _quadrature(margin: Array, variance: Array, target: Array, power: float) -> tuple[Array, Derivatives]:
        # With r = sigma(-T u) under the tilted density: g = T E r, gamma = E r(1-r) - alpha Var r,
        # kappa = E r(1-r) - alpha E r^2 (integration by parts of N(u; M, S) sigma(T u)^alpha).
        xp = array_namespace(margin)
        sd = xp.sqrt(variance)
        reference = _reference_loss(margin, sd, power)
        total, r1, r2 = xp.zeros_like(margin), xp.zeros_like(margin), xp.zeros_like(margin)
        for x, w in _nodes(sd):
            loss = _softplus(-(margin + x * sd))
            weight = w * xp.exp(power * (reference - loss))
            miss = -xp.expm1(-loss)
            total += weight
            weight *= miss
            r1 += weight
            r2 += weight * miss
        r1 /= total
        r2 /= total
        # The loss is convex with curvatures of at most 1/4, hence gamma <= 1 / (4 + alpha S) (Cramer and Rao); a rule
        # too coarse for a very wide Gaussian would break this and claim more precision than there is.
        gamma = xp.clip(r1 - r2 - power * (r2 - r1 * r1), 0.0, 1 / (4 + power * variance))
        derivatives = Derivatives(target * r1, gamma, gamma - power * r1 * r1)
        return xp.log(total) / power - reference, derivatives


class HeavisideOutput(Option, Output):
    """Spiking output with a threshold: fires when ``u + e >= 0``; targets are -1 (silent) and +1 (spike).

    Without noise the likelihood is an indicator, every power of which is itself; this block is always plain EP.

    Parameters
    ----------
    noise_variance : float, default=0
        Variance of the Gaussian noise ``e`` of the threshold.
    """

    name = "heaviside"
    _parameter_constraints: dict[str, list[Any]] = {"noise_variance": [Interval(Real, 0, None, closed="left")]}

    def __init__(self, noise_variance: float = 0.0):
        self.noise_variance = noise_variance

    @property
    def has_ties(self) -> bool:  # type: ignore[override]
        """See `HiddenActivation.has_ties`."""
        return self.noise_variance == 0

    def evidence(self, mean: Array, variance: Array, target: Array, power: float) -> tuple[Array, Derivatives]:
        """Truncated Gaussian moments; ``power`` has no effect (see the class)."""
        total, sd = self._spread(variance)
        z = target * mean / sd
        ratio, curvature = hazard(z)
        return log_ndtr(z), Derivatives(target * ratio / sd, curvature / total, ratio * z / total)

    def log_partition(self, mean: Array, variance: Array, target: Array, power: float) -> Array:
        """See `Output.log_partition`; skips the derivatives, which overflow where the potential is all but known."""
        return log_ndtr(target * mean / self._spread(variance)[1])

    def _spread(self, variance: Array) -> tuple[Array, Array]:
        """Variance and standard deviation of the potential with the noise of the threshold."""
        total = variance + float(self.noise_variance)
        return total, array_namespace(total).sqrt(total)


def _softplus(x: Array) -> Array:
    """``log(1 + exp(x))``, several times faster than ``logaddexp``."""
    xp = array_namespace(x)
    return xp.clip(x, min=0) + xp.log1p(xp.exp(-xp.abs(x)))


def _reference_loss(margin: Array, sd: Array, power: float) -> Array:
    """Loss to divide out of the quadrature, so that it neither underflows nor overflows far from the boundary.

    That at the mean does, unless the loss is so large that nodes on the other side of the boundary take over.
    """
    xp = array_namespace(margin)
    reference = _softplus(-margin)
    if power * _largest(reference) < 0.8 * math.log(float(xp.finfo(margin.dtype).max)):
        return reference
    costs = [_softplus(-(margin + x * sd)) - math.log(w) / power for x, w in _nodes(sd)]
    return reduce(xp.minimum, costs)


def _largest(values: Array) -> float:
    """Largest entry of a non-negative array, 0 if it has none."""
    return float(array_namespace(values).max(values)) if values.shape[0] else 0.0


def _nodes(sd: Array) -> tuple[tuple[float, float], ...]:
    """Rule fine enough for the widest Gaussian: the sigmoid has poles at +- i pi, hence steps of 1.5 in u."""
    widest = min(_largest(sd), MOST_SD)
    return normal_grid(int(math.ceil(NORMAL_RANGE * max(1.0, widest / 1.5))))


HIDDEN_ACTIVATIONS = {c.name: c for c in (Heaviside, Sigmoid)}
SPIKING_OUTPUTS = {c.name: c for c in (SigmoidOutput, HeavisideOutput)}
