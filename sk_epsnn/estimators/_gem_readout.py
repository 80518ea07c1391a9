"""Fitted attributes of GEM-SNNs, read from the state that training has left."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError

from sk_epsnn.estimators._plan import Setting
from sk_epsnn.gem.network import SpikingNetwork
from sk_epsnn.training import Progress


class GEMReadout:
    """Attributes that end in an underscore."""

    _progress: Progress
    _plan: Any

    def _state(self, name: str) -> Any:
        if not hasattr(self, "_progress"):
            raise AttributeError(f"{name} exists after fit only.") from NotFittedError()
        return self._progress.state

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_progress")

    @property
    def network_(self) -> SpikingNetwork:
        """Structure of the network."""
        return self._state("network_").network

    @property
    def settings_(self) -> dict[str, Setting]:
        """What every parameter left at "auto" stood for, and why."""
        self._state("settings_")
        return dict(self._plan.settings)

    def _arrays_of(self, name: str, kind: str) -> list[np.ndarray | None]:
        state = self._state(name)
        return [state.weights.get(f"{kind}{layer}") for layer in range(state.network.n_layers)]

    @property
    def coefs_(self) -> list[np.ndarray]:
        """Weights of each layer, shapes (n_kernels, fan_in, n_units)."""
        return [array.transpose(0, 2, 1) for array in self._arrays_of("coefs_", "weights")]

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """Biases of each layer, shapes (n_units,)."""
        return self._arrays_of("intercepts_", "bias")

    @property
    def recurrent_coefs_(self) -> list[np.ndarray | None]:
        """Weights between neurons of each layer, shapes (n_kernels, n_units, n_units), None where there are none."""
        arrays = self._arrays_of("recurrent_coefs_", "recurrent")
        return [None if array is None else array.transpose(0, 2, 1) for array in arrays]

    @property
    def feedback_coefs_(self) -> list[np.ndarray | None]:
        """Weights of each neuron's own spikes, shapes (n_units,), None where neurons read none."""
        return self._arrays_of("feedback_coefs_", "feedback")

    @property
    def skip_coefs_(self) -> np.ndarray | None:
        """Weights from inputs to outputs, shape (n_kernels, n_features, n_outputs), or None."""
        array = self._state("skip_coefs_").weights.get("skip")
        return None if array is None else array.transpose(0, 2, 1)

    @property
    def history_(self) -> dict[str, list[float]]:
        """Bound on the log-likelihood during each pass, nats per sample, as "energy"; lengths of steps as "step"."""
        self._state("history_")
        return {name: list(values) for name, values in self._progress.history.items()}

    @property
    def log_likelihood_curve_(self) -> np.ndarray:
        """Bound on the log-likelihood of the targets during each pass, in nats per sample, one for each pass."""
        return np.array(self.history_["energy"])

    @property
    def n_iter_(self) -> int:
        """Passes over the data, or calls of `partial_fit`."""
        self._state("n_iter_")
        return self._progress.n_passes

    @property
    def n_layers_(self) -> int:
        """Layers, inputs included."""
        return self._state("n_layers_").network.n_layers + 1

    @property
    def n_outputs_(self) -> int:
        """Output neurons."""
        return self._state("n_outputs_").network.sizes[-1]

    @property
    def effective_sample_size_(self) -> float:
        """How many compartments count: ``1 / sum_k w_k^2`` of their weights, a mean over the last steps."""
        return float(self._state("effective_sample_size_").noted["effective_sample_size"])

    @property
    def spike_rates_(self) -> np.ndarray:
        """Spikes of each hidden layer per neuron and step in the last batches, shape (n_hidden_layers,)."""
        return self._state("spike_rates_").noted["spike_rates"].copy()

    @property
    def n_spikes_(self) -> float:
        """Hidden spikes per sample and step in training, those of all compartments together."""
        state = self._state("n_spikes_")
        return float(
            self._plan.trainer.rule.n_compartments * (self.spike_rates_ @ np.array(state.network.hidden, float))
        )

    @property
    def communication_(self) -> dict[str, int]:
        """Numbers that training sends per sample and step.

        "from_outputs" are those that outputs send to where the signals are made, "to_neurons" those that are sent from
        there to the neurons; nothing is sent to single synapses.
        """
        network = self._state("communication_").network
        return self._plan.trainer.rule.communication(sum(network.hidden), network.sizes[-1])
