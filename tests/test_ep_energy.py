"""Energies against the marginal likelihood of linear regression, quadrature and closed forms of KL."""

from dataclasses import replace

import numpy as np
import oracles
import pytest
from families import matrices
from scipy.special import log_expit
from scipy.stats import multivariate_normal
from states import (
    NOISE,
    linear_batch,
    one_layer,
    output_of,
    priors_of,
    random_state,
    with_joint,
    with_layer,
    with_levels,
)

from sk_epsnn.ep.energy import (
    BatchResult,
    data_energy,
    divergence,
    energy,
    log_evidence,
    mean_kl,
    moments_of,
    spread_kl,
)
from sk_epsnn.ep.passes import predict
from sk_epsnn.ep.sites import UpdateCounts
from sk_epsnn.weights import IndependentWeights, JointWeights

FLOAT = np.dtype(float)


def others_of(seed=3):
    """Posteriors of a network of 4, 5 and 2 units."""
    return random_state([4, 5, 2], seed=seed).posteriors


def test_energy_of_the_exact_posterior_is_the_marginal_likelihood():
    """Power 0 and joint weights of a linear model: the variational bound touches ``log p(y)``, to be integrated."""
    n, n_in = 30, 4
    batch = linear_batch(n, n_in, 1, "gaussian")
    state = one_layer(n_in, 1, output_of("gaussian", 1), joint=True, power=0.0, variance=2.0)
    x = batch.inputs.mean
    precision = np.eye(n_in) / 2 + x.T @ x / NOISE
    mean = np.linalg.solve(precision, x.T @ batch.target / NOISE).T
    found = energy(state, batch, [JointWeights(precision[None], mean)], priors_of(state))
    exact = multivariate_normal.logpdf(batch.target[:, 0], np.zeros(n), 2 * x @ x.T + NOISE * np.eye(n))
    assert found == pytest.approx(exact, rel=1e-10)
    # A bound that only the posterior reaches.
    for q in (JointWeights(precision[None], mean + 0.01), JointWeights(1.1 * precision[None], mean)):
        assert energy(state, batch, [q], priors_of(state)) < found - 1e-4


def test_log_evidence_by_quadrature():
    """``E log p(y|u)`` of each row at power 0, times the weight of the row, summed over rows and outputs."""
    batch = replace(linear_batch(6, 4, 2, "sigmoid"), sample_weight=np.linspace(0.5, 2, 6))
    state = random_state([4, 2], power=0.0)
    mean, variance, _ = predict(state, batch.inputs, state.moments(FLOAT))
    expected = sum(
        batch.sample_weight[n]
        * oracles.expectation(lambda u, y=batch.target[n, i]: log_expit(y * u), mean[n, i], variance[n, i])
        for n, i in np.ndindex(6, 2)
    )
    assert log_evidence(state, batch, state.posteriors) == pytest.approx(expected, rel=1e-7)
    assert data_energy(state, batch, predict(state, batch.inputs, state.moments(FLOAT))) == pytest.approx(
        expected, rel=1e-7
    )


def test_log_evidence_is_of_the_given_posteriors():
    batch, state = linear_batch(6, 4, 2, "sigmoid"), random_state([4, 5, 2])
    given = others_of()
    expected = log_evidence(state.with_posteriors(given), batch, given)
    assert log_evidence(state, batch, given) == expected
    assert log_evidence(state, batch, state.posteriors) != expected


@pytest.mark.parametrize("family", [IndependentWeights, JointWeights])
def test_divergence_at_temperature_1_is_kl(family):
    """Against determinants and traces."""
    q, base = (random_state([4, 5, 2], seed=seed) for seed in (0, 3))
    if family is JointWeights:
        q, base = with_joint(q), with_joint(base)
    total = 0.0
    for one, other in zip(q.posteriors, base.posteriors, strict=True):
        for p, b, delta in zip(matrices(one), matrices(other), one.mean - other.mean, strict=True):
            logs = np.linalg.slogdet(p)[1] - np.linalg.slogdet(b)[1]
            total += 0.5 * (np.trace(b @ np.linalg.inv(p)) + delta @ b @ delta - len(p) + logs)
    assert divergence(q, q.posteriors, base.posteriors) == pytest.approx(total, rel=1e-12)
    assert divergence(q, q.posteriors, q.posteriors) == pytest.approx(0, abs=1e-10)


def test_divergence_on_levels_is_kl_at_every_temperature():
    """Level by level, and biases as Gaussians: where the variance follows the mean nothing is left for the spread."""
    levels = (-1.0, 0.0, 1.0)
    q, base = (with_levels(random_state([4, 5, 2]), seed, levels, constant=True) for seed in (1, 2))
    total = 0.0
    for index, (one, other) in enumerate(zip(q.posteriors, base.posteriors, strict=True)):
        for i, j in np.ndindex(one.mean.shape):
            pairs = [(w.precision[i, j], w.shift[i, j]) for w in (one, other)]
            if index == 1 and j == 5:
                total += oracles.gaussian_kl(*((p, s / p)[k] for p, s in pairs for k in (0, 1)))
            else:
                p, b = (oracles.level_law(levels, np.full(3, 1 / 3), *pair).probabilities for pair in pairs)
                total += p @ np.log(p / b)
    for state in (q, q.at_temperatures([0.1] * (len(q.layers) - 1) + [1.0])):
        assert divergence(state, q.posteriors, base.posteriors) == pytest.approx(total, rel=1e-12)
    assert spread_kl(q, q.posteriors, base.posteriors) == 0


def test_temperature_counts_with_the_spread_of_its_layer_only():
    state, others = random_state([4, 5, 2]), others_of()
    each = [
        spread_kl(state.with_layers([a]), [q], [b])
        for a, q, b in zip(state.layers, state.posteriors, others, strict=True)
    ]
    cold = with_layer(with_layer(state, 0, temperature=0.1), 1, temperature=0.5)
    found = spread_kl(cold, cold.posteriors, others)
    assert found == pytest.approx(0.1 * each[0] + 0.5 * each[1], rel=1e-12)
    expected = mean_kl(state.posteriors, others) + found
    assert divergence(cold, cold.posteriors, others) == pytest.approx(expected, rel=1e-12)
    batch = linear_batch(6, 4, 2, "sigmoid")
    apart = log_evidence(cold, batch, cold.posteriors) - expected
    assert energy(cold, batch, cold.posteriors, others) == pytest.approx(apart, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_moments_of_given_posteriors_have_the_temperature_of_the_layer(dtype):
    state = with_layer(random_state([4, 5, 2]), 1, temperature=0.3)
    given = others_of()
    for moments, q, temperature in zip(moments_of(state, given, dtype), given, (1.0, 0.3), strict=True):
        np.testing.assert_array_equal(moments.mean, q.mean.astype(dtype))
        np.testing.assert_allclose(moments.variance, temperature / q.precision, rtol=1e-6)
        assert moments.mean.dtype == moments.variance.dtype == dtype


def test_result_of_a_batch_is_accepted_unless_said_otherwise():
    one, other = BatchResult([], 1.0, -2.0), BatchResult([], 1.0, -2.0)
    assert one.accepted and one.counts == UpdateCounts()
    assert one.counts is not other.counts
