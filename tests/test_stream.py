"""Streams: after every step they say what predictions from the steps so far say."""

import copy
import pickle
from functools import cache

import numpy as np
import pytest

from sk_epsnn import LIF, EPSNNClassifier, EPSNNRegressor, Newton, SigmoidLIF

N_STEPS, N_FEATURES = 6, 3
TOLERANCE = {np.float64: 1e-11, np.float32: 3e-5}
#: Sizes of hidden layers and their neurons.
NETWORKS = {
    "single, mean": ((), LIF()),
    "single, last": ((), LIF(0.8, readout="last")),
    "mean": ((5,), LIF(0.8)),
    "last": ((5,), LIF(0.8, readout="last")),
    "no leak": ((5,), LIF(0.0)),
    "no leak, last": ((5,), LIF(0.0, readout="last")),
    "plain neurons": ((5,), "heaviside"),
    "sigmoid": ((5,), SigmoidLIF(0.8)),
    "sigmoid, last": ((5,), SigmoidLIF(0.8, readout="last")),
    "two layers": ((5, 4), [LIF(0.8), LIF(0.6)]),
    "two layers, last": ((5, 4), [SigmoidLIF(0.5), LIF(0.8, readout="last")]),
    "two layers, no leak": ((5, 4), [LIF(0.0), LIF(0.0)]),
    "reset": ((5,), LIF(0.8, reset=1.0)),
    "reset, no leak": ((5,), SigmoidLIF(0.0, reset=1.0)),
    "recurrent": ((5,), LIF(0.8, recurrent=True)),
    "recurrent, last": ((5,), SigmoidLIF(0.8, recurrent=True, readout="last")),
    "recurrent, no leak": ((5,), LIF(0.0, recurrent=True)),
    "two recurrent": ((5, 4), [LIF(0.6, recurrent=True), LIF(0.8, reset=1.0, recurrent=True)]),
    "three with memory": ((5, 4, 3), [SigmoidLIF(0.6, reset=1.0), LIF(0.0, recurrent=True), LIF(0.5, reset=1.0)]),
}
#: Neurons whose spikes are read in several parts, which are known at the end only.
PARTS = {
    "parts": LIF(0.8, readout=4),
    "reset, parts": LIF(0.8, reset=1.0, readout=4),
    "recurrent, parts": SigmoidLIF(0.8, recurrent=True, readout=4),
}
TASKS = ("three classes", "two classes", "real")


@cache
def data(dtype=np.float64):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 60)
    X = rng.normal(size=(60, N_STEPS, N_FEATURES))
    X[np.arange(60), :, label] += 1
    return X.astype(dtype), label


@cache
def fitted(task, network, dtype=np.float64, **options):
    X, label = data(dtype)
    sizes, activation = NETWORKS[network] if network in NETWORKS else ((5,), PARTS[network])
    options = {"activation": activation, "inference": Newton(n_sweeps=2), "max_iter": 1, "random_state": 0, **options}
    if task == "real":
        options = {"noise_variance": 0.5, **options}
        return EPSNNRegressor(sizes, **options).fit(X, label + X[:, 0, 0])
    return EPSNNClassifier(sizes, **options).fit(X, label if task == "three classes" else label == 0)


def whole(model, X):
    """Predictions from whole sequences, in the form of a stream's."""
    if isinstance(model, EPSNNRegressor):
        return model.predict(X, return_std=True)
    return model.predict_proba(X)


def assert_same(found, expected, dtype=np.float64):
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize(
    ("task", "network", "dtype"),
    # In single precision each network with one of the tasks.
    [(task, network, np.float64) for task in TASKS for network in NETWORKS]
    + [(TASKS[k % len(TASKS)], network, np.float32) for k, network in enumerate(NETWORKS)],
)
def test_a_stream_says_what_the_steps_so_far_say(task, network, dtype):
    model, X = fitted(task, network, dtype), data(dtype)[0][:4]
    stream = model.stream(n_samples=4)
    for t in range(N_STEPS):
        found = stream.step(X[:, t])
        assert_same(found, whole(model, X[:, : t + 1]), dtype)
        assert_same(stream.predict_uncertainty(), model.predict_uncertainty(X[:, : t + 1]), dtype)
        assert {np.asarray(part).dtype for part in found} == {np.dtype(dtype)}
    np.testing.assert_array_equal(stream.n_steps_, N_STEPS)


@pytest.mark.parametrize("network", ["mean", "two layers, last", "two recurrent"])
def test_a_stream_goes_on_beyond_the_steps_of_the_fit(network):
    model = fitted("three classes", network)
    X = np.random.default_rng(1).normal(size=(2, 40, N_FEATURES))
    stream = model.stream(n_samples=2)
    for t in range(40):
        found = stream.step(X[:, t])
    assert_same(found, model.predict_proba(X))


@pytest.mark.parametrize(
    ("task", "network", "options"),
    [
        ("real", "mean", {"noise_variance": "heteroscedastic"}),
        ("three classes", "mean", {"weights": "ternary", "output_activation": "sigmoid"}),
        ("three classes", "two layers", {"fit_intercept": False, "output_activation": "heaviside"}),
        ("two classes", "two recurrent", {"fit_intercept": False}),
        ("three classes", "reset", {"weights": "ternary"}),
    ],
)
def test_streams_of_other_networks(task, network, options):
    model, X = fitted(task, network, **options), data()[0][:4]
    for each in (model, model.freeze()):
        stream = each.stream(4)
        for t in range(N_STEPS):
            assert_same(stream.step(X[:, t]), whole(each, X[:, : t + 1]))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("network", "n_steps"), [("parts", None), *((network, 5) for network in PARTS)])
def test_parts_are_those_of_all_the_steps_to_come(task, network, n_steps):
    model = fitted(task, network)
    X = data()[0][:4, :n_steps]
    stream = model.stream(n_samples=4, n_steps=n_steps)
    for t in range(X.shape[1]):
        found = stream.step(X[:, t])
    assert_same(found, whole(model, X))
    with pytest.raises(ValueError, match=rf"all its n_steps={X.shape[1]} steps"):
        stream.step(X[:, 0])
    assert_same(stream.predict_uncertainty(), model.predict_uncertainty(X))


def test_parts_that_have_not_begun_are_silent():
    X, label = data()
    model = EPSNNRegressor(activation=LIF(readout=2)).fit(X, label + X[:, 0, 0])
    stream = model.stream()
    mean = [stream.step(X[:1, t])[0] for t in range(N_STEPS)]
    first, second = model.coefs_[0][:N_FEATURES, 0], model.coefs_[0][N_FEATURES:, 0]
    bias = model.intercepts_[0][0]
    for t in range(3):
        np.testing.assert_allclose(mean[t], X[0, : t + 1].mean(0) @ first + bias)
        both = X[0, :3].mean(0) @ first + X[0, 3 : 4 + t].mean(0) @ second
        np.testing.assert_allclose(mean[3 + t], both + bias)


@pytest.mark.parametrize(
    "network", ["single, mean", "mean", "last", "two layers", "two layers, no leak", "two recurrent"]
)
def test_a_sequence_that_has_ended_keeps_its_prediction(network):
    model = fitted("three classes", network)
    X, ends = data()[0][:4].copy(), np.array([6, 3, 0, 5])
    for sequence, end in zip(X, ends, strict=True):
        sequence[end:] = np.nan
    stream = model.stream(n_samples=4)
    for t in range(N_STEPS):
        found = stream.step(X[:, t])
        assert_same(found, model.predict_proba(X[:, : t + 1]))
    np.testing.assert_array_equal(stream.n_steps_, ends)
    assert_same(stream.step(np.full((4, N_FEATURES), np.nan)), found)


WRONG = {
    "features": (np.zeros((2, N_FEATURES + 1)), f"expecting {N_FEATURES} features"),
    "sequences": (np.zeros((3, N_FEATURES)), "n_samples=2 sequences, and X has 3 rows"),
    "gap": ([[0, 0, 0], [0, np.nan, 0]], "some features of sequence 1"),
    "infinite": ([[0, 0, 0], [0, np.inf, 0]], "infinity"),
    "huge": ([[0, 1e200, 0], [np.nan] * 3], "Rescale"),
    "one axis": (np.zeros(N_FEATURES), "Expected 2D"),
    "three axes": (np.zeros((2, 1, N_FEATURES)), "[Dd]im"),
    "back": ([[0, 0, 0], [1, 1, 1]], "Sequence 1 has ended after 1 steps"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_steps_leave_a_stream_as_it_was(wrong):
    X, message = WRONG[wrong]
    model, right = fitted("three classes", "mean"), data()[0][:2].copy()
    stream = model.stream(n_samples=2)
    stream.step(right[:, 0])
    right[1, 1:] = np.nan
    stream.step(right[:, 1])
    with pytest.raises(ValueError, match=message):
        stream.step(X)
    assert_same(stream.step(right[:, 2]), model.predict_proba(right[:, :3]))


def test_streams_that_cannot_be():
    rows = EPSNNClassifier(max_iter=1).fit(data()[0][:, 0], data()[1])
    with pytest.raises(ValueError, match="fitted on rows"):
        rows.stream()
    with pytest.raises(ValueError, match="not fitted yet"):
        EPSNNClassifier().stream()
    model = fitted("three classes", "mean")
    with pytest.raises(ValueError, match="n_steps=9 has no effect"):
        model.stream(n_steps=9)
    with pytest.raises(ValueError, match="n_samples == 0"):
        model.stream(n_samples=0)
    with pytest.raises(TypeError, match="n_samples"):
        model.stream(n_samples=1.5)
    with pytest.raises(ValueError, match="n_steps == 0"):
        fitted("three classes", "parts").stream(n_steps=0)
    with pytest.raises(ValueError, match="no step yet"):
        model.stream().predict_uncertainty()


@pytest.mark.parametrize("network", ["two layers, last", "two recurrent"])
def test_copies_go_on_by_themselves(network):
    model, X = fitted("three classes", network), data()[0][:2]
    stream = model.stream(n_samples=2)
    stream.step(X[:, 0])
    copies = [copy.copy(stream), copy.deepcopy(stream), pickle.loads(pickle.dumps(stream))]
    stream.step(X[:, 2])
    for each in copies:
        assert_same(each.step(X[:, 1]), model.predict_proba(X[:, :2]))
    assert_same(stream.step(X[:, 1]), model.predict_proba(X[:, [0, 2, 1]]))
    stream.reset()
    assert_same(stream.step(X[:, 1]), model.predict_proba(X[:, 1:2]))


@pytest.mark.parametrize("network", ["two layers", "two recurrent"])
def test_what_is_kept_does_not_grow(network):
    model, X = fitted("three classes", network), data()[0][:2]
    stream, sizes = model.stream(n_samples=2), []
    for t in range(30):
        stream.step(X[:, t % N_STEPS])
        sizes.append(len(pickle.dumps(stream)))
    assert max(sizes) == min(sizes)


def test_a_stream_keeps_the_weights_of_its_beginning():
    X, label = data()
    model = EPSNNRegressor(5, activation=LIF(0.8), max_iter=1, random_state=0).partial_fit(X, label)
    begun, waiting, before = model.stream(2), model.stream(2), copy.deepcopy(model)
    begun.step(X[:2, 0])
    model.partial_fit(X, -5.0 * label)
    waiting.step(X[:2, 0])
    for stream in (begun, waiting):
        mean, _ = stream.step(X[:2, 1])
        assert_same(mean, before.predict(X[:2, :2]))
    assert np.abs(mean - model.predict(X[:2, :2])).max() > 0.1


def test_steps_have_the_dtype_of_the_first():
    model, X = fitted("three classes", "mean", np.float32), data(np.float32)[0][:2]
    stream = model.stream(n_samples=2)
    stream.step(X[:, 0])
    assert stream.step(X[:, 1].astype(np.float64)).dtype == np.float32
    assert stream.step(np.zeros((2, N_FEATURES), int)).dtype == np.float32
    stream.reset()
    assert stream.step(np.zeros((2, N_FEATURES), int)).dtype == np.float64
