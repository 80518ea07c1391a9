"""Speed on one thread: races with other methods, default fits, growth, cost in matrix products, prediction, memory.

CPU seconds on one BLAS thread, so that other work on the machine matters little; what is compared is measured side by
side in one run. Figures are medians over the seeds unless their rows say otherwise. Needs
``pip install "sk_epsnn[benchmark]"``; rows beside snnTorch and bayesian-torch (``pip install --no-deps
bayesian-torch``; of what it asks for, only torch is used here) are left out where these are not installed.

    python examples/benchmarks/speed.py --parts race fits products --seeds 0 1 2

Parts: race (`_race.py`); fits, friedman and growth (`_fits.py`); products, memory, arrays and process (here).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from _common import Row, argument_parser, load_mnist, report, spiking_mnist, verdict
from _fits import cpu_seconds, fits, friedman, growth
from _race import HIDDEN, N_TRAIN, left_out, missing, races
from regression import PROCESS, TASKS, WHOLE, draw, encoder_of
from threadpoolctl import threadpool_limits

from sk_epsnn import EPSNNClassifier, EPSNNRegressor, Newton, Stochastic
from sk_epsnn.ep import newton
from sk_epsnn.ep.stochastic import EVERY

# ---------------------------------------------------------------------- cost in matrix products


def seconds_of(work: Callable[[], Any], repeats: int = 5) -> float:
    """Median CPU seconds of a piece of work."""
    return median(cpu_seconds(work) for _ in range(repeats))


def count_directions(work: Callable[[], Any]) -> int:
    """Conjugate-gradient steps that the work takes: two products each."""
    steps = 0
    solve = newton.conjugate_gradient

    def counted(operator: Callable[[np.ndarray], Any], *arguments: Any) -> Any:
        def step(direction: np.ndarray) -> Any:
            nonlocal steps
            steps += 1
            return operator(direction)

        return solve(step, *arguments)

    newton.conjugate_gradient = counted
    try:
        work()
    finally:
        newton.conjugate_gradient = solve
    return steps


def products(seeds: list[int]) -> list[Row]:
    """One pass of either kind, and prediction, against matrix products of the same shapes alone."""
    rows = [stochastic_row(seeds), newton_row(seeds)]
    X, y, X_test, _ = spiking_mnist(N_TRAIN, seeds[0])
    for hidden in ((), HIDDEN):
        classifier = EPSNNClassifier(hidden, inference=Newton(n_sweeps=1), max_iter=1, random_state=seeds[0])
        classifier.fit(X[:1000], y[:1000])
        rows += prediction_rows(classifier, (784, *hidden, 10), X_test)
    return rows


#: Passes of the longer of two fits, whose difference is that of so many passes less one; their first rate.
LONG, RATE = 6, 0.25


def stochastic_row(seeds: list[int]) -> Row:
    """A pass of steps on mini-batches, without what a fit sets up, beside its products: medians over the seeds."""
    ours, bare = [], []
    for seed in seeds:
        X, y, _, _ = spiking_mnist(N_TRAIN, seed)
        seconds = []
        for n_passes in (1, LONG):
            inference = Stochastic(n_passes=n_passes, learning_rate=RATE, final_sweeps=0)
            classifier = EPSNNClassifier(HIDDEN, inference=inference, random_state=seed)
            seconds.append(cpu_seconds(partial(classifier.fit, X, y)))
            if classifier._progress.state.counts.halved_rates:
                raise RuntimeError("A pass was tried again, so passes cannot be told from the time of a fit.")
        ours.append((seconds[1] - seconds[0]) / (LONG - 1))
        bare.append(products_of_steps(classifier.settings_["batch_size"].value, X.shape[1] + 1))
    return ratio_row("784-120-10, one pass of steps, beside its products", median(ours), median(bare), 1.7)


def products_of_steps(batch_size: int, n_inputs: int) -> float:
    """CPU seconds of the products in a pass of steps: small ones, such as those of messages, are not counted."""
    width, n_hidden, n_out = HIDDEN[0], HIDDEN[0] + 1, 10
    batch, hidden = (np.ones((batch_size, n), np.float32) for n in (n_inputs, n_hidden))
    weights, delta = np.ones((n_inputs, width), np.float32), np.ones((batch_size, width), np.float32)
    covariances = np.ones((n_hidden, n_out * n_hidden), np.float32)
    up = seconds_of(lambda: batch @ weights, 50)
    down = seconds_of(lambda: delta.T @ batch, 50)
    quadratic = seconds_of(lambda: hidden @ covariances, 50)
    sites = seconds_of(lambda: [hidden.T @ hidden for _ in range(n_out)], 50)
    # Mean and variance of the first layer up, its gradient down, the quadratic forms of the last one. Where sites are
    # measured: precision and curvature of the first layer, precisions of the last one.
    step = 2 * up + down + quadratic + (2 * down + sites) / EVERY
    return N_TRAIN / batch_size * step


def newton_row(seeds: list[int]) -> Row:
    """A pass of 784-10 by Newton sweeps, the default, beside its products."""
    X, y, _, _ = spiking_mnist(N_TRAIN, seeds[0])
    classifier = EPSNNClassifier(max_iter=1, random_state=seeds[0])
    weights, n_batches = np.ones((10, X.shape[1]), X.dtype), 10
    batch = X[: N_TRAIN // n_batches]
    potentials = batch @ weights.T
    up = seconds_of(lambda: batch @ weights.T, 200)
    down = seconds_of(lambda: potentials.T @ batch, 200)
    steps = count_directions(lambda: classifier.fit(X, y))
    sweeps = 3 * n_batches
    # Up: mean and variance of each batch at first, the variance after each sweep, one per step. Down: gradient, site
    # precision and diagonal curvature in each sweep, one per step.
    bare = (2 * n_batches + sweeps + steps) * up + (3 * sweeps + steps) * down
    trained = seconds_of(lambda: classifier.fit(X, y))
    n_products = 2 * n_batches + 4 * sweeps + 2 * steps
    return ratio_row(f"784-10, one pass of sweeps, beside its {n_products} products, first seed", trained, bare)


def prediction_rows(classifier: EPSNNClassifier, widths: tuple[int, ...], X: np.ndarray) -> list[Row]:
    """Prediction of all rows beside its products, and of few rows."""
    bare = 0.0
    if len(widths) > 2:  # the principal axes
        rotation = np.ones((widths[0], widths[0] + 1), X.dtype)
        bare += seconds_of(lambda: X @ rotation)
    for layer in classifier._progress.state.layers:
        m, n = layer.posterior.mean.shape
        inputs, weights = np.ones((len(X), n), X.dtype), np.ones((n, m), X.dtype)
        if layer.posterior.precision.ndim == 2:
            bare += seconds_of(partial(twice, inputs, weights))
            continue
        # A mean, and a quadratic form per unit for the variance.
        matrix = np.ones((n, n), X.dtype)
        bare += seconds_of(partial(np.matmul, inputs, weights)) + m * seconds_of(partial(np.matmul, inputs, matrix))
    name = "-".join(map(str, widths))
    both = seconds_of(lambda: (classifier.predict(X), classifier.predict_uncertainty(X)))
    rows = [ratio_row(f"{name}, predict and predict_uncertainty of {len(X)} rows, beside the products", both, bare)]
    for n in (1, 1000):
        milliseconds = 1e3 * seconds_of(partial(classifier.predict_proba, X[:n]), 30)
        rows.append(Row(f"{name}, predict_proba of {n} rows", "", f"{milliseconds:.2f} ms", ""))
    return rows


def twice(inputs: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A mean and a variance: two products."""
    return inputs @ weights, inputs @ weights


def ratio_row(name: str, ours: float, bare: float, most: float = 3.0) -> Row:
    """The ratio to bare products, and whether it is small enough."""
    return Row(name, f"<= {most:g}", f"{ours / bare:.2f} ({ours:.3f} s / {bare:.3f} s)", verdict(ours <= most * bare))


# ---------------------------------------------------------------------- memory, arrays, whole fits

MEMORY = """
import sys
import numpy as np
from sk_epsnn import EPSNNClassifier, Newton, Stochastic
hidden = [int(n) for n in sys.argv[1:]]
rng = np.random.default_rng(0)
# One pass, and the sweep at the end of a fit with hidden layers.
options = {"inference": Stochastic(n_passes=1)} if hidden else {"inference": Newton(n_sweeps=1), "max_iter": 1}
model = EPSNNClassifier(hidden, **options)
model.fit(np.eye(20, dtype=np.float32), np.arange(20) % 10)
X = np.empty((60_000, 784), np.float32)
for rows in X:
    rows[:] = rng.random(784, dtype=np.float32) < 0.2
y = rng.integers(10, size=60_000)
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
before = peak()
model.fit(X, y)
print(peak() - before)
"""


def memory(seeds: list[int]) -> list[Row]:
    """Peak memory of a fit on 60,000 rows above that of a process that holds them."""
    rows = []
    for hidden in ((), HIDDEN):
        command = [sys.executable, "-c", MEMORY, *map(str, hidden)]
        kilobytes = int(subprocess.run(command, env=os.environ, capture_output=True, text=True, check=True).stdout)
        name = "-".join(map(str, (784, *hidden, 10)))
        extra = kilobytes / 1024
        rows.append(
            Row(f"{name}, N=60000: peak memory above the input", "<= 200", f"{extra:.0f} MB", verdict(extra <= 200))
        )
    return rows


ARRAYS = """
import json
import sys
from time import perf_counter, process_time
import numpy as np
import sklearn
import torch
from sk_epsnn import EPSNNClassifier
torch.set_num_threads(1)
arrays = np.load(sys.argv[1])
sklearn.set_config(array_api_dispatch=True)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
def run(there, n=None):
    X, y, asked = there(arrays["X"][:n]), there(arrays["y"][:n]), there(arrays["X_test"])
    model = EPSNNClassifier([int(width) for width in sys.argv[2:]], max_iter=1, random_state=0)
    start = perf_counter()
    model.fit(X, y)
    if device.type == "cuda":
        torch.cuda.synchronize()
    fitted = perf_counter()
    probability = model.predict_proba(asked)
    np.asarray(probability.cpu() if torch.is_tensor(probability) else probability)
    return fitted - start, perf_counter() - fitted
libraries = np.asarray, lambda values: torch.asarray(values, device=device)
for there in libraries:
    run(there, 1000)  # what a first call sets up
runs = [[run(there) for there in libraries] for _ in range(3)]
name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
print(json.dumps({"device": name, "seconds": np.median(runs, axis=0).tolist()}))
"""


def arrays(seeds: list[int]) -> list[Row]:
    """One pass and predictions on arrays of PyTorch, on a GPU where there is one, and of NumPy, of the first seed.

    Wall time, that of a GPU included.
    """
    if absent := missing("torch"):
        return [left_out("PyTorch over NumPy: one pass, predict_proba of 10000 rows", "", absent)]
    rows = []
    X, y, X_test, _ = spiking_mnist(N_TRAIN, seeds[0])
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    with TemporaryDirectory() as folder:
        file = str(Path(folder) / "arrays.npz")
        np.savez(file, X=X, y=y, X_test=X_test)
        for hidden in ((), HIDDEN):
            command = [sys.executable, "-c", ARRAYS, file, *map(str, hidden)]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
            run = json.loads(done.stdout)
            name = f"{'-'.join(map(str, (784, *hidden, 10)))}, PyTorch ({run['device']}) over NumPy"
            for what, theirs, ours in zip(("one pass", "predict_proba of 10000 rows"), *run["seconds"], strict=True):
                rows.append(Row(f"{name}: {what}", "", f"{ours / theirs:.2f} ({ours:.3f} s / {theirs:.3f} s)", ""))
    return rows


def process(seeds: list[int]) -> list[Row]:
    """Whole fits of a regressor with a hidden layer, and of a Gaussian process on the same coded inputs."""
    rows = []
    for n in (600, 2400):
        X, y = draw(np.random.default_rng(seeds[0]), n, WHOLE)
        X = encoder_of(TASKS["D1 (spikes)"][0], seeds[0]).fit_transform(X)
        models = {
            "EPSNNRegressor, 100-128-1": EPSNNRegressor((128,), random_state=seeds[0]),
            "Gaussian process": PROCESS,
        }
        for name, model in models.items():
            rows.append(Row(f"fit of {name}, N={n}", "", f"{seconds_of(partial(model.fit, X, y), 3):.2f} s", ""))
    return rows


PARTS: dict[str, Callable[[list[int]], list[Row]]] = {
    "race": races,
    "fits": fits,
    "friedman": friedman,
    "growth": growth,
    "products": products,
    "memory": memory,
    "arrays": arrays,
    "process": process,
}


def main() -> None:
    """Run the chosen parts."""
    parser = argument_parser(__doc__.splitlines()[0], starts=False)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--large", action="store_true", help="fits also on all 60,000 images, which takes minutes")
    arguments = parser.parse_args()
    load_mnist()
    parts = PARTS | {"fits": partial(fits, large=arguments.large)}
    with threadpool_limits(limits=1):
        rows = [row for part in arguments.parts for row in parts[part](arguments.seeds)]
    report(rows, arguments.json)


if __name__ == "__main__":
    main()
