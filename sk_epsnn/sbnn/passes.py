"""Through the network and back: potentials with noise, spikes, and gradients in the moments of the weights.

Rows are those of `Connection.gather`: one for a sample, or one for each of its steps. A row z of inputs has potentials
``u = M + sqrt(S) e`` with ``M = z m'`` and ``S = z^2 v'``, and noise e of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sk_epsnn._arrays import Array, clip, concat, new_ones, ones_like, reshape, smallest_normal, sqrt, sum_over
from sk_epsnn.network import Network
from sk_epsnn.outputs.spiking import LOGISTIC_VARIANCE
from sk_epsnn.sbnn.options import SpikeGradient
from sk_epsnn.sbnn.streams import reads_stream
from sk_epsnn.sbnn.weights import Moments

#: Gives standard normal numbers of the shape of an array, in its dtype and library.
Noise = Callable[[Array], Array]


class LayerPass(NamedTuple):
    """What a layer leaves behind on the way up.

    Attributes
    ----------
    rows, squares : array of shape (n_rows, n_in)
        What its weights read, with the constant, and the squares of that.
    mean, variance : array of shape (n_rows, n_out)
        Of the potentials; None for variances where there is no noise.
    """

    rows: Array
    squares: Array | None
    mean: Array
    variance: Array | None


class HiddenPass(NamedTuple):
    """What hidden neurons leave behind: standardised potentials, and what stands for ``phi(a) w``."""

    sd: Array | None
    a: Array
    slope: Array
    spikes: Array


class Upward(NamedTuple):
    """One entry for every layer of weights, and for every layer of hidden neurons."""

    layers: list[LayerPass]
    hidden: list[HiddenPass]


class Gradient(NamedTuple):
    """Gradient in the means and variances of the weights of a layer."""

    mean: Array
    variance: Array | None


def potentials(rows: Array, squares: Array | None, weights: Moments) -> tuple[Array, Array | None]:
    """Mean and variance of potentials; where weights are points there is no variance."""
    mean = rows @ weights.mean.T
    if weights.variance is None:
        return mean, None
    variance = squares @ weights.variance.T
    return mean, clip(variance, min=smallest_normal(variance))


def forward(
    network: Network,
    gradient: SpikeGradient,
    weights: Sequence[Moments],
    inputs: Array,
    lengths: Array | None,
    noise: Noise,
) -> Upward:
    """Draw the spikes of all hidden layers, one draw for each row, and give the moments of all potentials."""
    up = Upward([], [])
    rows, squares, stream = inputs, inputs * inputs, None
    for index in range(len(network.hidden)):
        up.layers.append(LayerPass(rows, squares, *potentials(rows, squares, weights[index])))
        mean, variance = up.layers[-1][2:]
        sd = None if variance is None else sqrt(variance)
        a = mean if sd is None else mean / sd
        fired = gradient.fire(a, noise(a))
        up.hidden.append(HiddenPass(sd, a, fired.slope, fired.spikes))
        spikes = reshape(fired.spikes, (-1, network.sizes[index + 1]))
        connection = network.connections[index + 1].bound(lengths)
        stream = spikes if stream is None or not reads_stream(connection) else stream + spikes
        gathered = connection.gather(stream)
        rows = concat([gathered, ones_like(gathered[:, :1])], axis=1)
        squares = rows * rows
    up.layers.append(LayerPass(rows, squares, *potentials(rows, squares, weights[-1])))
    return up


def backward(
    network: Network,
    weights: Sequence[Moments],
    up: Upward,
    lengths: Array | None,
    g_mean: Array,
    g_variance: Array | None,
    penalty: float = 0.0,
) -> list[Gradient]:
    """Gradients of a loss in the moments of the weights of all layers, from those in the potentials of the outputs.

    With a ``penalty`` the loss has that weight times the sum of `spike_share` over the layers.
    """
    gradients: list[Gradient] = []
    carried: Array | None = None
    for index in range(len(weights) - 1, -1, -1):
        layer, own = up.layers[index], weights[index]
        direct = None
        if penalty and index:
            direct, more = share_gradient(network, index, layer, own, penalty)
            g_variance = g_variance + more
        of_mean = g_mean.T @ layer.rows
        of_mean = of_mean if direct is None else of_mean + direct
        gradients.insert(0, Gradient(of_mean, None if g_variance is None else g_variance.T @ layer.squares))
        if index == 0:
            break
        to_rows = g_mean @ own.mean[:, :-1]
        if own.variance is not None:
            to_rows = to_rows + 2 * layer.rows[:, :-1] * (g_variance @ own.variance[:, :-1])
        connection = network.connections[index].bound(lengths)
        to_stream = connection.scatter(to_rows, network.sizes[index])
        if carried is not None:
            to_stream = to_stream + carried
        carried = to_stream if reads_stream(connection) else None
        below = up.hidden[index - 1]
        q = reshape(to_stream, below.a.shape) * below.slope
        if below.sd is None:
            g_mean, g_variance = q, None
        else:
            g_mean = q / below.sd
            g_variance = -0.5 * g_mean * below.a / below.sd
    return gradients


# ---------------------------------------------------------------------- what makes gradients biased


def spike_variances(network: Network, index: int, reference: Array) -> Array:
    """Variance that spikes of rate one half give to every input of a layer, shape (n_in,), the mean over its rows."""
    connection, n_spikes = network.connections[index], network.sizes[index]
    spread = connection.gather_variance(0.25 * new_ones(reference, (1, n_spikes)))
    return sum_over(spread, axis=0) / spread.shape[0]


def _shares(network: Network, index: int, layer: LayerPass, weights: Moments) -> tuple[Array, Array, Array]:
    """Numerators of `spike_share`, variances of the inputs and denominators."""
    assert layer.variance is not None
    spread = spike_variances(network, index, layer.rows)
    size = sum_over(spread * weights.mean[:, :-1] ** 2, axis=1)
    is_output = index == len(network.hidden) and network.output.name != "gaussian"
    return size, spread, layer.variance + LOGISTIC_VARIANCE if is_output else layer.variance


def spike_share(network: Network, index: int, layer: LayerPass, weights: Moments) -> float:
    """Variance that spikes give to a potential over that from the weights, mean over rows and units.

    The bias of straight-through gradients is governed by it: a spike moves the potential that it enters by m, and the
    second derivative of what follows is of the order of ``m^2 / S``. Outputs add the width of their own law.
    """
    if layer.variance is None:
        return float("inf")
    size, _, total = _shares(network, index, layer, weights)
    return float(sum_over(size / total)) / (total.shape[0] * total.shape[1])


def share_gradient(
    network: Network, index: int, layer: LayerPass, weights: Moments, factor: float
) -> tuple[Array, Array]:
    """Gradient of ``factor * spike_share``: in the means of the weights, and in the variances of the potentials."""
    size, spread, total = _shares(network, index, layer, weights)
    factor = factor / (total.shape[0] * total.shape[1])
    of_mean = factor * 2 * spread * weights.mean[:, :-1] * sum_over(1 / total, axis=0)[:, None]
    of_mean = concat([of_mean, 0 * of_mean[:, :1]], axis=1)
    return of_mean, -factor * size / (total * total)
