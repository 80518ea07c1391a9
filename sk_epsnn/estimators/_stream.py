"""Predictions of sequences while they come in, one step after another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import check_scalar

from sk_epsnn._arrays import Array, astype, converted, copy_of, exp, like, sqrt
from sk_epsnn._sklearn import one_blas_thread
from sk_epsnn.connections import Connection, Running, running
from sk_epsnn.estimators._uncertainty import Uncertainty, class_log_probability, class_uncertainty
from sk_epsnn.messages import Spread


class _Memory(NamedTuple):
    """What is left of the steps so far: their number for each sequence, which have ended, sums of every connection."""

    n_steps: np.ndarray
    ended: np.ndarray
    sums: tuple[list[Any], ...]
    spread: Spread | None


class _Pass(NamedTuple):
    """A predictive pass over one step, and the connections that it goes through."""

    connections: list[Connection]
    predict: Callable[[Array], Spread]


class SequenceStream:
    """Base of streams: the sums over the steps so far from which predictions follow.

    For every sequence these are the filtered inputs and spikes, what the outputs read, and how each of these sums
    follows the weights below.
    """

    def __init__(self, estimator: Any, n_samples: int, n_steps: int | None):
        if not hasattr(estimator, "n_steps_in_"):
            raise ValueError(
                f"This {type(estimator).__name__} was fitted on rows, which have no steps: predict from them as they "
                "come, or fit it on X of shape (n_samples, n_steps, n_features)."
            )
        check_scalar(n_samples, "n_samples", Integral, min_val=1)
        if n_steps is not None:
            check_scalar(n_steps, "n_steps", Integral, min_val=1)
        readout = estimator._progress.state.network.readout
        if readout.n_parts == 1 and n_steps is not None:
            raise ValueError(
                f"n_steps={n_steps} has no effect: the outputs read what does not depend on the steps to come. Leave "
                "it at None."
            )
        self._estimator = estimator
        self._n_samples = n_samples
        self._most_steps = (n_steps or estimator.n_steps_in_) if readout.n_parts > 1 else None
        self.reset()

    def reset(self):
        """Forget all steps: new sequences begin."""
        n_samples, n_connections = self._n_samples, len(self._network.connections)
        nothing = np.zeros(n_samples, np.int64), np.zeros(n_samples, np.bool_)
        self._memory = _Memory(*nothing, tuple([] for _ in range(n_connections)), None)
        self._dtype: Any = None
        self._pass: _Pass | None = None

    @property
    def n_steps_(self) -> np.ndarray:
        """How many steps each sequence has had, shape (n_samples,)."""
        return self._memory.n_steps.copy()

    @property
    def _network(self) -> Any:
        return self._estimator._progress.state.network

    def _after(self, X: Any) -> None:
        """Take another step."""
        memory = self._memory
        X, present = self._estimator._enter_step(X, memory.n_steps, memory.ended)
        if self._most_steps is not None and (memory.n_steps[present] >= self._most_steps).any():
            raise ValueError(
                f"The stream has had all its n_steps={self._most_steps} steps, whose parts the outputs read. Begin "
                "another one, with as many steps as will come, or reset() this one."
            )
        dtype = X.dtype if self._dtype is None else self._dtype
        way = self._pass or self._make_pass(dtype)
        for connection, mine, before in zip(way.connections, self._network.connections, memory.sums, strict=True):
            if isinstance(connection, Running):
                share = mine.share(memory.n_steps, self._most_steps)
                connection.begin(share * present[:, None], before)
        with one_blas_thread():
            spread = way.predict(astype(X, dtype, copy=False))
        sums = tuple(each.sums if isinstance(each, Running) else [] for each in way.connections)
        self._memory = _Memory(memory.n_steps + present, memory.ended | ~present, sums, spread)
        self._dtype, self._pass = dtype, way

    def _make_pass(self, dtype: Any) -> _Pass:
        estimator = self._estimator
        connections = [running(each) for each in self._network.connections]
        network = self._network.over(connections, estimator.n_features_in_)
        state = replace(estimator._progress.state, network=network)
        return _Pass(connections, estimator._plan.trainer.predictor(state, dtype))

    def _so_far(self, function: Callable[[Spread], Any]) -> Any:
        """What a function makes of the output potentials: NaN of sequences without a step where every one has a target.

        It gives arrays with a row for each sequence.
        """
        spread, ended = self._memory.spread, self._memory.ended
        if spread is None:
            raise ValueError("There is no step yet to predict from; give one to step(X).")
        result = function(spread)
        if not self._network.reads_each or not ended.any():
            return result

        def but_for_ended(part: Array) -> Array:
            part = copy_of(part)
            part[like(ended, part), ...] = np.nan
            return part

        return converted(result, but_for_ended)

    def __getstate__(self) -> dict[str, Any]:
        # What a pass goes through holds the step at work: every copy makes its own.
        return {**vars(self), "_pass": None}


class ClassifierStream(SequenceStream):
    """Class probabilities of sequences while they come in, one step after another; see `EPSNNClassifier.stream`.

    For every sequence it keeps sums over the steps so far: of a hidden layer as many numbers as it has weights, and
    squares of its number of inputs, ``R`` times as many where the outputs read ``R`` parts of the steps; of neurons
    with ``recurrent=True`` that the outputs read, its weights times its neurons. A step takes the time of so many
    numbers, however many steps went before. All steps are worked out in the dtype of the first one. A stream can be
    copied and pickled, and goes on from there.

    Attributes
    ----------
    n_steps_ : ndarray of shape (n_samples,)
        How many steps each sequence has had.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_epsnn import EPSNNClassifier, LIF
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 200)
    >>> X = (rng.random((200, 10, 4)) < 0.2 + 0.4 * y[:, None, None]).astype(float)
    >>> clf = EPSNNClassifier(8, activation=LIF(leak=0.8), random_state=0).fit(X, y)
    >>> stream = clf.stream(n_samples=200)
    >>> for t in range(10):
    ...     probability = stream.step(X[:, t])
    >>> bool(np.allclose(probability, clf.predict_proba(X)))
    True
    """

    def step(self, X: Any) -> Array:
        """Take the next step of every sequence.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            NaN in all features for a sequence that has ended: it keeps its prediction. With ``readout="each"`` there is
            none for a step that a sequence does not have, but NaN.

        Returns
        -------
        probability : ndarray of shape (n_samples, n_classes)
            What `EPSNNClassifier.predict_proba` says of the steps so far; with ``readout="each"``, of this one. Where
            the outputs read several parts, these are the parts of all the steps that will be, and in those that have
            not begun all is silent.

        Raises
        ------
        ValueError
            If X is no such array, if a sequence goes on that has ended, or if there are more steps than `n_steps`. The
            stream is then as it was.
        """
        self._after(X)
        return self._so_far(lambda spread: exp(class_log_probability(self._network.output, spread)))

    def predict_uncertainty(self) -> Uncertainty:
        """What `EPSNNClassifier.predict_uncertainty` says of the steps so far.

        Returns
        -------
        uncertainty : Uncertainty
            Of arrays of shape (n_samples,), in nats.

        Raises
        ------
        ValueError
            If there was no step yet.
        """
        return self._so_far(lambda spread: class_uncertainty(self._network.output, spread))


class RegressorStream(SequenceStream):
    """Predictions of sequences while they come in, one step after another; see `EPSNNRegressor.stream`.

    What is kept and what a step costs is that of `ClassifierStream`.

    Attributes
    ----------
    n_steps_ : ndarray of shape (n_samples,)
        How many steps each sequence has had.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_epsnn import EPSNNRegressor, LIF
    >>> X = np.random.default_rng(0).random((100, 10, 3))
    >>> reg = EPSNNRegressor(activation=LIF(leak=0.5, readout="last")).fit(X, X[:, -1, 0])
    >>> stream = reg.stream(n_samples=100)
    >>> for t in range(10):
    ...     mean, std = stream.step(X[:, t])
    >>> bool(np.allclose(mean, reg.predict(X)))
    True
    """

    def step(self, X: Any) -> tuple[Array, Array]:
        """Take the next step of every sequence.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            NaN in all features for a sequence that has ended: it keeps its prediction. With ``readout="each"`` there is
            none for a step that a sequence does not have, but NaN.

        Returns
        -------
        y_mean, y_std : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            What `EPSNNRegressor.predict` with ``return_std=True`` says of the steps so far; with ``readout="each"``, of
            this one. Of several parts see `ClassifierStream.step`.

        Raises
        ------
        ValueError
            If X is no such array, if a sequence goes on that has ended, or if there are more steps than `n_steps`. The
            stream is then as it was.
        """
        self._after(X)
        mean, epistemic, aleatoric = self._so_far(self._estimator._in_units_of_y)
        return mean, sqrt(epistemic + aleatoric)

    def predict_uncertainty(self) -> Uncertainty:
        """What `EPSNNRegressor.predict_uncertainty` says of the steps so far.

        Returns
        -------
        uncertainty : Uncertainty
            Of variances in squared units of y, shapes as in `step`.

        Raises
        ------
        ValueError
            If there was no step yet.
        """
        _, epistemic, aleatoric = self._so_far(self._estimator._in_units_of_y)
        return Uncertainty(epistemic + aleatoric, aleatoric, epistemic)


STREAMS = {"classifier": ClassifierStream, "regressor": RegressorStream}
