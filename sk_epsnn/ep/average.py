"""The paper's schedule: average EP over one batch, all messages in parallel, damped (Algorithms 1 and 2 of [1]_).

References
----------
.. [1] D. Yao, S. McLaughlin, Y. Altmann, arXiv:2506.23757, 2025, Algorithms 1 and 2.
"""

from __future__ import annotations

import math

import numpy as np

from sk_epsnn._arrays import Array, absolute, clip, largest, new_zeros, sqrt
from sk_epsnn.ep import mixing
from sk_epsnn.ep.energy import BatchResult, energy, moments_of
from sk_epsnn.ep.passes import backward, forward, row_weights
from sk_epsnn.ep.sites import UpdateCounts, bound_site, damp
from sk_epsnn.ep.state import VARIANCE_FLOOR, State
from sk_epsnn.ep.steps import recentred
from sk_epsnn.network import Batch
from sk_epsnn.weights import Weights

#: Average EP may lose this much energy, in nats per sample, before its update counts as diverged.
ENERGY_SLACK = 0.01


def average_ep(
    state: State,
    batch: Batch,
    cavities: list[Weights],
    *,
    damping: float,
    n_sweeps: int,
    tol: float,
    leave_one_out: bool = True,
) -> BatchResult:
    """Algorithms 1 and 2: average EP over one batch, all messages in parallel, damped.

    Parameters
    ----------
    state : State
        Its posteriors are where the iteration starts.
    batch : Batch
    cavities : list of IndependentWeights
        q_c(W) of eq. 33, the prior of this batch.
    damping : float in (0, 1]
        Weight of the new site; the paper uses 0.7.
    n_sweeps : int
        At most this many forward and backward passes.
    tol : float
        Stop when no mean moves by more than ``tol`` posterior standard deviations.
    leave_one_out : bool, default=True
        Take the message's own sample and input out of its cavity (eq. 23 and eqs. 26-28). False is the limit of many
        samples, whose fixed point is that of `newton`.

    Returns
    -------
    BatchResult
        With ``accepted=False`` and the starting posteriors when the iteration diverged.
    """
    counts = UpdateCounts()
    start = state.posteriors
    posteriors = start
    n_samples = batch.target.shape[0]
    ratios = [new_zeros(batch.target, (n_samples, size)) for size in state.network.sizes[1:]]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for _ in range(n_sweeps):
            old = posteriors
            posteriors, ratios = _average_sweep(state, batch, cavities, old, ratios, damping, leave_one_out, counts)
            move = _largest_move(old, posteriors)
            if not math.isfinite(move) or move < tol:
                break
        accepted = bool(math.isfinite(move)) and _worth_taking(state, batch, cavities, start, posteriors)
    if not accepted:
        counts.rejected_batches += 1
        posteriors = start
    return BatchResult(posteriors, damping, energy(state, batch, posteriors, cavities), accepted, counts)


def _worth_taking(
    state: State,
    batch: Batch,
    cavities: list[Weights],
    start: list[Weights],
    end: list[Weights],
) -> bool:
    """Whether the means at the end are no worse than those at the start, both with the covariances of the end.

    With own shares left out of the cavities the fixed point is not quite the maximum of this energy, hence a slack.
    """
    back = [recentred(q, first) for q, first in zip(end, start, strict=True)]
    gain = energy(state, batch, end, cavities) - energy(state, batch, back, cavities)
    return bool(gain >= -ENERGY_SLACK * batch.mass)


def _average_sweep(
    state: State,
    batch: Batch,
    cavities: list[Weights],
    posteriors: list[Weights],
    ratios: list[Array],
    damping: float,
    leave_one_out: bool,
    counts: UpdateCounts,
) -> tuple[list[Weights], list[Array]]:
    """One forward and one backward pass of Algorithm 1, then eqs. 29-30 with damping."""
    local = posteriors
    if leave_one_out and batch.mass > 1:
        masses = [batch.mass * n_rows for n_rows in state.network.n_rows]
        local = [q.power_blend(c, 1 - 1 / m) for q, c, m in zip(posteriors, cavities, masses, strict=True)]
    weights = moments_of(state, local, batch.target.dtype)
    shared = [(n - 1) / n * ratio for n, ratio in zip(_messages_per_spike(state), ratios, strict=True)]
    up = forward(state, batch.inputs, weights, log_ratios=shared)
    _, down, new_ratios = backward(state, up, batch.target, weights, counts)
    rows = row_weights(state, batch.sample_weight)
    updated: list[Weights] = []
    for index, (q, cavity) in enumerate(zip(posteriors, cavities, strict=True)):
        precision, shift = mixing.average_messages(
            down[index], rows[index], up.inputs[index], weights[index], leave_one_out
        )
        if not q.variance_follows_mean:
            # The sum of the messages, as the Gaussian closest in KL whose site keeps within its bounds.
            total = clip(cavity.precision + precision, min=VARIANCE_FLOOR)
            mean = (cavity.shift + shift) / total
            precision, shift = bound_site(mean, 1 / total, cavity.precision, cavity.shift, counts)
        updated.append(
            q.with_natural(
                damp(q.precision, cavity.precision + precision, damping), damp(q.shift, cavity.shift + shift, damping)
            )
        )
    return updated, [damp(a, b, damping) for a, b in zip(ratios, new_ratios, strict=True)]


def _messages_per_spike(state: State) -> list[float]:
    """Neurons that a hidden spike speaks to, on average: those of the next layer, in every row that it enters."""
    network = state.network
    return [
        connection.n_units * n_rows * connection.n_columns(size) / size
        for connection, n_rows, size in zip(network.connections[1:], network.n_rows[1:], network.sizes[1:], strict=True)
    ]


def _largest_move(old: list[Weights], new: list[Weights]) -> float:
    """Largest change of a mean, in posterior standard deviations."""
    return max(_move(a.mean, b) for a, b in zip(old, new, strict=True))


def _move(mean: Array, new: Weights) -> float:
    size = sqrt(new.moments(1.0, "float64").variance)
    return float(largest(absolute(new.mean - mean) / size))
