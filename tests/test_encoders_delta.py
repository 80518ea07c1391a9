"""Send-on-delta: spikes against a scalar loop, the automatic threshold, tables, what is refused."""

import doctest
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sk_epsnn import DeltaSpikeEncoder
from sk_epsnn.encoders import _delta


def walks(n_samples=7, n_steps=30, n_features=3, seed=0, ends=()):
    X = np.random.default_rng(seed).normal(size=(n_samples, n_steps, n_features)).cumsum(axis=1) * [1.0, 50.0, 1e-4]
    for sample, end in enumerate(ends):
        X[sample, end:] = np.nan
    return X


def scalar_spikes(signal, threshold):
    """What a pixel of an event camera does: compare, spike, follow; one spike a step."""
    reference, on, off = signal[0], [0], [0]
    for value in signal[1:]:
        crossings = 0
        while value - (reference + threshold) >= 0:
            reference, crossings = reference + threshold, crossings + 1
        while value - (reference - threshold) <= 0:
            reference, crossings = reference - threshold, crossings - 1
        on.append(int(crossings > 0))
        off.append(int(crossings < 0))
    return on, off


def channels(spikes):
    """Spikes of shape (n_samples, n_steps, 2 n_features) as two arrays of shape (n_samples, n_steps, n_features)."""
    return spikes[:, :, 0::2], spikes[:, :, 1::2]


def test_docstring_example():
    outcome = doctest.testmod(_delta)
    assert outcome.attempted >= 4 and outcome.failed == 0


@pytest.mark.parametrize("threshold", [0.3, 1.7, 100.0])
@pytest.mark.parametrize("elements", [1, 2**18])
def test_spikes_match_a_scalar_loop(threshold, elements, monkeypatch):
    monkeypatch.setattr(_delta, "_CHUNK_ELEMENTS", elements)
    X = walks()[:, :, :2]
    on, off = channels(DeltaSpikeEncoder(threshold).fit_transform(X))
    for sample in range(len(X)):
        for feature in range(2):
            expected = scalar_spikes(X[sample, :, feature].tolist(), threshold)
            np.testing.assert_array_equal(on[sample, :, feature], expected[0])
            np.testing.assert_array_equal(off[sample, :, feature], expected[1])
    assert on.any() and off.any()


def test_thresholds_of_each_feature():
    X = walks()
    each = DeltaSpikeEncoder([0.5, 40.0, 1e-4]).fit(X)
    np.testing.assert_array_equal(each.threshold_, [0.5, 40.0, 1e-4])
    for feature, threshold in enumerate(each.threshold_):
        alone = DeltaSpikeEncoder(float(threshold)).fit_transform(X[:, :, [feature]])
        np.testing.assert_array_equal(each.transform(X)[:, :, 2 * feature : 2 * feature + 2], alone)


def test_a_jump_is_one_spike_and_the_reference_catches_up():
    signal = np.array([0.0, 7.4, 7.9, 8.0, 7.1, 7.0, -3.0, -3.0])[None, :, None]
    on, off = channels(DeltaSpikeEncoder(1.0).fit_transform(signal))
    assert on[0, :, 0].tolist() == [0, 1, 0, 1, 0, 0, 0, 0]
    assert off[0, :, 0].tolist() == [0, 0, 0, 0, 0, 1, 1, 0]


@pytest.mark.parametrize("step", [0.1, 1 / 3, 0.7, 1e-9, 3e7])
@pytest.mark.parametrize("start", [0.0, 0.3, 17.1])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_moves_of_exactly_a_threshold_spike_at_every_step(step, start, dtype):
    X = ((start + np.arange(40)) * step).astype(dtype)[None, :, None]
    both = np.concatenate([X, -X])
    on, off = channels(DeltaSpikeEncoder(step).fit_transform(both))
    assert (on[0, 1:] == 1).all() and (off[1, 1:] == 1).all()
    assert not off[0].any() and not on[1].any()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_large_offset_makes_no_spikes(dtype):
    X = np.full((1, 50, 1), 101325.0, dtype=dtype)
    assert not DeltaSpikeEncoder(0.001).fit_transform(X).any()
    # A move of the last digit of float32, 1 / 128, is not one of 0.013.
    X[0, ::2] += 1 / 128
    assert not DeltaSpikeEncoder(0.013).fit_transform(X).any()


def test_an_offset_does_not_matter_and_the_sign_swaps_the_channels():
    X = np.random.default_rng(0).integers(-9, 9, size=(5, 40, 2)).astype(float)
    encoder = DeltaSpikeEncoder(3.0).fit(X)
    np.testing.assert_array_equal(encoder.transform(X + 1000), encoder.transform(X))
    np.testing.assert_array_equal(channels(encoder.transform(-X)), channels(encoder.transform(X))[::-1])


def test_the_reference_stays_within_a_threshold_of_the_signal():
    X = walks(n_features=3)
    encoder = DeltaSpikeEncoder([0.7, 30.0, 1e-4]).fit(X)
    (_, levels), *rest = encoder._levels(X)
    assert not rest
    assert np.all(np.abs((X - X[:, :1]) / encoder.threshold_ - levels) < 1.0)


# ---------------------------------------------------------------------- the automatic threshold


def test_automatic_threshold_of_changes_that_are_known():
    # A hundred changes of 1, 2, ..., 100 up and down: a tenth exceeds 90.
    sizes = np.arange(1.0, 101.0) * np.resize([1.0, -1.0], 100)
    X = np.concatenate([[0.0], np.cumsum(np.random.default_rng(0).permutation(sizes))])[None, :, None]
    assert DeltaSpikeEncoder().fit(X).threshold_.tolist() == [90.0]
    # The same changes with rests between them are all there is.
    rests = np.repeat(X, 30, axis=1)
    assert DeltaSpikeEncoder().fit(rests).threshold_.tolist() == [10.0]


@pytest.mark.parametrize("unit", [1.0, 2.0**-900, 2.0**900, -0.5])
@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_the_automatic_code_does_not_depend_on_the_unit(unit, offset):
    X = np.random.default_rng(1).integers(-20, 20, size=(6, 50, 2)).astype(float)
    expected = DeltaSpikeEncoder().fit_transform(X)
    encoder = DeltaSpikeEncoder()
    spikes = encoder.fit_transform((X + offset) * unit)
    spikes = np.stack(channels(spikes)[:: -1 if unit < 0 else 1], axis=3).reshape(spikes.shape)
    np.testing.assert_array_equal(spikes, expected)
    np.testing.assert_array_equal(encoder.threshold_, DeltaSpikeEncoder().fit(X).threshold_ * abs(unit))


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: rng.normal(size=(50, 100)),
        lambda rng: rng.normal(size=(50, 100)).cumsum(axis=1),
        lambda rng: np.sin(np.arange(100) * 0.05 + rng.uniform(0, 6, (50, 1))),
        lambda rng: rng.poisson(0.05, size=(50, 100)).astype(float),
        lambda rng: 1e6 + rng.standard_cauchy((50, 100)),
        lambda rng: (rng.random((50, 100)) < 0.01).cumsum(axis=1) * 3.0,
    ],
    ids=["noise", "walk", "slow wave", "rare counts", "wild", "rare steps"],
)
def test_automatic_thresholds_give_some_spikes_and_not_always(draw):
    on, off = channels(DeltaSpikeEncoder().fit_transform(draw(np.random.default_rng(0))[:, :, None]))
    assert 0.005 < (on + off).mean() < 0.7


def test_features_that_never_change_in_fit_are_silent():
    X = np.stack([np.full((4, 9), 0.1), walks(4, 9, 1)[:, :, 0]], axis=2)
    X[:, :, 0] += np.resize([0.0, 1e-17, 2e-17], 9)
    encoder = DeltaSpikeEncoder().fit(X)
    assert encoder.threshold_[0] == np.inf and np.isfinite(encoder.threshold_[1])
    X[:, 5, 0] = 1e300
    assert not encoder.transform(X)[:, :, :2].any()
    assert encoder.transform(X)[:, :, 2:].any()
    assert DeltaSpikeEncoder().fit(walks(n_steps=1)).threshold_.tolist() == [np.inf] * 3


def test_samples_are_not_joined():
    """From the last value of one sample to the first of the next nothing has moved, and after an end neither."""
    X = np.array([[0.0, 1.0, 2.0, np.nan], [500.0, 501.0, 502.0, 503.0], [-90.0, np.nan, np.nan, np.nan]])[:, :, None]
    assert DeltaSpikeEncoder().fit(X).threshold_.tolist() == [1.0]
    assert DeltaSpikeEncoder().fit(X[:, :, 0]).threshold_.tolist() == [1.0]


@pytest.mark.parametrize(
    "values", [[-1.7e308, 1.7e308, -1.7e308, 0.0], [0.0, 5e-324, 0.0, 1e-310], [0.0, 1e308, 5e-324, 1.0]]
)
@pytest.mark.parametrize("threshold", ["auto", 5e-324, 1.0, 1.7e308])
def test_extreme_signals(values, threshold):
    X = np.array(values)[None, :, None]
    encoder = DeltaSpikeEncoder(threshold).fit(X)
    assert np.all(encoder.threshold_ > 0)
    on, off = channels(encoder.transform(X))
    moves = np.sign(np.diff(0.5 * X[0, :, 0]))
    # Where there is a spike it has the sign of the move.
    assert np.all((on - off)[0, 1:, 0] * moves >= 0) and not np.any(on * off)
    if threshold in ("auto", 1.0) and max(values) > 1:
        assert np.isfinite(encoder.threshold_).all() and on.any()


# ---------------------------------------------------------------------- samples, steps, tables


def test_ends_stay_absent():
    X = walks(ends=(30, 4, 1, 0, 29, 30, 12))
    encoder = DeltaSpikeEncoder().fit(X)
    spikes = encoder.transform(X)
    absent = np.isnan(X[:, :, 0])
    assert np.isnan(spikes[absent]).all() and not np.isnan(spikes[~absent]).any()
    full = encoder.transform(walks())
    np.testing.assert_array_equal(spikes[~absent], full[~absent])


def test_a_sample_depends_on_itself_and_a_step_on_the_past():
    X = walks(n_samples=20)
    encoder = DeltaSpikeEncoder().fit(X)
    spikes = encoder.transform(X)
    order = np.random.default_rng(0).permutation(20)
    np.testing.assert_array_equal(encoder.transform(X[order]), spikes[order])
    np.testing.assert_array_equal(np.concatenate([encoder.transform(x[None]) for x in X]), spikes)
    np.testing.assert_array_equal(encoder.transform(np.asfortranarray(X)), spikes)
    for n_steps in (1, 2, 17):
        np.testing.assert_array_equal(encoder.transform(X[:, :n_steps]), spikes[:, :n_steps])


def test_tables_hold_one_signal_in_each_row():
    X = walks(n_features=3)[:, :, 0]
    table, signals = DeltaSpikeEncoder().fit(X), DeltaSpikeEncoder().fit(X[:, :, None])
    assert table.n_features_in_ == 30 and signals.n_features_in_ == 1
    np.testing.assert_array_equal(table.threshold_, signals.threshold_)
    spikes = table.transform(X)
    assert spikes.shape == (7, 60)
    np.testing.assert_array_equal(spikes.reshape(7, 30, 2), signals.transform(X[:, :, None]))
    assert list(signals.get_feature_names_out()) == ["x0_on", "x0_off"]
    frame = pd.DataFrame(X, columns=[f"s{step}" for step in range(30)])
    named = DeltaSpikeEncoder().set_output(transform="pandas").fit_transform(frame)
    assert list(named.columns)[:3] == ["s0_on", "s0_off", "s1_on"] and list(named.columns)[-1] == "s29_off"
    np.testing.assert_array_equal(named, spikes)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_dtype(dtype):
    X = walks().round().astype(dtype)
    spikes = DeltaSpikeEncoder(2.0).fit_transform(X)
    assert spikes.dtype == (np.float32 if dtype == np.float32 else np.float64)
    np.testing.assert_array_equal(spikes, DeltaSpikeEncoder(2.0).fit_transform(X.astype(np.float64)))


def test_clone_pickle_and_pipeline():
    X, y = walks(n_samples=60), np.arange(60) % 2
    X[y == 1, :, 0] *= 5
    encoder = DeltaSpikeEncoder()
    spikes = encoder.fit_transform(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(encoder)).transform(X), spikes)
    np.testing.assert_array_equal(clone(encoder).fit(X).transform(X), spikes)
    flat = FunctionTransformer(lambda S: S.mean(axis=1))
    assert make_pipeline(DeltaSpikeEncoder(), flat, LogisticRegression()).fit(X, y).score(X, y) > 0.8


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("threshold", "match"),
    [
        ("automatic", "threshold"),
        (0.0, "threshold"),
        (-1.0, "threshold"),
        (np.inf, "threshold"),
        (np.nan, "threshold"),
        (None, "threshold"),
        ([1.0, 2.0], "threshold must be 'auto', a positive finite number or one such number for each of the 3"),
        ([1.0, 0.0, 1.0], "threshold must be 'auto'"),
        ([1.0, np.nan, 1.0], "threshold must be 'auto'"),
        (["a", "b", "c"], "threshold must be 'auto'"),
    ],
    ids=str,
)
def test_bad_thresholds(threshold, match, freeze):
    encoder = DeltaSpikeEncoder().fit(walks(n_features=1)[:, :, :1]).set_params(threshold=threshold)
    before = freeze(encoder)
    with pytest.raises(ValueError, match=match):
        encoder.fit(walks())
    assert freeze(encoder) == before


def with_value(X, place, value):
    X = X.copy()
    X[place] = value
    return X


BAD = {
    "gap": (with_value(walks(), (2, 3), np.nan), "NaN.*sample 2, at step 3.*fill gaps first"),
    "some features": (with_value(walks(), (2, 29, 1), np.nan), "NaN.*sample 2, at step 29"),
    "gap in a table": (with_value(walks()[:, :, 0], (1, 0), np.nan), "NaN.*sample 1, at step 0"),
    "infinity": (with_value(walks(), (2, 3, 0), np.inf), "infinity"),
    "infinity in a table": (with_value(walks()[:, :, 0], (2, 3), -np.inf), "infinity"),
    "nothing": (np.full((2, 3, 1), np.nan), "no step of any sample"),
    "empty table": (np.full((2, 3), np.nan), "no step of any sample"),
    "one axis": (np.zeros(3), "Reshape your data"),
    "four axes": (np.zeros((2, 2, 2, 2)), "dim(ension)?s? 4"),
    "complex": (walks() * 1j, "Complex"),
}


@pytest.mark.parametrize(
    "start", [DeltaSpikeEncoder(), DeltaSpikeEncoder().fit(walks(n_steps=5))], ids=["new", "fitted"]
)
@pytest.mark.parametrize(("X", "match"), BAD.values(), ids=BAD)
def test_bad_signals(start, X, match, freeze):
    before = freeze(start)
    with pytest.raises(ValueError, match=match):
        start.fit(X)
    assert freeze(start) == before


def test_bad_signals_in_transform(freeze):
    encoder = DeltaSpikeEncoder().fit(walks())
    before = freeze(encoder)
    for name in ("gap", "some features", "infinity", "complex"):
        with pytest.raises(ValueError, match=BAD[name][1]):
            encoder.transform(BAD[name][0])
    with pytest.raises(ValueError, match="X has 2 features, but DeltaSpikeEncoder is expecting 3"):
        encoder.transform(walks()[:, :, :2])
    with pytest.raises(ValueError, match="fitted on X of three axes.*as many axes"):
        encoder.transform(walks()[:, :, 0])
    table = DeltaSpikeEncoder().fit(walks()[:, :, 0])
    with pytest.raises(ValueError, match="fitted on X with one signal in each row.*as many axes"):
        table.transform(walks())
    with pytest.raises(ValueError, match="X has 29 features"):
        table.transform(walks()[:, 1:, 0])
    with pytest.raises(NotFittedError):
        DeltaSpikeEncoder().transform(walks())
    assert freeze(encoder) == before


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_cannot_hold_steps(library):
    encoder = DeltaSpikeEncoder().set_output(transform=library).fit(walks())
    with pytest.raises(ValueError, match=rf"DeltaSpikeEncoder gives.*{library}.*set_output\(transform='default'\)"):
        encoder.transform(walks())
    assert encoder.set_output(transform="default").transform(walks()).shape == (7, 30, 6)
