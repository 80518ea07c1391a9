"""Learning at every step: weights move while a sequence goes on, and of its past only what is felt is kept.

A trace ``e_t = sum_(s <= t) kappa^(t - s) score_s`` of every synapse in every compartment is never formed: what it
holds of steps further back than `_FADED` allows is left out, and the few steps that remain are products with as many
more rows.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit

from sk_epsnn.gem.credit import Credit
from sk_epsnn.gem.inputs import Inputs, Uniforms
from sk_epsnn.gem.network import SpikingNetwork, Weights, without_own
from sk_epsnn.gem.passes import Past, firing, log_likelihood, of_traces

#: Powers of the decay of the traces below this are left out.
_FADED = 1e-4


class Moment(NamedTuple):
    """What a layer of neurons read in one step, and how it differed from what was expected of it.

    Attributes
    ----------
    spikes, error : ndarray of shape (n_samples, n_compartments, n_units)
        Spikes, and these less their probabilities.
    below, within, skipped : ndarray or None
        Traces of the layer below, of its own layer, and of the inputs where they are skipped to; shape (n_kernels,
        n_samples, n_compartments, n_in). None where it reads none.
    own : ndarray or None
        Traces of each neuron's own spikes.
    """

    spikes: np.ndarray
    error: np.ndarray
    below: np.ndarray
    within: np.ndarray | None
    skipped: np.ndarray | None
    own: np.ndarray | None


class Steps:
    """Sequences while they go on.

    Parameters
    ----------
    network : SpikingNetwork
    inputs : Inputs
    n_compartments : int
    uniforms : Uniforms
    """

    def __init__(self, network: SpikingNetwork, inputs: Inputs, n_compartments: int, uniforms: Uniforms):
        self.network, self.inputs = network, inputs
        n_samples, dtype = inputs.values.shape[1], inputs.values.dtype
        shapes = [(n_samples, n_compartments, n_units) for n_units in network.sizes[1:]]
        self._draws = [uniforms(layer + 1, (inputs.n_steps, *shape)) for layer, shape in enumerate(shapes[:-1])]
        begin = network.synapse.begin
        self._kept = [begin(inputs.values.shape[1:], dtype), *(begin(shape, dtype) for shape in shapes[:-1])]
        self._past = [Past.begin(network, shape, dtype) for shape in shapes[:-1]]
        self._own_target = np.zeros(shapes[-1], dtype)

    def next(self, step: int, weights: Weights, target: np.ndarray) -> tuple[list[Moment], np.ndarray]:
        """What every layer does at a step, and the log-likelihood of the targets, by sample and compartment.

        Parameters
        ----------
        step : int
        weights : mapping of str to array
        target : array of shape (n_samples, 1, n_outputs)
            At this step.
        """
        values = self.inputs.values
        moments, below = [], self._read(0, values[step if len(values) > 1 else 0])
        of_inputs = below
        for layer, draws in enumerate(self._draws):
            moments.append(self._fire(layer, below, draws[step], weights))
            below = self._read(layer + 1, moments[-1].spikes)
        moment, potential = self._out(below, of_inputs, weights, target)
        return [*moments, moment], log_likelihood(potential, target)

    def _read(self, place: int, spikes: np.ndarray) -> np.ndarray:
        """Traces of spikes as the layer above reads them in this step."""
        synapse, before = self.network.synapse, self._kept[place]
        self._kept[place] = synapse.push(before, spikes)
        return synapse.traces(before if self.network.delay else self._kept[place])

    def _fire(self, layer: int, below: np.ndarray, draws: np.ndarray, weights: Weights) -> Moment:
        network, past = self.network, self._past[layer]
        potential = of_traces(below, weights[f"weights{layer}"]) + weights[f"bias{layer}"]
        if network.has_loops:
            potential = potential + past.drive(network, weights, layer)
        probability = firing(potential)
        spikes = (draws < probability).astype(potential.dtype)
        self._past[layer] = past.after(network, spikes)
        within = network.synapse.traces(past.kept) if network.recurrent else None
        own = past.own if network.feedback is not None else None
        return Moment(spikes, spikes - probability, below, within, None, own)

    def _out(
        self, below: np.ndarray, of_inputs: np.ndarray, weights: Weights, target: np.ndarray
    ) -> tuple[Moment, np.ndarray]:
        network, last = self.network, self.network.n_layers - 1
        potential = of_traces(below, weights[f"weights{last}"]) + weights[f"bias{last}"]
        if network.skip:
            potential = potential + of_traces(of_inputs, weights["skip"])
        own = None
        if network.feedback is not None and network.output_feedback:
            own = self._own_target
            potential = potential + weights[f"feedback{last}"] * own
            self._own_target = network.feedback * own + (1 - network.feedback) * target
        skipped = of_inputs if network.skip else None
        return Moment(target, target - expit(potential), below, None, skipped, own), potential


def window(trace_decay: float, n_steps: int) -> int:
    """Steps of which a trace holds more than nothing."""
    if trace_decay == 0:
        return 1
    return n_steps if trace_decay == 1 else min(n_steps, 1 + int(np.log(_FADED) / np.log(trace_decay)))


def step_gradient(
    moments: deque[list[Moment]], credit: Credit, trace_decay: float, pulls: list[np.ndarray] | None
) -> dict[str, np.ndarray]:
    """Sum of the traces times their credit, given what the layers did in the last steps, the newest first.

    ``credit`` has the shape (n_samples, n_compartments); ``pulls`` are more signals to the potentials of each hidden
    layer in the newest step.
    """
    result: dict[str, np.ndarray] = {}
    for layer, recent in enumerate(zip(*moments, strict=True)):
        is_output = layer == len(moments[0]) - 1
        factor = (credit.visible if is_output else credit.hidden)[..., np.newaxis]
        signals = [trace_decay**age * factor * moment.error for age, moment in enumerate(recent)]
        if pulls is not None and not is_output:
            signals[0] = signals[0] + pulls[layer]
        signal = np.stack(signals)
        result[f"weights{layer}"] = _product(signal, [moment.below for moment in recent])
        result[f"bias{layer}"] = signal.sum(axis=(0, 1, 2))
        if recent[0].within is not None:
            name = f"recurrent{layer}"
            result[name] = without_own(name, _product(signal, [moment.within for moment in recent]))
        if recent[0].skipped is not None:
            result["skip"] = _product(signal, [moment.skipped for moment in recent])
        if recent[0].own is not None:
            result[f"feedback{layer}"] = (signal * np.stack([moment.own for moment in recent])).sum(axis=(0, 1, 2))
    return result


def _product(signal: np.ndarray, traces: list[Any]) -> np.ndarray:
    """Sum over steps, samples and compartments of signals, (n_steps, ...), times traces, (n_kernels, ...) at each."""
    read = np.stack(traces, axis=1)
    if read.shape[3] < signal.shape[2]:
        signal = signal.sum(axis=2, keepdims=True)
    flat = read.reshape(len(read), -1, read.shape[-1])
    return np.matmul(signal.reshape(-1, signal.shape[-1]).T, flat)
