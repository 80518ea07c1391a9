"""Output neurons of classifiers."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
from scipy.special import ndtri

from sk_epsnn._arrays import (
    Array,
    absolute,
    astype,
    clip,
    concat,
    copysign,
    exp,
    in_chunks,
    is_any,
    log,
    log1p,
    logaddexp,
    smallest_normal,
    sqrt,
    sum_over,
    where,
    zeros_like,
)
from sk_epsnn._sklearn import Interval, Option, StrOptions
from sk_epsnn.messages import Derivatives
from sk_epsnn.numerics import (
    expected_sigmoid,
    expected_softplus,
    expm1,
    hazard,
    log_expected_sigmoid,
    log_expected_sigmoid_value,
    log_ndtr,
    logit,
    without_subnormal,
)
from sk_epsnn.outputs.base import Output
from sk_epsnn.outputs.sigmoid_rule import tilted_sigmoid
from sk_epsnn.softmax import log_expected_softmax, log_sum_exp, tilted, tilted_bound

#: Variance of the logistic distribution, which makes Heaviside outputs comparable to sigmoid ones.
LOGISTIC_VARIANCE = float(np.pi**2 / 3)


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
        return tilted_sigmoid(margin, sqrt(variance), power, 0)[0]

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
        log_z, r1, r2 = tilted_sigmoid(margin, sqrt(variance), power, 2)
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


class SoftmaxOutput(SpikingOutput):
    """Winner-take-all output: of all units that of the largest ``u_k`` plus Gumbel noise fires, ``p = softmax(u)``.

    One block over all classes, by the tilted bound on ``E log sum exp(u)``, see `sk_epsnn.softmax`; its power is 0. Its
    derivatives in the variances are those of the bound, and ``gamma = kappa`` bounds its curvature.
    """

    name = "softmax"
    only_power = 0.0

    def evidence(self, mean: Array, variance: Array, target: Array, power: float) -> tuple[Array, Derivatives]:
        """Lower bound on the expected log likelihood of each row, shape (n_samples, 1), and its derivatives."""
        log_z, gradient, kappa = in_chunks(_won, mean, variance, target)
        return log_z, Derivatives(gradient, kappa, kappa)

    def potential_of(self, share: Array) -> Array:
        """Logarithms, less their average, see `Output.potential_of`."""
        return log(share) - log(share).mean()

    def log_odds(self, mean: Array, variance: Array) -> Array:
        """``log p / (1 - p)`` of the probability of each class."""
        log_p = self.log_probability(mean, variance)
        return log_p - log(clip(-expm1(log_p), min=smallest_normal(log_p)))

    def log_probability(self, mean: Array, variance: Array) -> Array:
        """Log probabilities of the classes, shape (n_samples, n_classes)."""
        return log_expected_softmax(mean, variance)


def _won(mean: Array, variance: Array, target: Array) -> tuple[Array, Array, Array]:
    """`SoftmaxOutput.evidence` of a few rows."""
    p = tilted(mean, variance)
    wins = astype(target > 0, mean.dtype)
    log_z = sum_over(wins * mean, axis=1, keepdims=True) - tilted_bound(mean, variance, p)
    return log_z, without_subnormal(wins - p), without_subnormal(p * (1 - p))
