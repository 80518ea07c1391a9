"""Outputs that fire or are silent, each by itself: sigmoid units and thresholds."""

from __future__ import annotations

import math
from functools import reduce
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
from scipy.special import ndtri

from sk_epsnn._arrays import (
    CACHED,
    Array,
    absolute,
    array_namespace,
    clip,
    concat,
    copysign,
    exp,
    in_chunks,
    is_any,
    largest,
    largest_finite,
    log,
    log1p,
    logaddexp,
    minimum,
    smallest_normal,
    sqrt,
    sum_over,
    where,
    zeros_like,
)
from sk_epsnn._sklearn import Interval, Option, StrOptions
from sk_epsnn.messages import Derivatives
from sk_epsnn.numerics import (
    NORMAL_RANGE,
    expected_sigmoid,
    expected_softplus,
    expm1,
    hazard,
    log_expected_sigmoid,
    log_expected_sigmoid_value,
    log_ndtr,
    logit,
    normal_grid,
)
from sk_epsnn.outputs.base import Output
from sk_epsnn.softmax import log_sum_exp

#: Variance of the logistic distribution, which makes Heaviside outputs comparable to sigmoid ones.
LOGISTIC_VARIANCE = float(np.pi**2 / 3)
#: Wider Gaussians get the rule for this standard deviation, which keeps its cost bounded.
MOST_SD = 100.0
#: Nodes of a rule and their weights.
_Rule: TypeAlias = tuple[tuple[float, float], ...]


class SpikingOutput(Option, Output):
    """An output neuron of a classifier; targets are -1 (silent) and +1 (spike). Base of every kind."""

    #: Power of EP that is the only one, None where any may be taken.
    only_power: float | None = None

    def log_probability(self, mean: Array, variance: Array) -> Array:
        """Log probabilities of the classes, shape (n_samples, n_classes): one of the units fires, the others do not.

        A single unit stands for two classes.
        """
        log_odds = self.log_odds(mean, variance)
        if log_odds.shape[1] == 1:
            both = concat([log_odds, -log_odds], axis=1)
            return -logaddexp(both, zeros_like(both))
        return log_odds - log_sum_exp(log_odds)

    def log_density(self, mean: Array, variance: Array, target: Array) -> Array:
        """Log probability of the class of each row in nats, shape (n_samples,), given that exactly one unit fires."""
        log_probability = self.log_probability(mean, variance)
        if target.shape[1] == 1:
            target = concat([-target, target], axis=1)
        return sum_over(where(target > 0, log_probability, zeros_like(log_probability)), axis=1)


class SigmoidOutput(SpikingOutput):
    """Spiking output that fires with probability ``sigma(u)``; targets are -1 (silent) and +1 (spike)."""

    name = "sigmoid"

    def evidence(self, mean: Array, variance: Array, target: Array, power: float) -> tuple[Array, Derivatives]:
        """Closed forms for ``power`` 1 (EP) and 0 (the variational limit), quadrature in between."""
        margin = target * mean
        if power == 1:
            log_z, slope, second = in_chunks(log_expected_sigmoid, margin, variance)
            return log_z, Derivatives(target * slope, -second, -second - slope * slope)
        if power == 0:
            value, first, _ = in_chunks(expected_sigmoid, -margin, variance)
            return -in_chunks(expected_softplus, -margin, variance), Derivatives(target * value, first, first)
        return self._quadrature(margin, variance, target, power)

    def log_partition(self, mean: Array, variance: Array, target: Array, power: float) -> Array:
        """``(1/alpha) log E f(y|u)**alpha`` for each sample and unit, in nats, without the work for its derivatives."""
        margin = target * mean
        if power == 1:
            return in_chunks(log_expected_sigmoid_value, margin, variance)
        if power == 0:
            return -in_chunks(expected_softplus, -margin, variance)
        return _tilted(margin, sqrt(variance), power, 0)[0]

    def potential_of(self, share: Array) -> Array:
        """Log-odds, see `Output.potential_of`."""
        return logit(share)

    def log_odds(self, mean: Array, variance: Array) -> Array:
        """``log p / (1 - p)`` of the spike probability, from the smaller of the two, which loses no digits."""
        if not is_any(variance > smallest_normal(variance)):
            return mean
        log_rare = in_chunks(log_expected_sigmoid_value, -absolute(mean), variance)
        return copysign(log1p(-exp(log_rare)) - log_rare, mean)

    @staticmethod
    def _quadrature(margin: Array, variance: Array, target: Array, power: float) -> tuple[Array, Derivatives]:
        # With r = sigma(-T u) under the tilted density: g = T E r, gamma = E r(1-r) - alpha Var r,
        # kappa = E r(1-r) - alpha E r^2 (integration by parts of N(u; M, S) sigma(T u)^alpha).
        log_z, r1, r2 = _tilted(margin, sqrt(variance), power, 2)
        # The loss is convex with curvatures of at most 1/4, hence gamma <= 1 / (4 + alpha S) (Cramer and Rao); a rule
        # too coarse for a very wide Gaussian would break this and claim more precision than there is.
        gamma = clip(r1 - r2 - power * (r2 - r1 * r1), 0.0, 1 / (4 + power * variance))
        derivatives = Derivatives(target * r1, gamma, gamma - power * r1 * r1)
        return log_z, derivatives


class HeavisideOutput(SpikingOutput):
    """Spiking output with a threshold: fires when ``u + e >= 0``; targets are -1 (silent) and +1 (spike).

    Without noise the likelihood is an indicator, every power of which is itself; this block is always plain EP.

    Parameters
    ----------
    noise_variance : "auto" or float, default="auto"
        Variance of the Gaussian noise ``e`` of the threshold; without any, one row on the wrong side is impossible.
        "auto" is that of the logistic distribution, pi ** 2 / 3; 0 is the Heaviside output of [1]_.

    References
    ----------
    .. [1] D. Yao, S. McLaughlin, Y. Altmann, arXiv:2506.23757, 2025, eq. 31.

    Examples
    --------
    >>> from sk_epsnn import EPSNNClassifier, HeavisideOutput
    >>> clf = EPSNNClassifier(output_activation=HeavisideOutput(noise_variance=0))
    """

    name = "heaviside"
    only_power = 1.0
    _parameter_constraints = {"noise_variance": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")]}

    def __init__(self, noise_variance: Any = "auto"):
        self.noise_variance = noise_variance

    @property
    def variance(self) -> float:
        """Variance of the threshold."""
        return LOGISTIC_VARIANCE if isinstance(self.noise_variance, str) else float(self.noise_variance)

    @property
    def has_ties(self) -> bool:  # type: ignore[override]
        """Whether a potential of exactly 0 is decided by convention: a threshold without noise."""
        return self.variance == 0

    def evidence(self, mean: Array, variance: Array, target: Array, power: float) -> tuple[Array, Derivatives]:
        """Truncated Gaussian moments; ``power`` has no effect (see the class)."""
        total = variance + self.variance
        sd = sqrt(total)
        z = target * mean / sd
        ratio, curvature = hazard(z)
        return log_ndtr(z), Derivatives(target * ratio / sd, curvature / total, ratio * z / total)

    def potential_of(self, share: Array) -> Array:
        """Quantiles of the threshold's noise, see `Output.potential_of`."""
        return math.sqrt(self.variance) * ndtri(share)

    def log_partition(self, mean: Array, variance: Array, target: Array, power: float) -> Array:
        """Log partition function without its derivatives, which overflow where the potential is all but known."""
        return log_ndtr(target * mean / sqrt(variance + self.variance))


def _softplus(x: Array) -> Array:
    """``log(1 + exp(x))``, several times faster than ``logaddexp``."""
    size = absolute(x)
    # The first part is x where that is positive, else 0, without rounding.
    return 0.5 * (x + size) + log1p(exp(-size))


def _tilted(margin: Array, sd: Array, power: float, n_moments: int) -> tuple[Array, ...]:
    """``(1/alpha) log E sigma(u)**alpha`` for ``u ~ N(margin, sd**2)``, and moments of ``sigma(-u)``.

    Parameters
    ----------
    margin, sd : array of shape (n_samples, n_units)
    power : float in (0, 1)
    n_moments : int
        How many, from the first on, of the density ``N(u; margin, sd**2) sigma(u)**alpha``.

    Returns
    -------
    log_z, *moments : arrays of shape (n_samples, n_units)
        The first in nats.
    """
    nodes = _nodes(sd)
    if array_namespace(margin) is not np:
        return _tilted_anywhere(margin, sd, power, nodes, n_moments)
    far = 0.9 * math.log(largest_finite(margin))

    def chunk(margin: Array, sd: Array) -> tuple[Array, ...]:
        near = margin.size and float((NORMAL_RANGE * sd - margin).max()) < far
        return (_tilted_near if near else _tilted_anywhere)(margin, sd, power, nodes, n_moments)

    parts = in_chunks(chunk, margin.reshape(-1), sd.reshape(-1), size=CACHED // len(nodes))
    return tuple(part.reshape(margin.shape) for part in parts)


def _tilted_near(
    margin: np.ndarray, sd: np.ndarray, power: float, nodes: _Rule, n_moments: int
) -> tuple[np.ndarray, ...]:
    """`_tilted` where ``exp(-u)`` does not overflow: all nodes at once, by an exponential, a logarithm, an exponential.

    NumPy has vector instructions for these three, always in float32 and on some processors in float64.
    """
    x, w = (np.array(column, margin.dtype) for column in zip(*nodes, strict=True))
    miss = x[:, None] * -sd
    miss -= margin
    np.exp(miss, out=miss)
    total = 1 + miss
    fire = np.log(total)
    fire *= -power
    np.exp(fire, out=fire)
    mass = w @ fire
    result = [np.log(mass) / power]
    if n_moments:
        miss /= total
    for _ in range(n_moments):
        fire *= miss
        result.append(w @ fire / mass)
    return tuple(result)


def _tilted_anywhere(margin: Array, sd: Array, power: float, nodes: _Rule, n_moments: int) -> tuple[Array, ...]:
    """`_tilted` node by node, without under- or overflow however far from the boundary."""
    reference = _reference_loss(margin, sd, power, nodes)
    sums = [zeros_like(margin) for _ in range(n_moments + 1)]
    for x, w in nodes:
        loss = _softplus(-(margin + x * sd))
        weight = w * exp(power * (reference - loss))
        sums[0] += weight
        if n_moments:
            miss = -expm1(-loss)
        for total in sums[1:]:
            weight = weight * miss
            total += weight
    return log(sums[0]) / power - reference, *(total / sums[0] for total in sums[1:])


def _reference_loss(margin: Array, sd: Array, power: float, nodes: _Rule) -> Array:
    """Loss to divide out of the quadrature, so that it neither underflows nor overflows far from the boundary.

    That at the mean does, unless the loss is so large that nodes on the other side of the boundary take over.
    """
    reference = _softplus(-margin)
    if power * _largest(reference) < 0.8 * math.log(largest_finite(margin)):
        return reference
    costs = [_softplus(-(margin + x * sd)) - math.log(w) / power for x, w in nodes]
    return reduce(minimum, costs)


def _largest(values: Array) -> float:
    """Largest entry of a non-negative array, 0 if it has none."""
    return float(largest(values)) if values.shape[0] else 0.0


def _nodes(sd: Array) -> _Rule:
    """Rule fine enough for the widest Gaussian: the sigmoid has poles at +- i pi, hence steps of 1.5 in u."""
    widest = min(_largest(sd), MOST_SD)
    return normal_grid(int(math.ceil(NORMAL_RANGE * max(1.0, widest / 1.5))))
