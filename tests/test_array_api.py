"""The estimators on arrays of other libraries give what they give on those of NumPy."""

import os
import pickle

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits
from versions import SINCE_1_9

from sk_epsnn import (
    AverageEP,
    EPSNNClassifier,
    EPSNNRegressor,
    GaussianPrior,
    Newton,
    PopulationEncoder,
    SBNNClassifier,
    SBNNRegressor,
    merge,
)
from sk_epsnn._arrays import array_namespace, converted, device, like, take, to_numpy

pytestmark = pytest.mark.skipif(
    os.environ.get("SCIPY_ARRAY_API") != "1",
    reason="scikit-learn dispatches only where SCIPY_ARRAY_API=1 was set before Python started",
)
CLASSIFIERS = {
    "one layer": {},
    "hidden": {"hidden_layer_sizes": 20},
    "two hidden": {"hidden_layer_sizes": (10, 10), "activation": ["heaviside", "sigmoid"]},
    "binary": {"hidden_layer_sizes": 10, "weights": "binary"},
    "lattice": {"hidden_layer_sizes": 10, "weights": "binary", "fit_intercept": False},
    "ternary": {"weights": "ternary"},
    "slab": {"hidden_layer_sizes": 10, "prior": "bernoulli_gaussian"},
    "average": {
        "hidden_layer_sizes": 10,
        "prior": GaussianPrior(variance=1.0),
        "inference": AverageEP(damping=0.1),
    },
    "heaviside": {"output_activation": "heaviside"},
    "shards": {"n_shards": 2},
    "EP": {"output_activation": "sigmoid", "inference": Newton(power=1.0)},
}
REGRESSORS = {
    "one layer": {},
    "heated": {"hidden_layer_sizes": 10},
    "known noise": {"hidden_layer_sizes": 10, "noise_variance": 1000.0},
    "numbers": {"prior": GaussianPrior(variance=1.0), "inference": Newton(temperature=1.0)},
    "varying noise": {"noise_variance": "heteroscedastic"},
    "laplace": {"prior": "laplace"},
    "no bias": {"hidden_layer_sizes": 10, "fit_intercept": False},
}


class Library:
    """A library of arrays, with one of its devices."""

    def __init__(self, name, device):
        self.namespace = pytest.importorskip(name, reason=f"{name} is not installed")
        self.float32 = self.namespace.float32
        self.device = device
        if device == "cuda" and not self.namespace.cuda.is_available():
            pytest.skip(f"{name} finds no GPU")

    def asarray(self, values):
        on = {} if self.device is None else {"device": self.device}
        return self.namespace.asarray(values, **on)


@pytest.fixture(params=["array_api_strict", "torch", "torch cuda", "cupy"], scope="module")
def xp(request):
    name, *on = request.param.split()
    return Library(name, on[0] if on else None)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:400] / 16, y[:400]


@pytest.fixture(scope="module")
def diabetes():
    return load_diabetes(return_X_y=True)


@pytest.fixture
def dispatch():
    with config_context(array_api_dispatch=True):
        yield


def assert_same(array, expected, **tolerance):
    """Compare an array of another library with one of NumPy."""
    assert not isinstance(array, np.ndarray)
    np.testing.assert_allclose(to_numpy(array), expected, **tolerance)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifier(xp, digits, dispatch, name):
    X, y = digits
    params = {"max_iter": 2, "random_state": 0, **CLASSIFIERS[name]}
    plain = EPSNNClassifier(**params).fit(X, y)
    there = EPSNNClassifier(**params).fit(xp.asarray(X), xp.asarray(y))
    X_there = xp.asarray(X)
    assert_same(there.predict_proba(X_there), plain.predict_proba(X), rtol=1e-5, atol=1e-8)
    for ours, expected in zip(there.predict_uncertainty(X_there), plain.predict_uncertainty(X), strict=True):
        assert_same(ours, expected, rtol=1e-5, atol=1e-8)
    for attribute in ("coefs_", "intercepts_", "coefs_variance_", "intercepts_variance_", "map_coefs_"):
        for ours, expected in zip(getattr(there, attribute), getattr(plain, attribute), strict=True):
            assert_same(ours, expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(to_numpy(there.predict(X_there)), plain.predict(X))
    assert there.score(X_there, xp.asarray(y)) == pytest.approx(plain.score(X, y))


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressor(xp, diabetes, dispatch, name):
    X, y = diabetes
    params = {"max_iter": 2, "random_state": 0, **REGRESSORS[name]}
    plain = EPSNNRegressor(**params).fit(X, y)
    there = EPSNNRegressor(**params).fit(xp.asarray(X), xp.asarray(y))
    for ours, expected in zip(
        there.predict(xp.asarray(X), return_std=True), plain.predict(X, return_std=True), strict=True
    ):
        assert_same(ours, expected, rtol=1e-6)
    if name != "varying noise":
        assert there.noise_variance_ == pytest.approx(plain.noise_variance_)
    assert_same(there.coefs_[0], plain.coefs_[0], rtol=1e-5, atol=1e-8)


def test_float32_stays_where_it_is(xp, digits, dispatch):
    X, y = digits
    X = xp.asarray(X.astype(np.float32))
    probability = EPSNNClassifier(random_state=0).fit(X, xp.asarray(y)).predict_proba(X)
    assert array_namespace(probability) is array_namespace(X)
    assert probability.dtype == xp.float32
    assert device(probability) == device(X)


def test_stream_weights_and_merge(xp, digits, dispatch):
    X, y = digits
    weight = np.linspace(0, 2, 400)
    plain = EPSNNClassifier(random_state=0).partial_fit(X[:200], y[:200], classes=np.arange(10))
    there = EPSNNClassifier(random_state=0).partial_fit(
        xp.asarray(X[:200]), xp.asarray(y[:200]), classes=xp.asarray(np.arange(10))
    )
    parts = [pickle.loads(pickle.dumps(model)) for model in (plain, there)]
    parts[0].partial_fit(X[200:], y[200:], sample_weight=weight[200:])
    parts[1].partial_fit(xp.asarray(X[200:]), xp.asarray(y[200:]), sample_weight=xp.asarray(weight[200:]))
    merged, expected = merge(there, [parts[1]]), merge(plain, [parts[0]])
    assert_same(merged.predict_proba(xp.asarray(X)), expected.predict_proba(X), rtol=1e-6, atol=1e-10)
    frozen = merged.freeze()
    assert_same(frozen.predict_proba(xp.asarray(X)), expected.freeze().predict_proba(X), rtol=1e-6, atol=1e-10)


@pytest.mark.skipif(not SINCE_1_9, reason="scikit-learn moves estimators since 1.9")
@pytest.mark.parametrize("kind", [EPSNNClassifier, EPSNNRegressor])
def test_a_stream_that_begins_with_few_rows(kind, xp, digits, dispatch):
    """Rows that are kept go along where the estimator is moved."""
    from sklearn.utils._array_api import move_estimator_to

    X, y = digits
    classes = {"classes": np.arange(10)} if kind is EPSNNClassifier else {}
    plain = kind(random_state=0)
    for start in range(0, 4, 2):
        plain.partial_fit(X[start : start + 2], y[start : start + 2], **classes)
    there = move_estimator_to(plain, array_namespace(xp.asarray(X)), device(xp.asarray(X)))
    for start in range(4, 40, 6):
        rows = slice(start, start + 6)
        plain.partial_fit(X[rows], y[rows])
        there.partial_fit(xp.asarray(X[rows]), xp.asarray(y[rows]))
    assert_same(there.coefs_[0], plain.coefs_[0], rtol=1e-5, atol=1e-8)


def test_names_of_classes_stay_in_numpy(xp, digits, dispatch):
    X, y = digits
    names = np.array([f"digit {label}" for label in y])
    model = EPSNNClassifier(random_state=0).fit(xp.asarray(X), names)
    predicted = model.predict(xp.asarray(X))
    assert isinstance(predicted, np.ndarray)
    assert set(predicted) <= set(names)


@pytest.mark.skipif(not SINCE_1_9, reason="scikit-learn moves estimators since 1.9")
def test_estimator_moves_to_another_library(xp, digits, dispatch):
    from sklearn.utils._array_api import move_estimator_to

    X, y = digits
    plain = EPSNNClassifier(hidden_layer_sizes=10, random_state=0, max_iter=2).fit(X, y)
    moved = move_estimator_to(plain, array_namespace(xp.asarray(X)), device(xp.asarray(X)))
    assert_same(moved.predict_proba(xp.asarray(X)), plain.predict_proba(X), rtol=1e-6, atol=1e-10)
    back = move_estimator_to(moved, np, None)
    np.testing.assert_array_equal(back.predict_proba(X), plain.predict_proba(X))


def test_wrong_library_is_refused_and_changes_nothing(xp, digits, dispatch):
    X, y = digits
    model = EPSNNClassifier(random_state=0).fit(xp.asarray(X), xp.asarray(y))
    before = to_numpy(model.predict_proba(xp.asarray(X)))
    with pytest.raises(ValueError, match=r"EPSNNClassifier.predict_uncertainty\(\) must use the same namespace"):
        model.predict_uncertainty(X)
    with pytest.raises(ValueError, match="move_estimator_to"):
        model.partial_fit(X, y)
    np.testing.assert_array_equal(to_numpy(model.predict_proba(xp.asarray(X))), before)


def test_without_dispatch_the_error_says_what_to_do(xp, digits):
    X, y = digits
    with config_context(array_api_dispatch=True):
        model = EPSNNClassifier(random_state=0).fit(xp.asarray(X), xp.asarray(y))
    with pytest.raises(ValueError, match="array_api_dispatch=True"):
        model.predict(X)


@pytest.mark.parametrize("model", [EPSNNClassifier(), PopulationEncoder(4)], ids=["classifier", "encoder"])
def test_sequences_of_other_libraries_are_refused_by_name(xp, model):
    with (
        config_context(array_api_dispatch=True),
        pytest.raises(ValueError, match="array of NumPy.*asarray"),
    ):
        clone(model).fit(xp.asarray(np.zeros((6, 3, 2))), xp.asarray(np.arange(6) % 2))


def test_helpers(xp):
    array = xp.asarray(np.arange(12.0).reshape(4, 3))
    for chosen in (slice(1, 3), np.array([2, 0]), np.array([True, False, False, True])):
        np.testing.assert_array_equal(to_numpy(take(array, chosen)), to_numpy(array)[chosen])
    nested = converted({"a": 1.5, "b": [np.ones(2), (np.zeros(1), "text")]}["b"], lambda part: like(part, array))
    assert not isinstance(nested[0], np.ndarray) and not isinstance(nested[1][0], np.ndarray)
    assert nested[1][1] == "text"


@pytest.mark.parametrize("options", [{}, {"weights": "binary"}, {"hidden_layer_sizes": (6, 6, 6)}], ids=str)
def test_sbnn(xp, digits, dispatch, options):
    X, y = digits
    model = SBNNClassifier(**{"hidden_layer_sizes": 10, "max_iter": 3, "random_state": 0, **options})
    plain = clone(model).fit(X, y)
    model.fit(xp.asarray(X), xp.asarray(y))
    X_there = xp.asarray(X)
    # Single precision inside: a potential on the other side of 0 is another spike.
    assert_same(model.predict_proba(X_there), plain.predict_proba(X), atol=0.02)
    assert_same(model.predict_uncertainty(X_there).total, plain.predict_uncertainty(X).total, atol=0.05)
    model.partial_fit(xp.asarray(X), xp.asarray(y))
    assert model.score(X_there, xp.asarray(y)) > 0.5
    moved = converted(model._progress, to_numpy)
    assert all(isinstance(array, np.ndarray) for array in moved.state.parameters.values())


def test_sbnn_regressor(xp, diabetes, dispatch):
    X, y = diabetes
    model = SBNNRegressor(10, max_iter=3, random_state=0)
    mean, std = clone(model).fit(X, y).predict(X, return_std=True)
    there = model.fit(xp.asarray(X), xp.asarray(y)).predict(xp.asarray(X), return_std=True)
    assert_same(there[0], mean, rtol=0.05)
    assert_same(there[1], std, rtol=0.05)
