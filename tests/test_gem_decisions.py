"""Rules of prediction against what they say they are, on readings that are made up."""

import numpy as np
import pytest
from scipy.special import logsumexp, softmax

from sk_epsnn import ExponentialFilter
from sk_epsnn.gem import decisions, passes
from sk_epsnn.gem.inputs import OUTPUTS, Inputs, common
from sk_epsnn.gem.network import SpikingNetwork

T, B, K, C = 5, 4, 3, 6
RNG = np.random.default_rng(0)
EVIDENCE = RNG.normal(size=(T, B, K, C))
PRESENT = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0]], float)
SPIKES = (RNG.random((T, B, K, C)) < 0.5).astype(float)
READINGS = decisions.Readings(EVIDENCE, -np.log1p(np.exp(EVIDENCE)).sum(-1), SPIKES, PRESENT)


def lengths():
    return PRESENT.sum(0).astype(int)


def test_steps_are_a_mean_of_softmaxes():
    for i, n in enumerate(lengths()):
        expected = softmax(0.5 * EVIDENCE[:n, i], axis=-1).mean(axis=0)
        mixture = decisions.steps(READINGS, 0.5)
        np.testing.assert_allclose(mixture.probability[i], expected, rtol=1e-12)
        np.testing.assert_allclose(mixture.mean()[i], expected.mean(axis=0), rtol=1e-12)


def test_votes_are_shares_and_one_vote_of_nobody():
    for i, n in enumerate(lengths()):
        votes = np.full(C, 1 / C)
        for k in range(K):
            counts = SPIKES[:n, i, k].sum(axis=0)
            best = counts == counts.max()
            votes += best / best.sum()
        np.testing.assert_allclose(decisions.votes(READINGS, 1.0).mean()[i], votes / (K + 1), rtol=1e-12)


@pytest.mark.parametrize("sharpness", [1.0, 0.1])
def test_likelihood_is_bayes_rule_with_equal_priors(sharpness):
    for i, n in enumerate(lengths()):
        terms = np.empty((K, C))
        for k in range(K):
            u = EVIDENCE[:n, i, k]
            for c in range(C):
                target = np.eye(C)[c]
                terms[k, c] = (target * u - np.log1p(np.exp(u))).sum()
        expected = softmax(logsumexp(sharpness * terms, axis=0))
        mixture = decisions.likelihood(READINGS, sharpness)
        np.testing.assert_allclose(mixture.mean()[i], expected, rtol=1e-10)
        np.testing.assert_allclose(mixture.share.sum(axis=1), 1)


def test_rates_are_means_of_firing_probabilities():
    for i, n in enumerate(lengths()):
        expected = (1 / (1 + np.exp(-EVIDENCE[:n, i]))).mean(axis=0)
        np.testing.assert_allclose(decisions.rates(READINGS)[i], expected, rtol=1e-12)


def test_samples_without_a_step_are_as_probable_as_any():
    nothing = READINGS._replace(present=np.zeros_like(PRESENT))
    for rule in decisions.DECISIONS.values():
        np.testing.assert_allclose(rule(nothing, 1.0).mean(), 1 / C)


def test_log_probability_stays_finite():
    far = READINGS._replace(evidence=1e4 * EVIDENCE)
    assert np.isfinite(decisions.log_probability(decisions.steps(far, 1.0))).all()


def test_evidence_of_outputs_that_read_their_own_spikes():
    """A class is held to fire at every step, and the others never: the ratio of the two likelihoods."""
    network = SpikingNetwork((2, 3), ExponentialFilter(), 0, 0.5, True)
    weights = {name: RNG.normal(size=shape) for name, shape in network.shapes().items()}
    x = RNG.random((T, B, 1, 2))
    inputs, uniforms = Inputs(x, T, None), common(0)
    runs = passes.run(network, weights, x, T, 1, uniforms)
    readings = decisions.read(network, weights, runs, inputs, uniforms)
    for c in range(3):
        target = np.zeros((T, B, 1, 3))
        target[..., c] = 1
        fires = passes.log_likelihood(passes.clamped(network, weights, runs.potentials, target), target)
        np.testing.assert_allclose(readings.silence + readings.evidence[..., c], fires, atol=1e-12)


def test_free_outputs_follow_their_own_spikes():
    network = SpikingNetwork((2, 3), ExponentialFilter(), 0, 0.5, True)
    weights = {name: RNG.normal(size=shape) for name, shape in network.shapes().items()}
    potentials = RNG.normal(size=(T, B, K, 3))
    spikes = decisions.fire(network, weights, potentials, common(3))
    draws = np.broadcast_to(common(3)(OUTPUTS, potentials.shape), potentials.shape)
    held = potentials + weights["feedback0"] * passes.own_trace(network, spikes, T)
    np.testing.assert_array_equal(spikes, draws < passes.firing(held))
    assert 0 < spikes.mean() < 1
