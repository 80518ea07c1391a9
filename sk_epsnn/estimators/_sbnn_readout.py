"""Fitted attributes of SBNNs, read from the state that training has left."""

from __future__ import annotations

import numpy as np

from sk_epsnn._arrays import total_of
from sk_epsnn.estimators._readout import WeightReadout


class SBNNReadout(WeightReadout):
    """What variational inference adds to the weights: the bound, and how signals and gradients fare."""

    @property
    def elbo_(self) -> float:
        """Evidence lower bound per unit of weight at the end of training, in nats: at temperature 1.

        The expected log-likelihood is a running mean over the last batches.
        """
        state = self._fitted_state("elbo_")
        return float(state.noted["log_likelihood"][0] - state.divergence() / state.mass)

    @property
    def elbo_curve_(self) -> np.ndarray:
        """What training raises, after each pass, in nats per unit of weight: the bound at the temperature of training.

        One for each pass.
        """
        return np.array(self.history_["energy"])

    @property
    def gradient_bias_(self) -> np.ndarray:
        """What makes gradients biased, for every layer that reads spikes, shape (`n_layers_` - 2,).

        The variance that spikes give to a potential over that from the noise of the weights, mean over units and over
        the last batches: biases of straight-through gradients are about proportional to it. Infinite without noise.
        """
        return np.array(self._fitted_state("gradient_bias_").noted["gradient_bias"])

    @property
    def spike_rates_(self) -> np.ndarray:
        """Spikes of each hidden layer per neuron, and step if there are any, in the last batches; one for each."""
        return np.array(self._fitted_state("spike_rates_").noted["spike_rates"])

    @property
    def signal_gain_(self) -> np.ndarray:
        """How the mean square of gradients grows from a layer to the one below, by its weights; (`n_layers_` - 2,).

        ``r / (pi sqrt(1 + r))`` with the mean square r of the means over the mean variance: 1 at r = 10.8, below it
        signals die on their way down, above it they grow. It is that of neurons that fire half of the time, without a
        stream. Infinite without noise.
        """
        gains = []
        for weights in self._fitted_state("signal_gain_").trained()[1:]:
            if weights.variance is None:
                gains.append(np.inf)
                continue
            ratio = total_of(weights.mean[:, :-1] ** 2) / total_of(weights.variance[:, :-1])
            gains.append(ratio / (np.pi * np.sqrt(1 + ratio)))
        return np.array(gains)
