"""The door for data: rows, sparse rows, arrays of other libraries and sequences are validated here, and only here."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import validate_data

from sk_epsnn._arrays import (
    Array,
    argument_to_numpy,
    array_namespace,
    device,
    largest,
    largest_finite,
    like,
    smallest,
    to_numpy,
    where,
    zeros_like,
)
from sk_epsnn._sequences import has_steps, validate_sequences
from sk_epsnn._sklearn import check_sample_weight, dispatched_namespace
from sk_epsnn.course import Rows
from sk_epsnn.ep.setup import largest_to_square
from sk_epsnn.estimators._each import check_steps, places, reads_each


class Door:
    """What an estimator is given, as the network takes it: rows of X.

    The steps of a sequence stand side by side in its row, NaN where they are absent.
    """

    _offset: Array
    n_features_in_: int
    n_steps_in_: int
    activation: Any
    #: Whether there may be several targets at a time.
    _has_several: bool
    #: Whether CSR rows are taken, and arrays of other libraries than NumPy.
    _takes_all_kinds = True
    #: Whether there may be a target for every step.
    _may_be_each = True

    def _check_y(self, y: np.ndarray) -> np.ndarray:
        """Targets or labels, validated."""
        raise NotImplementedError

    def _check_each(self, y: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Targets or labels of the steps that X has, validated, and which of these have one."""
        raise NotImplementedError

    def _enter(self, X: Any, y: Any, sample_weight: Any, *, reset: bool, trains: bool = True) -> Rows:
        """Rows to train on, or to score, validated: inputs where they are, what else there is as arrays of NumPy.

        Targets are those of y, or labels.
        """
        step_weight = None
        if has_steps(X):
            n_steps, each = np.shape(X)[1], reads_each(self.activation)
            X = self._enter_sequences(X, reset=reset, trains=trains)
            kinds = {"several": self._has_several, "may_be_each": self._may_be_each}
            check_steps(given := np.asarray(argument_to_numpy(y)), n_steps, each=each, **kinds)
            check_consistent_length(X, given)
            if each:
                y, step_weight = self._enter_each(given, X)
            else:
                y = validate_data(self, y=y, reset=False, multi_output=True)
        else:
            self._refuse_rows_for_sequences(X, reset=reset)
            X, y = validate_data(self, X, y, **self._input_checks(X), reset=reset, multi_output=True)
            self._check_rows(X, reset=reset)
        rows = np.empty((X.shape[0], 0))
        given = argument_to_numpy(sample_weight)
        weight = check_sample_weight(given, rows, dtype=np.float64, ensure_non_negative=True)
        y = self._check_y(to_numpy(y)) if step_weight is None else y
        return Rows(X, y, weight, step_weight)

    def _enter_each(self, y: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Targets or labels of as many steps as X has, which stand side by side, and 1 for those that there are."""
        present = places(X, self.n_features_in_).present
        y, known = self._check_each(y, present[:, : y.shape[1]])
        more = present.shape[1] - y.shape[1]
        rest = np.broadcast_to(y[:, :1], (len(y), more, *y.shape[2:]))
        return np.concatenate([y, rest], axis=1), np.pad(known, ((0, 0), (0, more))).astype(np.float64)

    def _enter_inputs(self, X: Any) -> Any:
        """Inputs to predict from, in the library that the fitted arrays are of."""
        if has_steps(X):
            return self._enter_sequences(X, reset=False)
        self._refuse_rows_for_sequences(X, reset=False)
        X = validate_data(self, X, **self._input_checks(X), reset=False)
        self._check_rows(X, reset=False)
        return X

    def _input_checks(self, X: Any) -> dict[str, Any]:
        """How inputs are validated: in the library that they are of, where scikit-learn's dispatch allows it."""
        if not self._takes_all_kinds:
            return {"dtype": [np.float64, np.float32]}
        xp, _ = dispatched_namespace(X)
        return {"accept_sparse": "csr", "dtype": [xp.float64, xp.float32]}

    def _refuse_rows_for_sequences(self, X: Any, *, reset: bool) -> None:
        if reset:
            vars(self).pop("n_steps_in_", None)
        elif hasattr(self, "n_steps_in_"):
            raise ValueError(
                f"This {type(self).__name__} was fitted on sequences, and X is none; give it X of shape (n_samples, "
                f"n_steps, {self.n_features_in_})."
            )

    def _check_rows(self, X: Any, *, reset: bool) -> None:
        """Refuse rows of another library than that of the network, or out of range."""
        if not reset:
            self._check_library(X)
        refuse_huge("X", X.data if sparse.issparse(X) else X)

    def _enter_sequences(self, X: Any, *, reset: bool, trains: bool = False) -> np.ndarray:
        """The steps of every sample side by side, shape (n_samples, n_steps * n_features); NaN after its end.

        Training goes on with the number of steps that it has begun with.
        """
        if not reset and not hasattr(self, "n_steps_in_"):
            raise ValueError(
                f"This {type(self).__name__} was fitted on rows, but X has three dimensions; give it X of shape "
                f"(n_samples, {self.n_features_in_}), or fit anew."
            )
        sequences = validate_sequences(self, X, reset=reset, dtype=[np.float64, np.float32])
        refuse_huge("X", sequences.rows)
        if reset:
            self.n_steps_in_ = sequences.n_steps
        elif trains and sequences.n_steps > self.n_steps_in_:
            raise ValueError(
                f"X has {sequences.n_steps} steps, but training has begun with n_steps_in_={self.n_steps_in_}; cut the "
                "samples, or fit anew."
            )
        elif trains:
            sequences = sequences._replace(n_steps=self.n_steps_in_)
        return sequences.padded(sequences.rows).reshape(len(sequences.lengths), -1)

    def _enter_step(self, X: Any, n_before: np.ndarray, ended: np.ndarray) -> tuple[Array, np.ndarray]:
        """The next step of sequences, zeros where there is none, and which of them it is a step of.

        ``n_before`` are the steps that each had before, ``ended`` says which have none any more.
        """
        X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan", reset=False)
        if X.shape[0] != len(ended):
            raise ValueError(
                f"The stream is of n_samples={len(ended)} sequences, and X has {X.shape[0]} rows; give it the next "
                "step of every sequence, NaN for one that has ended, or begin another stream."
            )
        absent = to_numpy(X != X)
        present = ~absent.all(axis=1)
        if (gaps := absent.any(axis=1) & present).any():
            raise ValueError(
                f"X contains NaN in some features of sequence {np.argmax(gaps)}. NaN says that a sequence has ended, "
                "in all features; fill gaps first, by the value before."
            )
        if (back := present & ended).any():
            sequence = np.argmax(back)
            raise ValueError(
                f"Sequence {sequence} has ended after {n_before[sequence]} steps, and X has another one; give it NaN "
                "from there on, or begin another stream."
            )
        X = where(like(absent, X), zeros_like(X), X) if absent.any() else X
        refuse_huge("X", X)
        return X, present

    def _weighted(self, rows: Rows) -> Rows:
        """The rows of positive weight: weight 0 stands for absence. The targets are not encoded yet."""
        kept = rows.weight > 0
        kept = kept if kept.ndim == 1 else kept.any(axis=1)
        if not kept.any():
            raise ValueError(
                "Every row has weight zero (sample_weight times class_weight), or no step has a target; give one a "
                "positive weight."
            )
        return rows if kept.all() else rows.take(kept)

    def _check_library(self, X: Any) -> None:
        """Refuse arrays of another library, or on another device, than those that the estimator was fitted on."""
        fitted, given = (array_namespace(array) for array in (self._offset, X))
        if fitted is not given or (fitted is not np and device(self._offset) != device(X)):
            raise ValueError(
                f"This {type(self).__name__} holds arrays of {fitted.__name__} and cannot work with those of "
                f"{given.__name__} on {'the CPU' if given is np else device(X)}. Give it arrays like those it was "
                "fitted on, with sklearn.set_config(array_api_dispatch=True) if they are not NumPy's, or move it with "
                "sklearn.utils._array_api.move_estimator_to (scikit-learn 1.9 or newer)."
            )


def refuse_huge(name: str, values: Array) -> None:
    """Refuse finite values whose squares would overflow."""
    if 0 in values.shape:
        return
    most, limit = max(float(largest(values)), -float(smallest(values))), largest_to_square(largest_finite(values))
    if most > limit:
        raise ValueError(
            f"{name} holds values up to {most:.1e}; {values.dtype} arithmetic needs them below {limit:.0e}. "
            "Rescale them, for example with sklearn.preprocessing.StandardScaler."
        )
