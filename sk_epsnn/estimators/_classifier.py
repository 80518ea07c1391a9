"""Bayesian spiking neural network classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin

from sk_epsnn._arrays import Array, entries, exp, position_of_largest, to_numpy
from sk_epsnn._rollback import unchanged_on_error
from sk_epsnn._sklearn import StrOptions, fit_context, validate_parameters, with_callbacks
from sk_epsnn.estimators._base import BaseEPSNN
from sk_epsnn.estimators._each import ScoresSteps, with_last
from sk_epsnn.estimators._labels import Labels
from sk_epsnn.estimators._uncertainty import class_log_probability, class_uncertainty
from sk_epsnn.estimators._words import knows_old_words
from sk_epsnn.outputs import SPIKING_OUTPUTS, SpikingOutput


class EPSNNClassifier(ScoresSteps, Labels, ClassifierMixin, BaseEPSNN):
    """Bayesian spiking neural network classifier trained by Expectation Propagation.

    One forward pass predicts class probabilities; there are no gradients and no sampling in training or prediction.

    Parameters
    ----------
    hidden_layer_sizes : int, Convolution or array-like of them, default=()
        Number of neurons in each hidden layer, or `Convolution` objects that read images. The default is a single
        layer of weights.
    activation : {"heaviside", "sigmoid", "lif", "sigmoid_lif"}, Neuron or list of them, default="heaviside"
        Hidden neurons: fire when the potential is non-negative, or with probability ``1 / (1 + exp(-u))``; `LIF` and
        `SigmoidLIF` have a leak, where X has steps. A list names those of each hidden layer.
    output_activation : {"auto", "sigmoid", "heaviside", "softmax"} or HeavisideOutput, default="auto"
        Output neurons, one per class (a single one for two classes). "auto" is "softmax": the neurons compete, and
        exactly one fires. With "sigmoid" and "heaviside" each fires by itself, as on a chip. Of two classes softmax and
        sigmoid are the same. A `HeavisideOutput` object sets the noise of its threshold.
    weights : {"continuous", "binary", "ternary"} or Levels, default="continuous"
        Values that weights may take: any, {-1, 1}, {-1, 0, 1}, or those of a `Levels` object. Biases are always
        continuous.
    prior : {"gaussian", "ard", "bernoulli_gaussian", "laplace", "gaussian_mixture"} or WeightPrior, default="gaussian"
        Prior of continuous weights; an object such as `GaussianPrior` sets its options, which a grid search reaches as
        ``prior__variance`` and so on. Biases keep a Gaussian prior.
    inference : {"auto", "stochastic", "newton", "average_ep"} or Stochastic, Newton or AverageEP, default="auto"
        How the posterior is found; an object such as `Stochastic` sets its options, which a grid search reaches as
        ``inference__temperature`` and so on. "auto" is "stochastic" with hidden layers and shuffled rows: steps on
        mini-batches, each pass checked. Otherwise it is "newton": steps on larger batches, each checked. "average_ep"
        is the damped iteration of [1]_.
    fit_intercept : bool, default=True
        Whether potentials have a bias.
    batch_size : "auto" or int, default="auto"
        Rows per batch. "auto" is a tenth of the rows for "stochastic", from 100 to 500, or 2 % up to 1,000 if that is
        more; otherwise as few equal batches as it takes for none to be larger than 10,000 with hidden layers or
        discrete weights, 1,000 without. Without either, `fit` mostly takes more: rows that hold a million numbers.
    max_iter : int or None, default=None
        Passes over the data, at most. None is 10 with hidden layers, 20 without, and for "stochastic" as many as its
        options say. Where rows are held out, as many at most go before for each fold and temperature.
    tol : float, default=1e-2
        Training stops when the energy per sample changes by less than this, in nats, from one pass to the next; a
        batch is left when a sweep gains less than a tenth of it, or than 1e-4.
    shuffle : bool, default=True
        Shuffle the rows before each pass. With False the rows are treated as a stream: the set-up (centre, axes,
        scale) comes from the first batch, or 32 rows, instead of from all rows.
    forgetting : float in (0, 1], default=1.0
        For streams that drift: before each `partial_fit` what was learned so far is taken to this power, so that a call
        k calls ago counts by ``forgetting ** k``. With 1 nothing is forgotten.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, multiplied into ``sample_weight``. "balanced" cannot be used with `partial_fit`.
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
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
    settings_ : dict
        What every parameter left at "auto" stood for in the fit, by its name: ``(value, reason)``.
    n_features_in_, n_steps_in_ : int
        Number of features, and of steps in time, where X has them: NaN says that a sample has ended.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X had string column names.
    coefs_, intercepts_ : list of ndarray
        Posterior means of the weights, shapes (fan_in, n_units), and of the biases, shapes (n_units,), in the space
        of the raw inputs; ``recurrent_coefs_`` has those between neurons of a layer, None where there are none.
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
        out: "temperature" and "held_out", the temperatures that were tried and the log probability of the held-out
        labels at each, in nats per row.
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

    _task = "classifier"
    _parameter_constraints = {
        **BaseEPSNN._parameter_constraints,
        "output_activation": [StrOptions({"auto", *SPIKING_OUTPUTS}), SpikingOutput],
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    @knows_old_words
    def __init__(
        self,
        hidden_layer_sizes=(),
        *,
        activation="heaviside",
        output_activation="auto",
        weights="continuous",
        prior="gaussian",
        inference="auto",
        fit_intercept=True,
        batch_size="auto",
        max_iter=None,
        tol=1e-2,
        shuffle=True,
        forgetting=1.0,
        class_weight=None,
        warm_start=False,
        n_shards=1,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.output_activation = output_activation
        self.weights = weights
        self.prior = prior
        self.inference = inference
        self.fit_intercept = fit_intercept
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.shuffle = shuffle
        self.forgetting = forgetting
        self.class_weight = class_weight
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
        y : array-like of shape (n_samples,) or (n_samples, n_steps)
            Labels of any type, at least two classes; with ``readout="each"`` of `LIF` those of all steps, None or NaN
            where there is none. What y holds where X has no step does not matter.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative powers of the likelihood of each row, with all its steps: 2 counts it twice, 0 leaves it out.

        Returns
        -------
        self : object
        """
        self._fit(X, y, sample_weight)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Update the posterior with one batch of new rows: the posterior so far becomes their prior.

        The rows are counted as new evidence; to go over the same data several times use `fit`. Rows that come sorted by
        class are learned badly: bring them in random order. A `UserWarning` says so once.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_steps, n_features)
            One row or more. A first call of 32 rows or more also fixes the set-up (centre, axes and scale of the
            inputs), so let it bring a representative batch; the rows of smaller ones are kept until there are enough.
        y : array-like of shape (n_samples,) or (n_samples, n_steps)
            Labels as in `fit`, all of them in ``classes``.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever occur; required in the first call.
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
            rows = self._enter(X, y, sample_weight, reset=first)
            self._check_stream_labels(rows, classes, first)
            self._learn_from_stream(rows, first)
            self._watch_order(rows)
        return self

    def predict(self, X):
        """Most probable class of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_steps, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_steps)
            With ``readout="each"`` that of every step, and after the end of a sample that of its last one.
        """
        log_probability = self._log_proba(X, "predict")
        best = position_of_largest(log_probability, axis=-1)
        if best.ndim == 2:  # of all steps
            best = with_last(best, (log_probability[..., 0] == log_probability[..., 0]).sum(axis=1))
        if isinstance(self.classes_, np.ndarray):
            return self.classes_[to_numpy(best)]
        return entries(self.classes_, best)

    def predict_proba(self, X):
        """Class probabilities, given that exactly one output neuron fires; one forward pass, no sampling.

        Neurons that fire by themselves do so with probability ``p_k``: that of class k is as ``p_k / (1 - p_k)``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_steps, n_features)

        Returns
        -------
        probability : ndarray of shape (n_samples, n_classes) or (n_samples, n_steps, n_classes)
            Columns in the order of ``classes_``. The second with ``readout="each"``, NaN after the end of a sample.
        """
        return exp(self._log_proba(X, "predict_proba"))

    def predict_log_proba(self, X):
        """Logarithm of `predict_proba`, in nats.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_steps, n_features)

        Returns
        -------
        log_probability : ndarray of shape (n_samples, n_classes) or (n_samples, n_steps, n_classes)
        """
        return self._log_proba(X, "predict_log_proba")

    def predict_uncertainty(self, X):
        """Entropy of the prediction and how much of it is due to not knowing the weights.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_steps, n_features)

        Returns
        -------
        uncertainty : Uncertainty
            Named tuple ``(total, aleatoric, epistemic)`` of arrays of shape (n_samples,), or (n_samples, n_steps) with
            ``readout="each"``, in nats: the entropy of `predict_proba`, the expected entropy if the weights were known,
            and their mutual information.
        """
        return self._spread(X, "predict_uncertainty", lambda spread: class_uncertainty(self.network_.output, spread))

    def _log_proba(self, X: Any, method: str) -> Array:
        """`predict_log_proba` for a method of that name."""
        return self._spread(X, method, lambda spread: class_log_probability(self.network_.output, spread))
