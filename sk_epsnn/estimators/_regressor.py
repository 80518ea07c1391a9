"""Bayesian spiking neural network regressor."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import MultiOutputMixin, RegressorMixin

from sk_epsnn._arrays import Array, astype, log, sqrt, to_numpy
from sk_epsnn._rollback import unchanged_on_error
from sk_epsnn._sklearn import Interval, StrOptions, fit_context, validate_parameters, with_callbacks
from sk_epsnn.course import Rows
from sk_epsnn.estimators._base import BaseEPSNN
from sk_epsnn.estimators._door import refuse_huge
from sk_epsnn.estimators._each import ScoresSteps, numbers_of_steps
from sk_epsnn.estimators._readout import InputSpace
from sk_epsnn.estimators._targets import TargetScale, check_numbers
from sk_epsnn.estimators._uncertainty import Uncertainty
from sk_epsnn.estimators._words import knows_old_words
from sk_epsnn.messages import Spread
from sk_epsnn.outputs import HeteroscedasticOutput


class EPSNNRegressor(ScoresSteps, MultiOutputMixin, RegressorMixin, BaseEPSNN):
    """Bayesian spiking neural network regressor trained by Expectation Propagation.

    One forward pass predicts a mean and a variance; there are no gradients and no sampling in training or prediction.

    Parameters
    ----------
    hidden_layer_sizes : int, Convolution or array-like of them, default=()
        Number of neurons in each hidden layer, or `Convolution` objects that read images. The default is a single
        layer of weights.
    activation : {"heaviside", "sigmoid", "lif", "sigmoid_lif"}, Neuron or list of them, default="heaviside"
        Hidden neurons: fire when the potential is non-negative, or with probability ``1 / (1 + exp(-u))``; `LIF` and
        `SigmoidLIF` have a leak, where X has steps. A list names those of each hidden layer.
    weights : {"continuous", "binary", "ternary"} or Levels, default="continuous"
        Values that weights may take: any, {-1, 1}, {-1, 0, 1}, or those of a `Levels` object. Biases are always
        continuous.
    prior : {"gaussian", "ard", "bernoulli_gaussian", "laplace", "gaussian_mixture"} or WeightPrior, default="gaussian"
        Prior of continuous weights; an object such as `GaussianPrior` sets its options, which a grid search reaches as
        ``prior__variance`` and so on. Biases keep a Gaussian prior.
    noise_variance : "auto", "heteroscedastic" or float, default="auto"
        Variance of the observation noise in squared units of y. "auto" learns it, one per output: with hidden
        layers from held-out rows (see `Newton`), else in training. "heteroscedastic" learns how it depends on the
        inputs: every output gets a second unit for the logarithm of its noise variance, which reads what the first one
        reads. For "newton" and "stochastic" inference.
    inference : {"auto", "stochastic", "newton", "average_ep"} or Stochastic, Newton or AverageEP, default="auto"
        How the posterior is found; an object such as `Stochastic` sets its options, which a grid search reaches as
        ``inference__temperature`` and so on. "auto" is "stochastic" with hidden layers, shuffled rows and 4,000 of
        them or more: steps on mini-batches, each pass checked. Otherwise it is "newton": steps on larger batches, each
        checked. "average_ep" is the damped iteration of [1]_.
    fit_intercept : bool, default=True
        Whether potentials have a bias.
    batch_size : "auto" or int, default="auto"
        Rows per batch. "auto" is a tenth of the rows for "stochastic", from 100 to 500, or 2 % up to 1,000 if that is
        more; otherwise 100 with hidden layers and fewer than 16 rows for every feature, else as few equal batches of
        at most 10,000 rows as it takes; of a single layer mostly more, those that hold a million numbers.
    max_iter : int or None, default=None
        Passes over the data, at most. None is 20, and for "stochastic" as many as its options say. Where rows are held
        out, as many at most go before. Where they choose the hidden temperature, each temperature gets at most 2
        passes, or 4 of few rows, and all rows get 1.
    tol : float, default=1e-3
        Training stops when the energy per sample changes by less than this, in nats, from one pass to the next; a
        batch is left when a sweep gains less than a tenth of it, or than 1e-4.
    shuffle : bool, default=True
        Shuffle the rows before each pass. With False the rows are treated as a stream: the set-up (centre, axes,
        scale) comes from the first batch, or 32 rows, instead of from all rows.
    forgetting : float in (0, 1], default=1.0
        For streams that drift: before each `partial_fit` what was learned so far is taken to this power, so that a call
        k calls ago counts by ``forgetting ** k``. With 1 nothing is forgotten.
    warm_start : bool, default=False
        Continue from the last fit instead of starting anew. The old evidence is taken to come from the same data, so
        further passes do not count it twice. Parameters that say what the network is cannot change in between.
    n_shards : int, default=1
        Parts of the rows that every pass of `fit` works on apart, ``n_jobs`` at a time, before what they have learned
        is added up (the factors of Algorithm 3 of [1]_, in parallel). Each is cut into batches. The result depends on
        this number, but not on ``n_jobs`` or on where the work is done: under
        ``joblib.parallel_config(backend="dask")`` that is the machines of a cluster.
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
        Variance of the observation noise, in squared units of y, where it is constant.
    log_noise_coefs_, log_noise_intercepts_ : ndarray of shape (fan_in, n_outputs) and (n_outputs,)
        Posterior means of the weights, on what the last layer reads, and of the biases of the logarithm of the noise
        variance in squared units of y; for ``noise_variance="heteroscedastic"``.
    settings_ : dict
        What every parameter left at "auto" stood for in the fit, by its name: ``(value, reason)``.
    n_features_in_, n_steps_in_ : int
        Number of features, and of steps in time, where X has them: NaN says that a sample has ended.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X had string column names.
    coefs_, intercepts_ : list of ndarray
        Posterior means of the weights, shapes (fan_in, n_units), and of the biases, shapes (n_units,), in the space
        of the raw inputs and targets; ``recurrent_coefs_``: between neurons of a layer, None where there are none.
        Over steps, hidden layers after the first weigh traces of spikes less ``network_.connections[k].center``, how
        often each neuron below fires.
    coefs_variance_, intercepts_variance_ : list of ndarray
        Posterior variances in the same shapes.
    coef_, intercept_ : ndarray
        The same means without hidden layers, in the shapes of scikit-learn's linear models.
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
        rows at each, in nats per row (of targets in units of their standard deviation); last come those of a noise that
        varies.
    temperature_ : ndarray of shape (`n_layers_` - 1,)
        Temperature of each layer of weights in training.
    predictive_temperature_ : ndarray of shape (`n_layers_` - 1,)
        Factor on the covariance of each layer in predictions: another than that in training where held-out rows said
        so. ``coefs_variance_`` and draws of `freeze` are at this one.
    update_counts_ : dict of int
        How many updates were rejected, shortened or bounded (see `sk_epsnn.ep.sites.UpdateCounts`).
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

    _task = "regressor"
    _has_several = True
    _parameter_constraints = {
        **BaseEPSNN._parameter_constraints,
        "noise_variance": [StrOptions({"auto", HeteroscedasticOutput.name}), Interval(Real, 0, None, closed="neither")],
    }

    @knows_old_words
    def __init__(
        self,
        hidden_layer_sizes=(),
        *,
        activation="heaviside",
        weights="continuous",
        prior="gaussian",
        noise_variance="auto",
        inference="auto",
        fit_intercept=True,
        batch_size="auto",
        max_iter=None,
        tol=1e-3,
        shuffle=True,
        forgetting=1.0,
        warm_start=False,
        n_shards=1,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.weights = weights
        self.prior = prior
        self.noise_variance = noise_variance
        self.inference = inference
        self.fit_intercept = fit_intercept
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.shuffle = shuffle
        self.forgetting = forgetting
        self.warm_start = warm_start
        self.n_shards = n_shards
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(self, X, y, sample_weight=None):
        """Fit the network to data, starting from the prior (or from the last fit, with ``warm_start``).

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_steps, n_features)
            Spikes, rates or any finite real features; float32 stays float32.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Real targets. With ``readout="each"`` of `LIF` those of all steps, (n_samples, n_steps) or (n_samples,
            n_steps, n_outputs), NaN where there is none. What y holds where X has no step does not matter.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative powers of the likelihood of each row, with all its steps: 2 counts it twice, 0 leaves it out.

        Returns
        -------
        self : object
        """
        self._fit(X, y, sample_weight)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Update the posterior with one batch of new rows: the posterior so far becomes their prior.

        The rows are counted as new evidence; to go over the same data several times use `fit`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_steps, n_features)
            One row or more. A first call of 32 rows or more also fixes the set-up (centre, axes and scale of inputs and
            targets), so let it bring a representative batch; the rows of smaller ones are kept until there are enough.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Real targets as in `fit`.
        sample_weight : array-like of shape (n_samples,), default=None
            See `fit`.

        Returns
        -------
        self : object
        """
        first = not hasattr(self, "_progress")
        with unchanged_on_error(self):
            if not first:
                validate_parameters(self)  # scikit-learn does so in the first call only
            self._learn_from_stream(self._enter(X, y, sample_weight, reset=first), first)
        return self

    def predict(self, X, return_std=False):
        """Predictive mean of each row, and its standard deviation if asked for.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_steps, n_features)
        return_std : bool, default=False
            Also return the standard deviation of a new observation: weights, spikes and noise together.

        Returns
        -------
        y_mean : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            With ``readout="each"`` of shape (n_samples, n_steps) or (n_samples, n_steps, n_outputs), NaN after the end
            of a sample.
        y_std : ndarray like ``y_mean``
            In units of y; only if ``return_std``.
        """
        mean, epistemic, aleatoric = self._moments(X, "predict")
        if not return_std:
            return mean
        return mean, sqrt(epistemic + aleatoric)

    def predict_uncertainty(self, X):
        """Predictive variance and its parts.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_steps, n_features)

        Returns
        -------
        uncertainty : Uncertainty
            Named tuple ``(total, aleatoric, epistemic)`` of variances in squared units of y, each of the shape that
            `predict` gives. Aleatoric is observation noise, its expectation where it is not
            known, plus the noise of the spikes.
        """
        _, epistemic, aleatoric = self._moments(X, "predict_uncertainty")
        return Uncertainty(epistemic + aleatoric, aleatoric, epistemic)

    @property
    def noise_variance_(self):
        """Variance of the observation noise in squared units of y: float, or array of shape (n_outputs,)."""
        output = self._fitted_state("noise_variance_").network.output
        if output.varies:
            raise AttributeError(
                "noise_variance_ exists where the noise is constant only; it depends on the inputs here: see "
                "predict_uncertainty(X).aleatoric, or log_noise_coefs_."
            )
        variance = output.noise_variance * self._targets.scale**2
        return float(variance[0]) if self._targets.single else to_numpy(variance)

    @property
    def log_noise_coefs_(self):
        """Posterior means of the weights from the last layer's inputs to the log noise variance, as `coefs_`."""
        return self._log_noise("log_noise_coefs_").coef.T

    @property
    def log_noise_intercepts_(self):
        """Posterior means of the biases of the log noise variance, in squared units of y, shape (n_outputs,)."""
        intercept = self._log_noise("log_noise_intercepts_").intercept
        output, scale = self._progress.state.network.output, self._targets.scale
        known = output.noise_variance if output.factors is None else output.noise_variance * output.factors[1, :]
        return intercept + log(known * scale * scale)

    def _log_noise(self, attribute: str) -> InputSpace:
        """Weights of the units that say the noise, in the space of the inputs."""
        state = self._fitted_state(attribute)
        if state.network.output.units_per_target == 1:
            raise AttributeError(
                f"{attribute} exists for a noise that depends on the inputs only; set noise_variance='heteroscedastic'."
            )
        last = self._unit_space(state.moments("float64"))[-1]
        return InputSpace(*(part[state.network.n_targets :, ...] for part in last))

    # ------------------------------------------------------------------ targets

    def _moments(self, X: Any, method: str) -> tuple[Array, Array, Array]:
        """Mean, epistemic and aleatoric variance in units of y, for a method of that name."""
        return self._spread(X, method, self._in_units_of_y)

    def _in_units_of_y(self, spread: Spread) -> tuple[Array, Array, Array]:
        dtype = spread.mean.dtype
        location, scale = self._targets.location, self._targets.scale
        output = self._progress.state.network.output
        noise, spread = output.noise(spread), output.predicted(spread)
        parts = (
            spread.mean * scale + location,
            spread.epistemic * scale**2,
            (spread.aleatoric + noise) * scale**2,
        )
        mean, epistemic, aleatoric = (astype(self._targets.shaped(part), dtype) for part in parts)
        return mean, epistemic, aleatoric

    def _check_y(self, y: np.ndarray) -> np.ndarray:
        y = check_numbers(y)
        refuse_huge("y", y)
        return y

    def _check_each(self, y: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y, known = numbers_of_steps(y, present)
        refuse_huge("y", y)
        return y, known

    def _begin_fit(self, rows: Rows, continuing: bool) -> None:
        """Real targets have nothing to be found before the plan is made."""

    def _set_targets(self, rows: Rows) -> None:
        plan = self._plan
        self._targets = TargetScale.of(*rows.known(), rows.X, standardise=plan.standardise, shift=plan.network.constant)

    def _encode(self, y: np.ndarray) -> np.ndarray:
        return self._targets.encode(y)

    def _n_output_units(self, y: np.ndarray) -> int:
        return 1 if y.ndim == 1 else y.shape[1]

    def _target_scale(self) -> np.ndarray:
        return to_numpy(self._targets.scale)

    def _target_location_and_scale(self) -> tuple[Array, Array]:
        return self._targets.location, self._targets.scale

    def _vector_target(self) -> bool:
        return self._targets.single
