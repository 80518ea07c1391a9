"""What the two estimators of GEM-SNNs share: fit, streams, runs of the fitted network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state, check_scalar, gen_batches
from sklearn.utils.validation import check_is_fitted

from sk_epsnn._arrays import array_namespace
from sk_epsnn._rollback import unchanged_on_error
from sk_epsnn._sklearn import (
    CallbackSupportMixin,
    DocumentationLinkMixin,
    Interval,
    StrOptions,
    one_blas_thread,
    start_fit_task,
)
from sk_epsnn.course import Rows
from sk_epsnn.estimators._callbacks import FitTask
from sk_epsnn.estimators._door import Door
from sk_epsnn.estimators._gem_plan import GEMPlan, make_gem_plan
from sk_epsnn.estimators._gem_range import InputRange
from sk_epsnn.estimators._gem_readout import GEMReadout
from sk_epsnn.estimators._plumbing import Plumbing
from sk_epsnn.gem.decisions import Readings, fire
from sk_epsnn.gem.inputs import Inputs, common
from sk_epsnn.gem.options import RULES, GLMNeuron, MultiSampleRule
from sk_epsnn.gem.passes import Runs, clamped, log_likelihood, run
from sk_epsnn.optimizers import OPTIMIZERS, Optimizer
from sk_epsnn.training import learn_from_stream, train

#: Numbers of the largest array of a prediction, about: what is held at a time.
_HELD = 2**22


class SpikeTrains(NamedTuple):
    """Spikes of the compartments of a network, 0 or 1, and NaN after the end of a sample.

    Attributes
    ----------
    hidden : list of ndarray of shape (n_samples, n_compartments, n_steps, n_units)
        Of each hidden layer.
    outputs : ndarray of shape (n_samples, n_compartments, n_steps, n_outputs)
    """

    hidden: list[np.ndarray]
    outputs: np.ndarray


class BaseGEMSNN(CallbackSupportMixin, Door, GEMReadout, Plumbing, DocumentationLinkMixin, BaseEstimator):
    """Shared machinery of `GEMSNNClassifier` and `GEMSNNRegressor`."""

    _takes_all_kinds = _may_be_each = False
    #: Whether outputs may read their own spikes.
    _has_output_feedback: bool
    _examples = {"inference": "inference=sk_epsnn.GEM()", "activation": "activation=sk_epsnn.GLMNeuron()"}
    _parameter_constraints: dict[str, list[Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({GLMNeuron.name}), GLMNeuron],
        "input_to_output": ["boolean"],
        "inference": [StrOptions(set(RULES)), MultiSampleRule],
        "optimizer": [StrOptions(set(OPTIMIZERS)), Optimizer],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "encode": [StrOptions({"auto", "rates", "range", "population", "none"})],
        "update": [StrOptions({"sequence", "step"})],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left"), None],
        "n_compartments_predict": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    # ------------------------------------------------------------------ training

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> None:
        """All of `fit`."""
        context = start_fit_task(self, self.max_iter)
        with unchanged_on_error(self), one_blas_thread():
            continuing = self.warm_start and hasattr(self, "_progress")
            rows = self._enter(X, y, sample_weight, reset=not continuing)
            self._begin_fit(rows, continuing)
            task = FitTask(context, self, rows.X, rows.target, rows.sample_weight)
            rows = self._weighted(rows)
            self._set_up(rows, continuing)
            rng = check_random_state(self.random_state)
            rows = self._coded(rows)
            self._calibrate(rows, continuing, deepcopy(rng))
            start = self._progress if continuing else self._plan.network
            self._progress = train(self._plan.stages, start, rows, rng, task, self._tell)
            self._stream_rng = rng
            task.end()

    def _learn_from_stream(self, rows: Rows, first: bool) -> None:
        """All of `partial_fit`, but for the labels of a classifier."""
        rows = self._weighted(rows)
        self._set_up(rows, not first)
        rows = self._coded(rows)
        rng = check_random_state(self.random_state) if first else deepcopy(self._stream_rng)
        start = self._plan.network if first else self._progress
        trainer = self._plan.trainer
        passes = [trainer.course.shuffled_batches(rows.n_samples, rng)]
        with one_blas_thread():
            self._progress = learn_from_stream(trainer, start, rows, 1.0, 0.0, rng, self._tell, passes=passes)
        self._stream_rng = rng

    def _set_up(self, rows: Rows, continuing: bool) -> None:
        """Range of the inputs, scale of the targets and plan; those of an earlier fit stay."""
        if not continuing:
            self._range = InputRange.of(rows.X, self.n_features_in_, self.encode)
            self._offset = self._range.low
            self._set_targets(rows)
        plan = make_gem_plan(self, rows.n_samples, self._range.n_inputs, self._n_output_neurons(), self._range.is_drawn)
        self._plan: GEMPlan = plan.following(self._plan) if continuing else plan

    def _coded(self, rows: Rows) -> Rows:
        """The rows as the network is trained on them, in single precision."""
        return rows._replace(X=self._range.inputs(rows.X, np.float32), target=self._encode(rows.target))

    def _calibrate(self, rows: Rows, continuing: bool, rng: np.random.RandomState) -> None:
        """Whatever held-out rows say before all are learned from."""

    def _check_rows(self, X: Any, *, reset: bool) -> None:
        if array_namespace(X) is not np:
            raise ValueError(f"{type(self).__name__} works with arrays of NumPy; convert X, by numpy.asarray(X).")
        super()._check_rows(X, reset=reset)

    # ------------------------------------------------------------------ prediction

    def _read(self, X: Any, function: Callable[[Readings], Any]) -> list[Any]:
        """What a function makes of what the outputs say of rows of X, for some rows at a time."""
        check_is_fitted(self)
        X = self._range.inputs(checked := self._enter_inputs(X), checked.dtype)
        predict = self._plan.trainer.predictor(self._progress.state, X.dtype)
        with one_blas_thread():
            return [function(predict(X[rows])) for rows in self._chunks(X, self._plan.trainer.n_predicting)]

    def _chunks(self, X: np.ndarray, n_compartments: int) -> Iterator[slice]:
        code, network = self._plan.trainer.code, self._plan.network
        n_steps = code.n_steps or X.shape[1] // code.n_features
        held = n_steps * max(network.sizes[0], n_compartments * max(network.sizes[1:]))
        return gen_batches(len(X), max(1, _HELD // held))

    def _runs(self, X: np.ndarray, n_compartments: int, seed: int) -> tuple[Runs, Inputs]:
        """What so many compartments do with rates, in their precision."""
        state, uniforms = self._progress.state, common(seed)
        weights = {name: array.astype(X.dtype) for name, array in state.weights.items()}
        inputs = self._plan.trainer.code.inputs(X, uniforms, X.dtype)
        return run(state.network, weights, inputs.values, inputs.n_steps, n_compartments, uniforms), inputs

    def score_log_likelihood(self, X, y, n_compartments=None, sample_weight=None):
        """Mean over the rows of a lower bound on the log-likelihood of the targets' spike trains, in nats.

        It is ``log mean_k exp sum_t log p(y_t | hidden spikes of compartment k)``, which grows with the number of
        compartments, in expectation, to the log-likelihood itself.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, n_steps, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        n_compartments : int, default=None
            None is ``n_compartments_predict``.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        score : float
        """
        check_is_fitted(self)
        n_compartments = self._plan.trainer.n_predicting if n_compartments is None else n_compartments
        check_scalar(n_compartments, "n_compartments", Integral, min_val=1)
        rows = self._enter(X, y, sample_weight, reset=False, trains=False)
        X, target = self._range.inputs(rows.X, rows.X.dtype), self._encode(rows.target)
        state, bounds = self._progress.state, []
        for part in self._chunks(X, n_compartments):
            runs, inputs = self._runs(X[part], n_compartments, state.seed)
            held = target[part].astype(X.dtype)[np.newaxis, :, np.newaxis]
            each = log_likelihood(clamped(state.network, state.weights, runs.potentials, held), held)
            if inputs.present is not None:
                each = each * inputs.present[:, :, np.newaxis]
            bounds.append(logsumexp(each.sum(axis=0), axis=1) - np.log(n_compartments))
        return float(np.average(np.concatenate(bounds), weights=rows.sample_weight))

    def sample_spikes(self, X, n_compartments=None, random_state=None):
        """Draw spikes of all neurons.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, n_steps, n_features)
        n_compartments : int, default=None
            Runs with the same input spikes; None is ``n_compartments_predict``.
        random_state : int, RandomState instance or None, default=None
            None draws the spikes that predictions are made from.

        Returns
        -------
        trains : SpikeTrains
            Named tuple ``(hidden, outputs)`` of arrays of shape (n_samples, n_compartments, n_steps, n_units), for
            each hidden layer one.
        """
        check_is_fitted(self)
        n_compartments = self._plan.trainer.n_predicting if n_compartments is None else n_compartments
        check_scalar(n_compartments, "n_compartments", Integral, min_val=1)
        state = self._progress.state
        seed = state.seed if random_state is None else int(check_random_state(random_state).randint(2**31 - 1))
        X = self._range.inputs(checked := self._enter_inputs(X), checked.dtype)
        runs, inputs = self._runs(X, n_compartments, seed)
        outputs = fire(state.network, state.weights, runs.potentials, common(seed))

        def trains(spikes: np.ndarray) -> np.ndarray:
            if inputs.present is not None:
                spikes = np.where(inputs.present[:, :, np.newaxis, np.newaxis] > 0, spikes, np.nan)
            return spikes.transpose(1, 2, 0, 3)

        return SpikeTrains([trains(layer.spikes) for layer in runs.hidden], trains(outputs))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags
