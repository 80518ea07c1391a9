"""MNIST under shift: does the uncertainty of spiking MNIST classifiers tell known inputs from unknown ones?

Trains on 10,000 images. Known inputs are the test images. Unknown ones are uniform noise and test images with shuffled
pixels, each by a permutation of its own; in between, the test images are rotated. Everything becomes spikes by the same
encoder. An uncertainty is judged by the area under its ROC curve (AUROC): the probability that an unknown input gets a
higher one than a known input.

The scores of this package are the entropy of the prediction (total) and its epistemic part, those of the others the
entropy of their softmax. snnTorch and MLPClassifier have 120 hidden neurons and stop early on 10 % of the training
rows. snnTorch is left out if it is not installed.

    python examples/benchmarks/shift.py --seeds 0
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _common import Bar, Row, argument_parser, bar_row, load_mnist, print_columns, report, spiking_mnist
from scipy.ndimage import rotate
from scipy.special import softmax
from scipy.stats import entropy
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from sk_epsnn import EPSNNClassifier, RateSpikeEncoder

sys.path.append(str(Path(__file__).resolve().parents[1] / "paper"))

import _mle  # noqa: E402

N_TRAIN = 10_000
ANGLES = range(15, 91, 15)
UNKNOWN = ("noise", "shuffled")
BAR = Bar("AUROC", low=0.95)
#: The scores that the bar is for.
JUDGED = [("EPSNN 784-10", "epistemic"), ("EPSNN 784-120-10", "epistemic")]


class Reading(NamedTuple):
    """What a classifier says about rows: labels, and uncertainties by the name of the score."""

    labels: np.ndarray
    scores: dict[str, np.ndarray]


class Figures(NamedTuple):
    """Of one score on one kind of input: its mean in nats, its AUROC, and the classifier's accuracy."""

    mean: float
    auroc: float
    accuracy: float


Reader = Callable[[np.ndarray], Reading]
#: Figures by the names of method, score and input, one for each seed.
Results = dict[tuple[str, str, str], list[Figures]]

# ---------------------------------------------------------------------- data


def make_inputs(seed: int) -> dict[str, np.ndarray]:
    """The spikes of all test inputs by name; rotated images have the name of their angle."""
    _, _, images, _ = load_mnist()
    rng = np.random.default_rng(seed)
    rates = {
        "known": images,
        "noise": rng.uniform(size=images.shape).astype(np.float32),
        "shuffled": rng.permuted(images, axis=1),
    }
    for angle in ANGLES:
        turned = rotate(images.reshape(-1, 28, 28), angle, axes=(1, 2), reshape=False, order=1)
        rates[f"{angle}"] = turned.reshape(images.shape)
    # With a given range this is the encoder of the training images.
    encoder = RateSpikeEncoder(feature_range=(0, 1), random_state=seed).fit(images)
    return {name: encoder.transform(values) for name, values in rates.items()}


# ---------------------------------------------------------------------- methods


def epsnn(hidden: Sequence[int], X: np.ndarray, y: np.ndarray, seed: int) -> Reader:
    """This package."""
    classifier = EPSNNClassifier(hidden_layer_sizes=hidden, random_state=seed).fit(X, y)

    def read(rows: np.ndarray) -> Reading:
        uncertainty = classifier.predict_uncertainty(rows)
        return Reading(classifier.predict(rows), {"epistemic": uncertainty.epistemic, "total": uncertainty.total})

    return read


def snntorch(hidden: Sequence[int], X: np.ndarray, y: np.ndarray, seed: int) -> Reader:
    """A spiking network with known weights."""
    torch, _ = _mle.import_torch()
    torch.set_num_threads(1)
    X, X_held_out, y, y_held_out = train_test_split(X, y, test_size=0.1, stratify=y, random_state=seed)
    _, fit = _mle.classify((X, y, X_held_out, y_held_out), hidden, seed)

    def read(rows: np.ndarray) -> Reading:
        # Weights and biases of each layer in turn; a hidden neuron fires where its potential is above 0.
        for weights, bias in zip(fit.weights[:-2:2], fit.weights[1:-2:2], strict=True):
            rows = (rows @ weights.T + bias > 0).astype(np.float32)
        return from_probability(softmax((rows @ fit.weights[-2].T + fit.weights[-1]).astype(np.float64), axis=1))

    return read


def mlp(hidden: Sequence[int], X: np.ndarray, y: np.ndarray, seed: int) -> Reader:
    """A network of rectified linear units."""
    model = MLPClassifier(hidden, early_stopping=True, random_state=seed).fit(X, y)
    return lambda rows: from_probability(model.predict_proba(rows))


def from_probability(probability: np.ndarray) -> Reading:
    """The labels 0 to 9 and the entropy of a predicted distribution."""
    return Reading(probability.argmax(1), {"entropy": entropy(probability, axis=1)})


METHODS: dict[str, tuple[Callable[[Sequence[int], np.ndarray, np.ndarray, int], Reader], tuple[int, ...]]] = {
    "EPSNN 784-10": (epsnn, ()),
    "EPSNN 784-120-10": (epsnn, (120,)),
    "snnTorch 784-120-10": (snntorch, (120,)),
    "MLPClassifier 784-120-10": (mlp, (120,)),
}

# ---------------------------------------------------------------------- runs


def measure(read: Reader, inputs: dict[str, np.ndarray], y: np.ndarray) -> dict[tuple[str, str], Figures]:
    """Figures of a trained classifier by the names of score and input."""
    readings = {name: read(rows) for name, rows in inputs.items()}
    figures = {}
    for name, (labels, scores) in readings.items():
        for score, values in scores.items():
            known = readings["known"].scores[score]
            unknown = np.repeat([False, True], [len(known), len(values)])
            auroc = roc_auc_score(unknown, np.concatenate([known, values]))
            figures[score, name] = Figures(float(values.mean()), float(auroc), float(np.mean(labels == y)))
    return figures


def run(methods: Sequence[str], seeds: Sequence[int]) -> Results:
    """Train and measure the methods on every seed."""
    results = defaultdict(list)
    for seed in seeds:
        X, y, _, y_test = spiking_mnist(N_TRAIN, seed)
        inputs = make_inputs(seed)
        for method in methods:
            train, hidden = METHODS[method]
            for (score, name), figures in measure(train(hidden, X, y, seed), inputs, y_test).items():
                results[method, score, name].append(figures)
                print(f"# seed {seed}, {method}, {score}, {name}: {figures}", file=sys.stderr, flush=True)
    return results


# ---------------------------------------------------------------------- tables


def pairs(results: Results) -> list[tuple[str, str]]:
    """Methods with their scores."""
    return list(dict.fromkeys((method, score) for method, score, _ in results))


def unknown_table(results: Results) -> list[Sequence[str]]:
    """Lines of mean scores and AUROC on known and unknown inputs, means over the seeds."""
    heads = [f"mean {name}" for name in ("known", *UNKNOWN)] + [f"AUROC {name}" for name in UNKNOWN]
    lines = [("method", "score", *heads)]
    for method, score in pairs(results):
        average = {name: Figures(*np.mean(results[method, score, name], axis=0)) for name in ("known", *UNKNOWN)}
        means = [f"{figures.mean:.3f}" for figures in average.values()]
        lines.append((method, score, *means, *(f"{average[name].auroc:.3f}" for name in UNKNOWN)))
    return lines


def rotation_table(results: Results) -> list[Sequence[str]]:
    """Lines of accuracies, mean scores and AUROC at every angle, means over the seeds."""
    names = ["known", *map(str, ANGLES)]
    lines = [("method", "figure", "0", *names[1:])]
    seen = set()
    for method, score in pairs(results):
        average = [Figures(*np.mean(results[method, score, name], axis=0)) for name in names]
        if method not in seen:
            lines.append((method, "accuracy", *(f"{figures.accuracy:.3f}" for figures in average)))
        seen.add(method)
        lines.append((method, f"mean {score}", *(f"{figures.mean:.3f}" for figures in average)))
        lines.append((method, f"AUROC {score}", *(f"{figures.auroc:.3f}" for figures in average)))
    return lines


def bar_rows(results: Results) -> list[Row]:
    """Whether this package tells unknown inputs from known ones."""
    return [
        bar_row(f"{method}: AUROC of {score}, {name}", BAR, [f.auroc for f in results[method, score, name]])
        for method, score in pairs(results)
        if (method, score) in JUDGED
        for name in UNKNOWN
    ]


def parse() -> argparse.Namespace:
    """Options, without the methods that are not installed."""
    parser = argument_parser(__doc__.splitlines()[0], starts=False)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    arguments = parser.parse_args()
    if find_spec("snntorch") is None:
        print("snnTorch is left out: it is not installed.")
        arguments.methods = [method for method in arguments.methods if METHODS[method][0] is not snntorch]
    return arguments


def main() -> None:
    """Run the chosen methods."""
    arguments = parse()
    with threadpool_limits(limits=1):
        results = run(arguments.methods, arguments.seeds)
    print("Unknown inputs; scores in nats")
    print_columns(unknown_table(results))
    print("\nRotated images, by degrees; scores in nats")
    print_columns(rotation_table(results))
    print()
    report(bar_rows(results), arguments.json)


if __name__ == "__main__":
    main()
