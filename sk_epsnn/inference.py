"""One batch: the paper's damped average EP, and an energy-checked Newton schedule, over the same blocks.

Both look for a posterior ``q`` whose sites reproduce the moments of the tilted distributions, given the cavity
``q_c`` that the batch starts from. They differ in how they get there: `average_ep` replaces the sites by damped
sums of messages (Algorithm 2 of [1]_), `newton` solves the linear system that those sums would iterate on.

References
----------
.. [1] D. Yao, S. McLaughlin, Y. Altmann, arXiv:2506.23757, 2025, Algorithms 1 and 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from sk_epsnn._arrays import (
    Array,
    absolute,
    astype,
    clip,
    epsilon,
    is_any,
    largest,
    maximum,
    new_zeros,
    solve,
    sqrt,
    total_of,
)
from sk_epsnn.ep import mixing
from sk_epsnn.ep.sites import UpdateCounts, bound_precision, bound_site, damp
from sk_epsnn.ep.steps import kl_mean_part, kl_spread_part, mean_cost, mean_curvature, moved, recentred, with_site
from sk_epsnn.messages import Derivatives, Inputs, Potentials, WeightMoments
from sk_epsnn.network import VARIANCE_FLOOR, Network, Upward
from sk_epsnn.numerics import conjugate_gradient
from sk_epsnn.weights import JointWeights, Weights

#: Shortest fraction of a Newton step that is tried before the step is given up.
SHORTEST_STEP = 1e-3
#: A direction of independent weights is accurate enough at this fraction of the first residual, or after so many steps.
CG_TOL = 0.05
CG_STEPS = 30
#: Average EP may lose this much energy, in nats per sample, before its update counts as diverged.
ENERGY_SLACK = 0.01
#: The precision follows the new site by at least this fraction, also when the step of the mean was shorter.
LEAST_PRECISION_STEP = 0.1


@dataclass(frozen=True)
class Batch:
    """Rows in the network's input space, targets of shape (n_samples, n_out), weights of shape (n_samples,)."""

    inputs: Inputs
    target: Array
    sample_weight: Array

    @property
    def mass(self) -> float:
        """Sum of the sample weights."""
        return total_of(self.sample_weight)


@dataclass
class BatchResult:
    """Posterior of every layer after one batch, with the step length reached and the energy in nats."""

    posteriors: list[Weights]
    step: float
    energy: float
    accepted: bool = True
    counts: UpdateCounts = field(default_factory=UpdateCounts)


def energy(network: Network, batch: Batch, posteriors: list[Weights], cavities: list[Weights]) -> float:
    """``F(q) = sum_n log Z_n(q) - KL(q || q_c)`` in nats: what a batch makes of a posterior."""
    return log_evidence(network, batch, posteriors) - divergence(network, posteriors, cavities)


def log_evidence(network: Network, batch: Batch, posteriors: list[Weights]) -> float:
    """``sum_n log Z_n(q)`` in nats."""
    weights = _moments(network, posteriors, batch.target.dtype)
    return _data_energy(network, batch, network.forward(batch.inputs, weights).potentials[-1])


def divergence(network: Network, posteriors: list[Weights], cavities: list[Weights]) -> float:
    """``KL(q || q_c)`` in nats, its covariance part times the temperature of each layer."""
    return _mean_kl(posteriors, cavities) + _spread_kl(network, posteriors, cavities)


def average_ep(
    network: Network,
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
    network : Network
        Its layers' posteriors are where the iteration starts.
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
    start = [layer.posterior for layer in network.layers]
    posteriors = start
    n_samples = batch.target.shape[0]
    widths = [layer.prior.mean.shape[0] for layer in network.layers[:-1]]
    ratios = [new_zeros(batch.target, (n_samples, width)) for width in widths]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for _ in range(n_sweeps):
            old = posteriors
            posteriors, ratios = _average_sweep(network, batch, cavities, old, ratios, damping, leave_one_out, counts)
            move = _largest_move(old, posteriors)
            if not math.isfinite(move) or move < tol:
                break
        accepted = bool(math.isfinite(move)) and _worth_taking(network, batch, cavities, start, posteriors)
    if not accepted:
        counts.rejected_batches += 1
        posteriors = start
    return BatchResult(posteriors, damping, energy(network, batch, posteriors, cavities), accepted, counts)


def _worth_taking(
    network: Network,
    batch: Batch,
    cavities: list[Weights],
    start: list[Weights],
    end: list[Weights],
) -> bool:
    """Whether the means at the end are no worse than those at the start, both with the covariances of the end.

    With own shares left out of the cavities the fixed point is not quite the maximum of this energy, hence a slack.
    """
    back = [recentred(q, first) for q, first in zip(end, start, strict=True)]
    gain = energy(network, batch, end, cavities) - energy(network, batch, back, cavities)
    return bool(gain >= -ENERGY_SLACK * batch.mass)


def _average_sweep(
    network: Network,
    batch: Batch,
    cavities: list[Weights],
    posteriors: list[Weights],
    ratios: list[Array],
    damping: float,
    leave_one_out: bool,
    counts: UpdateCounts,
) -> tuple[list[Weights], list[Array]]:
    """One forward and one backward pass of Algorithm 1, then eqs. 29-30 with damping."""
    exponent = 1 - 1 / batch.mass if leave_one_out and batch.mass > 1 else 1.0
    local = [q.power_blend(c, exponent) for q, c in zip(posteriors, cavities, strict=True)]
    weights = _moments(network, local, batch.target.dtype)
    units = [layer.prior.mean.shape[0] for layer in network.layers[1:]]
    shared = [(n - 1) / n * ratio for n, ratio in zip(units, ratios, strict=True)]
    up = network.forward(batch.inputs, weights, log_ratios=shared)
    _, down, new_ratios = network.backward(up, batch.target, weights, counts)
    updated: list[Weights] = []
    for index, (q, cavity) in enumerate(zip(posteriors, cavities, strict=True)):
        precision, shift = mixing.average_messages(
            down[index], batch.sample_weight, up.inputs[index], weights[index], leave_one_out
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


def newton(
    network: Network,
    batch: Batch,
    cavities: list[Weights],
    *,
    step: float,
    n_sweeps: int,
    tol: float,
) -> BatchResult:
    """Energy-checked Newton steps towards the fixed point of average EP.

    In each sweep the means move along the Newton direction, by the longest of ``t, t/2, t/4, ...`` that does not
    lower the energy with the covariances frozen; then the precisions follow their sites. A sweep in which no step
    helps leaves the means where they are.

    Parameters
    ----------
    network : Network
        Its layers' posteriors are where the iteration starts.
    batch : Batch
    cavities : list of Weights
        q_c(W) of eq. 33, the prior of this batch.
    step : float in (0, 1]
        Length that worked last; twice this is tried first.
    n_sweeps : int
        Forward and backward passes.
    tol : float
        Stop when a sweep raises the energy by less than ``tol`` nats per sample.

    Returns
    -------
    BatchResult
    """
    counts = UpdateCounts()
    ascent = _Ascent(network, batch, cavities)
    for _ in range(n_sweeps):
        before = ascent.energy
        step, gain = ascent.sweep(min(1.0, 2 * step), counts)
        if max(gain, abs(ascent.energy - before)) < tol * batch.mass:
            break
    posteriors = ascent.here.posteriors
    return BatchResult(posteriors, step, ascent.energy - _spread_kl(network, posteriors, cavities), True, counts)


class _Trial(NamedTuple):
    """Posteriors with their moments, the forward pass that goes with them and its summed log evidence."""

    posteriors: list[Weights]
    weights: list[WeightMoments]
    up: Upward
    data_energy: float


class _Ascent:
    """Posteriors being improved on one batch, with the forward pass that belongs to them."""

    def __init__(self, network: Network, batch: Batch, cavities: list[Weights]):
        self.network, self.batch, self.cavities = network, batch, cavities
        self.here = self._trial([layer.posterior for layer in network.layers])

    def _trial(
        self,
        posteriors: list[Weights],
        weights: list[WeightMoments] | None = None,
        first: Potentials | None = None,
    ) -> _Trial:
        """Forward pass of given posteriors; their moments and the first potentials may be known."""
        if weights is None:
            weights = _moments(self.network, posteriors, self.batch.target.dtype)
        up = self.network.forward(self.batch.inputs, weights, first)
        return _Trial(posteriors, weights, up, _data_energy(self.network, self.batch, up.potentials[-1]))

    @property
    def energy(self) -> float:
        """Energy up to the part of KL that depends on the covariances only."""
        return self.here.data_energy - _mean_kl(self.here.posteriors, self.cavities)

    def sweep(self, step: float, counts: UpdateCounts) -> tuple[float, float]:
        """One forward and backward pass; returns the step length for the next sweep and the energy gained."""
        _, messages, _ = self.network.backward(self.here.up, self.batch.target, self.here.weights, counts)
        sample_weight = self.batch.sample_weight
        curvatures = [sample_weight[:, None] * _curvature(m, hidden=m is not messages[-1]) for m in messages]
        messages = [message.times(sample_weight) for message in messages]
        excess = [message.gamma - message.kappa for message in messages]
        solutions = [
            _newton_direction(message, curvature, inputs, posterior, cavity, layer.temperature, counts)
            for message, curvature, inputs, posterior, cavity, layer in zip(
                messages,
                curvatures,
                self.here.up.inputs,
                self.here.posteriors,
                self.cavities,
                self.network.layers,
                strict=True,
            )
        ]
        # What is no longer needed is as large as the trials to come.
        del messages, curvatures
        start = self.energy
        taken = self._move_means(solutions, excess, step, counts)
        gain = self.energy - start
        sites = [s.site for s in solutions]
        del solutions
        self._move_precisions(sites, excess, max(taken, LEAST_PRECISION_STEP), counts)
        # Where no step helps the means have settled; that says nothing about the next batch.
        return taken if taken > 0 else step, gain

    def _move_means(self, solutions: list[_Solution], excess: list[Array], step: float, counts: UpdateCounts) -> float:
        """Move the means by the longest tried fraction of their directions that does not lower the energy."""
        here = self.here
        first = here.up.potentials[0]

        def trial(length: float) -> _Trial:
            ahead = [moved(q, length * s.delta) for q, s in zip(here.posteriors, solutions, strict=True)]
            if any(q.variance_follows_mean for q in ahead):
                return self._trial(ahead)
            weights = [w.with_mean(q.mean) for w, q in zip(here.weights, ahead, strict=True)]
            # The first layer's inputs are observed: its potentials move linearly and their variances stay.
            known = Potentials(first.mean + length * solutions[0].image, first.variance, first.from_weights)
            return self._trial(ahead, weights, known)

        length = self._search(trial, excess, step, whole=False)
        counts.shortened_steps += 0 < length < step
        counts.rejected_steps += length == 0
        return length

    def _move_precisions(self, sites: list[Array], excess: list[Array], step: float, counts: UpdateCounts) -> None:
        """Let the precisions follow their sites by the longest tried fraction that does not lower the EP energy."""
        posteriors, layers = self.here.posteriors, self.network.layers
        first_mean = self.here.up.potentials[0].mean

        def trial(length: float) -> _Trial:
            ahead = [
                with_site(q, cavity, site, layer.temperature, length)
                for q, cavity, site, layer in zip(posteriors, self.cavities, sites, layers, strict=True)
            ]
            if any(q.variance_follows_mean for q in ahead):
                return self._trial(ahead)
            weights = _moments(self.network, ahead, first_mean.dtype)
            return self._trial(ahead, weights, self.network.potentials(0, self.batch.inputs, weights[0], first_mean))

        counts.rejected_precisions += self._search(trial, excess, step, whole=True) == 0

    def _search(self, trial: Callable[[float], _Trial], excess: list[Array], step: float, *, whole: bool) -> float:
        """Take the longest of ``step, step/2, ...`` that does not lower the EP energy, and say which; 0 for none.

        ``whole`` counts the KL of the covariances too, which a move of the means leaves alone.
        """

        def parts(state: _Trial) -> list[float]:
            costs = [_mean_kl(state.posteriors, self.cavities), _own_sites(state.up, excess)]
            if whole:
                costs.append(_spread_kl(self.network, state.posteriors, self.cavities))
            return [state.data_energy, *(-cost for cost in costs)]

        here = parts(self.here)
        # Energies this close cannot be told apart: every part is rounded, and so is the evidence of every row.
        size = sum(abs(part) for part in here) + self.batch.mass
        start = sum(here) - epsilon(self.batch.target) * size
        while step >= SHORTEST_STEP:
            state = trial(step)
            if sum(parts(state)) >= start:  # False for NaN
                self.here = state
                return step
            del state  # before the next trial takes its place
            step *= 0.5
        return 0.0


def _own_sites(up: Upward, excess: list[Array]) -> float:
    """What EP's energy subtracts from the summed log evidence for the weights' own sites, these held fixed.

    Taking its own site out of each cavity turns ``sum log Z_n(q)`` into ``sum log Z_n(q) - (gamma - kappa) S / 2``
    to second order, S the variance that comes from the weights. With the KL to the cavity, the stationary point is
    EP's ``P = P_c + sum gamma p^2``.
    """
    return sum(0.5 * total_of(extra * here.from_weights) for here, extra in zip(up.potentials, excess, strict=True))


@dataclass
class _Solution:
    """Newton direction of one layer's means, its image ``p delta^T`` and the summed site precision."""

    delta: Array
    image: Array
    site: Array


def _curvature(message: Derivatives, hidden: bool) -> Array:
    """Curvature in each potential that a Newton step may use: positive also where a hidden message is bimodal."""
    return maximum(message.gamma, message.g * message.g) if hidden else clip(message.gamma, min=0.0)


def _newton_direction(
    message: Derivatives,
    curvature: Array,
    inputs: Inputs,
    posterior: Weights,
    cavity: Weights,
    temperature: float,
    counts: UpdateCounts,
) -> _Solution:
    """Solve ``(C + diag k + p^T diag(c) p) delta = g^T p - k m - cost`` for each unit.

    ``C`` and ``cost`` are `mean_curvature` and `mean_cost` (sk_epsnn/ep/steps.py): for Gaussian weights ``P_c`` and
    ``P_c (m - m_c)``. Messages and curvatures ``c`` come multiplied by the sample weights.
    """
    dtype = inputs.mean.dtype
    noise = mixing.spike_noise(message, inputs)
    joint = isinstance(posterior, JointWeights)
    if joint:
        gamma = clip(message.gamma, min=0.0)
        site = mixing.joint_site_precision(gamma, inputs, noise)
    else:
        site = bound_precision(mixing.site_precision(message, inputs, noise), counts)
    gradient = mixing.mean_gradient(message, inputs, astype(posterior.mean, dtype), noise)
    gradient = gradient - astype(mean_cost(posterior, cavity, site, temperature), dtype)
    diagonal = mean_curvature(posterior, cavity)
    if joint:
        # The step needs a curvature in every sample; the site is what the samples say, none of them negative.
        extra = curvature - gamma
        hessian = diagonal + site
        if is_any(extra != 0):
            hessian = hessian + mixing.joint_site_precision(extra, inputs, 0.0)
        delta = solve(hessian, astype(gradient[:, :, None], "float64"))
        delta = astype(delta[:, :, 0], dtype)
        return _Solution(delta, inputs.mean @ delta.T, site)
    diagonal = astype(diagonal, dtype) + noise

    def operator(direction: Array) -> tuple[Array, Array]:
        image = inputs.mean @ direction.T
        return diagonal * direction + (curvature * image).T @ inputs.mean, image

    delta, image = conjugate_gradient(operator, gradient, diagonal + curvature.T @ inputs.square, CG_STEPS, CG_TOL)
    return _Solution(delta, image, site)


def _moments(network: Network, posteriors: list[Weights], dtype: Any) -> list[WeightMoments]:
    return [q.moments(layer.temperature, dtype) for q, layer in zip(posteriors, network.layers, strict=True)]


def _mean_kl(posteriors: list[Weights], cavities: list[Weights]) -> float:
    """The part of KL that changes when the means move."""
    return sum(kl_mean_part(q, c) for q, c in zip(posteriors, cavities, strict=True))


def _spread_kl(network: Network, posteriors: list[Weights], cavities: list[Weights]) -> float:
    """The part of KL that depends on the covariances only, each layer's times its temperature."""
    return sum(
        layer.temperature * kl_spread_part(q, c)
        for q, c, layer in zip(posteriors, cavities, network.layers, strict=True)
    )


def _data_energy(network: Network, batch: Batch, last: Potentials) -> float:
    """Summed log evidence of the batch, accumulated in float64."""
    log_z = network.log_partition(last, batch.target)
    return total_of(batch.sample_weight * log_z)


def _largest_move(old: list[Weights], new: list[Weights]) -> float:
    """Largest change of a mean, in posterior standard deviations."""
    return max(_move(a.mean, b) for a, b in zip(old, new, strict=True))


def _move(mean: Array, new: Weights) -> float:
    size = sqrt(new.moments(1.0, "float64").variance)
    return float(largest(absolute(new.mean - mean) / size))


__all__ = ["Batch", "BatchResult", "average_ep", "divergence", "energy", "log_evidence", "newton"]
