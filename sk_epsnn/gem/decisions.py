"""What predictions make of the runs of several compartments: mixtures of what each of them says.

Target trains are constant, so that the outputs' potentials are enough to know how probable each is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import log_softmax, logsumexp, softmax

from sk_epsnn.gem.inputs import OUTPUTS, Inputs, Uniforms
from sk_epsnn.gem.network import SpikingNetwork, Weights
from sk_epsnn.gem.passes import Runs, clamped, firing, softplus


class Readings(NamedTuple):
    """What the outputs say, in nats.

    Attributes
    ----------
    evidence : ndarray of shape (n_steps, n_samples, n_compartments, n_outputs)
        Log probability of a spike of an output that always fires, less that of silence of one that never does.
    silence : ndarray of shape (n_steps, n_samples, n_compartments)
        Log probability that all outputs are silent.
    spikes : ndarray or None
        Output spikes, of the shape of the evidence, where they were drawn.
    present : ndarray of shape (n_steps, n_samples)
        1 for steps that a sample has, 0 after its end.
    """

    evidence: np.ndarray
    silence: np.ndarray
    spikes: np.ndarray | None
    present: np.ndarray


class Mixture(NamedTuple):
    """Distributions over the outputs, of shape (n_samples, n_components, n_outputs), and the share of each."""

    probability: np.ndarray
    share: np.ndarray

    def mean(self) -> np.ndarray:
        """Of all of them, shape (n_samples, n_outputs)."""
        return np.matmul(self.share[:, np.newaxis], self.probability)[:, 0]


def read(
    network: SpikingNetwork, weights: Weights, runs: Runs, inputs: Inputs, uniforms: Uniforms | None = None
) -> Readings:
    """Read the outputs; spikes are drawn where there are random numbers for them."""
    potentials = runs.potentials
    present = np.ones(potentials.shape[:2], potentials.dtype) if inputs.present is None else inputs.present
    ones = np.ones((1, 1, 1, potentials.shape[3]), potentials.dtype)
    fires = clamped(network, weights, potentials, ones)
    silent = softplus(potentials)
    evidence = potentials if fires is potentials else fires - softplus(fires) + silent
    spikes = None if uniforms is None else fire(network, weights, potentials, uniforms)
    return Readings(evidence, -silent.sum(axis=-1), spikes, present)


def fire(network: SpikingNetwork, weights: Weights, potentials: np.ndarray, uniforms: Uniforms) -> np.ndarray:
    """Spikes of outputs that are not held at a target."""
    draws = np.broadcast_to(uniforms(OUTPUTS, potentials.shape), potentials.shape)
    weight = weights.get(f"feedback{network.n_layers - 1}")
    if weight is None or network.feedback is None:
        return (draws < firing(potentials)).astype(potentials.dtype)
    spikes, own = np.empty_like(potentials), np.zeros_like(potentials[0])
    for step, potential in enumerate(potentials):
        spikes[step] = draws[step] < firing(potential + weight * own)
        own = network.feedback * own + (1 - network.feedback) * spikes[step]
    return spikes


def steps(readings: Readings, sharpness: float) -> Mixture:
    """Each compartment says the mean over the steps of a softmax of the evidence."""
    said = softmax(sharpness * readings.evidence, axis=-1) * readings.present[:, :, np.newaxis, np.newaxis]
    n_steps = np.maximum(readings.present.sum(axis=0), 1)[:, np.newaxis, np.newaxis]
    return _alike(_proper(said.sum(axis=0) / n_steps))


def votes(readings: Readings, sharpness: float) -> Mixture:
    """Each compartment votes for the output with most spikes; one more vote is shared by all outputs."""
    counts = (readings.spikes * readings.present[:, :, np.newaxis, np.newaxis]).sum(axis=0)
    best = (counts == counts.max(axis=-1, keepdims=True)).astype(counts.dtype)
    best /= best.sum(axis=-1, keepdims=True)
    nobody = np.full((len(best), 1, best.shape[2]), 1 / best.shape[2], best.dtype)
    return _alike(np.concatenate([best, nobody], axis=1))


def likelihood(readings: Readings, sharpness: float) -> Mixture:
    """Bayes' rule in the model: a compartment counts by how probable all that it says of the outputs is."""
    present = readings.present[:, :, np.newaxis]
    evidence = (readings.evidence * present[..., np.newaxis]).sum(axis=0)
    joint = sharpness * (evidence + (readings.silence * present).sum(axis=0)[..., np.newaxis])
    return Mixture(softmax(joint, axis=-1), softmax(logsumexp(joint, axis=-1), axis=-1))


def rates(readings: Readings) -> np.ndarray:
    """Mean over the steps of the outputs' firing probabilities, shape (n_samples, n_compartments, n_outputs)."""
    present = readings.present[:, :, np.newaxis, np.newaxis]
    n_steps = np.maximum(readings.present.sum(axis=0), 1)[:, np.newaxis, np.newaxis]
    return (firing(readings.evidence) * present).sum(axis=0) / n_steps


def _proper(probability: np.ndarray) -> np.ndarray:
    """Probabilities of samples without any step: all outputs alike."""
    total = probability.sum(axis=-1, keepdims=True)
    return np.where(total > 0, probability / np.where(total > 0, total, 1), 1 / probability.shape[-1])


def _alike(probability: np.ndarray) -> Mixture:
    return Mixture(probability, np.full(probability.shape[:2], 1 / probability.shape[1], probability.dtype))


#: Decision rules by their names.
DECISIONS: dict[str, Callable[[Readings, float], Mixture]] = {"steps": steps, "votes": votes, "likelihood": likelihood}


def log_probability(mixture: Mixture) -> np.ndarray:
    """Logarithm of the mean, in nats, whatever rounds to 0 as small as numbers are."""
    mean = mixture.mean()
    return log_softmax(np.log(np.maximum(mean, np.finfo(mean.dtype).tiny)), axis=-1)
