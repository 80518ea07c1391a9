"""No seed diverges: steps on mini-batches over many seeds, data sets, depths, weights and priors.

Every seed draws its own training and test rows, spikes and start. A line for each combination, named
``data/hidden layers/weights/prior``: median and worst test score (accuracy, or R2 of the regressor), runs with an error
or a prediction that is not finite, runs more than .05 below the median, and runs no better than a constant prediction
(the most frequent class or the mean of the test rows): there the signals have died, perhaps for all seeds alike. Test
sets are small, so that some of the runs below the median are those whose rows are hard.

    python examples/benchmarks/robust.py --seeds 0 1 2 --combinations wine/binary diabetes/4 --jobs 2
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from time import perf_counter, process_time
from typing import NamedTuple

import numpy as np
from _common import Row, argument_parser, load_mnist, print_table, verdict
from joblib import Parallel, delayed
from sklearn.datasets import load_diabetes, load_digits, load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from sk_epsnn import EPSNNClassifier, EPSNNRegressor, RateSpikeEncoder

SEEDS = range(50)
WIDTH = 30
#: Rows of MNIST for training and for tests.
N_TRAIN, N_TEST = 500, 2000
#: A run may score so much less than the median.
TOLERANCE = 0.05
TABLES = {"wine": load_wine, "diabetes": load_diabetes}
DATA = ("digits", "mnist", *TABLES)
DEPTHS = (1, 2, 3, 4)
PRIORS = {
    "continuous": ("gaussian", "bernoulli_gaussian", "laplace"),
    "binary": ("gaussian",),
    "ternary": ("gaussian",),
}


class Combination(NamedTuple):
    """What is trained."""

    data: str
    depth: int
    weights: str
    prior: str

    def __str__(self) -> str:
        return "/".join(map(str, self))

    def matches(self, pattern: str) -> bool:
        """Whether all words of ``a/b`` are among those of the name."""
        return set(pattern.split("/")) <= set(map(str, self))


COMBINATIONS = [
    Combination(data, depth, weights, prior)
    for data, depth, weights in product(DATA, DEPTHS, PRIORS)
    for prior in PRIORS[weights]
]


class Outcome(NamedTuple):
    """Score of a run, NaN if it broke; that of a constant; whether all predictions are finite; CPU seconds; error."""

    score: float
    constant: float
    finite: bool
    seconds: float
    error: str = ""


def split(data: str, seed: int) -> list[np.ndarray]:
    """Training and test rows of a seed, and their targets: ``X, X_test, y, y_test``."""
    if data == "mnist":
        X, y, _, _ = load_mnist()
        sizes = {"train_size": N_TRAIN, "test_size": N_TEST}
        X, X_test, y, y_test = train_test_split(X, y, **sizes, stratify=y, random_state=seed)
        encoder = RateSpikeEncoder(feature_range=(0, 1), random_state=seed).fit(X)
        return [encoder.transform(X), encoder.transform(X_test), y, y_test]
    if data == "digits":
        X, y = load_digits(return_X_y=True)
        return train_test_split(X, y, stratify=y, random_state=seed)
    X, y = TABLES[data](return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, stratify=None if data == "diabetes" else y, random_state=seed)
    scaler = StandardScaler().fit(X)
    return [scaler.transform(X), scaler.transform(X_test), y, y_test]


def run(combination: Combination, seed: int) -> Outcome:
    """Train and test once, on one BLAS thread; an error is an outcome too."""
    X, X_test, y, y_test = split(combination.data, seed)
    is_regressor = combination.data == "diabetes"
    constant = 0.0 if is_regressor else float(np.unique(y_test, return_counts=True)[1].max() / len(y_test))
    estimator = (EPSNNRegressor if is_regressor else EPSNNClassifier)(
        (WIDTH,) * combination.depth,
        weights=combination.weights,
        prior=combination.prior,
        inference="stochastic",
        random_state=seed,
    )
    began = process_time()
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            estimator.fit(X, y)
            seconds = process_time() - began
            if is_regressor:
                figures = np.concatenate(estimator.predict(X_test, return_std=True))
            else:
                figures = estimator.predict_proba(X_test)
            finite = bool(np.isfinite(figures).all())
            score = float(estimator.score(X_test, y_test)) if finite else np.nan
        except Exception as error:  # whatever it is, it is to be counted
            return Outcome(np.nan, constant, False, process_time() - began, f"{type(error).__name__}: {error}")
    return Outcome(score, constant, finite, seconds)


class Summary(NamedTuple):
    """Of all seeds of a combination."""

    combination: Combination
    median: float
    worst: float
    n_runs: int
    n_broken: int
    n_below: int
    n_constant: int

    def __str__(self) -> str:
        return (
            f"{self.combination!s:<42} median {self.median:7.4f}  worst {self.worst:7.4f}  "
            f"not finite {self.n_broken:3d}  below {self.n_below:3d}  constant {self.n_constant:3d}"
        )

    @property
    def row(self) -> Row:
        """The line of a table."""
        said = f"median {self.median:.4f}, worst {self.worst:.4f}, {self.n_broken} not finite, {self.n_below} below"
        said += f", {self.n_constant} no better than a constant"
        return Row(str(self.combination), "", f"{said}, of {self.n_runs}", "")


def summary(combination: Combination, outcomes: Sequence[Outcome]) -> Summary:
    """Median, worst and counts."""
    kept = [outcome for outcome in outcomes if outcome.finite]
    scores = np.array([outcome.score for outcome in kept] or [np.nan])
    middle = float(np.median(scores))
    return Summary(
        combination,
        middle,
        float(scores.min()),
        len(outcomes),
        len(outcomes) - len(kept),
        int((scores < middle - TOLERANCE).sum()),
        sum(outcome.score <= outcome.constant for outcome in kept),
    )


def verdicts(summaries: Sequence[Summary]) -> list[Row]:
    """Over all combinations: whether all is finite, nothing far below its median, and something was learned."""
    n_runs = sum(each.n_runs for each in summaries)
    counts = {
        "runs with an error or predictions that are not finite": [each.n_broken for each in summaries],
        f"runs more than {TOLERANCE:g} below the median": [each.n_below for each in summaries],
        "runs no better than a constant": [each.n_constant for each in summaries],
    }
    rows = []
    for what, broken in counts.items():
        said = f"{sum(broken)} of {n_runs}, in {np.count_nonzero(broken)} of {len(summaries)} combinations"
        rows.append(Row(what, "0", said, verdict(sum(broken) == 0)))
    return rows


def main() -> None:
    """Run the chosen combinations, one after the other, their seeds beside each other."""
    parser = argument_parser(__doc__.splitlines()[0], starts=False)
    parser.set_defaults(seeds=list(SEEDS))
    parser.add_argument("--combinations", nargs="+", metavar="A/B", help="those whose names hold all words of one")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one BLAS thread each")
    arguments = parser.parse_args()
    patterns = arguments.combinations
    chosen = [c for c in COMBINATIONS if patterns is None or any(map(c.matches, patterns))]
    if not chosen:
        parser.error(f"no such combination; there are {', '.join(map(str, COMBINATIONS))}")
    if any(combination.data == "mnist" for combination in chosen):
        load_mnist()
    summaries, seconds, began = [], 0.0, perf_counter()
    with Parallel(n_jobs=arguments.jobs) as parallel:
        for combination in chosen:
            outcomes = parallel(delayed(run)(combination, seed) for seed in arguments.seeds)
            summaries.append(summary(combination, outcomes))
            spent = sum(outcome.seconds for outcome in outcomes)
            seconds += spent
            print(f"{summaries[-1]}  {spent / len(outcomes):.2f} s a fit", flush=True)
            for seed, outcome in zip(arguments.seeds, outcomes, strict=True):
                if outcome.error:
                    print(f"# {combination}, seed {seed}: {outcome.error}", file=sys.stderr, flush=True)
    print(f"# {seconds:.0f} CPU seconds of fits, {perf_counter() - began:.0f} s in all", file=sys.stderr)
    last = verdicts(summaries)
    print_table(last)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([asdict(row) for row in [*(each.row for each in summaries), *last]]))
    words = "; ".join(f"{row.what}: {row.measured}" for row in last)
    print(f"{verdict(all(row.verdict != 'FAIL' for row in last))}: {words}")


if __name__ == "__main__":
    main()
