"""What the classifier and the regressor share: fit, streams, prediction, files."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from copy import copy, deepcopy
from dataclasses import replace
from numbers import Integral, Real
from typing import Any

from joblib import Parallel, delayed, effective_n_jobs
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.validation import check_is_fitted

from sk_epsnn._arrays import concat, converted, take
from sk_epsnn._rollback import unchanged_on_error
from sk_epsnn._sklearn import (
    CallbackSupportMixin,
    DocumentationLinkMixin,
    Interval,
    StrOptions,
    check_same_namespace,
    one_blas_thread,
    start_fit_task,
)
from sk_epsnn.basis import stays_sparse
from sk_epsnn.connections import Connection
from sk_epsnn.course import Rows
from sk_epsnn.ep.options import INFERENCES
from sk_epsnn.estimators._callbacks import FitTask
from sk_epsnn.estimators._door import Door
from sk_epsnn.estimators._each import places
from sk_epsnn.estimators._ep_readout import EPReadout
from sk_epsnn.estimators._opening import Opening
from sk_epsnn.estimators._plan import Plan, Problem
from sk_epsnn.estimators._planner import make_plan
from sk_epsnn.estimators._plumbing import Plumbing
from sk_epsnn.estimators._stream import STREAMS
from sk_epsnn.estimators._uncertainty import PotentialMoments
from sk_epsnn.estimators._words import refuse_moved
from sk_epsnn.messages import Spread
from sk_epsnn.neurons import NEURONS, Neuron
from sk_epsnn.priors import PRIORS, WeightPrior
from sk_epsnn.training import Inference, learn_from_stream, train
from sk_epsnn.weights import NAMED_LEVELS, Levels

#: Rows x inputs x units of the largest product of a batch from which on products may use several threads. Smaller ones
#: take less than the 10 ms for which threads wait for each other where other programs want the processor too: fits
#: were then up to 7 times slower with two threads, and at most a sixth faster where nothing else ran.
SEVERAL_THREADS = 3e8


class BaseEPSNN(CallbackSupportMixin, Door, EPReadout, Plumbing, DocumentationLinkMixin, BaseEstimator):
    """Shared machinery of `EPSNNClassifier` and `EPSNNRegressor`."""

    #: "classifier" or "regressor".
    _task: str
    _examples = {"inference": "inference=sk_epsnn.Newton()"}
    _parameter_constraints: dict[str, list[Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left"), Connection],
        "activation": [StrOptions(set(NEURONS)), Neuron, "array-like"],
        "weights": [StrOptions({"continuous", *NAMED_LEVELS}), Levels],
        "prior": [StrOptions(set(PRIORS)), WeightPrior],
        "inference": [StrOptions({"auto", *INFERENCES}), Inference],
        "fit_intercept": ["boolean"],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left"), None],
        "tol": [Interval(Real, 0, None, closed="left")],
        "shuffle": ["boolean"],
        "forgetting": [Interval(Real, 0, 1, closed="right")],
        "warm_start": ["boolean"],
        "n_shards": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Interval(Integral, 1, None, closed="left"), Interval(Integral, None, -1, closed="right"), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    # ------------------------------------------------------------------ training

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> None:
        """All of `fit`."""
        context = start_fit_task(self, self.max_iter)
        with unchanged_on_error(self):
            continuing = self.warm_start and hasattr(self, "_progress") and not self._progress.state.is_known
            rows = self._enter(X, y, sample_weight, reset=not continuing)
            self._begin_fit(rows, continuing)
            task = FitTask(context, self, rows.X, rows.target, rows.sample_weight)
            rows = self._weighted(rows)
            self._follow(make_plan(self, self._problem(rows)), continuing)
            if not continuing:
                self._set_targets(rows.take(self._plan.stages[0].course.first_rows(rows.n_samples)))
            rows = self._encoded(rows)
            start = self._progress if continuing else self._plan.network_for(self._target_scale())
            refused = self._n_refused(continuing)
            rng = check_random_state(self.random_state)
            with self._blas_threads(rows.X, self._plan.batch_of(rows.n_samples))():
                self._progress = train(self._plan.stages, start, rows, rng, task, self._tell)
            self._opening = None
            self._warn_if_refused(refused, stacklevel=6)  # past this, fit and its two decorators
            task.end()

    def _learn_from_stream(self, rows: Rows, first: bool) -> None:
        """All of `partial_fit`, but for the labels of a classifier."""
        if not first and self._progress.state.is_known:
            raise ValueError(
                "The weights are frozen and cannot learn from more data; use the estimator before freeze()."
            )
        rows = self._weighted(rows)
        self._follow(make_plan(self, self._problem(rows, is_stream=True)), not first)
        opening, rng, passes = getattr(self, "_opening", None), None, [[slice(None)]]
        if first:
            rng = check_random_state(self.random_state)
            opening = Opening(deepcopy(rng))
        opening = opening and opening.with_rows(rows, self.forgetting)
        start = before = None if first else self._progress
        if anew := opening is not None and opening.is_due:  # the set-up, and all that follows from it
            rows, rng = opening.joined(), rng or deepcopy(opening.rng)
            self._set_targets(rows)
            start = self._plan.network_for(self._target_scale())
            passes = opening.passes(bool(self._plan.network.hidden))
        rows = self._encoded(rows)
        refused = self._n_refused(not anew)
        with self._blas_threads(rows.X, rows.n_samples)():
            self._progress = learn_from_stream(
                self._plan.trainer, start, rows, self.forgetting, self.tol, rng, self._tell, before, passes
            )
        self._opening = opening and opening.kept()
        self._warn_if_refused(refused, stacklevel=5)  # past this, partial_fit and its decorator

    def _blas_threads(self, X: Any, n_rows: int) -> Callable[[], AbstractContextManager[None]]:
        """Makes a context for products with so many of the rows at a time: one thread where more would not help."""
        share = X.nnz / (X.shape[0] * X.shape[1]) if stays_sparse(X) else 1.0
        several = self._plan.network.largest_product(n_rows, share) >= SEVERAL_THREADS
        return nullcontext if several else one_blas_thread

    def _follow(self, plan: Plan, continuing: bool) -> None:
        """Keep a plan; the network of an earlier one has to suit it."""
        self._plan = plan.following(self._plan) if continuing else plan

    def _n_refused(self, continuing: bool) -> int:
        return self._plan.trainer.n_refused(self._progress.state) if continuing else 0

    def _warn_if_refused(self, before: int, stacklevel: int) -> None:
        """Warn of the updates refused in this call, ``before`` being the count at its start."""
        refused = self._n_refused(True) - before
        if refused > 0:
            warnings.warn(
                f"{refused} updates of inference={self._plan.settings['inference'].value!r} diverged and were "
                "refused; the posterior stayed as it was before each. Use inference='newton', which needs no step "
                "size, AverageEP with a smaller damping or 'auto', or Stochastic with a smaller learning_rate.",
                ConvergenceWarning,
                stacklevel=stacklevel,
            )

    def _encoded(self, rows: Rows) -> Rows:
        """The rows with targets as the network is trained on them."""
        y = rows.target
        if rows.step_weight is None:
            return rows._replace(target=self._encode(y))
        encoded = self._encode(y.reshape(-1, *y.shape[2:]))
        return rows._replace(target=encoded.reshape(*y.shape[:2], -1))

    def _problem(self, rows: Rows, *, is_stream: bool = False) -> Problem:
        y, _ = rows.known()
        return Problem(
            self._task,
            rows.n_samples,
            self.n_features_in_,
            self._n_output_units(y),
            is_stream,
            getattr(self, "n_steps_in_", None),
            len(y) / rows.n_samples,
        )

    # ------------------------------------------------------------------ prediction

    def _spread(self, X: Any, method: str, function: Callable[[Spread], Any] = lambda spread: spread) -> Any:
        """What a function makes of mean and split variance of the output potentials, for a method of that name.

        It is given a row for each sample, in the network's units; where the outputs are read at every step one for each
        step that there is, and its arrays get the shape (n_samples, n_steps, ...), NaN after the end of a sample.
        """
        check_is_fitted(self)
        check_same_namespace(X, self, attribute="_offset", method=method)
        X = self._enter_inputs(X)
        state = self._progress.state
        state = replace(state, network=state.network.for_inputs(X.shape[1]))
        predictive = self._plan.trainer.predictor(state, X.dtype)
        chunks = list(gen_batches(X.shape[0], state.network.n_predicted))
        apart = len(chunks) > 1 and effective_n_jobs(self.n_jobs) > 1
        context = one_blas_thread if apart else self._blas_threads(X, chunks[0].stop)
        with context(), Parallel(n_jobs=self.n_jobs, prefer="threads") as run:
            parts = run(delayed(_within)(context, predictive, X[rows, :]) for rows in chunks)
        spread = Spread(*(concat(column) for column in zip(*parts, strict=True)))
        if not state.network.reads_each:
            return function(spread)
        steps = places(X, self.n_features_in_)
        return converted(function(Spread(*(take(part, steps.present.ravel()) for part in spread))), steps.padded)

    def predict_potentials(self, X):
        """Mean and variance of the output potentials, in one forward pass (Section V-C of the reference).

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_steps, n_features)

        Returns
        -------
        potentials : PotentialMoments
            Named tuple ``(mean, variance)`` of arrays of shape (n_samples, n_outputs), or (n_samples, n_steps,
            n_outputs) with ``readout="each"``, in the units in which the output neurons compare potentials with 0; for
            a regressor, of the standardised targets.
        """

        def moments(spread: Spread) -> PotentialMoments:
            spread = self._progress.state.network.output.predicted(spread)
            return PotentialMoments(spread.mean, spread.epistemic + spread.aleatoric)

        return self._spread(X, "predict_potentials", moments)

    def stream(self, n_samples=1, n_steps=None):
        """Begin to predict sequences while they come in, one step after another.

        After every step the stream says what predictions from all steps so far say, at the cost of one step. Of an
        estimator that was fitted on sequences; the stream keeps the weights of now, whatever is learned later. Of a
        pipeline the last step has one, ``pipeline[-1].stream()``, which takes what the encoder gives.

        Parameters
        ----------
        n_samples : int, default=1
            Sequences that come in side by side.
        n_steps : int, default=None
            Where outputs read means over several parts of the steps: how many steps there will be. None is
            `n_steps_in_`, those of the fit.

        Returns
        -------
        stream : ClassifierStream or RegressorStream

        Raises
        ------
        ValueError
            If the estimator was fitted on rows, or if ``n_steps`` is given and has no effect.
        """
        check_is_fitted(self)
        return STREAMS[self._task](copy(self), n_samples, n_steps)

    def freeze(self, weights="mode", random_state=None):
        """Copy of this estimator whose weights are known, as deployed on a chip.

        It predicts like any fitted estimator, without uncertainty about the weights; ``freeze().score(X, y)`` is
        the accuracy to compare with that of the Bayesian average.

        Parameters
        ----------
        weights : {"mode", "mean", "sample"}, default="mode"
            Which weights: the most probable ones, the posterior means, or a draw from the posterior at the temperature
            of each layer (levels of discrete weights are drawn by their probabilities). Modes and samples of discrete
            weights are levels, means lie between them; most probable biases are posterior means.
        random_state : int, RandomState instance or None, default=None
            For "sample".

        Returns
        -------
        frozen : object
            A new estimator of the same type; it cannot be trained further by `partial_fit`.

        Raises
        ------
        ValueError
            If ``weights`` is none of these.
        """
        check_is_fitted(self)
        if weights not in ("mode", "mean", "sample"):
            raise ValueError(f"weights must be 'mode', 'mean' or 'sample', got {weights!r}.")
        known = self._plan.trainer.known(self._progress.state, weights, check_random_state(random_state))
        frozen = copy(self)
        frozen._progress, frozen._opening = replace(self._progress, state=known), None
        return frozen

    # ------------------------------------------------------------------ scikit-learn plumbing

    def set_params(self, **params):
        """Set the parameters of this estimator; ``prior__...`` are those of a prior that is an object, and so on.

        Parameters
        ----------
        **params : dict
            Parameters and their values.

        Returns
        -------
        self : object

        Raises
        ------
        TypeError
            If a parameter has moved to another place, which the message names.
        ValueError
            If there is no such parameter.
        """
        refuse_moved(self, params)
        return super().set_params(**params)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags

    def __sklearn_array_api_convert__(self, converter):
        moved = copy(self)
        vars(moved).update({name: converted(value, converter) for name, value in vars(self).items()})
        return moved


def _within(context: Callable[[], AbstractContextManager[None]], work: Callable[[Any], Any], X: Any) -> Any:
    """Work on rows within a context of the thread, or of the machine, where this is done."""
    with context():
        return work(X)
