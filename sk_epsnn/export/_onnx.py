"""Converters to ONNX, for skl2onnx."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from sk_epsnn._arrays import to_numpy
from sk_epsnn.encoders import (
    DeltaSpikeEncoder,
    LatencySpikeEncoder,
    PatchSpikeEncoder,
    PopulationEncoder,
    RateSpikeEncoder,
)
from sk_epsnn.ep.state import State
from sk_epsnn.estimators import EPSNNClassifier, EPSNNRegressor, SBNNClassifier, SBNNRegressor
from sk_epsnn.messages import WeightMoments
from sk_epsnn.network import Network
from sk_epsnn.neurons import Heaviside, Sigmoid
from sk_epsnn.numerics import PROBIT_SLOPES, PROBIT_WEIGHTS
from sk_epsnn.sbnn.state import State as VariationalState
from sk_epsnn.softmax import ABOVE, BELOW, FIRST, N_NODES, PER_UNIT, SDS, STEP, distribution_table
from sk_epsnn.weights.levels import Lattice

#: Element types of ONNX.
_FLOAT, _INT64, _DOUBLE = 1, 7, 11


def register_onnx_converters() -> None:
    """Let skl2onnx convert EPSNNs, SBNNs, `PatchSpikeEncoder` and rates of `PopulationEncoder`, in pipelines too.

    After this call ``skl2onnx.to_onnx(model, X[:1])`` gives a graph that computes in float32 what the
    estimator predicts: labels and probabilities of a classifier, means of a regressor.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.

    Notes
    -----
    Probabilities agree to about 1e-5. Classes that compete need an integral for each row, from a table of 0.4 MB;
    frozen weights need none. The conversion of a classifier with ``output_activation="heaviside"`` raises
    `NotImplementedError`, and so do those of networks over steps in time, which `to_nir` exports, and of encoders
    whose spikes are random, which ONNX cannot compute: convert what comes after them.

    Examples
    --------
    >>> from sk_epsnn import register_onnx_converters
    >>> register_onnx_converters()  # doctest: +SKIP
    """
    try:
        from skl2onnx import update_registered_converter
        from skl2onnx.common.shape_calculator import (
            calculate_linear_classifier_output_shapes,
            calculate_linear_regressor_output_shapes,
        )
    except ImportError as error:
        raise ImportError('Conversion to ONNX needs skl2onnx: pip install "sk_epsnn[onnx]".') from error
    options = {"zipmap": [True, False, "columns"], "nocl": [True, False], "output_class_labels": [False, True]}
    for kind in (EPSNNClassifier, SBNNClassifier):
        shapes = calculate_linear_classifier_output_shapes
        update_registered_converter(kind, f"Sk{kind.__name__}", shapes, _convert_classifier, options=options)
    for kind in (EPSNNRegressor, SBNNRegressor):
        shapes = calculate_linear_regressor_output_shapes
        update_registered_converter(kind, f"Sk{kind.__name__}", shapes, _convert_regressor)
    update_registered_converter(PopulationEncoder, "SkEpsnnPopulation", _shape_of_rates, _convert_population)
    update_registered_converter(PatchSpikeEncoder, "SkEpsnnPatch", _shape_of_rates, _convert_patches)
    update_registered_converter(RateSpikeEncoder, "SkEpsnnRate", _shape_of_rates, _refuse_spikes)
    update_registered_converter(LatencySpikeEncoder, "SkEpsnnLatency", _shape_of_rates, _refuse_steps)
    update_registered_converter(DeltaSpikeEncoder, "SkEpsnnDelta", _shape_of_rates, _refuse_steps)


class _Nodes:
    """Adds nodes to a graph and names what they give; numbers become initializers in float32."""

    def __init__(self, scope: Any, container: Any):
        self.scope, self.container = scope, container

    def __call__(self, operation: str, *inputs: Any, output: str | None = None, **attributes: Any) -> str:
        """Add a node; returns the name of its output."""
        name = output or self.scope.get_unique_variable_name(operation.lower())
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        self.container.add_node(
            operation, names, name, name=self.scope.get_unique_operator_name(operation), **attributes
        )
        return name

    def reduce(self, operation: str, values: str) -> str:
        """Product or largest entry of each row, kept as a column."""
        if self.container.target_opset_any_domain("") < 18:  # the axes became an input
            return self(operation, values, axes=[1], keepdims=1)
        return self(operation, values, [1], keepdims=1)

    def constant(self, value: Any) -> str:
        """Add an array: integers as int64, strings as they are, anything else in float32."""
        from onnx import TensorProto

        array = np.asarray(value)
        kind = {"i": TensorProto.INT64, "u": TensorProto.INT64, "U": TensorProto.STRING}.get(
            array.dtype.kind, TensorProto.FLOAT
        )
        values = [str(v).encode() for v in array.ravel()] if array.dtype.kind == "U" else array.ravel().tolist()
        name = self.scope.get_unique_variable_name("constant")
        self.container.add_initializer(name, kind, array.shape, values)
        return name


def _convert_classifier(scope: Any, operator: Any, container: Any) -> None:
    model = operator.raw_operator
    network, state = model.network_, model._progress.state
    output = network.output.name
    if output not in _OUTPUTS:
        raise NotImplementedError(
            f"Only classifiers with output_activation={' or '.join(map(repr, _OUTPUTS))} can be converted to ONNX; use "
            "to_nir for thresholds."
        )
    labels = _labels(model)
    add = _Nodes(scope, container)
    mean, variance = _potentials(add, model, operator.inputs[0])
    if output == "softmax" and state.is_known and all(isinstance(layer.neuron, Heaviside) for layer in network.hidden):
        score, probability = mean, add("Softmax", mean, axis=1)  # nothing is random
    else:
        score, probability = _OUTPUTS[output](add, mean, variance, network.readout.n_units)
    _give(add, probability, operator.outputs[1])
    best = add("ArgMax", score, axis=1, keepdims=0)
    add("Gather", labels, best, axis=0, output=operator.outputs[0].full_name)


def _labels(model: Any) -> np.ndarray:
    """Classes as ONNX has them, strings or integers: False and True are 0 and 1, as in the converters of skl2onnx."""
    labels = to_numpy(model.classes_)
    return labels.astype(str if labels.dtype.kind in "OU" else np.int64)


def _convert_regressor(scope: Any, operator: Any, container: Any) -> None:
    model = operator.raw_operator
    add = _Nodes(scope, container)
    mean, _ = _potentials(add, model, operator.inputs[0])
    if (n_targets := model._progress.state.network.n_targets) < model._progress.state.network.readout.n_units:
        mean = add("Slice", mean, [0], [n_targets], [1])
    location, scale = (to_numpy(part) for part in model._target_location_and_scale())
    _give(add, add("Add", add("Mul", mean, scale), location), operator.outputs[0])


def _shape_of_rates(operator: Any) -> None:
    _refuse_sequences(operator.inputs[0])
    columns = len(operator.raw_operator.get_feature_names_out())
    operator.outputs[0].type = type(operator.inputs[0].type)([None, columns])


def _convert_population(scope: Any, operator: Any, container: Any) -> None:
    encoder = operator.raw_operator
    if encoder.output == "spikes":
        _refuse_spikes(scope, operator, container)
    add = _Nodes(scope, container)
    X = add("Cast", operator.inputs[0].full_name, to=_FLOAT)
    X = add("Min", add("Max", X, encoder.feature_min_), encoder.feature_max_)
    distance = add("Abs", add("Sub", add("Unsqueeze", X, [2]), encoder.centers_))
    distance = add("Div", distance, encoder.widths_.reshape(len(encoder.centers_), -1))
    if encoder.tuning == "raised_cosine":
        rates = add("Mul", add("Add", add("Cos", add("Mul", add("Min", distance, 1.0), np.pi)), 1.0), 0.5)
    else:
        rates = add("Exp", add("Mul", add("Mul", distance, distance), -0.5))
    _give(add, add("Reshape", rates, [-1, encoder.centers_.size]), operator.outputs[0])


def _convert_patches(scope: Any, operator: Any, container: Any) -> None:
    encoder = operator.raw_operator
    pool, padding, (height, width, n_colors) = encoder.pool_size, encoder.padding, encoder.image_shape_
    add = _Nodes(scope, container)
    images = add("Reshape", add("Cast", operator.inputs[0].full_name, to=_FLOAT), [-1, height, width, n_colors])
    images, kernels = add("Transpose", images, perm=[0, 3, 1, 2]), encoder.kernels_.transpose(0, 3, 1, 2)
    responses = add("Conv", images, kernels, pads=[padding] * 4, strides=[encoder.stride] * 2)
    spikes = add("Cast", add("Greater", responses, encoder.thresholds_[:, np.newaxis, np.newaxis]), to=_FLOAT)
    grid = encoder._grid()
    # Up to whole regions; runtimes differ in what they divide by where there are fewer positions.
    spikes = add("Pad", spikes, [0] * 6 + [-size % pool for size in grid])
    if encoder.output == "spikes":
        pooled = add("MaxPool", spikes, kernel_shape=[pool, pool], strides=[pool, pool])
    else:
        down, across = (np.minimum(pool, size - np.arange(0, size, pool)) for size in grid)
        pooled = add("AveragePool", spikes, kernel_shape=[pool, pool], strides=[pool, pool])
        pooled = add("Mul", pooled, pool**2 / (down[:, np.newaxis] * across))
    pooled = add("Transpose", pooled, perm=[0, 2, 3, 1])
    _give(add, add("Reshape", pooled, [-1, len(encoder.get_feature_names_out())]), operator.outputs[0])


def _refuse_spikes(scope: Any, operator: Any, container: Any) -> None:
    raise NotImplementedError(
        "The random numbers of spikes cannot be computed in ONNX: convert the estimator alone, or train it on rates, "
        "PopulationEncoder(output='rates')."
    )


def _refuse_steps(scope: Any, operator: Any, container: Any) -> None:
    raise NotImplementedError("Encoders over time are not converted to ONNX: convert the estimator alone.")


def _refuse_sequences(inputs: Any) -> None:
    """Refuse inputs that are declared with steps in time: the nodes are for rows."""
    if len(inputs.type.shape) > 2:
        raise NotImplementedError(
            f"Inputs of shape {inputs.type.shape}, with steps in time, are not converted to ONNX; declare rows "
            "of shape (n_samples, n_features), or export a network over steps with to_nir."
        )


def _give(add: _Nodes, values: str, output: Any) -> None:
    """End with an output of the type that was declared: double precision where the inputs have it."""
    double = type(output.type).__name__ == "DoubleTensorType"
    add("Cast", values, to=_DOUBLE if double else _FLOAT, output=output.full_name)


def _potentials(add: _Nodes, model: Any, inputs: Any) -> tuple[str, str]:
    """Forward pass: mean and variance of the output potentials (eqs. 25 and 31)."""
    state = model._progress.state
    _refuse_unknown(model, state)
    _refuse_sequences(inputs)
    lattices: list[Lattice | None] = [None] * (model.n_layers_ - 1)
    floor = float(np.finfo(np.float32).tiny)
    if isinstance(state, State):
        state = state.with_every_axis()
        lattices, floor = [layer.lattice for layer in state.layers], state.variance_floor
    network = state.network
    moments = [WeightMoments(*(part if part is None else to_numpy(part) for part in m)) for m in state.moments(float)]
    values, spikes = _transform(add, network, inputs.full_name), None
    for index, (lattice, weights) in enumerate(zip(lattices, moments, strict=True)):
        mean, variance = _mix(add, lattice, weights, values, spikes)
        variance = add("Max", variance, floor)
        if index == len(network.hidden):
            break
        spikes = _NEURONS[type(network.hidden[index].neuron)](add, mean, variance)
        values = _with_one(add, spikes) if network.constant else spikes
    return mean, variance


def _refuse_unknown(model: Any, state: Any) -> None:
    """Refuse trainers, neurons and connections that have no converter."""
    if not isinstance(state, State | VariationalState):
        raise NotImplementedError("Only EPSNNs and SBNNs can be converted to ONNX.")
    if isinstance(state, VariationalState) and model._plan.trainer.n_draws and not state.is_known:
        raise NotImplementedError(
            "Predictions from networks that are drawn cannot be converted to ONNX; freeze() first."
        )
    network = state.network
    neurons = sorted({type(h.neuron).__name__ for h in network.hidden if type(h.neuron) not in _NEURONS})
    others = sorted({type(c).__name__ for c in network.connections if not c.is_identity})
    if neurons or others:  # streams and steps, which need draws of networks, are other connections
        raise NotImplementedError(
            f"{' and '.join([*neurons, *others])} cannot be converted to ONNX; fully connected layers of Heaviside and "
            "Sigmoid neurons can. Over steps in time, to_nir exports LIF neurons."
        )


def _transform(add: _Nodes, network: Network, inputs: str) -> str:
    """Inputs in the coordinates of the first layer, see `InputBasis.transform`."""
    basis, X = network.basis, add("Cast", inputs, to=_FLOAT)
    assert basis is not None
    if basis.rotation is None:
        scale = to_numpy(basis.scale)
        turned = add("Div", X, scale[:-1] if basis.shares_an_axis else scale)
    else:
        turned = add("MatMul", X, to_numpy(basis.rotation))
    if basis.shares_an_axis:  # nothing is left for the last axis
        turned = add("Concat", turned, add("Mul", add("Slice", turned, [0], [1], [1]), 0.0), axis=1)
    moved = add("Add", turned, to_numpy(basis.offset))
    return _with_one(add, moved) if basis.constant else moved


def _with_one(add: _Nodes, values: str) -> str:
    """Append a constant 1 to every row."""
    ones = add("Exp", add("Mul", add("Slice", values, [0], [1], [1]), 0.0))
    return add("Concat", values, ones, axis=1)


def _mix(
    add: _Nodes, lattice: Lattice | None, weights: WeightMoments, values: str, spikes: str | None
) -> tuple[str, str]:
    """Mean and variance of a layer's potentials (eq. 25); ``spikes`` are the values that are probabilities."""
    mean = add("MatMul", values, weights.mean.T)
    if weights.covariance is None:
        variance = add("MatMul", add("Mul", values, values), weights.variance.T)
    else:
        # p^T Sigma p is the squared length of p^T L, with L the Cholesky factor; all units in one product.
        factor = np.linalg.cholesky(weights.covariance)
        n_units, n_in, _ = factor.shape
        images = add("MatMul", values, np.hstack(list(factor)))
        images = add("Reshape", images, np.array([-1, n_units, n_in]))
        variance = add("ReduceSum", add("Mul", images, images), np.array([2]), keepdims=0)
    if spikes is not None:
        noise = add("Sub", values, add("Mul", values, values))
        variance = add("Add", variance, add("MatMul", noise, (weights.mean**2 + weights.variance).T))
    if lattice is None:
        return mean, variance
    offset: Any = 0.5 * lattice.spacing
    if lattice.alternates:
        parity = add.reduce("ReduceProd", add("Sub", 1.0, add("Mul", values, 2.0)))
        offset = add("Mul", add("Add", parity, 1.0), 0.5 * offset)
    return add("Add", mean, offset), variance


def _heaviside(add: _Nodes, mean: str, variance: str) -> str:
    return _ndtr(add, add("Div", mean, add("Sqrt", variance)))


def _sigmoid(add: _Nodes, mean: str, variance: str) -> str:
    """``E sigma(u)`` by the mixture of probits, see `numerics.expected_sigmoid`."""
    terms = []
    for weight, slope in zip(PROBIT_WEIGHTS, PROBIT_SLOPES, strict=True):
        spread = add("Sqrt", add("Add", add("Mul", variance, slope * slope), 1.0))
        terms.append(add("Mul", _ndtr(add, add("Div", add("Mul", mean, slope), spread)), weight))
    return add("Sum", *terms)


#: Spike probability of each kind of hidden neuron.
_NEURONS = {Heaviside: _heaviside, Sigmoid: _sigmoid}


def _ndtr(add: _Nodes, z: str) -> str:
    """Standard normal distribution function."""
    return add("Mul", add("Add", add("Erf", add("Mul", z, np.sqrt(0.5))), 1.0), 0.5)


def _log_odds(add: _Nodes, mean: str, variance: str) -> str:
    """``log p / (1 - p)`` of ``p = E sigma(u)``, from the smaller of the two, see `SigmoidOutput.log_odds`."""
    margin = add("Neg", add("Abs", mean))
    # In the left tail sigma(u) = exp(u) sigma(-u), see `numerics.log_expected_sigmoid`.
    half = add("Mul", variance, 0.5)
    tail = add("Less", add("Add", margin, half), 0.0)
    value = _sigmoid(add, add("Where", tail, add("Neg", add("Add", margin, variance)), margin), variance)
    log_rare = add("Log", value)
    log_rare = add("Where", tail, add("Add", add("Add", margin, half), log_rare), log_rare)
    size = add("Sub", add("Log", add("Sub", 1.0, add("Exp", log_rare))), log_rare)
    return add("Mul", add("Sign", mean), size)


def _sigmoid_classes(add: _Nodes, mean: str, variance: str, n_units: int) -> tuple[str, str]:
    """A score of every class, and its probability, see `SpikingOutput.log_probability`; one unit is two classes."""
    log_odds = _log_odds(add, mean, variance)
    if n_units > 1:
        return log_odds, add("Softmax", log_odds, axis=1)
    both = add("Concat", add("Neg", log_odds), log_odds, axis=1)
    return both, add("Sigmoid", both)


def _softmax_classes(add: _Nodes, mean: str, variance: str, n_units: int) -> tuple[str, str]:
    """The same for classes that compete: the rule of `softmax.log_expected_softmax`, its nodes along a third axis."""
    mean = add("Sub", mean, add.reduce("ReduceMax", mean))  # what all have in common does not matter
    reach = add("Mul", add("Sqrt", variance), SDS)
    low = add("Sub", add.reduce("ReduceMax", add("Sub", mean, reach)), BELOW)
    width = add("Sub", add("Add", add.reduce("ReduceMax", add("Add", mean, reach)), ABOVE), low)
    n_nodes: Any = float(N_NODES[0])
    for fewer, more in pairwise(N_NODES):
        wide = add("Cast", add("Greater", add("Div", width, STEP), float(fewer)), to=_FLOAT)
        n_nodes = add("Add", add("Mul", wide, float(more - fewer)), n_nodes)
    step = add("Div", width, add("Sub", n_nodes, 1.0))
    node = np.arange(float(N_NODES[-1]))[None, None]
    deep = [add("Unsqueeze", part, [2]) for part in (mean, low, step, n_nodes)]
    x = add("Add", add("Mul", deep[2], node), deep[1])
    q = add("Reciprocal", add("Sqrt", add("Add", variance, 1.0)))
    log_loss, log_rate = _distribution(add, add("Sub", x, deep[0]), q)
    total_loss = add("ReduceSum", add("Exp", log_loss), [1], keepdims=1)
    density = add("Exp", add("Sub", log_rate, total_loss))
    density = add("Where", add("Less", node, deep[3]), density, 0.0)
    total = add("Mul", add("ReduceSum", density, [2], keepdims=0), add("Mul", q, step))
    return total, add("Div", total, add("ReduceSum", total, [1], keepdims=1))


def _distribution(add: _Nodes, t: str, q: str) -> tuple[str, str]:
    """``log(-log L(t))`` and ``log(L' / L / q)``, bilinear in `softmax.distribution_table`; t has a third axis."""
    tables = np.stack(distribution_table(), axis=2)
    n_spreads, n_columns, _ = tables.shape
    q = add("Unsqueeze", q, [2])
    spread = add("Mul", q, float(n_spreads - 1))
    row = add("Min", add("Floor", spread), float(n_spreads - 2))
    place = add("Sub", add("Mul", t, add("Mul", q, float(PER_UNIT))), FIRST * PER_UNIT)
    column = add("Min", add("Max", add("Floor", place), 0.0), float(n_columns - 2))
    index = add("Cast", add("Add", add("Mul", row, float(n_columns)), column), to=_INT64)
    flat = add.constant(tables.reshape(-1, 2))
    corners = [add("Gather", flat, add("Add", index, shift), axis=0) for shift in (0, 1, n_columns, n_columns + 1)]
    along, across = (add("Unsqueeze", add("Sub", a, b), [3]) for a, b in ((place, column), (spread, row)))
    near, far = (_between(add, corners[k], corners[k + 1], along) for k in (0, 2))
    both = _between(add, near, far, across)
    return add("Gather", both, 0, axis=3), add("Gather", both, 1, axis=3)


def _between(add: _Nodes, first: str, second: str, share: str) -> str:
    """Linear interpolation."""
    return add("Add", first, add("Mul", share, add("Sub", second, first)))


#: Score and probability of every class, for each kind of output neuron.
_OUTPUTS = {"sigmoid": _sigmoid_classes, "softmax": _softmax_classes}
