"""Estimators with discrete weights, with priors that are not Gaussian, and frozen ones."""

import pickle
from itertools import product

import numpy as np
import pytest
from scipy.special import log_expit, log_ndtr, logit
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV

from sk_epsnn import (
    AverageEP,
    BernoulliGaussianPrior,
    EPSNNClassifier,
    EPSNNRegressor,
    HeavisideOutput,
    Levels,
    Newton,
    Stochastic,
)
from sk_epsnn.priors import PRIORS

#: Few passes, that hidden layers learn digits with well enough to be looked at.
FEW = Stochastic(n_passes=20)
GRIDS = {"binary": [-1, 1], "ternary": [-1, 0, 1], "four": [-1, -0.5, 0.5, 1]}
LEVELS = pytest.mark.parametrize("grid", sorted(GRIDS))


def few(hidden):
    return {"inference": FEW} if hidden else {}


def weights_on(grid):
    return grid if grid in ("binary", "ternary") else Levels(GRIDS[grid])


@LEVELS
@pytest.mark.parametrize("hidden", [(), (20,)])
def test_fitted_levels(digits, grid, hidden):
    model = EPSNNClassifier(hidden, weights=weights_on(grid), random_state=0, **few(hidden)).fit(digits.X, digits.y)
    levels = GRIDS[grid]
    np.testing.assert_allclose(model.levels_, levels, rtol=1e-12, atol=1e-15)
    gains = [1.0] * len(hidden) + [model.readout_gain_[0]]
    for gain, coef, most, p in zip(gains, model.coefs_, model.map_coefs_, model.coefs_probabilities_, strict=True):
        assert p.shape == (*coef.shape, len(levels))
        np.testing.assert_allclose(p.sum(2), 1, rtol=1e-10)
        np.testing.assert_allclose(coef, gain * (p @ levels), rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(most, gain * np.array(levels)[p.argmax(2)], rtol=1e-12, atol=1e-15)
    assert model.score(digits.X_test, digits.y_test) > 0.7


@pytest.mark.parametrize("output", ["sigmoid", "heaviside"])
@pytest.mark.parametrize("n_features", [4, 8, 12])
@pytest.mark.parametrize(
    ("inference", "n_samples", "share"), [(Newton, 10, 0.3), (AverageEP, 10, 0.3), (Newton, 40, 0.73)]
)
def test_binary_posterior_against_enumeration(output, n_features, inference, n_samples, share):
    """Marginal log-odds against the sum over all 2**J networks; the shared cavity and independence cost a share.

    The more rows, the sharper the cavities: the central limit alone costs 1.9 on log-odds of 2.6 with seven inputs
    (see test_mixing), a share of .73.
    """
    error, size = [], []
    options = {"n_sweeps": 50, "temperature": 1.0}
    if inference is AverageEP:
        options["damping"] = 0.1
    # Heaviside outputs have no power.
    options |= {"power": 1.0} if output == "sigmoid" else {}
    neurons = output if output == "sigmoid" else HeavisideOutput(noise_variance=4.0)
    networks = np.array(list(product((-1.0, 1.0), repeat=n_features)))
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X = (rng.random((n_samples, n_features)) < 0.5).astype(float)
        y = X @ rng.choice([-1.0, 1.0], n_features) + rng.logistic(size=n_samples) >= 0
        y[:2] = True, False
        model = EPSNNClassifier(
            weights=Levels((-1, 1), gain=1.0),
            output_activation=neurons,
            inference=inference(**options),
            fit_intercept=False,
            max_iter=100,
            tol=1e-10,
        ).fit(X, y)
        margin = np.where(y, 1, -1)[:, None] * (X @ networks.T)
        log_likelihood = (log_expit(margin) if output == "sigmoid" else log_ndtr(margin / 2)).sum(0)
        posterior = np.exp(log_likelihood - log_likelihood.max())
        exact = logit(posterior @ (networks > 0) / posterior.sum())
        error.append(exact - logit(model.coefs_probabilities_[0][:, 0, 1]))
        size.append(exact)
    assert np.sqrt(np.mean(np.square(error))) < share * np.sqrt(np.mean(np.square(size)))


def test_ways_of_inference_agree_on_discrete_weights(digits):
    y = digits.y % 2
    options = dict(weights="ternary", batch_size=300, max_iter=40, tol=1e-9)
    shared = dict(power=1.0, temperature=1.0, n_sweeps=60)
    newton = EPSNNClassifier(**options, inference=Newton(**shared)).fit(digits.X, y)
    paper = EPSNNClassifier(**options, inference=AverageEP(**shared, damping=0.1)).fit(digits.X, y)
    np.testing.assert_allclose(newton.coefs_[0], paper.coefs_[0], rtol=0, atol=0.05 * newton.readout_gain_[0])


def test_level_probabilities_are_the_posterior_of_inputs_that_never_vary(digits):
    X = np.hstack([digits.X, np.zeros((len(digits.X), 1))])
    p = [0.2, 0.5, 0.3]
    model = EPSNNClassifier(weights=Levels([1, -1, 0], probabilities=p)).fit(X, digits.y)
    np.testing.assert_allclose(model.coefs_probabilities_[0][-1], np.tile([0.5, 0.3, 0.2], (10, 1)), rtol=1e-9)


@LEVELS
def test_frozen_network_is_the_deterministic_one(digits, grid):
    model = EPSNNClassifier(30, weights=weights_on(grid), inference=FEW, random_state=1).fit(digits.X, digits.y)
    frozen = model.freeze()
    hidden = digits.X_test @ model.map_coefs_[0] + model.map_intercepts_[0] >= 0
    potential = hidden @ model.map_coefs_[1] + model.map_intercepts_[1]
    mean, variance = frozen.predict_potentials(digits.X_test)
    np.testing.assert_allclose(mean, potential, rtol=1e-6, atol=1e-6)
    assert (variance < 1e-6).all()
    np.testing.assert_array_equal(frozen.predict(digits.X_test), model.classes_[potential.argmax(1)])
    assert frozen.score(digits.X_test, digits.y_test) > 0.7
    assert all((v == 0).all() for v in frozen.coefs_variance_)
    assert model.partial_fit(digits.X, digits.y) is model


def test_ties_of_a_frozen_network_without_biases_fire():
    X = np.array([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1], [1, 0, 0, 0]] * 30, dtype=float)
    y = np.array([1, 0, 0, 1] * 30)
    model = EPSNNClassifier(5, weights="binary", fit_intercept=False, random_state=0).fit(X, y).freeze()
    hidden = X @ model.map_coefs_[0] >= 0
    np.testing.assert_allclose(model.predict_potentials(X).mean, hidden @ model.map_coefs_[1], atol=1e-9)


@pytest.mark.parametrize("hidden", [(), (20,)])
def test_regression_on_levels(line, hidden):
    levels = np.linspace(-1, 1, 9)
    model = EPSNNRegressor(hidden, weights=Levels(levels), random_state=0).fit(line.X, 100 * line.y + 7)
    assert model.score(line.X_test, 100 * line.y_test + 7) > 0.6
    ratio = model.map_coefs_[-1] / model.readout_gain_
    assert np.abs(ratio[..., None] - levels).min(-1).max() < 1e-9


def test_stream_and_pickle_of_discrete_weights(digits):
    model = EPSNNClassifier(weights="binary")
    for rows in np.array_split(np.arange(len(digits.X)), 3):
        model.partial_fit(digits.X[rows], digits.y[rows], classes=np.arange(10))
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(digits.X_test), model.predict_proba(digits.X_test))
    assert model.score(digits.X_test, digits.y_test) > 0.7


@pytest.mark.parametrize(
    ("name", "hidden"), [(name, h) for name in sorted(PRIORS) for h in ((), (20,)) if (name, h) != ("ard", (20,))]
)
def test_every_prior_trains(digits, name, hidden):
    options = few(hidden) or {"max_iter": 4}
    model = EPSNNClassifier(hidden, prior=name, random_state=0, **options).fit(digits.X, digits.y)
    assert model.score(digits.X_test, digits.y_test) > 0.75
    assert all(np.isfinite(v).all() and (v > 0).all() for v in model.coefs_variance_)


@pytest.mark.parametrize("n_features", [100, 300])
def test_spike_and_slab_finds_the_relevant_inputs(n_features):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, n_features))
    relevant = np.arange(n_features) < 10
    y = X[:, relevant] @ rng.choice([-1.0, 1.0], 10) + 0.5 * rng.standard_normal(400)
    for model in (EPSNNRegressor(prior="bernoulli_gaussian"), EPSNNClassifier(prior="bernoulli_gaussian")):
        target = y if isinstance(model, EPSNNRegressor) else y > 0
        active = model.fit(X, target).activation_probabilities_[0][:, 0]
        assert roc_auc_score(relevant, active) >= 0.99


@pytest.mark.parametrize("hidden", [(), (20,)])
def test_inputs_that_never_vary_keep_their_activation_probability(digits, hidden):
    X = np.hstack([digits.X, np.zeros((len(digits.X), 2))])
    prior = BernoulliGaussianPrior(active_probability=0.3, variance=1.0)
    model = EPSNNClassifier(hidden, prior=prior, random_state=0, **few(hidden)).fit(X, digits.y)
    np.testing.assert_allclose(model.activation_probabilities_[0][-2:], 0.3, rtol=0, atol=1e-6)
    assert (np.abs(model.activation_probabilities_[0][:-2] - 0.3) > 0.01).any()


def test_a_grid_search_reaches_the_prior(line):
    model = EPSNNRegressor(prior=BernoulliGaussianPrior())
    search = GridSearchCV(model, {"prior__slab_variance": [1e-6, 1.0]}, cv=3).fit(line.X, line.y)
    assert search.best_params_ == {"prior__slab_variance": 1.0}
    assert model.prior.slab_variance == 1.0


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("activation_probabilities_", "prior='bernoulli_gaussian'"),
        ("coefs_probabilities_", "weights to 'binary'"),
        ("levels_", "weights to 'binary'"),
    ],
)
def test_attributes_of_other_models_say_what_they_need(line, name, needs):
    model = EPSNNRegressor().fit(line.X, line.y)
    with pytest.raises(AttributeError, match=needs):
        getattr(model, name)
    np.testing.assert_array_equal(model.map_coefs_[0], model.coefs_[0])


@pytest.mark.parametrize(
    ("activation", "output"),
    [
        ("heaviside", "sigmoid"),
        ("sigmoid", "heaviside"),
        (["sigmoid", "heaviside"], "heaviside"),
        (["heaviside", "sigmoid"], "sigmoid"),
    ],
)
def test_neurons_in_any_mix(digits, activation, output):
    """Each kind below each, in the hidden layers and at the output."""
    sizes = (20, 20)
    model = EPSNNClassifier(sizes, activation=activation, output_activation=output, inference=FEW, random_state=0)
    assert model.fit(digits.X, digits.y).score(digits.X_test, digits.y_test) > 0.75
