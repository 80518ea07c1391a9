"""MNIST by learned kernels, beside kernels that are not trained and a small convolutional network in PyTorch.

Every training set is a stratified random draw from the 60,000 training images, as pixel rates or as spikes; test
figures are from all 10,000 test images. The methods are `EPSNNClassifier` with `Convolution` or behind
`PatchSpikeEncoder`, and the network of ``_convnet.py``, which is tuned on the same rows. It has no rows of its own for
wide maps, binary kernels and the encoder: these read what "rates" of the same N do. CPU seconds are those of `fit`, on
one thread; those in which the peer is tuned are apart.

    python examples/benchmarks/convolution.py --what rates-1000 --method epsnn convnet --seeds 0 1
    python examples/benchmarks/convolution.py --what rates-60000 --method epsnn --memory
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from resource import RUSAGE_SELF, getrusage
from time import process_time
from typing import Any

from _common import (
    Arrays,
    Bar,
    Configuration,
    Measures,
    Row,
    argument_parser,
    classifier_measures,
    mnist_rates,
    report,
    run_configuration,
    spiking_mnist,
)
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

from sk_epsnn import Convolution, EPSNNClassifier, PatchSpikeEncoder, SBNNClassifier, Stochastic

ARCHITECTURE = (Convolution(12, 5, pool=2), Convolution(32, 3, pool=2))
#: For many images; as hot and with as many passes as 8,000 other training images asked for.
WIDE = (Convolution(16, 5, pool=2), Convolution(64, 3, pool=2))


def learned(seed: int, layers: Sequence[Convolution] = ARCHITECTURE, **options: Any) -> EPSNNClassifier:
    """Network whose kernels are trained."""
    return EPSNNClassifier(layers, random_state=seed, **options)


def variational(seed: int) -> SBNNClassifier:
    """The same network, trained by gradients."""
    return SBNNClassifier(ARCHITECTURE, random_state=seed)


def encoded(seed: int) -> Any:
    """One layer on rates of kernels that are not trained."""
    return make_pipeline(PatchSpikeEncoder((28, 28), random_state=seed), EPSNNClassifier(random_state=seed))


def convnet(seed: int) -> Any:
    """The peer."""
    from _convnet import ConvNetClassifier

    return ConvNetClassifier(seed)


@dataclass(frozen=True)
class Task:
    """Rows, this package's network for them, its bars, and whether the peer is trained on them too."""

    name: str
    n_samples: int
    data: Callable[[int, int], Arrays] = mnist_rates
    network: Callable[[int], Any] = learned
    bars: Sequence[Bar] = ()
    has_peer: bool = True

    def models(self) -> dict[str, Callable[[int], Any]]:
        """What makes the model of a method for a seed."""
        return {"epsnn": self.network} | ({"sbnn": variational, "convnet": convnet} if self.has_peer else {})


TASKS = {
    "rates-1000": Task("convolutions, pixel rates, N=1000", 1_000),
    "rates-10000": Task("convolutions, pixel rates, N=10000", 10_000),
    "rates-60000": Task("convolutions, pixel rates, N=60000", 60_000),
    "wide-60000": Task(
        "wide convolutions, pixel rates, N=60000",
        60_000,
        network=partial(learned, layers=WIDE, inference=Stochastic(temperature=3.5, n_passes=7)),
        has_peer=False,
    ),
    "spikes-10000": Task("convolutions, spikes, N=10000", 10_000, spiking_mnist),
    "binary-10000": Task(
        "binary convolutions, pixel rates, N=10000",
        10_000,
        network=partial(learned, weights="binary"),
        has_peer=False,
    ),
    "encoder-1000": Task("PatchSpikeEncoder, pixel rates, N=1000", 1_000, network=encoded, has_peer=False),
    "encoder-10000": Task("PatchSpikeEncoder, pixel rates, N=10000", 10_000, network=encoded, has_peer=False),
}
METHODS = {"epsnn": "EPSNN", "sbnn": "SBNN", "convnet": "ConvNet"}

# ---------------------------------------------------------------------- quality and time


def run(task: Task, method: str, seed: int, start: int) -> Measures:
    """Train on the rows of one seed, measure on the test images."""
    X, y, X_test, y_test = task.data(task.n_samples, seed)
    model = task.models()[method](start)
    began = process_time()
    model.fit(X, y)
    seconds = process_time() - began
    measures = classifier_measures(model, X_test, y_test)
    if getattr(model, "weights", None) == "binary":
        measures["accuracy frozen"] = model.freeze().score(X_test, y_test)
    if method == "convnet":
        tuning = model.tuning_seconds_
        return {**measures, "CPU seconds": seconds - tuning, "CPU seconds of tuning": tuning}
    return {**measures, "CPU seconds": seconds}


# ---------------------------------------------------------------------- memory


def peak(what: str, method: str, seed: int, train: bool) -> float:
    """Most memory that this process had, in MB, when it has loaded the data, or has trained on them too; Linux."""
    task = TASKS[what]
    with threadpool_limits(limits=1):
        X, y, _, _ = task.data(task.n_samples, seed)
        model = task.models()[method](seed)
        if train:
            model.fit(X, y)
    return getrusage(RUSAGE_SELF).ru_maxrss / 1024


def memory(what: str, method: str, seeds: Sequence[int]) -> Row:
    """Peak of a fit beside that of loading its data and libraries, each in a process of its own; the first seed."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        loaded, trained = (pool.submit(peak, what, method, seeds[0], train).result() for train in (False, True))
    name = f"{TASKS[what].name}, {METHODS[method]}: peak memory beside the data"
    return Row(name, "", f"{trained - loaded:.0f} MB ({trained:.0f} in all)", "")


# ---------------------------------------------------------------------- command line


def main() -> None:
    """Run what is asked for, print one table."""
    parser = argument_parser(__doc__.splitlines()[0], starts=False)
    found = [method for method in METHODS if method != "convnet" or find_spec("torch")]
    parser.add_argument("--what", nargs="+", default=list(TASKS), choices=list(TASKS), help="all of it by default")
    parser.add_argument("--method", nargs="+", default=found, choices=list(METHODS), help="all that are installed")
    parser.add_argument("--memory", action="store_true", help="peak memory of fits in place of quality and time")
    arguments, rows = parser.parse_args(), []
    for what in arguments.what:
        task = TASKS[what]
        for method in [method for method in arguments.method if method in task.models()]:
            if arguments.memory:
                rows.append(memory(what, method, arguments.seeds))
                continue
            bars = task.bars if method == "epsnn" else ()
            configuration = Configuration(f"{task.name}, {METHODS[method]}", partial(run, task, method), bars)
            with threadpool_limits(limits=1):
                rows += run_configuration(configuration, arguments.seeds, ())
    report(rows, arguments.json)


if __name__ == "__main__":
    main()
