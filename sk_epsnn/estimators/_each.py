"""Targets for every step of sequences: how they are given, where there are none, how predictions of them are scored."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.validation import check_is_fitted, column_or_1d

from sk_epsnn._sequences import Lengths, Sequences
from sk_epsnn.estimators._targets import check_numbers


def reads_each(activation: Any) -> bool:
    """Whether an activation, as an estimator is given it, says that there is a target for every step."""
    last = [activation] if isinstance(activation, str) or not np.iterable(activation) else list(activation)[-1:]
    return any(isinstance(readout := getattr(neuron, "readout", None), str) and readout == "each" for neuron in last)


def check_steps(y: np.ndarray, n_steps: int, *, each: bool, several: bool, may_be_each: bool = True) -> None:
    """Refuse targets of sequences whose shape says something else than the readout does.

    Parameters
    ----------
    y : array of shape (n_samples, ...)
    n_steps : int
        Of X.
    each : bool
        Whether the outputs are read at every step.
    several : bool
        Whether there may be several targets at a time.
    may_be_each : bool
        Whether there are neurons that are read at every step.
    """
    if each:
        shapes = f"(n_samples, n_steps) with the n_steps={n_steps} of X"
        if several:
            shapes += ", or (n_samples, n_steps, n_outputs)"
        if y.ndim not in (2, 3)[: 1 + several] or y.shape[1] != n_steps:
            raise ValueError(
                f"readout='each' has a target for every step, and y has shape {y.shape}. Give y the shape {shapes}, "
                "NaN where there is none; or take readout='mean' or 'last', which have one target for each sample."
            )
    elif y.ndim > (2 if several else 1) and y.shape[1:] != (1,):
        other = ", or take activation=LIF(readout='each') for one at every step" if may_be_each else ""
        raise ValueError(
            f"y has shape {y.shape}, and there is one target for each sample: give it the shape (n_samples,){other}."
        )


def numbers_of_steps(y: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Real targets of the steps that X has, and which of these have one.

    Parameters
    ----------
    y : array of shape (n_samples, n_steps) or (n_samples, n_steps, n_outputs)
        NaN at a step without a target. What it holds where X has no step does not matter.
    present : boolean array of shape (n_samples, n_steps)

    Returns
    -------
    y : float64 array of the same shape
        0 where there is no target.
    known : boolean array of shape (n_samples, n_steps)
    """
    numbers = check_numbers(y[present], missing=True)
    missing = np.isnan(numbers)
    if y.ndim == 3:
        missing, some = missing.all(axis=1), missing.any(axis=1)
        if (some & ~missing).any():
            raise ValueError(
                "y is NaN in some of its outputs at a step, where it has others. NaN says that a step has no target, "
                "in all outputs; fill the gaps, or fit an estimator for each output."
            )
    result, known = np.zeros(y.shape), present.copy()
    known[present] = ~missing
    result[known] = numbers[~missing]
    return result, known


def labels_of_steps(y: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the steps that X has, and which of these have one: neither None nor NaN.

    Parameters are those of `numbers_of_steps`; where there is no label the result has that of another step.
    """
    labels = column_or_1d(y[present])
    missing = np.array([label is None or bool(label != label) for label in labels.tolist()], bool)
    known = present.copy()
    known[present] = ~missing
    there = np.array(labels[~missing].tolist()) if labels.dtype == object else labels[~missing]
    result = np.full(y.shape, there[0] if len(there) else 0, there.dtype)
    result[known] = there
    return result, known


def places(X: np.ndarray, n_features: int) -> Sequences:
    """Where the steps are that sequences have, given with their steps side by side; see `Sequences.padded`."""
    rows = X.reshape(-1, n_features)
    present = (rows[:, 0] == rows[:, 0]).reshape(len(X), -1)
    return Sequences(rows[present.ravel()], present.sum(axis=1), present.shape[1])


def with_last(values: np.ndarray, lengths: Lengths) -> np.ndarray:
    """What is given for every step, shape (n_samples, n_steps, ...), with that of a sample's last one after its end."""
    n_samples, n_steps = values.shape[:2]
    step = np.minimum(np.arange(n_steps), np.maximum(lengths, 1)[:, None] - 1)
    return values[np.arange(n_samples)[:, None], step]


class ScoresSteps:
    """`score` of an estimator with a target for every step: over all of them together."""

    _task: str
    _enter: Any
    _progress: Any
    predict: Any

    def score(self, X, y, sample_weight=None):
        """Accuracy of a classifier, coefficient of determination of a regressor.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_steps, n_features)
        y : array-like of shape (n_samples,), (n_samples, n_outputs) or (n_samples, n_steps)
            As in `fit`; with ``readout="each"`` targets of all steps count alike, whatever sample they are of.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        score : float
            Accuracy, or R^2 averaged over the outputs.
        """
        check_is_fitted(self)
        if not self._progress.state.network.reads_each:
            return super().score(X, y, sample_weight)  # type: ignore[misc]
        rows = self._enter(X, y, sample_weight, reset=False, trains=False)
        known = rows.weight > 0
        target, weight = rows.known()
        metric = accuracy_score if self._task == "classifier" else r2_score
        return float(metric(target, self.predict(X)[known], sample_weight=weight))
