"""SBNNs: MNIST, deep stacks without normalisation, biased gradients, spikes over time, binary weights, unknown inputs.

MNIST are stratified draws from its 60,000 training images, figures those of its 10,000 test images; digits are
scikit-learn's, in five folds by seed, or over time with 30 in 100 rows for tests. CPU seconds are those of `fit`, on
one thread.

    python examples/benchmarks/sbnn.py --what mnist-1000 deep-10 --seeds 0 1
"""

from __future__ import annotations

from collections.abc import Callable
from time import process_time
from typing import Any

import numpy as np
from _common import (
    Arrays,
    Bar,
    Configuration,
    Measures,
    argument_parser,
    classifier_measures,
    report,
    run_configuration,
    spiking_mnist,
)
from _sbnn_bias import narrow
from _sequence_data import digits_path, spoken_digits
from _splits import Data, digits_folds, fitted, measured, one
from sklearn.datasets import load_diabetes, load_digits, make_friedman1
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

from sk_epsnn import LIF, EPSNNClassifier, EPSNNRegressor, Rao, SBNNClassifier, SBNNRegressor, Surrogate


def digits_over_time(seed: int) -> Arrays:
    """Spikes of the rates of the digits, drawn once for each of ten steps; 30 in 100 rows are for tests."""
    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    X, X_test, y, y_test = train_test_split(X / 16, y, test_size=0.3, random_state=seed, stratify=y)
    trains = [(rng.random((len(part), 10, 64)) < part[:, np.newaxis]).astype(np.float32) for part in (X, X_test)]
    return trains[0], y, trains[1], y_test


def sbnn(data: Data, **options: Any) -> Callable[[int, int], Measures]:
    """Means over the splits of a seed."""
    return measured(data, fitted, SBNNClassifier, options)


def begun(n_passes: int | None) -> Callable[[int, int], Measures]:
    """MNIST, N = 1000, spikes: passes from the posterior of an EPSNN, whose training is not counted."""

    def run(seed: int, start: int) -> Measures:
        X, y, X_test, y_test = spiking_mnist(1_000, seed)
        other = EPSNNClassifier(120, random_state=start).fit(X, y)
        began = process_time()
        model = SBNNClassifier(120, max_iter=n_passes, random_state=start).fit(X, y, start=other)
        seconds = process_time() - began
        return {**classifier_measures(model, X_test, y_test), "CPU seconds": seconds}

    return run


def unknown_inputs(seed: int, start: int) -> Measures:
    """Whether test images are told from the same images with shuffled pixels, by parts of the uncertainty."""
    X, y, X_test, _ = spiking_mnist(1_000, seed)
    model = SBNNClassifier(120, random_state=start).fit(X, y)
    known = X_test[:3000]
    strange = np.random.default_rng(seed).permuted(known, axis=1)
    parts = zip(model.predict_uncertainty(known), model.predict_uncertainty(strange), strict=True)
    label = np.repeat([0, 1], len(known))
    areas = [float(roc_auc_score(label, np.concatenate(pair))) for pair in parts]
    return dict(zip(("AUROC total", "AUROC aleatoric", "AUROC epistemic"), areas, strict=True))


def regression(kind: type, name: str) -> Callable[[int, int], Measures]:
    """Share of the variance that is explained, and NLL in units of the targets' spread."""

    def run(seed: int, start: int) -> Measures:
        X, y = load_diabetes(return_X_y=True) if name == "diabetes" else make_friedman1(600, noise=1.0, random_state=0)
        X, X_test, y, y_test = train_test_split(X, y, test_size=0.25, random_state=seed)
        began = process_time()
        model = kind(100, random_state=start).fit(X, y)
        seconds = process_time() - began
        mean, std = model.predict(X_test, return_std=True)
        z = (y_test - mean) / std
        nll = float(np.mean(0.5 * z**2 + np.log(std / y.std()) + 0.5 * np.log(2 * np.pi)))
        return {"R2": float(model.score(X_test, y_test)), "NLL": nll, "CPU seconds": seconds}

    return run


PLAIN = Surrogate(shape="clipped_identity")
CONFIGURATIONS = {
    "mnist-1000": Configuration(
        "MNIST 784-120-10, N=1000, spikes",
        sbnn(one(lambda seed: spiking_mnist(1_000, seed)), hidden_layer_sizes=120),
        [Bar("accuracy", low=0.889), Bar("NLL", high=0.375), Bar("CPU seconds", high=8)],
    ),
    "mnist-1000-surrogate": Configuration(
        "MNIST 784-120-10, N=1000, spikes, surrogate gradient",
        sbnn(one(lambda seed: spiking_mnist(1_000, seed)), hidden_layer_sizes=120, inference="surrogate", max_iter=60),
    ),
    "mnist-1000-10-passes": Configuration(
        "MNIST 784-120-10, N=1000, spikes, 10 passes",
        sbnn(one(lambda seed: spiking_mnist(1_000, seed)), hidden_layer_sizes=120, max_iter=10),
    ),
    "begun": Configuration("MNIST 784-120-10, N=1000, spikes, from an EPSNN", begun(None)),
    "begun-10-passes": Configuration("MNIST 784-120-10, N=1000, spikes, from an EPSNN, 10 passes", begun(10)),
    "mnist-10000": Configuration(
        "MNIST 784-120-10, N=10000, spikes",
        sbnn(one(lambda seed: spiking_mnist(10_000, seed)), hidden_layer_sizes=120),
        [Bar("accuracy", low=0.948), Bar("NLL", high=0.19), Bar("CPU seconds", high=60)],
    ),
    "binary": Configuration(
        "MNIST 784-120-10, N=1000, spikes, binary weights",
        sbnn(one(lambda seed: spiking_mnist(1_000, seed)), hidden_layer_sizes=120, weights="binary"),
        [Bar("accuracy", low=0.85)],
    ),
    "unknown": Configuration(
        "shuffled pixels against MNIST, N=1000", unknown_inputs, [Bar("AUROC epistemic", low=0.95)]
    ),
    "deep-10": Configuration(
        "digits, 10 layers of 64, streams, 5 folds",
        sbnn(digits_folds, hidden_layer_sizes=(64,) * 10),
        [Bar("accuracy", low=0.97)],
    ),
    "deep-20": Configuration(
        "digits, 20 layers of 64, streams, 5 folds",
        sbnn(digits_folds, hidden_layer_sizes=(64,) * 20),
        [Bar("accuracy", low=0.97)],
    ),
    "deep-10-straight-through": Configuration(
        "digits, 10 layers of 64, streams, 5 folds, straight-through without noise",
        sbnn(digits_folds, hidden_layer_sizes=(64,) * 10, inference=PLAIN),
    ),
    "deep-10-surrogate": Configuration(
        "digits, 10 layers of 64, streams, 5 folds, surrogate gradient",
        sbnn(digits_folds, hidden_layer_sizes=(64,) * 10, inference="surrogate"),
    ),
    "plain-10": Configuration(
        "digits, 10 layers of 64, no stream, 5 folds",
        sbnn(digits_folds, hidden_layer_sizes=(64,) * 10, residual=False),
        [Bar("accuracy", low=0.93)],
    ),
    "narrow": Configuration("parity 4-6-6-1, no penalty", narrow(0.0)),
    "narrow-penalty": Configuration("parity 4-6-6-1, bias_penalty=0.01", narrow(0.01)),
    "mnist-penalty": Configuration(
        "MNIST 784-120-10, N=1000, spikes, bias_penalty=0.01",
        sbnn(one(lambda seed: spiking_mnist(1_000, seed)), hidden_layer_sizes=120, inference=Rao(bias_penalty=0.01)),
    ),
    "time": Configuration(
        "digits as spikes over 10 steps, LIF 64-60-10",
        sbnn(one(digits_over_time), hidden_layer_sizes=60, activation="lif"),
        [Bar("accuracy", low=0.97), Bar("ECE", high=0.03)],
    ),
    "spoken-1000": Configuration(
        "spoken digits 64-64-10, N=1000",
        sbnn(one(lambda seed: spoken_digits(1_000, seed)), hidden_layer_sizes=64, activation=LIF(readout=4)),
    ),
    "spoken-2700": Configuration(
        "spoken digits 64-64-10, N=2700",
        sbnn(one(lambda seed: spoken_digits(2_700, seed)), hidden_layer_sizes=64, activation=LIF(readout=4)),
    ),
    **{
        f"{name}-{short}": Configuration(f"{name}, 100 neurons, {kind.__name__}", regression(kind, name))
        for name in ("diabetes", "friedman")
        for short, kind in (("sbnn", SBNNRegressor), ("ep", EPSNNRegressor))
    },
}


def main() -> None:
    """Run what is asked for, print one table."""
    parser = argument_parser(__doc__.splitlines()[0], starts=False)
    choices = list(CONFIGURATIONS)
    parser.add_argument("--what", nargs="+", default=choices, choices=choices, help="all of it by default")
    arguments, rows = parser.parse_args(), []
    with threadpool_limits(limits=1):
        for what in arguments.what:
            if not what.startswith("spoken") or digits_path().is_file():
                rows += run_configuration(CONFIGURATIONS[what], arguments.seeds, ())
    report(rows, arguments.json)


if __name__ == "__main__":
    main()
