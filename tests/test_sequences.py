"""Sequences: how long each sample is, its steps as rows and back, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator

from sk_epsnn._sequences import are_present, as_sequences, has_steps, lengths, validate_sequences


def signals(n_samples=4, n_steps=6, n_features=3, ends=(6, 2, 4, 1), dtype=np.float64):
    X = np.random.default_rng(0).normal(size=(n_samples, n_steps, n_features)).astype(dtype)
    for sample, end in enumerate(ends):
        X[sample, end:] = np.nan
    return X


def test_lists_of_samples_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"different lengths.*shape \(n_samples, n_steps, n_features\).*NaN"):
        has_steps([[[0.0]], [[1.0], [2.0]]])


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        (np.zeros((2, 3, 4)), True),
        ([[[0.0], [1.0]]], True),
        (np.zeros((2, 3)), False),
        (np.zeros(2), False),
        (np.zeros((1, 2, 3, 4)), False),
        ([[0.0, 1.0]], False),
        ([[0.0], [1.0, 2.0]], False),
        (sparse.csr_array((2, 3)), False),
        (pd.DataFrame([[0.0]]), False),
        (None, False),
        ("text", False),
    ],
    ids=str,
)
def test_what_has_steps(X, expected):
    assert has_steps(X) is expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ends", [(6, 2, 4, 1), (6, 6, 6, 6), (0, 3, 0, 6), (0, 0, 0, 0)])
def test_lengths(ends, dtype):
    found = lengths(signals(ends=ends, dtype=dtype))
    assert found.tolist() == list(ends)
    assert found.dtype == int
    assert are_present(found, 6).tolist() == [[step < end for step in range(6)] for end in ends]


def test_lengths_of_arrays_of_other_libraries():
    xp = pytest.importorskip("array_api_strict", reason="array_api_strict is not installed")
    found = lengths(xp.asarray(signals()))
    assert type(found) is np.ndarray
    assert found.tolist() == [6, 2, 4, 1]


@pytest.mark.parametrize(
    ("place", "named"),
    [((0, 0, slice(None)), "sample 0, at step 0"), ((2, 1, 1), "sample 2, at step 1"), ((3, 0, 2), "sample 3, at")],
    ids=str,
)
def test_gaps_are_refused(place, named):
    X = signals()
    X[place] = np.nan
    with pytest.raises(ValueError, match=rf"contains NaN in 1 of 4 samples before their end.*{named}.*fill gaps"):
        lengths(X)


def test_rows_and_back():
    X = signals()
    found = validate_sequences(BaseEstimator(), X, reset=True)
    expected = [(n, t) for n, end in enumerate((6, 2, 4, 1)) for t in range(end)]
    assert list(zip(found.samples.tolist(), found.steps.tolist(), strict=True)) == expected
    np.testing.assert_array_equal(found.rows, [X[place] for place in expected])
    np.testing.assert_array_equal(found.padded(found.rows), X)
    doubled = found.padded(np.repeat(found.rows, 2, axis=1).astype(np.float32))
    assert doubled.dtype == np.float32
    np.testing.assert_array_equal(doubled, np.repeat(X, 2, axis=2).astype(np.float32))


@pytest.mark.parametrize("ends", [(6, 6, 6, 6), (0, 0, 0, 0)])
def test_rows_and_back_of_full_and_of_empty_samples(ends):
    X = signals(ends=ends)
    found = as_sequences(X)
    np.testing.assert_array_equal(found.padded(found.rows), X)


def test_validation_counts_the_last_axis():
    estimator = BaseEstimator()
    assert validate_sequences(estimator, signals().tolist(), reset=True).rows.dtype == np.float64
    assert estimator.n_features_in_ == 3
    assert validate_sequences(estimator, np.zeros((2, 9, 3)), reset=False).n_steps == 9
    with pytest.raises(ValueError, match="X has 6 features, but BaseEstimator is expecting 3 features"):
        validate_sequences(estimator, signals().swapaxes(1, 2)[:1], reset=False)
    assert estimator.n_features_in_ == 3


@pytest.mark.parametrize(
    ("dtype", "given", "kept"),
    [
        ((np.float64, np.float32), np.float32, np.float32),
        ((np.float64, np.float32), np.int8, np.float64),
        (np.float64, np.float32, np.float64),
    ],
)
def test_dtypes(dtype, given, kept):
    X = np.ones((2, 3, 1), dtype=given)
    assert validate_sequences(BaseEstimator(), X, reset=True, dtype=dtype).rows.dtype == kept


def test_input_is_not_changed_nor_copied():
    X = signals(ends=())
    assert np.shares_memory(validate_sequences(BaseEstimator(), X, reset=True).rows, X)
    ragged = signals()
    before = ragged.copy()
    validate_sequences(BaseEstimator(), ragged, reset=True)
    np.testing.assert_array_equal(ragged, before)


INFINITE = signals()
INFINITE[2, 1, 1] = np.inf


@pytest.mark.parametrize(
    ("X", "match"),
    [
        (INFINITE, "contains infinity"),
        (signals() * 1j, "Complex data not supported"),
        (np.zeros((0, 2, 3)), "0 sample"),
        (np.zeros((2, 2, 0)), "0 feature"),
        (np.full((2, 2, 3), "high"), "could not convert string to float|numeric"),
        (signals(ends=(0, 0, 0, 0)), "no step of any sample.*at least one"),
        (np.zeros((2, 0, 3)), "no step of any sample.*at least one"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_refused(X, match):
    with pytest.raises(ValueError, match=match):
        validate_sequences(BaseEstimator(), X, reset=True)


def test_samples_without_steps_are_allowed_after_fit():
    estimator = BaseEstimator()
    validate_sequences(estimator, signals(), reset=True)
    found = validate_sequences(estimator, signals(ends=(0, 0, 0, 0)), reset=False)
    assert found.rows.shape == (0, 3)
    assert np.isnan(found.padded(found.rows)).all()
