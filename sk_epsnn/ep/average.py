"""The paper's schedule: average EP over one batch, all messages in parallel, damped (Algorithms 1 and 2 of [1]_).

References
----------
.. [1] D. Yao, S. McLaughlin, Y. Altmann, arXiv:2506.23757, 2025, Algorithms 1 and 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sk_epsnn._arrays import Array, absolute, clip, largest, new_zeros, sqrt
from sk_epsnn.ep import mixing
from sk_epsnn.ep.energy import BatchResult, data_energy, divergence, energy, moments_of, own_sites
from sk_epsnn.ep.passes import backward, forward, row_weights
from sk_epsnn.ep.sites import UpdateCounts, bound_precision, bound_site, damp
from sk_epsnn.ep.state import VARIANCE_FLOOR, State
from sk_epsnn.ep.steps import recentred
from sk_epsnn.network import Batch
from sk_epsnn.weights import Weights

#: Average EP may lose this much energy, in nats per sample, before its update counts as diverged.
ENERGY_SLACK = 0.01
#: Automatic damping: the largest, which is the paper's, the smallest, and its growth after a sweep.
MOST_DAMPING, LEAST_DAMPING, GROWTH = 0.7, 1e-4, 1.5
#: A sweep of it may lose this much of EP's energy, in nats per sample: with own shares left out of the cavities the
#: fixed point is not quite its maximum.
SWEEP_SLACK = 1e-4
#: Share of the sweeps over the first batch that move the last layer only: messages from weights that know nothing yet
#: would silence the spikes below.
LAST_LAYER_SHARE = 1 / 3


class _Messages(NamedTuple):
    """What the messages of one sweep say, not damped yet: one entry for each layer (``ratios``: of spikes).

    Attributes
    ----------
    sites : list of (precision, shift)
        Products of the messages to the weights.
    means : list of array
        Means that the messages were sent from.
    ratios : list of array
        Messages to hidden spikes.
    excess : list of array
        ``gamma - kappa`` of each row, times its weight, see `sk_epsnn.ep.energy.own_sites`.
    """

    sites: list[tuple[Array, Array]]
    means: list[Array]
    ratios: list[Array]
    excess: list[Array]


def average_ep(
    state: State,
    batch: Batch,
    cavities: list[Weights],
    *,
    damping: float | None,
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
    damping : float in (0, 1] or None
        Weight of the new site; the paper uses 0.7. None finds one for every sweep: the last, or as it was after the
        batch before, half of it while EP's energy would fall, and a little more the next time.
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
    iteration = _Iteration(state, batch, cavities, leave_one_out, counts)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        if damping is None:
            posteriors, step = iteration.carefully(n_sweeps, tol)
            accepted = step > 0
        else:
            posteriors, step = iteration.boldly(damping, n_sweeps, tol), damping
            accepted = iteration.has_led_to(posteriors)
    if not accepted:
        counts.rejected_batches += 1
        posteriors = state.posteriors
    return BatchResult(posteriors, step, energy(state, batch, posteriors, cavities), accepted, counts)


@dataclass(frozen=True)
class _Iteration:
    """The sweeps over one batch; parameters as for `average_ep`."""

    state: State
    batch: Batch
    cavities: list[Weights]
    leave_one_out: bool
    counts: UpdateCounts

    def boldly(self, damping: float, n_sweeps: int, tol: float) -> list[Weights]:
        """Posteriors after sweeps of one damping, as in the paper."""
        posteriors, ratios = self.state.posteriors, self._no_ratios()
        for _ in range(n_sweeps):
            old, said = posteriors, self._messages(posteriors, ratios)
            sites = [
                site if q.variance_follows_mean else _closest(site, cavity, self.counts)
                for site, q, cavity in zip(said.sites, old, self.cavities, strict=True)
            ]
            posteriors = _damped(old, self.cavities, sites, damping)
            ratios = [damp(a, b, damping) for a, b in zip(ratios, said.ratios, strict=True)]
            move = _largest_move(old, posteriors)
            if not tol <= move < math.inf:
                break
        return posteriors

    def has_led_to(self, end: list[Weights]) -> bool:
        """Whether the means at the end are no worse than those at the start, both with the covariances of the end.

        With own shares left out of the cavities the fixed point is not quite the maximum of this energy, hence a slack.
        """
        back = [recentred(q, first) for q, first in zip(end, self.state.posteriors, strict=True)]
        after, before = (energy(self.state, self.batch, weights, self.cavities) for weights in (end, back))
        return bool(after - before >= -ENERGY_SLACK * self.batch.mass)

    def carefully(self, n_sweeps: int, tol: float) -> tuple[list[Weights], float]:
        """Posteriors after sweeps of a damping that each of them finds, and the last damping: 0 if none was found."""
        state, posteriors, ratios = self.state, self.state.posteriors, self._no_ratios()
        damping, taken = min(MOST_DAMPING, 2 * state.step), 0.0
        n_held = int(LAST_LAYER_SHARE * n_sweeps) if state.network.hidden and state.mass == 0 else 0
        for sweep in range(n_sweeps):
            old, said = posteriors, self._messages(posteriors, ratios)
            sites = [
                site if q.variance_follows_mean else _uphill(site, mean, self.counts)
                for site, mean, q in zip(said.sites, said.means, old, strict=True)
            ]
            least = self._energy(old, said.excess) - SWEEP_SLACK * self.batch.mass
            while damping >= LEAST_DAMPING:
                ahead = _damped(old, self.cavities, sites, damping)
                ahead = [*old[:-1], ahead[-1]] if sweep < n_held else ahead
                if self._energy(ahead, said.excess) >= least:
                    break
                damping *= 0.5
            else:
                break
            posteriors, taken = ahead, damping
            ratios = [damp(a, b, damping) for a, b in zip(ratios, said.ratios, strict=True)]
            if sweep >= n_held and _largest_move(old, posteriors) < tol * damping:
                break
            damping = min(MOST_DAMPING, GROWTH * damping)
        return posteriors, taken

    def _messages(self, posteriors: list[Weights], ratios: list[Array]) -> _Messages:
        """One forward and one backward pass of Algorithm 1."""
        state, batch, local, alone = self.state, self.batch, posteriors, float(self.leave_one_out)
        if self.leave_one_out and batch.mass > 1:
            n_rows = state.network.n_rows
            masses = [batch.mass * n / n_rows[-1] for n in n_rows]
            local = [q.power_blend(c, 1 - 1 / m) for q, c, m in zip(posteriors, self.cavities, masses, strict=True)]
        weights = moments_of(state, local, batch.target.dtype)
        shared = [(n - 1) / n * ratio for n, ratio in zip(_messages_per_spike(state), ratios, strict=True)]
        up = forward(state, batch.inputs, weights, log_ratios=shared)
        _, down, new_ratios, _ = backward(state, up, batch.target, weights, self.counts, step_weight=batch.step_weight)
        rows = row_weights(state, batch.sample_weight)
        # The power of power EP is that of the outputs, whose own share leaves the cavity to this power.
        own = [alone] * len(state.network.hidden) + [alone * state.power]
        sites = [mixing.average_messages(*layer) for layer in zip(down, rows, up.inputs, weights, own, strict=True)]
        excess = [weight[:, None] * (message.gamma - message.kappa) for weight, message in zip(rows, down, strict=True)]
        return _Messages(sites, [part.mean for part in weights], new_ratios, excess)

    def _no_ratios(self) -> list[Array]:
        """Messages to hidden spikes that say nothing."""
        batch = self.batch
        return [new_zeros(batch.target, (batch.n_samples, size)) for size in self.state.network.sizes[1:]]

    def _energy(self, posteriors: list[Weights], excess: list[Array]) -> float:
        """The energy without the weights' own sites, whose stationary points are EP's."""
        state, batch = self.state, self.batch
        up = forward(state, batch.inputs, moments_of(state, posteriors, batch.target.dtype))
        evidence = data_energy(state, batch, up.potentials[-1]) - own_sites(up, excess)
        return evidence - divergence(state, posteriors, self.cavities)


def _closest(site: tuple[Array, Array], cavity: Weights, counts: UpdateCounts) -> tuple[Array, Array]:
    """The product of the messages, as the Gaussian closest in KL whose site keeps within its bounds."""
    precision, shift = site
    total = clip(cavity.precision + precision, min=VARIANCE_FLOOR)
    mean = (cavity.shift + shift) / total
    return bound_site(mean, 1 / total, cavity.precision, cavity.shift, counts)


def _uphill(site: tuple[Array, Array], mean: Array, counts: UpdateCounts) -> tuple[Array, Array]:
    """The product of the messages with no negative precision, but the same pull on the mean that they were sent from.

    Its fixed points are those of `_closest`, whose mean is far away where a product is all but improper.
    """
    precision, shift = site
    bounded = bound_precision(precision, counts)
    return bounded, shift + (bounded - precision) * mean


def _damped(
    posteriors: list[Weights], cavities: list[Weights], sites: list[tuple[Array, Array]], damping: float
) -> list[Weights]:
    """Eqs. 29-30 with damping."""
    return [
        q.with_natural(
            damp(q.precision, cavity.precision + precision, damping), damp(q.shift, cavity.shift + shift, damping)
        )
        for q, cavity, (precision, shift) in zip(posteriors, cavities, sites, strict=True)
    ]


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
