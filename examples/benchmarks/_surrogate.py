"""Spiking networks over time by surrogate gradients, as classifiers: snnTorch's Leaky and RLeaky neurons.

A hidden layer with fast-sigmoid surrogate gradients, subtractive reset and a learned leak; the outputs are the mean
over the steps of leaky membranes that do not fire. Adam on batches of 64; the rate and the number of epochs are those
that predict 15 % of the training rows best.
"""

from __future__ import annotations

import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

sys.path.append(str(Path(__file__).resolve().parents[1] / "paper"))

from _mle import import_torch  # noqa: E402

BATCH, MOST_EPOCHS, PATIENCE, RATES, VALIDATION = 64, 60, 10, (2e-3, 1e-2), 0.15


class SurrogateClassifier:
    """A network of Leaky, or RLeaky, neurons.

    Parameters
    ----------
    n_hidden : int
    recurrent : bool
    seed : int
    """

    def __init__(self, n_hidden: int, recurrent: bool, seed: int):
        self.n_hidden, self.recurrent, self.seed = n_hidden, recurrent, seed

    def fit(self, X: np.ndarray, y: np.ndarray) -> SurrogateClassifier:
        """Train at every rate, and keep the network that predicts the held-out rows best."""
        torch, _ = import_torch()
        self.classes_, index = np.unique(y, return_inverse=True)
        train, judges = train_test_split(np.arange(len(y)), test_size=VALIDATION, stratify=y, random_state=self.seed)
        signals, labels = torch.from_numpy(np.nan_to_num(X).astype(np.float32)), torch.from_numpy(index)
        found = [self._trained(rate, signals, labels, train, judges) for rate in RATES]
        self.network_ = min(found, key=lambda one: one[0])[1]
        return self

    def _trained(self, rate: float, X: Any, y: Any, train: np.ndarray, judges: np.ndarray) -> tuple[float, Any]:
        """Loss on the judges, and the network of the epoch in which it was least."""
        torch, _ = import_torch()
        torch.manual_seed(self.seed)
        network = _network(X.shape[2], self.n_hidden, len(self.classes_), self.recurrent)
        adam, loss = torch.optim.Adam(network.parameters(), rate), torch.nn.CrossEntropyLoss()
        best, last = (np.inf, network), 0
        order = np.random.default_rng(self.seed)
        for epoch in range(MOST_EPOCHS):
            for rows in np.array_split(order.permutation(train), -(-len(train) // BATCH)):
                adam.zero_grad()
                loss(network(X[rows]), y[rows]).backward()
                adam.step()
            with torch.no_grad():
                judged = float(loss(network(X[judges]), y[judges]))
            if judged < best[0]:
                best, last = (judged, deepcopy(network)), epoch
            if epoch - last >= PATIENCE:
                break
        return best

    def predict_log_proba(self, X: np.ndarray) -> np.ndarray:
        """Logarithms of the probabilities of the classes, shape (n_samples, n_classes)."""
        torch, _ = import_torch()
        with torch.no_grad():
            potentials = self.network_(torch.from_numpy(np.nan_to_num(X).astype(np.float32)))
            return torch.log_softmax(potentials.double(), 1).numpy()


def _network(n_features: int, n_hidden: int, n_classes: int, recurrent: bool) -> Any:
    torch, snn = import_torch()
    options = {"beta": 0.9, "learn_beta": True, "spike_grad": snn.surrogate.fast_sigmoid()}
    hidden = snn.RLeaky(linear_features=n_hidden, **options) if recurrent else snn.Leaky(**options)
    outputs = snn.Leaky(beta=0.9, learn_beta=True, reset_mechanism="none")

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = torch.nn.Linear(n_features, n_hidden), torch.nn.Linear(n_hidden, n_classes)
            self.hidden, self.outputs = hidden, outputs

        def forward(self, X: Any) -> Any:
            currents, membranes = self.first(X), []
            spikes, membrane = torch.zeros(len(X), n_hidden), torch.zeros(len(X), n_hidden)
            output = torch.zeros(len(X), n_classes)
            for step in range(X.shape[1]):
                past = (spikes, membrane) if recurrent else (membrane,)
                spikes, membrane = self.hidden(currents[:, step], *past)
                _, output = self.outputs(self.last(spikes), output)
                membranes.append(output)
            return torch.stack(membranes).mean(0)

    return Network()
