"""Tables I, II and III of the paper (arXiv:2506.23757), and what prior, temperature and power do to PeBCE and NLL.

Prints them in markdown; ``--write`` also puts them into ``docs/reproduction.md``. All cells are train/test, averaged
over the seeds, which draw the data, the spikes and the start. Takes about ten minutes on one core.

    python examples/paper/tables.py --tables 1 trade --write
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import _mle
import numpy as np
from _shared import DOCS, SEEDS, Split, classification, classifier, coded, regression, spiking_mnist
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from sk_epsnn import EPSNNRegressor, GaussianPrior, HeavisideOutput, Levels, Newton

#: Name of the rows that need snnTorch.
BASELINE = "MLE (snnTorch)"


@dataclass(frozen=True)
class Row:
    """One network on one training set: what the paper prints, as train/test, and how to measure it here."""

    name: str
    data: str
    run: Callable[[int], Split]
    paper: dict[str, str] = field(default_factory=dict)


def classify(n_samples: int, parameters: dict[str, Any], seed: int) -> Split:
    """Our classifier on spiking MNIST."""
    data = spiking_mnist(n_samples, seed)
    return classification(classifier(**parameters, random_state=seed).fit(*data[:2]), data)


def classify_mle(n_samples: int, hidden: Sequence[int], seed: int) -> Split:
    """The baseline on spiking MNIST."""
    return _mle.classify(spiking_mnist(n_samples, seed), hidden, seed)[0]


def regress(dataset: str, parameters: dict[str, Any], width: Any, seed: int) -> Split:
    """Our regressor on a population code."""
    data = coded(dataset, seed, width)
    model = EPSNNRegressor(hidden_layer_sizes=(128,), **parameters, random_state=seed)
    return regression(model.fit(*data[:2]), data)


def regress_mle(dataset: str, seed: int) -> Split:
    """The baseline on a population code."""
    return _mle.regress(coded(dataset, seed), [128], seed)[0]


def table_1() -> list[Row]:
    """784-10, one-hot targets; weights and outputs of four kinds."""
    binary, heaviside = {"weights": "binary"}, {"output_activation": "heaviside"}
    bare = {"weights": Levels((-1, 1), gain=1.0)}
    no_noise = {"output_activation": HeavisideOutput(noise_variance=0.0)}
    networks: list[tuple[str, dict[str, Any], dict[int, tuple[str, ...]]]] = [
        (
            "binary, Heaviside outputs",
            binary | heaviside,
            {1000: (".96/.76", ".06/.19"), 10000: (".89/.86", ".09/.12")},
        ),
        ("the same, gain 1, no noise", bare | no_noise, {}),
        ("binary, sigmoid outputs", binary, {1000: (".97/.80", ".06/.13"), 10000: (".90/.86", ".08/.11")}),
        ("the same, gain 1", bare, {}),
        ("ternary, sigmoid outputs", {"weights": "ternary"}, {}),
        ("continuous, Heaviside outputs", heaviside, {1000: (".98/.84", ".07/.12"), 10000: (".93/.86", ".06/.12")}),
        ("continuous, sigmoid outputs", {}, {1000: ("1.00/.84", ".07/.12"), 10000: (".93/.87", ".06/.09")}),
        ("the same, temperature 1", {"inference": Newton(temperature=1.0)}, {}),
    ]
    rows = []
    for n, accuracy, loss in ((1000, ".97/.84", ".04/.11"), (10000, ".92/.88", ".07/.09")):
        data = f"N = {n:,}"
        rows.append(Row(BASELINE, data, partial(classify_mle, n, []), _printed(accuracy, loss)))
        for name, parameters, paper in networks:
            rows.append(Row(name, data, partial(classify, n, parameters), _printed(*paper.get(n, ()))))
    return rows


def table_2() -> list[Row]:
    """784-120-10, Heaviside hidden neurons, N = 1,000: priors."""
    slab = {"prior": "bernoulli_gaussian"}
    networks: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
        ("Gaussian prior, scaled to the data (default)", {}, (".90/.83", ".12/.14")),
        ("Gaussian prior N(0, 1), anchor .3", {"prior": GaussianPrior(variance=1.0, anchor=0.3)}, ()),
        ("Bernoulli-Gaussian prior", slab, (".92/.83", ".11/.14")),
        ("the same, temperature 1", slab | {"inference": Newton(temperature=1.0)}, ()),
    ]
    mle = Row(BASELINE, "N = 1,000", partial(classify_mle, 1000, [120]), _printed("1.00/.85", ".02/.09"))
    return [
        mle,
        *(
            Row(
                name,
                "N = 1,000",
                partial(classify, 1000, {"hidden_layer_sizes": (120,), **parameters}),
                _printed(*paper),
            )
            for name, parameters, paper in networks
        ),
    ]


def _printed(*paper: str) -> dict[str, str]:
    return dict(zip(("accuracy", "PeBCE"), paper, strict=False))


#: Tuning curves and settings that go with the standard Gaussian prior, chosen on other draws of the data.
STANDARD_WIDTH = 1.6
STANDARD = {
    "prior": GaussianPrior(variance=1.0),
    "inference": Newton(temperature=[0.3, 1.0], n_sweeps=10, validation_fraction=0.0),
    "batch_size": 600,
    "max_iter": 10,
}


def table_3() -> list[Row]:
    """100-128-1, regression."""
    paper = {"D1": (".002/.036", ".031/.032"), "D2": (".002/.046", ".025/.040"), "D3": (".001/.071", ".005/.026")}
    rows = []
    for dataset, (mle, ours) in paper.items():
        standard = partial(regress, dataset, STANDARD, STANDARD_WIDTH)
        rows += [
            Row(BASELINE, dataset, partial(regress_mle, dataset), {"MSE": mle}),
            Row("prior scaled to the data (default)", dataset, partial(regress, dataset, {}, "auto"), {"MSE": ours}),
            Row(f"prior N(0, 1), `width={STANDARD_WIDTH}`", dataset, standard),
        ]
    return rows


#: Prior that is narrower along the principal axes of the inputs along which these vary little.
SPECTRAL = {"prior": GaussianPrior(variance=3.0, spectral_exponent=1.0)}


def table_trade() -> list[Row]:
    """784-10, continuous weights, sigmoid outputs: prior, power, temperature."""
    plain = {"inference": Newton(power=1.0, temperature=1.0)}
    networks: list[tuple[str, dict[str, Any]]] = [
        ("default: scaled prior, power .1, temperature .2", {}),
        ("power 1", {"inference": Newton(power=1.0)}),
        ("temperature 1", {"inference": Newton(temperature=1.0)}),
        ("power 1, temperature 1", plain),
        ("temperature .1", {"inference": Newton(temperature=0.1)}),
        ("prior N(0, 1)", {"prior": GaussianPrior(variance=1.0)}),
        ("spectral prior", SPECTRAL),
        ("spectral prior, power 1, temperature 1", SPECTRAL | plain),
    ]
    return [
        Row(name, f"N = {n:,}", partial(classify, n, parameters))
        for n in (1000, 10000)
        for name, parameters in networks
    ]


TABLES: dict[str, tuple[Callable[[], list[Row]], list[str]]] = {
    "1": (table_1, ["accuracy", "PeBCE", "NLL"]),
    "2": (table_2, ["accuracy", "PeBCE", "NLL"]),
    "3": (table_3, ["MSE"]),
    "trade": (table_trade, ["accuracy", "PeBCE", "NLL"]),
}


def measure(rows: Sequence[Row], seeds: Sequence[int], n_jobs: int) -> list[list[Split]]:
    """Measures of every row and seed."""
    jobs = (delayed(_run)(row, seed) for row in rows for seed in seeds)
    splits = Parallel(n_jobs=n_jobs, verbose=10)(jobs)
    return [splits[k : k + len(seeds)] for k in range(0, len(splits), len(seeds))]


def _run(row: Row, seed: int) -> Split:
    with threadpool_limits(limits=1):
        return row.run(seed)


def markdown(rows: Sequence[Row], splits: Sequence[Sequence[Split]], measures: Sequence[str]) -> str:
    """A table with the paper's figures beside ours."""
    printed = [name for name in measures if any(name in row.paper for row in rows)]
    head = ["network", "data"]
    for name in measures:
        head += [f"{name}, paper", f"{name}, measured"] if name in printed else [f"{name}, measured"]
    lines = [head, ["---"] * len(head)]
    for row, runs in zip(rows, splits, strict=True):
        cells = [row.name, row.data]
        for name in measures:
            cells += [row.paper.get(name, "")] if name in printed else []
            cells.append(_cell(runs, name))
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(runs: Sequence[Split], name: str) -> str:
    train, test = np.mean([s.train[name] for s in runs]), [s.test[name] for s in runs]
    spread = f" ({_figure(np.std(test, ddof=1))})" if len(runs) > 1 else ""
    return f"{_figure(train)}/{_figure(np.mean(test))}{spread}"


def _figure(value: float) -> str:
    return f"{value:.4f}".removeprefix("0")


def write(name: str, table: str) -> None:
    """Put a table between its marks in the page."""
    page = DOCS / "reproduction.md"
    text = page.read_text(encoding="utf-8")
    pattern = rf"(<!-- table {name} -->\n).*?(<!-- end -->)"
    text, found = re.subn(pattern, lambda match: f"{match[1]}{table}\n{match[2]}", text, flags=re.DOTALL)
    if found != 1:
        raise ValueError(f"{page} has no marks for table {name}")
    page.write_text(text, encoding="utf-8")


def main() -> None:
    """Measure the chosen tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--jobs", type=int, default=1, help="processes, each on one thread")
    parser.add_argument("--no-baseline", action="store_true", help="leave out the rows that need snnTorch")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/reproduction.md")
    arguments = parser.parse_args()
    for name in arguments.tables:
        build, measures = TABLES[name]
        rows = [row for row in build() if not (arguments.no_baseline and row.name == BASELINE)]
        table = markdown(rows, measure(rows, arguments.seeds, arguments.jobs), measures)
        print(f"\nTable {name}\n\n{table}", flush=True)
        if arguments.write:
            write(name, table)


if __name__ == "__main__":
    main()
