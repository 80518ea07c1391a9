"""Speed on one thread: time to an accuracy beside other methods, cost in matrix products, prediction, memory, scaling.

Networks train on spiking MNIST in float32, ours and the others' in turn, and are judged on the test images after each
pass; only training is timed. Every figure is a median over the seeds, every ratio one of medians. Needs
``pip install "sk_epsnn[benchmark]"``. The Bayesian peer is left out where bayesian-torch is not installed
(``pip install --no-deps bayesian-torch``; of what it asks for, only torch is used here).

    python examples/benchmarks/speed.py --parts race products --seeds 0 1 2
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any, NamedTuple

import numpy as np
from _common import Arrays, Row, argument_parser, load_mnist, report, spiking_mnist, verdict
from regression import PROCESS, TASKS, WHOLE, draw, encoder_of
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from sk_epsnn import EPSNNClassifier, EPSNNRegressor, Newton, Stochastic
from sk_epsnn.ep import newton

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
    runs, seconds = [], 0.0
    passes = contender(X, y, seed)
    for index in range(1, MOST_PASSES + 1):
        began = process_time()
        predict = next(passes, None)
        took = process_time() - began
        if predict is None:
            break
        whole = contender is epsnn_hidden
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
    import_torch()[0].set_num_threads(1)
    data = spiking_mnist(1000, 0)
    for contender in (epsnn, epsnn_hidden, snntorch, snntorch_hidden):
        next(contender(*data[:2], 0))  # what a first call sets up
    rows = []
    first = [("EPSNN", epsnn), ("snnTorch + Adam", snntorch), ("SGDClassifier", sgd), ("LogisticRegression", logistic)]
    rows += race_rows("784-10 to .885", 0.885, race("784-10", 0.885, first, seeds), "snnTorch + Adam", 0.3)
    rows += race_to_best("snnTorch", ("snnTorch + Adam", snntorch_hidden), 0.3, seeds)
    rows += race_to_best("MLPClassifier", ("MLPClassifier", mlp), 0.5, seeds)
    third: list[tuple[str, Contender]] = [("EPSNN", epsnn_hidden), ("MLPClassifier", mlp)]
    if find_spec("bayesian_torch") is not None:
        third.append(("bayesian-torch", bayesian_torch))
    return rows + race_rows("784-120-10 to .94", 0.94, race("784-120-10", 0.94, third, seeds), "MLPClassifier", 0.5)


def race_to_best(whose: str, rival: tuple[str, Contender], most: float, seeds: list[int]) -> list[Row]:
    """The same network to the best test accuracy of a rival, a median over the seeds."""
    best = median_of([train(rival[1], spiking_mnist(N_TRAIN, seed), seed) for seed in seeds]).accuracy
    runs = race("784-120-10", best, [("EPSNN", epsnn_hidden), rival], seeds)
    return race_rows(f"784-120-10 to {whose}'s best, {best:.4f}", best, runs, rival[0], most)


def race_rows(name: str, target: float, runs: dict[str, Run], rival: str, most: float) -> list[Row]:
    """The runs, and the ratio of ours to the rival's with its bar; a rival that never arrives is beaten."""
    rows = [Row(f"{name}: {label}", "", told(run, target), "") for label, run in runs.items()]
    ours, theirs = runs["EPSNN"], runs[rival]
    arrived = theirs.accuracy >= target
    ratio = ours.seconds / theirs.seconds
    said = f"{ratio:.2f}" if arrived else f"{rival} never gets there ({ratio:.2f} of its best run)"
    kept = ours.accuracy >= target and (ratio <= most or not arrived)
    return [*rows, Row(f"{name}: time beside {rival}", f"<= {most:g}", said, verdict(kept))]


# ---------------------------------------------------------------------- cost in matrix products


def seconds_of(work: Callable[[], Any], repeats: int = 5) -> float:
    """Median time of a piece of work."""
    times = []
    for _ in range(repeats):
        began = perf_counter()
        work()
        times.append(perf_counter() - began)
    return median(times)


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
    """One pass of 784-10, and prediction, against matrix products of the same shapes alone."""
    X, y, X_test, _ = spiking_mnist(N_TRAIN, seeds[0])
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
    rows = [ratio_row(f"784-10, one pass, beside its {2 * n_batches + 4 * sweeps + 2 * steps} products", trained, bare)]
    for hidden in ((), HIDDEN):
        classifier = EPSNNClassifier(hidden, inference=Newton(n_sweeps=1), max_iter=1, random_state=seeds[0])
        classifier.fit(X[:1000], y[:1000])
        rows += prediction_rows(classifier, (784, *hidden, 10), X_test)
    return rows


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


def ratio_row(name: str, ours: float, bare: float) -> Row:
    """The ratio to bare products, which shall be at most 3."""
    return Row(name, "<= 3", f"{ours / bare:.2f} ({ours:.3f} s / {bare:.3f} s)", verdict(ours <= 3 * bare))


# ---------------------------------------------------------------------- memory and scaling

MEMORY = """
import sys
import numpy as np
from sk_epsnn import EPSNNClassifier, Newton
hidden = [int(n) for n in sys.argv[1:]]
rng = np.random.default_rng(0)
model = EPSNNClassifier(hidden, inference=Newton(n_sweeps=1), max_iter=1)
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
    """One pass and predictions on arrays of PyTorch, on a GPU where there is one, and of NumPy."""
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


def scaling(seeds: list[int]) -> list[Row]:
    """Time of one pass over rows, hidden neurons, layers and classes."""
    rows = []

    def timed(what: str, hidden: tuple[int, ...], X: np.ndarray, y: np.ndarray) -> None:
        fit = EPSNNClassifier(hidden, max_iter=1, random_state=seeds[0]).fit
        rows.append(Row(f"one pass, {what}", "", f"{seconds_of(lambda: fit(X, y), 3):.2f} s", ""))

    for n in (1000, 10_000, 60_000):
        X, y, _, _ = spiking_mnist(n, seeds[0])
        timed(f"784-10, N={n}", (), X, y)
    X, y, _, _ = spiking_mnist(1000, seeds[0])
    for hidden in ((30,), (120,), (480,), (120, 120), (120, 120, 120)):
        timed(f"784-{'-'.join(map(str, hidden))}-10, N=1000", hidden, X, y)
    for classes in (2, 10, 100):
        X, y = make_classification(
            5000, 200, n_informative=50, n_classes=classes, n_clusters_per_class=1, random_state=0
        )
        timed(f"200-{classes}, N=5000", (), X.astype(np.float32), y)
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


PARTS = {
    "race": races,
    "products": products,
    "memory": memory,
    "arrays": arrays,
    "scaling": scaling,
    "process": process,
}


def main() -> None:
    """Run the chosen parts."""
    parser = argument_parser(__doc__.splitlines()[0], starts=False)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    arguments = parser.parse_args()
    load_mnist()
    with threadpool_limits(limits=1):
        rows = [row for part in arguments.parts for row in PARTS[part](arguments.seeds)]
    report(rows, arguments.json)


if __name__ == "__main__":
    main()
