"""Networks whose weights are known: posterior means, the most probable weights or draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sk_epsnn._arrays import Array, astype, like, sqrt, where
from sk_epsnn.sbnn.arrays import NamedArrays
from sk_epsnn.sbnn.state import State
from sk_epsnn.sbnn.weights import GaussianFamily, LevelFamily, Moments


def known_weights(state: State, kind: str, rng: np.random.RandomState | None) -> State:
    """The state with weights that are points.

    ``kind`` is "mean", "mode", where weights on levels are the more probable one, or "sample".
    """
    parameters, families = {}, []
    for layer, (family, moments) in enumerate(zip(state.families, state.trained(), strict=True)):
        parameters[f"mean{layer}"] = _point(family, moments, state, kind, rng)
        families.append(GaussianFamily(layer, is_noisy=False))
    if "log_noise" in state.parameters:
        parameters["log_noise"] = state.parameters["log_noise"]
    return replace(state, parameters=NamedArrays.of(parameters), families=tuple(families), memory=None, is_known=True)


def _point(
    family: GaussianFamily | LevelFamily, moments: Moments, state: State, kind: str, rng: np.random.RandomState | None
) -> Array:
    mean, variance = moments
    if variance is None or kind == "mean":
        return mean
    level = family.level(state.parameters) if isinstance(family, LevelFamily) else None
    if kind == "mode":
        return mean if level is None else where(_is_weight(mean), where(mean >= 0, 1.0, -1.0) * level, mean)
    assert rng is not None
    noise = astype(like(rng.standard_normal(tuple(mean.shape)), mean), mean.dtype)
    drawn = mean + sqrt(variance) * noise
    if level is None:
        return drawn
    uniform = astype(like(rng.uniform(size=tuple(mean.shape)), mean), mean.dtype)
    return where(_is_weight(mean), where(uniform < 0.5 * (1 + mean / level), 1.0, -1.0) * level, drawn)


def _is_weight(mean: Array) -> Array:
    """True in all columns but the last, which is that of the biases."""
    columns = np.arange(mean.shape[1]) < mean.shape[1] - 1
    return like(np.broadcast_to(columns, tuple(mean.shape)), mean)
