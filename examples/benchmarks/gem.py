"""GEM-SNNs: MNIST, digits at once and online, bursts whose times alone matter, spoken digits, compartments.

MNIST are stratified draws from its 60,000 training images, figures those of its 10,000 test images; digits are
scikit-learn's, in five folds by seed; bursts are made in `_order_data.py`, spoken digits are those of `sequences.py`.
Settings were chosen on training rows. CPU seconds are those of `fit`, on one thread.

    python examples/benchmarks/gem.py --what mnist-1000 digits --seeds 0 1
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import process_time
from typing import Any

import numpy as np
from _common import (
    Arrays,
    Bar,
    Configuration,
    Measures,
    Row,
    argument_parser,
    bar_row,
    classifier_measures,
    mnist_rates,
    report,
    run_configuration,
    spiking_mnist,
)
from _gem_speed import product_ratio
from _order_data import temporal_order
from _sequence_data import digits_path, spoken_digits
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from sk_epsnn import GEM, SGD, GEMSNNClassifier

#: Compartments of the table.
COMPARTMENTS = (1, 2, 5, 10, 20)

Data = Callable[[int], Iterable[Arrays]]


def one(data: Callable[[int], Arrays]) -> Data:
    """A single split for each seed."""
    return lambda seed: [data(seed)]


def digits_folds(seed: int) -> Iterable[Arrays]:
    """Five folds of the digits, as rates."""
    X, y = load_digits(return_X_y=True)
    for train, test in StratifiedKFold(5, shuffle=True, random_state=seed).split(X, y):
        yield X[train] / 16, y[train], X[test] / 16, y[test]


def digits_halves(seed: int) -> Arrays:
    """Two thirds of the digits for training."""
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(X))
    train, test = order[:1197], order[1197:]
    return X[train] / 16, y[train], X[test] / 16, y[test]


def fitted(model: GEMSNNClassifier, X: np.ndarray, y: np.ndarray) -> GEMSNNClassifier:
    """Trained on all rows."""
    return model.fit(X, y)


def streamed(model: GEMSNNClassifier, X: np.ndarray, y: np.ndarray) -> GEMSNNClassifier:
    """Shown every row once, ten streams side by side, learning at every step."""
    return model.partial_fit(X, y, classes=np.unique(y))


def measured(data: Data, train: Callable[..., Any], options: dict[str, Any]) -> Callable[[int, int], Measures]:
    """Means over the splits of a seed."""

    def run(seed: int, start: int) -> Measures:
        every = []
        for X, y, X_test, y_test in data(seed):
            began = process_time()
            model = train(GEMSNNClassifier(random_state=start, **options), X, y)
            seconds = process_time() - began
            every.append({**classifier_measures(model, X_test, y_test), "CPU seconds": seconds})
        return {name: float(np.mean([measures[name] for measures in every])) for name in every[0]}

    return run


def thinned_mnist(seed: int) -> Arrays:
    """One spike draw for each pixel, of which 7 in 10 get through at every step: drop-out of input spikes."""
    X, y, X_test, y_test = spiking_mnist(1_000, seed)
    return 0.7 * X, y, 0.7 * X_test, y_test


def counts_alone(seed: int, start: int) -> Measures:
    """Logistic regression on the number of spikes of each channel."""
    X, y, X_test, y_test = temporal_order(seed)
    model = LogisticRegression(max_iter=1000).fit(X.sum(axis=1), y)
    return {"accuracy": float(model.score(X_test.sum(axis=1), y_test))}


HIDDEN = {"hidden_layer_sizes": (120,)}
ONLINE = {
    "update": "step",
    "encode": "none",
    "n_steps": 60,
    "optimizer": SGD(learning_rate=0.6),
    "inference": GEM(n_compartments=10),
}
TEMPERED = {"decision": "likelihood", "temperature": "held_out"}
SPOKEN = {"hidden_layer_sizes": (64,), "encode": "none", "optimizer": "adam", "max_iter": 60}
CONFIGURATIONS = {
    "mnist-1000": Configuration(
        "MNIST 784-120-10, N=1000, rates, T=20",
        measured(one(lambda seed: mnist_rates(1_000, seed)), fitted, HIDDEN),
        [Bar("accuracy", low=0.885), Bar("NLL", high=0.38), Bar("ECE", high=0.03), Bar("CPU seconds", high=8)],
    ),
    "mnist-1000-spikes": Configuration(
        "MNIST 784-120-10, N=1000, one spike draw per pixel",
        measured(one(lambda seed: spiking_mnist(1_000, seed)), fitted, HIDDEN),
    ),
    "mnist-1000-thinned": Configuration(
        "MNIST 784-120-10, N=1000, one spike draw per pixel, 7 in 10 spikes get through",
        measured(one(thinned_mnist), fitted, HIDDEN),
        [Bar("accuracy", low=0.88)],
    ),
    "mnist-10000": Configuration(
        "MNIST 784-120-10, N=10000, rates, T=10",
        measured(one(lambda seed: mnist_rates(10_000, seed)), fitted, {**HIDDEN, "n_steps": 10}),
        [Bar("accuracy", low=0.94), Bar("NLL", high=0.2), Bar("CPU seconds", high=30)],
    ),
    "digits": Configuration(
        "digits 64-100-10, 5 folds", measured(digits_folds, fitted, {}), [Bar("accuracy", low=0.965)]
    ),
    "digits-tempered": Configuration(
        "digits 64-100-10, 5 folds, likelihood at a held-out temperature",
        measured(digits_folds, fitted, TEMPERED),
    ),
    "digits-online": Configuration(
        "digits 64-100-10, 5 folds, one pass, weights move at every step",
        measured(digits_folds, streamed, ONLINE),
        [Bar("accuracy", low=0.93)],
    ),
    "order": Configuration(
        "temporal order, 20-60-6, N=1200",
        measured(one(temporal_order), fitted, {"hidden_layer_sizes": (60,)}),
        [Bar("accuracy", low=0.99)],
    ),
    "order-counts": Configuration("temporal order, counts alone", counts_alone, [Bar("accuracy", high=0.2)]),
    "spoken-1000": Configuration(
        "spoken digits 64-64-10, N=1000", measured(one(lambda seed: spoken_digits(1_000, seed)), fitted, SPOKEN)
    ),
    "spoken-2700": Configuration(
        "spoken digits 64-64-10, N=2700", measured(one(lambda seed: spoken_digits(2_700, seed)), fitted, SPOKEN)
    ),
}


def compartments(seeds: list[int], **options: Any) -> dict[str, np.ndarray]:
    """Bound, accuracy, ECE and NLL by votes for each number of compartments: arrays (n_numbers, n_seeds).

    As many predict as train.
    """
    rows: dict[str, list[list[float]]] = {}
    for n_compartments in COMPARTMENTS:
        column: dict[str, list[float]] = {}
        for seed in seeds:
            X, y, X_test, y_test = digits_halves(seed)
            rule = GEM(n_compartments=n_compartments, center=False)
            settings = {"hidden_layer_sizes": (64,), "max_iter": 10, "batch_size": 50, "optimizer": "adam"}
            model = GEMSNNClassifier(
                **{**settings, **options},
                inference=rule,
                decision="votes",
                n_compartments_predict=n_compartments,
                random_state=seed,
            ).fit(X, y)
            measures = classifier_measures(model, X_test, y_test)
            measures["bound"] = model.score_log_likelihood(X_test, y_test)
            for name, value in measures.items():
                column.setdefault(name, []).append(value)
        for name, values in column.items():
            rows.setdefault(name, []).append(values)
    return {name: np.array(values) for name, values in rows.items()}


def compartment_rows(seeds: list[int]) -> list[Row]:
    """The table over the number of compartments, and whether it has the paper's order."""
    table, rows = compartments(seeds), []
    for index, n_compartments in enumerate(COMPARTMENTS):
        for name, values in table.items():
            rows.append(bar_row(f"digits, plain GEM, Adam, K={n_compartments}: {name}", None, values[index]))
    for name, sign in (("bound", 1), ("accuracy", 1), ("ECE", -1)):
        step = np.diff(sign * table[name].mean(axis=1)).min()
        bar = Bar("", low=0.0)
        rows.append(bar_row(f"digits, plain GEM: smallest gain of {name} from one K to the next", bar, [step]))
    return rows


def main() -> None:
    """Run what is asked for, print one table."""
    parser = argument_parser(__doc__.splitlines()[0], starts=False)
    choices = [*CONFIGURATIONS, "compartments", "products"]
    parser.add_argument("--what", nargs="+", default=choices, choices=choices, help="all of it by default")
    arguments, rows = parser.parse_args(), []
    with threadpool_limits(limits=1):
        for what in arguments.what:
            if what == "compartments":
                rows += compartment_rows(arguments.seeds)
            elif what == "products":
                name = "(forward + gradient) / matrix products, 784-120-10, T=20, K=5, batches of 50"
                rows.append(bar_row(name, Bar("", high=3.0), [product_ratio() for _ in arguments.seeds]))
            elif not what.startswith("spoken") or digits_path().is_file():
                rows += run_configuration(CONFIGURATIONS[what], arguments.seeds, ())
    report(rows, arguments.json)


if __name__ == "__main__":
    main()
