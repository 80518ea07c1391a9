"""Training time of one epoch on 10,000 spiking MNIST images against snnTorch with Adam, on one thread.

snnTorch trains until it first reaches the test accuracy that one epoch here has reached. Both run in this process on
the same float32 spikes, in turn. Needs ``pip install "sk_epsnn[benchmark]"``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from _common import Arrays, Row, argument_parser, report, spiking_mnist, verdict
from threadpoolctl import threadpool_limits

from sk_epsnn import EPSNNClassifier

N_TRAIN = 10_000
BATCH, LEARNING_RATE, MAX_EPOCHS = 128, 1e-3, 30


class Race(NamedTuple):
    """One run of each: seconds, test accuracies, and the epochs that snnTorch took."""

    seconds: float
    accuracy: float
    their_seconds: float
    their_accuracy: float
    their_epochs: int


def import_torch() -> tuple[Any, Any]:
    """The modules torch and snntorch, or an error that says how to get them."""
    try:
        import snntorch
        import torch
    except ImportError as error:
        raise SystemExit(f'{error}. This benchmark needs the extra: pip install "sk_epsnn[benchmark]"') from error
    return torch, snntorch


def train_ours(data: Arrays, seed: int) -> tuple[float, float]:
    """Seconds and test accuracy of one epoch."""
    X, y, X_test, y_test = data
    classifier = EPSNNClassifier(max_iter=1, random_state=seed)
    began = perf_counter()
    classifier.fit(X, y)
    seconds = perf_counter() - began
    return seconds, float(classifier.score(X_test, y_test))


def train_theirs(data: Arrays, seed: int, target: float, max_epochs: int = MAX_EPOCHS) -> tuple[float, float, int]:
    """Seconds of training, test accuracy and epochs until the target is reached; evaluation is not timed."""
    torch, snntorch = import_torch()
    torch.manual_seed(seed)
    X, y, X_test, y_test = (torch.from_numpy(np.ascontiguousarray(array)) for array in data)
    linear, neuron = torch.nn.Linear(X.shape[1], 10), snntorch.Leaky(beta=0.0)

    def logits(rows: Any) -> Any:
        # A single time step: the membrane of the output neurons is their class score.
        _, membrane = neuron(linear(rows), neuron.init_leaky())
        return membrane

    optimizer = torch.optim.Adam(linear.parameters(), lr=LEARNING_RATE)
    seconds, accuracy, epochs = 0.0, 0.0, 0
    while accuracy < target and epochs < max_epochs:
        began = perf_counter()
        one_epoch(torch, logits, optimizer, X, y)
        seconds += perf_counter() - began
        epochs += 1
        with torch.no_grad():
            accuracy = float((logits(X_test).argmax(1) == y_test).double().mean())
    return seconds, accuracy, epochs


def one_epoch(torch: Any, logits: Callable[[Any], Any], optimizer: Any, X: Any, y: Any) -> None:
    """One pass of Adam over the shuffled rows."""
    for rows in torch.randperm(len(X)).split(BATCH):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits(X[rows]), y[rows]).backward()
        optimizer.step()


def race(seed: int) -> Race:
    """Train both on the data of one seed."""
    data = spiking_mnist(N_TRAIN, seed)
    seconds, accuracy = train_ours(data, seed)
    return Race(seconds, accuracy, *train_theirs(data, seed, accuracy))


def warm_up() -> None:
    """Let both make the set-up of their first call on a few rows."""
    X, y, X_test, y_test = spiking_mnist(1000, 0)
    train_ours((X, y, X_test[:100], y_test[:100]), 0)
    train_theirs((X, y, X_test[:100], y_test[:100]), 0, target=1.0, max_epochs=1)


def summarize(races: list[Race]) -> list[Row]:
    """Medians over the repetitions and the ratio of the times."""
    ours, theirs = median(r.seconds for r in races), median(r.their_seconds for r in races)
    reached = sum(r.their_accuracy >= r.accuracy for r in races)
    accuracy, their_accuracy = median(r.accuracy for r in races), median(r.their_accuracy for r in races)
    name = f"784-10, N={N_TRAIN}, median of {len(races)}"
    return [
        Row(f"{name}: one epoch", "", f"{ours:.2f} s, accuracy {accuracy:.4f}", ""),
        Row(
            f"{name}: snnTorch + Adam",
            "",
            f"{theirs:.2f} s, accuracy {their_accuracy:.4f}, {median(r.their_epochs for r in races):g} epochs; "
            f"got there {reached} of {len(races)} times",
            "",
        ),
        Row(f"{name}: ratio of times", "<= 1", f"{ours / theirs:.3f}", verdict(ours <= theirs)),
    ]


def main() -> None:
    """Run both in turn, once for each seed."""
    arguments = argument_parser(__doc__.splitlines()[0], starts=False).parse_args()
    torch, _ = import_torch()
    torch.set_num_threads(1)
    with threadpool_limits(limits=1):
        warm_up()
        races = []
        for seed in arguments.seeds:
            races.append(race(seed))
            print(f"# seed {seed}: {races[-1]}", file=sys.stderr, flush=True)
    report(summarize(races), arguments.json)


if __name__ == "__main__":
    main()
