"""The observation noise of a regressor, from rows that a posterior predicts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.optimize import minimize

from sk_epsnn._arrays import Array, astype, concat, largest, like, sum_over, to_numpy, where, zeros_like
from sk_epsnn.ep.evidence import NoiseEvidence
from sk_epsnn.ep.passes import predict
from sk_epsnn.ep.state import State
from sk_epsnn.messages import WeightMoments
from sk_epsnn.network import Batch
from sk_epsnn.weights import GaussianWeights


def learned_noise(judge: State, noise: NoiseEvidence, batch: Batch, power: float) -> NoiseEvidence:
    """What a batch adds to what is known of the noise, its potentials being predicted by a state."""
    mean, spread = _predicted(judge, batch, judge.training_moments(batch.target.dtype))
    return noise.absorb(batch.target - mean, spread, batch.weight, power)


def judged_noise(state: State, held_out: Batch, prior: NoiseEvidence) -> Array:
    """The noise variance that makes rows most probable which the posterior has not seen, shape (n_targets,).

    ``prior`` is included.
    """
    mean, spread = _predicted(state, held_out, state.moments(held_out.target.dtype))
    return prior.absorb(held_out.target - mean, spread, held_out.weight, 1.0).variance


def judged_factors(state: State, held_out: Batch) -> Array:
    """Factors on the variances that are predicted where the noise varies, shape (2, n_targets).

    On the variance of the potentials and on the noise: those that make rows most probable which the posterior has not
    seen. Their logarithms have standard normal priors.
    """
    last = predict(state, held_out.inputs, state.moments(held_out.target.dtype))
    parts = (last.mean, last.variance, held_out.target, held_out.weight)
    mean, variance, target, weight = (to_numpy(part).astype(float) for part in parts)
    output: Any = state.network.output
    noise, n_targets = to_numpy(output.noise_variance), target.shape[1]

    def cost(logs: np.ndarray) -> tuple[float, np.ndarray]:
        """Negative log density of rows and factors, and its slopes in the logarithms of the factors."""
        factor = np.exp(logs.reshape(2, -1))
        widened = np.hstack([factor[0] * variance[:, :n_targets], variance[:, n_targets:]])
        log_z, message = output.with_noise_variance(factor[1] * noise).evidence(mean, widened, target, 1.0)
        slopes = np.hstack([-0.5 * (message.kappa * widened)[:, :n_targets], message.g[:, n_targets:]])
        return 0.5 * logs @ logs - weight @ log_z.sum(1), logs - weight @ slopes

    best = minimize(cost, np.zeros(2 * n_targets), jac=True, method="L-BFGS-B").x
    return like(np.exp(best.reshape(2, -1)), output.noise_variance)


def with_varying_noise(state: State, batch: Batch) -> State:
    """The state about to learn how its noise varies, starting from all that rows are predicted to vary by.

    With a noise that starts too large the means find out what they can explain; too small, every row counts too much.
    """
    output: Any = state.network.output
    n_targets = state.network.n_targets
    spread = predict(state, batch.inputs, state.training_moments(batch.target.dtype)).variance
    weight = batch.weight[:, None]
    of_means = sum_over(weight * spread[:, :n_targets], axis=0)
    variance = output.noise_variance + astype(of_means, "float64") / batch.mass
    of_noises = spread[:, n_targets:]
    state = _with_sure_noise(state, float(largest(where(weight > 0, of_noises, zeros_like(of_noises)))))
    return replace(state.with_noise_variance(variance).with_noise_that(varies=True), walk=None)


def _with_sure_noise(state: State, widest: float) -> State:
    """The state about to learn log noises of so much variance, at most, from where none has more than 1.

    Where rows are far from the others their exponentials would be of any size.
    """
    *hidden, q = state.posteriors
    if widest <= 1 or not isinstance(q, GaussianWeights):
        return state
    n_targets = state.network.n_targets
    precision = concat([q.precision[:n_targets, ...], widest * q.precision[n_targets:, ...]], axis=0)
    return state.with_posteriors([*hidden, type(q)(precision, q.mean)])


def _predicted(state: State, batch: Batch, weights: list[WeightMoments]) -> tuple[Array, Array]:
    """Predictive mean and variance of the potentials that have targets, one row for each target."""
    last = predict(state, batch.inputs, weights)
    mean, variance = (state.network.output.targeted(part) for part in last[:2])
    return mean, variance
