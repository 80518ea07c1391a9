"""Sequences: arrays of shape (n_samples, n_steps, n_features), NaN after the end of a sample that is shorter."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn import get_config
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from sk_epsnn._arrays import Array, array_namespace, to_numpy

Lengths = NDArray[np.int_]


def has_steps(X: Any) -> bool:
    """Whether it has the three axes of sequences; rows, dense or sparse, have two.

    Raises
    ------
    ValueError
        If it is a list of samples whose numbers of steps differ.
    """
    try:
        return len(X.shape if hasattr(X, "shape") else np.asarray(X).shape) == 3
    except ValueError as error:  # nested lists of different lengths
        if all(len(np.shape(sample)) == 2 for sample in X):
            raise ValueError(
                "X holds samples of different lengths. Put them into one array of shape (n_samples, n_steps, "
                "n_features) that is NaN in all features after the end of each."
            ) from error
        return False


def lengths(X: Array) -> Lengths:
    """How many steps each sample has: those before the trailing steps that are NaN in all features.

    Parameters
    ----------
    X : array of shape (n_samples, n_steps, n_features)
        Floating, of any library.

    Returns
    -------
    lengths : integer array of NumPy, shape (n_samples,)
        From 0, for a sample without any step, to n_steps.

    Raises
    ------
    ValueError
        If NaN stands before a sample's end, or in some features of a step only.
    """
    xp = array_namespace(X)
    missing = xp.isnan(X)
    some = to_numpy(xp.any(missing, axis=2))
    if not some.any():
        return np.full(X.shape[0], X.shape[1])
    n_present = X.shape[1] - np.logical_and.accumulate(to_numpy(xp.all(missing, axis=2))[:, ::-1], axis=1).sum(axis=1)
    gaps = some & are_present(n_present, X.shape[1])
    if gaps.any():
        sample, step = np.argwhere(gaps)[0]
        raise ValueError(
            f"Input X contains NaN in {gaps.any(axis=1).sum()} of {len(gaps)} samples before their end, or in some of "
            f"their features only: the first is sample {sample}, at step {step}. NaN says that a sample has ended, in "
            "all features and from there on; fill gaps first, by interpolation or by the value before."
        )
    return n_present


def are_present(n_present: Lengths, n_steps: int) -> NDArray[np.bool_]:
    """Which steps come before the end of their sample: shape (n_samples, n_steps)."""
    return np.arange(n_steps) < n_present[:, np.newaxis]


class Sequences(NamedTuple):
    """Sequences of different lengths as the rows of all their steps."""

    #: Of shape (n_rows, n_features): the steps of sample 0 in order, then those of sample 1, and so on.
    rows: np.ndarray
    #: Of shape (n_samples,): how many steps each sample has.
    lengths: Lengths
    #: Steps of the array that they came in, at least as many as the longest sample has.
    n_steps: int

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which steps there are, shape (n_samples, n_steps)."""
        return are_present(self.lengths, self.n_steps)

    @property
    def samples(self) -> NDArray[np.int_]:
        """The sample of each row."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @property
    def steps(self) -> NDArray[np.int_]:
        """The step of each row, counted from 0 in every sample."""
        return np.nonzero(self.present)[1]

    def padded(self, rows: np.ndarray) -> np.ndarray:
        """What was worked out for each row, as sequences again.

        Parameters
        ----------
        rows : floating array of shape (n_rows, ...)

        Returns
        -------
        sequences : array of shape (n_samples, n_steps, ...)
            NaN after the end of a sample.
        """
        shape = (len(self.lengths), self.n_steps, *rows.shape[1:])
        if len(rows) == shape[0] * shape[1]:
            return rows.reshape(shape)
        sequences = np.full(shape, np.nan, dtype=rows.dtype)
        sequences[self.present] = rows
        return sequences


def as_sequences(X: np.ndarray, *, some: bool = False) -> Sequences:
    """The steps of sequences as rows.

    Parameters
    ----------
    X : floating array of shape (n_samples, n_steps, n_features)
    some : bool
        Whether there must be a step at all, as where something is to be learned from it.

    Returns
    -------
    sequences : Sequences
        Its rows are a view of X if no sample ends early.

    Raises
    ------
    ValueError
        If NaN stands before a sample's end, or in some features of a step only, or if there is no step.
    """
    n_present = lengths(X)
    if some and not n_present.any():
        raise ValueError("X has no step of any sample that is not NaN. Give at least one sample with a step.")
    present = are_present(n_present, X.shape[1])
    rows = X.reshape(present.size, X.shape[2]) if present.all() else X[present]
    return Sequences(rows, n_present, X.shape[1])


def validate_sequences(estimator: Any, X: Any, *, reset: bool, dtype: Any = np.float64) -> Sequences:
    """What `sklearn.utils.validation.validate_data` does, for sequences.

    Parameters
    ----------
    estimator : estimator
        Its `n_features_in_` is the length of the last axis.
    X : array-like of shape (n_samples, n_steps, n_features)
        Finite, but for NaN in all features after the end of a sample.
    reset : bool
        Whether to set `n_features_in_`, as `fit` does, or to hold X to it. There must be a step in `fit`.
    dtype : dtype or sequence of them
        As in `sklearn.utils.check_array`.

    Returns
    -------
    sequences : Sequences

    Raises
    ------
    ValueError
        If X is not such an array; the message names the remedy.
    """
    if get_config()["array_api_dispatch"] and hasattr(X, "device") and not isinstance(X, np.ndarray):
        raise ValueError(
            f"X with steps in time must be an array of NumPy for {type(estimator).__name__}, got one "
            f"of {type(X).__module__.split('.')[0]}; convert it, by numpy.asarray(X)."
        )
    X = check_array(X, dtype=dtype, allow_nd=True, ensure_all_finite=False, estimator=estimator, input_name="X")
    sequences = as_sequences(X, some=reset)
    rows = validate_data(estimator, sequences.rows, dtype=dtype, ensure_min_samples=0, reset=reset)
    return sequences._replace(rows=rows)
