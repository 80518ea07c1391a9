"""Races: CPU seconds of training until a network reaches an accuracy on the test images, beside other methods.

Networks train on spiking MNIST in float32, ours and the others' in turn on each seed. Rivals and the single layer are
looked at after each pass; with a hidden layer ours are whole fits of more and more passes, and the time is that of the
first fit that reaches the target, without those before it. Only training is timed. A target that is the best of a
rival is its best on the test images. Rows that need a package that is not installed are left out with a note.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any, NamedTuple

import numpy as np
from _common import Arrays, Row, spiking_mnist, verdict
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neural_network import MLPClassifier

from sk_epsnn import EPSNNClassifier, Newton, Stochastic

sys.path.append(str(Path(__file__).resolve().parents[1] / "paper"))

from _mle import import_torch  # noqa: E402

N_TRAIN = 10_000
HIDDEN = (120,)
BATCH, LEARNING_RATE, MOST_PASSES = 128, 1e-3, 30
#: Passes of whole fits by steps on mini-batches: their rate falls, so a fit is no stretch of a longer one.
FITS = (1, 2, 3, 4, 6, 9, 13)

Predict = Callable[[np.ndarray], np.ndarray]
#: Trains on ``(X, y, seed)`` and yields after each pass what predicts labels.
Contender = Callable[[np.ndarray, np.ndarray, int], Iterator[Predict]]


def missing(*modules: str) -> list[str]:
    """Those that are not installed."""
    return [module for module in modules if find_spec(module) is None]


def left_out(name: str, bar: str, modules: list[str]) -> Row:
    """What is said in the place of a row that needs packages that are not installed."""
    return Row(name, bar, f"left out: {', '.join(modules)} not installed", "")


# ---------------------------------------------------------------------- contenders


def epsnn(X: np.ndarray, y: np.ndarray, seed: int) -> Iterator[Predict]:
    """This package, one layer, one sweep over each batch."""
    classifier = EPSNNClassifier(inference=Newton(n_sweeps=1), max_iter=1, tol=0.0, warm_start=True, random_state=seed)
    while True:
        yield classifier.fit(X, y).predict


def epsnn_hidden(X: np.ndarray, y: np.ndarray, seed: int) -> Iterator[Predict]:
    """This package, a hidden layer of Heaviside neurons: whole fits of more and more passes."""
    for n_passes in FITS:
        inference = Stochastic(n_passes=n_passes, final_sweeps=0)
        yield EPSNNClassifier(HIDDEN, inference=inference, random_state=seed).fit(X, y).predict


def snntorch(X: np.ndarray, y: np.ndarray, seed: int) -> Iterator[Predict]:
    """The same single layer, by Adam."""
    torch, snn = import_torch()
    return _adam(torch, snn, torch.nn.Linear(X.shape[1], 10), X, y)


def snntorch_hidden(X: np.ndarray, y: np.ndarray, seed: int) -> Iterator[Predict]:
    """The same network with snnTorch's default surrogate gradient, by Adam."""
    torch, snn = import_torch()
    spikes = snn.Leaky(beta=0.0)

    class Fire(torch.nn.Module):
        def forward(self, potentials: Any) -> Any:
            return spikes(potentials, spikes.init_leaky())[0]

    network = torch.nn.Sequential(torch.nn.Linear(X.shape[1], HIDDEN[0]), Fire(), torch.nn.Linear(HIDDEN[0], 10))
    return _adam(torch, snn, network, X, y)


def _adam(torch: Any, snn: Any, network: Any, X: np.ndarray, y: np.ndarray) -> Iterator[Predict]:
    """Passes of Adam over shuffled batches; the membrane of the output neurons is their class score."""
    rows, labels = torch.from_numpy(X), torch.from_numpy(y)
    neuron = snn.Leaky(beta=0.0)
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)

    def logits(inputs: Any) -> Any:
        return neuron(network(inputs), neuron.init_leaky())[1]

    def predict(inputs: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return logits(torch.from_numpy(inputs)).argmax(1).numpy()

    while True:
        for chosen in torch.randperm(len(rows)).split(BATCH):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(logits(rows[chosen]), labels[chosen]).backward()
            optimizer.step()
        yield predict


def bayesian_torch(X: np.ndarray, y: np.ndarray, seed: int) -> Iterator[Predict]:
    """Mean-field variational inference (Bayes by backprop) on rectified linear units; 20 networks are averaged."""
    from bayesian_torch.layers import LinearReparameterization

    torch, _ = import_torch()
    first, last = LinearReparameterization(X.shape[1], HIDDEN[0]), LinearReparameterization(HIDDEN[0], 10)
    rows, labels = torch.from_numpy(X), torch.from_numpy(y)
    optimizer = torch.optim.Adam([*first.parameters(), *last.parameters()], lr=LEARNING_RATE)

    def logits(inputs: Any) -> tuple[Any, Any]:
        hidden, divergence = first(inputs)
        output, more = last(torch.relu(hidden))
        return output, divergence + more

    def predict(inputs: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            draws = [torch.softmax(logits(torch.from_numpy(inputs))[0], 1) for _ in range(20)]
            return sum(draws).argmax(1).numpy()

    while True:
        for chosen in torch.randperm(len(rows)).split(BATCH):
            optimizer.zero_grad()
            output, divergence = logits(rows[chosen])
            loss = torch.nn.functional.cross_entropy(output, labels[chosen]) + divergence / len(rows)
            loss.backward()
            optimizer.step()
        yield predict


def mlp(X: np.ndarray, y: np.ndarray, seed: int) -> Iterator[Predict]:
    """scikit-learn's network of rectified linear units, by Adam."""
    classifier = MLPClassifier(HIDDEN, random_state=seed)
    while True:
        yield classifier.partial_fit(X, y, classes=np.arange(10)).predict


def sgd(X: np.ndarray, y: np.ndarray, seed: int) -> Iterator[Predict]:
    """scikit-learn's logistic regression by stochastic gradients."""
    classifier = SGDClassifier(loss="log_loss", random_state=seed)
    while True:
        yield classifier.partial_fit(X, y, classes=np.arange(10)).predict


def logistic(X: np.ndarray, y: np.ndarray, seed: int) -> Iterator[Predict]:
    """scikit-learn's logistic regression by L-BFGS: one fit, no passes."""
    yield LogisticRegression(max_iter=1000).fit(X, y).predict


# ---------------------------------------------------------------------- races


class Run(NamedTuple):
    """CPU seconds of training, test accuracy and passes when the target was reached, or at the best without one."""

    seconds: float
    accuracy: float
    passes: int


def train(contender: Contender, data: Arrays, seed: int, target: float = np.inf) -> Run:
    """Train until the target, or for all passes; then the run up to the best pass."""
    if contender in (snntorch, snntorch_hidden, bayesian_torch):
        import_torch()[0].manual_seed(seed)
    X, y, X_test, y_test = data
    whole = contender is epsnn_hidden
    runs, seconds = [], 0.0
    passes = contender(X, y, seed)
    for index in range(1, MOST_PASSES + 1):
        began = process_time()
        predict = next(passes, None)
        took = process_time() - began
        if predict is None:
            break
        seconds = took if whole else seconds + took
        accuracy = float((predict(X_test) == y_test).mean())
        runs.append(Run(seconds, accuracy, FITS[index - 1] if whole else index))
        if runs[-1].accuracy >= target:
            return runs[-1]
    return max(runs, key=lambda run: run.accuracy)


def median_of(runs: list[Run]) -> Run:
    """Medians of each figure."""
    return Run(*(median(values) for values in zip(*runs, strict=True)))


def told(run: Run, target: float) -> str:
    """A run in words."""
    missed = "" if run.accuracy >= target else ", short of it"
    return f"{run.seconds:.2f} s, accuracy {run.accuracy:.4f}, {run.passes:g} passes{missed}"


def race(name: str, target: float, contenders: list[tuple[str, Contender]], seeds: list[int]) -> dict[str, Run]:
    """Median runs to a target, the contenders in turn on each seed."""
    runs: dict[str, list[Run]] = {label: [] for label, _ in contenders}
    for seed in seeds:
        data = spiking_mnist(N_TRAIN, seed)
        for label, contender in contenders:
            runs[label].append(train(contender, data, seed, target))
            print(f"# {name}, seed {seed}, {label}: {runs[label][-1]}", file=sys.stderr, flush=True)
    return {label: median_of(values) for label, values in runs.items()}


def races(seeds: list[int]) -> list[Row]:
    """Times to an accuracy."""
    absent = missing("torch", "snntorch")
    first: list[tuple[str, Contender]] = [("EPSNN", epsnn)]
    warm: list[Contender] = [epsnn, epsnn_hidden]
    if not absent:
        import_torch()[0].set_num_threads(1)
        first.append(("snnTorch + Adam", snntorch))
        warm += [snntorch, snntorch_hidden]
    first += [("SGDClassifier", sgd), ("LogisticRegression", logistic)]
    data = spiking_mnist(1000, 0)
    for contender in warm:
        next(contender(*data[:2], 0))  # what a first call sets up
    runs = race("784-10", 0.885, first, seeds)
    rows = race_rows("784-10 to .885", 0.885, runs, "snnTorch + Adam", 0.3, absent)
    if absent:
        rows.append(left_out("784-120-10 to snnTorch's best: time beside snnTorch + Adam", "<= 0.3", absent))
    else:
        rows += race_to_best("snnTorch", ("snnTorch + Adam", snntorch_hidden), 0.3, seeds)
    rows += race_to_best("MLPClassifier", ("MLPClassifier", mlp), 0.5, seeds)
    return rows + race_beside_bayesian(seeds)


def race_to_best(whose: str, rival: tuple[str, Contender], most: float, seeds: list[int]) -> list[Row]:
    """The same network to the best test accuracy of a rival, a median over the seeds."""
    best = median_of([train(rival[1], spiking_mnist(N_TRAIN, seed), seed) for seed in seeds]).accuracy
    runs = race("784-120-10", best, [("EPSNN", epsnn_hidden), rival], seeds)
    return race_rows(f"784-120-10 to {whose}'s best, {best:.4f}", best, runs, rival[0], most)


def race_beside_bayesian(seeds: list[int]) -> list[Row]:
    """To an accuracy that a Bayesian peer has to reach too."""
    absent = missing("torch", "snntorch", "bayesian_torch")
    if absent:
        return [left_out("784-120-10 to .94, beside bayesian-torch", "", absent)]
    contenders: list[tuple[str, Contender]] = [("EPSNN", epsnn_hidden), ("bayesian-torch", bayesian_torch)]
    runs = race("784-120-10", 0.94, contenders, seeds)
    return [Row(f"784-120-10 to .94: {label}", "", told(run, 0.94), "") for label, run in runs.items()]


def race_rows(
    name: str, target: float, runs: dict[str, Run], rival: str, most: float, absent: list[str] | None = None
) -> list[Row]:
    """The runs, and the ratio of ours to the rival's with its bar; a rival that never arrives is beaten."""
    rows = [Row(f"{name}: {label}", "", told(run, target), "") for label, run in runs.items()]
    name, bar = f"{name}: time beside {rival}", f"<= {most:g}"
    if absent:
        return [*rows, left_out(name, bar, absent)]
    ours, theirs = runs["EPSNN"], runs[rival]
    arrived = theirs.accuracy >= target
    ratio = ours.seconds / theirs.seconds
    said = f"{ratio:.2f}" if arrived else f"{rival} never gets there ({ratio:.2f} of its best run)"
    kept = ours.accuracy >= target and (ratio <= most or not arrived)
    return [*rows, Row(name, bar, said, verdict(kept))]
