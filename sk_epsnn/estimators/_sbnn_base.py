"""What the two estimators of SBNNs share: fit, streams, prediction, freezing."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy, deepcopy
from dataclasses import replace
from numbers import Integral
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.validation import check_is_fitted

from sk_epsnn._arrays import Array, concat, converted
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
from sk_epsnn.connections import Connection
from sk_epsnn.course import Rows
from sk_epsnn.estimators._callbacks import FitTask
from sk_epsnn.estimators._door import Door
from sk_epsnn.estimators._handover import posterior_of
from sk_epsnn.estimators._opening import Opening
from sk_epsnn.estimators._plan import Plan, Problem
from sk_epsnn.estimators._plumbing import Plumbing
from sk_epsnn.estimators._sbnn_plan import SBNNPlanner
from sk_epsnn.estimators._sbnn_readout import SBNNReadout
from sk_epsnn.estimators._uncertainty import PotentialMoments
from sk_epsnn.messages import Spread
from sk_epsnn.neurons import LIF, Neuron
from sk_epsnn.priors import GaussianPrior
from sk_epsnn.sbnn.options import GRADIENTS, SpikeGradient
from sk_epsnn.training import Progress, learn_from_stream, train

#: Steps of a call of a stream, about.
_STREAM_STEPS = 100


class BaseSBNN(CallbackSupportMixin, Door, SBNNReadout, Plumbing, DocumentationLinkMixin, BaseEstimator):
    """Shared machinery of `SBNNClassifier` and `SBNNRegressor`."""

    #: "classifier" or "regressor".
    _task: str
    _may_be_each = False
    _examples = {"inference": "inference=sk_epsnn.Rao()", "activation": "activation=sk_epsnn.LIF()"}
    _parameter_constraints: dict[str, list[Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left"), Connection],
        "activation": [StrOptions({"heaviside", LIF.name}), Neuron, "array-like"],
        "weights": [StrOptions({"continuous", "binary"})],
        "prior": [StrOptions({GaussianPrior.name}), GaussianPrior],
        "inference": [StrOptions(set(GRADIENTS)), SpikeGradient],
        "residual": [StrOptions({"auto"}), "boolean"],
        "n_draws": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left"), None],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    # ------------------------------------------------------------------ training

    def _fit(self, X: Any, y: Any, sample_weight: Any, other: Any) -> None:
        """All of `fit`."""
        context = start_fit_task(self, self.max_iter)
        with unchanged_on_error(self), one_blas_thread():
            continuing = self.warm_start and hasattr(self, "_progress") and not self._progress.state.is_known
            rows = self._enter(X, y, sample_weight, reset=not continuing)
            self._begin_fit(rows, continuing)
            task = FitTask(context, self, rows.X, rows.target, rows.sample_weight)
            rows = self._weighted(rows)
            self._follow(rows, continuing)
            if not continuing:
                self._set_targets(rows)
            rows = self._encoded(rows)
            rng = check_random_state(self.random_state)
            start = self._continued(rows) if continuing else self._plan.network_for(self._target_scale())
            if other is not None:
                start = self._begun_at(other, continuing, start, rows, rng)
            self._progress = train(self._plan.stages, start, rows, rng, task, self._tell)
            self._opening, self._stream_rng = None, rng
            task.end()

    def _continued(self, rows: Rows) -> Progress:
        """Where the last fit ended, for rows of this weight."""
        return replace(self._progress, state=self._plan.trainer.planned(self._progress.state, rows))

    def _begun_at(self, other: Any, continuing: bool, network: Any, rows: Rows, rng: Any) -> Progress:
        """The posterior of another network as the beginning of a fit."""
        if continuing:
            raise ValueError(
                "start has no effect where warm_start=True goes on from the last fit; leave one of them out."
            )
        return Progress(self._plan.trainer.start(network, rows, rng, posterior_of(other, self)))

    def _learn_from_stream(self, rows: Rows, first: bool) -> None:
        """All of `partial_fit`, but for the labels of a classifier."""
        if not first and self._progress.state.is_known:
            raise ValueError(
                "The weights are frozen and cannot learn from more data; use the estimator before freeze()."
            )
        rows = self._weighted(rows)
        self._follow(rows, not first)
        rng = check_random_state(self.random_state) if first else deepcopy(self._stream_rng)
        opening = Opening(deepcopy(rng)) if first else getattr(self, "_opening", None)
        opening = opening and opening.with_rows(rows, 1.0)
        trainer, before = self._plan.trainer, None if first else self._progress
        if anew := opening is not None and opening.is_due:  # the set-up, and all that follows from it
            rows = opening.joined()
            self._set_targets(rows)
        rows = self._encoded(rows)
        with one_blas_thread():
            if anew:
                state = trainer.start(self._plan.network_for(self._target_scale()), rows, rng)
            else:
                state = trainer.renewed(before.state)
            n_batches = len(trainer.course.batches(rows.n_samples))
            n_passes = -(-_STREAM_STEPS // n_batches)
            state = trainer.planned(state, rows, n_passes * n_batches)
            start = Progress(state) if before is None else replace(before, state=state)
            passes = [trainer.course.shuffled_batches(rows.n_samples, rng) for _ in range(n_passes)]
            progress = learn_from_stream(trainer, start, rows, 1.0, 0.0, rng, self._tell, passes=passes)
        self._progress = replace(progress, state=trainer.finish(progress.state, rows.mass))
        self._opening, self._stream_rng = opening and opening.kept(), rng

    def _follow(self, rows: Rows, continuing: bool) -> None:
        """Make a plan and keep it; the network of an earlier one has to suit it."""
        y, _ = rows.known()
        problem = Problem(
            self._task,
            rows.n_samples,
            self.n_features_in_,
            self._n_output_units(y),
            n_steps=getattr(self, "n_steps_in_", None),
        )
        plan = SBNNPlanner(self, problem).plan()
        self._plan: Plan = plan.following(self._plan) if continuing else plan

    def _encoded(self, rows: Rows) -> Rows:
        """The rows with targets as the network is trained on them."""
        return rows._replace(target=self._encode(rows.target))

    # ------------------------------------------------------------------ prediction

    def _spreads(self, X: Any, method: str) -> list[Spread]:
        """Output potentials of every network that is drawn, or one of moments, for a method of that name."""
        check_is_fitted(self)
        check_same_namespace(X, self, attribute="_offset", method=method)
        X = self._enter_inputs(X)
        state = self._progress.state
        state = replace(state, network=state.network.for_inputs(X.shape[1]))
        with one_blas_thread():
            predict = self._plan.trainer.predictor(state, X.dtype)
            batches = gen_batches(X.shape[0], state.network.n_predicted)
            parts = [predict(X[rows, :]) for rows in batches]
        by_network = zip(*parts, strict=True)
        return [Spread(*(concat(column) for column in zip(*chunks, strict=True))) for chunks in by_network]

    def predict_potentials(self, X):
        """Mean and variance of the output potentials.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_steps, n_features)

        Returns
        -------
        potentials : PotentialMoments
            Named tuple ``(mean, variance)`` of arrays of shape (n_samples, n_outputs), in the units of the outputs; for
            a regressor, of the standardised targets.
        """
        mean, epistemic, aleatoric = mixed(self._spreads(X, "predict_potentials"))
        return PotentialMoments(mean, epistemic + aleatoric)

    def freeze(self, weights="mode", random_state=None):
        """Copy of this estimator whose weights are known, as deployed on a chip: a network of spikes without noise.

        Parameters
        ----------
        weights : {"mode", "mean", "sample"}, default="mode"
            Which weights: the most probable ones, the posterior means, or a draw from the posterior. Modes and samples
            of binary weights are levels.
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

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = True
        tags.array_api_support = True
        return tags

    def __sklearn_array_api_convert__(self, converter):
        moved = copy(self)
        vars(moved).update({name: converted(value, converter) for name, value in vars(self).items()})
        return moved


def mixed(spreads: Sequence[Spread]) -> Spread:
    """Moments of the potentials of networks that are equally probable: what they differ in is epistemic."""
    if len(spreads) == 1:
        return spreads[0]
    n = len(spreads)
    mean: Array = sum(spread.mean for spread in spreads) / n
    between = sum((spread.mean - mean) ** 2 for spread in spreads) / n
    return Spread(
        mean,
        between + sum(spread.epistemic for spread in spreads) / n,
        sum(spread.aleatoric for spread in spreads) / n,
    )
