"""One batch: the paper's damped average EP, and an energy-checked Newton schedule, over the same blocks.

Both look for a posterior ``q`` whose sites reproduce the moments of the tilted distributions, given the cavity
``q_c`` that the batch starts from. They differ in how they get there: `average_ep` replaces the sites by damped
sums of messages (Algorithm 2 of [1]_), `newton` solves the linear system that those sums would iterate on.

References
----------
.. [1] D. Yao, S. McLaughlin, Y. Altmann, arXiv:2506.23757, 2025, Algorithms 1 and 2.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sk_epsnn import mixing
from sk_epsnn.mixing import Inputs
from sk_epsnn.network import VARIANCE_FLOOR, Network, Potentials, Upward, potentials
from sk_epsnn.numerics import Array, conjugate_gradient
from sk_epsnn.sites import Derivatives, UpdateCounts, bound_precision, damp
from sk_epsnn.weights import GaussianWeights, IndependentWeights, JointWeights, WeightMoments

#: Shortest fraction of a Newton step that is tried before the step is given up.
SHORTEST_STEP = 1e-3
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
        return float(self.sample_weight.sum(dtype=np.float64))


@dataclass
class BatchResult:
    """Posterior of every layer after one batch, with the step length reached and the energy in nats."""

    posteriors: list[GaussianWeights]
    step: float
    energy: float
    accepted: bool = True
    counts: UpdateCounts = field(default_factory=UpdateCounts)


def energy(network: Network, batch: Batch, posteriors: list[GaussianWeights], cavities: list[GaussianWeights]) -> float:
    """``F(q) = sum_n log Z_n(q) - KL(q || q_c)`` in nats: what a batch makes of a posterior."""
    weights = _moments(network, posteriors, batch.target.dtype)
    last = network.forward(batch.inputs, weights).potentials[-1]
    moved = sum(c.kl_mean_part(q.mean) for q, c in zip(posteriors, cavities, strict=True))
    return _data_energy(network, batch, last) - moved - _spread_kl(network, posteriors, cavities)


def average_ep(
    network: Network,
    batch: Batch,
    cavities: list[GaussianWeights],
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
    ratios = [np.zeros((len(batch.target), len(layer.prior.mean)), batch.target.dtype) for layer in network.layers[:-1]]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for _ in range(n_sweeps):
            old = posteriors
            posteriors, ratios = _average_sweep(network, batch, cavities, old, ratios, damping, leave_one_out, counts)
            move = _largest_move(old, posteriors)
            if not np.isfinite(move) or move < tol:
                break
        accepted = bool(np.isfinite(move)) and _worth_taking(network, batch, cavities, start, posteriors)
    if not accepted:
        counts.rejected_batches += 1
        posteriors = start
    return BatchResult(posteriors, damping, energy(network, batch, posteriors, cavities), accepted, counts)


def _worth_taking(
    network: Network,
    batch: Batch,
    cavities: list[GaussianWeights],
    start: list[GaussianWeights],
    end: list[GaussianWeights],
) -> bool:
    """Whether the means at the end are no worse than those at the start, both with the covariances of the end.

    With own shares left out of the cavities the fixed point is not quite the maximum of this energy, hence a slack.
    """
    back = [type(q)(q.precision, first.mean) for q, first in zip(end, start, strict=True)]
    gain = energy(network, batch, end, cavities) - energy(network, batch, back, cavities)
    return bool(gain >= -ENERGY_SLACK * batch.mass)


def _average_sweep(
    network: Network,
    batch: Batch,
    cavities: list[GaussianWeights],
    posteriors: list[GaussianWeights],
    ratios: list[Array],
    damping: float,
    leave_one_out: bool,
    counts: UpdateCounts,
) -> tuple[list[GaussianWeights], list[Array]]:
    """One forward and one backward pass of Algorithm 1, then eqs. 29-30 with damping."""
    exponent = 1 - 1 / batch.mass if leave_one_out and batch.mass > 1 else 1.0
    local = [q.power_blend(c, exponent) for q, c in zip(posteriors, cavities, strict=True)]
    weights = _moments(network, local, batch.target.dtype)
    units = [len(layer.prior.mean) for layer in network.layers[1:]]
    shared = [(n - 1) / n * ratio for n, ratio in zip(units, ratios, strict=True)]
    up = network.forward(batch.inputs, weights, log_ratios=shared)
    _, down, new_ratios = network.backward(up, batch.target, weights, counts)
    updated: list[GaussianWeights] = []
    for index, (q, cavity) in enumerate(zip(posteriors, cavities, strict=True)):
        precision, shift = mixing.average_messages(
            down[index], batch.sample_weight, up.inputs[index], weights[index], leave_one_out
        )
        # A negative summed precision is set to zero with the tilted mean kept.
        bounded = bound_precision(precision, counts)
        mean = (cavity.shift + shift) / np.maximum(cavity.precision + precision, VARIANCE_FLOOR)
        shift = np.where(bounded == precision, shift, mean * cavity.precision - cavity.shift)
        updated.append(
            IndependentWeights.from_natural(
                damp(q.precision, cavity.precision + bounded, damping), damp(q.shift, cavity.shift + shift, damping)
            )
        )
    return updated, [damp(a, b, damping) for a, b in zip(ratios, new_ratios, strict=True)]


def newton(
    network: Network,
    batch: Batch,
    cavities: list[GaussianWeights],
    *,
    step: float,
    n_sweeps: int,
    cg_steps: int,
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
    cavities : list of GaussianWeights
        q_c(W) of eq. 33, the prior of this batch.
    step : float in (0, 1]
        Length that worked last; twice this is tried first.
    n_sweeps : int
        Forward and backward passes.
    cg_steps : int
        Conjugate-gradient steps for layers of independent weights.
    tol : float
        Stop when a sweep raises the energy by less than ``tol`` nats per sample.

    Returns
    -------
    BatchResult
    """
    counts = UpdateCounts()
    state = _NewtonState(network, batch, cavities)
    for _ in range(n_sweeps):
        before = state.energy
        step, gain = state.sweep(min(1.0, 2 * step), cg_steps, counts)
        if max(gain, abs(state.energy - before)) < tol * batch.mass:
            break
    final = state.energy - _spread_kl(network, state.posteriors, cavities)
    return BatchResult(state.posteriors, step, final, True, counts)


class _NewtonState:
    """Posteriors being improved on one batch, with the forward pass that belongs to them."""

    def __init__(self, network: Network, batch: Batch, cavities: list[GaussianWeights]):
        self.network, self.batch, self.cavities = network, batch, cavities
        self.posteriors: list[GaussianWeights] = [layer.posterior for layer in network.layers]
        self._set(_moments(network, self.posteriors, batch.target.dtype))

    def _set(self, weights: list[WeightMoments], up: Upward | None = None, data_energy: float | None = None) -> None:
        """Take over weight moments; the forward pass and summed log evidence that go with them may be known."""
        self.weights = weights
        self.up = self.network.forward(self.batch.inputs, weights) if up is None else up
        self.data_energy = self._data_energy(self.up) if data_energy is None else data_energy

    def _data_energy(self, up: Upward) -> float:
        return _data_energy(self.network, self.batch, up.potentials[-1])

    def _cost(self, weights: list[WeightMoments]) -> float:
        """The part of KL that depends on the means."""
        return sum(c.kl_mean_part(w.mean) for c, w in zip(self.cavities, weights, strict=True))

    @property
    def energy(self) -> float:
        """Energy up to the part of KL that depends on the covariances only."""
        return self.data_energy - self._cost(self.weights)

    def _rounding(self, value: float) -> float:
        """Energies this close to ``value`` cannot be told apart."""
        return float(np.finfo(self.batch.target.dtype).eps) * abs(value)

    def sweep(self, step: float, cg_steps: int, counts: UpdateCounts) -> tuple[float, float]:
        """One forward and backward pass; returns the step length for the next sweep and the energy gained."""
        _, messages, _ = self.network.backward(self.up, self.batch.target, self.weights, counts)
        curvatures = [_curvature(m, hidden=m is not messages[-1]) for m in messages]
        sample_weight = self.batch.sample_weight
        solutions = [
            _newton_direction(
                message.times(sample_weight),
                sample_weight[:, None] * curvature,
                inputs,
                weights.mean,
                q,
                cavity,
                cg_steps,
                counts,
            )
            for message, curvature, inputs, weights, q, cavity in zip(
                messages, curvatures, self.up.inputs, self.weights, self.posteriors, self.cavities, strict=True
            )
        ]
        start = self.energy
        taken = self._move_means([s.delta for s in solutions], solutions[0].image, step, start, counts)
        gain = self.energy - start
        excess = [sample_weight[:, None] * (m.gamma - m.kappa) for m in messages]
        follow = max(taken, LEAST_PRECISION_STEP)
        self._move_precisions([s.precision for s in solutions], excess, follow, counts)
        # Where no step helps the means have settled; that says nothing about the next batch.
        return taken if taken > 0 else step, gain

    def _move_means(self, deltas: list[Array], image: Array, step: float, start: float, counts: UpdateCounts) -> float:
        """Move the means by the longest tried fraction of ``deltas`` that does not lower the energy."""
        first = self.up.potentials[0]
        length = step
        while length >= SHORTEST_STEP:
            weights = [w._replace(mean=w.mean + length * d) for w, d in zip(self.weights, deltas, strict=True)]
            # The first layer's inputs are observed: its potentials move linearly and their variances stay.
            moved = Potentials(first.mean + length * image, first.variance, first.from_weights)
            up = self.network.forward(self.batch.inputs, weights, moved)
            data_energy = self._data_energy(up)
            if data_energy - self._cost(weights) >= start - self._rounding(start):  # False for NaN
                counts.shortened_steps += length < step
                self._set(weights, up, data_energy)
                return length
            length *= 0.5
        counts.rejected_steps += 1
        return 0.0

    def _move_precisions(self, targets: list[Array], excess: list[Array], step: float, counts: UpdateCounts) -> None:
        """Let the precisions follow their sites by the longest tried fraction that does not lower the EP energy."""
        means = [w.mean.astype(np.float64) for w in self.weights]
        here = [type(q)(q.precision, m) for q, m in zip(self.posteriors, means, strict=True)]
        start = self.data_energy - self._spread_cost(here, self.up, excess)
        first_mean = self.up.potentials[0].mean
        while step >= SHORTEST_STEP:
            trial = [type(q)(damp(q.precision, target, step), q.mean) for q, target in zip(here, targets, strict=True)]
            weights = _moments(self.network, trial, first_mean.dtype)
            first = potentials(self.batch.inputs, weights[0], first_mean)
            up = self.network.forward(self.batch.inputs, weights, first)
            data_energy = self._data_energy(up)
            if data_energy - self._spread_cost(trial, up, excess) >= start - self._rounding(start):
                self.posteriors = trial
                self._set(weights, up, data_energy)
                return
            step *= 0.5
        counts.rejected_precisions += 1
        self.posteriors = here

    def _spread_cost(self, posteriors: list[GaussianWeights], up: Upward, excess: list[Array]) -> float:
        """What EP's energy subtracts from the summed log evidence on account of the covariances, sites held fixed.

        Taking its own site out of each cavity turns ``sum log Z_n(q)`` into ``sum log Z_n(q) - (gamma - kappa) S / 2``
        to second order, S the variance that comes from the weights. With the KL of the covariances, the stationary
        point is EP's ``P = P_c + sum gamma p^2``.
        """
        own_sites = sum(
            0.5 * float((extra * here.from_weights).sum(dtype=np.float64))
            for here, extra in zip(up.potentials, excess, strict=True)
        )
        return own_sites + _spread_kl(self.network, posteriors, self.cavities)


@dataclass
class _Solution:
    """Newton direction of one layer's means, its image ``p delta^T`` and the new precision."""

    delta: Array
    image: Array
    precision: Array


def _curvature(message: Derivatives, hidden: bool) -> Array:
    """Curvature in each potential that a Newton step may use: positive also where a hidden message is bimodal."""
    return np.maximum(message.gamma, message.g * message.g) if hidden else np.maximum(message.gamma, 0)


def _newton_direction(
    message: Derivatives,
    curvature: Array,
    inputs: Inputs,
    mean: Array,
    posterior: GaussianWeights,
    cavity: GaussianWeights,
    cg_steps: int,
    counts: UpdateCounts,
) -> _Solution:
    """Solve ``(P_c + diag k + p^T diag(c) p) delta = g^T p - P_c (m - m_c) - k m`` for each unit.

    Messages and curvatures ``c`` come multiplied by the sample weights.
    """
    noise = mixing.spike_noise(message, inputs)
    gradient = mixing.mean_gradient(message, inputs, mean, noise)
    gradient = gradient - cavity.times(mean - cavity.mean).astype(gradient.dtype)
    if isinstance(posterior, JointWeights):
        precision = cavity.precision + mixing.joint_site_precision(curvature, inputs, noise)
        delta = np.linalg.solve(precision, gradient[:, :, None].astype(np.float64))[:, :, 0].astype(mean.dtype)
        return _Solution(delta, inputs.mean @ delta.T, precision)
    diagonal = cavity.precision.astype(mean.dtype) + noise

    def operator(direction: Array) -> tuple[Array, Array]:
        image = inputs.mean @ direction.T
        return diagonal * direction + (curvature * image).T @ inputs.mean, image

    preconditioner = diagonal + curvature.T @ inputs.square
    delta, image = conjugate_gradient(operator, gradient, preconditioner, cg_steps)
    site = bound_precision(mixing.site_precision(message, inputs, noise), counts)
    return _Solution(delta, image, cavity.precision + site)


def _moments(network: Network, posteriors: list[GaussianWeights], dtype: np.dtype) -> list[WeightMoments]:
    return [q.moments(layer.temperature, dtype) for q, layer in zip(posteriors, network.layers, strict=True)]


def _spread_kl(network: Network, posteriors: list[GaussianWeights], cavities: list[GaussianWeights]) -> float:
    """The part of KL that depends on the covariances only, each layer's times its temperature."""
    return sum(
        layer.temperature * q.kl_spread_part(c)
        for q, c, layer in zip(posteriors, cavities, network.layers, strict=True)
    )


def _data_energy(network: Network, batch: Batch, last: Potentials) -> float:
    """Summed log evidence of the batch, accumulated in float64."""
    log_z = network.log_partition(last, batch.target)
    return float((batch.sample_weight * log_z).sum(dtype=np.float64))


def _largest_move(old: list[GaussianWeights], new: list[GaussianWeights]) -> float:
    """Largest change of a mean, in posterior standard deviations."""
    return max(
        float((np.abs(b.mean - a.mean) * np.sqrt(np.maximum(b.precision, 0))).max())
        for a, b in zip(old, new, strict=True)
    )


__all__ = ["Batch", "BatchResult", "average_ep", "energy", "newton"]
