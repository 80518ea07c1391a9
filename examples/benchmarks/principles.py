"""The three training principles on the same tasks: messages (EPSNN), samples (GEM-SNN), gradients (SBNN).

Networks of one hidden layer of the same size, at their defaults but for LIF neurons, read in five parts, where there
are steps: MNIST 784-120-10 as rates and as one spike draw for each pixel, digits in five folds, three tables, bursts
whose times alone matter, and the recordings of `sequences.py`. MLPClassifier, on all steps side by side where there are
some, is beside them. Nothing was tuned on the test rows. NLL is scikit-learn's `log_loss`, which takes no probability
for zero. CPU seconds are those of `fit`, on one thread.

    python examples/benchmarks/principles.py --tasks digits iris --methods EPSNN MLP --seeds 0
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from _common import Arrays, Configuration, argument_parser, mnist_rates, run_and_report, spiking_mnist
from _order_data import temporal_order
from _sequence_data import digits_path, spoken_digits
from _splits import Data, digits_folds, measured, one
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sk_epsnn import LIF, EPSNNClassifier, GEMSNNClassifier, SBNNClassifier


def folds(load: Callable[..., Any]) -> Data:
    """Five folds of one of scikit-learn's sets."""

    def data(seed: int) -> Iterable[Arrays]:
        X, y = load(return_X_y=True)
        for train, test in StratifiedKFold(5, shuffle=True, random_state=seed).split(X, y):
            yield X[train], y[train], X[test], y[test]

    return data


@dataclass(frozen=True)
class Task:
    """Rows, neurons of the hidden layer, and how LIF neurons are read where there are steps."""

    data: Data
    width: int
    lif: LIF | None = None


FIVE_PARTS = LIF(leak=0.8, readout=5)
TASKS = {
    "MNIST rates, N=1000": Task(one(lambda seed: mnist_rates(1_000, seed)), 120),
    "MNIST rates, N=10000": Task(one(lambda seed: mnist_rates(10_000, seed)), 120),
    "MNIST spikes, N=1000": Task(one(lambda seed: spiking_mnist(1_000, seed)), 120),
    "MNIST spikes, N=10000": Task(one(lambda seed: spiking_mnist(10_000, seed)), 120),
    "digits": Task(digits_folds, 100),
    "iris": Task(folds(load_iris), 100),
    "wine": Task(folds(load_wine), 100),
    "breast cancer": Task(folds(load_breast_cancer), 100),
    "order of bursts": Task(one(temporal_order), 60, FIVE_PARTS),
    "spoken digits, N=1000": Task(one(lambda seed: spoken_digits(1_000, seed)), 64, FIVE_PARTS),
    "spoken digits, N=2700": Task(one(lambda seed: spoken_digits(2_700, seed)), 64, FIVE_PARTS),
}


def _flat(X: np.ndarray) -> np.ndarray:
    return np.nan_to_num(X).reshape(len(X), -1)


def _perceptron(hidden_layer_sizes: int, random_state: int) -> Any:
    network = MLPClassifier(hidden_layer_sizes, max_iter=1_000, random_state=random_state)
    return make_pipeline(FunctionTransformer(_flat), StandardScaler(), network)


METHODS: dict[str, Callable[..., Any]] = {
    "EPSNN": EPSNNClassifier,
    "SBNN": SBNNClassifier,
    "GEM-SNN": GEMSNNClassifier,
    "MLP": _perceptron,
}


class Clipped:
    """A fitted classifier, its probabilities at least the machine epsilon of their dtype, as `log_loss` has them."""

    def __init__(self, classifier: Any) -> None:
        self.classifier, self.classes_ = classifier, classifier.classes_

    def predict_log_proba(self, X: np.ndarray) -> np.ndarray:
        """Logarithms that are finite."""
        probability = self.classifier.predict_proba(X)
        epsilon = np.finfo(probability.dtype).eps
        return np.log(probability.clip(epsilon, 1 - epsilon))


def _trained(model: Any, X: np.ndarray, y: np.ndarray) -> Clipped:
    return Clipped(model.fit(X, y))


def configurations(name: str, methods: Iterable[str]) -> Iterable[Configuration]:
    """A task with the methods named."""
    task = TASKS[name]
    for method in methods:
        options: dict[str, Any] = {"hidden_layer_sizes": task.width}
        if task.lif is not None and method in ("EPSNN", "SBNN"):
            options["activation"] = task.lif
        yield Configuration(f"{name}, {method}", measured(task.data, _trained, METHODS[method], options))


def main() -> None:
    """Run the chosen tasks and methods."""
    parser = argument_parser(__doc__.splitlines()[0], starts=False)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    arguments = parser.parse_args()
    arguments.starts = ()
    names = [name for name in arguments.tasks if digits_path().exists() or not name.startswith("spoken")]
    run_and_report([one for name in names for one in configurations(name, arguments.methods)], arguments)


if __name__ == "__main__":
    main()
