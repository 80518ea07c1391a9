"""The energy of a batch: what a batch makes of a posterior, in nats."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sk_epsnn._arrays import Array, total_of
from sk_epsnn.ep.passes import Upward, forward, log_partition
from sk_epsnn.ep.sites import UpdateCounts
from sk_epsnn.ep.state import State
from sk_epsnn.ep.steps import kl_mean_part, kl_spread_part
from sk_epsnn.messages import Potentials, WeightMoments
from sk_epsnn.network import Batch
from sk_epsnn.weights import Weights


@dataclass
class BatchResult:
    """Posterior of every layer after one batch, with the step length reached and the energy in nats."""

    posteriors: list[Weights]
    step: float
    energy: float
    accepted: bool = True
    counts: UpdateCounts = field(default_factory=UpdateCounts)


def energy(state: State, batch: Batch, posteriors: list[Weights], cavities: list[Weights]) -> float:
    """``F(q) = sum_n log Z_n(q) - KL(q || q_c)`` in nats."""
    return log_evidence(state, batch, posteriors) - divergence(state, posteriors, cavities)


def log_evidence(state: State, batch: Batch, posteriors: list[Weights]) -> float:
    """``sum_n log Z_n(q)`` in nats."""
    weights = moments_of(state, posteriors, batch.target.dtype)
    return sum(
        data_energy(state, block, forward(state, block.inputs, weights).potentials[-1])
        for block in state.network.blocks(batch)
    )


def divergence(state: State, posteriors: list[Weights], cavities: list[Weights]) -> float:
    """``KL(q || q_c)`` in nats, its covariance part times the temperature of each layer."""
    return mean_kl(posteriors, cavities) + spread_kl(state, posteriors, cavities)


def moments_of(state: State, posteriors: list[Weights], dtype: Any) -> list[WeightMoments]:
    """Moments of given posteriors, each at the temperature of its layer."""
    return [q.moments(layer.temperature, dtype) for q, layer in zip(posteriors, state.layers, strict=True)]


def mean_kl(posteriors: list[Weights], cavities: list[Weights]) -> float:
    """The part of KL that changes when the means move."""
    return sum(kl_mean_part(q, c) for q, c in zip(posteriors, cavities, strict=True))


def spread_kl(state: State, posteriors: list[Weights], cavities: list[Weights]) -> float:
    """The part of KL that depends on the covariances only, each layer's times its temperature."""
    return sum(
        layer.temperature * kl_spread_part(q, c) for q, c, layer in zip(posteriors, cavities, state.layers, strict=True)
    )


def data_energy(state: State, batch: Batch, last: Potentials) -> float:
    """Summed log evidence of the batch, accumulated in float64."""
    return summed(batch, log_partition(state, last, batch.target))


def summed(batch: Batch, log_z: Array) -> float:
    """Sum over the targets of a batch, each as often as its weight says, accumulated in float64."""
    return total_of(batch.weight * log_z)


def own_sites(up: Upward, excess: list[Array]) -> float:
    """What EP's energy subtracts from the summed log evidence for the weights' own sites, these held fixed.

    Taking its own site out of each cavity turns ``sum log Z_n(q)`` into ``sum log Z_n(q) - (gamma - kappa) S / 2``
    to second order, S the variance that comes from the weights. With the KL to the cavity, the stationary point is
    EP's ``P = P_c + sum gamma p^2``.
    """
    return sum(0.5 * total_of(extra * here.from_weights) for here, extra in zip(up.potentials, excess, strict=True))
