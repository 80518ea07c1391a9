"""The plan of a fit: what every parameter stands for, answered once, before training.

Nothing that trains or predicts reads a parameter of the estimator; it reads the plan that was made from them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from sk_epsnn.network import Network
from sk_epsnn.outputs import GaussianOutput
from sk_epsnn.priors import WeightPrior
from sk_epsnn.training import Inference, Stage, Trainer
from sk_epsnn.weights import Grid

#: Settings that a fitted estimator takes when they change: how it learns from more rows, not what it has learned.
_MAY_CHANGE = {
    "batch_size",
    "max_iter",
    "inference__n_sweeps",
    "inference__damping",
    "inference__validation_fraction",
    "inference__n_passes",
    "inference__learning_rate",
    "inference__final_sweeps",
}


class Setting(NamedTuple):
    """What a parameter stands for, and why.

    Attributes
    ----------
    value : object
    reason : str
    """

    value: Any
    reason: str


class Answers:
    """What every parameter stands for, noted while a plan is made.

    Attributes
    ----------
    settings : dict of str to Setting
    automatic : set of str
        Names of those that were "auto".
    """

    def __init__(self) -> None:
        self.settings: dict[str, Setting] = {}
        self.automatic: set[str] = set()

    def given(self, name: str, value: Any) -> Any:
        """Note a value that was given."""
        self.settings[name] = Setting(value, "given")
        return value

    def answer(self, name: str, given: Any, automatic: Any, reason: str) -> Any:
        """The value itself, or ``automatic`` where it is "auto"."""
        if not is_auto(given):
            return self.given(name, given)
        self.settings[name] = Setting(automatic, reason)
        self.automatic.add(name)
        return automatic


def is_auto(value: Any) -> bool:
    """Whether a parameter is left to be decided."""
    return isinstance(value, str) and value == "auto"


@dataclass(frozen=True)
class Problem:
    """What the data say that a plan depends on.

    Attributes
    ----------
    task : {"classifier", "regressor"}
    n_samples, n_features, n_outputs : int
        Rows of the fit, columns of X, output units.
    is_stream : bool
        Whether the rows are a batch of a stream: nothing depends on how many there are.
    n_steps : int or None
        Steps of a sample, each of ``n_features``, where X has them.
    targets_per_sample : float
        Targets of a sample on average, where every step has one.
    """

    task: str
    n_samples: int
    n_features: int
    n_outputs: int
    is_stream: bool = False
    n_steps: int | None = None
    targets_per_sample: float = 1.0

    @property
    def n_targets(self) -> int:
        """Targets of all rows."""
        return round(self.n_samples * self.targets_per_sample)

    def samples_of(self, n_targets: int) -> int:
        """Samples that have so many targets, or a little more."""
        return max(1, math.ceil(n_targets / self.targets_per_sample))


class Parts(NamedTuple):
    """What the parameters of an estimator name: the parts that are put together.

    Attributes
    ----------
    network : Network
        Layers, connections and outputs; no weights and no coordinates yet.
    inference : Inference
    prior : WeightPrior
    grid : Grid or None
        Levels of discrete weights.
    gain : float or None
        Factor of those of the last layer; None where it is automatic.
    """

    network: Network
    inference: Inference
    prior: WeightPrior
    grid: Grid | None
    gain: float | None


@dataclass(frozen=True)
class Plan:
    """Everything about a fit that is decided before training.

    Attributes
    ----------
    stages : tuple of Stage
        Of a fit.
    trainer : Trainer
        Of a stream; it also predicts.
    network : Network
        Layers, connections and outputs; no weights and no coordinates yet.
    standardise : bool
        Whether targets are brought to unit variance; a prior given as a number is meant for targets as they are.
    noise_variance : float or None
        Of a regressor, in squared units of y; None where it is learned.
    settings : mapping of str to Setting
        By the name of the parameter, as in ``get_params(deep=True)``.
    automatic : tuple of str
        Those of them that were "auto".
    """

    stages: tuple[Stage, ...]
    trainer: Trainer
    network: Network
    standardise: bool
    noise_variance: float | None
    settings: Mapping[str, Setting] = field(repr=False)
    automatic: tuple[str, ...] = field(repr=False)

    def network_for(self, target_scale: np.ndarray) -> Network:
        """The network to train on targets divided by their scale, shape (n_outputs,)."""
        if self.noise_variance is None:
            return self.network
        return replace(self.network, output=GaussianOutput(self.noise_variance / target_scale**2))

    def batch_of(self, n_samples: int) -> int:
        """Rows that most passes of a fit to so many rows work on at once."""
        course = self.stages[0].course
        return course.batches(-(-n_samples // course.n_shards))[0].stop

    def following(self, old: Plan) -> Plan:
        """The same plan for a network made by another, whose automatic answers stay.

        Raises
        ------
        ValueError
            If the network cannot follow this plan; names the parameters.
        """
        automatic = {*self.automatic} & {*old.automatic}
        names = sorted({*self.settings, *old.settings} - _MAY_CHANGE - automatic)
        changed = [name for name in names if _value(self.settings.get(name)) != _value(old.settings.get(name))]
        if changed:
            raise ValueError(
                f"A fitted network cannot take another {', '.join(changed)}. Set what was changed back, or fit anew: "
                "with warm_start=False, or a sklearn.base.clone of this estimator."
            )
        kept = {name: old.settings[name] for name in automatic - _MAY_CHANGE}
        return replace(self, settings={**self.settings, **kept})


def _value(setting: Setting | None) -> Any:
    return None if setting is None else setting.value
