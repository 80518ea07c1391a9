"""An output whose noise depends on the inputs: log Z against quadrature in both units, whole models on known noise."""

import numpy as np
import oracles
import pytest
from numpy.polynomial.hermite_e import hermegauss
from scipy.optimize import minimize
from scipy.stats import norm

from sk_epsnn import EPSNNRegressor, GaussianPrior, Levels, Newton, PopulationEncoder
from sk_epsnn.messages import Derivatives, Spread
from sk_epsnn.outputs import GaussianOutput
from sk_epsnn.outputs.heteroscedastic import FISHER, HeteroscedasticOutput

POWERS = pytest.mark.parametrize("power", [0.0, 0.1, 0.5, 1.0])
#: M1, S1, M2, S2, y, v: near and far from the target, known and unknown noise, an outlier.
CASES = [
    (0.2, 0.3, -0.5, 0.4, 1.1, 0.6),
    (-1.0, 0.02, 0.3, 0.1, -0.9, 1.0),
    (0.0, 1.5, -2.0, 1.5, 0.4, 2.0),
    (0.5, 0.1, 0.0, 1.0, 4.0, 0.3),
]


def evidence(case, power, dtype=np.float64, varies=True):
    m1, s1, m2, s2, y, v = (np.array([[number]], dtype) for number in case)
    output = HeteroscedasticOutput(v[0].astype(float), varies)
    return output.evidence(np.hstack([m1, m2]), np.hstack([s1, s2]), y, power)


def log_density(y, u1, u2, v):
    return norm.logpdf(y, u1, np.sqrt(v * np.exp(u2)))


def exact(case, power):
    """``(1/alpha) log E N(y; u1, v exp(u2))**alpha`` by quadrature over both units, ``u1`` on panels."""
    m1, s1, m2, s2, y, v = case
    # Where the noise is much smaller than this its logarithm is improbable.
    width = min(np.sqrt(s1), 2 * np.sqrt(v * np.exp(m2 - 3 * np.sqrt(s2))))
    u1, w1 = oracles.panels(m1 - 9 * np.sqrt(s1), m1 + 9 * np.sqrt(s1), width)
    w1 = w1 * norm.pdf(u1, m1, np.sqrt(s1))
    u2, w2 = oracles.gaussian_rule(m2, s2)
    values = log_density(y, u1[:, None], u2, v)
    weight = w1[:, None] * w2
    if power == 0:
        return (weight * values).sum()
    return np.log((weight * np.exp(power * values)).sum()) / power


@POWERS
@pytest.mark.parametrize("case", CASES)
def test_log_partition_is_the_integral_over_both_units(case, power):
    log_z, _ = evidence(case, power)
    assert float(log_z[0, 0]) == pytest.approx(exact(case, power), rel=1e-5, abs=1e-5)


@POWERS
@pytest.mark.parametrize("case", [CASES[0], CASES[3]])
def test_messages_are_derivatives_of_the_integral(case, power):
    m1, s1, m2, s2, *rest = case
    of_mean = oracles.derivatives(lambda m, s: exact((m, s, m2, s2, *rest), power), m1, s1)
    of_noise = oracles.derivatives(lambda m, s: exact((m1, s1, m, s, *rest), power), m2, s2)
    _, message = evidence(case, power)
    for part, first, second in zip(message, of_mean, of_noise, strict=True):
        np.testing.assert_allclose(part[0], [first, second], rtol=1e-4, atol=1e-5)


@POWERS
@pytest.mark.parametrize("case", CASES)
def test_messages_follow_the_heat_equation(case, power):
    _, (g, gamma, kappa) = evidence(case, power)
    np.testing.assert_allclose(gamma - power * g * g, kappa, rtol=1e-12, atol=1e-13)


@POWERS
def test_known_log_noise_is_a_gaussian_output(power):
    m1, s1, m2, _, y, v = CASES[0]
    log_z, message = evidence((m1, s1, m2, 1e-12, y, v), power)
    column = [np.array([[number]]) for number in (m1, s1, y)]
    expected, known = GaussianOutput(np.array([v * np.exp(m2)])).evidence(*column, power)
    np.testing.assert_allclose(log_z, expected, rtol=1e-9)
    for part, other in zip(message, known, strict=True):
        np.testing.assert_allclose(part[:, :1], other, rtol=1e-9)


def test_power_is_continuous_at_zero():
    for case in CASES:
        (a, down), (b, near) = evidence(case, 0.0), evidence(case, 1e-6)
        np.testing.assert_allclose(a, b, rtol=1e-4)
        for part, other in zip(down, near, strict=True):
            np.testing.assert_allclose(part, other, rtol=1e-3, atol=1e-3)


def test_predictive_density_is_normalised():
    m1, s1, m2, s2, _, v = CASES[2]
    y, w = oracles.panels(-200, 200, 0.1)
    mean, variance = (np.tile(pair, (len(y), 1)) for pair in ([m1, m2], [s1, s2]))
    output = HeteroscedasticOutput(np.array([v]), True)
    density = np.exp(output.log_partition(mean, variance, y[:, None], 1.0)[:, 0])
    assert w @ density == pytest.approx(1, abs=1e-6)
    assert w @ (density * (y - m1) ** 2) == pytest.approx(s1 + v * np.exp(m2 + s2 / 2), rel=1e-5)


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_constant_noise_is_a_gaussian_output_and_says_nothing_to_the_second_units(power):
    rng = np.random.default_rng(0)
    mean, variance, target = rng.normal(size=(5, 4)), rng.uniform(0.1, 1, (5, 4)), rng.normal(size=(5, 2))
    noise = np.array([0.3, 2.0])
    log_z, message = HeteroscedasticOutput(noise).evidence(mean, variance, target, power)
    expected, known = GaussianOutput(noise).evidence(mean[:, :2], variance[:, :2], target, power)
    np.testing.assert_array_equal(log_z, expected)
    for part, other in zip(message, known, strict=True):
        np.testing.assert_array_equal(part, np.hstack([other, np.zeros((5, 2))]))


def test_targets_are_free_of_each_other():
    """The units of all means come first, then those of all noises."""
    pairs = [CASES[0], CASES[3]]
    mean = np.array([[c[0] for c in pairs] + [c[2] for c in pairs]])
    variance = np.array([[c[1] for c in pairs] + [c[3] for c in pairs]])
    output = HeteroscedasticOutput(np.array([c[5] for c in pairs]), True)
    for power in (0.0, 1.0):
        log_z, message = output.evidence(mean, variance, np.array([[c[4] for c in pairs]]), power)
        alone = [evidence(case, power) for case in pairs]
        np.testing.assert_allclose(log_z[0], [a[0][0, 0] for a in alone], rtol=1e-9)
        for k, part in enumerate(message):
            expected = [a[1][k][0, unit] for unit in (0, 1) for a in alone]
            np.testing.assert_allclose(part[0], expected, rtol=1e-6, atol=1e-9)


@POWERS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extremes_stay_finite(power, dtype):
    for case in ((0, 1e-7, 0, 400.0, 1e3, 1e-3), (1e3, 1e-7, -60, 1e-7, 0, 1.0), (0, 1e6, 60, 9.0, 0, 1e3)):
        log_z, message = evidence(case, power, dtype)
        for part in (log_z, *message):
            assert part.dtype == dtype and np.isfinite(part).all(), case


def test_float32():
    for case in CASES:
        for power in (0.0, 0.5, 1.0):
            (a, single), (b, double) = evidence(case, power, np.float32), evidence(case, power)
            for part, other in zip((a, *single), (b, *double), strict=True):
                np.testing.assert_allclose(part, other, rtol=2e-4, atol=2e-4)


def test_expected_noise_and_factors():
    output = HeteroscedasticOutput(np.array([0.5]), True)
    spread = Spread(np.array([[1.0, -0.7]]), np.array([[0.2, 0.3]]), np.array([[0.1, 0.5]]))
    nodes, weights = hermegauss(60)
    expected = 0.5 * (weights / weights.sum()) @ np.exp(-0.7 + np.sqrt(0.8) * nodes)
    np.testing.assert_allclose(output.noise(spread), [[expected]], rtol=1e-10)
    assert [part.tolist() for part in output.predicted(spread)] == [[[1.0]], [[0.2]], [[0.1]]]
    widened = output.with_factors(np.array([[3.0], [2.0]]))
    np.testing.assert_allclose(widened.noise(spread), [[2 * expected]], rtol=1e-10)
    np.testing.assert_allclose(np.ravel(widened.predicted(spread)), [1.0, 0.6, 0.3], rtol=1e-14)
    constant = HeteroscedasticOutput(np.array([0.5]))
    np.testing.assert_array_equal(constant.noise(spread), [0.5])


@POWERS
def test_log_partition_is_that_of_the_evidence(power):
    for case in CASES:
        m1, s1, m2, s2, y, v = case
        output = HeteroscedasticOutput(np.array([v]), True)
        alone = output.log_partition(np.array([[m1, m2]]), np.array([[s1, s2]]), np.array([[y]]), power)
        np.testing.assert_allclose(alone, evidence(case, power)[0], rtol=1e-13)


def test_newton_steps_of_a_noise_that_is_too_high_are_bounded():
    message = Derivatives(np.array([[1.0, -0.5]]), np.array([[-2.0, 1e-9]]), np.array([[3.0, 1e-9]]))
    output = HeteroscedasticOutput(np.ones(1), True)
    np.testing.assert_array_equal(output.step_curvature(message), [[0.0, FISHER]])
    np.testing.assert_array_equal(HeteroscedasticOutput(np.ones(1)).step_curvature(message), [[0.0, 1e-9]])


def test_fisher_information_of_a_log_variance():
    """The average of the curvature over targets of the noise itself."""
    nodes, weights = hermegauss(40)
    target = nodes[:, None]
    mean, variance = np.zeros((40, 2)), np.full((40, 2), 1e-9)
    _, message = HeteroscedasticOutput(np.ones(1), True).evidence(mean, variance, target, 0.0)
    assert (weights / weights.sum()) @ message.gamma[:, 1] == pytest.approx(FISHER, rel=1e-6)


# Whole models


def step_rows(n, seed=0):
    """A noise that is larger by 20 from the middle on; the part of the rows where it is small."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 4, (n, 1))
    quiet = x[:, 0] < 2
    y = np.sin(2 * x[:, 0]) + np.where(quiet, 0.02, 0.42) * rng.standard_normal(n)
    return x, y, quiet


def rates(x):
    return PopulationEncoder(output="rates", n_neurons=25, feature_range=(0.0, 4.0)).fit_transform(x)


def regressor(*args, **options):
    return EPSNNRegressor(*args, noise_variance="heteroscedastic", random_state=0, **options)


def loss_and_coverage(model, X, y, *parts):
    """Mean negative log of the normal density, and the share of each part of the rows within 1.96 deviations."""
    mean, sd = model.predict(X, return_std=True)
    hit = np.abs(y - mean) < 1.96 * sd
    return -norm.logpdf(y, mean, sd).mean(), *(hit[part].mean() for part in parts)


@pytest.fixture(scope="module")
def step():
    x, y, quiet = step_rows(1400)
    X = rates(x)
    return X[:400], y[:400], X[400:], y[400:], quiet[400:]


@pytest.fixture(scope="module")
def fitted(step):
    return regressor().fit(*step[:2])


def lower_bound(parameters, A, y, noise, precisions):
    """``sum E log N(y; a u, noise exp(a w)) - KL`` of two Gaussians given by means and roots of covariances."""
    d = A.shape[1]
    total = 0.0
    moments = []
    for k, precision in enumerate(precisions):
        mean, rest = parameters[k * d : (k + 1) * d], parameters[2 * d + k * d * (d + 1) // 2 :][: d * (d + 1) // 2]
        root = np.zeros((d, d))
        root[np.tril_indices(d)] = rest
        covariance = root @ root.T
        moments.append((A @ mean, ((A @ root) ** 2).sum(1)))
        total -= 0.5 * (mean @ (precision * mean) + precision @ np.diag(covariance))
        total += np.log(np.abs(np.diag(root))).sum()
    (m1, s1), (m2, s2) = moments
    return total - 0.5 * (m2 + ((y - m1) ** 2 + s1) * np.exp(s2 / 2 - m2) / noise).sum()


def test_one_layer_is_the_best_pair_of_gaussians():
    """At power 0 the posterior maximises a lower bound of the evidence, which a general optimiser finds too."""
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (60, 1))
    y = 0.5 + x[:, 0] + np.exp(-1 + x[:, 0]) * rng.standard_normal(60)
    model = regressor(prior=GaussianPrior(variance=2.0), inference=Newton(n_sweeps=200), tol=1e-9).fit(x, y)
    state = model._progress.state
    A = state.network.enter(x).mean
    d = A.shape[1]
    prior = state.layers[0].prior.precision
    precisions = [np.diag(matrix) for matrix in prior]
    roots = [np.eye(d)[np.tril_indices(d)] * 0.3] * 2
    start = np.concatenate([np.zeros(2 * d), *roots])
    noise = float(state.network.output.noise_variance[0])
    best = minimize(lambda p: -lower_bound(p, A, y, noise, precisions), start, method="BFGS", options={"gtol": 1e-7})
    np.testing.assert_allclose(state.posteriors[0].mean.ravel(), best.x[: 2 * d], rtol=2e-3, atol=2e-3)
    for k in (0, 1):
        root = np.zeros((d, d))
        root[np.tril_indices(d)] = best.x[2 * d + k * d * (d + 1) // 2 :][: d * (d + 1) // 2]
        covariance = np.linalg.inv(state.posteriors[0].precision[k])
        np.testing.assert_allclose(covariance, root @ root.T, rtol=0.01, atol=1e-4)


def test_intervals_hold_where_the_noise_is_small_and_where_it_is_large():
    losses, covered = [], []
    for seed in range(4):
        x, y, quiet = step_rows(1400, seed)
        X, rest = rates(x), slice(400, None)
        models = [kind.fit(X[:400], y[:400]) for kind in (regressor(), EPSNNRegressor(random_state=0))]
        (loss, *hits), (constant, *_) = (
            loss_and_coverage(m, X[rest], y[rest], quiet[rest], ~quiet[rest]) for m in models
        )
        losses.append((loss, constant))
        covered.append(hits)
    best = -0.5 * np.log(2 * np.pi * np.e) - 0.5 * np.log(0.02 * 0.42)
    assert ((np.mean(covered, axis=0) > 0.92) & (np.mean(covered, axis=0) < 0.975)).all(), covered
    ours, constant = np.mean(losses, axis=0)
    assert ours < constant - 0.9
    assert ours < -best + 0.25


def test_a_constant_noise_costs_little():
    """And is found: the noise that is learned hardly varies."""
    losses = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        x = rng.uniform(0, 4, (1400, 1))
        y = np.sin(2 * x[:, 0]) + 0.2 * rng.standard_normal(1400)
        X = rates(x)
        models = [model.fit(X[:400], y[:400]) for model in (regressor(), EPSNNRegressor(random_state=0))]
        losses.append([loss_and_coverage(model, X[400:], y[400:])[0] for model in models])
        noise = models[0].predict_uncertainty(X[400:]).aleatoric
        assert 0.7 < np.sqrt(noise.mean()) / 0.2 < 1.3
        assert np.log(noise).std() < 0.4
    ours, constant = np.mean(losses, axis=0)
    assert ours < constant + 0.02


@pytest.mark.parametrize(
    "options",
    [
        {"inference": Newton(power=1.0)},
        {"inference": "stochastic"},
        {"prior": "laplace"},
        {"prior": GaussianPrior(variance=1.0)},
        {"fit_intercept": False},
        {"n_shards": 3},
        {"shuffle": False, "batch_size": 100},
        {"weights": Levels((-1.0, -0.5, 0.0, 0.5, 1.0))},
    ],
    ids=str,
)
def test_every_way_to_train_finds_the_two_noises(step, options):
    X, y, X_test, y_test, quiet = step
    loss, *hits = loss_and_coverage(regressor(**options).fit(X, y), X_test, y_test, quiet, ~quiet)
    # Means on levels are coarse beside the smaller noise; a constant noise has a loss of 0.2 without levels.
    assert loss < (0 if "weights" in options else -0.7)
    assert all(0.9 < hit < 1 for hit in hits)


def test_streams_find_the_two_noises(step):
    X, y, X_test, y_test, quiet = step
    model = regressor()
    for begin in range(0, len(X), 50):
        model.partial_fit(X[begin : begin + 50], y[begin : begin + 50])
    loss, *hits = loss_and_coverage(model, X_test, y_test, quiet, ~quiet)
    assert loss < -0.7 and all(0.9 < hit < 0.99 for hit in hits)


@pytest.mark.parametrize("inference", ["newton", "stochastic"])
def test_hidden_layers_find_the_two_noises(step, inference):
    X, y, X_test, y_test, quiet = step
    model = regressor(20, inference=inference).fit(X, y)
    constant = EPSNNRegressor(20, inference=inference, random_state=0).fit(X, y)
    (loss, *hits), (other, *_) = (loss_and_coverage(m, X_test, y_test, quiet, ~quiet) for m in (model, constant))
    assert loss < other - 0.2
    assert hits[1] > 0.88
    noise = model.predict_uncertainty(X_test).aleatoric
    assert noise[~quiet].mean() > 10 * noise[quiet].mean()
    assert len(model.history_["held_out"]) == len(model.history_["temperature"])


def test_unit_of_the_target_does_not_matter(step, fitted):
    X, y, X_test = step[:3]
    mean, sd = regressor().fit(X, 5e4 + 1e3 * y).predict(X_test, return_std=True)
    expected, deviation = fitted.predict(X_test, return_std=True)
    np.testing.assert_allclose(mean, 5e4 + 1e3 * expected, rtol=1e-6)
    np.testing.assert_allclose(sd, 1e3 * deviation, rtol=1e-4)


def test_a_row_of_weight_two_is_the_row_twice(step):
    X, y, X_test = step[:3]
    weight = np.where(np.arange(len(y)) < 100, 2.0, 1.0)
    weighted = regressor().fit(X, y, sample_weight=weight).predict(X_test, return_std=True)
    twice = regressor().fit(np.vstack([X[:100], X]), np.append(y[:100], y)).predict(X_test, return_std=True)
    np.testing.assert_allclose(weighted, twice, rtol=1e-4, atol=1e-5)


def test_outputs_have_noises_of_their_own(step, fitted):
    X, y, X_test, _, quiet = step
    other = np.cos(np.arange(len(y))) * 0.1
    model = regressor().fit(X, np.column_stack([other, y]))
    assert model.n_outputs_ == 2 and model.coefs_[-1].shape == (X.shape[1], 2)
    mean, sd = model.predict(X_test, return_std=True)
    expected, deviation = fitted.predict(X_test, return_std=True)
    np.testing.assert_allclose(mean[:, 1], expected, atol=0.02)
    np.testing.assert_allclose(np.log(sd[:, 1] / deviation), 0, atol=0.1)
    assert sd[quiet, 0].mean() == pytest.approx(sd[~quiet, 0].mean(), rel=0.3)
    assert all(part.shape == (len(X_test), 2) for part in model.predict_uncertainty(X_test))


def test_uncertainty_is_that_of_networks_drawn_from_the_posterior(step, fitted):
    """The law of total variance: means of known networks vary by the epistemic part, and their noise is the rest."""
    X_test = step[2][:50]
    draws = [fitted.freeze("sample", random_state=seed) for seed in range(1000)]
    means = np.array([draw.predict(X_test) for draw in draws])
    noises = np.array([draw.predict_uncertainty(X_test).total for draw in draws])
    total, aleatoric, epistemic = fitted.predict_uncertainty(X_test)
    np.testing.assert_allclose(epistemic, means.var(axis=0), rtol=0.25)
    np.testing.assert_allclose(aleatoric, noises.mean(axis=0), rtol=0.15)
    np.testing.assert_allclose(total, aleatoric + epistemic, rtol=1e-12)
    np.testing.assert_allclose(fitted.predict(X_test, return_std=True)[1] ** 2, total, rtol=1e-12)


@pytest.mark.parametrize("hidden", [(), 5])
def test_attributes_say_the_mean_and_the_log_noise(step, hidden):
    X, y, X_test = step[:3]
    model = regressor(hidden).fit(X, y)
    assert model.n_outputs_ == 1
    assert model.coefs_[-1].shape == model.log_noise_coefs_.shape == model.coefs_variance_[-1].shape
    assert model.intercepts_[-1].shape == model.log_noise_intercepts_.shape == (1,)
    with pytest.raises(AttributeError, match="noise_variance_ exists where the noise is constant .* log_noise_coefs_"):
        model.noise_variance_  # noqa: B018
    assert all(part.shape == (len(X_test), 1) for part in model.predict_potentials(X_test))
    if hidden:
        return
    np.testing.assert_allclose(model.predict(X_test), X_test @ model.coef_ + model.intercept_, rtol=1e-9)
    known = model.freeze("mean").predict_uncertainty(X_test).aleatoric
    log_noise = X_test @ model.log_noise_coefs_ + model.log_noise_intercepts_
    np.testing.assert_allclose(np.log(known), log_noise[:, 0], rtol=1e-6)


def test_log_noise_is_that_of_a_noise_that_varies(step):
    constant = EPSNNRegressor().fit(*step[:2])
    for name in ("log_noise_coefs_", "log_noise_intercepts_"):
        with pytest.raises(AttributeError, match=f"{name} exists .* set noise_variance='heteroscedastic'"):
            getattr(constant, name)


def test_warm_start_goes_on_from_where_it_was(step):
    X, y, X_test = step[:3]
    model = regressor(warm_start=True).fit(X, y)
    before = model.predict(X_test, return_std=True)
    after = model.fit(X, y).predict(X_test, return_std=True)
    np.testing.assert_allclose(before, after, rtol=0.02, atol=0.01)


def test_iterations_that_are_not_checked_are_refused(step):
    with pytest.raises(ValueError, match="'heteroscedastic' needs .*'average_ep'.* set inference='newton' or"):
        regressor(inference="average_ep").fit(*step[:2])


def test_prior_of_each_unit_is_the_one_that_makes_the_rows_most_probable(fitted):
    """Where the bound is stationary in a common factor on prior variances, ``sum (m^2 + s) / variance`` counts them."""
    state = fitted._progress.state
    prior, posterior = state.layers[0].prior, state.layers[0].posterior
    for unit in (0, 1):
        variance = 1 / np.diag(prior.precision[unit])[:-1]
        second = (posterior.mean[unit] ** 2 + np.diag(np.linalg.inv(posterior.precision[unit])))[:-1]
        assert (second / variance).sum() == pytest.approx(len(variance), abs=0.1)


def test_relevance_of_inputs_to_the_mean_and_to_the_noise_is_learned_apart():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 12))
    y = X[:, 0] + 0.2 * np.exp(X[:, 1]) * rng.standard_normal(400)
    model = regressor(prior="ard").fit(X, y)
    means, log_noises = np.abs(model.coefs_[0][:, 0]), np.abs(model.log_noise_coefs_[:, 0])
    assert means[0] == pytest.approx(1, abs=0.05) and means[1:].max() < 0.02
    assert log_noises[1] == pytest.approx(2, abs=0.25) and np.delete(log_noises, 1).max() < 0.2


@pytest.mark.parametrize("spread", [1.5, 4.0])
def test_rows_far_from_the_others_do_no_harm(spread):
    rng = np.random.default_rng(0)
    X = rng.lognormal(0, spread, (300, 3))
    y = np.log(X[:, 0]) + rng.standard_normal(300)
    mean, sd = regressor().fit(X, y).predict(X, return_std=True)
    assert np.isfinite(mean).all() and np.isfinite(sd).all()


def test_more_columns_than_joint_weights_are_for():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1600, 3))
    y = np.sin(x[:, 0]) + 0.3 * np.exp(x[:, 1]) * rng.standard_normal(1600)
    X = PopulationEncoder(output="rates", n_neurons=100).fit_transform(x)
    quiet = x[600:, 1] < 0
    model = regressor().fit(X[:600], y[:600])
    assert model._progress.state.posteriors[0].precision.ndim == 2
    loss, *hits = loss_and_coverage(model, X[600:], y[600:], quiet, ~quiet)
    best = norm.logpdf(y[600:], np.sin(x[600:, 0]), 0.3 * np.exp(x[600:, 1])).mean()
    assert loss < -best + 0.2
    assert all(0.91 < hit < 0.98 for hit in hits)


def test_hidden_layers_keep_a_noise_constant_that_held_out_rows_find_so():
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 4, (1500, 1))
    y = np.sin(2 * x[:, 0]) + 0.2 * rng.standard_normal(1500)
    X = rates(x)
    model = regressor(20).fit(X, y)
    *constant, varying = model.history_["held_out"]
    assert varying < max(constant)
    assert np.sqrt(model.noise_variance_) == pytest.approx(0.2, rel=0.2)
    np.testing.assert_array_equal(model.log_noise_coefs_, 0)
    np.testing.assert_allclose(np.log(model.noise_variance_), model.log_noise_intercepts_, rtol=1e-12)


@pytest.mark.parametrize("hidden", [(), 3])
@pytest.mark.parametrize("max_iter", [1, 2, 3])
def test_passes_are_as_many_as_are_allowed(hidden, max_iter):
    """Those with a constant noise among them; callbacks count them all."""
    X, y = np.random.default_rng(0).standard_normal((2, 60, 2))
    model = EPSNNRegressor(hidden, noise_variance="heteroscedastic", max_iter=max_iter, random_state=0)
    assert model.fit(X, y[:, 0]).n_iter_ <= max_iter
