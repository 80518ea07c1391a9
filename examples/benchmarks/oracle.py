"""How much better the settings could be that "auto" stands for, if the test data chose them.

Every line trains one network with one parameter moved away from its automatic value, on several data sets of its kind,
and the oracle takes the line with the best mean test log density. Nothing in the package sees these figures.

    python examples/benchmarks/oracle.py --tasks "D1 (spikes)" digits
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from _common import Arrays, classifier_measures, print_columns, regressor_measures, spiking_mnist
from regression import TASKS, coded_rows
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits
from uci import FILES, load, standardised

from sk_epsnn import EPSNNClassifier, EPSNNRegressor, GaussianPrior, Newton

SEEDS = range(3)
Parameters = dict[str, Any]
#: Temperatures of all hidden layers, of the last layer, and the rest, one at a time.
SHALLOW: list[Parameters] = [
    *({"inference__temperature": tau} for tau in (0.1, 0.2, 0.5, 1.0)),
    *({"inference__power": alpha} for alpha in (0.1, 0.5, 1.0)),
    *({"prior__spectral_exponent": beta} for beta in (0.5, 1.0)),
]
DEEP: list[Parameters] = [
    *({"inference__temperature": [tau, last]} for tau in (0.1, 0.2, 0.3, 0.5, 1.0) for last in (0.3, 1.0)),
    *({"inference__power": alpha} for alpha in (0.1, 1.0)),
    *({"prior__anchor": c} for c in (0.15, 0.3, 0.5, 1.0)),
    *({"prior__spectral_exponent": beta} for beta in (0.0, 0.15, 0.5, 1.0)),
]


def digits(seed: int) -> Arrays:
    """A fifth of the digits for tests."""
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.2, stratify=y, random_state=seed)
    return X, y, X_test, y_test


def table(name: str, seed: int) -> Arrays:
    """One split of a data set of `uci`."""
    return standardised(*load(name), seed)[0]


#: Data by seed, hidden layers, and whether labels are to be predicted.
Task = tuple[Callable[[int], Arrays], tuple[int, ...], bool]
TASK: dict[str, Task] = {
    "MNIST 784-10, N=1000": (partial(spiking_mnist, 1_000), (), True),
    "MNIST 784-10, N=10000": (partial(spiking_mnist, 10_000), (), True),
    "MNIST 784-120-10, N=1000": (partial(spiking_mnist, 1_000), (120,), True),
    "MNIST 784-120-10, N=10000": (partial(spiking_mnist, 10_000), (120,), True),
    "digits": (digits, (), True),
    **{name: (partial(coded_rows, task), (128,), False) for name, (task, _) in TASKS.items() if "width" not in name},
    **{name: (partial(table, name), (50,), False) for name in FILES},
}


def measure(
    data: Arrays, hidden: tuple[int, ...], labels: bool, parameters: Parameters, seed: int
) -> tuple[float, float]:
    """Test NLL in nats, and accuracy or mean squared error."""
    X, y, X_test, y_test = data
    if labels:
        classifier = EPSNNClassifier(hidden, prior=GaussianPrior(), inference=Newton(), random_state=seed)
        measures = classifier_measures(classifier.set_params(**parameters).fit(X, y), X_test, y_test)
        return measures["NLL"], measures["accuracy"]
    regressor = EPSNNRegressor(hidden, prior=GaussianPrior(), inference=Newton(), random_state=seed)
    regressor.set_params(**parameters).fit(X, y)
    measures = regressor_measures(*regressor.predict(X_test, return_std=True), y_test)
    return measures["NLL"], measures["MSE"]


def compare(name: str, seeds: range) -> tuple[str, ...]:
    """The automatic settings, those that come out best on the test data, and how the two differ."""
    load_seed, hidden, labels = TASK[name]
    data = [load_seed(seed) for seed in seeds]
    lines = [{}, *(DEEP if hidden else SHALLOW)]
    figures = []
    for parameters in lines:
        figures.append(np.array([measure(data[k], hidden, labels, parameters, seed) for k, seed in enumerate(seeds)]))
        nll, second = figures[-1].mean(0)
        print(f"# {name}, {parameters or 'auto'}: NLL {nll:.4f}, {second:.4f}", file=sys.stderr, flush=True)
    best = int(np.argmin([figure[:, 0].mean() for figure in figures]))
    gap = figures[0][:, 0] - figures[best][:, 0]
    error = gap.std(ddof=1) / np.sqrt(len(gap)) if len(gap) > 1 else np.nan
    auto, oracle = figures[0].mean(0), figures[best].mean(0)
    return (
        name,
        f"{auto[0]:.4f}, {auto[1]:.4f}",
        f"{oracle[0]:.4f}, {oracle[1]:.4f}",
        ", ".join(f"{key}={value}" for key, value in lines[best].items()) or "auto",
        f"{gap.mean():.4f} +- {error:.4f}",
    )


def main() -> None:
    """Compare on the chosen tasks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=list(TASK), default=list(TASK), help="data and network")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="number of data sets of each kind")
    arguments = parser.parse_args()
    lines = [("task", "auto: NLL, accuracy or MSE", "oracle", "its choice", "difference in NLL")]
    with threadpool_limits(limits=1):
        for name in arguments.tasks:
            lines.append(compare(name, range(arguments.seeds)))
    print_columns(lines)


if __name__ == "__main__":
    main()
