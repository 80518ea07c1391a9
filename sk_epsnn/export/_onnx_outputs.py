"""ONNX nodes from the potentials of output neurons to scores and probabilities of classes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from sk_epsnn.export._onnx_nodes import FLOAT, INT64, Nodes, expected_sigmoid
from sk_epsnn.softmax import ABOVE, BELOW, FIRST, N_NODES, PER_UNIT, SDS, STEP, distribution_table


def _log_odds(add: Nodes, mean: str, variance: str) -> str:
    """``log p / (1 - p)`` of ``p = E sigma(u)``, from the smaller of the two, see `SigmoidOutput.log_odds`."""
    margin = add("Neg", add("Abs", mean))
    # In the left tail sigma(u) = exp(u) sigma(-u), see `numerics.log_expected_sigmoid`.
    half = add("Mul", variance, 0.5)
    tail = add("Less", add("Add", margin, half), 0.0)
    value = expected_sigmoid(add, add("Where", tail, add("Neg", add("Add", margin, variance)), margin), variance)
    log_rare = add("Log", value)
    log_rare = add("Where", tail, add("Add", add("Add", margin, half), log_rare), log_rare)
    size = add("Sub", add("Log", add("Sub", 1.0, add("Exp", log_rare))), log_rare)
    return add("Mul", add("Sign", mean), size)


def _sigmoid_classes(add: Nodes, mean: str, variance: str, n_units: int) -> tuple[str, str]:
    """A score of every class, and its probability, see `SpikingOutput.log_probability`; one unit is two classes."""
    log_odds = _log_odds(add, mean, variance)
    if n_units > 1:
        return log_odds, add("Softmax", log_odds, axis=1)
    both = add("Concat", add("Neg", log_odds), log_odds, axis=1)
    return both, add("Sigmoid", both)


def _softmax_classes(add: Nodes, mean: str, variance: str, n_units: int) -> tuple[str, str]:
    """The same for classes that compete: the rule of `softmax.log_expected_softmax`, its nodes along a third axis."""
    mean = add("Sub", mean, add.reduce("ReduceMax", mean))  # what all have in common does not matter
    reach = add("Mul", add("Sqrt", variance), SDS)
    low = add("Sub", add.reduce("ReduceMax", add("Sub", mean, reach)), BELOW)
    width = add("Sub", add("Add", add.reduce("ReduceMax", add("Add", mean, reach)), ABOVE), low)
    n_nodes: Any = float(N_NODES[0])
    for fewer, more in pairwise(N_NODES):
        wide = add("Cast", add("Greater", add("Div", width, STEP), float(fewer)), to=FLOAT)
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


def _distribution(add: Nodes, t: str, q: str) -> tuple[str, str]:
    """``log(-log L(t))`` and ``log(L' / L / q)``, bilinear in `softmax.distribution_table`; t has a third axis."""
    tables = np.stack(distribution_table(), axis=2)
    n_spreads, n_columns, _ = tables.shape
    q = add("Unsqueeze", q, [2])
    spread = add("Mul", q, float(n_spreads - 1))
    row = add("Min", add("Floor", spread), float(n_spreads - 2))
    place = add("Sub", add("Mul", t, add("Mul", q, float(PER_UNIT))), FIRST * PER_UNIT)
    column = add("Min", add("Max", add("Floor", place), 0.0), float(n_columns - 2))
    index = add("Cast", add("Add", add("Mul", row, float(n_columns)), column), to=INT64)
    flat = add.constant(tables.reshape(-1, 2))
    corners = [add("Gather", flat, add("Add", index, shift), axis=0) for shift in (0, 1, n_columns, n_columns + 1)]
    along, across = (add("Unsqueeze", add("Sub", a, b), [3]) for a, b in ((place, column), (spread, row)))
    near, far = (_between(add, corners[k], corners[k + 1], along) for k in (0, 2))
    both = _between(add, near, far, across)
    return add("Gather", both, 0, axis=3), add("Gather", both, 1, axis=3)


def _between(add: Nodes, first: str, second: str, share: str) -> str:
    """Linear interpolation."""
    return add("Add", first, add("Mul", share, add("Sub", second, first)))


#: Score and probability of every class, for each kind of output neuron.
OUTPUTS = {"sigmoid": _sigmoid_classes, "softmax": _softmax_classes}
