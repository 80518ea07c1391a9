"""Merging estimators that were trained apart."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sk_epsnn._arrays import to_numpy
from sk_epsnn.course import LEAST_SET_UP
from sk_epsnn.ep.state import State, aligned
from sk_epsnn.estimators._base import BaseEPSNN


def merge(base, estimators):
    """Estimator that knows what copies of one estimator have learned apart, on different data.

    Every copy starts as ``copy.deepcopy(base)`` and sees its own rows by `partial_fit`. What each has learned is the
    quotient of its posterior and that of ``base``; the result is the product of these with the posterior of ``base``,
    which so counts once. With one layer of a joint Gaussian and Gaussian output of known noise this is exactly what
    training on all rows would give, otherwise an approximation. It is best where ``base`` has learned from enough rows
    for the copies to agree on what their hidden neurons stand for.

    Parameters
    ----------
    base : EPSNNClassifier or EPSNNRegressor
        Fitted, at best by a few calls of `partial_fit` on representative rows, the first one of at least 32 of them.
    estimators : sequence of estimators
        Copies of ``base`` that were trained further by `partial_fit`.

    Returns
    -------
    merged : object
        A new estimator of the same type, which can be trained further; the others stay as they are.

    Raises
    ------
    ValueError
        If an estimator is not a copy of ``base``, or their evidence does not add up to a posterior. That can happen
        after `fit`, which takes evidence of earlier passes out.

    Examples
    --------
    >>> from copy import deepcopy
    >>> import numpy as np
    >>> from sk_epsnn import EPSNNRegressor, merge
    >>> X = np.random.default_rng(0).standard_normal((300, 3))
    >>> y = X[:, 0] - 2 * X[:, 1]
    >>> base = EPSNNRegressor().partial_fit(X[:100], y[:100])
    >>> parts = [deepcopy(base).partial_fit(X[rows], y[rows]) for rows in (slice(100, 200), slice(200, 300))]
    >>> merged = merge(base, parts)
    >>> bool(merged.score(X, y) > 0.99)
    True
    """
    estimators = list(estimators)
    check_is_fitted(base)
    if not estimators:
        raise ValueError("merge needs at least one estimator that was trained from base; the list is empty.")
    for index, other in enumerate(estimators):
        _check_copy(base, other, f"estimators[{index}]")
    start = base._progress
    known, *learned = aligned([start.state, *(other._progress.state for other in estimators)])
    try:
        state = known.plus([other.since(known) for other in learned])
    except ValueError as error:
        raise ValueError(
            f"{error} Let every estimator start as copy.deepcopy(base) and see its own rows by partial_fit."
        ) from error
    progress = replace(start, state=state, n_passes=sum((o.n_iter_ - base.n_iter_ for o in estimators), base.n_iter_))
    for other in estimators:
        added = {name: values[len(start.history[name]) :] for name, values in other._progress.history.items()}
        progress = progress.noted(**added)
    merged = copy(base)
    merged._progress, merged._opening = progress, None
    return merged


def _check_copy(base: BaseEPSNN, other: BaseEPSNN, name: str) -> None:
    """Refuse what does not come from the same start."""
    if type(other) is not type(base):
        raise ValueError(f"{name} is a {type(other).__name__}, but base is a {type(base).__name__}.")
    check_is_fitted(other)
    if not all(isinstance(model._progress.state, State) for model in (base, other)):
        raise ValueError("Only what Expectation Propagation has learned adds up; train with inference='auto'.")
    if any(model._progress.state.is_known for model in (base, other)):
        raise ValueError("Frozen weights hold no evidence to merge; use the estimators before freeze().")
    if not _same(*map(_start, (base, other), aligned([base._progress.state, other._progress.state]))):
        remedy = "Let every estimator start as copy.deepcopy(base) and train it by partial_fit"
        if getattr(base, "_opening", None) is not None:
            remedy += f", and base by a first call of at least {LEAST_SET_UP} rows: fewer do not fix the set-up"
        raise ValueError(f"{name} does not come from base: classes, scale, basis or prior differ. {remedy}.")
    if other._progress.state.mass < base._progress.state.mass:
        raise ValueError(f"{name} holds less evidence than base; swap them, or train it from base by partial_fit.")


def _start(estimator: BaseEPSNN, state: State) -> list[np.ndarray]:
    """Everything that is decided before training, as arrays, given a state that is aligned with others."""
    basis = state.network.basis
    arrays = [getattr(estimator, "classes_", np.empty(0)), *estimator._target_location_and_scale(), basis.offset]
    arrays += [basis.scale, np.array([basis.constant])]
    if basis.columns is not None:
        arrays.append(basis.columns)
    if basis.rotation is not None:
        arrays.append(basis.rotation)
    for layer in state.layers:
        # A prior that is not conjugate is seen from the posterior, and changes with it.
        arrays.append(np.array(layer.posterior.precision.shape))
        arrays += [layer.prior.precision, layer.prior.shift] if layer.rule is None else [layer.rule.unit]
    return arrays


def _same(first: Sequence, second: Sequence) -> bool:
    pairs = zip(first, second, strict=True)
    return len(first) == len(second) and all(np.array_equal(to_numpy(a), to_numpy(b)) for a, b in pairs)


__all__ = ["merge"]
