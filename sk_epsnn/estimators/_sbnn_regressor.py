"""Spiking Bayesian neural network regressor trained by gradients."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import MultiOutputMixin, RegressorMixin

from sk_epsnn._arrays import Array, astype, sqrt, to_numpy
from sk_epsnn._rollback import unchanged_on_error
from sk_epsnn._sklearn import Interval, StrOptions, fit_context, validate_parameters, with_callbacks
from sk_epsnn.course import Rows
from sk_epsnn.estimators._door import refuse_huge
from sk_epsnn.estimators._sbnn_base import BaseSBNN, mixed
from sk_epsnn.estimators._targets import TargetScale, check_numbers
from sk_epsnn.estimators._uncertainty import Uncertainty


class SBNNRegressor(MultiOutputMixin, RegressorMixin, BaseSBNN):
    """Spiking Bayesian neural network for real targets, trained with straight-through gradients.

    Weights are uncertain, and it is their noise that makes spikes random: the expected loss then has a gradient, which
    importance-weighted straight-through estimates follow [1]_. Where there are no streams and no steps in time one
    forward pass of moments predicts; otherwise whole networks are drawn.

    Parameters
    ----------
    hidden_layer_sizes : int, Convolution or array-like of them, default=(100,)
        Number of neurons in each hidden layer, or `Convolution` objects that read images.
    activation : {"heaviside", "lif"}, LIF or list of them, default="heaviside"
        Hidden neurons, see `SBNNClassifier`.
    weights : {"continuous", "binary"}, default="continuous"
        Values that weights may take: any, or -1 and 1 times a factor that the last layer learns. Biases are always
        continuous.
    prior : "gaussian" or GaussianPrior, default="gaussian"
        Prior of continuous weights, see `SBNNClassifier`.
    noise_variance : "auto" or float, default="auto"
        Variance of the observation noise, in squared units of y. "auto" learns it, one for each output.
    inference : {"rao", "straight_through", "reinmax", "concrete", "surrogate"} or an object, default="rao"
        Estimate of gradients, see `SBNNClassifier`.
    residual : "auto" or bool, default="auto"
        Whether deep layers read streams, see `SBNNClassifier`.
    n_draws : "auto" or int, default="auto"
        Networks that predictions are made from, see `SBNNClassifier`.
    batch_size : "auto" or int, default="auto"
        Rows per batch, at most. "auto" is 100.
    max_iter : int or None, default=None
        Passes over the data in `fit`. None is as many as make about 2,000 steps, but from 20 to 400.
    warm_start : bool, default=False
        Continue from the last fit instead of starting anew. Parameters that say what the network is cannot change.
    random_state : int, RandomState instance or None, default=None
        Seeds the random start, the order of the rows, and all noise.
    verbose : int or bool, default=0
        Print the bound after each pass.

    Attributes
    ----------
    noise_variance_ : float or ndarray of shape (n_outputs,)
        Variance of the observation noise, in squared units of y.
    settings_ : dict
        What every parameter left at "auto" stood for in the fit, by its name: ``(value, reason)``.
    n_features_in_, n_steps_in_ : int
        Number of features, and of steps in time, where X has them: NaN says that a sample has ended.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X had string column names.
    coefs_, intercepts_, coefs_variance_, intercepts_variance_ : list of ndarray
        Posterior means and variances of weights and biases, in the space of the raw inputs and targets.
    coef_, intercept_, map_coefs_, map_intercepts_ : ndarray or list of ndarray
    elbo_, elbo_curve_, gradient_bias_, spike_rates_, signal_gain_, history_, network_ : object
    n_iter_, n_layers_, n_outputs_ : int
        See `SBNNClassifier`.

    See Also
    --------
    SBNNClassifier : The same networks for labels.
    EPSNNRegressor : Networks with uncertain weights, trained without gradients and without sampling.

    References
    ----------
    .. [1] J. A. Walker, M. Khajehnejad, A. Razi, "A principled Bayesian framework for training binary and spiking
       neural networks", arXiv:2505.17962, 2025.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_epsnn import SBNNRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-3, 3, (300, 1))
    >>> y = np.sin(X[:, 0]) + 0.1 * rng.standard_normal(300)
    >>> model = SBNNRegressor(random_state=0).fit(X, y)
    >>> mean, std = model.predict(X, return_std=True)
    >>> bool(np.sqrt(np.mean((mean - np.sin(X[:, 0])) ** 2)) < 0.15)
    True
    """

    _task = "regressor"
    _has_several = True
    _parameter_constraints = {
        **BaseSBNN._parameter_constraints,
        "noise_variance": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        hidden_layer_sizes=(100,),
        *,
        activation="heaviside",
        weights="continuous",
        prior="gaussian",
        noise_variance="auto",
        inference="rao",
        residual="auto",
        n_draws="auto",
        batch_size="auto",
        max_iter=None,
        warm_start=False,
        random_state=None,
        verbose=0,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.weights = weights
        self.prior = prior
        self.noise_variance = noise_variance
        self.inference = inference
        self.residual = residual
        self.n_draws = n_draws
        self.batch_size = batch_size
        self.max_iter = max_iter
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
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Real targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative powers of the likelihood of each row; 0 leaves it out.
        start : EPSNNRegressor or SBNNRegressor, default=None
            A fitted network with the same features and hidden_layer_sizes: training begins at its
            posterior. None begins at random.

        Returns
        -------
        self : object
        """
        self._fit(X, y, sample_weight, start)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Update the posterior with one batch of new rows: the posterior so far becomes their prior.

        About a hundred steps are made over these rows. They count as new evidence; to go over the same data several
        times use `fit`.

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
            Also return the standard deviation of a new observation: weights and noise together.

        Returns
        -------
        y_mean : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        y_std : ndarray like ``y_mean``
            In units of y; only if ``return_std``.
        """
        mean, epistemic, aleatoric = self._moments(X, "predict")
        return (mean, sqrt(epistemic + aleatoric)) if return_std else mean

    def predict_uncertainty(self, X):
        """Predictive variance and its parts.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_steps, n_features)

        Returns
        -------
        uncertainty : Uncertainty
            Named tuple ``(total, aleatoric, epistemic)`` of variances in squared units of y, each of the shape that
            `predict` gives: aleatoric is observation noise, epistemic what comes from not knowing the weights.
        """
        _, epistemic, aleatoric = self._moments(X, "predict_uncertainty")
        return Uncertainty(epistemic + aleatoric, aleatoric, epistemic)

    @property
    def noise_variance_(self):
        """Variance of the observation noise in squared units of y: float, or array of shape (n_outputs,)."""
        output = self._fitted_state("noise_variance_").network.output
        variance = output.noise_variance * self._targets.scale**2
        return float(variance[0]) if self._targets.single else to_numpy(variance)

    # ------------------------------------------------------------------ targets

    def _moments(self, X: Any, method: str) -> tuple[Array, Array, Array]:
        """Mean, epistemic and aleatoric variance in units of y, for a method of that name."""
        spread = mixed(self._spreads(X, method))
        dtype, location, scale = spread.mean.dtype, self._targets.location, self._targets.scale
        noise = self._progress.state.network.output.noise_variance
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

    def _begin_fit(self, rows: Rows, continuing: bool) -> None:
        """Real targets have nothing to be found before the plan is made."""

    def _set_targets(self, rows: Rows) -> None:
        self._targets = TargetScale.of(*rows.known(), rows.X, standardise=self._plan.standardise, shift=True)

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
