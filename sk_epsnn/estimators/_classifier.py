"""Bayesian spiking neural network classifier."""

from __future__ import annotations

from functools import lru_cache
from numbers import Real
from typing import Any

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc
from sklearn.base import ClassifierMixin
from sklearn.utils import compute_class_weight, gen_batches
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import column_or_1d

from sk_epsnn._arrays import Array, argument_to_numpy, array_namespace, like, to_numpy
from sk_epsnn._sklearn import Interval, StrOptions, fit_context, start_fit_task, validate_parameters, with_callbacks
from sk_epsnn.activations import SPIKING_OUTPUTS, HeavisideOutput, Output
from sk_epsnn.estimators._base import BaseEPSNN, Uncertainty
from sk_epsnn.estimators._callbacks import FitTask
from sk_epsnn.estimators._settings import (
    DEEP_CLASSIFIER,
    SHALLOW_CLASSIFIER,
    THRESHOLD_NOISE,
    AutoSettings,
    resolve,
)
from sk_epsnn.network import Spread
from sk_epsnn.numerics import gauss_hermite, xlogy

#: Nodes of the rule that averages over the weights in `EPSNNClassifier.predict_uncertainty`.
_NODES = 64
#: Rows whose mutual information is computed at a time: few enough to stay in a processor's cache.
_INFORMATION_ROWS = 1024
#: The three nodes of the Gauss-Hermite rule are 0 and +- this.
_OUTER_NODE = float(np.sqrt(3))
#: Log-odds at which a class is as good as certain.
_CERTAIN = 1e4


class EPSNNClassifier(ClassifierMixin, BaseEPSNN):
    """Bayesian spiking neural network classifier trained by Expectation Propagation.

    One forward pass predicts class probabilities; there are no gradients and no sampling in training or prediction.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=()
        Number of neurons in each hidden layer. The default is a single layer of weights.
    activation : {"heaviside", "sigmoid"} or list of them, default="heaviside"
        Hidden neurons: fire when the potential is non-negative, or with probability ``1 / (1 + exp(-u))``. A list
        names those of each hidden layer.
    output_activation : {"sigmoid", "heaviside"}, default="sigmoid"
        Output neurons, one per class (a single one for two classes).
    threshold_noise : "auto" or float, default="auto"
        Variance of Gaussian noise on the threshold of Heaviside outputs; without any, one row on the wrong side is
        impossible. "auto" is that of the logistic distribution, pi ** 2 / 3; 0 is the Heaviside output of [1]_.
    weight_type : {"continuous", "binary", "ternary"} or array-like of shape (n_levels,), default="continuous"
        Values that weights may take: any, {-1, 1}, {-1, 0, 1}, or the given levels. Biases are always continuous.
    level_probabilities : array-like of shape (n_levels,), default=None
        Prior probabilities of the levels, in their order in ``weight_type`` (ascending for a name). None makes them
        equally likely.
    readout_gain : "auto" or float, default="auto"
        With discrete weights: the factor by which those of the last layer are multiplied.
        "auto" gives an output potential a fixed prior variance, so that many inputs do not saturate the outputs; 1
        uses the levels as they are, as in [1]_.
    prior : {"gaussian", "bernoulli_gaussian", "laplace", "gaussian_mixture"} or WeightPrior, default="gaussian"
        Prior of continuous weights; an instance from `sk_epsnn.priors` sets its parameters, which a grid search
        reaches as ``prior__slab_variance`` and so on. Biases keep a Gaussian prior.
    prior_variance : "auto", float or array-like of shape (n_layers,), default="auto"
        Prior variance of every weight and bias, or one per layer of weights, for raw inputs. For a prior
        that is not Gaussian it is the square of the unit in which the prior's own parameters are measured; for discrete
        weights it is that of the biases only. With a number,
        ``spectral_exponent`` and ``prior_anchor`` default to 0: ``prior_variance=1.0`` is the standard Gaussian prior
        of [1]_. "auto" scales the prior to the data: a potential gets a fixed prior variance, however
        many inputs it has and whatever their units.
    prior_anchor : "auto" or float, default="auto"
        Size of random prior means of the hidden layers' weights, in prior standard deviations. It keeps hidden
        neurons different from each other. With 0 only the starting point is random, not the prior. "auto" is
        0.5 with one hidden layer (0.3 for discrete weights), 0.3 with two, 0.5 with more (0 where ``prior_variance``
        is a number or the prior is not Gaussian).
    spectral_exponent : "auto" or float, default="auto"
        Exponent beta of the spectral prior: along each principal axis of the inputs, the prior variance of the first
        layer's weights is proportional to the inputs' second moment to this power. 0 is isotropic. "auto" is
        1 with hidden layers and 0 without (0 where ``prior_variance`` is a number, or with more than 2048 features).
        With hidden layers and an automatic ``prior_variance`` half of the mean second moment is added to each first.
    input_rotation : "auto" or bool, default="auto"
        Train the first layer in the principal axes of the inputs, where independent weights are a better
        approximation. ``coefs_`` are always those of the raw inputs. "auto" is True with hidden layers or a spectral
        prior, for at most 2048 features; discrete weights and priors that are not Gaussian allow no rotation.
    schedule : {"newton", "average_ep"}, default="newton"
        How one batch is worked on. "newton" takes Newton steps and checks each against the energy; it needs no step
        size. "average_ep" is the damped parallel iteration of [1]_ (Algorithms 1 and 2); updates that diverge are
        refused with a `ConvergenceWarning`.
    n_sweeps : "auto" or int, default="auto"
        Forward and backward passes over each batch, at most. "auto" is 10 with hidden layers or discrete weights and 3
        otherwise. With ``schedule="average_ep"`` it is 30.
    fit_intercept : bool, default=True
        Whether potentials have a bias.
    batch_size : "auto" or int, default="auto"
        Rows per batch. "auto" cuts the rows into as few equal batches as it takes for none to be larger than 10,000
        with hidden layers or discrete weights, 1000 otherwise.
    n_shards : int, default=1
        Parts of the rows that every pass works on apart, ``n_jobs`` at a time, before what they have learned is added
        up (the factors of Algorithm 3 of [1]_, in parallel). Each is cut into batches. The result depends on this
        number, but not on ``n_jobs`` or on where the work is done: under ``joblib.parallel_config(backend="dask")``
        that is the machines of a cluster.
    max_iter : int, default=10
        Passes over the data, at most.
    damping : float in (0, 1], default=0.7
        Weight of the new site in ``schedule="average_ep"``; "newton" needs none.
    power : "auto" or float in [0, 1], default="auto"
        Exponent alpha of power EP at the outputs: 1 is EP, 0 the variational limit. "auto" is 0.1, or
        0.5 with more than two hidden layers. With ``schedule="average_ep"`` it is 1.
    temperature : "auto", float or array-like of shape (n_layers,), default="auto"
        Factor tau on the posterior covariance of each layer; below 1 the posterior is colder than Bayes' rule says.
        "auto" is 0.3, or 0.2 for a single layer of continuous weights. With ``schedule="average_ep"`` it is 1.
    tol : float, default=1e-2
        Training stops when the energy per sample changes by less than this, in nats, from one pass to the next; a
        batch is left when a sweep gains less than a tenth of it, or than 1e-4.
    shuffle : bool, default=True
        Shuffle the rows before each pass. With False the rows are treated as a stream: the set-up (centre, axes,
        scale) comes from the first batch, as in `partial_fit`, instead of from all rows.
    forgetting : float in (0, 1], default=1.0
        For streams that drift: before each `partial_fit` what was learned so far is taken to this power, so that a call
        k calls ago counts by ``forgetting ** k``. With 1 nothing is forgotten. `fit` takes no notice of it.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, multiplied into ``sample_weight``. "balanced" cannot be used with `partial_fit`.
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
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X had string column names.
    coefs_, intercepts_ : list of ndarray
        Posterior means of the weights, shapes (fan_in, n_units), and of the biases, shapes (n_units,), in the space
        of the raw inputs.
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
        "energy": energy per sample after each pass, in nats; "step": step length of each batch.
    temperature_ : ndarray of shape (`n_layers_` - 1,)
        Temperature of each layer of weights.
    update_counts_ : dict of int
        How many updates were rejected, shortened or bounded (see `sk_epsnn.sites.UpdateCounts`).
    n_layers_, n_outputs_ : int
        Number of layers, inputs included, and of output units.

    See Also
    --------
    EPSNNRegressor : The same networks for real targets.
    RateSpikeEncoder : Turns rates into spikes.

    References
    ----------
    .. [1] D. Yao, S. McLaughlin, Y. Altmann, "Training of spiking neural networks with expectation-propagation",
       arXiv:2506.23757, 2025.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from sk_epsnn import EPSNNClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> clf = EPSNNClassifier(random_state=0).fit(X_train, y_train)
    >>> bool(clf.score(X_test, y_test) > 0.94)
    True
    >>> clf.predict_proba(X_test).shape
    (450, 10)
    """

    _parameter_constraints = {
        **BaseEPSNN._parameter_constraints,
        "output_activation": [StrOptions(set(SPIKING_OUTPUTS))],
        "threshold_noise": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        hidden_layer_sizes=(),
        *,
        activation="heaviside",
        output_activation="sigmoid",
        threshold_noise="auto",
        weight_type="continuous",
        level_probabilities=None,
        readout_gain="auto",
        prior="gaussian",
        prior_variance="auto",
        prior_anchor="auto",
        spectral_exponent="auto",
        input_rotation="auto",
        schedule="newton",
        n_sweeps="auto",
        fit_intercept=True,
        batch_size="auto",
        n_shards=1,
        max_iter=10,
        damping=0.7,
        power="auto",
        temperature="auto",
        tol=1e-2,
        shuffle=True,
        forgetting=1.0,
        class_weight=None,
        warm_start=False,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.output_activation = output_activation
        self.threshold_noise = threshold_noise
        self.weight_type = weight_type
        self.level_probabilities = level_probabilities
        self.readout_gain = readout_gain
        self.prior = prior
        self.prior_variance = prior_variance
        self.prior_anchor = prior_anchor
        self.spectral_exponent = spectral_exponent
        self.input_rotation = input_rotation
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
        self.class_weight = class_weight
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
        y : array-like of shape (n_samples,)
            Labels of any type, at least two classes.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative powers of the likelihood of each row: 2 counts it twice, 0 leaves it out.

        Returns
        -------
        self : object
        """
        context = start_fit_task(self, self.max_iter)
        with self._unchanged_on_error():
            X, y = self._validate_X_y(X, y, reset=not self._continuing)
            y = column_or_1d(y, warn=True)
            check_classification_targets(y)
            sample_weight = self._sample_weight(sample_weight, X)
            classes = np.unique(y)
            if self._continuing and not np.array_equal(classes, self._labels):
                raise ValueError(
                    f"warm_start needs the classes of the previous fit, {self._labels}, but y has {classes}; "
                    "set warm_start=False to start anew."
                )
            self._set_classes(classes, X)
            task = FitTask(context, self, X, y, sample_weight)
            sample_weight = self._with_class_weight(sample_weight, y)
            self._fit_epochs(X, self._encode(y), sample_weight, task)
            task.end()
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Update the posterior with one batch of new rows: the posterior so far becomes their prior.

        The rows are counted as new evidence; to go over the same data several times use `fit`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            One row or more. The first call also fixes the set-up (centre, axes and scale of the inputs), so let it
            bring a representative batch.
        y : array-like of shape (n_samples,)
            Labels, all of them in ``classes``.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever occur; required in the first call.
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
            y = column_or_1d(y, warn=True)
            sample_weight = self._sample_weight(sample_weight, X)
            if isinstance(self.class_weight, str):
                raise ValueError(
                    "class_weight='balanced' needs all labels at once and cannot be used with partial_fit; compute "
                    "the weights with sklearn.utils.compute_class_weight and pass them as a dict."
                )
            self._check_stream_classes(classes, X, first)
            unknown = np.setdiff1d(y, self._labels)
            if len(unknown):
                raise ValueError(
                    f"y holds labels {unknown} that are not in classes {self._labels}; name every label in the "
                    "first call: partial_fit(X, y, classes=...)."
                )
            sample_weight = self._with_class_weight(sample_weight, y)
            self._absorb_stream(X, self._encode(y), sample_weight, first)
        return self

    def predict(self, X):
        """Most probable class of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        log_probability = self._log_proba(X, "predict")
        best = array_namespace(log_probability).argmax(log_probability, axis=1)
        if isinstance(self.classes_, np.ndarray):
            return self.classes_[to_numpy(best)]
        return array_namespace(self.classes_).take(self.classes_, best)

    def predict_proba(self, X):
        """Class probabilities, given that exactly one output neuron fires.

        The outputs are independent Bernoulli units with predictive probabilities ``p_k``; given that exactly one
        of them fires, class k has probability proportional to ``p_k / (1 - p_k)``. One forward pass, no sampling.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        probability : ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        log_probability = self._log_proba(X, "predict_proba")
        return array_namespace(log_probability).exp(log_probability)

    def predict_log_proba(self, X):
        """Logarithm of `predict_proba`, in nats.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        log_probability : ndarray of shape (n_samples, n_classes)
        """
        return self._log_proba(X, "predict_log_proba")

    def predict_uncertainty(self, X):
        """Entropy of the prediction and how much of it is due to not knowing the weights.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        uncertainty : Uncertainty
            Named tuple ``(total, aleatoric, epistemic)`` of arrays of shape (n_samples,), in nats: the entropy of
            `predict_proba`, the expected entropy if the weights were known, and their mutual information.
        """
        spread = self._spread(X, "predict_uncertainty")
        total_log = self._log_probability(spread.mean, spread.epistemic + spread.aleatoric)
        total = _entropy(total_log)
        epistemic = array_namespace(total).minimum(self._mutual_information(spread), total)
        return Uncertainty(total, total - epistemic, epistemic)

    # ------------------------------------------------------------------ internals

    def _auto_settings(self, n_layers: int) -> AutoSettings:
        return SHALLOW_CLASSIFIER if n_layers == 1 else DEEP_CLASSIFIER

    def _output(self) -> Output:
        if self.output_activation == "heaviside":
            return HeavisideOutput(resolve(self.threshold_noise, THRESHOLD_NOISE))
        return SPIKING_OUTPUTS[self.output_activation]()

    @property
    def _labels(self) -> np.ndarray:
        """The classes, as an array of NumPy."""
        return to_numpy(self.classes_)

    def _set_classes(self, classes: np.ndarray, X: Any) -> None:
        """Set ``classes_``, in the library of the inputs if they are numbers."""
        if len(classes) < 2:
            found = f"only one class: {classes.tolist()[0]!r}" if len(classes) else "none"
            raise ValueError(f"A classifier needs samples of at least 2 classes, but the data has {found}.")
        self.classes_ = like(classes, X) if np.issubdtype(classes.dtype, np.number) else classes

    def _check_stream_classes(self, classes: Any, X: Any, first: bool) -> None:
        classes = argument_to_numpy(classes)
        if first:
            if classes is None:
                raise ValueError("classes must be passed in the first call of partial_fit: all labels that may occur.")
            self._set_classes(unique_labels(classes), X)
        elif classes is not None and not np.array_equal(unique_labels(classes), self._labels):
            raise ValueError(
                f"classes={classes!r} differs from the classes of the first call, {self._labels}; the set of labels "
                "cannot change in a stream."
            )

    def _with_class_weight(self, sample_weight: Array, y: np.ndarray) -> Array:
        """Each row's weight times that of its class; "balanced" counts the rows by their weights."""
        if self.class_weight is None:
            return sample_weight
        kept = sample_weight > 0
        classes = np.unique(y[kept]) if isinstance(self.class_weight, str) else self._labels
        weights = compute_class_weight(self.class_weight, classes=classes, y=y[kept], sample_weight=sample_weight[kept])
        if not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise ValueError(
                f"class_weight must be finite and not negative for every class, got {self.class_weight!r}."
            )
        result = np.zeros_like(sample_weight)
        result[kept] = sample_weight[kept] * weights[np.searchsorted(classes, y[kept])]
        return result

    def _encode(self, y: np.ndarray) -> Array:
        """Targets -1 and +1, one output unit per class, or a single one for two classes."""
        index, n_classes = np.searchsorted(self._labels, y), len(self._labels)
        if n_classes == 2:
            return np.where(index == 1, 1.0, -1.0)[:, None]
        return np.where(index[:, None] == np.arange(n_classes), 1.0, -1.0)

    def _unit_log_odds(self, mean: Array, variance: Array) -> Array:
        """``log p / (1 - p)`` of each output unit's predictive probability."""
        return self._model.network.output.log_odds(mean, variance)

    def _log_proba(self, X: Any, method: str) -> Array:
        """`predict_log_proba` for a method of that name."""
        spread = self._spread(X, method)
        return self._log_probability(spread.mean, spread.epistemic + spread.aleatoric)

    def _log_probability(self, mean: Array, variance: Array) -> Array:
        return _one_fires(self._unit_log_odds(mean, self._proper(variance)))

    def _mutual_information(self, spread: Spread) -> Array:
        """``H(E p) - E H(p)`` over the weights, by a fixed quasi-Monte Carlo rule in the output potentials.

        Log-odds are almost linear in the potential: between its mean and sqrt(3) standard deviations to either side
        they are the quadratic through these three points, the nodes of a Gauss-Hermite rule.
        """
        xp = array_namespace(spread.mean)
        far = _OUTER_NODE * xp.sqrt(spread.epistemic)
        low, middle, high = (
            # Beyond the bound a class is certain or impossible.
            xp.clip(self._unit_log_odds(spread.mean + shift, self._proper(spread.aleatoric)), -_CERTAIN, _CERTAIN)
            for shift in (-far, xp.zeros_like(far), far)
        )
        slope, curvature = (high - low) / (2 * _OUTER_NODE), (high + low - 2 * middle) / 6
        parts = [
            _information(*(part[rows, :] for part in (middle, slope, curvature)))
            for rows in gen_batches(middle.shape[0], _INFORMATION_ROWS)
        ]
        return xp.concat(parts)

    @staticmethod
    def _proper(variance: Array) -> Array:
        """Variances that may be divided by."""
        xp = array_namespace(variance)
        return xp.clip(variance, min=float(xp.finfo(variance.dtype).smallest_normal))


def _one_fires(log_odds: Array) -> Array:
    """Log probabilities of the classes given that exactly one unit fires; a single unit stands for two classes."""
    xp = array_namespace(log_odds)
    if log_odds.shape[1] == 1:
        both = xp.concat([log_odds, -log_odds], axis=1)
        result = -xp.logaddexp(both, xp.zeros_like(both))
    else:
        below = log_odds - xp.max(log_odds, axis=1, keepdims=True)
        result = below - xp.log(xp.sum(xp.exp(below), axis=1, keepdims=True))
    # What rounds to a probability of 1 is certain here too.
    return xp.where(result > -float(xp.finfo(result.dtype).eps), 0.0, result)


def _information(middle: Array, slope: Array, curvature: Array) -> Array:
    """Mutual information of the class with standard normal x, log-odds ``middle + slope x + curvature x^2``."""
    xp, n_units = array_namespace(middle), middle.shape[1]
    nodes, weights = _normal_rule(n_units)
    nodes = xp.astype(like(nodes, middle), middle.dtype)
    # Sums over the classes are faster along the first axis; a single unit stands for two classes.
    middle, slope, curvature = (
        xp.stack([part[:, k] for k in range(n_units)] if n_units > 1 else [xp.zeros_like(part[:, 0]), part[:, 0]])
        for part in (middle, slope, curvature)
    )
    mean_probability, mean_entropy = 0.0, 0.0
    for k, weight in enumerate(weights.tolist()):
        node = nodes[k, :, None]
        log_odds = middle + node * (slope + node * curvature)
        log_odds -= xp.max(log_odds, axis=0)
        share = xp.exp(log_odds)
        total = xp.sum(share, axis=0)
        # The entropy is log(total) - sum(share * log_odds) / total.
        mean_entropy = mean_entropy + weight * (xp.log(total) - xp.sum(share * log_odds, axis=0) / total)
        share *= weight / total
        mean_probability = mean_probability + share
    entropy = -xp.sum(xlogy(mean_probability, mean_probability), axis=0)
    return xp.clip(entropy - mean_entropy, min=0.0)


def _entropy(log_probability: Array) -> Array:
    """Entropy in nats of each row of log probabilities."""
    xp = array_namespace(log_probability)
    probability = xp.exp(log_probability)
    finite = xp.where(probability > 0, log_probability, 0.0)
    return -xp.sum(probability * finite, axis=1)


@lru_cache(maxsize=8)
def _normal_rule(n_units: int) -> tuple[Array, Array]:
    """Nodes (n_nodes, n_units) and weights of a rule for the standard normal, symmetric about 0 and of unit variance.

    Gauss-Hermite for a single unit, otherwise scrambled Sobol points (drawn once from a fixed seed).
    """
    if n_units == 1:
        nodes, weights = np.array(gauss_hermite(_NODES)).T
        return nodes[:, None], weights
    points = qmc.Sobol(n_units, scramble=True, rng=np.random.default_rng(0)).random(_NODES // 2)
    half = ndtri(np.clip(points, 1e-9, 1 - 1e-9))
    half /= np.sqrt((half * half).mean(0))
    return np.vstack([half, -half]), np.full(_NODES, 1 / _NODES)
