"""Nodes of an ONNX graph, and formulas of several converters."""

from __future__ import annotations

from typing import Any

import numpy as np

from sk_epsnn.numerics import PROBIT_SLOPES, PROBIT_WEIGHTS

#: Element types of ONNX.
FLOAT, INT64, DOUBLE = 1, 7, 11


class Nodes:
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


def normal_distribution(add: Nodes, z: str) -> str:
    """Standard normal distribution function."""
    return add("Mul", add("Add", add("Erf", add("Mul", z, np.sqrt(0.5))), 1.0), 0.5)


def expected_sigmoid(add: Nodes, mean: str, variance: str) -> str:
    """``E sigma(u)`` by the mixture of probits, see `numerics.expected_sigmoid`."""
    terms = []
    for weight, slope in zip(PROBIT_WEIGHTS, PROBIT_SLOPES, strict=True):
        spread = add("Sqrt", add("Add", add("Mul", variance, slope * slope), 1.0))
        terms.append(add("Mul", normal_distribution(add, add("Div", add("Mul", mean, slope), spread)), weight))
    return add("Sum", *terms)


def refuse_sequences(inputs: Any) -> None:
    """Refuse inputs that are declared with steps in time: the nodes are for rows."""
    if len(inputs.type.shape) > 2:
        raise NotImplementedError(
            f"Inputs of shape {inputs.type.shape}, with steps in time, are not converted to ONNX; declare rows "
            "of shape (n_samples, n_features), or export a network over steps with to_nir."
        )
