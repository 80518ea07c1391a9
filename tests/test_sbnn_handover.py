"""An SBNN that begins at the posterior of another network."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_epsnn import (
    LIF,
    Convolution,
    EPSNNClassifier,
    EPSNNRegressor,
    Newton,
    Rao,
    SBNNClassifier,
    SBNNRegressor,
    Stochastic,
    Surrogate,
)
from sk_epsnn.course import Rows
from sk_epsnn.estimators._handover import posterior_of

QUICK = Stochastic(n_passes=5, validation_fraction=0)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:600] / 16, y[:600], X[600:] / 16, y[600:]


@pytest.fixture(scope="module")
def messages(digits):
    """A network trained by Expectation Propagation."""
    return EPSNNClassifier(30, inference=QUICK, random_state=0).fit(*digits[:2])


def begun(model, other, X, y):
    """The state of a fitted model's trainer that begins at another network."""
    target = np.where(y[:, np.newaxis] == model.classes_, 1.0, -1.0)
    rows = Rows(X, target, np.ones(len(X)))
    layers = posterior_of(other, model)
    return model._plan.trainer.start(model._plan.network, rows, np.random.RandomState(0), layers)


def test_the_start_is_the_posterior_of_the_other_network(digits, messages):
    """Hidden weights up to the scale that a threshold ignores, those of the outputs as they are."""
    X, y = digits[:2]
    model = SBNNClassifier(30, max_iter=1, random_state=0).fit(X, y)
    state = begun(model, messages, X, y)
    first, last = state.moments("float64")
    coef, intercept, coef_variance, _ = state.network.basis.to_inputs(first.mean, first.variance)
    used = X.std(0) > 0
    factor = coef[:, used].std(1) / messages.coefs_[0].T[:, used].std(1)
    np.testing.assert_allclose(coef[:, used], factor[:, None] * messages.coefs_[0].T[:, used], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(intercept, factor * messages.intercepts_[0], rtol=2e-3, atol=2e-3)
    assert factor.min() > 0 and coef_variance.min() > 0
    np.testing.assert_allclose(last.mean[:, :-1], messages.coefs_[1].T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(last.mean[:, -1], messages.intercepts_[1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(last.variance[:, :-1], messages.coefs_variance_[1].T, rtol=1e-4)


def test_few_passes_do_where_another_network_has_begun(digits, messages):
    X, y, X_test, y_test = digits
    model = SBNNClassifier(30, max_iter=4, random_state=0)
    alone, after = (clone(model).fit(X, y, start=start).score(X_test, y_test) for start in (None, messages))
    assert after > alone + 0.02 and after > 0.9
    # One that has been trained by the same principle goes on, too.
    first = clone(model).fit(X, y)
    assert clone(model).fit(X, y, start=first).score(X_test, y_test) > first.score(X_test, y_test)


def test_targets_have_units(digits):
    """Whatever the scale and location of those that the other network has seen."""
    X, y = load_diabetes(return_X_y=True)
    messages = EPSNNRegressor(20, inference=Newton(temperature=0.5), random_state=0).fit(X, 1000 * y + 5e5)
    model = SBNNRegressor(20, max_iter=1, inference="rao", random_state=0).fit(X, 1000 * y + 5e5)
    last = posterior_of(messages, model)[-1]
    location, scale = model._target_location_and_scale()
    np.testing.assert_allclose(last.coef * scale + 0 * location[:, None], messages.coefs_[1].T, rtol=1e-6)
    after = clone(model).fit(X, 1000 * y + 5e5, start=messages)
    assert after.score(X, 1000 * y + 5e5) > max(0.4, model.score(X, 1000 * y + 5e5))


def test_steps_in_time():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(120, 6, 3)), np.arange(120) % 2
    X[y == 1, 3:, 0] += 1.5
    messages = EPSNNClassifier(8, activation=LIF(0.7), inference=QUICK, random_state=0).fit(X, y)
    model = SBNNClassifier(8, activation=LIF(0.7), max_iter=2, random_state=0).fit(X, y, start=messages)
    assert model.score(X, y) > 0.8


@pytest.mark.parametrize(
    ("options", "start", "message"),
    [
        ({}, lambda ep, X, y: EPSNNClassifier(30), "not fitted"),
        ({}, lambda ep, X, y: make_pipeline(StandardScaler(), clone(ep)).fit(X, y), "give the last step"),
        ({}, lambda ep, X, y: clone(ep).set_params(max_iter=1).fit(X, y % 5), "must know the classes"),
        ({}, lambda ep, X, y: clone(ep).set_params(max_iter=1).fit(X[:, :60], y), "weights of the shapes"),
        ({"hidden_layer_sizes": 20}, lambda ep, X, y: ep, "same features and hidden_layer_sizes"),
        ({"weights": "binary"}, lambda ep, X, y: ep, "set weights='continuous'"),
        ({"inference": Surrogate()}, lambda ep, X, y: ep, "no surrogate"),
    ],
)
def test_what_is_refused(options, start, message, digits, messages):
    X, y = digits[0][:150], digits[1][:150]
    model = SBNNClassifier(30, max_iter=1, random_state=0).fit(X, y)
    before, coefs = model.predict_proba(X), model.coefs_[0]
    model.set_params(**options)
    with pytest.raises((ValueError, NotFittedError), match=message):
        model.fit(X, y, start=start(messages, X, y))
    np.testing.assert_array_equal(model.coefs_[0], coefs)
    np.testing.assert_array_equal(model.set_params(hidden_layer_sizes=30).predict_proba(X), before)


def test_it_is_one_or_the_other(digits, messages):
    X, y = digits[:2]
    model = SBNNClassifier(30, max_iter=1, warm_start=True, random_state=0).fit(X, y, start=messages)
    with pytest.raises(ValueError, match="warm_start=True goes on"):
        model.fit(X, y, start=messages)


@pytest.mark.parametrize("layers", [Convolution(8, 3, pool=2), (Convolution(6, 3), Convolution(8, 3, pool=2))], ids=str)
def test_convolutions_begin_where_the_other_network_is(layers):
    """Spikes that one reads as deviations from their rates, and the other as they are."""
    X, y = load_digits(return_X_y=True)
    messages = EPSNNClassifier(layers, random_state=0, inference=Stochastic(temperature=0.3, validation_fraction=0))
    messages.fit(X[:600], y[:600])
    still = SBNNClassifier(layers, max_iter=1, inference=Rao(learning_rate=1e-9), random_state=0)
    still.fit(X[:600], y[:600], start=messages)
    agree = still.predict(X[600:]) == messages.predict(X[600:])
    assert messages.score(X[600:], y[600:]) > 0.9 and agree.mean() > 0.97
