"""Uncertainty through pipelines, searches and transformed targets, against closed forms and many draws."""

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import norm
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import BaggingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, PowerTransformer, StandardScaler

from sk_epsnn import EPSNNClassifier, EPSNNRegressor, predict_uncertainty, predict_with_std

EXPONENTIAL = dict(func=np.log, inverse_func=np.exp)


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return X[:, :4], y


def assert_same(found, expected, **tolerance):
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, **tolerance)


def draws_of(regressor, X, rng, n=200_000):
    """Draws of the normal law of every row, and its mean given the weights: (n_rows, n) each."""
    mean, u = regressor.predict(X), regressor.predict_uncertainty(X)
    known = mean[:, None] + np.sqrt(u.epistemic)[:, None] * rng.standard_normal((len(mean), n))
    return known, u


# ---------------------------------------------------------------------- pipelines and searches


def test_a_network_alone_is_asked_itself(diabetes):
    X, y = diabetes
    model = EPSNNRegressor(5, max_iter=1, random_state=0).fit(X, y)
    assert_same(predict_uncertainty(model, X), model.predict_uncertainty(X), rtol=0)
    assert_same(predict_with_std(model, X), model.predict(X, return_std=True), rtol=0)


def test_pipelines_within_each_other_and_searches():
    X, y = load_iris(return_X_y=True)
    inner = make_pipeline(MinMaxScaler(), EPSNNClassifier(random_state=0))
    search = GridSearchCV(inner, {"epsnnclassifier__fit_intercept": [True]}, cv=2)
    outer = make_pipeline(StandardScaler(), search).fit(X, y)
    found = outer[1].best_estimator_
    rows = found[0].transform(outer[0].transform(X))
    assert_same(predict_uncertainty(outer, X), found[1].predict_uncertainty(rows), rtol=0)


def test_sparse_rows_through_a_pipeline():
    X = sparse.random_array((60, 30), density=0.2, format="csr", rng=np.random.default_rng(0))
    model = make_pipeline(FunctionTransformer(), EPSNNRegressor(random_state=0)).fit(X, X.toarray()[:, 0])
    assert_same(predict_with_std(model, X), model.predict(X, return_std=True), rtol=0)


# ---------------------------------------------------------------------- transformed targets


@pytest.mark.parametrize(
    ("hidden", "transformer"),
    [((), StandardScaler()), ((), MinMaxScaler((-3, 5))), ((6,), MinMaxScaler((-3, 5)))],
)
def test_linear_transformers_change_nothing(transformer, hidden, diabetes):
    """The estimator standardises its targets itself."""
    X, y = diabetes
    regressor = EPSNNRegressor(hidden, max_iter=2, random_state=0)
    model = TransformedTargetRegressor(regressor, transformer=transformer).fit(X, y)
    plain = regressor.fit(X, y)
    assert_same(predict_with_std(model, X), plain.predict(X, return_std=True), rtol=1e-6)
    assert_same(predict_uncertainty(model, X), plain.predict_uncertainty(X), rtol=1e-6)


@pytest.mark.parametrize("factor", [0.1, 1.0, 6.0])
def test_exponential_in_closed_form(factor, diabetes):
    """Mean, variance and its parts of lognormal variables, narrow and wide ones."""
    X, y = diabetes
    y = np.exp(factor * (y - y.mean()) / y.std())
    model = TransformedTargetRegressor(EPSNNRegressor(5, max_iter=1, random_state=0), **EXPONENTIAL).fit(X, y)
    m, (total, _, epistemic) = model.regressor_.predict(X), model.regressor_.predict_uncertainty(X)
    mean, std = predict_with_std(model, X)
    found = predict_uncertainty(model, X)
    np.testing.assert_allclose(mean, np.exp(m + total / 2), rtol=1e-6)
    np.testing.assert_allclose(std**2, np.exp(2 * m + total) * np.expm1(total), rtol=1e-3)
    np.testing.assert_allclose(found.epistemic, np.exp(2 * m + total) * np.expm1(epistemic), rtol=1e-3)
    np.testing.assert_allclose(found.total, std**2, rtol=1e-12)
    np.testing.assert_allclose(found.total, found.aleatoric + found.epistemic, rtol=1e-12)
    # The mean is not what the regressor of transformed targets predicts, its median is.
    np.testing.assert_allclose(model.predict(X), np.exp(m), rtol=1e-12)


def test_kinks_against_draws(diabetes):
    """An inverse that is cut off and has a corner, in the middle of the predictions."""
    X, y = diabetes
    inverse = lambda z: np.where(z < 0, 0.2 * z, np.minimum(z, 1.5))  # noqa: E731
    model = TransformedTargetRegressor(
        EPSNNRegressor(random_state=0),
        func=lambda y: (y - 150) / 80,
        inverse_func=inverse,
        check_inverse=False,
    ).fit(X, y)
    X, rng = X[:5], np.random.default_rng(0)
    known, u = draws_of(model.regressor_, X, rng)
    noise = np.sqrt(u.aleatoric)[:, None]
    drawn = inverse(known + noise * rng.standard_normal(known.shape))
    mean, std = predict_with_std(model, X)
    np.testing.assert_allclose(mean, drawn.mean(1), atol=0.01)
    np.testing.assert_allclose(std, drawn.std(1), rtol=0.02)
    # Two observations with the same weights have the covariance that is the epistemic part.
    again = inverse(known + noise * rng.standard_normal(known.shape))
    shared = [np.cov(a, b)[0, 1] for a, b in zip(drawn, again, strict=True)]
    np.testing.assert_allclose(predict_uncertainty(model, X).epistemic, shared, rtol=0.15, atol=2e-3)


def test_transformed_twice_and_through_pipelines(diabetes):
    """Targets are scaled inside of a logarithm, inputs before, between and after."""
    X, y = diabetes
    inner = TransformedTargetRegressor(make_pipeline(MinMaxScaler(), EPSNNRegressor()), transformer=StandardScaler())
    outer = TransformedTargetRegressor(make_pipeline(FunctionTransformer(), inner), **EXPONENTIAL)
    model = make_pipeline(StandardScaler(), outer).fit(X, y)
    rows = model[0].transform(X)
    normal = model[1].regressor_[1]
    m, s = normal.regressor_.predict(rows, return_std=True)
    location, scale = normal.transformer_.mean_, normal.transformer_.scale_
    m, v = m * scale + location, (s * scale) ** 2
    mean, std = predict_with_std(model, X)
    np.testing.assert_allclose(mean, np.exp(m + v / 2), rtol=1e-8)
    np.testing.assert_allclose(std, np.sqrt(np.exp(2 * m + v) * np.expm1(v)), rtol=1e-6)


def test_columns_of_targets(diabetes):
    """Each by itself where transformers go by columns, together where a linear one mixes them."""
    X, y = diabetes
    Y = np.column_stack([y, 7 - y**2 / 50, y + 1000 * X[:, 0]])
    model = TransformedTargetRegressor(EPSNNRegressor(random_state=0), transformer=PowerTransformer()).fit(X, Y)
    mean, std = predict_with_std(model, X)
    m, s = model.regressor_.predict(X, return_std=True)
    grid = np.linspace(-9, 9, 4001)
    weight = norm.pdf(grid) / norm.pdf(grid).sum()
    for row in (0, 17):
        values = model.transformer_.inverse_transform(m[row] + grid[:, None] * s[row])
        expected = weight @ values
        np.testing.assert_allclose(mean[row], expected, rtol=1e-6)
        np.testing.assert_allclose(std[row], np.sqrt(weight @ (values - expected) ** 2), rtol=1e-4)
    model = TransformedTargetRegressor(
        EPSNNRegressor(random_state=0), transformer=PCA(2, whiten=True), check_inverse=False
    ).fit(X, Y)
    u = model.regressor_.predict_uncertainty(X)
    axes = np.sqrt(model.transformer_.explained_variance_)[:, None] * model.transformer_.components_
    assert_same(predict_uncertainty(model, X), [part @ axes**2 for part in u], rtol=1e-9)
    np.testing.assert_allclose(predict_with_std(model, X)[0], model.predict(X), rtol=1e-12)


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_shapes_are_those_of_predictions(shape, diabetes):
    X, y = diabetes
    model = TransformedTargetRegressor(EPSNNRegressor(), transformer=StandardScaler()).fit(X, y.reshape(shape))
    mean, std = predict_with_std(model, X)
    assert mean.shape == std.shape == model.predict(X).shape
    assert predict_uncertainty(model, X).total.shape == model.predict(X).shape


def test_what_can_hardly_happen_does_not_matter(diabetes):
    """A square root of targets far from 0, whose normal law has a tail of no weight below."""
    X, y = diabetes
    model = TransformedTargetRegressor(EPSNNRegressor(), func=np.square, inverse_func=np.sqrt)
    model.fit(X, np.sqrt(1000 + y))
    mean, std = predict_with_std(model, X)
    m, s = model.regressor_.predict(X, return_std=True)
    # By the first terms of a Taylor series.
    np.testing.assert_allclose(mean, np.sqrt(m) - s**2 / (8 * m**1.5), rtol=1e-4)
    np.testing.assert_allclose(std, s / (2 * np.sqrt(m)), rtol=1e-2)


# ---------------------------------------------------------------------- refusals


class Polar(TransformerMixin, BaseEstimator):
    """Two columns that bend into each other."""

    def fit(self, y):
        return self

    def transform(self, y):
        return np.column_stack([np.hypot(*y.T), np.arctan2(*y.T)])

    def inverse_transform(self, y):
        return y[:, :1] * np.column_stack([np.sin(y[:, 1]), np.cos(y[:, 1])])


def test_refusals(diabetes):
    X, y = diabetes
    with pytest.raises(TypeError, match="here is a BaggingRegressor; call predict_uncertainty of the networks"):
        predict_uncertainty(make_pipeline(StandardScaler(), BaggingRegressor(EPSNNRegressor(), 2)).fit(X, y), X)
    labels = (y > 150).astype(int)
    with pytest.raises(TypeError, match="here is a CalibratedClassifierCV"):
        predict_uncertainty(CalibratedClassifierCV(EPSNNClassifier(), cv=2).fit(X, labels), X)
    with pytest.raises(TypeError, match="here is a LinearRegression"):
        predict_with_std(TransformedTargetRegressor(LinearRegression()).fit(X, y), X)
    with pytest.raises(TypeError, match="fitted searches .* here is a GridSearchCV"):
        predict_with_std(GridSearchCV(EPSNNRegressor(), {"fit_intercept": [True]}), X)
    with pytest.raises(TypeError, match="needs a regressor, and EPSNNClassifier is none; use predict_proba"):
        predict_with_std(EPSNNClassifier().fit(X, labels), X)
    for unfitted in (EPSNNRegressor(), TransformedTargetRegressor(EPSNNRegressor())):
        with pytest.raises(NotFittedError):
            predict_with_std(unfitted, X)
    root = TransformedTargetRegressor(EPSNNRegressor(), func=np.square, inverse_func=np.sqrt).fit(X, y)
    with pytest.raises(ValueError, match=r"\(FunctionTransformer\) is not finite within 8 standard deviations"):
        predict_with_std(root, X)
    bent = TransformedTargetRegressor(EPSNNRegressor(), transformer=Polar()).fit(X, np.column_stack([y, 300 - y]))
    with pytest.raises(ValueError, match=r"\(Polar\) mixes the targets in a way that is not linear"):
        predict_uncertainty(bent, X)
