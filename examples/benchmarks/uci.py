"""Regression on three UCI data sets by the protocol of Hernandez-Lobato and Adams (2015), beside other methods.

Random splits of 90 % for training and 10 % for tests, features and targets standardised on the training rows, 50 hidden
neurons. Errors and log densities are in the target's own units. Split k has seed k for the rows and for the method.

SK_EPSNN_DATA names the folder with ``uci-concrete.txt``, ``uci-energy.txt`` and ``uci-wine-quality-red.txt``: numbers
separated by spaces, the target last. NGBoost, which comes with ``pip install "sk_epsnn[benchmark]"``, is left out if it
is not installed.

    python examples/benchmarks/uci.py --sets energy --methods epsnn ridge --splits 0 1 2
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from _common import Arrays, Bar, Measures, Row, bar_row, print_columns, regressor_measures, report
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import BayesianRidge
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from sk_epsnn import EPSNNRegressor, PopulationEncoder

SPLITS = range(20)
HIDDEN = (50,)
FILES = {"concrete": "uci-concrete.txt", "energy": "uci-energy.txt", "wine": "uci-wine-quality-red.txt"}
#: Highest RMSE and lowest log-likelihood of the row "epsnn".
BARS = {
    name: [Bar("RMSE", high=rmse), Bar("log-likelihood", low=log_likelihood), Bar("coverage", 0.92, 0.97)]
    for name, rmse, log_likelihood in [("concrete", 5.1, -3.05), ("energy", 0.55, -0.65), ("wine", 0.63, -0.96)]
}

#: Means and standard deviations of new observations.
Prediction = tuple[np.ndarray, np.ndarray]
#: A method takes standardised training rows and targets, standardised test rows and a seed.
Method = Callable[[np.ndarray, np.ndarray, np.ndarray, int], Prediction]

# ---------------------------------------------------------------------- methods


def predict_with_std(model: Any, X: np.ndarray, y: np.ndarray, X_test: np.ndarray) -> Prediction:
    """Fit an estimator whose predict has return_std."""
    return model.fit(X, y).predict(X_test, return_std=True)


def epsnn(X: np.ndarray, y: np.ndarray, X_test: np.ndarray, seed: int) -> Prediction:
    """This package on the features."""
    return predict_with_std(EPSNNRegressor(hidden_layer_sizes=HIDDEN, random_state=seed), X, y, X_test)


def encoded(X: np.ndarray, y: np.ndarray, X_test: np.ndarray, seed: int) -> Prediction:
    """This package on the rates of 16 neurons for each feature."""
    encoder = PopulationEncoder(n_neurons=16, output="rates", random_state=seed)
    model = make_pipeline(encoder, EPSNNRegressor(hidden_layer_sizes=HIDDEN, random_state=seed))
    return predict_with_std(model, X, y, X_test)


def ridge(X: np.ndarray, y: np.ndarray, X_test: np.ndarray, seed: int) -> Prediction:
    """Bayesian linear regression."""
    return predict_with_std(BayesianRidge(), X, y, X_test)


def gp(X: np.ndarray, y: np.ndarray, X_test: np.ndarray, seed: int) -> Prediction:
    """A Gaussian process with a length scale for each feature, by maximal evidence."""
    kernel = ConstantKernel() * RBF(np.ones(X.shape[1])) + WhiteKernel()
    model = GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=0, random_state=seed)
    return predict_with_std(model, X, y, X_test)


def ngboost(X: np.ndarray, y: np.ndarray, X_test: np.ndarray, seed: int) -> Prediction:
    """Boosted trees for mean and standard deviation, with the default settings."""
    from ngboost import NGBRegressor

    distribution = NGBRegressor(random_state=seed, verbose=False).fit(X, y).pred_dist(X_test)
    return distribution.params["loc"], distribution.params["scale"]


def mlp(X: np.ndarray, y: np.ndarray, X_test: np.ndarray, seed: int) -> Prediction:
    """A network stopped early, with noise of constant variance: its mean squared error on 10 % held-out rows."""
    X, X_held_out, y, y_held_out = train_test_split(X, y, test_size=0.1, random_state=seed)
    stopping = {"early_stopping": True, "n_iter_no_change": 200, "max_iter": 5000}
    model = MLPRegressor(hidden_layer_sizes=HIDDEN, **stopping, random_state=seed).fit(X, y)
    std = np.sqrt(np.mean((y_held_out - model.predict(X_held_out)) ** 2))
    return model.predict(X_test), np.full(len(X_test), std)


METHODS: dict[str, tuple[str, Method]] = {
    "epsnn": ("EPSNN", epsnn),
    "encoded": ("EPSNN, population code", encoded),
    "ridge": ("BayesianRidge", ridge),
    "gp": ("Gaussian process, ARD", gp),
    "ngboost": ("NGBoost", ngboost),
    "mlp": ("MLPRegressor", mlp),
}

# ---------------------------------------------------------------------- runs


def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Features and targets."""
    folder = os.environ.get("SK_EPSNN_DATA")
    if not folder:
        raise SystemExit("Set SK_EPSNN_DATA to the folder that holds the data files.")
    table = np.loadtxt(Path(folder) / FILES[name])
    return table[:, :-1], table[:, -1]


def standardised(X: np.ndarray, y: np.ndarray, split: int) -> tuple[Arrays, float]:
    """Training and test rows of one split, standardised on the training rows, and the target's scale."""
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.1, random_state=split)
    features, target = StandardScaler().fit(X), StandardScaler().fit(y[:, None])
    y, y_test = (target.transform(values[:, None])[:, 0] for values in (y, y_test))
    return (features.transform(X), y, features.transform(X_test), y_test), float(target.scale_[0])


def measure(X: np.ndarray, y: np.ndarray, method: Method, split: int) -> Measures:
    """Train and test a method on one split."""
    (X, y, X_test, y_test), scale = standardised(X, y, split)
    began = perf_counter()
    mean, std = method(X, y, X_test, split)
    seconds = perf_counter() - began
    measures = regressor_measures(scale * mean, scale * std, scale * y_test)
    return {
        "RMSE": float(np.sqrt(measures["MSE"])),
        "log-likelihood": -measures["NLL"],
        "coverage": measures["coverage"],
        "seconds": seconds,
    }


def run(name: str, method: str, splits: Sequence[int]) -> list[Measures]:
    """Measures of a method on the splits of a data set."""
    X, y = load(name)
    results = []
    for split in splits:
        results.append(measure(X, y, METHODS[method][1], split))
        figures = "  ".join(f"{key} {value:.3f}" for key, value in results[-1].items())
        print(f"# {name}, {method}, split {split}: {figures}", file=sys.stderr, flush=True)
    return results


# ---------------------------------------------------------------------- tables


def with_error(values: Sequence[float]) -> str:
    """Mean and standard error."""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{np.mean(values):.3f} +- {np.std(values, ddof=1) / np.sqrt(len(values)):.3f}"


def print_results(results: dict[tuple[str, str], list[Measures]]) -> None:
    """Mean and standard error of every measure over the splits."""
    names = list(next(iter(results.values()))[0])
    lines = [("data", "method", "splits", *names)]
    for (data, method), runs in results.items():
        figures = [with_error([run[name] for run in runs]) for name in names]
        lines.append((data, METHODS[method][0], str(len(runs)), *figures))
    print_columns(lines)


def bar_rows(name: str, runs: Sequence[Measures]) -> list[Row]:
    """Whether this package keeps its bars on a data set."""
    what = f"{name}, {METHODS['epsnn'][0]}"
    return [bar_row(f"{what}: {bar.measure}", bar, [run[bar.measure] for run in runs]) for bar in BARS[name]]


def main() -> None:
    """Run the chosen methods on the chosen sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=list(FILES), default=list(FILES), help="data sets")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS), help="methods")
    parser.add_argument("--splits", type=int, nargs="+", default=list(SPLITS), help="seeds of the splits")
    parser.add_argument("--json", type=Path, help="also write the bars to this file")
    arguments = parser.parse_args()
    methods = list(dict.fromkeys(arguments.methods))
    if "ngboost" in methods and find_spec("ngboost") is None:
        print("NGBoost is left out: ngboost is not installed.")
        methods.remove("ngboost")
    pairs = [(name, method) for name in arguments.sets for method in methods]
    with threadpool_limits(limits=1):
        results = {pair: run(*pair, arguments.splits) for pair in pairs}
    if results:
        print_results(results)
    if "epsnn" in methods:
        print()
        report([row for name in arguments.sets for row in bar_rows(name, results[name, "epsnn"])], arguments.json)


if __name__ == "__main__":
    main()
