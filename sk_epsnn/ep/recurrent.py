"""Layers whose spikes act on their own later potentials: a pass over the steps, forward and backward.

Traces ``z_t = leak z_(t-1) + (1 - leak) s_t`` of a layer's spikes ``s`` enter the potentials of the next step: through
weights, which are more columns of the one mixing block, or with a reset, a known weight of minus ``theta`` for a
neuron's own trace. Going down, a spike hears from all later potentials.

Neurons and their traces follow the same uncertain weights. What traces have beyond the variance of independent steps,
and potentials through the covariance of ``W x_t`` and what a neuron's own trace does to it, is worked out along the
path of each neuron (`sk_epsnn.ep.own_path`) and held where covariances are, as the terms of
`sk_epsnn.ep.between_rows`. Paths from neuron to neuron are in the means and the messages, and in the variance of what
a readout makes of the spikes, where they would be missed most: of a trained network it was .71 of that of draws
without them and .95 with them (.77 of others, less certain of their weights). They are in no curvature, and not between
hidden layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

from sk_epsnn._arrays import Array, clip, concat, diagonal, is_any, reshape, stack, zeros_like
from sk_epsnn.connections import Feedback, Running
from sk_epsnn.connections.base import in_parts
from sk_epsnn.ep import mixing
from sk_epsnn.ep.between_rows import SharedRows
from sk_epsnn.ep.own_path import Paths, RunningRows, SequentialRows, by_step, spread_of
from sk_epsnn.ep.sites import UpdateCounts, bound_log_ratio
from sk_epsnn.ep.state import State
from sk_epsnn.messages import Derivatives, Inputs, Potentials, SpikeMoments, WeightMoments
from sk_epsnn.neurons import Neuron

#: Share of the variance of a potential that is left, at the least, where its own trace takes from it.
LEAST_SHARE = 0.05


class Held(NamedTuple):
    """Variance beyond that of independent steps, each of shape (n_samples, n_steps, n_units).

    Attributes
    ----------
    traces : array
        Of the traces that enter a step.
    potentials : array
        Of the potentials, from the covariance with their own trace.
    """

    traces: Array
    potentials: Array


class Passed(NamedTuple):
    """What a layer has received and made of it, see `sk_epsnn.ep.passes.Upward`, and what was held."""

    inputs: Inputs
    potentials: Potentials
    spikes: SpikeMoments
    held: Held


@dataclass(frozen=True)
class OwnSpikes:
    """How the spikes of a layer act on its later potentials.

    Attributes
    ----------
    neuron : Neuron
    leak : float
        Of the traces.
    reset : float
        What a neuron that fires at every step is pulled down by in the end, in units of the potential.
    columns : slice or None
        Where the traces are among the inputs of the layer's weights; None if these have none.
    running : Running or None
        What hands traces on from one step to the next, where steps come one at a time.
    """

    neuron: Neuron
    leak: float
    reset: float
    columns: slice | None
    running: Running | None

    @classmethod
    def of(cls, state: State, index: int) -> OwnSpikes | None:
        """Those of a hidden layer; None where each step is by itself."""
        connection, neuron = state.network.hidden[index]
        if not connection.is_sequential:
            return None
        running = connection if isinstance(connection, Running) else None
        leak = connection.leak if running is None else running.connection.leak
        return cls(neuron, leak, state.layers[index].reset, state.network.own_columns(index), running)

    def weight(self, weights: WeightMoments) -> Array:
        """Mean weight of each neuron's own trace, shape (n_units,)."""
        if self.columns is None:
            return zeros_like(weights.mean[:, 0]) - self.reset
        return diagonal(weights.mean[:, self.columns])

    def rows(
        self, shared: SharedRows, spikes: SpikeMoments, weights: WeightMoments, above: WeightMoments
    ) -> SharedRows:
        """Rows of the layer that a connection sums up; with known weights thresholds have no slope to go by."""
        if self.neuron.has_ties and not is_any(weights.variance > 0):
            return shared
        feedback = Feedback(self.leak, self.weight(weights))
        parts = {name: getattr(shared, name) for name in SharedRows.__dataclass_fields__}
        spread = spread_of(spikes.probability)
        kind = RunningRows if isinstance(shared.connection, Running) else SequentialRows
        return kind(**parts, feedback=feedback, spread=spread, columns=self.columns, above=above.mean)

    # ------------------------------------------------------------------ up

    def forward(
        self,
        entering: Inputs,
        weights: WeightMoments,
        mix: Callable[[Inputs], Potentials],
        n_steps: int,
        held: Held | None,
    ) -> Passed:
        """Potentials and spikes of all steps, one after another.

        Parameters
        ----------
        entering : Inputs of shape (n_samples * n_steps, n_in)
            Without the traces.
        weights : WeightMoments
        mix : callable
            Potentials of a step from its inputs.
        n_steps : int
        held : Held or None
            That of an earlier pass; None to work it out.
        """
        n_samples, n_units = entering.mean.shape[0] // n_steps, weights.mean.shape[0]
        mean = by_step(entering.mean, n_steps)
        variance = None if entering.variance is None else by_step(entering.variance, n_steps)
        zero = zeros_like(mean[:, 0, :1] + weights.mean[None, :, 0])
        parts = in_parts(n_samples, n_units * weights.mean.shape[1] if held is None else 1)
        results = []
        for part in parts if self.running is None else [slice(0, n_samples)]:
            begin = self._begin(weights, zero[part, :], None if held is None else Held(*(x[part, :, :] for x in held)))
            uncertain = None if variance is None else variance[part, :, :]
            results.append(self._of_samples(mean[part, :, :], uncertain, mix, begin))
        inputs, potentials, spikes, beyond = (_joined(parts) for parts in zip(*results, strict=True))
        means, variances = (None if each is None else reshape(each, (-1, each.shape[2])) for each in inputs)
        return Passed(
            Inputs(means, variances, entering.lengths),
            Potentials(*(reshape(each, (-1, n_units)) for each in potentials)),
            SpikeMoments(*(reshape(each, (-1, n_units)) for each in spikes)),
            Held(*beyond),
        )

    def _begin(self, weights: WeightMoments, zero: Array, held: Held | None) -> _Traces:
        """Traces before the first step, or those of the step before."""
        if held is not None:
            return _Traces(zero, zero, _Known(held))
        before = None if self.running is None else self.running.last(None)
        if before is not None:
            return before._replace(paths=copy(before.paths))
        return _Traces(zero, zero, Paths(Feedback(self.leak, self.weight(weights)), weights, self.neuron, zero))

    def _of_samples(
        self, mean: Array, variance: Array | None, mix: Callable[[Inputs], Potentials], begin: _Traces
    ) -> tuple[list[Any], ...]:
        """`forward` for some samples: arrays of shape (n, n_steps, ...)."""
        (trace, independent, paths), gain, steps = begin, 1 - self.leak, []
        for step in range(mean.shape[1]):
            extra = paths.beyond(independent)
            entering = mean[:, step, :], None if variance is None else variance[:, step, :]
            spread = clip(independent + extra, min=0.0)
            inputs = self._with_traces(*entering, trace, spread)
            potentials = mix(inputs)
            if self.columns is None:
                pulled, uncertain = self.reset * trace, self.reset**2 * spread
                potentials = Potentials(potentials.mean - pulled, potentials.variance + uncertain, potentials[2])
            more = paths.enter(inputs, potentials)
            total = clip(potentials.variance + more, min=LEAST_SHARE * potentials.variance)
            potentials = potentials._replace(variance=total)
            spikes = self.neuron.forward(*potentials[:2])
            paths.go_on(inputs, potentials, spikes)
            trace = self.leak * trace + gain * spikes.probability
            independent = self.leak**2 * independent + gain**2 * spread_of(spikes.probability)
            steps.append(((inputs.mean, inputs.variance), potentials, spikes, (extra, more)))
        if self.running is not None:
            self.running.keep(_Traces(trace, independent, paths))
        return tuple(_stacked(parts) for parts in zip(*steps, strict=True))

    def _with_traces(self, mean: Array, variance: Array | None, trace: Array, uncertain: Array) -> Inputs:
        """Inputs of a step with the traces in their columns."""
        if self.columns is None:
            return Inputs(mean, variance)
        start = self.columns.start
        variance = zeros_like(mean) if variance is None else variance
        pairs = (mean, trace), (variance, uncertain)
        return Inputs(*(concat([outer[:, :start], own, outer[:, start:]], axis=1) for outer, own in pairs))

    # ------------------------------------------------------------------ down

    def backward(
        self,
        ratio: Array,
        up: tuple[Inputs, SpikeMoments],
        weights: WeightMoments,
        fire: Callable[[SpikeMoments, Array], Derivatives],
        counts: UpdateCounts,
    ) -> tuple[Derivatives, Array]:
        """Messages to the potentials of all steps, the last one first, and to the spikes.

        Parameters
        ----------
        ratio : array of shape (n_samples, n_steps * n_units)
            Log-ratio of every spike from the layer above.
        up : (Inputs, SpikeMoments)
            Of the layer.
        weights : WeightMoments
        fire : callable
            Message to the potentials, given spikes and their log-ratios.
        counts : UpdateCounts
        """
        inputs, spikes = up
        n_units = weights.mean.shape[0]
        n_steps = ratio.shape[1] // n_units
        above, of_steps = by_step(reshape(ratio, (-1, n_units)), n_steps), [by_step(each, n_steps) for each in spikes]
        traces = None if self.columns is None else by_step(inputs.mean[:, self.columns], n_steps)
        slope = curvature = zeros_like(above[:, 0, :])
        gain, steps = 1 - self.leak, []
        for step in range(n_steps - 1, -1, -1):
            here = SpikeMoments(*(each[:, step, :] for each in of_steps))
            later = gain * slope - (0.5 - here.probability) * (gain**2 * curvature)
            ratio = bound_log_ratio(above[:, step, :] + later, counts)
            message = fire(here, ratio)
            steps.append((message, (ratio,)))
            new = self._to_traces(message, weights, None if traces is None else traces[:, step, :])
            slope, curvature = self.leak * slope + new[0], self.leak**2 * curvature + new[1]
        messages, (ratios,) = (_stacked(parts) for parts in zip(*steps[::-1], strict=True))
        flat = Derivatives(*(reshape(each, (-1, n_units)) for each in messages))
        return flat, reshape(ratios, (-1, n_steps * n_units))

    def _to_traces(self, message: Derivatives, weights: WeightMoments, trace: Array | None) -> tuple[Array, Array]:
        """Derivative of ``log Z`` in the traces that entered a step, and minus the second one."""
        if trace is None:
            return -self.reset * message.g, self.reset**2 * message.gamma
        own = WeightMoments(weights.mean[:, self.columns], weights.variance[:, self.columns], None)
        linear, square, noise = mixing.to_inputs(message, own, trace.shape[1])
        return linear - noise * trace, square + noise


class _Known:
    """`Paths` of an earlier pass, whose variances are held."""

    def __init__(self, held: Held):
        self.held, self.step = held, 0

    def beyond(self, independent: Array) -> Array:
        """Variance of the traces beyond that of independent steps."""
        return self.held.traces[:, self.step, :]

    def enter(self, inputs: Inputs, potentials: Potentials) -> Array:
        """What their own traces add to the variances of potentials."""
        return self.held.potentials[:, self.step, :]

    def go_on(self, inputs: Inputs, potentials: Potentials, spikes: SpikeMoments) -> None:
        """The next step."""
        self.step += 1


class _Traces(NamedTuple):
    """What a layer hands on from one step to the next: means of its traces, variances as of independent steps, paths.

    All of shape (n_samples, n_units).
    """

    mean: Array
    independent: Array
    paths: Paths | _Known


def _stacked(parts: Sequence[Any]) -> list[Any]:
    """Arrays of all steps, of each kind."""
    return [None if each[0] is None else stack(each, axis=1) for each in zip(*parts, strict=True)]


def _joined(parts: Sequence[Any]) -> list[Any]:
    """Arrays of all samples, of each kind."""
    return [each[0] if each[0] is None or len(each) == 1 else concat(each) for each in zip(*parts, strict=True)]
