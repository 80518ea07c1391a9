"""Bias of gradients of a trained narrow network, measured against enumeration of all of its spikes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from time import process_time

import numpy as np
from _common import Measures, classifier_measures
from scipy.special import ndtr

from sk_epsnn import Rao, SBNNClassifier
from sk_epsnn.sbnn.options import SpikeGradient
from sk_epsnn.sbnn.passes import backward, forward
from sk_epsnn.sbnn.state import State
from sk_epsnn.sbnn.weights import Moments

#: Rows of which the gradients are compared, and draws of each.
ROWS, DRAWS = (0, 5, 10, 15), 40_000
STEP = 1e-5


def parity() -> tuple[np.ndarray, np.ndarray]:
    """All rows of four bits, and the parity of three of them."""
    X = np.array(list(itertools.product((0.0, 1.0), repeat=4)))
    return X, (X[:, :3].sum(axis=1) % 2).astype(int)


def narrow(penalty: float, temperature: float = 0.0) -> Callable[[int, int], Measures]:
    """A network 4-6-6-2 that learns the parity, and the bias of its gradients when it has."""

    def run(seed: int, start: int) -> Measures:
        X, y = parity()
        inference = Rao(temperature=temperature, bias_penalty=penalty, learning_rate=0.02, noise_ratio=20.0, ramp=0.0)
        began = process_time()
        model = SBNNClassifier((6, 6), inference=inference, max_iter=800, random_state=start).fit(X, y)
        seconds = process_time() - began
        bias = relative_bias(model._progress.state, inference, X, np.where(y == 1, 1.0, -1.0)[:, np.newaxis], start)
        share = float(model.gradient_bias_.mean())
        return {**classifier_measures(model, X, y), "bias": bias, "gradient_bias_": share, "CPU seconds": seconds}

    return run


def relative_bias(state: State, gradient: SpikeGradient, X: np.ndarray, target: np.ndarray, seed: int) -> float:
    """Root mean square bias over that of the exact gradient, in the means of the hidden layers' weights."""
    parameters = {name: array.astype(float) for name, array in state.parameters.items()}
    weights = state.trained(parameters)
    rows = state.coordinates.enter(state.network.enter(X).mean)
    generator, wrong, size = np.random.default_rng(seed), 0.0, 0.0
    for row in ROWS:
        exact = exact_gradients(state, weights, rows[row], target[row : row + 1])
        z, y = np.repeat(rows[row : row + 1], DRAWS, axis=0), np.repeat(target[row : row + 1], DRAWS, axis=0)
        up = forward(state.network, gradient, weights, z, None, lambda a: generator.standard_normal(a.shape))
        _, message = state.network.output.evidence(*up.layers[-1][2:], y, 0.0)
        slopes = backward(state.network, weights, up, None, -message.g / DRAWS, 0.5 * message.kappa / DRAWS)
        for slope, truth in zip(slopes, exact, strict=False):
            wrong, size = wrong + np.square(slope.mean - truth).sum(), size + np.square(truth).sum()
    return float(np.sqrt(wrong / size))


def exact_gradients(state: State, weights: list[Moments], x: np.ndarray, target: np.ndarray) -> list[np.ndarray]:
    """Derivatives of the expected loss in the means of every hidden layer, by differences."""
    gradients = []
    for mean, _ in weights[:-1]:
        slope = np.zeros_like(mean)
        for index in np.ndindex(mean.shape):
            kept, losses = mean[index], []
            for sign in (1, -1):
                mean[index] = kept + sign * STEP
                losses.append(expected_loss(state, weights, x, target))
            mean[index] = kept
            slope[index] = (losses[0] - losses[1]) / (2 * STEP)
        gradients.append(slope)
    return gradients


def expected_loss(state: State, weights: list[Moments], x: np.ndarray, target: np.ndarray) -> float:
    """A sum over all patterns of hidden spikes."""
    states, probability = x[np.newaxis], np.ones(1)
    for mean, variance in weights[:-1]:
        fires = ndtr(states @ mean.T / np.sqrt(np.square(states) @ variance.T))
        patterns = np.array(list(itertools.product((0.0, 1.0), repeat=len(mean))))
        law = np.where(patterns > 0, fires[:, np.newaxis], 1 - fires[:, np.newaxis]).prod(axis=2)
        probability, states = probability @ law, np.column_stack([patterns, np.ones(len(patterns))])
    mean, variance = weights[-1]
    targets = np.repeat(target, len(states), axis=0)
    log_z, _ = state.network.output.evidence(states @ mean.T, np.square(states) @ variance.T, targets, 0.0)
    return -float(probability @ log_z.sum(axis=1))
