"""Converters to ONNX, for skl2onnx."""

from __future__ import annotations

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
from sk_epsnn.estimators import EPSNNClassifier, EPSNNRegressor, SBNNClassifier, SBNNRegressor
from sk_epsnn.export._onnx_layers import is_certain, potentials
from sk_epsnn.export._onnx_nodes import DOUBLE, FLOAT, Nodes, refuse_sequences
from sk_epsnn.export._onnx_outputs import OUTPUTS


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
    frozen networks of thresholds with intercepts need none. A network that begins with a `Convolution` takes rows as
    the estimator does. The conversion of a classifier with ``output_activation="heaviside"`` raises
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


def _convert_classifier(scope: Any, operator: Any, container: Any) -> None:
    model = operator.raw_operator
    network, state = model.network_, model._progress.state
    output = network.output.name
    if output not in OUTPUTS:
        raise NotImplementedError(
            f"Only classifiers with output_activation={' or '.join(map(repr, OUTPUTS))} can be converted to ONNX; use "
            "to_nir for thresholds."
        )
    labels = _labels(model)
    add = Nodes(scope, container)
    mean, variance = potentials(add, model, operator.inputs[0])
    if output == "softmax" and is_certain(state):
        score, probability = mean, add("Softmax", mean, axis=1)
    else:
        score, probability = OUTPUTS[output](add, mean, variance, network.readout.n_units)
    _give(add, probability, operator.outputs[1])
    best = add("ArgMax", score, axis=1, keepdims=0)
    add("Gather", labels, best, axis=0, output=operator.outputs[0].full_name)


def _labels(model: Any) -> np.ndarray:
    """Classes as ONNX has them, strings or integers: False and True are 0 and 1, as in the converters of skl2onnx."""
    labels = to_numpy(model.classes_)
    return labels.astype(str if labels.dtype.kind in "OU" else np.int64)


def _convert_regressor(scope: Any, operator: Any, container: Any) -> None:
    model = operator.raw_operator
    add = Nodes(scope, container)
    mean, _ = potentials(add, model, operator.inputs[0])
    if (n_targets := model._progress.state.network.n_targets) < model._progress.state.network.readout.n_units:
        mean = add("Slice", mean, [0], [n_targets], [1])
    location, scale = (to_numpy(part) for part in model._target_location_and_scale())
    _give(add, add("Add", add("Mul", mean, scale), location), operator.outputs[0])


def _shape_of_rates(operator: Any) -> None:
    refuse_sequences(operator.inputs[0])
    columns = len(operator.raw_operator.get_feature_names_out())
    operator.outputs[0].type = type(operator.inputs[0].type)([None, columns])


def _convert_population(scope: Any, operator: Any, container: Any) -> None:
    encoder = operator.raw_operator
    if encoder.output == "spikes":
        _refuse_spikes(scope, operator, container)
    add = Nodes(scope, container)
    X = add("Cast", operator.inputs[0].full_name, to=FLOAT)
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
    add = Nodes(scope, container)
    images = add("Reshape", add("Cast", operator.inputs[0].full_name, to=FLOAT), [-1, height, width, n_colors])
    images, kernels = add("Transpose", images, perm=[0, 3, 1, 2]), encoder.kernels_.transpose(0, 3, 1, 2)
    responses = add("Conv", images, kernels, pads=[padding] * 4, strides=[encoder.stride] * 2)
    spikes = add("Cast", add("Greater", responses, encoder.thresholds_[:, np.newaxis, np.newaxis]), to=FLOAT)
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


def _give(add: Nodes, values: str, output: Any) -> None:
    """End with an output of the type that was declared: double precision where the inputs have it."""
    double = type(output.type).__name__ == "DoubleTensorType"
    add("Cast", values, to=DOUBLE if double else FLOAT, output=output.full_name)
