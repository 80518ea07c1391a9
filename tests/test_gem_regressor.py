"""GEMSNNRegressor: populations of output neurons, moments, streams."""

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.pipeline import make_pipeline

from sk_epsnn import (
    ConvergenceDisplay,
    GEMSNNRegressor,
    PopulationEncoder,
    PredictionBandDisplay,
    predict_uncertainty,
    predict_with_std,
)
from sk_epsnn.estimators._gem_population import Population


@pytest.fixture(scope="module")
def wave():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 5, (300, 1))
    noise = 0.02 + 0.3 * (X[:, 0] > 2)
    return X, np.cos(X[:, 0]) + noise * rng.standard_normal(300)


@pytest.fixture(scope="module")
def fitted(wave):
    return GEMSNNRegressor(random_state=0).fit(*wave)


def test_populations_say_what_they_are_told():
    y = np.random.default_rng(1).normal(size=(50, 2)) * [1, 100]
    population = Population.of(y, 12)
    rate = population.encode(y)
    assert rate.shape == (50, 24)
    np.testing.assert_allclose(rate.sum(axis=1), 2)
    mean, variance = population.decode(rate)
    np.testing.assert_allclose(mean.T, y, rtol=1e-9)
    for target, centers in enumerate(population.centers):
        gap = np.diff(centers)[np.clip(np.searchsorted(centers, y[:, target]) - 1, 0, 10)]
        assert (variance[target] <= gap**2 / 4 + 1e-9).all()
    np.testing.assert_allclose(population.decode(population.encode(1e6 + y))[0].T, np.broadcast_to(y.max(0), y.shape))


def test_few_values_have_few_neurons():
    assert [c.tolist() for c in Population.of(np.array([5.0, 2.0, 2.0, 1.0]), 20).centers] == [[1.0, 2.0, 5.0]]
    assert [len(c) for c in Population.of(np.array([1.0, 1.0, 1.0]), 20).centers] == [1]
    model = GEMSNNRegressor(5, max_iter=1).fit(np.eye(3), np.full(3, 7.0))
    np.testing.assert_allclose(model.predict(np.eye(3)), 7.0)


def test_a_curve_and_its_noise_are_learned(fitted, wave):
    X, y = wave
    grid = np.linspace(-0.8, 4.8, 60)[:, None]
    mean, std = fitted.predict(grid, return_std=True)
    assert np.sqrt(np.mean((mean - np.cos(grid[:, 0])) ** 2)) < 0.2
    assert std[grid[:, 0] > 2.5].mean() > 1.2 * std[grid[:, 0] < 1.5].mean()
    z = (y - fitted.predict(X)) / fitted.predict(X, return_std=True)[1]
    assert (np.abs(z) < 1.96).mean() > 0.9


def test_parts_of_the_variance(fitted, wave):
    total, aleatoric, disagreement = fitted.predict_uncertainty(wave[0])
    np.testing.assert_allclose(total, aleatoric + disagreement)
    np.testing.assert_allclose(np.sqrt(total), fitted.predict(wave[0], return_std=True)[1])
    assert (disagreement > 0).all()


def test_several_targets(wave):
    X, y = wave
    model = GEMSNNRegressor(20, max_iter=10, random_state=0).fit(X, np.stack([y, -100 * y], axis=1))
    mean, std = model.predict(X, return_std=True)
    assert mean.shape == std.shape == (300, 2)
    assert model.score(X, np.stack([y, -100 * y], axis=1)) > 0.5
    assert [len(values) for values in model.output_values_] == [20, 20]
    with pytest.raises(ValueError, match="fitted with 2"):
        model.partial_fit(X, y)


def test_streams_keep_the_values_of_the_first_call(wave):
    X, y = wave
    model = GEMSNNRegressor(30, random_state=0)
    for _ in range(40):
        model.partial_fit(X, y)
    values = model.output_values_[0]
    assert model.score(X, y) > 0.5
    model.partial_fit(X, 50 + y)
    np.testing.assert_array_equal(model.output_values_[0], values)


def test_sequences(wave):
    rng = np.random.default_rng(0)
    X = (rng.random((200, 10, 3)) < 0.3).astype(float)
    y = X[:, :, 0].sum(axis=1)
    model = GEMSNNRegressor(30, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.4
    X[:, 6:] = np.nan
    assert np.isfinite(model.predict(X)).all()


def test_dates_and_text_are_refused(wave):
    with pytest.raises(TypeError, match="real numbers"):
        GEMSNNRegressor().fit(wave[0], np.full(300, np.datetime64("2020-01-01")))


def test_in_a_pipeline_with_std(wave):
    X, y = wave
    model = make_pipeline(PopulationEncoder(output="rates"), GEMSNNRegressor(10, max_iter=2, random_state=0)).fit(X, y)
    mean, std = model.predict(X, return_std=True)
    assert mean.shape == std.shape == (300,)
    np.testing.assert_array_equal(predict_with_std(model, X)[1], std)
    np.testing.assert_allclose(predict_uncertainty(model, X).total, std**2)
    assert PredictionBandDisplay.from_estimator(model, X, y).figure_ is not None
    assert ConvergenceDisplay.from_estimator(model).figure_ is not None


def test_of_transformed_targets_no_uncertainty_is_told(wave):
    X, y = wave
    inner = GEMSNNRegressor(5, max_iter=1, random_state=0)
    model = TransformedTargetRegressor(inner, func=np.negative, inverse_func=np.negative).fit(X, y)
    for ask in (predict_with_std, predict_uncertainty):
        with pytest.raises(TypeError, match="not for GEMSNNRegressor; transform them before fit"):
            ask(model, X)
