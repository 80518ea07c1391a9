"""MNIST with spiking inputs or pixel rates: one layer, a stream, one to three hidden layers, and patches.

Every training set is a stratified random draw from the 60,000 training images; test figures are from all 10,000 test
images. The data come from ``mnist.npz`` in the folder named by SK_EPSNN_DATA, or from OpenML.

    python examples/benchmarks/mnist.py --config heaviside --n 1000
"""

from __future__ import annotations

from functools import partial
from time import process_time
from typing import Any

import numpy as np
from _common import (
    Bar,
    Configuration,
    Measures,
    argument_parser,
    classifier_measures,
    mnist_rates,
    run_and_report,
    spiking_mnist,
)
from sklearn.utils import gen_batches

from sk_epsnn import EPSNNClassifier, PatchSpikeEncoder

STREAM_BATCH = 1000
PARAMETERS: dict[str, dict[str, Any]] = {
    "one-layer": {},
    "stream": {},
    "heaviside": {"hidden_layer_sizes": (120,)},
    "sigmoid": {"hidden_layer_sizes": (120,), "activation": "sigmoid"},
    "two-hidden": {"hidden_layer_sizes": (120, 120)},
    "three-hidden": {"hidden_layer_sizes": (120, 120, 120)},
    "rates": {"hidden_layer_sizes": (120,)},
    "rates-250": {"hidden_layer_sizes": (250,)},
    "rates-300-300": {"hidden_layer_sizes": (300, 300)},
    "rates-patches": {},
    "patches": {},
    "binary": {"weights": "binary"},
    "binary-hidden": {"weights": "binary", "hidden_layer_sizes": (120,)},
    "binary-heaviside": {"weights": "binary", "output_activation": "heaviside"},
    "ternary": {"weights": "ternary"},
    "heaviside-output": {"output_activation": "heaviside"},
    "laplace": {"prior": "laplace"},
    "mixture": {"prior": "gaussian_mixture"},
    "spike-and-slab": {"hidden_layer_sizes": (120,), "prior": "bernoulli_gaussian"},
}
LABELS = {
    "one-layer": "784-10",
    "stream": f"784-10, partial_fit, batches of {STREAM_BATCH}",
    "heaviside": "784-120-10 Heaviside",
    "sigmoid": "784-120-10 sigmoid",
    "two-hidden": "784-120-120-10 Heaviside",
    "three-hidden": "784-120-120-120-10 Heaviside",
    "rates": "784-120-10 Heaviside, pixel rates",
    "rates-250": "784-250-10 Heaviside, pixel rates",
    "rates-300-300": "784-300-300-10 Heaviside, pixel rates",
    "rates-patches": "PatchSpikeEncoder, no hidden layer, pixel rates",
    "patches": "PatchSpikeEncoder, no hidden layer",
    "binary": "784-10 binary",
    "binary-hidden": "784-120-10 binary Heaviside",
    "binary-heaviside": "784-10 binary, Heaviside outputs",
    "ternary": "784-10 ternary",
    "heaviside-output": "784-10, Heaviside outputs",
    "laplace": "784-10, Laplace prior",
    "mixture": "784-10, Gaussian mixture prior",
    "spike-and-slab": "784-120-10 Heaviside, Bernoulli-Gaussian prior",
}
BARS = {
    ("one-layer", 1_000): [Bar("accuracy", low=0.845)],
    ("one-layer", 10_000): [Bar("accuracy", low=0.89), Bar("ECE", high=0.015)],
    ("stream", 60_000): [Bar("accuracy", low=0.90)],
    ("heaviside", 1_000): [
        Bar("accuracy", low=0.891),
        Bar("NLL", high=0.355),
        Bar("ECE", high=0.03),
    ],
    ("heaviside", 10_000): [
        Bar("accuracy", low=0.951),
        Bar("NLL", high=0.165),
        Bar("ECE", high=0.015),
    ],
    ("sigmoid", 1_000): [Bar("accuracy", low=0.87)],
    ("two-hidden", 10_000): [Bar("accuracy", low=0.957), Bar("NLL", high=0.158)],
    ("three-hidden", 10_000): [Bar("accuracy", low=0.955), Bar("NLL", high=0.165)],
    ("rates", 10_000): [Bar("accuracy", low=0.957)],
    ("rates-250", 60_000): [Bar("accuracy", low=0.979), Bar("NLL", high=0.071)],
    ("rates-300-300", 60_000): [Bar("accuracy", low=0.982), Bar("NLL", high=0.062)],
    ("rates-patches", 1_000): [Bar("accuracy", low=0.953), Bar("NLL", high=0.17), Bar("training seconds", high=3)],
    ("rates-patches", 10_000): [Bar("accuracy", low=0.977), Bar("NLL", high=0.071), Bar("training seconds", high=15)],
    ("patches", 10_000): [Bar("accuracy", low=0.975)],
    ("binary-hidden", 1_000): [Bar("accuracy", low=0.862)],
    ("binary-hidden", 10_000): [Bar("accuracy", low=0.928)],
    ("binary", 1_000): [Bar("accuracy", low=0.83)],
    ("binary", 10_000): [Bar("accuracy", low=0.865)],
    ("binary-heaviside", 1_000): [Bar("accuracy", low=0.80)],
    ("binary-heaviside", 10_000): [Bar("accuracy", low=0.86)],
    ("ternary", 1_000): [Bar("accuracy", low=0.84)],
    ("ternary", 10_000): [Bar("accuracy", low=0.875)],
    ("heaviside-output", 1_000): [Bar("accuracy", low=0.84)],
    ("heaviside-output", 10_000): [Bar("accuracy", low=0.87)],
    ("laplace", 1_000): [Bar("accuracy", low=0.84)],
    ("mixture", 1_000): [Bar("accuracy", low=0.84)],
    ("spike-and-slab", 1_000): [Bar("accuracy", low=0.85)],
}


def run(config: str, n_samples: int, seed: int, start: int) -> Measures:
    """Train on the data and spikes of one seed from one random start; measure on the test images."""
    X, y, X_test, y_test = (
        mnist_rates(n_samples, seed) if config.startswith("rates") else spiking_mnist(n_samples, seed)
    )
    classifier = EPSNNClassifier(**PARAMETERS[config], random_state=start)
    began = process_time()
    if config.endswith("patches"):
        encoder = PatchSpikeEncoder((28, 28), random_state=start)
        X = encoder.fit_transform(X)
    if config == "stream":
        stream(classifier, X, y)
    else:
        classifier.fit(X, y)
    seconds = process_time() - began
    if config.endswith("patches"):
        X_test = encoder.transform(X_test)
    measures = classifier_measures(classifier, X_test, y_test)
    if "weights" in PARAMETERS[config]:
        measures["accuracy frozen"] = classifier.freeze().score(X_test, y_test)
    return {**measures, "training seconds": seconds}


def stream(classifier: EPSNNClassifier, X: np.ndarray, y: np.ndarray) -> None:
    """One pass over the rows in batches."""
    for rows in gen_batches(len(X), STREAM_BATCH):
        classifier.partial_fit(X[rows], y[rows], classes=np.arange(10))


def main() -> None:
    """Run the chosen rows of the table."""
    parser = argument_parser(__doc__.splitlines()[0])
    sizes = sorted({n_samples for _, n_samples in BARS})
    parser.add_argument("--n", type=int, nargs="+", choices=sizes, default=sizes, help="training images")
    parser.add_argument("--config", nargs="+", choices=list(PARAMETERS), default=list(PARAMETERS), help="networks")
    arguments = parser.parse_args()
    chosen = [(c, n) for c, n in BARS if c in arguments.config and n in arguments.n]
    if not chosen:
        parser.error(f"no such row; there are {', '.join(f'{config} with {n}' for config, n in BARS)}")
    configurations = [Configuration(f"{LABELS[c]}, N={n}", partial(run, c, n), BARS[c, n]) for c, n in chosen]
    run_and_report(configurations, arguments)


if __name__ == "__main__":
    main()
