"""GEM-SNNs: MNIST, digits at once and online, bursts whose times alone matter, spoken digits, compartments.

MNIST are stratified draws from its 60,000 training images, figures those of its 10,000 test images; digits are
scikit-learn's, in five folds by seed; bursts are made in `_order_data.py`, spoken digits are those of `sequences.py`.
Settings were chosen on training rows. CPU seconds are those of `fit`, on one thread.

    python examples/benchmarks/gem.py --what mnist-1000 digits --seeds 0 1
"""

from __future__ import annotations

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
    ece,
    mnist_rates,
    report,
    run_configuration,
    spiking_mnist,
)
from _gem_speed import product_ratio
from _order_data import temporal_order
from _sequence_data import digits_path, spoken_digits
from _splits import digits_folds, fitted, measured, one
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from sk_epsnn import GEM, SGD, Adam, ExponentialFilter, GEMSNNClassifier, GLMNeuron

#: Compartments of the table.
COMPARTMENTS = (1, 2, 5, 10, 20)


def digits_halves(seed: int) -> Arrays:
    """Two thirds of the digits for training."""
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(X))
    train, test = order[:1197], order[1197:]
    return X[train] / 16, y[train], X[test] / 16, y[test]


def streamed(model: GEMSNNClassifier, X: np.ndarray, y: np.ndarray) -> GEMSNNClassifier:
    """Shown every row once, ten streams side by side, learning at every step."""
    return model.partial_fit(X, y, classes=np.unique(y))


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
DIGITS = {"optimizer": SGD(learning_rate=2.0), "max_iter": 40}
TEMPERED = {**DIGITS, "decision": "likelihood", "temperature": "held_out"}
SPOKEN = {"hidden_layer_sizes": (64,), "encode": "none", "optimizer": "adam", "max_iter": 60}
#: The published wiring, smaller and over fewer steps.
PUBLISHED = {"hidden_layer_sizes": (64,), "n_steps": 20, "max_iter": 3}
CONFIGURATIONS = {
    "mnist-1000": Configuration(
        "MNIST 784-120-10, N=1000, rates, T=20",
        measured(one(lambda seed: mnist_rates(1_000, seed)), fitted, GEMSNNClassifier, HIDDEN),
        [Bar("accuracy", low=0.885), Bar("NLL", high=0.38), Bar("ECE", high=0.03), Bar("CPU seconds", high=8)],
    ),
    "mnist-1000-spikes": Configuration(
        "MNIST 784-120-10, N=1000, one spike draw per pixel",
        measured(one(lambda seed: spiking_mnist(1_000, seed)), fitted, GEMSNNClassifier, HIDDEN),
    ),
    "mnist-1000-thinned": Configuration(
        "MNIST 784-120-10, N=1000, one spike draw per pixel, 7 in 10 spikes get through",
        measured(one(thinned_mnist), fitted, GEMSNNClassifier, HIDDEN),
        [Bar("accuracy", low=0.88)],
    ),
    "mnist-10000": Configuration(
        "MNIST 784-120-10, N=10000, rates, T=10",
        measured(one(lambda seed: mnist_rates(10_000, seed)), fitted, GEMSNNClassifier, {**HIDDEN, "n_steps": 10}),
        [Bar("accuracy", low=0.94), Bar("NLL", high=0.2), Bar("CPU seconds", high=30)],
    ),
    "digits": Configuration(
        "digits 64-100-10, 5 folds",
        measured(digits_folds, fitted, GEMSNNClassifier, DIGITS),
        [Bar("accuracy", low=0.965)],
    ),
    "digits-tempered": Configuration(
        "digits 64-100-10, 5 folds, likelihood at a held-out temperature",
        measured(digits_folds, fitted, GEMSNNClassifier, TEMPERED),
    ),
    "digits-online": Configuration(
        "digits 64-100-10, 5 folds, one pass, weights move at every step",
        measured(digits_folds, streamed, GEMSNNClassifier, ONLINE),
        [Bar("accuracy", low=0.93)],
    ),
    **{
        f"published-{n}": Configuration(
            f"digits, published system, 64 hidden neurons, T=20, three passes, K={n}",
            measured(one(digits_halves), fitted, GEMSNNClassifier.as_published, {**PUBLISHED, "n_compartments": n}),
        )
        for n in (2, 10)
    },
    "order": Configuration(
        "temporal order, 20-60-6, N=1200",
        measured(one(temporal_order), fitted, GEMSNNClassifier, {"hidden_layer_sizes": (60,)}),
        [Bar("accuracy", low=0.99)],
    ),
    "order-counts": Configuration("temporal order, counts alone", counts_alone, [Bar("accuracy", high=0.2)]),
    "spoken-1000": Configuration(
        "spoken digits 64-64-10, N=1000",
        measured(one(lambda seed: spoken_digits(1_000, seed)), fitted, GEMSNNClassifier, SPOKEN),
    ),
    "spoken-2700": Configuration(
        "spoken digits 64-64-10, N=2700",
        measured(one(lambda seed: spoken_digits(2_700, seed)), fitted, GEMSNNClassifier, SPOKEN),
    ),
}


#: Of the runs over compartments: 64-64-10, ten passes, traces that keep half a step.
SHORT = {
    "hidden_layer_sizes": (64,),
    "activation": GLMNeuron(synapse=ExponentialFilter(decay=0.5)),
    "optimizer": Adam(learning_rate=0.02),
    "batch_size": 50,
    "max_iter": 10,
}


def with_compartments(n_trained: int, n_predicting: int, seed: int) -> Measures:
    """The paper's rule and its decisions by votes, Adam: what so many compartments are good for."""
    X, y, X_test, y_test = digits_halves(seed)
    rule = GEM(n_compartments=n_trained, center=False)
    options = {"inference": rule, "decision": "votes", "n_compartments_predict": n_predicting}
    model = GEMSNNClassifier(**SHORT, **options, random_state=seed).fit(X, y)
    measures = classifier_measures(model, X_test, y_test)
    # Shares of votes as they are, without the one that all classes share.
    shares = (model.predict_proba(X_test) * (n_predicting + 1) - 0.1) / n_predicting
    return {**measures, "ECE": ece(shares, y_test), "bound": model.score_log_likelihood(X_test, y_test)}


def compartment_rows(seeds: list[int]) -> list[Row]:
    """Tables over the number of compartments, and whether they have the paper's order."""
    rows = []
    kinds = {
        "K in training and prediction": [(n, n) for n in COMPARTMENTS],
        "5 in training, K in prediction": [(5, n) for n in COMPARTMENTS],
        "K in training, 20 in prediction": [(n, 20) for n in COMPARTMENTS],
    }
    for kind, pairs in kinds.items():
        runs = {pair: [with_compartments(*pair, seed) for seed in seeds] for pair in pairs}
        table = {name: np.array([[run[name] for run in runs[pair]] for pair in pairs]) for name in runs[pairs[0]][0]}
        for name, values in table.items():
            for n, line in zip(COMPARTMENTS, values, strict=True):
                rows.append(bar_row(f"plain GEM, {kind}, K={n}: {name}", None, line))
        for name, sign in (("bound", 1), ("accuracy", 1), ("ECE", -1)):
            least = np.diff(sign * table[name].mean(axis=1)).min()
            bar = Bar("", low=0) if kind.startswith("K in training and") else None
            rows.append(bar_row(f"plain GEM, {kind}: least gain of {name} from K to K", bar, [least]))
    return rows


def centred_rows(seeds: list[int]) -> list[Row]:
    """Centred GEM with 2 compartments beside plain GEM with 20, both by steps with 20 in prediction."""
    rows, found = [], {}
    for name, rule in {
        "centred, K=2": GEM(n_compartments=2),
        "plain, K=20": GEM(n_compartments=20, center=False),
    }.items():
        run = measured(
            one(digits_halves), fitted, GEMSNNClassifier, {**SHORT, "inference": rule, "n_compartments_predict": 20}
        )
        runs = [run(seed, seed) for seed in seeds]
        for measure in runs[0]:
            found[name, measure] = [each[measure] for each in runs]
            rows.append(bar_row(f"GEM, Adam, {name}: {measure}", None, found[name, measure]))
    gain = np.mean(found["centred, K=2", "accuracy"]) - np.mean(found["plain, K=20", "accuracy"])
    return [*rows, bar_row("centred K=2 less plain K=20: accuracy", Bar("", low=0), [gain])]


def main() -> None:
    """Run what is asked for, print one table."""
    parser = argument_parser(__doc__.splitlines()[0], starts=False)
    choices = [*CONFIGURATIONS, "compartments", "products"]
    parser.add_argument("--what", nargs="+", default=choices, choices=choices, help="all of it by default")
    arguments, rows = parser.parse_args(), []
    with threadpool_limits(limits=1):
        for what in arguments.what:
            if what == "compartments":
                rows += [*compartment_rows(arguments.seeds), *centred_rows(arguments.seeds)]
            elif what == "products":
                name = "(forward + gradient) / matrix products, 784-120-10, T=20, K=5, batches of 50"
                rows.append(bar_row(name, Bar("", high=3.0), [product_ratio() for _ in arguments.seeds]))
            elif not what.startswith("spoken") or digits_path().is_file():
                rows += run_configuration(CONFIGURATIONS[what], arguments.seeds, ())
    report(rows, arguments.json)


if __name__ == "__main__":
    main()
