"""Signals over time: LIF neurons beside static networks, which see a signal's mean, five means or all of its steps.

Spoken digits (25 steps of 64 bands, its own 300 test recordings) come from ``spoken_digits.npz`` in the folder named by
SK_EPSNN_DATA, an array that `../plot_spoken_digits.py` makes from the Free Spoken Digit Dataset (CC BY-SA 4.0). For
"another speaker" five train and the sixth tests, who is another for every seed. JapaneseVowels (nine speakers, signals
of 7 to 29 steps) and BasicMotions are read from the wheel of aeon (``pip install --no-deps aeon`` will do).
What is not there is left out. The two other tasks are made here, 1,000 samples of 20 steps for training and 2,000 for
tests: which of two pulses came first, and whether two cues of one bit each, at least 8 steps apart, agree. Leaks and
readouts of these were chosen on samples of other seeds, those of recordings are the five parts that a static network
gets too.

All networks have 64 hidden neurons, those over steps for the two cues 32 more behind them; MLPClassifier and
LogisticRegression see standardised features, the networks of snnTorch (`_surrogate.py`) what ours see. CPU seconds are
those of `fit`, on one thread.

    python examples/benchmarks/sequences.py --seeds 0 1 --tasks "two pulses" "two cues"
    python examples/benchmarks/sequences.py --seeds 0 --tasks "two pulses" --methods "EPSNN over steps" --check
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from time import process_time
from typing import Any

import numpy as np
from _common import Arrays, Bar, Measures, Row, argument_parser, bar_row, ece, nll, print_columns, report
from _sequence_data import aeon_folder, aeon_set, digits_path, other_speakers, spoken_digits, two_cues, two_pulses
from _surrogate import SurrogateClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from sk_epsnn import LIF, EPSNNClassifier, GaussianPrior, Stochastic

HIDDEN = 64
#: For the check of the variance: networks drawn from the posterior, and test rows.
N_DRAWS, N_CHECKED = 200, 100

# ---------------------------------------------------------------------- tasks


@dataclass(frozen=True)
class Task:
    """Signals and labels of a seed, how the network over steps reads them, and what it should reach.

    ``options`` are those of the classifier over steps that are not at their defaults.
    """

    data: Callable[[int], Arrays]
    neuron: LIF | list[LIF]
    bars: Sequence[Bar] = ()
    options: dict[str, Any] = field(default_factory=dict)


FIVE_PARTS = LIF(leak=0.8, readout=5)
TASKS = {
    "spoken digits, N=1000": Task(
        lambda seed: spoken_digits(1_000, seed), FIVE_PARTS, [Bar("accuracy", low=0.98), Bar("NLL", high=0.10)]
    ),
    "spoken digits, N=2700": Task(
        lambda seed: spoken_digits(2_700, seed),
        FIVE_PARTS,
        [Bar("accuracy", low=0.985), Bar("NLL", high=0.07), Bar("ECE", high=0.03), Bar("CPU seconds", high=60)],
    ),
    "spoken digits, another speaker": Task(other_speakers, FIVE_PARTS),
    "JapaneseVowels": Task(
        lambda seed: aeon_set("JapaneseVowels"), FIVE_PARTS, [Bar("accuracy", low=0.985), Bar("NLL", high=0.07)]
    ),
    "BasicMotions": Task(lambda seed: aeon_set("BasicMotions"), LIF(leak=0.8), [Bar("accuracy", low=1.0)]),
    # Pulses are two channels at once: neurons see single steps, and the outputs remember.
    "two pulses": Task(
        two_pulses,
        LIF(leak=0.0, readout="last", readout_leak=0.84),
        [Bar("accuracy", low=0.95)],
        {"prior": GaussianPrior(anchor=0.2), "inference": Stochastic(n_passes=60)},
    ),
    # Neurons that see single steps, neurons that remember what these have seen, and the last of those.
    "two cues": Task(
        two_cues,
        [LIF(leak=0.0), LIF(leak=0.98, readout="last", readout_leak=0.0)],
        [Bar("accuracy", low=0.9)],
        {"hidden_layer_sizes": (64, 32)},
    ),
}

# ---------------------------------------------------------------------- methods


def parts(X: np.ndarray, n_parts: int) -> np.ndarray:
    """Means over equal parts of the steps that a signal has, side by side."""
    lengths = (~np.isnan(X[:, :, 0])).sum(1)
    signals = (np.array_split(signal[:length], n_parts) for signal, length in zip(X, lengths, strict=True))
    return np.stack([np.concatenate([part.mean(0) for part in signal]) for signal in signals])


def flat(X: np.ndarray) -> np.ndarray:
    """All steps side by side, 0 where there are none."""
    return np.nan_to_num(X).reshape(len(X), -1)


@dataclass(frozen=True)
class Method:
    """What a classifier sees of signals, and how it is made for a task and a seed."""

    view: Callable[[np.ndarray], np.ndarray]
    make: Callable[[Task, int], Any]


def _over_steps(task: Task, seed: int) -> EPSNNClassifier:
    options = {"hidden_layer_sizes": HIDDEN, **task.options}
    return EPSNNClassifier(activation=task.neuron, random_state=seed, **options)


def _static(task: Task, seed: int) -> EPSNNClassifier:
    return EPSNNClassifier(HIDDEN, random_state=seed)


OURS, BESIDE = "EPSNN over steps", "EPSNN, five parts"
METHODS = {
    OURS: Method(lambda X: X, _over_steps),
    "EPSNN, mean": Method(lambda X: parts(X, 1), _static),
    BESIDE: Method(lambda X: parts(X, 5), _static),
    "EPSNN, flat": Method(flat, _static),
    "MLP, flat": Method(
        flat,
        lambda task, seed: make_pipeline(
            StandardScaler(), MLPClassifier(HIDDEN, alpha=1, max_iter=1_000, random_state=seed)
        ),
    ),
    "logistic, flat": Method(
        flat, lambda task, seed: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000))
    ),
    "snnTorch Leaky": Method(lambda X: X, lambda task, seed: SurrogateClassifier(HIDDEN, False, seed)),
    "snnTorch RLeaky": Method(lambda X: X, lambda task, seed: SurrogateClassifier(HIDDEN, True, seed)),
}

# ---------------------------------------------------------------------- runs


def measure(task: Task, method: Method, seed: int, check: bool) -> Measures:
    """Train once; accuracy, NLL and ECE on the test rows."""
    X, y, X_test, y_test = task.data(seed)
    X, X_test = method.view(X), method.view(X_test)
    model = method.make(task, seed)
    began = process_time()
    model.fit(X, y)
    seconds = process_time() - began
    with np.errstate(divide="ignore"):  # a probability may be 0
        log_probability = model.predict_log_proba(X_test)
    index = np.searchsorted(model.classes_, y_test)
    measures = {
        "accuracy": float((log_probability.argmax(1) == index).mean()),
        "NLL": nll(log_probability, index),
        "ECE": ece(np.exp(log_probability), index),
        "CPU seconds": seconds,
    }
    if check:
        measures["variance"] = variance_ratio(model, X_test[:N_CHECKED])
    return measures


def variance_ratio(model: EPSNNClassifier, X: np.ndarray) -> float:
    """Median over rows and outputs: variance of a potential, over that among networks drawn from the posterior."""
    drawn = [model.freeze("sample", random_state=k).predict_potentials(X) for k in range(N_DRAWS)]
    among = np.var([potentials.mean for potentials in drawn], axis=0, ddof=1)
    within = np.mean([potentials.variance for potentials in drawn], axis=0)
    return float(np.median(model.predict_potentials(X).variance / (among + within)))


def run(arguments: argparse.Namespace) -> dict[tuple[str, str], list[Measures]]:
    """Measures of every task and method, one for each seed."""
    results = defaultdict(list)
    for name in arguments.tasks:
        for seed in arguments.seeds:
            for method in arguments.methods:
                figures = measure(TASKS[name], METHODS[method], seed, arguments.check and method == OURS)
                results[name, method].append(figures)
                said = "  ".join(f"{what} {value:.4f}" for what, value in figures.items())
                print(f"# {name}, {method}, seed {seed}: {said}", file=sys.stderr, flush=True)
    return results


def table(results: dict[tuple[str, str], list[Measures]]) -> list[Sequence[str]]:
    """Lines of means over the seeds; CPU seconds also as multiples of those of the static network on five parts."""
    lines = [("task", "method", "accuracy", "NLL", "ECE", "CPU seconds", f"times {BESIDE}")]
    for (task, method), runs in results.items():
        means = {what: float(np.mean([figures[what] for figures in runs])) for what in runs[0]}
        beside = [figures["CPU seconds"] for figures in results.get((task, BESIDE), [])]
        times = f"{means['CPU seconds'] / np.mean(beside):.1f}" if beside else ""
        cells = [f"{means[what]:.3f}" for what in ("accuracy", "NLL", "ECE")]
        lines.append((task, method, *cells, f"{means['CPU seconds']:.1f}", times))
    return lines


def bar_rows(results: dict[tuple[str, str], list[Measures]]) -> list[Row]:
    """Whether the network over steps reaches what it should, and knows how much its potentials vary."""
    rows = []
    for name, task in TASKS.items():
        runs = results.get((name, OURS), [])
        for bar in (*task.bars, Bar("variance", low=0.9, high=1.1)):
            if values := [figures[bar.measure] for figures in runs if bar.measure in figures]:
                what = "variance over that of draws" if bar.measure == "variance" else bar.measure
                rows.append(bar_row(f"{name}: {what}", bar, values))
    return rows


def parse() -> argparse.Namespace:
    """Options, without the tasks whose data are not there."""
    parser = argument_parser(__doc__.splitlines()[0], starts=False)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument(
        "--check", action="store_true", help=f"compare variances with {N_DRAWS} draws from the posterior"
    )
    arguments = parser.parse_args()
    if not digits_path().exists():
        print("Spoken digits are left out: no spoken_digits.npz in the folder SK_EPSNN_DATA.")
        arguments.tasks = [name for name in arguments.tasks if not name.startswith("spoken")]
    if find_spec("snntorch") is None:
        print("Networks by surrogate gradients are left out: snntorch is not installed.")
        arguments.methods = [name for name in arguments.methods if not name.startswith("snnTorch")]
    if aeon_folder() is None:
        print("Sets of aeon are left out: the package is not installed.")
        arguments.tasks = [name for name in arguments.tasks if name not in ("JapaneseVowels", "BasicMotions")]
    return arguments


def main() -> None:
    """Run the chosen methods on the chosen tasks."""
    arguments = parse()
    with threadpool_limits(limits=1):
        results = run(arguments)
    print_columns(table(results))
    print()
    report(bar_rows(results), arguments.json)


if __name__ == "__main__":
    main()
