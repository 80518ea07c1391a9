"""Estimators on samples of many steps: the door, absent steps, searches, streams, and what they refuse."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline

from sk_epsnn import (
    LIF,
    AverageEP,
    DeltaSpikeEncoder,
    EPSNNClassifier,
    EPSNNRegressor,
    Newton,
    PopulationEncoder,
    SigmoidLIF,
    Stochastic,
)
from sk_epsnn.connections import Dense
from sk_epsnn.leaks import LEAKS

FEW = Stochastic(n_passes=3)


def tones(n_samples=120, n_steps=8, seed=0):
    """Two signals that turn one way, the other way, or twice as fast; their means say nothing."""
    rng = np.random.default_rng(seed)
    y, time = rng.integers(0, 3, n_samples), np.arange(n_steps)
    angle = np.outer(np.array([-0.8, 0.8, 1.6])[y], time) + rng.uniform(0, 6, (n_samples, 1))
    return np.stack([np.cos(angle), np.sin(angle)], axis=2) + 0.1 * rng.standard_normal((n_samples, n_steps, 2)), y


def classifier(**parameters):
    return EPSNNClassifier(**{"hidden_layer_sizes": 6, "activation": LIF(0.6), "random_state": 0, **parameters})


@pytest.fixture(scope="module")
def fitted():
    X, y = tones()
    return classifier(inference=FEW).fit(X, y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shapes(dtype):
    X, y = tones()
    X = X.astype(dtype)
    model = classifier(inference=FEW).fit(X, y)
    assert (model.n_features_in_, model.n_steps_in_) == (2, 8)
    assert model.predict_proba(X).shape == (120, 3) and model.predict_proba(X).dtype == dtype
    np.testing.assert_array_equal(model.leak_, [0.6, 0.6])
    assert [coef.shape for coef in model.coefs_] == [(2, 6), (6, 3)]
    for part in model.predict_uncertainty(X):
        assert part.shape == (120,) and np.isfinite(part).all()


@pytest.mark.parametrize("readout", ["mean", "last", 3])
def test_a_sample_that_ends_is_as_the_shorter_one(readout):
    X, y = tones()
    model = classifier(activation=LIF(0.6, readout=readout), inference=FEW).fit(X, y)
    padded = X.copy()
    padded[::2, 5:] = np.nan
    found = model.predict_proba(padded)
    np.testing.assert_allclose(found[::2], model.predict_proba(X[::2, :5]), rtol=1e-12)
    np.testing.assert_allclose(found[1::2], model.predict_proba(X[1::2]), rtol=1e-12)


@pytest.mark.parametrize("hidden", [(), 6], ids=["single", "hidden"])
def test_steps_that_no_sample_has_change_nothing_in_training(hidden):
    X, y = tones()
    X[:60, 6:] = np.nan
    longer = np.concatenate([X, np.full((120, 3, 2), np.nan)], axis=1)
    parameters = {"hidden_layer_sizes": hidden, "inference": FEW if hidden else "auto"}
    parameters["activation"] = LIF(0.6)
    one, other = (classifier(**parameters).fit(rows, y) for rows in (X, longer))
    np.testing.assert_allclose(other.predict_proba(X), one.predict_proba(X), rtol=1e-9)


def test_more_steps_than_in_training(fitted):
    X, _ = tones(seed=1, n_steps=14)
    assert np.isfinite(fitted.predict_proba(X)).all()
    shorter = np.where(np.arange(14)[:, None] < 8, X, np.nan)
    np.testing.assert_allclose(fitted.predict_proba(shorter), fitted.predict_proba(X[:, :8]), rtol=1e-12)


def test_one_step_without_a_leak_is_a_row():
    """The same network but for the start, which is the same too."""
    X, y = tones()
    rows = X[:, 0]
    plain = EPSNNClassifier(6, inference=FEW, random_state=0).fit(rows, y)
    steps = EPSNNClassifier(6, inference=FEW, random_state=0).fit(rows[:, None], y)
    np.testing.assert_allclose(steps.predict_proba(rows[:, None]), plain.predict_proba(rows), rtol=1e-6)


def test_a_row_of_weight_two_is_the_row_twice():
    X, y = tones(60)
    weight = np.where(np.arange(60) < 20, 2.0, 1.0)
    twice = np.concatenate([np.arange(60), np.arange(20)])
    parameters = {"inference": Newton(n_sweeps=3), "max_iter": 1, "shuffle": False}
    one = classifier(**parameters).fit(X, y, sample_weight=weight)
    other = classifier(**parameters).fit(X[twice], y[twice])
    np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("n_shards", [1, 2])
def test_results_do_not_depend_on_n_jobs(n_shards):
    X, y = tones()
    proba = [
        classifier(inference=FEW, n_shards=n_shards, n_jobs=n_jobs).fit(X, y).predict_proba(X) for n_jobs in (1, 2)
    ]
    np.testing.assert_array_equal(*proba)


def test_in_searches_pipelines_and_files(fitted):
    X, y = tones()
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    search = GridSearchCV(classifier(inference=FEW), {"activation__leak": [0.0, 0.6]}, cv=2).fit(X_train, y_train)
    assert search.best_params_["activation__leak"] in (0.0, 0.6) and search.score(X_test, y_test) > 0.3
    assert len(cross_val_score(classifier(inference=FEW), X, y, cv=2)) == 2
    for encoder in (PopulationEncoder(4, random_state=0), DeltaSpikeEncoder()):
        model = make_pipeline(encoder, classifier(inference=FEW)).fit(X_train, y_train)
        assert np.isfinite(log_loss(y_test, model.predict_proba(X_test)))
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    assert clone(fitted).get_params()["activation"].leak == 0.6


def test_learns_what_the_mean_does_not_say():
    X, y = tones(600)
    model = classifier(hidden_layer_sizes=20).fit(X[:400], y[:400])
    assert model.score(X[400:], y[400:]) > 0.6
    static = EPSNNClassifier(20, random_state=0).fit(X[:400].mean(1), y[:400])
    assert static.score(X[400:].mean(1), y[400:]) < 0.5


def test_streams_go_on_from_batch_to_batch():
    X, y = tones(300)
    model = classifier(hidden_layer_sizes=10)
    for part in range(0, 300, 100):
        model.partial_fit(X[part : part + 100], y[part : part + 100], classes=[0, 1, 2])
    assert model.score(X, y) > 0.5
    before = pickle.dumps(model.coefs_)
    with pytest.raises(ValueError, match="n_steps_in_"):
        model.partial_fit(np.concatenate([X, X], axis=1), y)
    assert pickle.dumps(model.coefs_) == before
    model.partial_fit(X[:, :5], y)


def test_a_leak_that_the_rows_choose():
    """Which of two pulses was first needs a memory; what the last step says does not."""
    rng = np.random.default_rng(3)
    rows, first = np.arange(400), rng.integers(0, 2, 400)
    X, times = np.zeros((400, 12, 2)), np.sort([rng.choice(12, 2, replace=False) for _ in rows], axis=1)
    X[rows, times[:, 0], first], X[rows, times[:, 1], 1 - first] = 1.0, 1.0
    parameters = {"inference": FEW, "random_state": 0}
    model = EPSNNClassifier(10, activation=LIF("auto"), **parameters).fit(X, first)
    assert 0.7 < model.leak_[0] == model.leak_[1] < 1
    np.testing.assert_array_equal(*(clone(model).fit(X[:60], first[:60]).predict_proba(X) for _ in range(2)))
    X = rng.standard_normal((400, 12, 2))
    now = EPSNNClassifier(10, activation=LIF("auto", readout="last"), **parameters).fit(X, X[:, -1, 0] > 0)
    assert now.leak_[0] < 0.6


def test_outputs_with_a_leak_of_their_own():
    """They read a weighted mean of the inputs, or of the spikes of neurons with another leak."""
    X, y = tones()
    weight = 0.7 ** np.arange(X.shape[1])[::-1]
    traces = np.einsum("nti,t->ni", X, weight / weight.sum())
    own = {"readout": "last", "readout_leak": 0.7}
    found = EPSNNClassifier(hidden_layer_sizes=(), activation=LIF(0.2, **own)).fit(X, y)
    assert found.leak_.tolist() == [0.7]
    expected = EPSNNClassifier(hidden_layer_sizes=()).fit(traces, y)
    np.testing.assert_allclose(found.predict_proba(X), expected.predict_proba(traces), rtol=1e-6)
    hidden = classifier(activation=LIF(0.2, **own), inference=FEW).fit(X, y)
    assert hidden.leak_.tolist() == [0.2, 0.7]
    stream = hidden.stream(n_samples=len(X))
    for t in range(X.shape[1]):
        probability = stream.step(X[:, t])
    np.testing.assert_allclose(probability, hidden.predict_proba(X), rtol=1e-6)


@pytest.mark.parametrize("readout", ["last", "each"])
def test_outputs_with_a_leak_that_the_rows_choose(readout):
    X, y = tones()
    targets = np.repeat(y[:, None], X.shape[1], axis=1) if readout == "each" else y
    activation = LIF(0.2, readout=readout, readout_leak="auto")
    hidden, outputs = classifier(activation=activation, inference=FEW).fit(X, targets).leak_
    assert hidden == 0.2 and outputs in LEAKS


@pytest.mark.parametrize("readout", ["mean", 3])
def test_means_have_no_leak(readout):
    X, y = tones()
    with pytest.raises(ValueError, match="readout_leak=0.5 has no effect on means.*'last' or 'each'"):
        classifier(activation=LIF(0.2, readout=readout, readout_leak=0.5)).fit(X, y)


def test_regressors():
    rng = np.random.default_rng(4)
    X = rng.standard_normal((200, 6, 2))
    y = np.stack([X[:, :3, 0].sum(1), X[:, 3:, 1].sum(1)], axis=1)
    model = EPSNNRegressor(activation=LIF(0.0, readout=2)).fit(X, y)
    assert model.score(X, y) > 0.99 and model.coef_.shape == (2, 4)
    mean, std = model.predict(X, return_std=True)
    assert mean.shape == std.shape == (200, 2)
    hidden = EPSNNRegressor(8, activation=SigmoidLIF(0.5), max_iter=2, random_state=0).fit(X, y[:, 0])
    assert hidden.predict(X).shape == (200,)


def test_one_neuron_for_all_layers_says_how_the_last_is_read():
    X, y = tones(60)
    model = classifier(hidden_layer_sizes=(5, 4), activation=LIF(0.5, readout=2), inference=FEW).fit(X, y)
    assert [coef.shape[0] for coef in model.coefs_] == [2, 5, 8]


# What is refused


def test_a_fitted_estimator_keeps_to_its_kind(fitted):
    X, y = tones()
    before = fitted.predict_proba(X)
    with pytest.raises(ValueError, match="fitted on sequences"):
        fitted.predict(X[:, 0])
    with pytest.raises(ValueError, match="3 features"):
        fitted.predict(np.ones((2, 8, 3)))
    rows = EPSNNClassifier().fit(X[:, 0], y)
    with pytest.raises(ValueError, match="fitted on rows"):
        rows.predict(X)
    np.testing.assert_array_equal(fitted.predict_proba(X), before)
    assert not hasattr(EPSNNClassifier().fit(X, y).fit(X[:, 0], y), "n_steps_in_")
    with pytest.raises(AttributeError, match="leak_"):
        _ = rows.leak_


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"activation": LIF(1.0)}, "leak"),
        ({"activation": LIF(0.5, readout=0)}, "readout"),
        ({"activation": LIF(0.5, readout="first")}, "readout"),
        ({"activation": [LIF(0.5, readout=2), LIF(0.5)], "hidden_layer_sizes": (4, 4)}, "readout"),
        ({"hidden_layer_sizes": [Dense(5)], "inference": AverageEP()}, "average_ep"),
    ],
)
def test_bad_parameters(parameters, match):
    X, y = tones(30)
    with pytest.raises(ValueError, match=match):
        classifier(**parameters).fit(X, y)


def test_memory_needs_steps():
    X, y = tones(30)
    with pytest.raises(ValueError, match=r"n_samples, n_steps, n_features"):
        classifier().fit(X[:, 0], y)


@pytest.mark.parametrize("what", ["gap", "part", "infinite", "none"])
def test_bad_steps(what):
    X, y = tones(30)
    if what == "gap":
        X[3, 2] = np.nan
    elif what == "part":
        X[3, 7, 0] = np.nan
    elif what == "infinite":
        X[3, 2, 0] = np.inf
    else:
        X[:] = np.nan
    with pytest.raises(ValueError, match="NaN|inf"):
        classifier().fit(X, y)
    with pytest.raises(ValueError, match="inconsistent"):
        classifier().fit(tones(30)[0], y[:29])
