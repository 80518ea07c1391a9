"""Outputs that compete: a winner takes all."""

from __future__ import annotations

from sk_epsnn._arrays import (
    Array,
    astype,
    clip,
    in_chunks,
    log,
    smallest_normal,
    sum_over,
)
from sk_epsnn.messages import Competition, Derivatives
from sk_epsnn.numerics import (
    expm1,
    without_subnormal,
)
from sk_epsnn.outputs.spiking import SpikingOutput
from sk_epsnn.softmax import log_expected_softmax, tilted, tilted_bound


class SoftmaxOutput(SpikingOutput):
    """Winner-take-all output: of all units that of the largest ``u_k`` plus Gumbel noise fires, ``p = softmax(u)``.

    One block over all classes, by the tilted bound on ``E log sum exp(u)``, see `sk_epsnn.softmax`; its power is 0. Its
    derivatives in the variances are those of the bound, and ``gamma = kappa`` bounds its curvature.
    """

    name = "softmax"
    only_power = 0.0
    derivatives_are_free = True

    def evidence(self, mean: Array, variance: Array, target: Array, power: float) -> tuple[Array, Derivatives]:
        """Lower bound on the expected log likelihood of each row, shape (n_samples, 1), and its derivatives."""
        log_z, gradient, kappa = in_chunks(_won, mean, variance, target)
        return log_z, Derivatives(gradient, kappa, kappa)

    def competition(self, message: Derivatives, target: Array) -> Competition:
        """Curvature ``diag(p) - p p^T``: that of the bound in the potentials where what makes it tight is held.

        No less than the curvature of the bound itself, and equal to it where variances are small.
        """
        return Competition(astype(target > 0, message.g.dtype) - message.g)

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
