"""Bayesian spiking neural network regressor."""

from __future__ import annotations

from numbers import Real

import numpy as np
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from sk_epsnn._compat import Interval, StrOptions, fit_context
from sk_epsnn.activations import GaussianOutput, Output
from sk_epsnn.estimators._base import BaseEPSNN, Uncertainty, _with_weight
from sk_epsnn.estimators._settings import REGRESSOR, AutoSettings
from sk_epsnn.numerics import Array
from sk_epsnn.sep import NoiseEvidence

#: Prior of a learned noise: this many pseudo-observations ...
_NOISE_PRIOR_MASS = 1.0
#: ... of this variance, in units of the target's variance.
_NOISE_START = 0.01


class EPSNNRegressor(MultiOutputMixin, RegressorMixin, BaseEPSNN):
    """DOC"""

    _parameter_constraints = {
        **BaseEPSNN._parameter_constraints,
        "noise_variance": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        hidden_layer_sizes=(),
        *,
        activation="heaviside",
        weight_type="continuous",
        prior="gaussian",
        prior_variance="auto",
        prior_anchor="auto",
        spectral_exponent="auto",
        input_rotation="auto",
        noise_variance="auto",
        schedule="newton",
        n_sweeps="auto",
        fit_intercept=True,
        batch_size="auto",
        max_iter=20,
        damping=0.7,
        power="auto",
        temperature="auto",
        tol=1e-3,
        shuffle=True,
        warm_start=False,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.weight_type = weight_type
        self.prior = prior
        self.prior_variance = prior_variance
        self.prior_anchor = prior_anchor
        self.spectral_exponent = spectral_exponent
        self.input_rotation = input_rotation
        self.noise_variance = noise_variance
        self.schedule = schedule
        self.n_sweeps = n_sweeps
        self.fit_intercept = fit_intercept
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.damping = damping
        self.power = power
        self.temperature = temperature
        self.tol = tol
        self.shuffle = shuffle
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
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
        with self._unchanged_on_error():
            X, y = self._validate_X_y(X, y, reset=not self._continuing)
            X, y, sample_weight = _with_weight(X, y, self._sample_weight(sample_weight, X))
            if not self._continuing:
                seen = slice(None) if self.shuffle else self._batches(len(y))[0]
                self._set_target(y, seen, sample_weight)
            self._fit_epochs(X, self._encode(y), sample_weight)
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
            X, y = self._validate_X_y(X, y, reset=first)
            sample_weight = self._sample_weight(sample_weight, X)
            if first:
                self._set_target(y, slice(None), sample_weight)
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
        mean, epistemic, aleatoric = self._moments(X)
        if not return_std:
            return mean
        return mean, np.sqrt(epistemic + aleatoric)

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
        _, epistemic, aleatoric = self._moments(X)
        return Uncertainty(epistemic + aleatoric, aleatoric, epistemic)

    @property
    def noise_variance_(self):
        """Variance of the observation noise in squared units of y: float, or array of shape (n_outputs,)."""
        variance = self._fitted_model("noise_variance_").network.output.noise_variance * self._y_scale**2
        return float(variance[0]) if self._single_output else variance

    # ------------------------------------------------------------------ internals

    def _moments(self, X) -> tuple[Array, Array, Array]:
        """Mean, epistemic and aleatoric variance in units of y."""
        check_is_fitted(self)
        spread = self._spread(X)
        dtype = spread.mean.dtype
        scale = self._y_scale
        noise = self._model.network.output.noise_variance
        parts = (
            spread.mean * scale + self._y_location,
            spread.epistemic * scale**2,
            (spread.aleatoric + noise) * scale**2,
        )
        mean, epistemic, aleatoric = ((p[:, 0] if self._single_output else p).astype(dtype) for p in parts)
        return mean, epistemic, aleatoric

    def _auto_settings(self, n_layers: int) -> AutoSettings:
        return REGRESSOR

    def _validate_X_y(self, X, y, *, reset):
        X, y = super()._validate_X_y(X, y, reset=reset)
        # Objects, None among them, become numbers here or not at all.
        return X, check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")

    def _set_target(self, y: np.ndarray, rows: slice, sample_weight: Array) -> None:
        """Location and scale of the targets; a prior given as a number is meant for targets as they are."""
        self._single_output = y.ndim == 1
        columns = y.reshape(len(y), -1)[rows]
        weight = sample_weight[rows]
        n_outputs = columns.shape[1]
        self._y_location, self._y_scale = np.zeros(n_outputs), np.ones(n_outputs)
        if isinstance(self.prior_variance, str):
            location = np.average(columns, axis=0, weights=weight)
            scale = np.sqrt(np.average((columns - location) ** 2, axis=0, weights=weight))
            # A constant target, or a first batch of one row, has no scale of its own.
            fallback = np.where(location != 0, np.abs(location), 1.0)
            self._y_scale = np.where(scale > 1e-12 * fallback, scale, fallback)
            if self.fit_intercept:
                self._y_location = location

    def _target_scale(self) -> tuple[Array, Array]:
        return self._y_location, self._y_scale

    def _encode(self, y: np.ndarray) -> Array:
        columns = y.reshape(len(y), -1)
        if columns.shape[1] != len(self._y_scale):
            raise ValueError(
                f"y has {columns.shape[1]} outputs, but the model was fitted with {len(self._y_scale)}; "
                "fit a new estimator for other targets."
            )
        return (columns - self._y_location) / self._y_scale

    def _output(self) -> Output:
        if isinstance(self.noise_variance, str):
            return GaussianOutput(self._first_noise().variance)
        return GaussianOutput(self.noise_variance / self._y_scale**2)

    def _first_noise(self) -> NoiseEvidence | None:
        if not isinstance(self.noise_variance, str):
            return None
        n_outputs = len(self._y_scale)
        return NoiseEvidence(_NOISE_PRIOR_MASS, _NOISE_PRIOR_MASS * _NOISE_START, 0.0, np.zeros(n_outputs))
