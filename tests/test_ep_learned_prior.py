"""Variances by evidence: against the evidence itself, by quadrature-free algebra, on linear models."""

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar
from scipy.stats import multivariate_normal
from states import one_layer, with_layer

from sk_epsnn import ARDPrior, BernoulliGaussianPrior, EPSNNClassifier, EPSNNRegressor, GaussianPrior
from sk_epsnn.ep.evidence import Evidence
from sk_epsnn.ep.learned_prior import LAYER_MASS, LearnedVariance
from sk_epsnn.outputs import GaussianOutput

N, P = 80, 6


def problem(seed=0, noise=0.5, relevant=P):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N, P))
    w = np.where(np.arange(P) < relevant, 2.0 * rng.standard_normal(P), 0.0)
    return X, X @ w + noise * rng.standard_normal(N)


def layer_of(X, y, noise, each, joint):
    """A layer that knows rows of a linear model without a bias, its prior that of unit variances."""
    state = one_layer(P, 1, GaussianOutput(np.array([noise])), joint=joint)
    gram = X.T @ X / noise
    if not joint:
        gram = np.diag(gram)
    unit = np.ones((1, state.layers[0].prior.mean.shape[1]))
    learned = LearnedVariance(unit, unit, False, each)
    state = with_layer(state, 0, learned=learned)
    return state.layers[0].with_evidence(Evidence(gram[None], (X.T @ y / noise)[None]))


def log_evidence(X, y, noise, factors):
    return multivariate_normal.logpdf(y, np.zeros(len(y)), noise * np.eye(len(y)) + (X * factors) @ X.T)


def hyperprior(factors):
    """Log density of the inverse-gamma hyperprior of so many pseudo-weights."""
    return -0.5 * LAYER_MASS * np.sum(1 / factors + np.log(factors))


def half_normal(factors):
    """Log density of factors whose roots are half-normal."""
    return -0.5 * np.sum(factors + np.log(factors))


@pytest.fixture(autouse=True)
def to_convergence(monkeypatch):
    monkeypatch.setattr("sk_epsnn.ep.learned_prior.SETTLED", 1e-9)
    monkeypatch.setattr("sk_epsnn.ep.state.MOST_STEPS", 2000)


@pytest.mark.parametrize("noise", [0.05, 1.0])
def test_the_factor_of_a_layer_has_the_most_evidence(noise):
    X, y = problem(noise=noise**0.5)
    layer = layer_of(X, y, noise, False, True).with_learned_variance()

    def cost(log_c):
        c = np.exp(log_c)
        return -log_evidence(X, y, noise, np.full(P, c)) - hyperprior(c)

    best = np.exp(minimize_scalar(cost, bounds=(-8, 8), method="bounded", options={"xatol": 1e-9}).x)
    np.testing.assert_allclose(layer.learned.factor, best, rtol=1e-5)
    # The posterior is that of the new prior and the same data.
    precision = np.eye(P) / best + X.T @ X / noise
    np.testing.assert_allclose(layer.posterior.mean[0], np.linalg.solve(precision, X.T @ y / noise), rtol=1e-6)


def test_factors_of_inputs_have_the_most_evidence():
    X, y = problem(1, relevant=2)
    layer = layer_of(X, y, 0.25, True, True).with_learned_variance()

    factor = layer.learned.factor[0]
    kept = factor > 1e-6
    assert kept[:2].all() and not kept.all()

    def cost(log_c):
        factors = np.zeros(P)
        factors[kept] = np.exp(log_c)
        return -log_evidence(X, y, 0.25, factors) - half_normal(np.exp(log_c))

    best = minimize(cost, np.zeros(kept.sum()), method="BFGS", options={"gtol": 1e-8})
    np.testing.assert_allclose(np.log(factor[kept]), best.x, atol=1e-3)


def test_few_relevant_inputs_are_found_among_more_than_there_are_rows():
    """The noise is as large as it is, not what is left when many inputs explain a little each."""
    kept = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((90, 140))
        y = X[:, :4] @ [1.0, -1.0, 2.0, 0.5] + 0.1 * rng.standard_normal(90)
        model = EPSNNRegressor(prior="ard").fit(X, y)
        kept.append(np.sum(np.abs(model.coef_[4:]) > 1e-3))
        np.testing.assert_allclose(model.coef_[:4], [1.0, -1.0, 2.0, 0.5], atol=0.05)
        assert 0.08 < np.sqrt(model.noise_variance_) < 0.13
    assert max(kept) <= 5 and np.mean(kept) < 2


def test_inputs_that_all_matter_are_kept():
    rng = np.random.default_rng(3)
    X = rng.standard_normal((60, 30))
    y = X @ rng.choice([-1.0, 1.0], 30) + 0.3 * rng.standard_normal(60)
    assert np.abs(EPSNNRegressor(prior="ard").fit(X, y).coef_).min() > 0.6


def test_independent_weights_of_orthogonal_inputs_are_as_joint_ones():
    X, y = problem(2)
    X = np.linalg.qr(X)[0] * np.sqrt(N)
    factors = [layer_of(X, y, 0.3, False, joint).with_learned_variance().learned.factor for joint in (False, True)]
    np.testing.assert_allclose(factors[0], factors[1], rtol=1e-6)


def test_a_bias_is_left_alone():
    X, y = problem(3)
    X[:, -1] = 1
    layer = layer_of(X, y, 0.25, False, True)
    layer = type(layer)(
        **{**vars(layer), "learned": LearnedVariance(layer.learned.unit, layer.learned.factor, True, False)}
    )
    factor = layer.with_learned_variance().learned.factor[0]
    assert factor[-1] == 1 and abs(np.log(factor[0])) > 0.1


# Whole models


@pytest.mark.parametrize("n_features", [8, 300])
def test_a_regressor_learns_noise_and_variance_of_the_most_evidence(n_features):
    """With joint weights, and along the axes of more columns than rows; the mean of the targets takes a row."""
    rng = np.random.default_rng(4)
    X = rng.standard_normal((120, 8)) @ rng.standard_normal((8, n_features)) + rng.standard_normal((120, n_features))
    y = 30 + 4 * (X @ rng.standard_normal(n_features) / np.sqrt(n_features) + rng.standard_normal(120))
    model = EPSNNRegressor(random_state=0, tol=1e-5).fit(X, y)
    state = model._progress.state
    Z, t = (X - X.mean(0)) / state.network.basis.scale, (y - y.mean()) / y.std()
    moment, axes = np.linalg.eigh(Z @ Z.T)
    square = (axes.T @ t)[1:] ** 2  # the first axis is that of the mean
    moment = moment[1:]

    def cost(logs):
        v, c = np.exp(logs)
        return 0.5 * np.sum(np.log(v + c * moment) + square / (v + c * moment))

    learned = state.layers[0].learned
    found = np.log([model.noise_variance_ / y.var(), (learned.unit * learned.factor)[0, 0]])
    best = minimize(cost, found, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9})
    np.testing.assert_allclose(found, best.x, atol=0.03)


@pytest.mark.parametrize("size", [1e-3, 1e4])
def test_targets_without_noise(size):
    rng = np.random.default_rng(5)
    X = rng.standard_normal((90, 7)) * 10.0 ** np.arange(-3, 4)
    y = size * ((X / X.std(0)) @ np.arange(1.0, 8) + 3)
    mean, sd = EPSNNRegressor().fit(X, y).predict(X, return_std=True)
    np.testing.assert_allclose(mean, y, rtol=0, atol=1e-6 * y.std())
    assert sd.max() < 1e-3 * y.std()


def test_a_small_noise_is_found():
    rng = np.random.default_rng(6)
    X = rng.standard_normal((150, 4))
    y = X.sum(1) + 1e-3 * rng.standard_normal(150)
    assert EPSNNRegressor().fit(X, y).predict(X, return_std=True)[1].mean() == pytest.approx(1e-3, rel=0.2)


@pytest.mark.parametrize("n_features", [240, 256, 257, 290, 700])
def test_no_jump_where_weights_are_too_many_to_be_joint(n_features):
    rng = np.random.default_rng(7)
    X = rng.standard_normal((420, 20)) @ rng.standard_normal((20, n_features)) + rng.standard_normal((420, n_features))
    y = X[:, :40] @ rng.standard_normal(40) / 8 + 2 * rng.standard_normal(420)
    mean, sd = EPSNNRegressor(random_state=0).fit(X[:250], y[:250]).predict(X[250:], return_std=True)
    gap = y[250:] - mean
    assert sd.mean() / np.sqrt(np.mean(gap**2)) == pytest.approx(1, abs=0.15)
    assert 0.9 < np.mean(np.abs(gap) < 1.96 * sd) < 0.99


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("n, rare", [(1500, 3), (9000, 7)])
def test_rare_classes_have_their_rate(n_classes, n, rare):
    X = np.random.default_rng(8).standard_normal((n, 2))
    y = np.zeros(n, int)
    for label in range(1, n_classes):
        y[(label - 1) * rare : label * rare] = label
    found = EPSNNClassifier(random_state=0).fit(X, y).predict_proba(X).mean(0)
    np.testing.assert_allclose(found[1:] * n / rare, 1, atol=0.2)


def test_labels_of_noise_make_weights_small():
    rng = np.random.default_rng(9)
    X, y = rng.standard_normal((900, 30)), rng.integers(0, 2, 900)
    p = EPSNNClassifier().fit(X[:300], y[:300]).predict_proba(X[300:])
    assert -np.log(p[np.arange(600), y[300:]]).mean() < np.log(2) + 0.01


@pytest.mark.parametrize("edges", [[-1, -0.3, 0.3, 1], [-1.5, -0.8, -0.25, 0.25, 0.8, 1.5]])
def test_ordered_bins_of_one_feature(edges):
    rng = np.random.default_rng(10)
    X = rng.standard_normal((1600, 1))
    y = np.digitize(X[:, 0], edges)
    X = 50 + 3 * X
    model = EPSNNClassifier().fit(X[:1000], y[:1000])
    p = model.predict_proba(X[1000:])
    assert model.score(X[1000:], y[1000:]) > 0.975
    assert -np.log(p[np.arange(600), y[1000:]]).mean() < 0.15


def sparse_problem(seed=11, n_features=120):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((900, n_features))
    y = (X[:, :3] @ [3.0, -3.0, 3.0] + rng.logistic(size=900) > 0).astype(int)
    return X[:150], y[:150], X[150:], y[150:]


def test_the_prior_that_is_true_wins():
    X, y, test, labels = sparse_problem()
    loss = {}
    for prior in (GaussianPrior(), BernoulliGaussianPrior(active_probability=3 / 120), ARDPrior()):
        p = EPSNNClassifier(prior=prior).fit(X, y).predict_proba(test)
        loss[prior.name] = -np.log(p[np.arange(len(labels)), labels]).mean()
    assert loss["bernoulli_gaussian"] < 0.6 * loss["gaussian"]
    assert loss["ard"] < 0.6 * loss["gaussian"]


def test_ard_refuses_what_it_has_no_meaning_for():
    X, y, *_ = sparse_problem()
    for model, text in [
        (EPSNNClassifier(4, prior="ard"), "hidden"),
        (EPSNNClassifier(prior="ard", weights="binary"), "continuous"),
        (EPSNNClassifier(prior="ard", inference="average_ep"), "newton"),
    ]:
        with pytest.raises(ValueError, match=f"ard.*{text}"):
            model.fit(X, y)
    with pytest.raises(ValueError, match="learned by fit, not from a stream"):
        EPSNNClassifier(prior="ard").partial_fit(X, y, classes=[0, 1])
    fitted = EPSNNClassifier(prior="ard").fit(X[:100], y[:100])
    before = fitted._progress.state.layers[0].learned
    assert fitted.partial_fit(X[100:], y[100:])._progress.state.layers[0].learned is before


def test_a_variance_given_as_a_number_is_not_learned():
    X, y = problem(12)
    state = EPSNNRegressor(prior=GaussianPrior(variance=2.0)).fit(X, y)._progress.state
    assert state.layers[0].learned is None
    # On levels of the weights, at other temperatures and under priors that are not Gaussian neither.
    labels = (y > 0).astype(int)
    for options in ({"weights": "ternary"}, {"prior": "laplace"}):
        assert EPSNNClassifier(**options).fit(X, labels)._progress.state.layers[0].learned is None
