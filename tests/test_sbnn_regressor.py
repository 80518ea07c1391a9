"""SBNNRegressor: learning, noise, uncertainty, several targets, streams."""

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor

from sk_epsnn import PredictionBandDisplay, Rao, SBNNRegressor, predict_uncertainty, predict_with_std


@pytest.fixture(scope="module")
def wave():
    rng = np.random.default_rng(0)
    X = rng.uniform(-3, 3, (300, 1))
    return X, 5 + 2 * np.sin(X[:, 0]) + 0.2 * rng.standard_normal(300)


@pytest.fixture(scope="module")
def fitted(wave):
    return SBNNRegressor(60, random_state=0).fit(*wave)


def test_a_curve_and_its_noise_are_learned(fitted, wave):
    X, y = wave
    grid = np.linspace(-2.8, 2.8, 60)[:, None]
    mean, std = fitted.predict(grid, return_std=True)
    assert np.sqrt(np.mean((mean - 5 - 2 * np.sin(grid[:, 0])) ** 2)) < 0.25
    assert 0.1 < np.sqrt(fitted.noise_variance_) < 0.4
    inside = np.abs(y - fitted.predict(X)) < 1.96 * fitted.predict(X, return_std=True)[1]
    assert inside.mean() > 0.9
    assert (std > np.sqrt(fitted.noise_variance_)).all()


def test_parts_of_the_variance(fitted, wave):
    total, aleatoric, epistemic = fitted.predict_uncertainty(wave[0])
    np.testing.assert_allclose(total, aleatoric + epistemic)
    np.testing.assert_allclose(aleatoric, fitted.noise_variance_)
    assert (epistemic > 0).all()
    np.testing.assert_allclose(np.sqrt(total), fitted.predict(wave[0], return_std=True)[1])
    np.testing.assert_allclose(predict_uncertainty(fitted, wave[0]).total, total)


def test_units_of_the_targets_do_not_matter(fitted, wave):
    X, y = wave
    other = SBNNRegressor(60, random_state=0).fit(X, 1000 * y - 7)
    mean, std = fitted.predict(X, return_std=True)
    np.testing.assert_allclose(other.predict(X, return_std=True)[0], 1000 * mean - 7, rtol=1e-3)
    np.testing.assert_allclose(other.predict(X, return_std=True)[1], 1000 * std, rtol=1e-2)


def test_a_noise_that_is_given_stays(wave):
    model = SBNNRegressor(20, noise_variance=0.5, max_iter=20, random_state=0).fit(*wave)
    assert model.noise_variance_ == pytest.approx(0.5)


def test_without_hidden_layers_it_is_bayesian_linear_regression():
    """Posterior means of a linear model, of which the exact ones are known."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 3)) * [1.0, 2.0, 0.5]
    y = X @ [1.0, -0.5, 2.0] + 3 + 0.3 * rng.standard_normal(400)
    model = SBNNRegressor((), inference=Rao(temperature=1.0), max_iter=400, random_state=0).fit(X, y)
    np.testing.assert_allclose(model.coef_, [1.0, -0.5, 2.0], atol=0.06)
    assert model.intercept_ == pytest.approx(3.0, abs=0.06)
    assert np.sqrt(model.noise_variance_) == pytest.approx(0.3, rel=0.1)
    expected = model.noise_variance_ / (400 * X.var(axis=0))
    np.testing.assert_allclose(model.coefs_variance_[0][:, 0], expected, rtol=0.4)


def test_several_targets_and_streams(wave):
    X, y = wave
    both = np.stack([y, -100 * y], axis=1)
    model = SBNNRegressor(30, random_state=0)
    for start in range(0, 300, 60):
        model.partial_fit(X[start : start + 60], both[start : start + 60])
    mean, std = model.predict(X, return_std=True)
    assert mean.shape == std.shape == (300, 2)
    assert model.noise_variance_.shape == (2,)
    assert model.score(X, both) > 0.7
    with pytest.raises(ValueError, match="fitted with 2|outputs"):
        model.partial_fit(X, y)


def test_transformed_targets_and_bands(wave, fitted):
    X, y = wave
    model = TransformedTargetRegressor(SBNNRegressor(20, max_iter=50, random_state=0), func=np.log, inverse_func=np.exp)
    mean, std = predict_with_std(model.fit(X, y), X)
    assert (np.abs(y - mean) < 3 * std).mean() > 0.9
    pytest.importorskip("matplotlib")
    PredictionBandDisplay.from_estimator(fitted, X, y)


def test_bad_targets_leave_no_trace(wave):
    X, y = wave
    model = SBNNRegressor(8, max_iter=3, random_state=0).fit(X, y)
    before = model.predict(X)
    for bad, message in ((np.full(300, np.inf), "infinity"), (np.full(300, 1e200), "Rescale")):
        with pytest.raises(ValueError, match=message):
            model.fit(X, bad)
    np.testing.assert_array_equal(model.predict(X), before)
