"""The observation noise of a regressor, from rows that a posterior predicts."""

from __future__ import annotations

from sk_epsnn._arrays import Array
from sk_epsnn.ep.evidence import NoiseEvidence
from sk_epsnn.ep.passes import predict
from sk_epsnn.ep.state import State
from sk_epsnn.network import Batch


def learned_noise(judge: State, noise: NoiseEvidence, batch: Batch, power: float) -> NoiseEvidence:
    """What a batch adds to what is known of the noise, its potentials being predicted by a state."""
    mean, spread, _ = predict(judge, batch.inputs, judge.training_moments(batch.target.dtype))
    return noise.absorb(batch.target - mean, spread, batch.sample_weight, power)


def judged_noise(state: State, held_out: Batch, prior: NoiseEvidence) -> Array:
    """The noise variance that makes rows most probable which the posterior has not seen, shape (n_out,).

    ``prior`` is included.
    """
    mean, spread, _ = predict(state, held_out.inputs, state.moments(held_out.target.dtype))
    return prior.absorb(held_out.target - mean, spread, held_out.sample_weight, 1.0).variance
