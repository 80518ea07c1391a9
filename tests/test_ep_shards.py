"""Shards of the rows: what they learn apart adds up, wherever the work is done."""

import numpy as np
import pytest
from joblib import parallel_config

from sk_epsnn import EPSNNClassifier, EPSNNRegressor, Newton, Stochastic
from sk_epsnn.ep import shards
from sk_epsnn.ep.state import State

KIND = pytest.mark.parametrize("kind", [EPSNNClassifier, EPSNNRegressor])


@pytest.fixture
def data(kind, blobs, line):
    return blobs if kind is EPSNNClassifier else line


def values(model, X):
    """Predictions and uncertainty, side by side."""
    first = model.predict_log_proba(X) if isinstance(model, EPSNNClassifier) else model.predict(X)[:, None]
    return np.hstack([first, *(part[:, None] for part in model.predict_uncertainty(X))])


@KIND
@pytest.mark.parametrize("options", [{}, {"weights": "binary"}, {"prior": "laplace"}], ids=str)
def test_shards_learn_what_the_whole_does(kind, options, data):
    if kind is EPSNNClassifier:
        options = {"inference": Stochastic(n_passes=10), **options}
    else:
        options = {"inference": Newton(validation_fraction=0), "max_iter": 5, **options}
    model = kind(hidden_layer_sizes=(8,), n_shards=3, batch_size=20, random_state=0, **options).fit(data.X, data.y)
    whole = kind(hidden_layer_sizes=(8,), batch_size=20, random_state=0, **options).fit(data.X, data.y)
    assert model.score(data.X_test, data.y_test) > whole.score(data.X_test, data.y_test) - 0.1
    assert model._progress.state.mass == pytest.approx(len(data.X))


def test_shards_of_a_gaussian_layer_are_exact(line):
    """Joint weights and Gaussian noise: the factors of the shards multiply to that of all rows."""
    options = {"noise_variance": 0.1, "max_iter": 1}
    whole = EPSNNRegressor(**options, batch_size=len(line.X)).fit(line.X, line.y)
    for n_shards in (2, 5, 1000):
        model = EPSNNRegressor(**options, n_shards=n_shards, random_state=1).fit(line.X, line.y)
        for name in ("coefs_", "intercepts_", "coefs_variance_", "intercepts_variance_"):
            for a, b in zip(getattr(model, name), getattr(whole, name), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-7, err_msg=name)


@KIND
@pytest.mark.parametrize("hidden", [(), (5,)], ids=["one layer", "hidden layer"])
def test_backends_and_jobs_give_the_same_result(kind, hidden, data):
    # Held-out rows of a regressor try a dozen fits.
    options = {"inference": Newton(n_sweeps=3)} if hidden and kind is EPSNNRegressor else {}

    def fitted(n_jobs):
        model = kind(hidden, n_shards=3, n_jobs=n_jobs, max_iter=2, random_state=0, **options)
        return values(model.fit(data.X, data.y), data.X_test)

    expected = fitted(None)
    np.testing.assert_array_equal(fitted(2), expected)
    for backend in ("sequential", "threading", "loky"):
        with parallel_config(backend=backend):
            np.testing.assert_array_equal(fitted(2), expected, err_msg=backend)


def test_sum_that_goes_too_far_is_shortened(blobs, monkeypatch):
    """Eight shards of the same rows, independent weights: the full sum would lower the energy."""
    lengths = []
    plus = State.plus

    def noted(self, changes, step=1.0):
        lengths.append(step)
        return plus(self, changes, step)

    monkeypatch.setattr(State, "plus", noted)
    X, y = np.repeat(np.repeat(blobs.X, 8, axis=0), 40, axis=1), np.repeat(blobs.y, 8)
    options = {"output_activation": "sigmoid", "inference": Newton(temperature=0.2, power=0.1, n_sweeps=3)}
    model = EPSNNClassifier(n_shards=8, max_iter=5, tol=0, shuffle=False, random_state=0, **options).fit(X, y)
    assert 1.0 in lengths and 0.5 in lengths
    energies = np.array(model.history_["energy"])
    assert energies[-1] > energies[0]


@KIND
def test_means_stay_where_no_step_helps(kind, data, monkeypatch):
    monkeypatch.setattr(shards, "log_evidence", lambda state, batch, posteriors: np.nan)
    model = kind(n_shards=2, max_iter=1, random_state=0).fit(data.X, data.y)
    layer = model._progress.state.layers[0]
    np.testing.assert_allclose(layer.posterior.mean, layer.prior.mean, rtol=1e-12, atol=1e-15)
    assert np.isfinite(values(model, data.X_test)).all()


@KIND
def test_shards_and_streams(kind, data):
    """A call of partial_fit is one batch, whatever n_shards says."""
    classes = {"classes": np.unique(data.y)} if kind is EPSNNClassifier else {}
    one, two = (kind(n_shards=n, random_state=0).partial_fit(data.X, data.y, **classes) for n in (1, 4))
    np.testing.assert_array_equal(values(one, data.X_test), values(two, data.X_test))
