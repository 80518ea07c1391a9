"""Converters to ONNX, for skl2onnx."""

from __future__ import annotations

from typing import Any

import numpy as np

from sk_epsnn._arrays import to_numpy
from sk_epsnn.encoders import PopulationEncoder, RateSpikeEncoder
from sk_epsnn.ep.state import LayerState, State
from sk_epsnn.estimators import EPSNNClassifier, EPSNNRegressor
from sk_epsnn.messages import WeightMoments
from sk_epsnn.neurons import Heaviside, Sigmoid
from sk_epsnn.numerics import PROBIT_SLOPES, PROBIT_WEIGHTS

#: Element types of ONNX.
_FLOAT, _DOUBLE = 1, 11


def register_onnx_converters() -> None:
    """Let skl2onnx convert `EPSNNClassifier`, `EPSNNRegressor` and the rates of `PopulationEncoder`, in pipelines too.

    After this call ``skl2onnx.to_onnx(model, X[:1])`` gives a graph that computes in float32 what the estimator
    predicts: labels and probabilities of a classifier, means of a regressor.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.

    Notes
    -----
    Probabilities agree to about 1e-5. The conversion of a classifier with ``output_activation="heaviside"`` raises
    `NotImplementedError`, and so does that of an encoder that gives spikes, whose random numbers ONNX cannot compute:
    convert what comes after it.

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
    update_registered_converter(
        EPSNNClassifier,
        "SkEpsnnClassifier",
        calculate_linear_classifier_output_shapes,
        _convert_classifier,
        options={"zipmap": [True, False, "columns"], "nocl": [True, False], "output_class_labels": [False, True]},
    )
    update_registered_converter(
        EPSNNRegressor, "SkEpsnnRegressor", calculate_linear_regressor_output_shapes, _convert_regressor
    )
    update_registered_converter(PopulationEncoder, "SkEpsnnPopulation", _shape_of_rates, _convert_population)
    update_registered_converter(RateSpikeEncoder, "SkEpsnnRate", _shape_of_rates, _refuse_spikes)


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

    def product(self, values: str) -> str:
        """Product of each row, kept as a column."""
        if self.container.target_opset_any_domain("") < 18:  # the axes became an input
            return self("ReduceProd", values, axes=[1], keepdims=1)
        return self("ReduceProd", values, [1], keepdims=1)

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
    if model._progress.state.network.output.name != "sigmoid":
        raise NotImplementedError(
            "Only classifiers with output_activation='sigmoid' can be converted to ONNX; use to_nir for thresholds."
        )
    labels = to_numpy(model.classes_)
    if labels.dtype.kind not in "iuUO":
        raise NotImplementedError(f"ONNX labels are integers or strings, the classes are {labels.dtype}.")
    add = _Nodes(scope, container)
    mean, variance = _potentials(add, model, operator.inputs[0].full_name)
    log_odds = _log_odds(add, mean, variance)
    if len(labels) == 2:
        log_odds = add("Concat", add("Neg", log_odds), log_odds, axis=1)
        probability = add("Sigmoid", log_odds)
    else:
        probability = add("Softmax", log_odds, axis=1)
    _give(add, probability, operator.outputs[1])
    best = add("ArgMax", log_odds, axis=1, keepdims=0)
    labels = labels.astype(str) if labels.dtype.kind == "O" else labels
    add("Gather", labels, best, axis=0, output=operator.outputs[0].full_name)


def _convert_regressor(scope: Any, operator: Any, container: Any) -> None:
    model = operator.raw_operator
    add = _Nodes(scope, container)
    mean, _ = _potentials(add, model, operator.inputs[0].full_name)
    if (n_targets := model._progress.state.network.n_targets) < model._progress.state.network.readout.n_units:
        mean = add("Slice", mean, [0], [n_targets], [1])
    location, scale = (to_numpy(part) for part in model._target_location_and_scale())
    _give(add, add("Add", add("Mul", mean, scale), location), operator.outputs[0])


def _shape_of_rates(operator: Any) -> None:
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
    distance = add("Div", distance, encoder.widths_[:, np.newaxis])
    if encoder.tuning == "raised_cosine":
        rates = add("Mul", add("Add", add("Cos", add("Mul", add("Min", distance, 1.0), np.pi)), 1.0), 0.5)
    else:
        rates = add("Exp", add("Mul", add("Mul", distance, distance), -0.5))
    _give(add, add("Reshape", rates, [-1, encoder.centers_.size]), operator.outputs[0])


def _refuse_spikes(scope: Any, operator: Any, container: Any) -> None:
    raise NotImplementedError(
        "The random numbers of spikes cannot be computed in ONNX: convert the estimator alone, or train it on rates, "
        "PopulationEncoder(output='rates')."
    )


def _give(add: _Nodes, values: str, output: Any) -> None:
    """End with an output of the type that was declared: double precision where the inputs have it."""
    double = type(output.type).__name__ == "DoubleTensorType"
    add("Cast", values, to=_DOUBLE if double else _FLOAT, output=output.full_name)


def _potentials(add: _Nodes, model: Any, inputs: str) -> tuple[str, str]:
    """Forward pass: mean and variance of the output potentials (eqs. 25 and 31)."""
    state: State = model._progress.state
    _refuse_unknown(state)
    state = state.with_every_column()
    network = state.network
    moments = [WeightMoments(*(part if part is None else to_numpy(part) for part in m)) for m in state.moments(float)]
    values, spikes = _transform(add, state, inputs), None
    for index, (layer, weights) in enumerate(zip(state.layers, moments, strict=True)):
        mean, variance = _mix(add, layer, weights, values, spikes)
        variance = add("Max", variance, state.variance_floor)
        if index == len(network.hidden):
            break
        spikes = _NEURONS[type(network.hidden[index].neuron)](add, mean, variance)
        values = _with_one(add, spikes) if network.constant else spikes
    return mean, variance


def _refuse_unknown(state: State) -> None:
    """Refuse trainers, neurons and connections that have no converter."""
    if not isinstance(state, State):
        raise NotImplementedError("Only networks trained by Expectation Propagation can be converted to ONNX.")
    network = state.network
    neurons = sorted({type(h.neuron).__name__ for h in network.hidden if type(h.neuron) not in _NEURONS})
    others = sorted({type(c).__name__ for c in network.connections if not c.is_identity})
    if neurons or others:
        raise NotImplementedError(
            f"{' and '.join([*neurons, *others])} cannot be converted to ONNX; fully connected layers of Heaviside and "
            "Sigmoid neurons can."
        )


def _transform(add: _Nodes, state: State, inputs: str) -> str:
    """Inputs in the coordinates of the first layer, see `InputBasis.transform`."""
    basis, X = state.network.basis, add("Cast", inputs, to=_FLOAT)
    assert basis is not None
    turned = add("Div", X, basis.scale) if basis.rotation is None else add("MatMul", X, to_numpy(basis.rotation))
    if basis.columns is not None:  # no column is left for the last axis
        turned = add("Concat", turned, add("Mul", add("Slice", turned, [0], [1], [1]), 0.0), axis=1)
    moved = add("Add", turned, to_numpy(basis.offset))
    return _with_one(add, moved) if basis.constant else moved


def _with_one(add: _Nodes, values: str) -> str:
    """Append a constant 1 to every row."""
    ones = add("Exp", add("Mul", add("Slice", values, [0], [1], [1]), 0.0))
    return add("Concat", values, ones, axis=1)


def _mix(add: _Nodes, layer: LayerState, weights: WeightMoments, values: str, spikes: str | None) -> tuple[str, str]:
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
    if layer.lattice is None:
        return mean, variance
    offset: Any = 0.5 * layer.lattice.spacing
    if layer.lattice.alternates:
        parity = add.product(add("Sub", 1.0, add("Mul", values, 2.0)))
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
