"""Tiny noisy binary networks, their expected loss by enumeration of all spikes, and derivatives by differences."""

import itertools

import numpy as np
from scipy.special import ndtr

from sk_epsnn.connections import Dense, Filter, Readout
from sk_epsnn.network import Layer, Network
from sk_epsnn.neurons import LIF, Heaviside
from sk_epsnn.outputs import GaussianOutput, SoftmaxOutput
from sk_epsnn.sbnn.passes import backward, forward
from sk_epsnn.sbnn.streams import Stream
from sk_epsnn.sbnn.weights import Moments


def dense(sizes, *, streams=False, output=None):
    """Fully connected network of these sizes, inputs first, perhaps with residual streams."""
    kinds = [Stream if streams and index > 1 else Dense for index in range(len(sizes) - 1)]
    *hidden, readout = [kind(size) for kind, size in zip(kinds, sizes[1:], strict=True)]
    layers = tuple(Layer(connection, Heaviside()) for connection in hidden)
    return Network(layers, readout, output or SoftmaxOutput(), True, sizes[0])


def over_steps(sizes, n_steps, leak=0.8):
    """Leaky neurons over steps, whose mean the outputs read."""
    *hidden, last = sizes[1:]
    layers = tuple(
        Layer(Filter(n_out, n_in, leak), LIF(leak=leak)) for n_in, n_out in zip(sizes[:-2], hidden, strict=True)
    )
    return Network(layers, Readout(last, hidden[-1]), SoftmaxOutput(), True, sizes[0] * n_steps)


def some_weights(network, ratio, seed, shift=0.0, scale=1.0):
    """Random moments whose mean squares are ``ratio`` times the variances; ``shift`` makes spikes rare."""
    rng, result = np.random.default_rng(seed), []
    for connection, n_in in zip(network.connections, network.fan_ins, strict=True):
        mean = scale * rng.standard_normal((connection.n_units, n_in)) / np.sqrt(n_in)
        mean[:, -1] = -0.5 * mean[:, :-1].sum(axis=1) + shift * np.sqrt(np.square(mean[:, :-1]).sum(axis=1))
        result.append(Moments(mean, np.full_like(mean, scale**2 / (n_in * ratio))))
    return result


def target_of(index, n_classes):
    return np.where(np.arange(n_classes) == index, 1.0, -1.0)[np.newaxis]


def exact_loss(network, weights, x, target):
    """Expected loss of one row of inputs, the constant last: a sum over all patterns of hidden spikes."""
    states, probability = x[np.newaxis], np.ones(1)
    for mean, variance in weights[:-1]:
        fires = ndtr(states @ mean.T / np.sqrt(np.square(states) @ variance.T))
        patterns = np.array(list(itertools.product((0.0, 1.0), repeat=len(mean))))
        law = np.where(patterns[np.newaxis] > 0, fires[:, np.newaxis], 1 - fires[:, np.newaxis]).prod(axis=2)
        probability = probability @ law
        states = np.column_stack([patterns, np.ones(len(patterns))])
    mean, variance = weights[-1]
    targets = np.repeat(target, len(states), axis=0)
    log_z, _ = network.output.evidence(states @ mean.T, np.square(states) @ variance.T, targets, 0.0)
    return -float(probability @ log_z.sum(axis=1))


def differences(function, array, step=1e-5):
    """Derivative of a function of nothing in every entry of an array that it reads."""
    result = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + step
        above = function()
        array[index] = kept - step
        below = function()
        array[index] = kept
        result[index] = (above - below) / (2 * step)
    return result


def fixed_noise(seed):
    """The same standard normal numbers whenever a pass begins anew."""
    generator = np.random.default_rng(seed)
    return lambda array: generator.standard_normal(array.shape)


def estimates(network, gradient, weights, x, target, *, n_batches, n_rows, seed=0):
    """Gradients of the expected loss in the moments of the first layer's weights: one mean of draws for each batch."""
    generator = np.random.default_rng(seed)
    rows, targets = np.repeat(x[np.newaxis], n_rows, axis=0), np.repeat(target, n_rows, axis=0)
    result = []
    for _ in range(n_batches):
        up = forward(network, gradient, weights, rows, None, lambda a: generator.standard_normal(a.shape))
        _, message = network.output.evidence(*up.layers[-1][2:], targets, 0.0)
        slopes = backward(network, weights, up, None, -message.g / n_rows, 0.5 * message.kappa / n_rows)
        result.append(np.stack([slopes[0].mean, slopes[0].variance]))
    return np.array(result)


def real(n_outputs):
    """Real outputs of unit noise."""
    return GaussianOutput(np.ones(n_outputs))
