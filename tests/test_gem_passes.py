"""The fast form against networks written out, and gradients against the sum over all hidden trains."""

from itertools import product

import gem_oracles as explicit
import numpy as np
import pytest
from scipy.special import logsumexp, softmax

from sk_epsnn import ExponentialFilter, RaisedCosineFilters
from sk_epsnn.gem import credit, passes
from sk_epsnn.gem.network import SpikingNetwork

TINY = {
    "recurrent, same step": SpikingNetwork((2, 2, 2), ExponentialFilter(decay=0.4), 0, 0.3, True, True, True),
    "recurrent, delay": SpikingNetwork((2, 2, 2), ExponentialFilter(decay=0.4), 1, 0.3, True, True, True),
    "two kernels, two layers": SpikingNetwork((2, 1, 1, 2), RaisedCosineFilters(n_filters=2, memory=3)),
    "plain": SpikingNetwork((2, 2, 2), ExponentialFilter(decay=0.5)),
}
N_STEPS = 3


def some_weights(network, seed=0):
    rng = np.random.default_rng(seed)
    weights = {name: rng.normal(size=shape) for name, shape in network.shapes().items()}
    return {n: a * (1 - np.eye(a.shape[-1])) if n.startswith("recurrent") else a for n, a in weights.items()}


def data(network, seed=1, n_steps=N_STEPS, n_samples=1):
    rng = np.random.default_rng(seed)
    x = (rng.random((n_steps, n_samples, 1, network.sizes[0])) < 0.5).astype(float)
    y = (rng.random((n_steps, n_samples, 1, network.sizes[-1])) < 0.5).astype(float)
    return x, y


def forcing(trains):
    """Random numbers by which hidden layers fire as they are told: (n_steps, n_samples, n_compartments, n_units)."""
    return lambda place, shape: 1.0 - trains[place - 1]


def every_train(network, n_steps):
    """All hidden trains, each in a compartment."""
    trains = list(explicit.all_trains(n_steps, network.hidden))
    return [np.stack([train[layer] for train in trains], axis=1)[:, None] for layer in range(len(network.hidden))]


def enumerated(network, weights, x, y):
    """Runs in which each compartment has another hidden train, the prior of each, and what the outputs say."""
    trains = every_train(network, len(x))
    runs = passes.run(network, weights, x, len(x), trains[0].shape[2], forcing(trains))
    prior = 0.0
    for layer in runs.hidden:
        prior = prior + np.log(np.where(layer.spikes > 0, layer.probability, 1 - layer.probability)).sum(axis=(0, 1, 3))
    potentials = passes.clamped(network, weights, runs.potentials, y)
    return runs, prior, potentials, passes.log_likelihood(potentials, y)[:, 0]


@pytest.mark.parametrize("name", TINY)
def test_log_evidence_and_its_gradient_by_enumeration(name):
    network = TINY[name]
    weights, (x, y) = some_weights(network), data(network)
    runs, prior, potentials, log_likelihood = enumerated(network, weights, x, y)
    joint = prior + log_likelihood.sum(axis=0)
    np.testing.assert_allclose(logsumexp(prior), 0, atol=1e-10)
    exact = explicit.log_evidence(network, weights, x[:, 0, 0], y[:, 0, 0])
    np.testing.assert_allclose(logsumexp(joint), exact, rtol=1e-12)
    posterior = np.broadcast_to(softmax(joint), (len(x), 1, len(joint)))
    slope = passes.gradient(network, runs, credit.Credit(posterior, posterior), y, potentials)
    numeric = explicit.differences(lambda moved: explicit.log_evidence(network, moved, x[:, 0, 0], y[:, 0, 0]), weights)
    assert set(slope) == set(numeric)
    for part in slope:
        np.testing.assert_allclose(slope[part], numeric[part], atol=1e-9, err_msg=part)


RULES = {
    "gem": lambda v: credit.gem(v, center=False),
    "centred": lambda v: credit.gem(v, center=True),
    "mb": lambda v: credit.mb(v, None),
    "iw": credit.iw,
}


@pytest.mark.parametrize("rule, kappa, name", list(product(RULES, (0.05, 0.6, 1.0), TINY)))
def test_the_fast_form_is_that_of_explicit_traces(rule, kappa, name):
    network, n_compartments, n_samples, n_steps = TINY[name], 3, 2, 6
    weights, (x, y) = some_weights(network), data(network, 3, n_steps, n_samples)
    rng = np.random.default_rng(4)
    runs = passes.run(network, weights, x, n_steps, n_compartments, lambda place, shape: rng.random(shape))
    potentials = passes.clamped(network, weights, runs.potentials, y)
    v = credit.log_weights(passes.log_likelihood(potentials, y), kappa)
    factors = credit.Credit(*(credit.over_later_steps(part, kappa) for part in RULES[rule](v)))
    slope = passes.gradient(network, runs, factors, y, potentials)
    expected = {name: 0.0 for name in slope}
    for i in range(n_samples):
        compartments = [
            explicit.neurons(network, weights, x[:, i, 0], y[:, i, 0], [h.spikes[:, i, k] for h in runs.hidden])
            for k in range(n_compartments)
        ]
        np.testing.assert_allclose(potentials[:, i, 0], compartments[0][-1][0], atol=1e-12)
        update = explicit.online_update(network, compartments, kappa, RULES[rule])
        expected = {name: expected[name] + update[name] for name in slope}
    for part in slope:
        np.testing.assert_allclose(slope[part], expected[part], atol=1e-10, err_msg=part)


def test_inputs_that_stay_are_those_of_every_step():
    network = SpikingNetwork((3, 4, 2), RaisedCosineFilters(n_filters=3, memory=4), 0, 0.5, True, True, True)
    weights, (x, y) = some_weights(network), data(network, 5, 1, 4)
    draws = np.random.default_rng(0).random((7, 4, 3, 4))
    results = []
    for inputs, target in ((x, y), (np.repeat(x, 7, axis=0), np.repeat(y, 7, axis=0))):
        runs = passes.run(network, weights, inputs, 7, 3, lambda place, shape: draws)
        potentials = passes.clamped(network, weights, runs.potentials, target)
        factors = credit.Credit(draws[..., 0] - 0.5, draws[..., 1])
        results.append({**passes.gradient(network, runs, factors, target, potentials), "potentials": potentials})
    for name, part in results[0].items():
        np.testing.assert_allclose(part, results[1][name], atol=1e-12, err_msg=name)


def test_pulls_are_gradients_in_the_potentials_of_hidden_neurons():
    network = TINY["plain"]
    weights, (x, y) = some_weights(network), data(network)
    runs = passes.run(network, weights, x, N_STEPS, 4, lambda place, shape: np.full(shape, 0.5))
    nothing = credit.Credit(np.zeros((N_STEPS, 1, 4)), np.zeros((N_STEPS, 1, 4)))
    pull = [runs.hidden[0].probability * (1 - runs.hidden[0].probability)]
    slope = passes.gradient(network, runs, nothing, y, runs.potentials, pull)

    def total(moved):
        return passes.run(network, moved, x, N_STEPS, 4, lambda p, s: np.full(s, 0.5)).hidden[0].probability.sum()

    numeric = explicit.differences(total, weights)
    for part in ("weights0", "bias0"):
        np.testing.assert_allclose(slope[part], numeric[part], atol=1e-9)


@pytest.fixture(scope="module")
def seen():
    """A network whose trains are all known: then compartments may be drawn by their numbers."""
    network = SpikingNetwork((2, 3, 2), ExponentialFilter(decay=0.4), 0, 0.3, True, True)
    weights, (x, y) = some_weights(network, 2), data(network)
    return network, weights, x, y, enumerated(network, weights, x, y)


def drawn(seen, n_compartments, n_draws, seed=0):
    """Trains by their numbers, as the prior gives them."""
    _, prior, _, _ = seen[4]
    rng = np.random.default_rng(seed)
    return rng.choice(len(prior), (n_draws, n_compartments), p=np.exp(prior) / np.exp(prior).sum())


def bound(seen, n_compartments):
    whole = seen[4][3].sum(axis=0)[drawn(seen, n_compartments, 20_000)]
    return (logsumexp(whole, axis=1) - np.log(n_compartments)).mean()


def test_the_bound_rises_with_the_compartments_to_the_log_evidence(seen):
    exact = logsumexp(seen[4][1] + seen[4][3].sum(axis=0))
    bounds = [bound(seen, n) for n in (1, 2, 5, 20)]
    assert np.all(np.diff(bounds) > 0)
    assert bounds[-1] < exact + 0.01
    assert exact - bounds[-1] < 0.1 * (exact - bounds[0])


def estimates(seen, n_compartments, rule, n_draws=4000):
    """Of the hidden gradient, each from so many compartments (weights of whole sequences), and the exact one."""
    network, _, x, y, (runs, prior, potentials, log_likelihood) = seen
    whole = log_likelihood.sum(axis=0)
    n_trains = len(whole)
    scores = []
    for k in range(n_trains):
        one = np.zeros((len(x), 1, n_trains))
        one[:, :, k] = 1
        slope = passes.gradient(network, runs, credit.Credit(one, one), y, potentials)
        scores.append(np.concatenate([slope[name].ravel() for name in ("weights0", "bias0", "recurrent0")]))
    scores = np.array(scores)
    chosen = drawn(seen, n_compartments, n_draws)
    factors = rule(whole[chosen]).hidden
    exact = softmax(prior + whole) @ scores
    return np.einsum("dk,dkw->dw", factors, scores[chosen]), exact


def test_bias_falls_as_one_over_the_compartments_and_centring_lowers_the_variance(seen):
    bias = {}
    for n in (4, 16):
        plain, exact = estimates(seen, n, lambda v: credit.gem(v, center=False))
        centred, _ = estimates(seen, n, lambda v: credit.gem(v, center=True))
        bias[n] = np.linalg.norm(centred.mean(axis=0) - exact) / np.linalg.norm(exact)
        assert centred.var(axis=0).sum() < 0.6 * plain.var(axis=0).sum()
        noise = np.sqrt(plain.var(axis=0).sum() / len(plain))
        assert np.linalg.norm(plain.mean(axis=0) - centred.mean(axis=0)) < 4 * noise
    assert 0.15 < bias[16] / bias[4] < 0.45  # 1/4, and what 4000 draws leave of chance
