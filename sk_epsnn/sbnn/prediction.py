"""Predictions: the moments of one forward pass, or those of whole networks that are drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sk_epsnn._arrays import Array, astype, clip, concat, like, ones_like, reshape, smallest_normal, sqrt, zeros_like
from sk_epsnn.messages import Inputs, Spread
from sk_epsnn.network import Network
from sk_epsnn.sbnn.passes import potentials
from sk_epsnn.sbnn.streams import reads_stream
from sk_epsnn.sbnn.weights import Moments


def needs_draws(network: Network) -> bool:
    """Whether spikes that enter a layer hang together by more than their means: those of streams and over steps."""
    return network.has_steps and bool(network.hidden) or any(map(reads_stream, network.connections))


def moment_spread(network: Network, weights: Sequence[Moments], inputs: Array) -> Spread:
    """Mean and variance of the output potentials in one forward pass: Gaussian potentials, independent spikes.

    The threshold has no noise of its own: all of the variance is from not knowing the weights.
    """
    mean, variance = inputs, None
    for index, layer in enumerate(network.hidden):
        potential = _mixed(mean, variance, weights[index])
        probability = reshape(layer.neuron.forward(*potential).probability, (-1, network.sizes[index + 1]))
        gathered = network.connections[index + 1].spikes(probability, constant=True)
        mean, variance = gathered.mean, gathered.variance
    mean, variance = _mixed(mean, variance, weights[-1])
    return Spread(mean, variance, zeros_like(variance))


def _mixed(mean: Array, variance: Array | None, weights: Moments) -> tuple[Array, Array]:
    """Moments of potentials of inputs that may be random."""
    second = mean * mean if variance is None else mean * mean + variance
    average, spread = potentials(mean, second, weights)
    if spread is None:
        spread = zeros_like(average)
    if variance is not None:
        spread = spread + variance @ (weights.mean * weights.mean).T
    return average, clip(spread, min=smallest_normal(average))


def draw(weights: Sequence[Moments], generator: np.random.Generator) -> list[Moments]:
    """Known weights of all hidden layers, drawn from the posterior; those of the outputs keep theirs."""
    drawn = []
    for mean, variance in weights[:-1]:
        if variance is not None:
            noise = like(generator.standard_normal(tuple(mean.shape)), mean)
            mean = mean + sqrt(variance) * astype(noise, mean.dtype)
        drawn.append(Moments(mean, None))
    return [*drawn, weights[-1]]


def network_spread(network: Network, weights: Sequence[Moments], inputs: Inputs) -> Spread:
    """Moments of the output potentials where those of hidden layers are known, and spikes follow from the inputs."""
    rows, stream = inputs.mean, None
    for index in range(len(network.hidden)):
        mean, _ = potentials(rows, None, weights[index])
        spikes = reshape(astype(mean >= 0, mean.dtype), (-1, network.sizes[index + 1]))
        connection = network.connections[index + 1].bound(inputs.lengths)
        stream = spikes if stream is None or not reads_stream(connection) else stream + spikes
        gathered = connection.gather(stream)
        rows = concat([gathered, ones_like(gathered[:, :1])], axis=1)
    mean, variance = potentials(rows, rows * rows, weights[-1])
    return Spread(mean, zeros_like(mean) if variance is None else variance, zeros_like(mean))
