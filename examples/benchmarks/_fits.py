"""Default fits: CPU seconds, quality and how the time grows; see `speed.py`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from time import process_time
from typing import Any

import numpy as np
from _common import (
    Arrays,
    Bar,
    Measures,
    Row,
    classifier_measures,
    mnist_rates,
    regressor_measures,
    spiking_mnist,
    verdict,
)
from sklearn.datasets import load_digits, make_classification, make_friedman1
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

from sk_epsnn import EPSNNClassifier, EPSNNRegressor, Newton


def cpu_seconds(work: Callable[[], Any]) -> float:
    """CPU seconds of a piece of work."""
    began = process_time()
    work()
    return process_time() - began


def note(name: str, seed: int, measures: Measures) -> None:
    """Say how far the benchmark is."""
    figures = "  ".join(f"{what} {value:.4g}" for what, value in measures.items())
    print(f"# {name}, seed {seed}: {figures}", file=sys.stderr, flush=True)


def median_rows(name: str, bars: Sequence[Bar], runs: Sequence[Measures]) -> list[Row]:
    """A line for each measure: its median over the seeds, and the bar if there is one."""
    rows, bar_of = [], {bar.measure: bar for bar in bars}
    for measure in runs[0]:
        value, bar = median(run[measure] for run in runs), bar_of.get(measure)
        judged = "" if bar is None else verdict(bar.holds(value))
        rows.append(Row(f"{name}: {measure}", "" if bar is None else str(bar), f"{value:.4g}", judged))
    return rows


# ---------------------------------------------------------------------- fits

FASTER = "times faster than Newton()"


@dataclass(frozen=True)
class Fit:
    """A network, its training images and its bars; ``faster`` is how much faster than by `Newton` it has to be."""

    name: str
    hidden: tuple[int, ...]
    n_samples: int
    bars: Sequence[Bar]
    parameters: dict[str, Any] = field(default_factory=dict)
    data: Callable[[int, int], Arrays] = spiking_mnist
    faster: float | None = None

    def measures(self, seed: int, data: Arrays, **parameters: Any) -> Measures:
        """Time and quality of one fit."""
        X, y, X_test, y_test = data
        classifier = EPSNNClassifier(self.hidden, **self.parameters, **parameters, random_state=seed)
        seconds = cpu_seconds(lambda: classifier.fit(X, y))
        quality = classifier_measures(classifier, X_test, y_test)
        return {"CPU seconds": seconds, **{name: quality[name] for name in ("accuracy", "NLL", "ECE")}}

    def rows(self, seeds: Sequence[int]) -> list[Row]:
        """Default fits of all seeds; of the first one by Newton steps too, right after it on the same data."""
        runs, beside = [], []
        for seed in seeds:
            data = self.data(self.n_samples, seed)
            runs.append(self.measures(seed, data))
            note(self.name, seed, runs[-1])
            if self.faster is not None and seed == seeds[0]:
                former = self.measures(seed, data, inference=Newton())
                note(f"{self.name}, Newton()", seed, former)
                ratio = {FASTER: former["CPU seconds"] / runs[-1]["CPU seconds"]}
                beside = median_rows(f"{self.name}, first seed", [Bar(FASTER, low=self.faster)], [ratio])
                beside += median_rows(f"{self.name}, Newton(), first seed", [], [former])
        return median_rows(self.name, self.bars, runs) + beside


def limits(accuracy: float, nll: float = np.inf, seconds: float = np.inf, ece: float = np.inf) -> list[Bar]:
    """The bars of a fit that are not infinite."""
    highs = {"NLL": nll, "ECE": ece, "CPU seconds": seconds}
    return [Bar("accuracy", low=accuracy), *(Bar(name, high=high) for name, high in highs.items() if high < np.inf)]


BINARY = {"weights": "binary"}
FITS = (
    Fit("784-120-10, N=1000", (120,), 1000, limits(0.891, 0.355, 2)),
    Fit("784-120-10, N=10000", (120,), 10_000, limits(0.951, 0.165, 8, 0.015), faster=7.5),
    Fit("784-120-120-10, N=10000", (120, 120), 10_000, limits(0.957, 0.158, 10)),
    Fit("784-120-120-120-10, N=10000", (120, 120, 120), 10_000, limits(0.955, 0.165, 10)),
    Fit("784-120-10 binary, N=1000", (120,), 1000, limits(0.862), BINARY, faster=4),
    Fit("784-120-10 binary, N=10000", (120,), 10_000, limits(0.928), BINARY, faster=4),
)
LARGE_FITS = (
    Fit("784-250-10, rates, N=60000", (250,), 60_000, limits(0.979, 0.071, 60), data=mnist_rates),
    Fit("784-300-300-10, rates, N=60000", (300, 300), 60_000, limits(0.982, 0.062, 120), data=mnist_rates),
)


def fits(seeds: list[int], large: bool = False) -> list[Row]:
    """Time and quality of default fits; the large ones of the first seed only."""
    rows = [row for fit in FITS for row in fit.rows(seeds)] + digits(seeds)
    if large:
        rows += [row for fit in LARGE_FITS for row in fit.rows(seeds[:1])]
    return rows


def digits(seeds: list[int]) -> list[Row]:
    """Means over stratified folds of the digits that come with scikit-learn, raw pixels, and of their times."""
    X, y = load_digits(return_X_y=True)
    name, bars, runs = "digits 64-100-10, 5-fold", limits(0.975, seconds=1.5), []
    for seed in seeds:
        scores, seconds = [], []
        for train, test in StratifiedKFold(5, shuffle=True, random_state=seed).split(X, y):
            classifier = EPSNNClassifier((100,), random_state=seed)
            seconds.append(cpu_seconds(partial(classifier.fit, X[train], y[train])))
            scores.append(classifier.score(X[test], y[test]))
        runs.append({"CPU seconds": float(np.mean(seconds)), "accuracy": float(np.mean(scores))})
        note(name, seed, runs[-1])
    return median_rows(name, bars, runs)


# ---------------------------------------------------------------------- regression

N_TRAIN, N_TEST = 8000, 2000
GAIN = "log-likelihood above that of Newton(), nats a row"
RATIO = "time beside MLPRegressor"


def friedman(seeds: list[int]) -> list[Row]:
    """Friedman's first function with 50 hidden units, beside scikit-learn's network and beside Newton steps."""
    runs = []
    for seed in seeds:
        X, y = make_friedman1(N_TRAIN + N_TEST, n_features=10, noise=1.0, random_state=seed)
        X = StandardScaler().fit(X[:N_TRAIN]).transform(X)
        data = X[:N_TRAIN], y[:N_TRAIN], X[N_TRAIN:], y[N_TRAIN:]
        ours, seconds = _regressor(data, seed)
        rival = MLPRegressor(hidden_layer_sizes=(50,), random_state=seed)
        theirs = cpu_seconds(partial(rival.fit, *data[:2]))
        former, former_seconds = _regressor(data, seed, inference=Newton())
        runs.append(
            {
                RATIO: seconds / theirs,
                GAIN: former["NLL"] - ours["NLL"],
                "CPU seconds": seconds,
                "MLPRegressor, CPU seconds": theirs,
                "Newton(), CPU seconds": former_seconds,
                "log-likelihood": -ours["NLL"],
                "Newton(), log-likelihood": -former["NLL"],
                "MSE": ours["MSE"],
                "MLPRegressor, MSE": float(np.mean((rival.predict(data[2]) - data[3]) ** 2)),
                "Newton(), MSE": former["MSE"],
            }
        )
        note("friedman", seed, runs[-1])
    return median_rows(f"make_friedman1, 10-50-1, N={N_TRAIN}", [Bar(RATIO, high=1.5), Bar(GAIN, low=0.0)], runs)


def _regressor(data: Arrays, seed: int, **parameters: Any) -> tuple[Measures, float]:
    """Measures on test rows, and the seconds of the fit."""
    X, y, X_test, y_test = data
    regressor = EPSNNRegressor((50,), **parameters, random_state=seed)
    seconds = cpu_seconds(lambda: regressor.fit(X, y))
    mean, std = regressor.predict(X_test, return_std=True)
    return regressor_measures(mean, std, y_test), seconds


# ---------------------------------------------------------------------- growth


def growth(seeds: list[int]) -> list[Row]:
    """CPU seconds of default fits over rows, hidden neurons, layers and classes, with exponents.

    The widest network has no joint Gaussians in its last layer, unlike the others, which lowers the exponent of width.
    """
    rows = _growing(
        "784-60-10 over N", (1000, 3000, 10_000, 30_000), lambda n: ((60,), partial(_images, n)), seeds, 1.1
    )
    few = partial(_images, 1000)
    rows += _growing("784-width-10, N=1000, over width", (30, 60, 120, 240, 480), lambda n: ((n,), few), seeds, 1.3)
    rows += _growing("784-(60,)*depth-10, N=1000, over depth", (1, 2, 3, 4), lambda n: ((60,) * n, few), seeds)
    return rows + _growing(
        "200-60-classes, N=5000, over classes", (2, 10, 50), lambda n: ((60,), partial(_classes, n)), seeds
    )


def _images(n_samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    return spiking_mnist(n_samples, seed)[:2]


def _classes(n_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    X, y = make_classification(
        5000, 200, n_informative=50, n_classes=n_classes, n_clusters_per_class=1, random_state=seed
    )
    return X.astype(np.float32), y


def _growing(
    name: str,
    sizes: Sequence[int],
    problem: Callable[[int], tuple[tuple[int, ...], Callable[[int], tuple[np.ndarray, np.ndarray]]]],
    seeds: Sequence[int],
    most: float | None = None,
) -> list[Row]:
    """Median seconds of each size, and the exponent: the slope of a straight line through their logarithms."""
    seconds: dict[int, list[float]] = {size: [] for size in sizes}
    for seed in seeds:
        for size in sizes:
            hidden, data = problem(size)
            fit = partial(EPSNNClassifier(hidden, random_state=seed).fit, *data(seed))
            seconds[size].append(cpu_seconds(fit))
            note(f"{name}, {size}", seed, {"CPU seconds": seconds[size][-1]})
    medians = [median(values) for values in seconds.values()]
    exponent = float(np.polyfit(np.log(sizes), np.log(medians), 1)[0])
    rows = [Row(f"{name}: {size}", "", f"{value:.2f} s", "") for size, value in zip(sizes, medians, strict=True)]
    bar, judged = ("", "") if most is None else (f"<= {most:g}", verdict(exponent <= most))
    return [*rows, Row(f"{name}: exponent", bar, f"{exponent:.2f}", judged)]
