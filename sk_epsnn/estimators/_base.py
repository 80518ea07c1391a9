"""What the classifier and the regressor share: validation, set-up, epochs, streaming, read-out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.validation import check_is_fitted, validate_data

from sk_epsnn._arrays import Array, argument_to_numpy, array_namespace, converted, device, is_singular, like, to_numpy
from sk_epsnn._rollback import unchanged_on_error
from sk_epsnn._sklearn import (
    CallbackSupportMixin,
    DocumentationLinkMixin,
    Interval,
    StrOptions,
    check_same_namespace,
    check_sample_weight,
    dispatched_namespace,
)
from sk_epsnn._version import __version__
from sk_epsnn.activations import HIDDEN_ACTIVATIONS, HiddenActivation, Output
from sk_epsnn.basis import InputBasis, fit_basis
from sk_epsnn.estimators._build import Grid, Layout, automatic_gain, build_network
from sk_epsnn.estimators._callbacks import FitTask
from sk_epsnn.estimators._settings import (
    JOINT_ENTRIES,
    JOINT_FAN_IN,
    NAMED_LEVELS,
    ROTATION_LIMIT,
    AutoSettings,
    adapted,
    automatic_batch_size,
    is_discrete,
    level_grid,
    per_layer,
    plain_ep,
    resolve,
)
from sk_epsnn.estimators._training import PREDICT_ROWS, Rows, absorb_apart
from sk_epsnn.mixing import observed
from sk_epsnn.network import Network, Spread
from sk_epsnn.priors import PRIORS, GaussianPrior, WeightPrior
from sk_epsnn.sep import Model, NoiseEvidence, Schedule
from sk_epsnn.weights import LevelWeights, WeightMoments

#: A batch is left when a sweep gains less than this many nats per sample, or less than a tenth of ``tol``.
_SWEEP_TOL = 1e-4
_TOO_PRECISE = (
    "These rows say more about the weights than float64 arithmetic can keep: some precisions are too large beside the "
    "prior's. Give smaller values of sample_weight, or a larger noise_variance or prior_variance."
)
_POSITIVE = Interval(Real, 0, None, closed="neither")


class Uncertainty(NamedTuple):
    """Predictive uncertainty and its two parts, ``total = aleatoric + epistemic``.

    Attributes
    ----------
    total : ndarray
        Uncertainty of the prediction.
    aleatoric : ndarray
        Part that would remain if the weights were known.
    epistemic : ndarray
        Part that comes from not knowing the weights.
    """

    total: np.ndarray
    aleatoric: np.ndarray
    epistemic: np.ndarray


class PotentialMoments(NamedTuple):
    """Predictive mean and variance of the output potentials.

    Attributes
    ----------
    mean, variance : ndarray of shape (n_samples, n_outputs)
    """

    mean: np.ndarray
    variance: np.ndarray


class BaseEPSNN(CallbackSupportMixin, DocumentationLinkMixin, BaseEstimator):
    """Shared machinery of `EPSNNClassifier` and `EPSNNRegressor`."""

    _parameter_constraints: dict[str, list[Any]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(HIDDEN_ACTIVATIONS)), "array-like"],
        "weight_type": [StrOptions({"continuous", *NAMED_LEVELS}), "array-like"],
        "level_probabilities": [None, "array-like"],
        "readout_gain": [StrOptions({"auto"}), _POSITIVE],
        "prior": [StrOptions(set(PRIORS)), WeightPrior],
        "prior_variance": [StrOptions({"auto"}), _POSITIVE, "array-like"],
        "prior_anchor": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "spectral_exponent": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "input_rotation": [StrOptions({"auto"}), "boolean"],
        "schedule": [StrOptions({"newton", "average_ep"})],
        "n_sweeps": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "fit_intercept": ["boolean"],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "n_shards": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "damping": [Interval(Real, 0, 1, closed="right")],
        "power": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="both")],
        "temperature": [StrOptions({"auto"}), _POSITIVE, "array-like"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "shuffle": ["boolean"],
        "forgetting": [Interval(Real, 0, 1, closed="right")],
        "warm_start": ["boolean"],
        "n_jobs": [Interval(Integral, 1, None, closed="left"), Interval(Integral, None, -1, closed="right"), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    # ------------------------------------------------------------------ what a subclass supplies

    def _auto_settings(self, n_layers: int) -> AutoSettings:
        raise NotImplementedError

    def _output(self) -> Output:
        raise NotImplementedError

    def _first_noise(self) -> NoiseEvidence | None:
        """Start of a learned noise variance; None where there is none to learn."""
        return None

    def _prepare(self, rows: Rows, rng: np.random.RandomState) -> None:
        """Whatever a new fit finds out before it trains on all rows."""

    def _n_passes(self, n_samples: int) -> int:
        """Passes of one fit over so many rows, at most."""
        return self.max_iter

    # ------------------------------------------------------------------ training

    def _validate_X(self, X: Any) -> Any:
        """Inputs to predict from, in the library that the fitted arrays are of."""
        X = validate_data(self, X, **_input_checks(X), reset=False)
        self._check_library(X)
        refuse_huge("X", X.data if sparse.issparse(X) else X)
        return X

    def _validate_X_y(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, np.ndarray]:
        """Inputs, and targets or labels as an array of NumPy, to train on."""
        X, y = validate_data(self, X, y, **_input_checks(X), reset=reset, multi_output=True)
        if not reset:
            self._check_library(X)
        refuse_huge("X", X.data if sparse.issparse(X) else X)
        return X, to_numpy(y)

    def _check_library(self, X: Any) -> None:
        """Refuse arrays of another library, or on another device, than those that the estimator was fitted on."""
        fitted, given = (array_namespace(array) for array in (self._basis.offset, X))
        if fitted is not given or (fitted is not np and device(self._basis.offset) != device(X)):
            raise ValueError(
                f"This {type(self).__name__} holds arrays of {fitted.__name__} and cannot work with those of "
                f"{given.__name__} on {'the CPU' if given is np else device(X)}. Give it arrays like those it was "
                "fitted on, with sklearn.set_config(array_api_dispatch=True) if they are not NumPy's, or move it with "
                "sklearn.utils._array_api.move_estimator_to (scikit-learn 1.9 or newer)."
            )

    @property
    def _continuing(self) -> bool:
        """Whether `fit` starts from the last fit."""
        return self.warm_start and hasattr(self, "_model") and not self._model.network.is_frozen

    def _batches(self, n_samples: int) -> list[slice]:
        size = resolve(self.batch_size, automatic_batch_size(self._auto, n_samples))
        return list(gen_batches(n_samples, min(size, n_samples)))

    def _fit_epochs(self, X: Any, target: Array, sample_weight: Array, task: FitTask) -> None:
        """Algorithm 3: epochs of shuffled batches, until the energy settles, a callback stops or there were enough."""
        rows = _with_weight(X, target, sample_weight)
        rng = check_random_state(self.random_state)
        refused = self._n_refused()
        if not self._continuing:
            # Rows without an order may all take part in the set-up; a stream cannot look ahead of its first batch.
            first = slice(None) if self.shuffle else self._batches(rows.n_samples)[0]
            self._set_up(rows.take(first), rng)
            self._prepare(rows, rng)
        shards = self._shards(rows, rng)
        for _ in range(self._n_passes(rows.n_samples)):
            if task.run_pass(lambda: self._end_of_epoch(self._epoch(shards, rng))):
                break
        self._warn_if_refused(refused, stacklevel=6)  # past the loop, fit and its two decorators

    def _shards(self, rows: Rows, rng: np.random.RandomState) -> list[Rows]:
        """The rows in parts that are worked on at once, in each pass the same."""
        n_shards = min(self.n_shards, rows.n_samples)
        if n_shards == 1:
            return [rows]
        order = rng.permutation(rows.n_samples) if self.shuffle else np.arange(rows.n_samples)
        return [rows.take(part) for part in np.array_split(order, n_shards)]

    def _epoch(self, shards: list[Rows], rng: np.random.RandomState) -> float:
        """One pass over the data in batches; returns the energy per unit of weight."""
        batches = [self._shuffled_batches(rows.n_samples, rng) for rows in shards]
        total = sum(rows.mass for rows in shards)
        return self._absorb(shards, batches, total) / total

    def _shuffled_batches(self, n_samples: int, rng: np.random.RandomState) -> list[Any]:
        """What chooses the rows of each batch of one pass."""
        batches = self._batches(n_samples)
        if not self.shuffle or len(batches) == 1:
            return batches
        order = rng.permutation(n_samples)
        return [order[rows] for rows in batches]

    def _absorb_stream(self, X: Any, target: Array, sample_weight: Array, first: bool) -> None:
        """One call of ``partial_fit``: the posterior so far becomes the prior of these rows."""
        rows = _with_weight(X, target, sample_weight)
        if not first and self._model.network.is_frozen:
            raise ValueError(
                "The weights are frozen and cannot learn from more data; use the estimator before freeze()."
            )
        refused = self._n_refused()
        if first:
            self._set_up(rows, check_random_state(self.random_state))
        self._model = self._model.faded(self.forgetting)
        self._end_of_epoch(self._absorb([rows], [[slice(None)]], np.inf) / rows.mass)
        self._warn_if_refused(refused, stacklevel=5)  # past the loop, partial_fit and its decorator

    def _absorb(self, shards: list[Rows], batches: list[list[Any]], total: float) -> float:
        """Absorb the batches of every shard; returns their energy in nats."""
        schedule = Schedule(
            self.schedule,
            n_sweeps=resolve(self.n_sweeps, self._auto.n_sweeps),
            damping=self.damping,
            tol=min(_SWEEP_TOL, 0.1 * self.tol),
        )
        try:
            course = absorb_apart(self._model, self._basis, shards, batches, schedule, total, self.n_jobs)
        except Exception as error:
            if not is_singular(error):
                raise
            raise ValueError(_TOO_PRECISE) from error
        xp = array_namespace(self._offset)
        if not all(bool(xp.all(weights.variance > 0)) for weights in course.model.network.moments(xp.float64)):
            raise ValueError(_TOO_PRECISE)
        self._model = course.model
        self.history_["step"].extend(course.steps)
        return course.energy

    def _set_up(self, rows: Rows, rng: np.random.RandomState) -> None:
        """Everything that is decided once, from the data and the parameters: basis, units, priors, start."""
        X, target, _ = rows
        widths = [*self._hidden_widths(), target.shape[1]]
        hidden = self._hidden_neurons()
        grid, prior = self._weight_model()
        auto = self._auto
        variances = per_layer("prior_variance", self.prior_variance, len(widths))
        # The principal axes and a spectrum in them are for weights that a rotation leaves Gaussian.
        rotatable = grid is None and prior.conjugate
        scaled = rotatable and variances[0] is None
        turned = scaled and X.shape[1] <= ROTATION_LIMIT
        exponent = resolve(self.spectral_exponent, auto.spectral_exponent if turned else 0.0)
        spikes = _holds_spikes(X)
        basis = self._make_basis(rows, spikes, len(widths), exponent, rotatable, scaled)
        anchored = grid is not None or scaled
        layout = Layout(
            widths=widths,
            prior_variances=variances,
            temperatures=self._temperatures(len(widths)),
            anchor=resolve(self.prior_anchor, auto.prior_anchor if anchored else 0.0),
            spectral_exponent=exponent,
            spectral_floor=auto.spectral_floor if scaled else 0.0,
            bias_share=auto.bias_share,
            hidden_variance=auto.hidden_variance,
            output_variance=auto.output_variance,
            joint=self._joint_layers(widths, basis.n_axes),
            power=float(resolve(self.power, auto.power)),
            grid=grid,
            spiking_inputs=spikes,
            readout_gain=1.0,
        )
        # What overflows here is refused below.
        with np.errstate(all="ignore"):
            if grid is not None:
                gain = resolve(self.readout_gain, automatic_gain(layout, basis))
                layout = replace(layout, readout_gain=gain)
            network = build_network(layout, basis, prior, hidden, self._output(), self.fit_intercept, rng)
        _refuse_extreme(network, X.dtype)
        # The set-up is small and is worked out in NumPy; training happens where the inputs are.
        self._basis: InputBasis = _moved(basis, X)
        self._model = Model(_moved(network, X), noise=self._first_noise())
        self._readout_gain = layout.readout_gain
        self.n_iter_, self.converged_ = 0, False
        self.history_: dict[str, list[float]] = {"energy": [], "step": []}
        self.n_layers_ = len(widths) + 1
        self.n_outputs_ = widths[-1]

    def _joint_layers(self, widths: list[int], n_axes: int) -> list[bool]:
        """Which layers get a joint Gaussian per unit."""
        fan_ins = [n_axes, *(width + self.fit_intercept for width in widths[:-1])]
        limits = [self._auto.joint_fan_in] * (len(widths) - 1) + [JOINT_FAN_IN]
        return [
            self.schedule == "newton" and fan_in <= limit and width * fan_in**2 <= JOINT_ENTRIES
            for width, fan_in, limit in zip(widths, fan_ins, limits, strict=True)
        ]

    def _make_basis(
        self, rows: Rows, spikes: bool, n_layers: int, exponent: float, rotatable: bool, scaled: bool
    ) -> InputBasis:
        X = rows.X
        automatic = rotatable and (n_layers > 1 or exponent > 0) and X.shape[1] <= ROTATION_LIMIT
        rotate = resolve(self.input_rotation, automatic)
        if (rotate or exponent > 0) and not rotatable:
            raise ValueError(
                "input_rotation=True and spectral_exponent above 0 turn the inputs to their principal axes, which only "
                "continuous weights with prior='gaussian' allow; leave both at 'auto'."
            )
        if exponent > 0 and not rotate:
            raise ValueError(
                "A spectral_exponent above 0 needs the principal axes of the inputs; "
                "leave input_rotation='auto' or set spectral_exponent=0."
            )
        # A prior given as a number is meant for the raw inputs; a prior scaled to the data may shift them first.
        center = self._auto.center if scaled or exponent > 0 else not rotatable
        return fit_basis(
            X,
            rows.sample_weight,
            rotate=rotate,
            center=center if self.fit_intercept else False,
            constant=self.fit_intercept,
            rescale=not is_discrete(self.weight_type),
            spikes=spikes,
        )

    def _weight_model(self) -> tuple[Grid | None, WeightPrior]:
        """Grid of discrete weights, if that is what they are, and the prior of continuous ones."""
        prior = PRIORS[self.prior]() if isinstance(self.prior, str) else clone(self.prior)
        prior.check()
        found = level_grid(self.weight_type, self.level_probabilities)
        if found is None:
            return None, prior
        if not isinstance(prior, GaussianPrior):
            raise ValueError(
                f"prior={self.prior!r} is for continuous weights; with discrete ones leave prior='gaussian' (for the "
                "biases) and set level_probabilities."
            )
        return Grid(*found), prior

    def _hidden_neurons(self) -> list[HiddenActivation]:
        n_hidden = len(self._hidden_widths())
        names = [self.activation] * n_hidden if isinstance(self.activation, str) else list(self.activation)
        if len(names) != n_hidden or any(name not in HIDDEN_ACTIVATIONS for name in names):
            raise ValueError(
                f"activation must be one of {sorted(HIDDEN_ACTIVATIONS)}, or a list of them with one for each of the "
                f"{n_hidden} hidden layers, got {self.activation!r}."
            )
        return [HIDDEN_ACTIVATIONS[name]() for name in names]

    def _hidden_widths(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        widths = [sizes] if isinstance(sizes, Integral) else list(sizes)
        if any(not isinstance(w, Integral) or isinstance(w, bool) or not 1 <= w < 2**31 for w in widths):
            raise ValueError(f"hidden_layer_sizes must hold positive integers below 2**31, got {sizes!r}.")
        return [int(w) for w in widths]

    def _temperatures(self, n_layers: int) -> list[float]:
        given = per_layer("temperature", self.temperature, n_layers)
        auto = self._auto
        automatic = [auto.temperature] * (n_layers - 1) + [auto.output_temperature]
        return [a if g is None else g for g, a in zip(given, automatic, strict=True)]

    @property
    def _auto(self) -> AutoSettings:
        n_layers = len(self._hidden_widths()) + 1
        prior = PRIORS[self.prior] if isinstance(self.prior, str) else self.prior
        discrete = is_discrete(self.weight_type)
        auto = adapted(self._auto_settings(n_layers), n_layers, discrete=discrete, sparse=prior.sparse)
        return plain_ep(auto) if self.schedule == "average_ep" else auto

    def _end_of_epoch(self, energy: float) -> bool:
        """Note the energy per unit of weight; says whether it has settled."""
        before = self.history_["energy"][-1] if self.history_["energy"] else -np.inf
        self.history_["energy"].append(energy)
        self.n_iter_ += 1
        self.converged_ = bool(abs(energy - before) < self.tol)
        if self.verbose:
            print(f"Iteration {self.n_iter_}, energy per sample = {energy:.6f} nats")
        return self.converged_

    def _n_refused(self) -> int:
        return self._model.counts.rejected_batches if hasattr(self, "_model") else 0

    def _warn_if_refused(self, before: int, stacklevel: int) -> None:
        """Warn of the updates refused in this call, ``before`` being the count at its start."""
        if self._n_refused() > before:
            warnings.warn(
                f"{self._n_refused() - before} batch updates of schedule={self.schedule!r} diverged and were "
                "refused; the posterior stayed as it was before each. Use schedule='newton', which needs no step "
                "size, or a smaller damping.",
                ConvergenceWarning,
                stacklevel=stacklevel,
            )

    def _sample_weight(self, sample_weight: Any, X: Any) -> Array:
        """Weights of the rows, as an array of NumPy."""
        given = argument_to_numpy(sample_weight)
        rows = np.empty((X.shape[0], 0))
        return check_sample_weight(given, rows, dtype=np.float64, ensure_non_negative=True)

    @contextmanager
    def _unchanged_on_error(self) -> Iterator[None]:
        """Leave the estimator exactly as it was when anything goes wrong, Ctrl-C included."""
        with unchanged_on_error(self):
            if hasattr(self, "history_"):
                # Training appends to it.
                self.history_ = {name: list(values) for name, values in self.history_.items()}
            yield

    # ------------------------------------------------------------------ prediction

    def _spread(self, X: Any, method: str) -> Spread:
        """Mean and split variance of the output potentials, in the network's units, for a method of that name."""
        check_is_fitted(self)
        check_same_namespace(X, self, attribute="_offset", method=method)
        X = self._validate_X(X)
        weights = self._model.network.moments(X.dtype)

        def predict(rows: slice) -> Spread:
            return self._model.network.predict_spread(observed(self._basis.transform(X[rows, :])), weights)

        chunks = list(gen_batches(X.shape[0], PREDICT_ROWS))
        parts = Parallel(n_jobs=self.n_jobs, prefer="threads")(delayed(predict)(rows) for rows in chunks)
        xp = array_namespace(parts[0].mean)
        return Spread(*(xp.concat(column) for column in zip(*parts, strict=True)))

    @property
    def _offset(self) -> Array:
        """A fitted array, which says in what library and where all of them are."""
        return self._basis.offset

    # ------------------------------------------------------------------ fitted attributes

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_model")

    def _fitted_model(self, attribute: str) -> Model:
        if not hasattr(self, "_model"):
            raise AttributeError(f"{type(self).__name__} is not fitted yet, so it has no {attribute!r}.")
        return self._model

    def _target_scale(self) -> tuple[Array, Array]:
        """Location and scale of the targets, shape (n_out,)."""
        return like(np.zeros(self.n_outputs_), self._offset), like(np.ones(self.n_outputs_), self._offset)

    def _input_space(self, moments: list[WeightMoments]) -> list[tuple[Array, Array, Array, Array]]:
        """Weights, biases and their variances per layer, in the space of the inputs and targets."""
        result = []
        for index, (mean, variance, covariance) in enumerate(moments):
            if index == 0:
                parts = self._basis.to_inputs(mean, variance if covariance is None else covariance)
            elif self.fit_intercept:
                parts = mean[:, :-1], mean[:, -1], variance[:, :-1], variance[:, -1]
            else:
                none = array_namespace(mean).zeros_like(mean[:, 0])
                parts = mean, none, variance, none
            result.append(parts)
        location, scale = self._target_scale()
        coef, intercept, coef_variance, intercept_variance = result[-1]
        squared = scale * scale
        result[-1] = (
            coef * scale[:, None],
            intercept * scale + location,
            coef_variance * squared[:, None],
            intercept_variance * squared,
        )
        return result

    def _posterior_space(self, attribute: str) -> list[tuple[Array, Array, Array, Array]]:
        """Posterior means and variances, see `_input_space`."""
        network = self._fitted_model(attribute).network
        return self._input_space(network.moments(array_namespace(self._offset).float64))

    def _mode_space(self, attribute: str) -> list[tuple[Array, Array, Array, Array]]:
        """Most probable weights, see `_input_space`."""
        network = self._fitted_model(attribute).network.frozen()
        return self._input_space(network.moments(array_namespace(self._offset).float64))

    @property
    def temperature_(self) -> np.ndarray:
        """Temperature of each layer of weights, shape (`n_layers_` - 1,)."""
        return np.array([layer.temperature for layer in self._fitted_model("temperature_").network.layers])

    @property
    def coefs_(self) -> list[np.ndarray]:
        """Posterior means of the weights, a list of arrays of shape (fan_in, n_units)."""
        return [coef.T for coef, *_ in self._posterior_space("coefs_")]

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """Posterior means of the biases, a list of arrays of shape (n_units,)."""
        return [intercept for _, intercept, _, _ in self._posterior_space("intercepts_")]

    @property
    def coefs_variance_(self) -> list[np.ndarray]:
        """Posterior variances of the weights, shapes as `coefs_`."""
        return [variance.T for *_, variance, _ in self._posterior_space("coefs_variance_")]

    @property
    def intercepts_variance_(self) -> list[np.ndarray]:
        """Posterior variances of the biases, shapes as `intercepts_`."""
        return [variance for *_, variance in self._posterior_space("intercepts_variance_")]

    @property
    def map_coefs_(self) -> list[np.ndarray]:
        """Most probable weights, shapes as `coefs_`: levels where weights are discrete, else the posterior means."""
        return [coef.T for coef, *_ in self._mode_space("map_coefs_")]

    @property
    def map_intercepts_(self) -> list[np.ndarray]:
        """Biases that go with `map_coefs_`, shapes as `intercepts_`."""
        return [intercept for _, intercept, _, _ in self._mode_space("map_intercepts_")]

    @property
    def levels_(self) -> np.ndarray:
        """Levels of discrete weights, ascending, shape (n_levels,)."""
        return np.array(self._level_posteriors("levels_")[-1].levels) / self._readout_gain

    @property
    def readout_gain_(self) -> np.ndarray:
        """Factor between the levels and the last layer's discrete weights in `coefs_`, shape (n_outputs,)."""
        self._fitted_model("readout_gain_")
        return self._readout_gain * self._target_scale()[1]

    @property
    def coefs_probabilities_(self) -> list[np.ndarray]:
        """Posterior probabilities of the levels of discrete weights, arrays of shape (fan_in, n_units, n_levels)."""
        xp = array_namespace(self._offset)
        return [xp.permute_dims(q.probabilities(), (1, 0, 2)) for q in self._level_posteriors("coefs_probabilities_")]

    @property
    def activation_probabilities_(self) -> list[np.ndarray]:
        """Posterior probabilities that a weight is not 0 under a spike-and-slab prior, shapes as `coefs_`."""
        layers = self._fitted_model("activation_probabilities_").network.layers
        if any(layer.rule is None or not layer.rule.prior.sparse for layer in layers):
            raise AttributeError(
                "activation_probabilities_ exists with a spike-and-slab prior only; set prior='bernoulli_gaussian'."
            )
        return [layer.activation_probability().T for layer in layers]

    def _level_posteriors(self, attribute: str) -> list[LevelWeights]:
        posteriors = [layer.posterior for layer in self._fitted_model(attribute).network.layers]
        if not all(isinstance(q, LevelWeights) for q in posteriors):
            raise AttributeError(
                f"{attribute} exists for discrete weights only, before they are frozen; set weight_type to 'binary', "
                "'ternary' or an array of levels."
            )
        return posteriors

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
        network, known = self._model.network, None
        if weights == "mean":
            known = [layer.posterior.mean for layer in network.layers]
            # Potentials of means of levels are nowhere exactly 0 for a reason.
            network = replace(network, layers=[replace(layer, lattice=None) for layer in network.layers])
        elif weights == "sample":
            rng = check_random_state(random_state)
            known = [layer.posterior.sample(layer.temperature, rng) for layer in network.layers]
        elif weights != "mode":
            raise ValueError(f"weights must be 'mode', 'mean' or 'sample', got {weights!r}.")
        frozen = copy(self)
        frozen._model = replace(self._model, network=network.frozen(known))
        return frozen

    def predict_potentials(self, X):
        """Mean and variance of the output potentials, in one forward pass (Section V-C of the reference).

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        potentials : PotentialMoments
            Named tuple ``(mean, variance)`` of arrays of shape (n_samples, n_outputs), in the units in which the
            output neurons compare potentials with 0; for a regressor, of the standardised targets.
        """
        spread = self._spread(X, "predict_potentials")
        return PotentialMoments(spread.mean, spread.epistemic + spread.aleatoric)

    @property
    def update_counts_(self) -> dict[str, int]:
        """How many updates were rejected, shortened or bounded; see `sk_epsnn.sites.UpdateCounts`."""
        return self._fitted_model("update_counts_").counts.as_dict()

    # ------------------------------------------------------------------ scikit-learn plumbing

    def set_params(self, **params):
        """Set the parameters of this estimator; ``prior__...`` are those of a prior that is an instance.

        Parameters
        ----------
        **params : dict
            Parameters and their values.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        prior = params.get("prior", self.prior)
        inner = [name for name in params if name.startswith("prior__")]
        if inner and not isinstance(prior, WeightPrior):
            raise ValueError(
                f"{inner[0]} needs a prior that has parameters, such as prior=sk_epsnn.BernoulliGaussianPrior(); "
                f"this one is {prior!r}."
            )
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

    def __getstate__(self):
        return {**super().__getstate__(), "_sk_epsnn_version": __version__}

    def __setstate__(self, state):
        state = dict(state)
        version = state.pop("_sk_epsnn_version", "an unknown version")
        if version != __version__:
            warnings.warn(
                f"This {type(self).__name__} was saved by sk_epsnn {version} and is loaded by {__version__}; "
                "results may differ. Refit it, or install the version that saved it.",
                UserWarning,
                stacklevel=2,
            )
        super().__setstate__(state)


def _holds_spikes(X: Any) -> bool:
    """Whether every entry is 0 or 1."""
    values, xp = X.data if sparse.issparse(X) else X, array_namespace(X)
    parts = (values[rows, ...] for rows in gen_batches(values.shape[0], 4096))
    return all(bool(xp.all(part * part == part)) for part in parts)


def _input_checks(X: Any) -> dict[str, Any]:
    """How inputs are validated: in the library that they are of, where scikit-learn's dispatch allows it."""
    xp, _ = dispatched_namespace(X)
    return {"accept_sparse": "csr", "dtype": [xp.float64, xp.float32]}


def _moved(thing: Any, X: Any) -> Any:
    """A structure of NumPy arrays, with these in the library and on the device of the inputs."""
    return thing if array_namespace(X) is np else converted(thing, lambda array: like(array, X))


def _with_weight(X: Any, target: Array, sample_weight: Array) -> Rows:
    """The rows of positive weight: weight 0 stands for absence."""
    rows, kept = Rows(X, target, sample_weight), sample_weight > 0
    if kept.all():
        return rows
    if not kept.any():
        raise ValueError("Every row has weight zero (sample_weight times class_weight); give one a positive weight.")
    return rows.take(kept)


def _refuse_extreme(network: Network, dtype: Any) -> None:
    """Refuse priors whose moments would overflow, or be lost, when they are squared."""
    dtype = np.dtype(str(dtype).split(".")[-1])
    limit = _largest(np.finfo(dtype))
    for mean, variance, _ in network.moments(dtype):
        if not ((abs(mean) < limit) & (variance < limit) & (variance > 1 / limit)).all():
            raise ValueError(
                f"The prior of the weights is out of the range of {dtype} arithmetic for these inputs; bring "
                "prior_variance, prior_anchor, spectral_exponent, readout_gain, temperature or the levels in "
                "weight_type closer to 1."
            )


def _largest(numbers: Any) -> float:
    """Size below which squares stay within the numbers of a type, with room for sums of them."""
    return float(numbers.max) ** 0.45


def refuse_huge(name: str, values: Array) -> None:
    """Refuse finite values whose squares would overflow."""
    if 0 in values.shape:
        return
    xp = array_namespace(values)
    largest = max(float(xp.max(values)), -float(xp.min(values)))
    limit = _largest(xp.finfo(values.dtype))
    if largest > limit:
        raise ValueError(
            f"{name} holds values up to {largest:.1e}; {values.dtype} arithmetic needs them below {limit:.0e}. "
            "Rescale them, for example with sklearn.preprocessing.StandardScaler."
        )
