"""Latency code: times against their formulas and an integrated membrane, silence, what is refused."""

import doctest
import math
import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sk_epsnn import LatencySpikeEncoder
from sk_epsnn.encoders import _latency, _row

SETTINGS = [{}, {"n_steps": 25, "threshold": 0.3}, {"n_steps": 40, "tau": 6.5, "threshold": 0.2}, {"n_steps": 1}]


def rows(n_samples=30, n_features=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n_samples, n_features)) * [1.0, 50.0, 1e-4, 3.0]


def scalar_time(rate, n_steps, tau, threshold):
    if rate <= threshold:
        return math.inf
    if tau == "linear":
        return (n_steps - 1) * (1 - rate) / (1 - threshold)
    return tau * math.log(rate / (rate - threshold))


def test_docstring_example():
    outcome = doctest.testmod(_latency)
    assert outcome.attempted >= 3 and outcome.failed == 0


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("elements", [1, 2**16])
def test_spikes_match_a_scalar_oracle(settings, elements, monkeypatch):
    monkeypatch.setattr(_row, "_CHUNK_ELEMENTS", elements)
    X = rows()
    encoder = LatencySpikeEncoder(**settings).fit(X)
    spikes = encoder.transform(X)
    low, high = X.min(axis=0), X.max(axis=0)
    assert spikes.shape == (30, encoder.n_steps, 4)
    for sample in range(30):
        for feature in range(4):
            rate = (X[sample, feature] - low[feature]) / (high[feature] - low[feature])
            time = scalar_time(rate, encoder.n_steps, encoder.tau, encoder.threshold)
            expected = [float(time != math.inf and step - 0.5 <= time < step + 0.5) for step in range(encoder.n_steps)]
            assert spikes[sample, :, feature].tolist() == expected


def test_time_constant_is_that_of_a_membrane():
    """Euler steps of an integrate-and-fire neuron, du/dt = (r - u) / tau."""
    rates, tau, threshold, part = np.linspace(0.35, 1.0, 14), 8.0, 0.3, 1e-3
    potential, times = np.zeros(14), np.full(14, np.nan)
    for tick in range(int(30 / part)):
        potential += part * (rates - potential) / tau
        times[np.isnan(times) & (potential >= threshold)] = (tick + 1) * part
    encoder = LatencySpikeEncoder(31, tau=tau, threshold=threshold, feature_range=(0, 1)).fit([[0.0] * 14])
    assert np.abs(times % 1 - 0.5).min() > 0.01  # none between two steps
    np.testing.assert_array_equal(encoder.transform([rates])[0].argmax(axis=0), np.round(times))


@pytest.mark.parametrize("tau", ["linear", 3.0])
def test_larger_values_spike_earlier_and_the_low_end_never(tau):
    X = np.linspace(-2.0, 5.0, 50)[:, None]
    spikes = LatencySpikeEncoder(200, tau=tau).fit_transform(X)[:, :, 0]
    assert not spikes[0].any() and (spikes[1:].sum(axis=1) == 1).all()
    steps = spikes[1:].argmax(axis=1)
    assert np.all(np.diff(steps) <= 0) and steps[-1] == 0 and steps[0] >= 2


def test_what_would_come_after_the_last_step_never_does():
    rates = np.array([[1.0, 0.5, 0.3, 0.26]])
    long, short = (LatencySpikeEncoder(n, tau=10.0, threshold=0.25, feature_range=(0, 1)).fit(rates) for n in (60, 10))
    np.testing.assert_array_equal(short.transform(rates), long.transform(rates)[:, :10])
    assert long.transform(rates).sum() == 4 and short.transform(rates).sum() == 2


def test_values_beyond_the_range_are_those_of_its_ends():
    encoder = LatencySpikeEncoder(5, feature_range=(0, 10)).fit([[1.0]])
    np.testing.assert_array_equal(encoder.transform([[-1e300], [1e300]]), encoder.transform([[0.0], [10.0]]))


@pytest.mark.parametrize("limits", [(-1.7e308, 1.7e308), (0.0, 1e-300), (0.0, 5e-324), (7.0, 7.0)])
@pytest.mark.parametrize("tau", ["linear", 1e-300, 1e300])
def test_extreme_ranges(limits, tau):
    spikes = LatencySpikeEncoder(4, tau=tau).fit_transform(np.array(limits)[:, None])
    constant = limits[1] - 0.5 * limits[0] - 0.5 * limits[1] < 1e-308
    assert not spikes[0].any()
    assert spikes[1].sum() == (0 if constant or tau == 1e300 else 1)


def test_rates_about_the_threshold():
    threshold = 0.25
    X = np.nextafter(threshold, [[0.0, threshold, 1.0]])
    for tau in ("linear", 2.0, 1.7e308):
        spikes = LatencySpikeEncoder(5, tau=tau, threshold=threshold, feature_range=(0, 1)).fit(X).transform(X)
        assert not spikes[0, :, :2].any()
        assert spikes[0, -1, 2] == (tau == "linear")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array, sparse.coo_array, pd.DataFrame])
def test_kinds_of_rows(dtype, kind):
    X = np.random.default_rng(0).poisson(2.0, size=(20, 5)).astype(dtype)
    expected = LatencySpikeEncoder(7).fit_transform(X.astype(np.float64))
    spikes = LatencySpikeEncoder(7).fit_transform(kind(X))
    assert type(spikes) is np.ndarray and spikes.dtype == (np.float32 if dtype == np.float32 else np.float64)
    np.testing.assert_array_equal(spikes, expected)


def test_rows_on_their_own_clone_pickle_and_pipeline():
    X, y = rows(60), np.arange(60) % 2
    X[y == 1, 0] += 9
    encoder = LatencySpikeEncoder(6).fit(X)
    spikes = encoder.transform(X)
    np.testing.assert_array_equal(encoder.transform(X[::-3]), spikes[::-3])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(encoder)).transform(X), spikes)
    np.testing.assert_array_equal(clone(encoder).fit(X).transform(X), spikes)
    flat = FunctionTransformer(lambda S: S.reshape(len(S), -1))
    assert make_pipeline(LatencySpikeEncoder(6), flat, LogisticRegression()).fit(X, y).score(X, y) == 1.0


def test_names_are_those_of_the_features():
    X = pd.DataFrame(rows()[:, :2], columns=["a", "b"])
    assert list(LatencySpikeEncoder(5).fit(X).get_feature_names_out()) == ["a", "b"]
    assert list(LatencySpikeEncoder(5).fit(X.to_numpy()).get_feature_names_out()) == ["x0", "x1"]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_cannot_hold_steps(library, freeze):
    encoder = LatencySpikeEncoder().set_output(transform=library).fit(rows())
    before = freeze(encoder)
    with pytest.raises(ValueError, match=rf"LatencySpikeEncoder gives.*{library}.*set_output\(transform='default'\)"):
        encoder.transform(rows())
    assert freeze(encoder) == before
    assert encoder.set_output(transform="default").transform(rows()).shape == (30, 10, 4)


@pytest.mark.parametrize(
    "parameters",
    [
        {"n_steps": 0},
        {"n_steps": 2.5},
        {"tau": 0.0},
        {"tau": -1},
        {"tau": np.inf},
        {"tau": "log"},
        {"tau": None},
        {"threshold": 0.0},
        {"threshold": 1.0},
        {"threshold": np.nan},
        {"feature_range": (1, 0)},
        {"feature_range": "all"},
    ],
    ids=str,
)
def test_bad_parameters(parameters, freeze):
    encoder = LatencySpikeEncoder().fit(rows()).set_params(**parameters)
    before = freeze(encoder)
    with pytest.raises(ValueError, match=next(iter(parameters))):
        encoder.fit(rows()[:, :2])
    assert freeze(encoder) == before


def test_samples_with_steps_are_refused(freeze):
    signals = np.zeros((2, 3, 4))
    encoder = LatencySpikeEncoder().fit(rows())
    before = freeze(encoder)
    for call in (encoder.fit, encoder.transform):
        with pytest.raises(ValueError, match=r"X has steps already.*DeltaSpikeEncoder.*X.reshape\(len\(X\), -1\)"):
            call(signals)
    with pytest.raises(ValueError, match="contains NaN"):
        encoder.transform(rows() * np.nan)
    with pytest.raises(ValueError, match="X has 2 features"):
        encoder.transform(rows()[:, :2])
    with pytest.raises(NotFittedError):
        LatencySpikeEncoder().transform(rows())
    assert freeze(encoder) == before


def test_small_integer_types_count_steps():
    X = rows(300, 4)
    np.testing.assert_array_equal(
        LatencySpikeEncoder(np.int8(100)).fit_transform(X), LatencySpikeEncoder(100).fit_transform(X)
    )
