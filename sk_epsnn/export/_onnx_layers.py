"""ONNX nodes of the forward pass: means and variances of the potentials, layer by layer (eqs. 25 and 31).

Rows of spikes stay rows; images, and maps of spikes, have channels first, as runtimes convolve them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sk_epsnn._arrays import to_numpy
from sk_epsnn.connections import Connection, Convolution, Pooled
from sk_epsnn.ep.state import State
from sk_epsnn.export._onnx_nodes import FLOAT, Nodes, expected_sigmoid, normal_distribution, refuse_sequences
from sk_epsnn.messages import WeightMoments
from sk_epsnn.network import Network
from sk_epsnn.neurons import Heaviside, Sigmoid
from sk_epsnn.sbnn.state import State as VariationalState
from sk_epsnn.weights.levels import Lattice


def potentials(add: Nodes, model: Any, inputs: Any) -> tuple[str, str]:
    """Mean and variance of the output potentials."""
    state = model._progress.state
    _refuse_unknown(model, state)
    refuse_sequences(inputs)
    floor = float(np.finfo(np.float32).tiny)
    if isinstance(state, State):
        state = state.with_every_axis()
        floor = state.variance_floor
    network, lattices = state.network, _lattices(state)
    moments = [WeightMoments(*(part if part is None else to_numpy(part) for part in m)) for m in state.moments(float)]
    read = _read_inputs(add, network, inputs.full_name)
    for index, (lattice, weights) in enumerate(zip(lattices, moments, strict=True)):
        mean, variance = _mix(add, lattice, weights, read)
        variance = add("Max", variance, floor)
        if index == len(network.hidden):
            break
        spikes = _NEURONS[type(network.hidden[index].neuron)](add, mean, variance)
        read = _read_spikes(add, network.connections[index + 1], spikes, network.constant)
    return mean, variance


def _lattices(state: Any) -> list[Lattice | None]:
    """Values that the potentials of each layer are whole multiples of, if there are."""
    if isinstance(state, State):
        return [layer.lattice for layer in state.layers]
    return [None] * len(state.network.connections)


def is_certain(state: Any) -> bool:
    """Whether every spike is there or not: of known weights, where no potential is 0 as that of an empty patch is."""
    hidden = state.network.hidden
    if not state.is_known or not all(isinstance(layer.neuron, Heaviside) for layer in hidden):
        return False
    return not hidden or state.network.constant or _lattices(state)[0] is not None


def _refuse_unknown(model: Any, state: Any) -> None:
    """Refuse trainers, neurons and connections that have no converter."""
    if not isinstance(state, State | VariationalState):
        raise NotImplementedError(
            "Only networks trained by Expectation Propagation or variational inference, EPSNNs and SBNNs, can be "
            f"converted to ONNX, got the state of another trainer, {type(state).__name__}."
        )
    if isinstance(state, VariationalState) and model._plan.trainer.n_draws and not state.is_known:
        raise NotImplementedError(
            "Predictions from networks that are drawn cannot be converted to ONNX; freeze() first."
        )
    network = state.network
    neurons = sorted({type(h.neuron).__name__ for h in network.hidden if type(h.neuron) not in _NEURONS})
    read = [c.connection if isinstance(c, Pooled) else c for c in network.connections]
    others = sorted({type(c).__name__ for c in read if not c.is_identity and not isinstance(c, Convolution)})
    if neurons or others:  # streams and steps, which need draws of networks, are other connections
        raise NotImplementedError(
            f"{' and '.join([*neurons, *others])} cannot be converted to ONNX; fully connected layers and convolutions "
            "of Heaviside and Sigmoid neurons can. Over steps in time, to_nir exports LIF neurons."
        )


class _Read(NamedTuple):
    """What the neurons of a layer read, and how.

    Attributes
    ----------
    values : str
        Rows, or maps with channels first.
    noise : str or None
        Variances of spikes; None for values that are known.
    constant : bool
        Whether the last weight of a neuron is that of a constant 1.
    patches : Convolution or None
        Which patches of maps are read; None for rows.
    """

    values: str
    noise: str | None
    constant: bool
    patches: Convolution | None = None

    @property
    def positions(self) -> tuple[int, ...]:
        """Height and width of the maps that potentials are."""
        return () if self.patches is None else self.patches.map_shape[:2]

    def times(self, add: Nodes, values: str, weights: np.ndarray, whole: bool = True) -> str:
        """Sums of values with weights of shape (n_units, n_in), the constant among the values if they are whole."""
        bias = []
        if self.constant:
            weights, bias = weights[:, :-1], [weights[:, -1]] if whole else []
        if (patches := self.patches) is not None:
            kernels = weights.reshape(-1, *patches.kernel_shape).transpose(0, 3, 1, 2)
            pads, strides = [*patches.around] * 2, [patches.stride] * 2
            return add("Conv", values, kernels, *bias, strides=strides, pads=pads)
        product = add("MatMul", values, weights.T)
        return add("Add", product, *bias) if bias else product


def _read_inputs(add: Nodes, network: Network, inputs: str) -> _Read:
    """Inputs in the coordinates of the first layer, see `InputBasis.transform`."""
    basis, X, connection = network.basis, add("Cast", inputs, to=FLOAT), network.connections[0]
    assert basis is not None
    if isinstance(connection, Convolution):
        return _patches(add, connection, X, _axes(network), basis.constant)
    if basis.rotation is None:
        scale = to_numpy(basis.scale)
        turned = add("Div", X, scale[:-1] if basis.shares_an_axis else scale)
    else:
        turned = add("MatMul", X, to_numpy(basis.rotation))
    if basis.shares_an_axis:  # nothing is left for the last axis
        turned = add("Concat", turned, add("Mul", add("Slice", turned, [0], [1], [1]), 0.0), axis=1)
    return _Read(add("Add", turned, to_numpy(basis.offset)), None, basis.constant)


def _axes(network: Network) -> np.ndarray:
    """Axes that patches are seen along, and in the last column what is added."""
    basis = network.basis
    assert basis is not None
    axes = np.diag(1 / to_numpy(basis.scale)) if basis.rotation is None else to_numpy(basis.rotation).T
    return np.column_stack([axes, to_numpy(basis.offset)])


def _patches(add: Nodes, connection: Convolution, rows: str, axes: np.ndarray, constant: bool) -> _Read:
    """Patches of images along some axes: a map with a channel for each."""
    images = _Read(_as_maps(add, rows, connection.image_shape), None, True, connection)
    down, across, n_channels = connection.map_shape
    one_by_one = Convolution(n_channels, 1, image_shape=(down, across, len(axes)))
    return _Read(images.times(add, images.values, axes), None, constant, one_by_one)


def _read_spikes(add: Nodes, connection: Connection, spikes: str, constant: bool) -> _Read:
    """Probabilities of spikes, and their variances, as a layer reads them, see `Connection.spikes`."""
    if isinstance(connection, Pooled):
        return _read_maps(add, connection, spikes, constant)
    read = _Read(spikes, None, constant)
    if isinstance(connection, Convolution):
        n_columns = int(np.prod(connection.kernel_shape))
        read = _patches(add, connection, spikes, np.eye(n_columns, n_columns + 1), constant)
    return read._replace(noise=_bernoulli(add, read.values))


def _bernoulli(add: Nodes, probability: str) -> str:
    """Variances of spikes."""
    return add("Sub", probability, add("Mul", probability, probability))


def _read_maps(add: Nodes, connection: Pooled, spikes: str, constant: bool) -> _Read:
    """Means over regions of maps, as deviations from the rates of their channels, see `Pooled`."""
    values, noise, region = spikes, _bernoulli(add, spikes), list(connection.region)
    if max(region) > 1:
        values, noise = (add("AveragePool", part, kernel_shape=region, strides=region) for part in (values, noise))
        noise = add("Div", noise, float(np.prod(region)))
    values = add("Sub", values, to_numpy(connection.center)[:, None, None])
    reader, shape = connection.connection, connection.pooled_shape
    if not isinstance(reader, Convolution):
        return _Read(_as_rows(add, values, shape), _as_rows(add, noise, shape), constant)
    return _Read(values, noise, constant, reader)


def _as_maps(add: Nodes, rows: str, shape: tuple[int, int, int]) -> str:
    """Maps, channels first, of rows that hold them position by position."""
    return add("Transpose", add("Reshape", rows, [-1, *shape]), perm=[0, 3, 1, 2])


def _as_rows(add: Nodes, maps: str, shape: tuple[int, int, int]) -> str:
    """The inverse of `_as_maps`."""
    return add("Reshape", add("Transpose", maps, perm=[0, 2, 3, 1]), [-1, int(np.prod(shape))])


def _mix(add: Nodes, lattice: Lattice | None, weights: WeightMoments, read: _Read) -> tuple[str, str]:
    """Mean and variance of a layer's potentials (eq. 25)."""
    mean = read.times(add, read.values, weights.mean)
    variance = _weight_part(add, weights, read, mean)
    if read.noise is not None:
        spike_part = read.times(add, read.noise, weights.mean**2 + weights.variance, whole=False)
        variance = add("Add", variance, spike_part)
    if lattice is None:
        return mean, variance
    offset: Any = 0.5 * lattice.spacing
    if lattice.alternates:
        parity = add.reduce("ReduceProd", add("Sub", 1.0, add("Mul", read.values, 2.0)))
        offset = add("Mul", add("Add", parity, 1.0), 0.5 * offset)
    return add("Add", mean, offset), variance


def _weight_part(add: Nodes, weights: WeightMoments, read: _Read, mean: str) -> str:
    """The part of the variance that comes from not knowing the weights."""
    if weights.covariance is None:
        if not weights.variance.any():
            return add("Mul", mean, 0.0)
        return read.times(add, add("Mul", read.values, read.values), weights.variance)
    # p^T Sigma p is the squared length of p^T L, with L the Cholesky factor; all units in one product.
    factor = np.linalg.cholesky(weights.covariance).transpose(0, 2, 1)
    n_units, n_in, _ = factor.shape
    images, positions = read.times(add, read.values, factor.reshape(-1, n_in)), read.positions
    images = add("Reshape", images, [-1, n_units, n_in, *positions])
    return add("ReduceSum", add("Mul", images, images), [2], keepdims=0)


def _heaviside(add: Nodes, mean: str, variance: str) -> str:
    return normal_distribution(add, add("Div", mean, add("Sqrt", variance)))


#: Spike probability of each kind of hidden neuron.
_NEURONS = {Heaviside: _heaviside, Sigmoid: expected_sigmoid}
