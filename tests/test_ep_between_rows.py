"""What rows that share weights have in common: against bivariate normal laws, matrices written out, and Monte Carlo."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from sk_epsnn import LIF, EPSNNClassifier, EPSNNRegressor, SigmoidLIF
from sk_epsnn.connections import Filter, Readout
from sk_epsnn.ep.between_rows import BetweenRows, SharedRows
from sk_epsnn.messages import Inputs, Potentials, WeightMoments, observed
from sk_epsnn.neurons import Heaviside, Sigmoid

N_STEPS, N_UNITS, N_IN = 5, 3, 2
CONNECTIONS = {
    "mean": Readout(1, N_UNITS),
    "parts": Readout(1, N_UNITS, kind=2),
    "last": Readout(1, N_UNITS, kind="last", leak=0.7),
    "filter": Filter(1, N_UNITS, leak=0.6),
}
EVERY = pytest.mark.parametrize("connection", CONNECTIONS.values(), ids=CONNECTIONS)


def weights_of(rng, size, joint=False):
    mean = rng.normal(size=(N_UNITS, N_IN))
    root = np.sqrt(size) * rng.normal(size=(N_UNITS, N_IN, N_IN))
    covariance = root @ root.transpose(0, 2, 1) + 0.1 * size * np.eye(N_IN)
    if joint:
        return WeightMoments(mean, np.einsum("ijj->ij", covariance), covariance)
    return WeightMoments(mean, np.einsum("ijj->ij", covariance), None)


def covariances(weights):
    """Matrix of every unit."""
    if weights.covariance is not None:
        return weights.covariance
    return np.stack([np.diag(row) for row in weights.variance])


def shared(rng, connection, weights, neuron, n_samples=4, variance=None):
    """Rows of neurons that read known inputs, with their moments."""
    x = rng.normal(size=(n_samples * N_STEPS, N_IN))
    mean = x @ weights.mean.T
    from_weights = np.einsum("nj,ijk,nk->ni", x, covariances(weights), x)
    moments = neuron.forward(mean, from_weights)
    rows = SharedRows(
        connection,
        observed(x),
        Potentials(mean, from_weights, from_weights),
        moments.first,
        N_STEPS,
        neuron.threshold_noise,
    )
    return rows, moments.probability


@EVERY
@pytest.mark.parametrize("joint", [False, True], ids=["independent", "joint"])
@pytest.mark.parametrize("size", [0.05, 1.0])
def test_variance_of_thresholds_against_bivariate_normal_laws(connection, joint, size):
    """Of sums of spikes of one neuron: ``sum K K' P(both fire) - P P'`` over pairs of rows."""
    rng = np.random.default_rng(0)
    weights = weights_of(rng, size, joint)
    rows, probability = shared(rng, connection, weights, Heaviside())
    p = probability.reshape(4, -1)
    found = connection.gather_variance(p - p * p) + rows.variance(weights)
    found = found.reshape(4, -1, connection.n_columns(N_STEPS * N_UNITS))
    x, eye = rows.below.mean.reshape(4, N_STEPS, N_IN), np.eye(N_STEPS * N_UNITS)
    taps = np.stack([connection.gather(row[None]) for row in eye]).reshape(N_STEPS, N_UNITS, *found.shape[1:])
    exact = np.zeros_like(found)
    for n in range(4):
        for i in range(N_UNITS):
            mean, covariance = x[n] @ weights.mean[i], x[n] @ covariances(weights)[i] @ x[n].T
            both = np.diag(p[n].reshape(N_STEPS, N_UNITS)[:, i])
            for t in range(N_STEPS):
                for s in range(t):
                    pair = covariance[np.ix_([t, s], [t, s])] + 1e-12 * np.eye(2)
                    both[t, s] = both[s, t] = multivariate_normal(mean[[t, s]], pair).cdf([0, 0])
            fires = p[n].reshape(N_STEPS, N_UNITS)[:, i]
            below = 1 - fires
            np.fill_diagonal(both, below)
            exact[n] += np.einsum("tre,ts,sre->re", taps[:, i], both - np.outer(below, below), taps[:, i])
    assert np.median(found / exact) == pytest.approx(1, abs=0.08)
    wrong = np.abs(found - exact)[exact > 1e-3 * exact.max()] / np.sqrt(exact[exact > 1e-3 * exact.max()] * exact.max())
    assert np.quantile(wrong, 0.9) < 0.2


@EVERY
def test_first_order_for_neurons_without_a_threshold(connection):
    """Small variances: the covariance of two spikes is that of their potentials times both slopes."""
    rng = np.random.default_rng(1)
    weights = weights_of(rng, 1e-4)
    rows, probability = shared(rng, connection, weights, Sigmoid())
    x = rows.below.mean.reshape(4, N_STEPS, N_IN)
    draws = weights.mean + np.sqrt(weights.variance) * rng.standard_normal((100_000, N_UNITS, N_IN))
    spikes = 1 / (1 + np.exp(-np.einsum("ntj,dij->dnti", x[:1], draws)))
    gathered = connection.gather(spikes.reshape(len(draws), -1)).reshape(len(draws), -1)
    own = connection.gather_variance(np.var(spikes, axis=0).reshape(1, -1)).ravel()
    found = rows.variance(weights).reshape(4, -1)[0]
    np.testing.assert_allclose(found, gathered.var(0) - own, atol=0.03 * gathered.var(0).max())


@pytest.mark.parametrize("neuron", [Heaviside(), Sigmoid()], ids=["threshold", "sigmoid"])
def test_one_row_has_nothing_in_common(neuron):
    rng = np.random.default_rng(2)
    weights, x = weights_of(rng, 1.0), rng.normal(size=(6, N_IN))
    variance = x**2 @ weights.variance.T
    moments = neuron.forward(x @ weights.mean.T, variance)
    below = Inputs(x, rng.uniform(size=x.shape))
    potentials = Potentials(x @ weights.mean.T, variance, variance)
    rows = SharedRows(Readout(1, N_UNITS), below, potentials, moments.first, 1, neuron.threshold_noise)
    np.testing.assert_allclose(rows.variance(weights), 0, atol=1e-14)
    between = BetweenRows(rows, np.ones((6, N_UNITS)), np.ones((6, N_UNITS)))
    np.testing.assert_allclose(between.site(joint=False), 0, atol=1e-13)
    np.testing.assert_allclose(between.site(joint=True), 0, atol=1e-13)


@EVERY
def test_site_is_the_derivative_in_the_variances_of_the_weights(connection):
    rng = np.random.default_rng(3)
    weights = weights_of(rng, 1.0)
    rows, _ = shared(rng, connection, weights, Sigmoid())
    cost = rng.uniform(size=rows.variance(weights).shape)
    site = BetweenRows(rows, cost, cost).site(joint=False)

    def total(variance):
        x = rows.below.mean
        potentials = Potentials(x @ weights.mean.T, x**2 @ variance.T, x**2 @ variance.T)
        there = SharedRows(connection, rows.below, potentials, rows.slopes, N_STEPS, threshold_noise=1e9)
        return (cost * there.variance(weights._replace(variance=variance))).sum()

    for i in range(N_UNITS):
        for j in range(N_IN):
            step = np.zeros((N_UNITS, N_IN))
            step[i, j] = 0.5
            # Linear in the variances.
            expected = total(weights.variance + step) - total(weights.variance - step)
            np.testing.assert_allclose(site[i, j], expected, rtol=1e-6)


@EVERY
def test_curvatures_are_those_of_one_matrix(connection):
    """The image of a move, the matrices of the units, their diagonals and their sum."""
    rng = np.random.default_rng(4)
    rows, _ = shared(rng, connection, weights_of(rng, 1.0), Sigmoid())
    cost = rng.uniform(size=(rows.variance(weights_of(rng, 1.0))).shape)
    matrices, delta = rows.curvature(cost, joint=True), rng.normal(size=(N_UNITS, N_IN))
    x = rows.below.mean
    bent = rows.image(x @ delta.T, cost).T @ x
    np.testing.assert_allclose(np.einsum("ijk,ik->ij", matrices, delta), bent, rtol=1e-9)
    np.testing.assert_allclose(rows.curvature(cost, joint=False), np.einsum("ijj->ij", matrices), rtol=1e-9)
    total, of_units = rows.second_moment(cost)
    np.testing.assert_allclose(total, matrices.sum(0), rtol=1e-9)
    # With inputs of 1 the derivative in a weight is that in the potential.
    ones = SharedRows(connection, observed(np.ones_like(x)), rows.potentials, rows.slopes, N_STEPS, threshold_noise=1e9)
    np.testing.assert_allclose(of_units, ones.curvature(cost, joint=False)[:, 0], rtol=1e-9)


def test_joint_sites_are_no_negative_precision():
    rng = np.random.default_rng(5)
    rows, _ = shared(rng, CONNECTIONS["parts"], weights_of(rng, 1.0, True), Heaviside())
    cost = rng.uniform(size=(4, 2 * N_UNITS))
    site = BetweenRows(rows, cost, cost).site(joint=True)
    assert (np.linalg.eigvalsh(site) > -1e-12).all()


def pulses(n_samples, seed, n_steps=12):
    """Which of two groups of channels has a pulse first."""
    rng = np.random.default_rng(seed)
    X = (rng.random((n_samples, n_steps, 4)) < 0.05).astype(float)
    y, rows = rng.integers(0, 2, n_samples), np.arange(n_samples)
    times = np.sort([rng.choice(n_steps, 2, replace=False) for _ in rows], axis=1)
    for k in range(2):
        X[rows, times[:, 0], 2 * y + k] = 1
        X[rows, times[:, 1], 2 * (1 - y) + k] = 1
    return X, y


@pytest.mark.parametrize(
    ("activation", "inference"),
    [(LIF(0.8), "stochastic"), (LIF(0.8), "newton"), (LIF(0.8, readout=3), "newton"), (SigmoidLIF(0.8), "stochastic")],
    ids=["lif, stochastic", "lif, newton", "parts, newton", "sigmoid, stochastic"],
)
def test_predictive_variance_is_that_of_networks_drawn_from_the_posterior(activation, inference):
    X, y = pulses(300, 0)
    model = EPSNNClassifier(12, activation=activation, inference=inference, max_iter=4, random_state=0).fit(X, y)
    found = model.predict_potentials(X[:40])
    drawn = [model.freeze("sample", random_state=seed).predict_potentials(X[:40]) for seed in range(400)]
    means, variances = (np.stack(part) for part in zip(*drawn, strict=True))
    exact = means.var(0) + variances.mean(0)
    assert np.median(found.variance / exact) == pytest.approx(1, abs=0.12)
    assert np.sqrt(np.mean((found.mean - means.mean(0)) ** 2 / exact)) < 0.25


def test_regressors_learn_what_a_trace_remembers():
    rng = np.random.default_rng(6)
    X = rng.normal(size=(400, 10, 2))
    y = np.tanh(X[:, :5, 0].mean(1) * 3) - X[:, 5:, 1].mean(1)
    model = EPSNNRegressor(20, activation=LIF(0.5, readout=2), random_state=0).fit(X[:300], y[:300])
    assert model.score(X[300:], y[300:]) > 0.6
