"""Fitted attributes: weights and biases as they act on raw inputs and targets. They depend on the fit alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from sk_epsnn._arrays import Array, zeros_like
from sk_epsnn.estimators._plan import Setting
from sk_epsnn.messages import InputSpace, WeightMoments
from sk_epsnn.network import Network


class WeightReadout:
    """What a fitted network lets others read, whatever trained it: weights, settings, history."""

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_progress")

    def _fitted_state(self, attribute: str) -> Any:
        """State of the trainer; without one the attribute does not exist."""
        if not hasattr(self, "_progress"):
            raise AttributeError(f"{type(self).__name__} is not fitted yet, so it has no {attribute!r}.")
        return self._progress.state

    @property
    def _offset(self) -> Array:
        """A fitted array, which says in what library and where all of them are."""
        return self._progress.state.network.basis.offset

    def _input_space(self, moments: list[WeightMoments]) -> list[InputSpace]:
        """Weights, biases and their variances per layer, in the space of the inputs and targets."""
        *hidden, last = self._unit_space(moments)
        last = InputSpace(*(self._with_targets(part) for part in last))
        location, scale = self._target_location_and_scale()
        squared = scale * scale
        last = InputSpace(
            last.coef * scale[:, None],
            last.intercept * scale + location,
            last.coef_variance * squared[:, None],
            last.intercept_variance * squared,
        )
        return [*hidden, last]

    def _unit_space(self, moments: list[WeightMoments]) -> list[InputSpace]:
        """Weights, biases and their variances per layer, in the space of the inputs and of the network's outputs."""
        state, result = self._progress.state, []
        for index, weights in enumerate(moments):
            mean, variance, covariance = weights.without(state.network.own_columns(index))
            if index == 0:
                parts = state.network.basis.to_inputs(mean, variance if covariance is None else covariance)
            elif state.network.constant:
                parts = mean[:, :-1], mean[:, -1], variance[:, :-1], variance[:, -1]
            else:
                none = zeros_like(mean[:, 0])
                parts = mean, none, variance, none
            result.append(InputSpace(*parts))
        return result

    def _with_targets(self, rows: Array) -> Array:
        """Of what there is for every unit of the last layer, one row each, that for the units that have targets."""
        return rows[: self._progress.state.network.n_targets, ...]

    def _posterior_space(self, attribute: str) -> list[InputSpace]:
        """Posterior means and variances, see `_input_space`."""
        return self._input_space(self._fitted_state(attribute).moments("float64"))

    def _mode_space(self, attribute: str) -> list[InputSpace]:
        """Most probable weights, see `_input_space`."""
        state = self._fitted_state(attribute)
        return self._input_space(self._plan.trainer.known(state, "mode").moments("float64"))

    @property
    def settings_(self) -> dict[str, Setting]:
        """What every parameter that was "auto" stood for in the fit, by its name: ``(value, reason)``."""
        choices = dict(getattr(self._fitted_state("settings_"), "choices", ()))
        settings = {name: self._plan.settings[name] for name in self._plan.automatic}
        return {name: setting._replace(value=choices.get(name, setting.value)) for name, setting in settings.items()}

    @property
    def network_(self) -> Network:
        """Layers, connections, neurons and outputs; without the weights."""
        return self._fitted_state("network_").network

    @property
    def n_layers_(self) -> int:
        """Number of layers, inputs included."""
        return len(self._fitted_state("n_layers_").network.connections) + 1

    @property
    def n_outputs_(self) -> int:
        """Number of output units."""
        return self._fitted_state("n_outputs_").network.n_targets

    @property
    def n_iter_(self) -> int:
        """Passes over the data, or calls of `partial_fit`."""
        self._fitted_state("n_iter_")
        return self._progress.n_passes

    @property
    def converged_(self) -> bool:
        """Whether the energy had settled within ``tol`` when training stopped."""
        self._fitted_state("converged_")
        return self._progress.converged

    @property
    def history_(self) -> dict[str, list[float]]:
        """Course of training, see the class."""
        self._fitted_state("history_")
        return {name: list(values) for name, values in self._progress.history.items()}

    @property
    def leak_(self) -> np.ndarray:
        """Leak of the traces that each layer of weights reads where X has steps, shape (`n_layers_` - 1,)."""
        network = self._fitted_state("leak_").network
        if not network.has_steps:
            raise AttributeError("leak_ exists where X has steps in time only: shape (n_samples, n_steps, n_features).")
        return np.array([connection.leak for connection in network.connections])

    @property
    def coefs_(self) -> list[np.ndarray]:
        """Posterior means of the weights, a list of arrays of shape (fan_in, n_units)."""
        return [layer.coef.T for layer in self._posterior_space("coefs_")]

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """Posterior means of the biases, a list of arrays of shape (n_units,)."""
        return [layer.intercept for layer in self._posterior_space("intercepts_")]

    @property
    def coefs_variance_(self) -> list[np.ndarray]:
        """Posterior variances of the weights, shapes as `coefs_`."""
        return [layer.coef_variance.T for layer in self._posterior_space("coefs_variance_")]

    @property
    def intercepts_variance_(self) -> list[np.ndarray]:
        """Posterior variances of the biases, shapes as `intercepts_`."""
        return [layer.intercept_variance for layer in self._posterior_space("intercepts_variance_")]

    @property
    def map_coefs_(self) -> list[np.ndarray]:
        """Most probable weights, shapes as `coefs_`: levels where weights are discrete, else the posterior means."""
        return [layer.coef.T for layer in self._mode_space("map_coefs_")]

    @property
    def map_intercepts_(self) -> list[np.ndarray]:
        """Biases that go with `map_coefs_`, shapes as `intercepts_`."""
        return [layer.intercept for layer in self._mode_space("map_intercepts_")]

    @property
    def coef_(self) -> np.ndarray:
        """Posterior means of the weights of a single layer, in the shape of scikit-learn's linear models."""
        coef = self._single_layer("coef_").coef
        return coef[0, :] if self._vector_target() else coef

    @property
    def intercept_(self) -> Any:
        """Posterior means of the biases of a single layer, in the shape of scikit-learn's linear models."""
        intercept = self._single_layer("intercept_").intercept
        return float(intercept[0]) if self._vector_target() else intercept

    def _single_layer(self, attribute: str) -> InputSpace:
        """The only layer; with hidden layers the attribute does not exist."""
        if len(self._fitted_state(attribute).network.connections) > 1:
            raise AttributeError(
                f"{attribute} exists without hidden layers only; coefs_ has the weights of each layer."
            )
        return self._posterior_space(attribute)[0]
