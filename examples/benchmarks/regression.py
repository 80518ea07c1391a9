"""Regression of one variable through a population code, with and without gaps in the training data.

``y = x - 0.1 x^2 + cos(pi x / 2)`` plus noise of variance 1e-4, 600 training rows, a 100-128-1 Heaviside network.
D1: x uniform on [-1, 5]. D2: on [-1, 0], [1.5, 2.5] and [4, 5]. D3: D2 coded by rates instead of spikes. The test rows
are uniform on [-1, 5], gaps included, with noisy targets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
from _common import Arrays, Bar, Configuration, Measures, argument_parser, regressor_measures, run_and_report
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.pipeline import make_pipeline

from sk_epsnn import EPSNNRegressor, PopulationEncoder

N_TRAIN, N_TEST = 600, 1000
NOISE_SD = 0.01
WHOLE = [(-1.0, 5.0)]
GAPS = [(-1.0, 0.0), (1.5, 2.5), (4.0, 5.0)]
PROCESS = GaussianProcessRegressor(ConstantKernel() * RBF(3.0) + WhiteKernel(0.01), normalize_y=True)


@dataclass(frozen=True)
class Task:
    """Where the training data lie, and how they are coded."""

    intervals: list[tuple[float, float]]
    encoder: dict[str, Any] = field(default_factory=dict)


def limits(mse: float, nll: float, coverage: float = 0.995) -> list[Bar]:
    """The bars of one task: highest MSE, NLL and coverage."""
    return [Bar("MSE", high=mse), Bar("NLL", high=nll), Bar("coverage", 0.92, coverage)]


TASKS = {
    "D1 (spikes)": (Task(WHOLE), limits(0.026, -0.6)),
    "D2 (spikes, gaps)": (Task(GAPS), limits(0.055, -0.15)),
    "D3 (rates, gaps)": (Task(GAPS, {"output": "rates"}), limits(0.020, -0.9)),
    "D1 (spikes), width 1": (Task(WHOLE, {"width": 1.0}), limits(0.018, -0.75, 0.985)),
}


def draw(rng: np.random.Generator, n_samples: int, intervals: list[tuple[float, float]]) -> tuple[np.ndarray, ...]:
    """Rows uniform on intervals, which must be equally long, and their noisy targets."""
    low, high = np.array(intervals)[rng.integers(len(intervals), size=n_samples)].T
    x = rng.uniform(low, high)
    y = x - 0.1 * x**2 + np.cos(0.5 * np.pi * x)
    return x[:, None], y + NOISE_SD * rng.standard_normal(n_samples)


def rows_of(task: Task, seed: int) -> Arrays:
    """Training and test rows, not coded."""
    rng = np.random.default_rng(seed)
    return *draw(rng, N_TRAIN, task.intervals), *draw(rng, N_TEST, WHOLE)


def encoder_of(task: Task, seed: int, **parameters: Any) -> PopulationEncoder:
    """The population code; the range is given, so that it does not depend on where the training rows happen to end."""
    return PopulationEncoder(feature_range=(-1, 5), random_state=seed, **task.encoder, **parameters)


def coded_rows(task: Task, seed: int, **parameters: Any) -> Arrays:
    """The rows through the code."""
    X, y, X_test, y_test = rows_of(task, seed)
    code = encoder_of(task, seed, **parameters).fit(X)
    return code.transform(X), y, code.transform(X_test), y_test


def run(task: Task, seed: int, start: int) -> Measures:
    """Train on the data and spikes of one seed from one random start; measure on the test rows."""
    X, y, X_test, y_test = rows_of(task, seed)
    model = make_pipeline(encoder_of(task, seed), EPSNNRegressor(hidden_layer_sizes=(128,), random_state=start))
    began = perf_counter()
    model.fit(X, y)
    seconds = perf_counter() - began
    mean, std = model.predict(X_test, return_std=True)
    measures = regressor_measures(mean, std, y_test)
    if task.intervals is GAPS:
        gaps = np.all([(X_test[:, 0] < low) | (X_test[:, 0] > high) for low, high in GAPS], axis=0)
        measures["coverage in the gaps"] = regressor_measures(mean[gaps], std[gaps], y_test[gaps])["coverage"]
    return {**measures, "training seconds": seconds}


def run_process(task: Task, seed: int, start: int) -> Measures:
    """A Gaussian process on the same inputs; nothing in it is random."""
    X, y, X_test, y_test = coded_rows(task, seed)
    return regressor_measures(*clone(PROCESS).fit(X, y).predict(X_test, return_std=True), y_test)


def main() -> None:
    """Run all tasks."""
    arguments = argument_parser(__doc__.splitlines()[0]).parse_args()
    configurations = [Configuration(name, partial(run, task), bars) for name, (task, bars) in TASKS.items()]
    for name in ("D1 (spikes)", "D2 (spikes, gaps)"):
        configurations.append(Configuration(f"{name}, Gaussian process", partial(run_process, TASKS[name][0])))
    run_and_report(configurations, arguments)


if __name__ == "__main__":
    main()
