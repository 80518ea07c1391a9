"""Trained networks for other software and for chips: the Neuromorphic Intermediate Representation (NIR)."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sk_epsnn._arrays import to_numpy
from sk_epsnn.connections import Connection, Convolution, Filter, Pooled, Readout
from sk_epsnn.network import Network
from sk_epsnn.neurons import LIF, Heaviside

#: NIR's threshold neuron fires above its threshold, ours at 0 or above: 0 must lie above it, and no other double does.
_JUST_BELOW_ZERO = -float(np.finfo(np.float64).smallest_normal)
#: Seconds of a step where nothing is said: what simulators take that are given a graph and no step.
_DT = 1e-4


def to_nir(estimator: Any, *, dt: float | None = None, n_steps: int | None = None) -> Any:
    """Network of a fitted estimator with known weights, as a graph of the Neuromorphic Intermediate Representation.

    The graph maps the inputs of the estimator (spikes, say) to its output potentials, in one step: ``Input``, for each
    hidden layer ``Affine`` and ``Threshold``, then ``Affine`` and ``Output`` [1]_. The potentials are a regressor's
    predictions. For a classifier the largest says the class, or with two classes the sign of a single one: neurons that
    compete (``output_activation="softmax"``) have no node in NIR, so the winner is found outside. With
    ``output_activation="heaviside"`` a last ``Threshold`` makes spikes of them. Discrete weights stay levels: what
    multiplies those of the last layer, ``readout_gain_``, is a ``Scale`` after it.

    Where X has steps in time, the graph takes one step after another, and its output at step ``n_steps`` is the one to
    read; before it there is no answer yet. What a `LIF` neuron reads leaks in a node ``LI`` before its ``Affine``. Of
    the readouts "mean" is an integrator ``I``, which counts spikes, and a ``Scale``; parts are the same with counts of
    the past, from ``Delay``, taken off; "last" is a node ``LI`` and a ``Scale``. With "each", a node ``LI``, the output
    at every step is that of the step, and ``n_steps`` says nothing of the graph.

    Networks that begin with a `Convolution` take images with channels first: of rows of X, which have them last,
    ``X.reshape(-1, height, width, n_channels).transpose(0, 3, 1, 2)``. Their nodes are ``Conv2d``, ``AvgPool2d`` where
    maps are pooled, and ``Flatten``, channels first, before an ``Affine``. Signals, which are images of one row, come
    as (n_channels, width) to ``Conv1d``, which pools them too. What layers take off the spikes of a channel is in their
    biases, and where patches reach into the padding in their thresholds.

    Parameters
    ----------
    estimator : EPSNNClassifier or EPSNNRegressor
        A fitted estimator. Its posterior means are exported; pass ``estimator.freeze()`` for the most probable weights
        and ``estimator.freeze("sample", random_state)`` for a draw from the posterior.
    dt : float, default=None
        Seconds of a step, of networks over steps in time: their time constants and delays are multiples of it. None is
        1e-4, which simulators take by default.
    n_steps : int, default=None
        Steps of the samples that the graph will be given, of networks over steps in time. None is as many as in `fit`.

    Returns
    -------
    graph : nir.NIRGraph
        In float64; ``nir.write`` saves it. Over steps in time, its ``metadata`` holds ``dt`` and ``n_steps``.

    Raises
    ------
    ImportError
        If nir is not installed.
    TypeError
        If ``estimator`` is something else, such as a pipeline.
    ValueError
        If hidden neurons fire at random (``activation="sigmoid"`` or `SigmoidLIF`), which NIR has no neuron for, if
        they have a reset or read their own layer, or if ``dt`` or ``n_steps`` is not positive, or given for a network
        that has no steps in time. Also for convolutions that read neurons of fully connected layers as an image.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    Notes
    -----
    A neuron whose potential is exactly 0 fires, as here: the threshold is the largest negative normal number. Software
    that computes in float32 rounds potentials, so that one within rounding of 0 may fall on the other side.

    The nodes over time are equations that simulators solve in steps. They give the same spikes where they take Euler's
    steps of length ``dt``, ``v += dt / tau * (v_leak - v + r * input)``, start every sample from 0, and hand on at a
    step what the input of that step has made.

    References
    ----------
    .. [1] J. E. Pedersen et al., "Neuromorphic intermediate representation: a unified instruction set for
       interoperable brain-inspired computing", Nature Communications 15, 8122, 2024.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_epsnn import EPSNNClassifier, to_nir
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = EPSNNClassifier(20, weights="binary", random_state=0).fit(X > 7, y)
    >>> list(to_nir(clf.freeze()).nodes)  # doctest: +SKIP
    ['input', 'affine', 'threshold', 'affine_1', 'scale', 'output']
    """
    nir = _import_nir()
    if missing := [name for name in ("network_", "coefs_", "intercepts_") if not hasattr(type(estimator), name)]:
        raise TypeError(
            f"to_nir takes a network with {' and '.join(missing)}, such as EPSNNClassifier or EPSNNRegressor, got "
            f"{type(estimator).__name__}; of a pipeline export the last step, and feed it what the steps before give."
        )
    check_is_fitted(estimator)
    network = estimator.network_
    if not isinstance(network, Network):
        raise TypeError(
            f"to_nir takes networks of EPSNNClassifier and EPSNNRegressor, got {type(estimator).__name__}, whose "
            "neurons and synapses it does not know; their weights are in coefs_ and intercepts_."
        )
    _refuse_unknown(network)
    shape = _input_shape(network)
    graph = _Graph(nir, _clock(network, dt, n_steps), len(shape) == 2)
    weights = [np.ascontiguousarray(to_numpy(coef).T) for coef in estimator.coefs_]
    biases = [to_numpy(intercept) for intercept in estimator.intercepts_]
    fires = [True] * len(network.hidden) + [network.output.name == "heaviside"]
    gain = to_numpy(estimator.readout_gain_) if hasattr(estimator, "readout_gain_") else None
    if gain is not None:
        weights[-1], biases[-1] = weights[-1] / gain[:, None], biases[-1] / gain
    ends = graph.add(nir.Input(input_type={"input": shape}))
    for index, (connection, weight, bias) in enumerate(zip(network.connections, weights, biases, strict=True)):
        ends = graph.mix(connection, weight, bias, ends)
        if gain is not None and index == len(network.hidden):
            ends = graph.add(nir.Scale(scale=gain), *ends)
        if fires[index]:
            ends = graph.fire(connection, weight, ends)
    graph.add(nir.Output(output_type={"output": np.array([len(biases[-1])])}), *ends)
    return graph.done()


class _Clock(NamedTuple):
    """Seconds of a step, and how many steps a sample has."""

    dt: float
    n_steps: int


#: Nodes whose outputs add up.
_Ends = tuple[str, ...]


class _Graph:
    """Adds nodes to a graph, named by their kind and number as in ``NIRGraph.from_list``."""

    def __init__(self, nir: Any, clock: _Clock | None, has_signals: bool):
        self.nir, self.clock, self.has_signals = nir, clock, has_signals
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []

    def add(self, node: Any, *ends: str) -> _Ends:
        """Add a node that reads the sum of others."""
        kind = type(node).__name__.lower()
        number = sum(type(other) is type(node) for other in self.nodes.values())
        name = f"{kind}_{number}" if number else kind
        self.nodes[name] = node
        self.edges += [(end, name) for end in ends]
        return (name,)

    def mix(self, connection: Connection, weight: np.ndarray, bias: np.ndarray, ends: _Ends) -> _Ends:
        """Add the potentials of a layer."""
        if isinstance(connection, Pooled):
            return self._over_maps(connection, weight, bias, ends)
        if isinstance(connection, Convolution):
            return self._convolve(connection, weight, bias, ends)
        if isinstance(connection, Filter):
            parts = [self._leaky(connection.leak, weight.shape[1], ends, connection.center)]
        elif isinstance(connection, Readout):
            n_read = weight.shape[1] // connection.n_parts
            parts = self._last(connection, n_read, ends) if connection.kind == "last" else []
            parts = parts or self._means(connection, n_read, ends)
        else:
            parts = [ends]
        first, *others = np.split(weight, len(parts), axis=1)
        sums = self.add(self.nir.Affine(weight=first, bias=bias), *parts[0])
        for columns, part in zip(others, parts[1:], strict=True):
            sums += self.add(self.nir.Linear(weight=columns), *part)
        return sums

    def fire(self, connection: Connection, weight: np.ndarray, ends: _Ends) -> _Ends:
        """Add neurons, each with its threshold: spikes are read as deviations, which are 0 in the padding."""
        shape = self.nodes[ends[0]].output_type["output"]
        missing = np.zeros(shape)
        if isinstance(connection, Pooled) and isinstance(connection.connection, Convolution):
            outside = 1 - connection.connection.gather(np.ones((1, int(np.prod(connection.pooled_shape)))))
            center = np.tile(to_numpy(connection.center), outside.shape[1] // connection.n_features)
            missing = np.reshape(((outside * center) @ weight.T).T, shape)
        threshold = np.where(missing == 0, _JUST_BELOW_ZERO, np.nextafter(-missing, -np.inf))
        return self.add(self.nir.Threshold(threshold=threshold), *ends)

    def _over_maps(self, connection: Pooled, weight: np.ndarray, bias: np.ndarray, ends: _Ends) -> _Ends:
        """Add the potentials of a layer that reads a map of spikes; its biases take care of the centre."""
        ends = self._pool(connection, ends)
        n_units, n_channels = len(bias), connection.n_features
        by_channel = np.reshape(weight, (n_units, -1, n_channels))
        bias = bias - by_channel.sum(axis=1) @ to_numpy(connection.center)
        if isinstance(connection.connection, Convolution):
            return self._convolve(connection.connection, weight, bias, ends)
        ends = self.add(self.nir.Flatten(input_type=None, start_dim=0), *ends)
        weight = np.reshape(by_channel.transpose(0, 2, 1), (n_units, -1))
        return self.add(self.nir.Affine(weight=weight, bias=bias), *ends)

    def _convolve(self, connection: Convolution, weight: np.ndarray, bias: np.ndarray, ends: _Ends) -> _Ends:
        """Add the potentials of a convolution."""
        kernels = np.reshape(weight, (-1, *connection.kernel_shape)).transpose(0, 3, 1, 2)
        (height, width, _), padding, stride = connection.image_shape, connection.around, connection.stride
        if self.has_signals:
            return self.add(self._conv1d(width, kernels[:, :, 0], bias, stride, padding[1]), *ends)
        node = self.nir.Conv2d(
            (height, width), kernels, (stride, stride), padding=padding, dilation=(1, 1), groups=1, bias=bias
        )
        return self.add(node, *ends)

    def _pool(self, connection: Pooled, ends: _Ends) -> _Ends:
        """Add means over regions. NIR pools images only; kernels of one channel each do the same for signals."""
        region, (_, width, n_channels) = connection.region, connection.map_shape
        if max(region) == 1:
            return ends
        if self.has_signals:
            kernels = np.eye(n_channels)[:, :, np.newaxis] * np.full(region[1], 1 / region[1])
            return self.add(self._conv1d(width, kernels, np.zeros(n_channels), region[1]), *ends)
        size = np.array(region)
        return self.add(self.nir.AvgPool2d(kernel_size=size, stride=size, padding=np.zeros(2, int)), *ends)

    def _conv1d(self, width: int, kernels: np.ndarray, bias: np.ndarray, stride: int, padding: int = 0) -> Any:
        return self.nir.Conv1d(width, kernels, stride, padding=padding, dilation=1, groups=1, bias=bias)

    def _leaky(self, leak: float, n_read: int, ends: _Ends, center: Any = 0.0) -> _Ends:
        """Traces ``x_t = leak x_(t-1) + (1 - leak) (v_t - center)``, Euler's steps of an equation.

        Those of no leak are ends.
        """
        if leak == 0:
            return ends
        assert self.clock is not None
        tau = np.full(n_read, self.clock.dt / (1 - leak))
        return self.add(self.nir.LI(tau=tau, r=np.ones(n_read), v_leak=np.zeros(n_read) - center), *ends)

    def _last(self, readout: Readout, n_read: int, ends: _Ends) -> list[_Ends]:
        """What leaky traces hold at the end, over the weights of all steps."""
        assert self.clock is not None
        trace = self._leaky(readout.leak, n_read, ends)
        if readout.leak == 0:
            return [trace]
        whole = 1 - float(readout.leak) ** self.clock.n_steps
        return [self.add(self.nir.Scale(scale=np.full(n_read, 1 / whole)), *trace)]

    def _means(self, readout: Readout, n_read: int, ends: _Ends) -> list[_Ends]:
        """Means over parts: counts up to the end of a part, less those up to its beginning, over its steps."""
        assert self.clock is not None
        dt, n_steps = self.clock
        (taps,) = readout.taps(n_steps)
        edges = np.concatenate([[0], np.cumsum((taps > 0).sum(1))])
        counts = self.add(self.nir.I(r=np.full(n_read, 1 / dt)), *ends)
        until = {0: (), n_steps: counts}
        for edge in edges[1:].tolist():
            if edge not in until:
                until[edge] = self.add(self.nir.Delay(delay=np.full(n_read, dt * (n_steps - edge))), *counts)
        parts = []
        for begin, end, share in zip(edges[:-1].tolist(), edges[1:].tolist(), taps.max(1), strict=True):
            part = self.add(self.nir.Scale(scale=np.full(n_read, share)), *until[end])
            if until[begin]:
                part += self.add(self.nir.Scale(scale=np.full(n_read, -share)), *until[begin])
            parts.append(part)
        return parts

    def done(self) -> Any:
        """The graph."""
        metadata = {} if self.clock is None else self.clock._asdict()
        return self.nir.NIRGraph(nodes=self.nodes, edges=self.edges, metadata=metadata)


def _clock(network: Network, dt: float | None, n_steps: int | None) -> _Clock | None:
    """Steps in time of a network that has some."""
    n_features = network.connections[0].n_features
    if n_features is None:
        if dt is not None or n_steps is not None:
            raise ValueError("This network has no steps in time; leave out dt and n_steps.")
        return None
    dt = _DT if dt is None else dt
    n_steps = network.n_inputs // n_features if n_steps is None else n_steps
    if not isinstance(dt, Real) or not 0 < dt < np.inf:
        raise ValueError(f"dt must be a positive number of seconds, got {dt!r}.")
    if not isinstance(n_steps, Integral) or n_steps < 1:
        raise ValueError(f"n_steps must be a positive integer, got {n_steps!r}.")
    return _Clock(float(dt), int(n_steps))


def _input_shape(network: Network) -> np.ndarray:
    """Inputs of a step, or shape of an image with channels first, or of a signal."""
    first = network.connections[0]
    if not isinstance(first, Convolution):
        return np.array([first.n_features or network.n_inputs])
    height, width, n_channels = first.image_shape
    return np.array([n_channels, width] if height == 1 else [n_channels, height, width])


def _refuse_unknown(network: Network) -> None:
    """Refuse neurons and connections that the graph has no node for."""
    if random := sorted({h.neuron.name for h in network.hidden if type(h.neuron) not in (Heaviside, LIF)}):
        raise ValueError(
            f"Hidden neurons with activation {random} fire at random, or by a law of their own, for which NIR has no "
            "neuron; train the network with activation='heaviside', or with LIF(...) where X has steps in time."
        )
    read = [c.connection if isinstance(c, Pooled) else c for c in network.connections]
    known = (Filter, Readout, Convolution)
    if others := sorted({type(c).__name__ for c in read if not c.is_identity and type(c) not in known}):
        raise ValueError(
            f"Connections {others} have no node in the graph; only fully connected layers and convolutions are "
            "exported, and over steps in time those that leak and do no more (reset=0.0, recurrent=False)."
        )
    _refuse_other_images(network)


def _refuse_other_images(network: Network) -> None:
    """Refuse convolutions of what is no image in the graph, or of one whose shape it would mistake."""
    has_signals = len(_input_shape(network)) == 2
    for connection in network.connections[1:]:
        reader = connection.connection if isinstance(connection, Pooled) else connection
        if not isinstance(reader, Convolution):
            continue
        if reader is connection:
            raise ValueError(
                f"{reader!r} takes the neurons of a fully connected layer for an image, for which NIR has no node; put "
                "convolutions in front of other layers in hidden_layer_sizes."
            )
        height, width, _ = reader.kernel_shape
        if height != width and not has_signals:
            raise ValueError(
                f"{reader!r} reads a map of one row, for which NIR has no kernels behind images of several; make the "
                "size, stride or pool of the layer before smaller, or its padding larger."
            )


def _import_nir() -> Any:
    try:
        import nir
    except ImportError as error:
        raise ImportError('Export to NIR needs the package nir: pip install "sk_epsnn[nir]".') from error
    return nir
