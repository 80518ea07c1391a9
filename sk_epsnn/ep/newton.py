"""Energy-checked Newton steps towards the fixed point of average EP over one batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from typing import NamedTuple

import numpy as np

from sk_epsnn._arrays import (
    Array,
    astype,
    clip,
    epsilon,
    inverse_of_positive,
    is_any,
    maximum,
    reshape,
    solve,
    sum_over,
    total_of,
    where,
    zeros_like,
)
from sk_epsnn.ep import mixing
from sk_epsnn.ep.between_rows import BetweenRows, weighted
from sk_epsnn.ep.energy import BatchResult, data_energy, mean_kl, moments_of, own_sites, spread_kl, summed
from sk_epsnn.ep.passes import Upward, backward, forward, potentials, row_weights
from sk_epsnn.ep.sites import UpdateCounts, bound_precision
from sk_epsnn.ep.state import State
from sk_epsnn.ep.steps import mean_cost, mean_curvature, moved, with_site
from sk_epsnn.messages import Competition, Derivatives, Inputs, Potentials, WeightMoments
from sk_epsnn.network import Batch
from sk_epsnn.numerics import conjugate_gradient
from sk_epsnn.weights import JointWeights, Weights

#: Shortest fraction of a Newton step that is tried before the step is given up.
SHORTEST_STEP = 1e-3
#: Lengths tried for a move of the precisions, each half the one before: where none of these helps, few shorter ones do.
PRECISION_TRIALS = 3
#: A direction of independent weights is accurate enough at this fraction of the first residual, one of units that
#: compete at the second, since their precisions are still to follow; or after so many steps.
CG_TOL, COMPETING_TOL = 0.05, 0.2
CG_STEPS = 30
#: The precision follows the new site by at least this fraction, also when the step of the mean was shorter.
LEAST_PRECISION_STEP = 0.1
#: Relative rounding of what is worked out in float64.
_EPSILON = 2.0**-52


def newton(
    state: State,
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
    state : State
        Its posteriors are where the iteration starts.
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
    ascent = _Ascent(state, batch, cavities)
    for _ in range(n_sweeps):
        before = ascent.energy
        step, gain = ascent.sweep(min(1.0, 2 * step), counts)
        if max(gain, abs(ascent.energy - before)) < tol * batch.mass:
            break
    posteriors = ascent.here.posteriors
    return BatchResult(posteriors, step, ascent.energy - spread_kl(state, posteriors, cavities), True, counts)


class _Trial(NamedTuple):
    """Posteriors with their moments, the forward pass that goes with them and its summed log evidence.

    ``evidence`` is that of the outputs with its derivatives, where these come with it.
    """

    posteriors: list[Weights]
    weights: list[WeightMoments]
    up: Upward
    data_energy: float
    evidence: tuple[Array, Derivatives] | None


class _Ascent:
    """Posteriors being improved on one batch, with the forward pass that belongs to them."""

    def __init__(self, state: State, batch: Batch, cavities: list[Weights]):
        self.state, self.batch, self.cavities = state, batch, cavities
        self.here = self._trial(state.posteriors)

    def _trial(
        self,
        posteriors: list[Weights],
        weights: list[WeightMoments] | None = None,
        first: Potentials | None = None,
        held: Upward | None = None,
    ) -> _Trial:
        """Forward pass of given posteriors; their moments, the first potentials and what rows share may be known."""
        if weights is None:
            weights = moments_of(self.state, posteriors, self.batch.target.dtype)
        up = forward(self.state, self.batch.inputs, weights, first, held=held)
        batch, output, last = self.batch, self.state.network.output, up.potentials[-1]
        if not output.derivatives_are_free:
            return _Trial(posteriors, weights, up, data_energy(self.state, batch, last), None)
        evidence = output.evidence(*last[:2], batch.target, self.state.power)
        return _Trial(posteriors, weights, up, summed(batch, sum_over(evidence[0], axis=1)), evidence)

    @property
    def energy(self) -> float:
        """Energy up to the part of KL that depends on the covariances only."""
        return self.here.data_energy - mean_kl(self.here.posteriors, self.cavities)

    def sweep(self, step: float, counts: UpdateCounts) -> tuple[float, float]:
        """One forward and backward pass; returns the step length for the next sweep and the energy gained."""
        here = self.here
        batch = self.batch
        _, messages, _, between = backward(
            self.state, here.up, batch.target, here.weights, counts, here.evidence, batch.step_weight
        )
        rows = row_weights(self.state, batch.sample_weight)
        curvatures = [
            weight[:, None] * curvature
            for weight, curvature in zip(rows, step_curvatures(self.state, messages, batch.step_weight), strict=True)
        ]
        competitions = self._competitions()
        messages = [message.times(weight) for weight, message in zip(rows, messages, strict=True)]
        excess = [message.gamma - message.kappa for message in messages]
        common = [weighted(between, index, rows) for index in range(len(between))]
        parts = zip(messages, curvatures, self.here.up.inputs, common, competitions, strict=True)
        solutions = [
            newton_direction(posterior, cavity, _Message(*part), layer.temperature, counts)
            for part, posterior, cavity, layer in zip(
                parts, self.here.posteriors, self.cavities, self.state.layers, strict=True
            )
        ]
        # What is no longer needed is as large as the trials to come.
        del messages, curvatures, common, competitions, parts
        start = self.energy
        taken = self._move_means(solutions, excess, step, counts)
        gain = self.energy - start
        if self.here.up.holds:
            # Held so far, as covariances are.
            first = self.here.up.potentials[0]
            self.here = self._trial(self.here.posteriors, self.here.weights, first)
        sites = [s.site for s in solutions]
        del solutions
        self._move_precisions(sites, excess, max(taken, LEAST_PRECISION_STEP), counts)
        # Where no step helps the means have settled; that says nothing about the next batch.
        return taken if taken > 0 else step, gain

    def _competitions(self) -> list[Competition | None]:
        """Curvature of units that compete, one entry per layer: those of the last one may."""
        *hidden, last = self.here.posteriors
        if last.variance_follows_mean or self.here.evidence is None:  # whose steps are limited one by one; or none do
            return [None] * (len(hidden) + 1)
        _, message = self.here.evidence
        competition = self.state.network.output.competition(message, self.batch.target)
        return [None] * len(hidden) + [competition and competition.times(self.batch.weight)]

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
            return self._trial(ahead, weights, known, held=here.up)

        length = self._search(trial, excess, step, whole=False)
        counts.shortened_steps += 0 < length < step
        counts.rejected_steps += length == 0
        return length

    def _move_precisions(self, sites: list[Array], excess: list[Array], step: float, counts: UpdateCounts) -> None:
        """Let the precisions follow their sites by the longest tried fraction that does not lower the EP energy."""
        posteriors, layers = self.here.posteriors, self.state.layers
        first_mean, is_sequential = self.here.up.potentials[0].mean, self.state.network.connections[0].is_sequential

        def trial(length: float) -> _Trial:
            ahead = [
                with_site(q, cavity, site, layer.temperature, length)
                for q, cavity, site, layer in zip(posteriors, self.cavities, sites, layers, strict=True)
            ]
            if any(q.variance_follows_mean for q in ahead):
                return self._trial(ahead)
            weights = moments_of(self.state, ahead, first_mean.dtype)
            if is_sequential:
                return self._trial(ahead, weights)
            return self._trial(ahead, weights, potentials(self.state, 0, self.batch.inputs, weights[0], first_mean))

        counts.rejected_precisions += self._search(trial, excess, step, whole=True) == 0

    def _search(self, trial: Callable[[float], _Trial], excess: list[Array], step: float, *, whole: bool) -> float:
        """Take the longest of ``step, step/2, ...`` that does not lower the EP energy, and say which; 0 for none.

        ``whole`` counts the KL of the covariances too, which a move of the means leaves alone.
        """

        def parts(state: _Trial) -> tuple[list[float], list[float]]:
            costs = [mean_kl(state.posteriors, self.cavities)]
            if whole:
                costs.append(spread_kl(self.state, state.posteriors, self.cavities))
            return [state.data_energy, -own_sites(state.up, excess)], [-cost for cost in costs]

        def total(state: _Trial) -> float:
            return sum(map(sum, parts(state)))

        # Energies this close cannot be told apart: every part is rounded, and so is the evidence of every row; what
        # the weights cost is worked out in float64 whatever the dtype of the rows is.
        of_rows, of_weights = (sum(map(abs, some)) for some in parts(self.here))
        rounding = epsilon(self.batch.target) * (of_rows + self.batch.mass) + _EPSILON * of_weights
        start = total(self.here) - rounding
        shortest = step * 0.5 ** (PRECISION_TRIALS - 1) if whole else SHORTEST_STEP
        while step >= shortest:
            state = trial(step)
            if total(state) >= start:  # False for NaN
                self.here = state
                return step
            del state  # before the next trial takes its place
            step *= 0.5
        return 0.0


@dataclass
class _Solution:
    """Newton direction of one layer's means, its image ``p delta^T`` and the summed site precision."""

    delta: Array
    image: Array
    site: Array


def step_curvatures(state: State, messages: list[Derivatives], step_weight: Array | None = None) -> list[Array]:
    """Curvature in each potential that a Newton step may use: positive also where a hidden message is bimodal.

    There is none where a step has no target.
    """
    *hidden, last = messages
    curvatures = [maximum(message.gamma, message.g * message.g) for message in hidden]
    of_outputs = state.network.output.step_curvature(last)
    if step_weight is not None:
        of_outputs = where(step_weight[:, None] > 0, of_outputs, zeros_like(of_outputs))
    return [*curvatures, of_outputs]


class _Message(NamedTuple):
    """What comes down to the potentials of a layer, multiplied by the weights of the rows, and what went up to them."""

    derivatives: Derivatives
    curvature: Array
    inputs: Inputs
    between: BetweenRows | None = None
    competition: Competition | None = None

    def bent(self, image: Array) -> Array:
        """Curvature in the potentials times a move of them."""
        if self.competition is not None:
            return self.competition.image(image)
        bent = self.curvature * image
        return bent if self.between is None else bent + self.between.shared.image(image, self.between.curvature)


@singledispatch
def newton_direction(
    posterior: Weights, cavity: Weights, message: _Message, temperature: float, counts: UpdateCounts
) -> _Solution:
    """Solve ``(C + diag k + p^T diag(c) p) delta = g^T p - k m - cost`` for each unit.

    ``C`` and ``cost`` are `mean_curvature` and `mean_cost`: for Gaussian weights ``P_c`` and ``P_c (m - m_c)``. Weights
    that are independent of each other take conjugate gradients, and so do those of units that compete, whose potentials
    have a curvature together: one system for all units.
    """
    derivatives, curvature, inputs, between, _ = message
    dtype, noise = inputs.mean.dtype, mixing.spike_noise(derivatives, inputs)
    site = mixing.site_precision(derivatives, inputs, noise)
    site = bound_precision(site if between is None else site + between.site(joint=False), counts)
    gradient = _gradient(posterior, cavity, message, noise, site, temperature)
    diagonal = astype(mean_curvature(posterior, cavity), dtype) + noise
    preconditioner = diagonal + curvature.T @ inputs.square
    if between is not None:
        preconditioner = preconditioner + between.shared.curvature(between.curvature, joint=False)
    delta, image = _iterated(
        message, lambda direction: diagonal * direction, lambda residual: residual / preconditioner, gradient
    )
    return _Solution(delta, image, site)


@newton_direction.register
def _(
    posterior: JointWeights, cavity: JointWeights, message: _Message, temperature: float, counts: UpdateCounts
) -> _Solution:
    """Joint weights of a unit: the system is solved as it is; where units compete it is the preconditioner."""
    derivatives, curvature, inputs, between, competition = message
    dtype, noise = inputs.mean.dtype, mixing.spike_noise(derivatives, inputs)
    gamma = clip(derivatives.gamma, min=0.0)
    site = mixing.joint_site_precision(gamma, inputs, noise)
    if between is not None:
        site = site + between.site(joint=True)
    gradient = _gradient(posterior, cavity, message, noise, site, temperature)
    # The step needs a curvature in every sample; the site is what the samples say, none of them negative.
    extra = curvature - gamma
    own = mean_curvature(posterior, cavity)
    hessian = own + site
    if between is not None:
        hessian = hessian + between.shared.curvature(between.curvature, joint=True)
    if is_any(extra != 0):
        hessian = hessian + mixing.joint_site_precision(extra, inputs, 0.0)
    if competition is not None:
        own, inverse = (astype(part, dtype, copy=False) for part in (own, inverse_of_positive(hessian)))
        delta, image = _iterated(
            message,
            lambda direction: _product(own, direction) + noise * direction,
            lambda residual: _product(inverse, residual),
            gradient,
        )
        return _Solution(delta, image, site)
    delta = solve(hessian, astype(gradient[:, :, None], "float64"))
    delta = astype(delta[:, :, 0], dtype)
    return _Solution(delta, inputs.mean @ delta.T, site)


def _product(matrices: Array, vectors: Array) -> Array:
    """One matrix times one vector per unit."""
    return (matrices @ vectors[:, :, None])[:, :, 0]


def _iterated(
    message: _Message, own: Callable[[Array], Array], divided: Callable[[Array], Array], gradient: Array
) -> tuple[Array, Array]:
    """The direction by conjugate gradients, with its image: one system for each unit, or for all that compete.

    ``own`` is the part of the matrix that does not come from the potentials, ``divided`` the preconditioner.
    """
    shape, mean = gradient.shape, message.inputs.mean
    system, tol = (shape, CG_TOL) if message.competition is None else ((1, shape[0] * shape[1]), COMPETING_TOL)

    def operator(vectors: Array) -> tuple[Array, Array]:
        direction = reshape(vectors, shape)
        image = mean @ direction.T
        return reshape(own(direction) + message.bent(image).T @ mean, system), image

    def preconditioner(residual: Array) -> Array:
        return reshape(divided(reshape(residual, shape)), system)

    # Where weights are huge, rounding may leave residuals that no number can be divided by.
    with np.errstate(over="ignore", invalid="ignore"):
        delta, image = conjugate_gradient(operator, reshape(gradient, system), preconditioner, CG_STEPS, tol)
    delta = reshape(delta, shape)
    if message.competition is None or total_of(gradient * delta) > 0:
        return delta, image
    # Rounding has spoilt it; this one rises whatever the others do.
    delta = divided(gradient)
    return delta, mean @ delta.T


def _gradient(
    posterior: Weights, cavity: Weights, message: _Message, noise: Array | float, site: Array, temperature: float
) -> Array:
    """Gradient of the energy in the means, in the dtype of the data."""
    derivatives, inputs = message.derivatives, message.inputs
    dtype = inputs.mean.dtype
    gradient = mixing.mean_gradient(derivatives, inputs, astype(posterior.mean, dtype), noise)
    return gradient - astype(mean_cost(posterior, cavity, site, temperature), dtype)
