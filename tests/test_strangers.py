"""Somebody adds a neuron, a prior, a connection, a trainer as the pages say: each is fitted, saved, read, exported."""

import inspect
import pickle
import warnings
from pathlib import Path

import numpy as np
import oracles
import pytest
import toys
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from sk_epsnn import EPSNNClassifier, EPSNNRegressor, WeightPosteriorDisplay, register_onnx_converters, to_nir

DOCS = Path(__file__).parents[1] / "docs"
SHOWN = {
    "add_activation.md": [toys.NoisyThreshold],
    "add_prior.md": [toys.TwoHumpsPrior],
    "add_connection.md": [toys.Patches, toys.Leak],
    "add_trainer.md": [toys.PointState, toys.DeltaTrainer, toys.DeltaRule],
}
ADDED = {
    "neuron": {"hidden_layer_sizes": 10, "activation": toys.NoisyThreshold(noise=2.0)},
    "prior": {"prior": toys.TwoHumpsPrior(spread=0.2)},
    "connection": {"hidden_layer_sizes": (toys.Patches(6, (8, 8), size=4, stride=2),)},
    "trainer": {"inference": toys.DeltaRule(rate=2.0)},
}
#: A parameter of each that a search may try.
GRID = {
    "neuron": {"activation__noise": [1.0, 3.0]},
    "prior": {"prior__spread": [0.1, 0.5]},
    "connection": {"hidden_layer_sizes": [(toys.Patches(3, (8, 8), size=4),), (toys.Patches(4, (8, 8), size=8),)]},
    "trainer": {"inference__rate": [1.0, 0.1]},
}
EVERY = pytest.mark.parametrize("kind", ADDED)


def fitted(kind, digits, **more):
    return EPSNNClassifier(random_state=0, max_iter=4, **clone_options(ADDED[kind]), **more).fit(digits.X, digits.y)


def clone_options(options):
    return {
        name: clone(value, safe=False) if hasattr(value, "get_params") else value for name, value in options.items()
    }


@pytest.mark.parametrize("page", SHOWN)
def test_pages_show_these(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    for shown in SHOWN[page]:
        assert inspect.getsource(shown).rstrip() in text, shown.__name__


@EVERY
def test_fit_predict_save_load(kind, digits):
    model = fitted(kind, digits)
    probability = model.predict_proba(digits.X_test)
    assert model.score(digits.X_test, digits.y_test) > 0.6
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-9)
    total, aleatoric, epistemic = model.predict_uncertainty(digits.X_test)
    np.testing.assert_allclose(total, aleatoric + epistemic)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(digits.X_test), probability)
    assert "sk_epsnn" not in repr(clone(model)) and model.settings_


@EVERY
def test_streams_and_weights(kind, digits):
    model = EPSNNClassifier(random_state=0, **clone_options(ADDED[kind]))
    for rows in (slice(0, 150), slice(150, 300)):
        model.partial_fit(digits.X[rows], digits.y[rows], classes=range(10))
    assert model.n_iter_ == 2 and model.score(digits.X_test, digits.y_test) > 0.3
    assert len(model.coefs_) == model.n_layers_ - 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        WeightPosteriorDisplay.from_estimator(model)


@EVERY
def test_a_search_reaches_its_parameters(kind, digits):
    X, y = digits.X[:120], digits.y[:120] % 2
    model = EPSNNClassifier(random_state=0, max_iter=2, **clone_options(ADDED[kind]))
    search = GridSearchCV(model, GRID[kind], cv=2).fit(X, y)
    assert len(set(search.cv_results_["mean_test_score"])) == 2


@EVERY
def test_parameters_are_checked(kind, digits):
    name, options = (
        next((n, o) for n, o in ADDED[kind].items() if hasattr(o, "get_params"))
        if kind != "connection"
        else (
            "hidden_layer_sizes",
            ADDED[kind]["hidden_layer_sizes"][0],
        )
    )
    first = next(iter(options.get_params())) if kind != "prior" else "spread"
    broken = clone(options).set_params(**{first: -1})
    value = (broken,) if kind == "connection" else broken
    with pytest.raises(ValueError, match=f"'{first}' parameter of {type(options).__name__}"):
        EPSNNClassifier(**{**ADDED[kind], name: value}).fit(digits.X, digits.y)


@EVERY
def test_exports_take_it_or_refuse_it_by_name(kind, digits):
    pytest.importorskip("nir")
    skl2onnx = pytest.importorskip("skl2onnx")
    register_onnx_converters()
    model = fitted(kind, digits)
    if kind == "neuron":
        with pytest.raises(ValueError, match="noisy_threshold"):
            to_nir(model)
        with pytest.raises(NotImplementedError, match="NoisyThreshold"):
            skl2onnx.to_onnx(model, digits.X[:1])
    elif kind == "connection":
        with pytest.raises(ValueError, match="Patches"):
            to_nir(model)
        with pytest.raises(NotImplementedError, match="Patches"):
            skl2onnx.to_onnx(model, digits.X[:1])
    else:
        weight = to_nir(model).nodes["affine"].weight
        np.testing.assert_array_equal(weight, np.asarray(model.coefs_[0]).T)
        if kind == "trainer":
            with pytest.raises(NotImplementedError, match="Expectation Propagation"):
                skl2onnx.to_onnx(model, digits.X[:1])
        else:
            assert skl2onnx.to_onnx(model, digits.X[:1])


# ---------------------------------------------------------------------- the toys are right, or they would prove nothing


@pytest.mark.parametrize("noise", [0.5, 2.0])
@pytest.mark.parametrize(("mean", "variance"), [(0.3, 0.5), (-2.0, 4.0), (1.0, 0.01)])
def test_the_neuron_against_quadrature(noise, mean, variance):
    from scipy.special import ndtr

    neuron = toys.NoisyThreshold(noise)
    moments = neuron.forward(np.array([[mean]]), np.array([[variance]]))
    fires = oracles.expectation(lambda u: ndtr(u / noise), mean, variance)
    twice = oracles.expectation(lambda u: ndtr(u / noise) ** 2, mean, variance)
    np.testing.assert_allclose(moments.probability, fires, rtol=1e-9)
    np.testing.assert_allclose(neuron.repeat_probability(moments), twice, rtol=1e-6)


@pytest.mark.parametrize(("precision", "shift"), [(0.0, 0.0), (2.0, 1.0), (50.0, -20.0)])
def test_the_prior_against_quadrature(precision, shift):
    prior = toys.TwoHumpsPrior(spread=0.3)
    found = prior.tilted(np.array([precision]), np.array([shift]))
    w, rule = oracles.panels(-8.0, 8.0, 0.05)
    density = sum(np.exp(-0.5 * (w - a) ** 2 / 0.3) for a in (-1, 1)) / (2 * np.sqrt(2 * np.pi * 0.3))
    density = density * np.exp(shift * w - 0.5 * precision * w**2) * rule
    mass = density.sum()
    mean = density @ w / mass
    np.testing.assert_allclose(found.log_z, np.log(mass), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.variance, density @ (w - mean) ** 2 / mass, rtol=1e-9)


def test_the_trainer_is_logistic_regression(blobs):
    X, y = blobs.X, (blobs.y > 0).astype(int)
    model = EPSNNClassifier(inference=toys.DeltaRule(rate=2.0, n_steps=500), max_iter=40, tol=1e-9).fit(X, y)
    expected = LogisticRegression(C=1e9, tol=1e-8).fit(X, y)
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-3)
    np.testing.assert_allclose(model.intercept_, expected.intercept_, rtol=1e-3)
    np.testing.assert_allclose(model.predict_proba(X), expected.predict_proba(X), atol=1e-3)
    assert model.freeze().coef_.shape == (1, 2)
    np.testing.assert_allclose(model.predict_uncertainty(X).epistemic, 0, atol=1e-14)


def test_a_trainer_refuses_what_it_has_no_use_for(digits):
    for options in ({"hidden_layer_sizes": 5}, {"weights": "binary"}, {"prior": "laplace"}):
        with pytest.raises(ValueError, match="delta_rule trains a single layer of continuous weights"):
            EPSNNClassifier(inference=toys.DeltaRule(), **options).fit(digits.X, digits.y)
    with pytest.raises(NotImplementedError, match="DeltaTrainer cannot learn from parts of the rows apart"):
        EPSNNClassifier(inference=toys.DeltaRule(), n_shards=2).fit(digits.X, digits.y)
    model = EPSNNClassifier(inference=toys.DeltaRule()).fit(digits.X, digits.y)
    with pytest.raises(NotImplementedError, match="DeltaTrainer cannot forget"):
        model.set_params(forgetting=0.5).partial_fit(digits.X, digits.y)


def test_a_regressor_takes_them_too(line):
    model = EPSNNRegressor(8, activation=toys.NoisyThreshold(), random_state=0).fit(line.X, line.y)
    assert model.score(line.X_test, line.y_test) > 0.5
    sparse = EPSNNRegressor(prior=toys.TwoHumpsPrior(spread=0.5), random_state=0).fit(line.X, line.y)
    assert sparse.score(line.X_test, line.y_test) > 0.7
