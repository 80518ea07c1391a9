"""Tables and bars of tabular.py, from its results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from _common import Bar, Measures, Row, print_columns, verdict
from _tabular_data import SETS, DataSet, load
from _tabular_models import MODELS
from scipy.stats import rankdata

#: A mean of a measure over sets: heading, measure, and what is done with its values.
Column = tuple[str, str, Callable[[np.ndarray], float]]

#: What the tables show beside rank and NLL.
COLUMNS: dict[str, list[Column]] = {
    "classification": [
        ("accuracy", "accuracy", np.mean),
        ("ECE", "ECE", np.mean),
        ("|confidence - accuracy|", "overconfidence", lambda values: np.mean(np.abs(values))),
        ("seconds", "seconds", np.mean),
    ],
    "regression": [
        ("RMSE", "RMSE", np.mean),
        ("coverage", "coverage", np.mean),
        ("lowest", "coverage", np.min),
        ("highest", "coverage", np.max),
        ("seconds", "seconds", np.mean),
    ],
}


class Figures(NamedTuple):
    """All results of one number of folds, and the sets that they are of.

    Attributes
    ----------
    measures : dict
        Of ``(data, model, scaled)``.
    sets : dict of str to DataSet
    """

    measures: dict[tuple[str, str, bool], Measures]
    sets: dict[str, DataSet]

    def names(self, task: str) -> list[str]:
        """The sets of a task that means are over."""
        return [name for name, data in self.sets.items() if name in SETS and data.task == task]

    def of(self, name: str, model: str, scaled: bool = True) -> Measures | None:
        """The measures of a model on a set."""
        return self.measures.get((name, model, scaled))

    def both(self, task: str, first: tuple[str, bool], second: tuple[str, bool]) -> tuple[np.ndarray, np.ndarray]:
        """The NLL of two models, each with its scaling, on the sets that both were measured on."""
        pairs = [(self.of(name, *first), self.of(name, *second)) for name in self.names(task)]
        values = np.array([(one["NLL"], two["NLL"]) for one, two in pairs if one and two]).reshape(-1, 2)
        return values[:, 0], values[:, 1]


def figures_of(measures: dict[tuple[str, str, bool], Measures]) -> Figures:
    """The figures, with the sets that they name."""
    present = {name for name, _, _ in measures}
    return Figures(measures, {data.name: data for data in load(sorted(present))})


# ---------------------------------------------------------------------- tables


def mean_ranks(figures: Figures, task: str, scaled: bool) -> dict[str, float]:
    """Mean rank in NLL, 1 the best, over the sets that each model was measured on, among those measured there."""
    ranks: dict[str, list[float]] = {}
    for name in figures.names(task):
        there = {model: found["NLL"] for model in MODELS if (found := figures.of(name, model, scaled))}
        for model, rank in zip(there, rankdata(list(there.values())), strict=True):
            ranks.setdefault(model, []).append(float(rank))
    return {model: float(np.mean(values)) for model, values in ranks.items()}


def print_task(figures: Figures, task: str, scaled: bool) -> None:
    """Means over the sets of a task, a line for each model."""
    ranks = mean_ranks(figures, task, scaled)
    headings = [heading for heading, _, _ in COLUMNS[task]]
    lines = [("model", "sets", "mean rank", "NLL", "NLL - linear's", *headings)]
    for model, rank in sorted(ranks.items(), key=lambda item: item[1]):
        found = [m for name in figures.names(task) if (m := figures.of(name, model, scaled))]
        own, linear = figures.both(task, (model, scaled), ("linear", scaled))
        against = f"{np.mean(own - linear):+.4f}" if len(own) else ""
        means = [f"{take(np.array([m[measure] for m in found])):.3f}" for _, measure, take in COLUMNS[task]]
        nll = f"{np.mean([m['NLL'] for m in found]):.4f}"
        lines.append((MODELS[model].label, str(len(found)), f"{rank:.2f}", nll, against, *means))
    if len(lines) > 1:
        print(f"\n{task}, {'standardised features' if scaled else 'features in their own units'}")
        print_columns(lines)


# ---------------------------------------------------------------------- bars


def _row(what: str, bar: Bar, value: float, where: str = "") -> Row:
    return Row(f"{what}: {bar.measure}", str(bar), f"{value:.4f}{where}", verdict(bar.holds(value)))


def _worst(values: dict[str, float]) -> tuple[float, str]:
    """The largest value and the words that name its set."""
    name = max(values, key=values.__getitem__)
    return values[name], f" ({name})"


def single_layer_bars(figures: Figures) -> Iterable[Row]:
    """The mean NLL without a hidden layer beside multinomial logistic regression, and raw beside scaled features."""
    what = f"{MODELS['epsnn'].label}, mean NLL"
    for first, second, name, margin in [
        (("epsnn", True), ("linear", True), "less LogisticRegression's", 0.0),
        (("epsnn", False), ("epsnn", True), "on raw features less that on scaled", 0.01),
    ]:
        own, other = figures.both("classification", first, second)
        if len(own):
            yield _row(what, Bar(f"{name}, {len(own)} sets", high=margin), float(np.mean(own - other)))


def hidden_layer_bars(figures: Figures, scaled: bool) -> Iterable[Row]:
    """With 100 hidden neurons, beside peers on standardised features."""
    what = f"{MODELS['epsnn-hidden'].label}, {'scaled' if scaled else 'raw'}"
    own, mlp = figures.both("classification", ("epsnn-hidden", scaled), ("mlp", True))
    if len(own):
        ratio = Bar(f"mean NLL beside the MLP's, {len(own)} sets", high=0.97)
        yield _row(what, ratio, float(np.mean(own) / np.mean(mlp)))
    ranks = mean_ranks(figures, "classification", scaled)
    peers = {model: rank for model, rank in ranks.items() if not MODELS[model].is_ours}
    if "epsnn-hidden" in ranks and peers:
        best = min(peers, key=peers.__getitem__)
        yield _row(what, Bar("mean rank in NLL", high=peers[best]), ranks["epsnn-hidden"], f" ({best} next)")
    above, gaps = {}, {}
    for name in figures.names("classification"):
        found = figures.of(name, "epsnn-hidden", scaled)
        linear, network = figures.of(name, "linear"), figures.of(name, "mlp")
        if found and linear and network:
            above[name] = found["NLL"] - min(linear["NLL"], network["NLL"])
        if found and len(figures.sets[name].X) > 300:
            gaps[name] = abs(found["overconfidence"])
    if above:
        yield _row(what, Bar("NLL above the better of linear and MLP, worst set", high=0.05), *_worst(above))
    if gaps:
        gap, where = _worst(gaps)
        name = max(gaps, key=gaps.__getitem__)
        accuracy = figures.measures[name, "epsnn-hidden", scaled]["accuracy"]
        error = np.sqrt(accuracy * (1.0 - accuracy) / len(figures.sets[name].X))
        limit = Bar("|confidence - accuracy|, over 300 rows, worst set", high=0.03)
        yield _row(what, limit, gap, f"{where[:-1]}; standard error of its accuracy {error:.3f})")


def set_bars(figures: Figures) -> Iterable[Row]:
    """Bars of one set, for either way of scaling."""
    sets = figures.sets
    bars: list[tuple[str, Sequence[str], list[Bar]]] = [
        ("noise", ("epsnn", "epsnn-hidden"), [Bar("NLL", high=float(np.log(2)) + 0.01)]),
        ("xor", ("epsnn-hidden",), [Bar("accuracy", low=0.93)]),
        ("ordered-bins", ("epsnn",), [Bar("accuracy", low=0.98), Bar("NLL", high=0.15)]),
        ("iris", ("epsnn",), [Bar("accuracy", low=0.96)]),
        ("rare", ("epsnn",), [Bar("rarest", 0.8, 1.3)]),
        ("many-classes", ("epsnn",), [Bar("NLL", high=0.06), Bar("seconds", high=5.0)]),
        ("diabetes", ("epsnn-rates",), [Bar("sd / RMSE", high=1.4), Bar("coverage", 0.93, 0.98)]),
        ("input-noise", ("epsnn-rates",), [Bar("coverage below", 0.92, 0.97), Bar("coverage above", 0.92, 0.97)]),
    ]
    if "softmax6" in sets:
        bars.append(("softmax6", ("epsnn", "epsnn-hidden"), [Bar("NLL", high=sets["softmax6"].ideal + 0.06)]))
    for name, peer, margin in [("diabetes", "linear-rates", 0.03), ("input-noise", "ngboost", 0.0)]:
        if found := figures.of(name, peer):
            bars.append((name, ("epsnn-rates",), [Bar("NLL", high=found["NLL"] + margin)]))
    for name, models, limits in bars:
        for model in models:
            for scaled in (True, False):
                if found := figures.of(name, model, scaled):
                    what = f"{name}, {MODELS[model].label}, {'scaled' if scaled else 'raw'}"
                    yield from (_row(what, bar, found[bar.measure]) for bar in limits)


def bars_of(figures: Figures) -> list[Row]:
    """All bars whose figures are there."""
    hidden = [row for scaled in (True, False) for row in hidden_layer_bars(figures, scaled)]
    return [*single_layer_bars(figures), *hidden, *set_bars(figures)]
