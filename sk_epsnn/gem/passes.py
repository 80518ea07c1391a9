"""Whole sequences at once: spikes forward, gradients backward.

Filters are linear, so they act on products with the weights, or on the signals of a gradient, never on the inputs; and
compartments share their inputs, so that products with these do not depend on how many there are. Arrays have the axes
(n_steps, n_samples, n_compartments, n_units); the third has length 1 where all compartments have the same.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit

from sk_epsnn.gem.credit import Credit
from sk_epsnn.gem.inputs import Uniforms
from sk_epsnn.gem.network import Matrices, SpikingNetwork, Weights, without_own

#: Potentials beyond this are as good as certain; in single precision ``1 - sigmoid`` would else be 0.
_CERTAIN = 15.0


class Layer(NamedTuple):
    """Spikes of a hidden layer and the probabilities they were drawn with."""

    spikes: np.ndarray
    probability: np.ndarray


class Runs(NamedTuple):
    """What the compartments did.

    Attributes
    ----------
    inputs : ndarray of shape (n_steps or 1, n_samples, 1, n_inputs)
    hidden : list of Layer
    potentials : ndarray of shape (n_steps, n_samples, n_compartments, n_outputs)
        Of the outputs, before what they read of their own spikes.
    """

    inputs: np.ndarray
    hidden: list[Layer]
    potentials: np.ndarray

    @property
    def below_outputs(self) -> np.ndarray:
        """What the outputs read, but for skip connections."""
        return self.hidden[-1].spikes if self.hidden else self.inputs


def filtered(spikes: np.ndarray, weights: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Potentials from spikes: products with the weights of every kernel, filtered along the steps.

    Parameters
    ----------
    spikes : array of shape (n_spike_steps, ..., n_in)
    weights : array of shape (n_kernels, n_out, n_in)
    matrix : array of shape (n_kernels, n_steps, n_spike_steps)

    Returns
    -------
    potentials : array of shape (n_steps, ..., n_out)
    """
    n_kernels, n_out, n_in = weights.shape
    products = np.matmul(spikes.reshape(-1, n_in), weights.transpose(0, 2, 1))
    n_steps = matrix.shape[1]
    flat = matrix.transpose(1, 0, 2).reshape(n_steps, -1) @ products.reshape(n_kernels * len(spikes), -1)
    return flat.reshape(n_steps, *spikes.shape[1:-1], n_out)


def weight_gradient(spikes: np.ndarray, signal: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Gradient of ``sum(signal * filtered(spikes, weights, matrix))`` in the weights."""
    n_kernels, n_steps, n_spike_steps = matrix.shape
    back = matrix.transpose(0, 2, 1).reshape(-1, n_steps) @ signal.reshape(n_steps, -1)
    back = back.reshape(n_kernels, -1, signal.shape[-1])
    return np.matmul(back.transpose(0, 2, 1), spikes.reshape(-1, spikes.shape[-1]))


def run(
    network: SpikingNetwork, weights: Weights, inputs: np.ndarray, n_steps: int, n_compartments: int, uniforms: Uniforms
) -> Runs:
    """Let every compartment draw its hidden spikes.

    Parameters
    ----------
    network : SpikingNetwork
    weights : mapping of str to array
    inputs : array of shape (n_steps, n_samples, 1, n_inputs)
        One step stands for inputs that stay the same.
    n_steps, n_compartments : int
    uniforms : callable

    Returns
    -------
    runs : Runs
    """
    matrices = network.synapses(n_steps, len(inputs), inputs.dtype)
    below, matrix, hidden = inputs, matrices.of_inputs, []
    for layer in range(network.n_layers - 1):
        drive = filtered(below, weights[f"weights{layer}"], matrix) + weights[f"bias{layer}"]
        shape = (*drive.shape[:2], n_compartments, drive.shape[3])
        if network.has_loops:
            hidden.append(_fire_in_loops(network, weights, layer, drive, shape, uniforms))
        else:
            probability = firing(drive)
            hidden.append(Layer((uniforms(layer + 1, shape) < probability).astype(drive.dtype), probability))
        below, matrix = hidden[-1].spikes, matrices.between
    last = network.n_layers - 1
    potentials = filtered(below, weights[f"weights{last}"], matrix) + weights[f"bias{last}"]
    if network.skip:
        potentials = potentials + filtered(inputs, weights["skip"], matrices.of_inputs)
    return Runs(inputs, hidden, potentials)


def firing(potentials: np.ndarray) -> np.ndarray:
    """Probability of a spike, never 0 or 1."""
    return expit(np.clip(potentials, -_CERTAIN, _CERTAIN))


def _fire_in_loops(
    network: SpikingNetwork,
    weights: Weights,
    layer: int,
    drive: np.ndarray,
    shape: tuple[int, ...],
    uniforms: Uniforms,
) -> Layer:
    """Spikes of neurons that read earlier ones of their layer, one step after another."""
    draws = np.broadcast_to(uniforms(layer + 1, shape), shape)
    spikes, probability = np.empty(shape, drive.dtype), np.empty(shape, drive.dtype)
    past = Past.begin(network, shape[1:], drive.dtype)
    for step in range(shape[0]):
        potential = drive[step] + past.drive(network, weights, layer)
        probability[step] = firing(potential)
        spikes[step] = draws[step] < probability[step]
        past = past.after(network, spikes[step])
    return Layer(spikes, probability)


class Past(NamedTuple):
    """What neurons of a layer read of its earlier spikes.

    Attributes
    ----------
    own : ndarray of shape (n_samples, n_compartments, n_units)
        Traces of their own spikes.
    kept : ndarray
        What the synapses between them keep, see `SynapticFilter.begin`.
    """

    own: np.ndarray
    kept: np.ndarray

    @classmethod
    def begin(cls, network: SpikingNetwork, shape: tuple[int, ...], dtype: Any) -> Past:
        """Before the first step, of spikes of shape (n_samples, n_compartments, n_units)."""
        return cls(np.zeros(shape, dtype), network.synapse.begin(shape, dtype))

    def drive(self, network: SpikingNetwork, weights: Weights, layer: int) -> np.ndarray:
        """Part of the potentials that comes from it."""
        result = np.zeros_like(self.own)
        if network.feedback is not None:
            result = result + weights[f"feedback{layer}"] * self.own
        if network.recurrent:
            result = result + of_traces(network.synapse.traces(self.kept), weights[f"recurrent{layer}"])
        return result

    def after(self, network: SpikingNetwork, spikes: np.ndarray) -> Past:
        """The same after the spikes of another step."""
        own, kept = self
        if network.feedback is not None:
            own = network.feedback * own + (1 - network.feedback) * spikes
        return Past(own, network.synapse.push(kept, spikes) if network.recurrent else kept)


def of_traces(traces: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Potentials from traces, of shape (n_kernels, n_samples, n_compartments, n_in)."""
    n_kernels, n_out, n_in = weights.shape
    products = np.matmul(traces.reshape(n_kernels, -1, n_in), weights.transpose(0, 2, 1))
    return products.sum(axis=0).reshape(*traces.shape[1:3], n_out)


def own_trace(network: SpikingNetwork, spikes: np.ndarray, n_steps: int) -> np.ndarray:
    """What neurons read of their own spikes, shape (n_steps, ...); one step of spikes stands for all."""
    own = network.synapses(n_steps, n_steps, spikes.dtype).own[0]
    own = own if len(spikes) == n_steps else own.sum(axis=1, keepdims=True)
    return (own @ spikes.reshape(len(spikes), -1)).reshape(n_steps, *spikes.shape[1:])


def clamped(network: SpikingNetwork, weights: Weights, potentials: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Potentials of outputs that are held at their target trains, of shape (n_steps or 1, n_samples, 1, n_outputs)."""
    name = f"feedback{network.n_layers - 1}"
    if name not in weights:
        return potentials
    return potentials + weights[name] * own_trace(network, target, len(potentials))


def log_likelihood(potentials: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Log probability of the outputs' targets at each step, in nats; shape (n_steps, n_samples, n_compartments).

    A target between 0 and 1 is a share of spikes, whose expected log probability it is.
    """
    return (target * potentials - softplus(potentials)).sum(axis=-1)


def softplus(u: np.ndarray) -> np.ndarray:
    """``log(1 + exp(u))``."""
    return np.maximum(u, 0) + np.log1p(np.exp(-np.abs(u)))


def gradient(
    network: SpikingNetwork,
    runs: Runs,
    credit: Credit,
    target: np.ndarray,
    potentials: np.ndarray,
    pulls: list[np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Sum over samples, steps and compartments of the scores times their credit.

    Parameters
    ----------
    network : SpikingNetwork
    runs : Runs
    credit : Credit
        Factors of the scores, each of shape (n_steps, n_samples, n_compartments).
    target : array of shape (n_steps or 1, n_samples, 1, n_outputs)
    potentials : array
        Of the outputs, as `clamped` gives them.
    pulls : list of array, optional
        More signals to the potentials of each hidden layer, of the shape of its probabilities.

    Returns
    -------
    gradient : dict of str to array
        By the names of the weights.
    """
    n_steps = len(potentials)
    matrices = network.synapses(n_steps, len(runs.inputs), potentials.dtype)
    signals = [_hidden_signal(layer, credit.hidden) for layer in runs.hidden]
    if pulls is not None:
        signals = [signal + pull for signal, pull in zip(signals, pulls, strict=True)]
    signals.append(credit.visible[..., np.newaxis] * (target - expit(potentials)))
    result, below, matrix = {}, runs.inputs, matrices.of_inputs
    for index, signal in enumerate(signals):
        # Compartments have the same inputs: what they say of these is added up first.
        shared = signal.sum(axis=2, keepdims=True) if below.shape[2] < signal.shape[2] else signal
        result[f"weights{index}"] = weight_gradient(below, shared, matrix)
        result[f"bias{index}"] = shared.sum(axis=(0, 1, 2))
        if index < len(runs.hidden):
            below, matrix = runs.hidden[index].spikes, matrices.between
            _add_loops(network, result, index, below, signal, matrices)
    if network.feedback is not None and network.output_feedback:
        trace = own_trace(network, target, n_steps)
        result[f"feedback{network.n_layers - 1}"] = (signals[-1] * trace).sum(axis=(0, 1, 2))
    if network.skip:
        result["skip"] = weight_gradient(runs.inputs, signals[-1].sum(axis=2, keepdims=True), matrices.of_inputs)
    return result


def _hidden_signal(layer: Layer, credit: np.ndarray) -> np.ndarray:
    """``sum_k G^k (h^k - q^k)``, by compartment where their probabilities differ."""
    spikes, probability = layer
    if probability.shape[2] == 1:
        together = np.matmul(credit[:, :, np.newaxis], spikes)
        return together - credit.sum(axis=2)[:, :, np.newaxis, np.newaxis] * probability
    return credit[..., np.newaxis] * (spikes - probability)


def _add_loops(
    network: SpikingNetwork,
    result: dict[str, np.ndarray],
    layer: int,
    spikes: np.ndarray,
    signal: np.ndarray,
    matrices: Matrices,
) -> None:
    """Gradients of what neurons read of their own layer."""
    if network.feedback is not None:
        trace = own_trace(network, spikes, len(spikes))
        result[f"feedback{layer}"] = (signal * trace).sum(axis=(0, 1, 2))
    if network.recurrent:
        name = f"recurrent{layer}"
        result[name] = without_own(name, weight_gradient(spikes, signal, matrices.recurrent))
