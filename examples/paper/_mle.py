"""Maximum-likelihood baseline: the same spiking networks in snnTorch, trained by Adam and stopped early.

As in the paper, training stops where the *test* loss is lowest, which flatters the baseline. Needs the extra:
``pip install "sk_epsnn[benchmark]"``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from _shared import Arrays, Measures, Split

LEARNING_RATE = 1e-3
BATCH = 100
#: Training stops after this many epochs, or this many without a lower test loss.
MAX_EPOCHS, PATIENCE = 1000, 50


class Fit(NamedTuple):
    """The best state of a network, with the losses of every epoch."""

    train: np.ndarray
    test: np.ndarray
    weights: list[np.ndarray]
    train_losses: list[float]
    test_losses: list[float]


def import_torch() -> tuple[Any, Any]:
    """The modules torch and snntorch, or an error that says how to get them."""
    try:
        import snntorch
        import torch
    except ImportError as error:
        raise SystemExit(f'{error}. The baseline needs the extra: pip install "sk_epsnn[benchmark]"') from error
    return torch, snntorch


def classify(data: Arrays, hidden: Sequence[int], seed: int) -> tuple[Split, Fit]:
    """Accuracy, binary cross entropy and NLL of a classifier with ten outputs, on training and test rows."""
    torch, _ = import_torch()
    X, y, X_test, y_test = data
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    targets = [np.eye(10, dtype=np.float32)[labels] for labels in (y, y_test)]
    fit = _train((X, targets[0], X_test, targets[1]), [X.shape[1], *hidden, 10], loss, seed)
    return Split(_classifier_measures(fit.train, y), _classifier_measures(fit.test, y_test)), fit


def regress(data: Arrays, hidden: Sequence[int], seed: int) -> tuple[Split, Fit]:
    """Mean squared error of a regressor with one output, on training and test rows."""
    torch, _ = import_torch()
    X, y, X_test, y_test = (np.asarray(array, np.float32) for array in data)
    arrays = X, y[:, None], X_test, y_test[:, None]
    fit = _train(arrays, [X.shape[1], *hidden, 1], torch.nn.functional.mse_loss, seed)
    pairs = (fit.train, y), (fit.test, y_test)
    return Split(*({"MSE": float(np.mean((mean[:, 0] - target) ** 2))} for mean, target in pairs)), fit


def _train(arrays: Arrays, widths: Sequence[int], loss: Any, seed: int) -> Fit:
    """Adam on the mean loss of batches; outputs, weights and biases where the test loss was lowest."""
    torch, snntorch = import_torch()
    torch.manual_seed(seed)
    X, target, X_test, target_test = (torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in arrays)
    linears = [torch.nn.Linear(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True)]
    # A single time step; a hidden neuron fires where its membrane potential is above 0.
    neuron = snntorch.Leaky(beta=0.0, threshold=0.0)
    network = torch.nn.ModuleList(linears)

    def potentials(rows: Any) -> Any:
        for linear in linears[:-1]:
            rows, _ = neuron(linear(rows), neuron.init_leaky())
        return linears[-1](rows)

    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    best, losses, losses_test = None, [], []
    for epoch in range(MAX_EPOCHS):
        for rows in torch.randperm(len(X)).split(BATCH):
            optimizer.zero_grad()
            loss(potentials(X[rows]), target[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            outputs = potentials(X), potentials(X_test)
            losses.append(float(loss(outputs[0], target)))
            losses_test.append(float(loss(outputs[1], target_test)))
            if losses_test[-1] == min(losses_test):
                weights = [part.numpy().copy() for linear in linears for part in linear.parameters()]
                best = epoch, [output.numpy() for output in outputs], weights
        if epoch - best[0] >= PATIENCE:
            break
    return Fit(*best[1], best[2], losses, losses_test)


def _classifier_measures(logits: np.ndarray, y: np.ndarray) -> Measures:
    """With known weights PeBCE is the binary cross entropy, and the classes have the softmax of the potentials."""
    logits = logits.astype(np.float64)
    rows = np.arange(len(y))
    signs = np.where(y[:, None] == np.arange(10), 1.0, -1.0)
    log_probability = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return {
        "accuracy": float((logits.argmax(1) == y).mean()),
        "PeBCE": float(np.logaddexp(0, -signs * logits).mean()),
        "NLL": -float(log_probability[rows, y].mean()),
    }
