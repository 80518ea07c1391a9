"""What a classifier makes of labels: classes, weights of these, targets of the output units."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import column_or_1d

from sk_epsnn._arrays import Array, argument_to_numpy, like, to_numpy
from sk_epsnn.course import Rows
from sk_epsnn.estimators._each import labels_of_steps
from sk_epsnn.estimators._order import LabelOrder
from sk_epsnn.estimators._targets import check_classes, check_known, encode_labels, with_class_weight


class Labels:
    """The part of a classifier that knows labels."""

    class_weight: Any
    classes_: Any
    _offset: Array
    _has_several = False

    @property
    def _labels(self) -> np.ndarray:
        """The classes, as an array of NumPy."""
        return to_numpy(self.classes_)

    def _check_y(self, y: np.ndarray) -> np.ndarray:
        return column_or_1d(y, warn=True)

    def _check_each(self, y: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return labels_of_steps(y, present)

    def _begin_fit(self, rows: Rows, continuing: bool) -> None:
        """Find the classes."""
        y, _ = rows.known() if rows.step_weight is not None else (rows.target, None)
        check_classification_targets(y)
        classes = np.unique(y)
        if continuing and not np.array_equal(classes, self._labels):
            raise ValueError(
                f"warm_start needs the classes of the previous fit, {self._labels}, but y has {classes}; "
                "set warm_start=False to start anew."
            )
        self._set_classes(classes, rows.X)
        self._order = LabelOrder.of(np.searchsorted(classes, y), len(classes))

    def _watch_order(self, rows: Rows) -> None:
        """Warn of a stream that is sorted by class; the labels of the steps of a sample are in no random order."""
        if rows.step_weight is not None:
            return
        y = rows.target[rows.sample_weight > 0]
        order = getattr(self, "_order", None) or LabelOrder.of(np.empty(0, int), len(self._labels))
        self._order = order.after(np.searchsorted(self._labels, y)).warned(self._labels, stacklevel=4)

    def _set_classes(self, classes: np.ndarray, X: Any) -> None:
        """Set ``classes_``, in the library of the inputs if they are numbers."""
        check_classes(classes)
        self.classes_ = like(classes, X) if np.issubdtype(classes.dtype, np.number) else classes

    def _check_stream_labels(self, rows: Rows, classes: Any, first: bool) -> None:
        """The labels of a stream: all of them are named in the first call."""
        if isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight='balanced' needs all labels at once and cannot be used with partial_fit; compute "
                "the weights with sklearn.utils.compute_class_weight and pass them as a dict."
            )
        classes = argument_to_numpy(classes)
        if first:
            if classes is None:
                raise ValueError("classes must be passed in the first call of partial_fit: all labels that may occur.")
            self._set_classes(unique_labels(classes), rows.X)
        elif classes is not None and not np.array_equal(unique_labels(classes), self._labels):
            raise ValueError(
                f"classes={classes!r} differs from the classes of the first call, {self._labels}; the set of labels "
                "cannot change in a stream."
            )
        check_known(rows.target if rows.step_weight is None else rows.known()[0], self._labels)

    def _weighted(self, rows: Rows) -> Rows:
        """The rows whose weight, times that of their class, is positive."""
        return super()._weighted(with_class_weight(self.class_weight, rows, self._labels))  # type: ignore[misc]

    def _set_targets(self, rows: Rows) -> None:
        """Labels have no scale."""

    def _encode(self, y: np.ndarray) -> np.ndarray:
        return encode_labels(y, self._labels)

    def _n_output_units(self, y: np.ndarray) -> int:
        n_classes = len(self._labels)
        return 1 if n_classes == 2 else n_classes

    def _target_scale(self) -> np.ndarray:
        return np.ones(self._n_output_units(self._labels))

    def _target_location_and_scale(self) -> tuple[Array, Array]:
        scale = self._target_scale()
        return like(np.zeros_like(scale), self._offset), like(scale, self._offset)

    def _vector_target(self) -> bool:
        return False
