"""Averages of powers of a sigmoid over a Gaussian, by the trapezoidal rule."""

from __future__ import annotations

import math
from functools import reduce
from typing import TypeAlias

import numpy as np

from sk_epsnn._arrays import (
    CACHED,
    Array,
    absolute,
    array_namespace,
    exp,
    in_chunks,
    largest,
    largest_finite,
    log,
    log1p,
    minimum,
    zeros_like,
)
from sk_epsnn.numerics import NORMAL_RANGE, expm1, normal_grid

#: Wider Gaussians get the rule for this standard deviation, which keeps its cost bounded.
MOST_SD = 100.0
#: Nodes of a rule and their weights.
_Rule: TypeAlias = tuple[tuple[float, float], ...]


def tilted_sigmoid(margin: Array, sd: Array, power: float, n_moments: int) -> tuple[Array, ...]:
    """``(1/alpha) log E sigma(u)**alpha`` for ``u ~ N(margin, sd**2)``, and moments of ``sigma(-u)``.

    Parameters
    ----------
    margin, sd : array of shape (n_samples, n_units)
    power : float in (0, 1)
    n_moments : int
        How many, from the first on, of the density ``N(u; margin, sd**2) sigma(u)**alpha``.

    Returns
    -------
    log_z, *moments : arrays of shape (n_samples, n_units)
        The first in nats.
    """
    nodes = _nodes(sd)
    if array_namespace(margin) is not np:
        return _tilted_anywhere(margin, sd, power, nodes, n_moments)
    far = 0.9 * math.log(largest_finite(margin))

    def chunk(margin: Array, sd: Array) -> tuple[Array, ...]:
        near = margin.size and float((NORMAL_RANGE * sd - margin).max()) < far
        return (_tilted_near if near else _tilted_anywhere)(margin, sd, power, nodes, n_moments)

    parts = in_chunks(chunk, margin.reshape(-1), sd.reshape(-1), size=CACHED // len(nodes))
    return tuple(part.reshape(margin.shape) for part in parts)


def _softplus(x: Array) -> Array:
    """``log(1 + exp(x))``, several times faster than ``logaddexp``."""
    size = absolute(x)
    # The first part is x where that is positive, else 0, without rounding.
    return 0.5 * (x + size) + log1p(exp(-size))


def _tilted_near(
    margin: np.ndarray, sd: np.ndarray, power: float, nodes: _Rule, n_moments: int
) -> tuple[np.ndarray, ...]:
    """`tilted_sigmoid` where ``exp(-u)`` does not overflow: all nodes at once, by exponentials and a logarithm.

    NumPy has vector instructions for these three, always in float32 and on some processors in float64.
    """
    x, w = (np.array(column, margin.dtype) for column in zip(*nodes, strict=True))
    miss = x[:, None] * -sd
    miss -= margin
    np.exp(miss, out=miss)
    total = 1 + miss
    fire = np.log(total)
    fire *= -power
    np.exp(fire, out=fire)
    mass = w @ fire
    result = [np.log(mass) / power]
    if n_moments:
        miss /= total
    for _ in range(n_moments):
        fire *= miss
        result.append(w @ fire / mass)
    return tuple(result)


def _tilted_anywhere(margin: Array, sd: Array, power: float, nodes: _Rule, n_moments: int) -> tuple[Array, ...]:
    """`tilted_sigmoid` node by node, without under- or overflow however far from the boundary."""
    reference = _reference_loss(margin, sd, power, nodes)
    sums = [zeros_like(margin) for _ in range(n_moments + 1)]
    for x, w in nodes:
        loss = _softplus(-(margin + x * sd))
        weight = w * exp(power * (reference - loss))
        sums[0] += weight
        if n_moments:
            miss = -expm1(-loss)
        for total in sums[1:]:
            weight = weight * miss
            total += weight
    return log(sums[0]) / power - reference, *(total / sums[0] for total in sums[1:])


def _reference_loss(margin: Array, sd: Array, power: float, nodes: _Rule) -> Array:
    """Loss to divide out of the quadrature, so that it neither underflows nor overflows far from the boundary.

    That at the mean does, unless the loss is so large that nodes on the other side of the boundary take over.
    """
    reference = _softplus(-margin)
    if power * _largest(reference) < 0.8 * math.log(largest_finite(margin)):
        return reference
    costs = [_softplus(-(margin + x * sd)) - math.log(w) / power for x, w in nodes]
    return reduce(minimum, costs)


def _largest(values: Array) -> float:
    """Largest entry of a non-negative array, 0 if it has none."""
    return float(largest(values)) if values.shape[0] else 0.0


def _nodes(sd: Array) -> _Rule:
    """Rule fine enough for the widest Gaussian: the sigmoid has poles at +- i pi, hence steps of 1.5 in u."""
    widest = min(_largest(sd), MOST_SD)
    return normal_grid(int(math.ceil(NORMAL_RANGE * max(1.0, widest / 1.5))))
