"""Noise that depends on the features: intervals where it is small and where it is large, beside NGBoost.

Generated targets of one to five features whose noise has a known standard deviation, 2,000 test rows for each draw.
Test rows are halved by that standard deviation: at its median, or between the two values of a step. The methods are
those of tabular.py on the features in their own units: `EPSNNRegressor` on the rates of a population code, with
``noise_variance="heteroscedastic"`` and with a constant noise, and NGBoost, which comes with
``pip install "sk_epsnn[benchmark]"`` and is left out if it is not installed.

    python examples/benchmarks/noise.py --kinds step bumps --rows 400 --seeds 0 1
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from time import process_time

import numpy as np
from _common import Arrays, Bar, Measures, Row, argument_parser, print_columns, regressor_measures, report, verdict
from _tabular_models import MODELS, installed
from threadpoolctl import threadpool_limits

N_TEST = 2000
ROWS = (400, 1000, 2000)
METHODS = ("epsnn-rates", "epsnn-varying", "ngboost")
_, OURS, PEER = METHODS
COVERAGE = [Bar("coverage quiet", 0.92, 0.97), Bar("coverage loud", 0.92, 0.97)]

#: Features, the mean of the target and the standard deviation of its noise.
Rows = tuple[np.ndarray, np.ndarray, np.ndarray]
#: The measures of a kind, a number of rows and a method, one for each draw.
Results = dict[tuple[str, int, str], list[Measures]]

# ---------------------------------------------------------------------- kinds of noise


def step(rng: np.random.Generator, n_samples: int) -> Rows:
    """Two values of one feature, the larger one 21 times the smaller."""
    x = rng.uniform(0, 4, n_samples)
    return x[:, None], np.sin(2 * x), np.where(x > 2, 0.42, 0.02)


def step_down(rng: np.random.Generator, n_samples: int) -> Rows:
    """Two values of one feature, the larger one first, on two thirds of its range."""
    x = rng.uniform(-1, 1, n_samples)
    return x[:, None], x**2 + x, np.where(x < 0.3, 0.5, 0.1)


def linear(rng: np.random.Generator, n_samples: int) -> Rows:
    """Growing with one feature."""
    x = rng.uniform(0, 10, n_samples)
    return x[:, None], 2 * np.sin(x) + 0.3 * x, 0.05 + 0.1 * x


def bumps(rng: np.random.Generator, n_samples: int) -> Rows:
    """Large around two values of one feature."""
    x = rng.uniform(0, 4, n_samples)
    std = 0.05 + 0.4 * np.exp(-(((x - 1) / 0.4) ** 2)) + 0.3 * np.exp(-(((x - 3) / 0.3) ** 2))
    return x[:, None], np.cos(1.5 * x), std


def step_of_3(rng: np.random.Generator, n_samples: int) -> Rows:
    """Two values of the first of three features."""
    X = rng.uniform(0, 1, (n_samples, 3))
    return X, np.sin(4 * X[:, 0]) + X[:, 1] ** 2 - X[:, 2], np.where(X[:, 0] > 0.5, 0.5, 0.05)


def exponential_of_5(rng: np.random.Generator, n_samples: int) -> Rows:
    """The exponential of two of five features."""
    X = rng.uniform(0, 1, (n_samples, 5))
    return X, 2 * X[:, 0] - np.cos(3 * X[:, 1]) + X[:, 2], np.exp(-2.5 + 2 * X[:, 0] + 1.5 * X[:, 3])


def size_of_4(rng: np.random.Generator, n_samples: int) -> Rows:
    """Growing with the size of one of four normal features."""
    X = rng.normal(size=(n_samples, 4))
    return X, X[:, 0] + 0.5 * X[:, 1] ** 2, 0.1 + 0.3 * np.abs(X[:, 1])


def constant_of_4(rng: np.random.Generator, n_samples: int) -> Rows:
    """The same everywhere."""
    X = rng.uniform(0, 1, (n_samples, 4))
    return X, 2 * np.sin(3 * X[:, 0]) - X[:, 1] + X[:, 2] ** 2, np.full(n_samples, 0.3)


Kind = Callable[[np.random.Generator, int], Rows]
KINDS: dict[str, Kind] = {
    "step": step,
    "step-down": step_down,
    "linear": linear,
    "bumps": bumps,
    "step-of-3": step_of_3,
    "exponential-of-5": exponential_of_5,
    "size-of-4": size_of_4,
    "constant-of-4": constant_of_4,
}


def draw(kind: str, n_samples: int, seed: int) -> tuple[Arrays, np.ndarray]:
    """Training and test rows, and the standard deviation of the noise of the test rows."""
    rng = np.random.default_rng([seed, n_samples])
    X, mean, std = KINDS[kind](rng, n_samples + N_TEST)
    y = mean + std * rng.normal(size=len(std))
    return (X[:n_samples], y[:n_samples], X[n_samples:], y[n_samples:]), std[n_samples:]


def is_quiet(std: np.ndarray) -> np.ndarray:
    """The half with the smaller noise; where it is constant, every second row."""
    values = np.unique(std)
    if len(values) == 1:
        return np.arange(len(std)) % 2 == 0
    return std < values.mean() if len(values) == 2 else std <= np.median(std)


# ---------------------------------------------------------------------- runs


def measure(kind: str, n_samples: int, method: str, seed: int) -> Measures:
    """NLL, coverage of the two halves, and CPU seconds of training and prediction."""
    (X, y, X_test, y_test), noise = draw(kind, n_samples, seed)
    began = process_time()
    mean, std = MODELS[method].predict(X, y, X_test, seed)
    seconds = process_time() - began
    quiet = is_quiet(noise)
    whole, small, large = (
        regressor_measures(mean[rows], std[rows], y_test[rows]) for rows in (slice(None), quiet, ~quiet)
    )
    return {
        "NLL": whole["NLL"],
        "coverage quiet": small["coverage"],
        "coverage loud": large["coverage"],
        "seconds": seconds,
    }


def run(kinds: Sequence[str], rows: Sequence[int], methods: Sequence[str], seeds: Sequence[int]) -> Results:
    """Measure the methods on every draw."""
    results: Results = {}
    for key in ((kind, n, method) for kind in kinds for n in rows for method in methods):
        results[key] = []
        for seed in seeds:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                results[key].append(measure(*key, seed))
            figures = "  ".join(f"{name} {value:.4f}" for name, value in results[key][-1].items())
            print(f"# {', '.join(map(str, key))}, seed {seed}: {figures}", file=sys.stderr, flush=True)
    return results


# ---------------------------------------------------------------------- tables


def mean_of(results: Results, kind: str, n_samples: int, method: str, name: str) -> float:
    """A measure, averaged over the draws."""
    return float(np.mean([measures[name] for measures in results[kind, n_samples, method]]))


def print_results(results: Results) -> None:
    """Means over the draws, a line for each kind, number of rows and method."""
    names = list(next(iter(results.values()))[0])
    lines = [("noise", "rows", "method", *names)]
    for kind, n, method in results:
        figures = (f"{mean_of(results, kind, n, method, name):.3f}" for name in names)
        lines.append((kind, str(n), MODELS[method].label, *figures))
    print_columns(lines)


def bars_of(results: Results) -> Iterator[Row]:
    """Coverage of both halves, and the NLL beside NGBoost's where it was measured, of each kind and number of rows."""
    for kind, n in dict.fromkeys((kind, n) for kind, n, method in results if method == OURS):
        figures = [(bar, mean_of(results, kind, n, OURS, bar.measure)) for bar in COVERAGE]
        if (kind, n, PEER) in results:
            own, other = (mean_of(results, kind, n, method, "NLL") for method in (OURS, PEER))
            figures.append((Bar("NLL less NGBoost's", high=0.0), own - other))
        for bar, value in figures:
            yield Row(f"{kind}, {n} rows: {bar.measure}", str(bar), f"{value:.4f}", verdict(bar.holds(value)))


def main() -> None:
    """Run the chosen methods on the chosen kinds."""
    parser = argument_parser(__doc__.splitlines()[0], starts=False)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS), metavar="KIND")
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS), help="rows for training")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    arguments = parser.parse_args()
    with threadpool_limits(limits=1):
        results = run(arguments.kinds, arguments.rows, installed(arguments.methods), arguments.seeds)
    if results:
        print_results(results)
        print()
    report(list(bars_of(results)), arguments.json)


if __name__ == "__main__":
    main()
