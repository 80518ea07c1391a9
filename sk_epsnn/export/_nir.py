"""Trained networks for other software and for chips: the Neuromorphic Intermediate Representation (NIR)."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sk_epsnn._arrays import to_numpy
from sk_epsnn.connections import Connection, Filter, Readout
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
        that has no steps in time.
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
    graph = _Graph(nir, _clock(network, dt, n_steps))
    weights = [np.ascontiguousarray(to_numpy(coef).T) for coef in estimator.coefs_]
    biases = [to_numpy(intercept) for intercept in estimator.intercepts_]
    fires = [True] * len(network.hidden) + [network.output.name == "heaviside"]
    gain = to_numpy(estimator.readout_gain_) if hasattr(estimator, "readout_gain_") else None
    if gain is not None:
        weights[-1], biases[-1] = weights[-1] / gain[:, None], biases[-1] / gain
    n_features = network.connections[0].n_features or network.n_inputs
    ends = graph.add(nir.Input(input_type={"input": np.array([n_features])}))
    for index, (connection, weight, bias) in enumerate(zip(network.connections, weights, biases, strict=True)):
        ends = graph.mix(connection, weight, bias, ends)
        if gain is not None and index == len(network.hidden):
            ends = graph.add(nir.Scale(scale=gain), *ends)
        if fires[index]:
            ends = graph.add(nir.Threshold(threshold=np.full(len(bias), _JUST_BELOW_ZERO)), *ends)
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

    def __init__(self, nir: Any, clock: _Clock | None):
        self.nir, self.clock = nir, clock
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


def _refuse_unknown(network: Network) -> None:
    """Refuse neurons and connections that the graph has no node for."""
    if random := sorted({h.neuron.name for h in network.hidden if type(h.neuron) not in (Heaviside, LIF)}):
        raise ValueError(
            f"Hidden neurons with activation {random} fire at random, or by a law of their own, for which NIR has no "
            "neuron; train the network with activation='heaviside', or with LIF(...) where X has steps in time."
        )
    known = (Filter, Readout)
    if others := sorted({type(c).__name__ for c in network.connections if not c.is_identity and type(c) not in known}):
        raise ValueError(
            f"Connections {others} have no node in the graph; only fully connected layers are exported, and over steps "
            "in time those that leak and do no more (reset=0.0, recurrent=False)."
        )


def _import_nir() -> Any:
    try:
        import nir
    except ImportError as error:
        raise ImportError('Export to NIR needs the package nir: pip install "sk_epsnn[nir]".') from error
    return nir
