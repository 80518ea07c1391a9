"""Classifiers on one split of the rows or more for each seed, as the benchmarks of the three principles share them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from time import process_time
from typing import Any

import numpy as np
from _common import Arrays, Measures, classifier_measures
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold

#: Training and test rows of every split of a seed.
Data = Callable[[int], Iterable[Arrays]]


def one(data: Callable[[int], Arrays]) -> Data:
    """A single split for each seed."""
    return lambda seed: [data(seed)]


def digits_folds(seed: int) -> Iterable[Arrays]:
    """Five folds of the digits, as rates."""
    X, y = load_digits(return_X_y=True)
    for train, test in StratifiedKFold(5, shuffle=True, random_state=seed).split(X, y):
        yield X[train] / 16, y[train], X[test] / 16, y[test]


def fitted(model: Any, X: np.ndarray, y: np.ndarray) -> Any:
    """Trained on all rows."""
    return model.fit(X, y)


def measured(
    data: Data, train: Callable[..., Any], make: Callable[..., Any], options: Mapping[str, Any]
) -> Callable[[int, int], Measures]:
    """Function that gives means over the splits of a seed; CPU seconds are those of training."""

    def run(seed: int, start: int) -> Measures:
        every = []
        for X, y, X_test, y_test in data(seed):
            began = process_time()
            model = train(make(random_state=start, **options), X, y)
            seconds = process_time() - began
            every.append({**classifier_measures(model, X_test, y_test), "CPU seconds": seconds})
        return {name: float(np.mean([measures[name] for measures in every])) for name in every[0]}

    return run
