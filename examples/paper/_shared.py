"""What the reproduction shares with the benchmarks: data, metrics, command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

from _common import SEEDS, Arrays, Measures, nll, pebce, spiking_mnist  # noqa: E402
from regression import TASKS, coded_rows, encoder_of, rows_of  # noqa: E402

from sk_epsnn import EPSNNClassifier, PopulationEncoder  # noqa: E402

__all__ = ["SEEDS", "Arrays", "Measures", "spiking_mnist"]

DOCS = Path(__file__).resolve().parents[2] / "docs"
#: The regression tasks by their names in the paper.
DATASETS = dict(zip(("D1", "D2", "D3"), (task for task, _ in TASKS.values()), strict=False))


class Split(NamedTuple):
    """Measures on training and on test rows."""

    train: Measures
    test: Measures


def encoder(dataset: str, seed: int, width: float | str = "auto") -> PopulationEncoder:
    """The population code of a regression task."""
    return encoder_of(DATASETS[dataset], seed, width=width)


def regression_data(dataset: str, seed: int) -> Arrays:
    """Training and test rows of a regression task, not coded."""
    return rows_of(DATASETS[dataset], seed)


def coded(dataset: str, seed: int, width: float | str = "auto") -> Arrays:
    """The same through the population code."""
    return coded_rows(DATASETS[dataset], seed, width=width)


def classifier(**parameters: Any) -> EPSNNClassifier:
    """The paper's classifier: outputs that fire each by itself, unless others are given."""
    return EPSNNClassifier(**{"output_activation": "sigmoid", **parameters})


def classification(model: BaseEstimator, data: Arrays) -> Split:
    """Accuracy, PeBCE and NLL of a fitted classifier."""

    def measures(X: np.ndarray, y: np.ndarray) -> Measures:
        log_probability = model.predict_log_proba(X)
        index = np.searchsorted(model.classes_, y)
        accuracy = float((log_probability.argmax(1) == index).mean())
        return {"accuracy": accuracy, "PeBCE": pebce(model, X, index), "NLL": nll(log_probability, index)}

    return Split(measures(*data[:2]), measures(*data[2:]))


def regression(model: BaseEstimator, data: Arrays) -> Split:
    """Mean squared error of a fitted regressor."""
    pairs: list[tuple[Any, Any]] = [data[:2], data[2:]]
    return Split(*({"MSE": float(np.mean((model.predict(X) - y) ** 2))} for X, y in pairs))
