"""Bayesian spiking neural network regressor."""

from __future__ import annotations

from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils import check_array

from sk_epsnn._arrays import Array, array_namespace, like, to_numpy
from sk_epsnn._sklearn import Interval, StrOptions, fit_context, start_fit_task, validate_parameters, with_callbacks
from sk_epsnn.activations import GaussianOutput, Output
from sk_epsnn.estimators._base import BaseEPSNN, Uncertainty, _with_weight, refuse_huge
from sk_epsnn.estimators._callbacks import FitTask
from sk_epsnn.estimators._settings import (
    DEEP_REGRESSOR,
    FEW_INPUTS,
    FEW_INPUTS_REGRESSOR,
    SHALLOW_REGRESSOR,
    AutoSettings,
    is_discrete,
)
from sk_epsnn.estimators._training import Rows
from sk_epsnn.inference import Batch
from sk_epsnn.sep import NoiseEvidence, judge

#: Prior of a learned noise: this many pseudo-observations ...
_NOISE_PRIOR_MASS = 0.1
#: ... of this variance, in units of the target's variance.
_NOISE_START = 0.1
#: The same where held-out rows judge it: where the potentials' own variance says it all, there may be next to none.
_JUDGED_PRIOR_MASS = 1e-4
#: Fewer rows than this cannot judge a noise variance.
_LEAST_HELD_OUT = 10
#: Where hidden layers are heated, passes at each temperature, and over all rows in the end: the first ones after a
#: change of temperature predict best, and more of them fit the rows too closely.
_PASSES_PER_STEP, _LAST_PASSES = 2, 1


class EPSNNRegressor(MultiOutputMixin, RegressorMixin, BaseEPSNN):
    """Bayesian spiking neural network regressor trained by Expectation Propagation.

    One forward pass predicts a mean and a variance; there are no gradients and no sampling in training or prediction.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=()
        Number of neurons in each hidden layer. The default is a single layer of weights.
    activation : {"heaviside", "sigmoid"} or list of them, default="heaviside"
        Hidden neurons: fire when the potential is non-negative, or with probability ``1 / (1 + exp(-u))``. A list
        names those of each hidden layer.
    weight_type : {"continuous", "binary", "ternary"} or array-like of shape (n_levels,), default="continuous"
        Values that weights may take: any, {-1, 1}, {-1, 0, 1}, or the given levels. Biases are always continuous.
    level_probabilities : array-like of shape (n_levels,), default=None
        Prior probabilities of the levels, in their order in ``weight_type`` (ascending for a name). None makes them
        equally likely.
    readout_gain : "auto" or float, default="auto"
        With discrete weights: the factor by which those of the last layer are multiplied, in units of the targets.
        "auto" gives an output potential a fixed prior variance, so that many inputs do not saturate the outputs; 1
        uses the levels as they are, as in [1]_.
    prior : {"gaussian", "bernoulli_gaussian", "laplace", "gaussian_mixture"} or WeightPrior, default="gaussian"
        Prior of continuous weights; an instance from `sk_epsnn.priors` sets its parameters, which a grid search
        reaches as ``prior__slab_variance`` and so on. Biases keep a Gaussian prior.
    prior_variance : "auto", float or array-like of shape (n_layers,), default="auto"
        Prior variance of every weight and bias, or one per layer of weights, for raw inputs and targets. For a prior
        that is not Gaussian it is the square of the unit in which the prior's own parameters are measured; for discrete
        weights it is that of the biases only. With a number,
        ``spectral_exponent`` and ``prior_anchor`` default to 0: ``prior_variance=1.0`` is the standard Gaussian prior
        of [1]_. "auto" scales the prior to the data: a potential gets a fixed prior variance, however
        many inputs it has and whatever their units.
    prior_anchor : "auto" or float, default="auto"
        Size of random prior means of the hidden layers' weights, in prior standard deviations. It keeps hidden
        neurons different from each other. With 0 only the starting point is random, not the prior. "auto" is
        0.15 with at most 31 features and at most two hidden layers; else it is 0.3 with one hidden layer and 1 with
        several (0 where ``prior_variance`` is a number or the prior is not Gaussian).
    spectral_exponent : "auto" or float, default="auto"
        Exponent beta of the spectral prior: along each principal axis of the inputs, the prior variance of the first
        layer's weights is proportional to the inputs' second moment to this power. 0 is isotropic. "auto" is
        0.15 with hidden layers and more than 31 features, else 0 (0 where ``prior_variance`` is a number, or with more
        than 2048 features).
    input_rotation : "auto" or bool, default="auto"
        Train the first layer in the principal axes of the inputs, where independent weights are a better
        approximation. ``coefs_`` are always those of the raw inputs. "auto" is True with hidden layers or a spectral
        prior, for at most 2048 features; discrete weights and priors that are not Gaussian allow no rotation.
    noise_variance : "auto" or float, default="auto"
        Variance of the observation noise in squared units of y. "auto" learns it, one per output: with hidden
        layers from held-out rows (see ``validation_fraction``), else in training.
    validation_fraction : float in [0, 1), default=0.2
        Share of the rows that `fit` holds out at first, with hidden layers and ``noise_variance="auto"``: hidden
        layers fit the rows that they see, so others must say how large the noise is, and, with at most 31 features,
        which hidden temperature predicts best. Training then goes on with all rows. Nothing is held out with 0, with
        ``shuffle=False``, in `partial_fit`, or where fewer than 10 rows would be; the noise is then learned in
        training.
    schedule : {"newton", "average_ep"}, default="newton"
        How one batch is worked on. "newton" takes Newton steps and checks each against the energy; it needs no step
        size. "average_ep" is the damped parallel iteration of [1]_ (Algorithms 1 and 2); updates that diverge are
        refused with a `ConvergenceWarning`.
    n_sweeps : "auto" or int, default="auto"
        Forward and backward passes over each batch, at most. "auto" is 2, or 10 with hidden layers and at most 31
        features. With ``schedule="average_ep"`` it is 30.
    fit_intercept : bool, default=True
        Whether potentials have a bias.
    batch_size : "auto" or int, default="auto"
        Rows per batch. "auto" is 100; with hidden layers and at most 31 features, as few equal batches of at most
        10,000 rows as it takes.
    n_shards : int, default=1
        Parts of the rows that every pass works on apart, ``n_jobs`` at a time, before what they have learned is added
        up (the factors of Algorithm 3 of [1]_, in parallel). Each is cut into batches. The result depends on this
        number, but not on ``n_jobs`` or on where the work is done: under ``joblib.parallel_config(backend="dask")``
        that is the machines of a cluster.
    max_iter : int, default=20
        Passes over the data, at most. Where rows are held out, as many at most go before. Where they choose the hidden
        temperature, each temperature gets at most 2 passes, and all rows get 1.
    damping : float in (0, 1], default=0.7
        Weight of the new site in ``schedule="average_ep"``; "newton" needs none.
    power : "auto" or float in [0, 1], default="auto"
        Exponent alpha of power EP at the outputs: 1 is EP, 0 the variational limit. "auto" is 1, or 0
        without hidden layers, where it is exact. With
        ``schedule="average_ep"`` it is 1.
    temperature : "auto", float or array-like of shape (n_layers,), default="auto"
        Factor tau on the posterior covariance of each layer; below 1 the posterior is colder than Bayes' rule says.
        "auto" is 1 in the last layer. In hidden layers it is 0.7 with more than 31 features. With fewer, held-out
        rows choose it: training starts warm and cold, is heated step by step up to 1, and goes on from the step that
        predicts them best (0.5 where no row is held out). With ``schedule="average_ep"`` it is 1.
    tol : float, default=1e-3
        Training stops when the energy per sample changes by less than this, in nats, from one pass to the next; a
        batch is left when a sweep gains less than a tenth of it, or than 1e-4.
    shuffle : bool, default=True
        Shuffle the rows before each pass. With False the rows are treated as a stream: the set-up (centre, axes,
        scale) comes from the first batch, as in `partial_fit`, instead of from all rows.
    forgetting : float in (0, 1], default=1.0
        For streams that drift: before each `partial_fit` what was learned so far is taken to this power, so that a call
        k calls ago counts by ``forgetting ** k``. With 1 nothing is forgotten. `fit` takes no notice of it.
    warm_start : bool, default=False
        Continue from the last fit instead of starting anew. The old evidence is taken to come from the same data, so
        further passes do not count it twice.
    n_jobs : int or None, default=None
        Threads, or what ``joblib.parallel_config`` puts in their place, over the shards in training and over chunks of
        rows in prediction. Results do not depend on it.
    random_state : int, RandomState instance or None, default=None
        Seeds the random start and the order of the rows.
    verbose : int or bool, default=0
        Print the energy after each pass.

    Attributes
    ----------
    noise_variance_ : float or ndarray of shape (n_outputs,)
        Variance of the observation noise, in squared units of y.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X had string column names.
    coefs_, intercepts_ : list of ndarray
        Posterior means of the weights, shapes (fan_in, n_units), and of the biases, shapes (n_units,), in the space
        of the raw inputs and targets.
    coefs_variance_, intercepts_variance_ : list of ndarray
        Posterior variances in the same shapes.
    map_coefs_, map_intercepts_ : list of ndarray
        Most probable weights and the biases that go with them, in the same shapes; see `freeze`.
    levels_ : ndarray of shape (n_levels,)
        Levels of discrete weights, ascending.
    readout_gain_ : ndarray of shape (n_outputs,)
        Factor between ``levels_`` and the last layer's weights in ``coefs_``.
    coefs_probabilities_ : list of ndarray
        Posterior probabilities of the levels, shapes (fan_in, n_units, n_levels); for discrete weights.
    activation_probabilities_ : list of ndarray
        Posterior probabilities that a weight is not 0, shapes as ``coefs_``; for ``prior="bernoulli_gaussian"``.
    n_iter_ : int
        Passes over the data, or calls of `partial_fit`.
    converged_ : bool
        Whether the energy had settled within ``tol`` when training stopped. False is no reason to worry in itself:
        one pass already gives a posterior.
    history_ : dict of lists
        "energy": energy per sample after each pass, in nats; "step": step length of each batch. Where rows were held
        out: "temperature" and "held_out", the hidden temperatures that were tried and the log density of the held-out
        rows at each, in nats per row (of targets in units of their standard deviation).
    temperature_ : ndarray of shape (`n_layers_` - 1,)
        Temperature of each layer of weights.
    update_counts_ : dict of int
        How many updates were rejected, shortened or bounded (see `sk_epsnn.sites.UpdateCounts`).
    n_layers_, n_outputs_ : int
        Number of layers, inputs included, and of output units.

    See Also
    --------
    EPSNNClassifier : The same networks for class labels.
    PopulationEncoder : Codes real features by the rates or spikes of a population of neurons.

    References
    ----------
    .. [1] D. Yao, S. McLaughlin, Y. Altmann, "Training of spiking neural networks with expectation-propagation",
       arXiv:2506.23757, 2025.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from sk_epsnn import EPSNNRegressor, PopulationEncoder
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 5, (300, 1))
    >>> y = np.cos(X[:, 0]) + 0.1 * rng.standard_normal(300)
    >>> model = make_pipeline(PopulationEncoder(output="rates"), EPSNNRegressor(random_state=0)).fit(X, y)
    >>> mean, std = model.predict(X[:5], return_std=True)
    >>> bool(np.all(np.abs(mean - np.cos(X[:5, 0])) < 0.2))
    True
    >>> mean.shape, std.shape
    ((5,), (5,))
    """

    _parameter_constraints = {
        **BaseEPSNN._parameter_constraints,
        "noise_variance": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        hidden_layer_sizes=(),
        *,
        activation="heaviside",
        weight_type="continuous",
        level_probabilities=None,
        readout_gain="auto",
        prior="gaussian",
        prior_variance="auto",
        prior_anchor="auto",
        spectral_exponent="auto",
        input_rotation="auto",
        noise_variance="auto",
        validation_fraction=0.2,
        schedule="newton",
        n_sweeps="auto",
        fit_intercept=True,
        batch_size="auto",
        n_shards=1,
        max_iter=20,
        damping=0.7,
        power="auto",
        temperature="auto",
        tol=1e-3,
        shuffle=True,
        forgetting=1.0,
        warm_start=False,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.weight_type = weight_type
        self.level_probabilities = level_probabilities
        self.readout_gain = readout_gain
        self.prior = prior
        self.prior_variance = prior_variance
        self.prior_anchor = prior_anchor
        self.spectral_exponent = spectral_exponent
        self.input_rotation = input_rotation
        self.noise_variance = noise_variance
        self.validation_fraction = validation_fraction
        self.schedule = schedule
        self.n_sweeps = n_sweeps
        self.fit_intercept = fit_intercept
        self.batch_size = batch_size
        self.n_shards = n_shards
        self.max_iter = max_iter
        self.damping = damping
        self.power = power
        self.temperature = temperature
        self.tol = tol
        self.shuffle = shuffle
        self.forgetting = forgetting
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(self, X, y, sample_weight=None):
        """Fit the network to data, starting from the prior (or from the last fit, with ``warm_start``).

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Spikes, rates or any finite real features; float32 stays float32.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Real targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative powers of the likelihood of each row: 2 counts it twice, 0 leaves it out.

        Returns
        -------
        self : object
        """
        context = start_fit_task(self, self.max_iter)
        with self._unchanged_on_error():
            X, y = self._validate_X_y(X, y, reset=not self._continuing)
            X, y, sample_weight = _with_weight(X, y, self._sample_weight(sample_weight, X))
            task = FitTask(context, self, X, y, sample_weight)
            if not self._continuing:
                seen = slice(None) if self.shuffle else self._batches(len(y))[0]
                self._set_target(y[seen], sample_weight[seen], X)
            judged = self._n_held_out(len(y)) > 0
            if self._continuing and judged:
                self._model = replace(self._model, noise=None)
            self._fit_epochs(X, self._encode(y), sample_weight, task)
            if judged:
                # Known from now on, but for what a stream adds.
                noise = self._first_noise().known(self._model.network.output.noise_variance, float(sample_weight.sum()))
                self._model = replace(self._model, noise=noise)
            task.end()
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Update the posterior with one batch of new rows: the posterior so far becomes their prior.

        The rows are counted as new evidence; to go over the same data several times use `fit`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            One row or more. The first call also fixes the set-up (centre, axes and scale of inputs and targets), so
            let it bring a representative batch.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Real targets.
        sample_weight : array-like of shape (n_samples,), default=None
            See `fit`.

        Returns
        -------
        self : object
        """
        first = not hasattr(self, "_model")
        with self._unchanged_on_error():
            if not first:
                validate_parameters(self)  # scikit-learn does so in the first call only
            X, y = self._validate_X_y(X, y, reset=first)
            sample_weight = self._sample_weight(sample_weight, X)
            if first:
                self._set_target(y, sample_weight, X)
            self._absorb_stream(X, self._encode(y), sample_weight, first)
        return self

    def predict(self, X, return_std=False):
        """Predictive mean of each row, and its standard deviation if asked for.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        return_std : bool, default=False
            Also return the standard deviation of a new observation: weights, spikes and noise together.

        Returns
        -------
        y_mean : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        y_std : ndarray like ``y_mean``
            In units of y; only if ``return_std``.
        """
        mean, epistemic, aleatoric = self._moments(X, "predict")
        if not return_std:
            return mean
        return mean, array_namespace(mean).sqrt(epistemic + aleatoric)

    def predict_uncertainty(self, X):
        """Predictive variance and its parts.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        uncertainty : Uncertainty
            Named tuple ``(total, aleatoric, epistemic)`` of variances in squared units of y, each of shape
            (n_samples,) or (n_samples, n_outputs). Aleatoric is observation noise plus the noise of the spikes.
        """
        _, epistemic, aleatoric = self._moments(X, "predict_uncertainty")
        return Uncertainty(epistemic + aleatoric, aleatoric, epistemic)

    @property
    def noise_variance_(self):
        """Variance of the observation noise in squared units of y: float, or array of shape (n_outputs,)."""
        variance = self._fitted_model("noise_variance_").network.output.noise_variance * self._y_scale**2
        return float(variance[0]) if self._single_output else to_numpy(variance)

    # ------------------------------------------------------------------ internals

    def _moments(self, X, method: str) -> tuple[Array, Array, Array]:
        """Mean, epistemic and aleatoric variance in units of y, for a method of that name."""
        spread = self._spread(X, method)
        dtype, xp = spread.mean.dtype, array_namespace(spread.mean)
        scale = self._y_scale
        noise = self._model.network.output.noise_variance
        parts = (
            spread.mean * scale + self._y_location,
            spread.epistemic * scale**2,
            (spread.aleatoric + noise) * scale**2,
        )
        mean, epistemic, aleatoric = (xp.astype(p[:, 0] if self._single_output else p, dtype) for p in parts)
        return mean, epistemic, aleatoric

    def _auto_settings(self, n_layers: int) -> AutoSettings:
        if n_layers == 1:
            return SHALLOW_REGRESSOR
        few = self.n_features_in_ + self.fit_intercept <= FEW_INPUTS
        joint = few and self.schedule == "newton" and not is_discrete(self.weight_type)
        return FEW_INPUTS_REGRESSOR if joint else DEEP_REGRESSOR

    def _n_held_out(self, n_samples: int) -> int:
        """How many rows judge the noise before it is known; 0 in a stream, without need or with too few of them."""
        if not self.shuffle or not self._hidden_widths() or not isinstance(self.noise_variance, str):
            return 0
        n_held_out = int(self.validation_fraction * n_samples)
        return n_held_out if n_held_out >= _LEAST_HELD_OUT else 0

    def _prepare(self, rows: Rows, rng: np.random.RandomState) -> None:
        """Choose the noise, and the hidden temperature where that is automatic, on held-out rows.

        Residuals of rows that the hidden layers have fitted are too small to tell the noise. Every path of
        temperatures starts from the untrained network; the step that predicts the held-out rows best is where training
        on all rows goes on.
        """
        n_held_out = self._n_held_out(rows.n_samples)
        if n_held_out == 0:
            return
        order = rng.permutation(rows.n_samples)
        held_out = rows.take(order[:n_held_out]).batch(self._basis)
        shards = self._shards(rows.take(order[n_held_out:]), rng)
        start = replace(self._model, noise=None)
        self.history_.update(temperature=[], held_out=[])
        best, best_score = start, -np.inf
        for path in self._heating() or [(None,)]:
            self._model = start
            for temperature in path:
                if temperature is not None:
                    self._model = replace(self._model, network=self._model.network.at_temperature(temperature))
                score = self._settle(shards, held_out, rng)
                self.history_["temperature"].append(self.temperature_[0])
                self.history_["held_out"].append(score)
                if self.verbose:
                    print(f"Hidden temperature {self.temperature_[0]:g}, held-out log density = {score:.6f} nats")
                if score > best_score:
                    best, best_score = self._model, score
        self._model = best

    def _n_passes(self, n_samples: int) -> int:
        """Passes of one fit over so many rows, at most; few where the hidden layers were heated before."""
        heated = self._heating() and self._n_held_out(n_samples) > 0
        return min(self.max_iter, _LAST_PASSES) if heated else self.max_iter

    def _heating(self) -> tuple[tuple[float, ...], ...]:
        """Paths of hidden temperatures to try; none where the temperature is given."""
        return self._auto.heating if isinstance(self.temperature, str) else ()

    def _settle(self, shards: list[Rows], held_out: Batch, rng: np.random.RandomState) -> float:
        """Train while the held-out rows say what the noise is after each pass; returns their log density."""
        energy, score = -np.inf, -np.inf
        for _ in range(min(self.max_iter, _PASSES_PER_STEP) if self._heating() else self.max_iter):
            before, energy = energy, self._epoch(shards, rng)
            variance, score = judge(self._model.network, held_out, self._noise_prior(_JUDGED_PRIOR_MASS))
            ratio = to_numpy(variance / self._model.network.output.noise_variance)
            network = replace(self._model.network, output=GaussianOutput(variance))
            self._model = replace(self._model, network=network)
            if abs(energy - before) < self.tol and np.abs(np.log(ratio)).max() < self.tol:
                break
        return score

    def _validate_X_y(self, X, y, *, reset):
        X, y = super()._validate_X_y(X, y, reset=reset)
        # Objects, None among them, become numbers here or not at all.
        y = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")
        refuse_huge("y", y)
        return X, y

    def _set_target(self, y: np.ndarray, sample_weight: np.ndarray, X: Any) -> None:
        """Location and scale of the targets; a prior given as a number is meant for targets as they are."""
        self._single_output = y.ndim == 1
        columns = y.reshape(len(y), -1)
        n_outputs = columns.shape[1]
        location, scale = np.zeros(n_outputs), np.ones(n_outputs)
        if isinstance(self.prior_variance, str):
            mean = np.average(columns, axis=0, weights=sample_weight)
            spread = np.sqrt(np.average((columns - mean) ** 2, axis=0, weights=sample_weight))
            # A constant target, or a first batch of one row, has no scale of its own.
            fallback = np.where(mean != 0, np.abs(mean), 1.0)
            scale = np.where(spread > 1e-12 * fallback, spread, fallback)
            if self.fit_intercept:
                location = mean
        self._y_location, self._y_scale = like(location, X), like(scale, X)

    def _target_scale(self) -> tuple[Array, Array]:
        return self._y_location, self._y_scale

    def _encode(self, y: np.ndarray) -> Array:
        columns = y.reshape(len(y), -1)
        location, scale = to_numpy(self._y_location), to_numpy(self._y_scale)
        if columns.shape[1] != len(scale):
            raise ValueError(
                f"y has {columns.shape[1]} outputs, but the model was fitted with {len(scale)}; "
                "fit a new estimator for other targets."
            )
        return (columns - location) / scale

    def _output(self) -> Output:
        if isinstance(self.noise_variance, str):
            return GaussianOutput(self._first_noise().variance)
        return GaussianOutput(self.noise_variance / self._y_scale**2)

    def _first_noise(self) -> NoiseEvidence | None:
        return self._noise_prior(_NOISE_PRIOR_MASS) if isinstance(self.noise_variance, str) else None

    def _noise_prior(self, mass: float) -> NoiseEvidence:
        return NoiseEvidence(mass, mass * _NOISE_START, 0.0, array_namespace(self._y_scale).zeros_like(self._y_scale))
