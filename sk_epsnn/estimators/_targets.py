"""What a network is trained on: labels as spikes of one output unit each, real targets in units of their spread."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
from sklearn.utils import check_array, compute_class_weight

from sk_epsnn._arrays import Array, HoldsArrays, like, to_numpy
from sk_epsnn.course import Rows


class TargetScale(HoldsArrays):
    """Location and scale of real targets, in the library of the inputs.

    Parameters
    ----------
    location, scale : array of shape (n_outputs,)
    single : bool
        Whether targets are a vector rather than columns.
    """

    def __init__(self, location: Array, scale: Array, single: bool):
        self.location, self.scale, self.single = location, scale, single

    @classmethod
    def of(cls, y: np.ndarray, sample_weight: np.ndarray, X: Any, *, standardise: bool, shift: bool) -> TargetScale:
        """Scale of the targets of rows, or 1 without ``standardise``; without ``shift`` the location is 0."""
        columns = y.reshape(len(y), -1)
        location, scale = np.zeros(columns.shape[1]), np.ones(columns.shape[1])
        if standardise:
            mean = np.average(columns, axis=0, weights=sample_weight)
            spread = np.sqrt(np.average((columns - mean) ** 2, axis=0, weights=sample_weight))
            # A constant target, or a first batch of one row, has no scale of its own.
            fallback = np.where(mean != 0, np.abs(mean), 1.0)
            scale = np.where(spread > 1e-12 * fallback, spread, fallback)
            if shift:
                location = mean
        return cls(like(location, X), like(scale, X), y.ndim == 1)

    @property
    def n_outputs(self) -> int:
        """Output units."""
        return self.scale.shape[0]

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Targets in units of their scale, shape (n_samples, n_outputs)."""
        columns = y.reshape(len(y), -1)
        if columns.shape[1] != self.n_outputs:
            raise ValueError(
                f"y has {columns.shape[1]} outputs, but the model was fitted with {self.n_outputs}; "
                "fit a new estimator for other targets."
            )
        return (columns - to_numpy(self.location)) / to_numpy(self.scale)

    def shaped(self, columns: Array) -> Array:
        """Columns as targets are given: a vector where these are one."""
        return columns[:, 0] if self.single else columns


def check_numbers(y: np.ndarray, *, missing: bool = False) -> np.ndarray:
    """Targets as float64, `None` as a missing number; with ``missing`` these may be among them.

    Raises
    ------
    TypeError
        If they are dates, durations or other things than real numbers; scikit-learn would count dates in nanoseconds.
    ValueError
        If they are strings without a number, complex, or not finite.
    """
    kinds = {type(entry) for entry in y.ravel()} if y.dtype == object else {y.dtype.type}
    times = (np.datetime64, np.timedelta64, date, timedelta)
    others = {kind.__name__ for kind in kinds if issubclass(kind, times)}
    try:
        if not others:
            finite = "allow-nan" if missing else True
            return check_array(y, dtype=np.float64, ensure_2d=False, ensure_all_finite=finite, input_name="y")
    except TypeError:
        others = {kind.__name__ for kind in kinds}
    raise TypeError(
        f"y must hold real numbers, got {' and '.join(sorted(others))}. Count dates and durations in a unit of your "
        "choice, for example (y - y.min()) / np.timedelta64(1, 'D')."
    )


def check_classes(classes: np.ndarray) -> None:
    """Refuse fewer than two classes."""
    if len(classes) < 2:
        found = f"only one class: {classes.tolist()[0]!r}" if len(classes) else "none"
        raise ValueError(f"A classifier needs samples of at least 2 classes, but the data has {found}.")


def check_known(y: np.ndarray, classes: np.ndarray) -> None:
    """Refuse labels of a stream that were not named in its first call."""
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise ValueError(
            f"y holds labels {unknown} that are not in classes {classes}; name every label in the first call: "
            "partial_fit(X, y, classes=...)."
        )


def encode_labels(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Targets -1 and +1, one output unit per class, or a single one for two classes."""
    index = np.searchsorted(classes, y)
    if len(classes) == 2:
        return np.where(index == 1, 1.0, -1.0)[:, None]
    return np.where(index[:, None] == np.arange(len(classes)), 1.0, -1.0)


def with_class_weight(class_weight: Any, rows: Rows, classes: np.ndarray) -> Rows:
    """The rows with each target's weight times that of its class; "balanced" counts the targets by their weights."""
    if class_weight is None:
        return rows
    if rows.step_weight is None:
        return rows._replace(sample_weight=_weighted(class_weight, rows.sample_weight, rows.target, classes))
    known = rows.weight > 0
    target, weight = rows.known()
    step_weight = rows.step_weight.copy()
    step_weight[known] *= _weighted(class_weight, weight, target, classes) / weight
    return rows._replace(step_weight=step_weight)


def _weighted(class_weight: Any, sample_weight: np.ndarray, y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    kept = sample_weight > 0
    present = np.unique(y[kept]) if isinstance(class_weight, str) else classes
    weights = compute_class_weight(class_weight, classes=present, y=y[kept], sample_weight=sample_weight[kept])
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError(f"class_weight must be finite and not negative for every class, got {class_weight!r}.")
    result = np.zeros_like(sample_weight)
    result[kept] = sample_weight[kept] * weights[np.searchsorted(present, y[kept])]
    return result
