"""Encoders of rows on samples of many steps: each step on its own, ends, names, tables, and rows as steps."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from test_encoders import correlations, scalar_uniform

from sk_epsnn import PopulationEncoder, RateSpikeEncoder
from sk_epsnn.encoders import _hash, _row

SPIKING = [
    PopulationEncoder(9, random_state=0),
    PopulationEncoder(4, tuning="gaussian", centers="quantile", out_of_range="extend", random_state=0),
    RateSpikeEncoder(random_state=0),
    RateSpikeEncoder(layout="steps", random_state=0),
]
EVERY = [*SPIKING, PopulationEncoder(6, output="rates", random_state=0)]
N_SIGMA = 5.0


def signals(n_samples=8, n_steps=12, n_features=3, seed=0, ends=()):
    X = np.random.default_rng(seed).normal(size=(n_samples, n_steps, n_features)) * 2.0 + 1.0
    for sample, end in enumerate(ends):
        X[sample, end:] = np.nan
    return X


# ---------------------------------------------------------------------- samples of many steps


@pytest.mark.parametrize("encoder", EVERY, ids=repr)
def test_fit_sees_the_steps_as_rows(encoder):
    X = signals(ends=(12, 3, 0, 12, 7))
    present = X[~np.isnan(X[:, :, 0])]
    over_time, of_rows = clone(encoder).fit(X), clone(encoder).fit(present)
    assert over_time.n_features_in_ == 3
    for name, value in vars(of_rows).items():
        if name.endswith("_"):
            np.testing.assert_array_equal(getattr(over_time, name), value, err_msg=name)


@pytest.mark.parametrize("encoder", EVERY, ids=repr)
def test_one_step_is_a_row(encoder):
    X = signals(n_samples=50, n_steps=1)
    fitted = clone(encoder).fit(X)
    expected = fitted.transform(X[:, 0])
    np.testing.assert_array_equal(fitted.transform(X), expected.reshape(50, 1, -1))
    rates = PopulationEncoder(5, output="rates").fit(signals())
    np.testing.assert_array_equal(
        rates.transform(signals()), np.stack([rates.transform(rows) for rows in signals().swapaxes(0, 1)], axis=1)
    )


@pytest.mark.parametrize("encoder", SPIKING, ids=repr)
def test_spikes_are_uniforms_of_row_and_step_below_the_rates(encoder):
    X = signals(n_samples=3, n_steps=4)
    fitted = clone(encoder).fit(X)
    spikes = fitted.transform(X)
    for sample in range(3):
        rates = fitted._rates(X[sample])
        for step, row in enumerate(X[sample].tolist()):
            expected = [
                float(scalar_uniform(row, fitted.seed_, column, step) < rate) for column, rate in enumerate(rates[step])
            ]
            assert spikes[sample, step].tolist() == expected


@pytest.mark.parametrize("encoder", SPIKING, ids=repr)
def test_a_step_depends_on_its_values_and_its_place_alone(encoder, monkeypatch):
    X = signals(n_samples=30)
    fitted = clone(encoder).fit(X)
    expected = fitted.transform(X)
    order = np.random.default_rng(1).permutation(30)
    np.testing.assert_array_equal(fitted.transform(X), expected)
    np.testing.assert_array_equal(fitted.transform(X[order]), expected[order])
    np.testing.assert_array_equal(np.concatenate([fitted.transform(x[None]) for x in X]), expected)
    np.testing.assert_array_equal(fitted.transform(np.asfortranarray(X)), expected)
    np.testing.assert_array_equal(fitted.transform(X.tolist()), expected)
    for n_steps in (1, 5):
        np.testing.assert_array_equal(fitted.transform(X[:, :n_steps]), expected[:, :n_steps])
    other = X.copy()
    other[:, 4] = 0.25
    changed = (fitted.transform(other) != expected).any(axis=(0, 2))
    assert changed[4] and not np.delete(changed, 4).any()
    monkeypatch.setattr(_row, "_CHUNK_ELEMENTS", 5 * expected.shape[2])
    np.testing.assert_array_equal(fitted.transform(X), expected)


def test_equal_values_at_different_steps_get_independent_spikes():
    X = np.full((1, 20_000, 1), 0.5)
    encoder = RateSpikeEncoder(feature_range=(0, 1), random_state=0).fit(X)
    spikes = encoder.transform(X)[0, :, 0]
    assert abs(spikes.mean() - 0.5) < N_SIGMA * 0.5 / np.sqrt(len(spikes))
    for lag in (1, 2, 7, 256):
        assert np.abs(correlations(np.column_stack([spikes[lag:], spikes[:-lag]]))).max() < N_SIGMA
    np.testing.assert_array_equal(encoder.transform(np.repeat(X, 2, axis=0))[1, :, 0], spikes)
    # Steps and columns do not mirror each other, nor do seeds.
    square = RateSpikeEncoder(feature_range=(0, 1), random_state=0).fit(np.full((1, 1, 100), 0.5))
    spikes = square.transform(np.full((1, 100, 100), 0.5))[0]
    pairs = np.triu_indices(100, k=1)
    assert np.abs(correlations(np.column_stack([spikes[pairs], spikes.T[pairs]]))).max() < N_SIGMA
    # 200 columns: 19,900 pairs, of which the largest of normal numbers is about 4.
    assert np.abs(correlations(np.hstack([spikes, spikes.T]))).max() < 6.0


def test_keys_of_steps_do_not_collide():
    values, steps = np.meshgrid(np.arange(300.0), np.arange(300))
    keys = _hash.row_keys(np.ascontiguousarray(values.reshape(-1, 1)), 0, steps.ravel())
    assert len(np.unique(keys)) == 90_000


@pytest.mark.parametrize("encoder", EVERY, ids=repr)
def test_ends_stay_absent(encoder):
    X = signals(ends=(12, 4, 1, 0, 11, 12, 12, 2))
    fitted = clone(encoder).fit(X)
    code, absent = fitted.transform(X), np.isnan(X[:, :, 0])
    assert np.isnan(code[absent]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other values may be far beyond the range
        whole = fitted.transform(signals())
    np.testing.assert_array_equal(code[~absent], whole[~absent])
    gone = fitted.transform(X[3:4])
    assert gone.shape == (1, *code.shape[1:]) and np.isnan(gone).all()


@pytest.mark.parametrize("encoder", EVERY, ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8])
@pytest.mark.parametrize("ends", [(), (12, 5)])
def test_dtype(encoder, dtype, ends):
    X = signals().astype(dtype)
    if ends and dtype != np.int8:
        X[1, 5:] = np.nan
    code = clone(encoder).fit(X).transform(X)
    assert code.dtype == (np.float32 if dtype == np.float32 else np.float64)
    expected = clone(encoder).fit(X).transform(X.astype(np.float64))
    np.testing.assert_array_equal(code, expected.astype(code.dtype))


@pytest.mark.parametrize("encoder", EVERY, ids=repr)
def test_clone_pickle_names_and_unchanged_input(encoder):
    X = signals(ends=(12, 5))
    before = X.copy()
    fitted = clone(encoder).fit(X)
    code = fitted.transform(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).transform(X), code)
    np.testing.assert_array_equal(clone(fitted).fit_transform(X), code)
    np.testing.assert_array_equal(X, before)
    assert len(fitted.get_feature_names_out()) == code.shape[2]
    of_rows = clone(encoder).fit(X[0])
    assert list(fitted.get_feature_names_out()) == list(of_rows.get_feature_names_out())


def test_cross_validation_of_a_pipeline():
    X, y = signals(n_samples=60), np.arange(60) % 2
    X[y == 1, 6:, 0] += 8
    X[::3, 9:] = np.nan
    flat = FunctionTransformer(lambda S: np.nanmean(S, axis=1))
    encoder = PopulationEncoder(8, out_of_range="clip", output="rates")
    assert cross_val_score(make_pipeline(encoder, flat, LogisticRegression()), X, y, cv=3).min() > 0.9


def test_a_warning_names_samples():
    X = signals(n_samples=40)
    encoder = PopulationEncoder(4).fit(X)
    X[7, 2:5, 1] = 1e3
    X[30, 0, 2] = -1e3
    X[3] = np.nan
    with pytest.warns(UserWarning, match=r"2 of 39 samples \(7, 30\) have values far.*features: x1, x2\)"):
        encoder.transform(X)


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("encoder", EVERY, ids=repr)
def test_frames_cannot_hold_steps(encoder, library, freeze):
    X = signals()
    fitted = clone(encoder).set_output(transform=library).fit(X)
    before, name = freeze(fitted), type(encoder).__name__
    with pytest.raises(ValueError, match=rf"{name} gives.*{library} can hold.*set_output\(transform='default'\)"):
        fitted.transform(X)
    assert freeze(fitted) == before
    if getattr(encoder, "layout", "columns") == "columns":
        assert type(fitted.transform(X[0])).__module__.split(".")[0] == library
    assert fitted.set_output(transform="default").transform(X).ndim == 3


GAP = signals()
GAP[2, 3] = np.nan
INFINITE = signals()
INFINITE[2, 3, 1] = np.inf


@pytest.mark.parametrize("encoder", EVERY, ids=repr)
@pytest.mark.parametrize(
    ("X", "match"),
    [(GAP, "sample 2, at step 3.*fill gaps"), (INFINITE, "infinity"), (signals() * 1j, "Complex")],
    ids=["gap", "infinity", "complex"],
)
def test_bad_signals(encoder, X, match, freeze):
    fitted = clone(encoder).fit(signals())
    before = freeze(fitted)
    for call in (fitted.transform, fitted.fit):
        with pytest.raises(ValueError, match=match):
            call(X)
    with pytest.raises(ValueError, match="X has 2 features"):
        fitted.transform(X[:1, :, :2].real)
    with pytest.raises(ValueError, match="no step of any sample"):
        fitted.fit(np.full((2, 3, 3), np.nan))
    assert freeze(fitted) == before


# ---------------------------------------------------------------------- rows as steps


@pytest.mark.parametrize("n_steps", [1, 7])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array, sparse.coo_array, pd.DataFrame])
@pytest.mark.parametrize("elements", [1, 2**16])
def test_steps_are_the_same_spikes_as_columns(n_steps, kind, elements, monkeypatch):
    monkeypatch.setattr(_row, "_CHUNK_ELEMENTS", elements)
    X = kind(np.random.default_rng(0).poisson(0.7, size=(20, 5)).astype(np.float32))
    encoder = RateSpikeEncoder(n_steps=n_steps, random_state=0).fit(X)
    columns = encoder.transform(X)
    columns = columns.toarray() if sparse.issparse(columns) else columns
    steps = encoder.set_params(layout="steps").transform(X)
    assert type(steps) is np.ndarray and steps.dtype == np.float32 and steps.shape == (20, n_steps, 5)
    for feature in range(5):
        np.testing.assert_array_equal(steps[:, :, feature], columns[:, feature * n_steps : (feature + 1) * n_steps])
    assert list(encoder.get_feature_names_out()) == [f"x{feature}" for feature in range(5)]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_cannot_hold_rows_as_steps(library):
    encoder = RateSpikeEncoder(n_steps=3, layout="steps").set_output(transform=library).fit(signals()[0])
    with pytest.raises(ValueError, match=r"RateSpikeEncoder gives.*set_output\(transform='default'\)"):
        encoder.transform(signals()[0])
    with config_context(transform_output=library):
        with pytest.raises(ValueError, match=r"RateSpikeEncoder gives.*set_output\(transform='default'\)"):
            clone(encoder).fit_transform(signals()[0])
        assert encoder.set_output(transform="default").transform(signals()[0]).shape == (12, 3, 3)


@pytest.mark.parametrize("layout", ["columns", "steps"])
def test_steps_are_not_made_of_steps(layout, freeze):
    encoder = RateSpikeEncoder(n_steps=3, layout=layout).fit(signals()[0])
    before = freeze(encoder)
    for call in (encoder.fit, encoder.transform):
        with pytest.raises(ValueError, match=r"n_steps=3 makes steps.*Set n_steps=1, or repeat.*numpy.repeat"):
            call(signals())
    assert freeze(encoder) == before
    with pytest.raises(ValueError, match="'layout' parameter of RateSpikeEncoder must be a str among"):
        RateSpikeEncoder(layout="rows").fit(signals()[0])


@pytest.mark.parametrize("layout", ["columns", "steps"])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_small_integer_types_count_steps(layout, kind):
    X = kind(np.random.default_rng(0).poisson(0.7, size=(20, 50)).astype(float))
    small, large = (
        RateSpikeEncoder(n_steps=n_steps, layout=layout, random_state=0).fit_transform(X) for n_steps in (np.int8(4), 4)
    )
    assert small.shape == large.shape and (small != large).sum() == 0
