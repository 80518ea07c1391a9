"""Spiking Bayesian neural network classifier trained by gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin

from sk_epsnn._arrays import (
    Array,
    clip,
    entries,
    exp,
    log,
    maximum,
    position_of_largest,
    smallest_normal,
    sum_over,
    to_numpy,
    where,
)
from sk_epsnn._rollback import unchanged_on_error
from sk_epsnn._sklearn import StrOptions, fit_context, validate_parameters, with_callbacks
from sk_epsnn.estimators._labels import Labels
from sk_epsnn.estimators._sbnn_base import BaseSBNN
from sk_epsnn.estimators._uncertainty import Uncertainty, class_log_probability, class_uncertainty
from sk_epsnn.messages import Spread
from sk_epsnn.outputs import SpikingOutput


class SBNNClassifier(Labels, ClassifierMixin, BaseSBNN):
    """Spiking Bayesian neural network trained by variational inference with straight-through gradients.

    Weights are uncertain, and it is their noise that makes spikes random: the expected loss then has a gradient, which
    importance-weighted straight-through estimates follow [1]_. Where there are no streams and no steps in time one
    forward pass of moments predicts; otherwise whole networks are drawn.

    Parameters
    ----------
    hidden_layer_sizes : int, Convolution or array-like of them, default=(100,)
        Number of neurons in each hidden layer, or `Convolution` objects that read images.
    activation : {"heaviside", "lif"}, LIF or list of them, default="heaviside"
        Hidden neurons fire when their potential is not negative; `LIF` has a leak, where X has steps in time. Those
        of an SBNN have no reset, read none of their own layer, and there is one target for a sample.
    weights : {"continuous", "binary"}, default="continuous"
        Values that weights may take: any, or -1 and 1 times a factor that the last layer learns. Biases are always
        continuous.
    prior : "gaussian" or GaussianPrior, default="gaussian"
        Prior of continuous weights. Its variance, in each layer, is the one that fits the posterior best, if it is not
        given as a number, in units of the inverse fan-in.
    inference : {"rao", "straight_through", "reinmax", "concrete", "surrogate"} or an object, default="rao"
        Estimate of gradients. `Rao`, `StraightThrough`, `ReinMax`, `Concrete` and `Surrogate` set options, which a grid
        search reaches as ``inference__temperature`` and so on. "surrogate" has no noise and no posterior, for
        comparison.
    residual : "auto" or bool, default="auto"
        Whether the layers after the second read, of every neuron below, the sum of its spikes and of those of its
        column in all hidden layers before: streams, along which gradients pass. "auto": with three hidden layers of one
        width or more, of rows.
    n_draws : "auto" or int, default="auto"
        Networks that predictions are made from, the same ones for all rows; 0 is one pass of moments. "auto" is 0, or
        30 with streams or hidden neurons over steps, whose spikes hang together.
    batch_size : "auto" or int, default="auto"
        Rows per batch, at most. "auto" is 100.
    max_iter : int or None, default=None
        Passes over the data in `fit`. None is as many as make about 2,000 steps, but from 20 to 400.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, multiplied into ``sample_weight``. "balanced" cannot be used with `partial_fit`.
    warm_start : bool, default=False
        Continue from the last fit instead of starting anew. Parameters that say what the network is cannot change.
    random_state : int, RandomState instance or None, default=None
        Seeds the random start, the order of the rows, and all noise.
    verbose : int or bool, default=0
        Print the bound after each pass.

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
        of the raw inputs.
    coefs_variance_, intercepts_variance_ : list of ndarray
        Posterior variances in the same shapes.
    coef_, intercept_ : ndarray
        The same means without hidden layers, in the shapes of scikit-learn's linear models.
    map_coefs_, map_intercepts_ : list of ndarray
        Most probable weights and biases, in the same shapes; see `freeze`.
    elbo_ : float
        Evidence lower bound per unit of weight, in nats; ``elbo_curve_`` has what training raised after each pass.
    gradient_bias_ : ndarray of shape (`n_layers_` - 2,)
        Variance that spikes give to a potential over that from the weights: what makes gradients biased.
    spike_rates_ : ndarray of shape (`n_layers_` - 2,)
        Spikes of each hidden layer per neuron.
    signal_gain_ : ndarray of shape (`n_layers_` - 2,)
        How gradients grow from a layer to the one below: near 1 they neither die nor explode.
    history_ : dict of lists
        "energy": what training raises, per unit of weight, after each pass; "step": length of each step.
    network_ : Network
        Layers, connections and outputs, without the weights.
    n_iter_, n_layers_, n_outputs_ : int
        Passes over the data, or calls of `partial_fit`; number of layers, inputs included, and of output units.

    See Also
    --------
    SBNNRegressor : The same networks for real targets.
    EPSNNClassifier : Networks with uncertain weights, trained without gradients and without sampling.
    GEMSNNClassifier : Networks of random neurons over time.

    Notes
    -----
    A row of weight 2 is one draw of spikes that counts twice, two rows are two draws: results differ a little.

    References
    ----------
    .. [1] J. A. Walker, M. Khajehnejad, A. Razi, "A principled Bayesian framework for training binary and spiking
       neural networks", arXiv:2505.17962, 2025.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from sk_epsnn import SBNNClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> clf = SBNNClassifier(random_state=0).fit(X_train, y_train)
    >>> bool(clf.score(X_test, y_test) > 0.95)
    True
    >>> clf.predict_proba(X_test).shape
    (450, 10)
    """

    _task = "classifier"
    _parameter_constraints = {
        **BaseSBNN._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        hidden_layer_sizes=(100,),
        *,
        activation="heaviside",
        weights="continuous",
        prior="gaussian",
        inference="rao",
        residual="auto",
        n_draws="auto",
        batch_size="auto",
        max_iter=None,
        class_weight=None,
        warm_start=False,
        random_state=None,
        verbose=0,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.weights = weights
        self.prior = prior
        self.inference = inference
        self.residual = residual
        self.n_draws = n_draws
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(self, X, y, sample_weight=None, start=None):
        """Train the network, from random weights (or from those of the last fit, with ``warm_start``).

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_steps, n_features)
            Spikes, rates or any finite real features. Of a sample that is shorter, NaN in all features after its end.
        y : array-like of shape (n_samples,)
            Labels of any type, at least two classes.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative powers of the likelihood of each row; 0 leaves it out.
        start : EPSNNClassifier or SBNNClassifier, default=None
            A fitted network with the same features and hidden_layer_sizes, and classes: training begins at its
            posterior. None begins at random.

        Returns
        -------
        self : object
        """
        self._fit(X, y, sample_weight, start)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Update the posterior with one batch of new rows: the posterior so far becomes their prior.

        About a hundred steps are made over these rows. They count as new evidence; to go over the same data several
        times use `fit`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_steps, n_features)
            One row or more. A first call of 32 rows or more also fixes the set-up (centre, axes and scale of the
            inputs), so let it bring a representative batch; the rows of smaller ones are kept until there are enough.
        y : array-like of shape (n_samples,)
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
        y : ndarray of shape (n_samples,)
        """
        best = position_of_largest(self._log_proba(X, "predict"), axis=-1)
        if isinstance(self.classes_, np.ndarray):
            return self.classes_[to_numpy(best)]
        return entries(self.classes_, best)

    def predict_proba(self, X):
        """Class probabilities, the mean over the posterior.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_steps, n_features)

        Returns
        -------
        probability : ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        return exp(self._log_proba(X, "predict_proba"))

    def predict_log_proba(self, X):
        """Logarithm of `predict_proba`, in nats.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_steps, n_features)

        Returns
        -------
        log_probability : ndarray of shape (n_samples, n_classes)
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
            Named tuple ``(total, aleatoric, epistemic)`` of arrays of shape (n_samples,), in nats: the entropy of
            `predict_proba`, the expected entropy if the weights were known, and their mutual information.
        """
        output, spreads = self._output(), self._spreads(X, "predict_uncertainty")
        if len(spreads) == 1:
            return class_uncertainty(output, spreads[0])
        probability = exp(mean_log_probability(output, spreads))
        surprise = log(clip(probability, min=smallest_normal(probability)))
        total = -sum_over(probability * surprise, axis=1)
        inner = sum(class_uncertainty(output, spread).aleatoric for spread in spreads) / len(spreads)
        aleatoric = where(inner < total, inner, total)
        return Uncertainty(total, aleatoric, total - aleatoric)

    def _log_proba(self, X: Any, method: str) -> Array:
        """`predict_log_proba` for a method of that name."""
        return mean_log_probability(self._output(), self._spreads(X, method))

    def _output(self) -> Any:
        return self._progress.state.network.output if hasattr(self, "_progress") else None


def mean_log_probability(output: SpikingOutput, spreads: Sequence[Spread]) -> Array:
    """Logarithm of the mean of class probabilities over networks."""
    each = [class_log_probability(output, spread) for spread in spreads]
    if len(each) == 1:
        return each[0]
    top = each[0]
    for other in each[1:]:
        top = maximum(top, other)
    return top + log(sum(exp(other - top) for other in each) / len(each))
