"""`inference="average_ep"` learns at its defaults, whatever the outputs, weights and layers, and warns of nothing."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, make_friedman1
from sklearn.linear_model import BayesianRidge
from sklearn.model_selection import train_test_split

from sk_epsnn import AverageEP, EPSNNClassifier, EPSNNRegressor

OUTPUTS = pytest.mark.parametrize("output", ["softmax", "sigmoid", "heaviside"])


def split(load, n=600):
    X, y = load(return_X_y=True)
    return train_test_split(X[:n] if len(X) > 700 else X, y[:n] if len(X) > 700 else y, random_state=1)


def refused(model):
    return model.update_counts_["rejected_batches"]


@OUTPUTS
@pytest.mark.parametrize("hidden", [(), (15,)], ids=["one layer", "hidden layer"])
def test_digits(hidden, output):
    X, X_test, y, y_test = split(load_digits)
    model = EPSNNClassifier(hidden, output_activation=output, inference="average_ep", random_state=0).fit(X, y)
    assert model.score(X_test, y_test) > 0.9
    assert refused(model) == 0
    assert max(model.history_["step"]) < 0.7 and model.settings_["inference__damping"].value == "found in each sweep"


@pytest.mark.parametrize("hidden", [(), (15,)], ids=["one layer", "hidden layer"])
def test_iris_and_features_of_a_thousand(hidden):
    for load, least in ((load_iris, 0.9), (load_breast_cancer, 0.85)):
        X, X_test, y, y_test = split(load)
        model = EPSNNClassifier(hidden, inference="average_ep", random_state=0).fit(X, y)
        assert model.score(X_test, y_test) > least and refused(model) == 0


@pytest.mark.parametrize(
    "options",
    [
        {"weights": "binary"},
        {"weights": "ternary", "hidden_layer_sizes": 30},
        {"prior": "laplace"},
        {"batch_size": 50},
        {"n_shards": 2},
        {"fit_intercept": False},
        {"hidden_layer_sizes": 15, "activation": "sigmoid"},
    ],
    ids=str,
)
def test_weights_priors_and_batches(options):
    X, X_test, y, y_test = split(load_digits)
    model = EPSNNClassifier(inference="average_ep", random_state=0, **options).fit(X, y)
    assert model.score(X_test, y_test) > 0.85 and refused(model) == 0


def test_a_stream():
    X, X_test, y, y_test = split(load_digits)
    model = EPSNNClassifier(inference="average_ep", random_state=0)
    for start in range(0, len(X), 90):
        model.partial_fit(X[start : start + 90], y[start : start + 90], classes=range(10))
    assert model.score(X_test, y_test) > 0.9 and refused(model) == 0


@pytest.mark.parametrize("hidden", [(), (15,)], ids=["one layer", "hidden layer"])
def test_regressors(hidden):
    X, y = make_friedman1(400, noise=1.0, random_state=0)
    X, X_test, y, y_test = train_test_split(3 + X, y, random_state=0)
    model = EPSNNRegressor(hidden, inference="average_ep", random_state=0).fit(X, y)
    mean, std = model.predict(X_test, return_std=True)
    peer = BayesianRidge().fit(X, y)
    assert model.score(X_test, y_test) > peer.score(X_test, y_test) - 0.03
    assert 0.8 < std.mean() / np.sqrt(np.mean((mean - y_test) ** 2)) < 1.3
    assert refused(model) == 0


def test_a_number_is_taken_as_it_is():
    X, _, y, _ = split(load_iris)
    model = EPSNNClassifier(inference=AverageEP(damping=0.05), max_iter=3, random_state=0).fit(X, y)
    assert set(model.history_["step"]) == {0.05} and "inference__damping" not in model.settings_
