"""What the benchmark scripts share: data, metrics, runs over seeds and starts, tables."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import fetch_openml
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

from sk_epsnn import EPSNNClassifier, RateSpikeEncoder
from sk_epsnn.numerics import expected_softplus

#: Seeds of the data, the spikes and the start.
SEEDS = (0, 1, 2, 3, 4)
#: Other random starts: added to each data seed, so that the whole table is repeated.
STARTS = (100, 200, 300)
#: How far the mean from other starts may lie from the first: a difference of accuracies, a share of the error.
ACCURACY_TOLERANCE = 0.02
MSE_TOLERANCE = 0.3

Measures = dict[str, float]
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

# ---------------------------------------------------------------------- data


@lru_cache(maxsize=1)
def load_mnist() -> Arrays:
    """MNIST as ``(X, y, Xt, yt)``: float32 rates in [0, 1] of shape (n, 784), 60,000 for training, 10,000 for tests."""
    folder = os.environ.get("SK_EPSNN_DATA")
    if folder:
        with np.load(Path(folder) / "mnist.npz") as data:
            X, y, Xt, yt = (data[name] for name in ("X", "y", "Xt", "yt"))
    else:
        images, labels = fetch_openml("mnist_784", version=1, return_X_y=True, as_frame=False)
        X, Xt, y, yt = images[:60_000], images[60_000:], labels[:60_000], labels[60_000:]
    return _rates(X), y.astype(np.int64), _rates(Xt), yt.astype(np.int64)


def _rates(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), 784).astype(np.float32) / np.float32(255)


def mnist_rates(n_samples: int, seed: int) -> Arrays:
    """A stratified random subset of the training images, and all test images, as rates."""
    X, y, Xt, yt = load_mnist()
    if n_samples < len(X):
        rows, _ = train_test_split(np.arange(len(X)), train_size=n_samples, stratify=y, random_state=seed)
    else:
        rows = np.random.default_rng(seed).permutation(len(X))
    return X[rows], y[rows], Xt, yt


def spiking_mnist(n_samples: int, seed: int) -> Arrays:
    """The same as spikes."""
    X, y, Xt, yt = mnist_rates(n_samples, seed)
    encoder = RateSpikeEncoder(feature_range=(0, 1), random_state=seed).fit(X)
    return encoder.transform(X), y, encoder.transform(Xt), yt


# ---------------------------------------------------------------------- metrics


def nll(log_probability: np.ndarray, index: np.ndarray) -> float:
    """Mean negative log probability of the true class, in nats."""
    return -float(log_probability[np.arange(len(index)), index].mean(dtype=np.float64))


def ece(probability: np.ndarray, index: np.ndarray, n_bins: int = 15) -> float:
    """Expected calibration error of the top probability, over bins of equal width."""
    top = probability.max(1).astype(np.float64)
    bins = np.minimum((top * n_bins).astype(int), n_bins - 1)
    gap = np.bincount(bins, (probability.argmax(1) == index) - top, minlength=n_bins)
    return float(np.abs(gap).sum() / len(top))


def pebce(classifier: EPSNNClassifier, X: np.ndarray, index: np.ndarray) -> float:
    """Posterior-expected binary cross entropy: mean over rows and outputs of ``E softplus(-T u)``, in nats."""
    mean, variance = classifier.predict_potentials(X)
    target = np.where(index[:, None] == np.arange(mean.shape[1]), 1.0, -1.0)
    return float(expected_softplus(-target * mean, variance.astype(np.float64)).mean())


def classifier_measures(classifier: Any, X: np.ndarray, y: np.ndarray) -> Measures:
    """Accuracy, NLL and ECE on test rows, and PeBCE where outputs are sigmoid units that do not compete."""
    index = np.searchsorted(classifier.classes_, y)
    log_probability = classifier.predict_log_proba(X)
    measures = {
        "accuracy": float((log_probability.argmax(1) == index).mean()),
        "NLL": nll(log_probability, index),
        "ECE": ece(np.exp(log_probability), index),
    }
    if getattr(classifier, "output_activation", None) == "sigmoid":
        measures["PeBCE"] = pebce(classifier, X, index)
    return measures


def regressor_measures(mean: np.ndarray, std: np.ndarray, y: np.ndarray) -> Measures:
    """MSE, NLL and coverage of the 95 % interval, noise included."""
    z = (y - mean) / std
    return {
        "MSE": float(np.mean((y - mean) ** 2)),
        "NLL": float(np.mean(0.5 * z**2 + np.log(std) + 0.5 * np.log(2 * np.pi))),
        "coverage": float(np.mean(np.abs(z) <= 1.96)),
    }


# ---------------------------------------------------------------------- runs


@dataclass(frozen=True)
class Bar:
    """Limits, both included, of one measure."""

    measure: str
    low: float = -np.inf
    high: float = np.inf

    def __str__(self) -> str:
        if np.isinf(self.high):
            return f">= {self.low:g}"
        return f"<= {self.high:g}" if np.isinf(self.low) else f"{self.low:g} to {self.high:g}"

    def holds(self, value: float) -> bool:
        """Whether the value lies within the limits; NaN does not."""
        return bool(self.low <= value <= self.high)


@dataclass(frozen=True)
class Configuration:
    """One benchmark: ``run(data_seed, start)`` gives its measures."""

    name: str
    run: Callable[[int, int], Measures]
    bars: Sequence[Bar] = ()


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    what: str
    bar: str
    measured: str
    verdict: str


def verdict(passed: bool) -> str:
    """The word printed for a bar."""
    return "pass" if passed else "FAIL"


def run_configuration(configuration: Configuration, seeds: Sequence[int], starts: Sequence[int]) -> list[Row]:
    """Measure a configuration on every data seed, then on the same data from other random starts."""
    by_seed = [_run(configuration, seed, seed) for seed in seeds]
    bars = {bar.measure: bar for bar in configuration.bars}
    rows = [
        bar_row(f"{configuration.name}: {name}", bars.get(name), [measures[name] for measures in by_seed])
        for name in by_seed[0]
    ]
    if starts and configuration.bars:
        by_start = [[_run(configuration, seed, seed + start) for seed in seeds] for start in starts]
        rows.append(_start_row(configuration.name, by_seed, by_start))
    return rows


def _run(configuration: Configuration, seed: int, start: int) -> Measures:
    measures = configuration.run(seed, start)
    figures = "  ".join(f"{name} {_figure(value)}" for name, value in measures.items())
    print(f"# {configuration.name}, data seed {seed}, start {start}: {figures}", file=sys.stderr, flush=True)
    return measures


def bar_row(what: str, bar: Bar | None, values: Sequence[float]) -> Row:
    """Line of a measure: its mean, its standard deviation and whether the mean keeps the bar, if there is one."""
    mean = np.mean(values)
    spread = f" (sd {_figure(np.std(values, ddof=1))})" if len(values) > 1 else ""
    judged = "" if bar is None else verdict(bar.holds(mean))
    return Row(what, "" if bar is None else str(bar), _figure(mean) + spread, judged)


def _start_row(name: str, by_seed: Sequence[Measures], by_start: Sequence[Sequence[Measures]]) -> Row:
    """Whether every start is free of NaN and its mean over the seeds near that of the first."""
    everything = [*by_seed, *(measures for runs in by_start for measures in runs)]
    finite = all(np.isfinite(value) for measures in everything for value in measures.values())
    judged = "accuracy" if "accuracy" in by_seed[0] else "MSE"
    values = np.array([np.mean([measures[judged] for measures in runs]) for runs in by_start])
    mean = np.mean([measures[judged] for measures in by_seed])
    tolerance = ACCURACY_TOLERANCE if judged == "accuracy" else MSE_TOLERANCE * mean
    rule = f"{ACCURACY_TOLERANCE:g}" if judged == "accuracy" else f"{100 * MSE_TOLERANCE:g} %"
    return Row(
        f"{name}: {judged}, {len(values)} other starts",
        f"within {rule} of {_figure(mean)}, no NaN",
        ", ".join(_figure(value) for value in values) + ("" if finite else ", NaN or infinite values"),
        verdict(finite and bool(np.all(np.abs(values - mean) <= tolerance))),
    )


def _figure(value: float) -> str:
    """Four decimals for small figures, fewer for large ones."""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.1f}"


# ---------------------------------------------------------------------- command line and tables


def argument_parser(description: str, starts: bool = True) -> argparse.ArgumentParser:
    """Options that the benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="seeds of data, spikes and start")
    if starts:
        parser.add_argument("--starts", type=int, nargs="*", default=list(STARTS), help="added to each seed")
    parser.add_argument("--json", type=Path, help="also write the rows of the table to this file")
    return parser


def run_and_report(configurations: Iterable[Configuration], arguments: argparse.Namespace) -> None:
    """Run the configurations on one BLAS thread and print one table."""
    rows: list[Row] = []
    with threadpool_limits(limits=1):
        for configuration in configurations:
            rows += run_configuration(configuration, arguments.seeds, arguments.starts)
    report(rows, arguments.json)


def report(rows: Sequence[Row], path: Path | None) -> None:
    """Print a table of fixed width; write its rows to a file if one is named."""
    print_table(rows)
    if path is not None:
        path.write_text(json.dumps([asdict(row) for row in rows]))


def print_table(rows: Sequence[Row]) -> None:
    """Print the rows of a table of bars."""
    print_columns([("what", "bar", "measured: mean (sd)", "verdict"), *(tuple(asdict(row).values()) for row in rows)])


def print_columns(lines: Sequence[Sequence[str]]) -> None:
    """Print lines of cells in columns of fixed width."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print(" | ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
