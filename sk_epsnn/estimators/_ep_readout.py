"""Fitted attributes that Expectation Propagation adds: levels, temperatures, counts."""

from __future__ import annotations

import numpy as np

from sk_epsnn._arrays import permute_dims
from sk_epsnn.ep.state import State
from sk_epsnn.estimators._readout import WeightReadout
from sk_epsnn.weights import LevelWeights


class EPReadout(WeightReadout):
    """What a network trained by Expectation Propagation lets others read."""

    def _fitted_state(self, attribute: str) -> State:
        return super()._fitted_state(attribute)

    @property
    def update_counts_(self) -> dict[str, int]:
        """How many updates were rejected, shortened or bounded; see `sk_epsnn.ep.sites.UpdateCounts`."""
        return self._fitted_state("update_counts_").counts.as_dict()

    @property
    def temperature_(self) -> np.ndarray:
        """Temperature of each layer of weights in training, shape (`n_layers_` - 1,)."""
        return np.array([layer.temperature for layer in self._fitted_state("temperature_").layers])

    @property
    def predictive_temperature_(self) -> np.ndarray:
        """Factor on the covariance of each layer of weights in predictions, shape (`n_layers_` - 1,)."""
        layers = self._fitted_state("predictive_temperature_").layers
        return np.array([layer.predictive_temperature for layer in layers])

    @property
    def recurrent_coefs_(self) -> list[np.ndarray | None]:
        """Posterior means of the weights between the neurons of each hidden layer, None where these have none.

        Of shape (n_units, n_units): from the traces of the neurons, to the neurons.
        """
        state, result = self._fitted_state("recurrent_coefs_"), []
        for index, weights in enumerate(state.moments("float64")[:-1]):
            columns = state.network.own_columns(index)
            result.append(None if columns is None else weights.mean[:, columns].T)
        return result

    @property
    def levels_(self) -> np.ndarray:
        """Levels of discrete weights, ascending, shape (n_levels,)."""
        return np.array(self._level_posteriors("levels_")[-1].levels) / self._progress.state.gain

    @property
    def readout_gain_(self) -> np.ndarray:
        """Factor between the levels and the last layer's discrete weights in `coefs_`, shape (n_outputs,)."""
        state = self._fitted_state("readout_gain_")
        if self._plan.trainer.design.grid is None:
            raise AttributeError("readout_gain_ exists for discrete weights only; set weights to Levels(values).")
        return state.gain * self._target_location_and_scale()[1]

    @property
    def coefs_probabilities_(self) -> list[np.ndarray]:
        """Posterior probabilities of the levels of discrete weights, arrays of shape (fan_in, n_units, n_levels)."""
        *hidden, last = [q.probabilities() for q in self._level_posteriors("coefs_probabilities_")]
        return [permute_dims(layer, (1, 0, 2)) for layer in (*hidden, self._with_targets(last))]

    @property
    def activation_probabilities_(self) -> list[np.ndarray]:
        """Posterior probabilities that a weight is not 0 under a spike-and-slab prior, shapes as `coefs_`."""
        state = self._fitted_state("activation_probabilities_")
        layers = state.layers
        if any(layer.rule is None or not layer.rule.prior.sparse for layer in layers):
            raise AttributeError(
                "activation_probabilities_ exists with a spike-and-slab prior only; set prior='bernoulli_gaussian'."
            )
        first, *others = [layer.activation_probability() for layer in layers]
        *hidden, last = state.network.basis.by_column(first), *others
        return [layer.T for layer in (*hidden, self._with_targets(last))]

    def _level_posteriors(self, attribute: str) -> list[LevelWeights]:
        posteriors = [layer.posterior for layer in self._fitted_state(attribute).layers]
        if not all(isinstance(q, LevelWeights) for q in posteriors):
            raise AttributeError(
                f"{attribute} exists for discrete weights only, before they are frozen; set weights to 'binary', "
                "'ternary' or Levels(values)."
            )
        return posteriors
