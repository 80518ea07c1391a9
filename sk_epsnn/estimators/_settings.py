"""What every ``"auto"`` stands for, in one place.

Each number was chosen on data that no reported figure uses; `docs/settings.md` lists the measurements.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np

#: Layers of at most this many inputs get a joint Gaussian per unit when they are the last one.
JOINT_FAN_IN = 256
#: ... unless the covariance matrices of all units together would exceed this many numbers.
JOINT_ENTRIES = 2**24
#: Limit for hidden layers, where the settings say so: each of their units costs a matrix inverse per sweep.
FEW_INPUTS = 32
#: Grids of levels that have a name.
NAMED_LEVELS = {"binary": (-1.0, 1.0), "ternary": (-1.0, 0.0, 1.0)}
#: Inputs wider than this are not rotated: the eigenvectors cost n_features ** 3.
ROTATION_LIMIT = 2048


@dataclass(frozen=True)
class AutoSettings:
    """Values used for parameters left at ``"auto"``.

    Attributes
    ----------
    power : float
        Exponent alpha of power EP.
    temperature, output_temperature : float
        Temperature of the hidden layers, and of the last one.
    spectral_exponent : float
    bias_share : float
        Share of the bias in the prior variance of a first-layer potential.
    prior_anchor : float
    center : bool or None
        Whether the prior is that of weights and bias of centred inputs; None centres only inputs whose offset
        outweighs their spread.
    hidden_variance, output_variance : float
        Prior variance of a hidden or an output potential, averaged over the data; for regression in units of the
        target's variance.
    batch_size : int
        Largest batch; the rows are cut into as few equal ones as it takes.
    n_sweeps : int
    joint_fan_in : int
        Hidden layers of at most this many inputs, the constant among them, get a joint Gaussian per unit.
    spectral_floor : float
        Added to the second moments of the inputs before they are raised to the spectral exponent, in units of their
        mean.
    heating : tuple of tuples of float
        Paths of hidden temperatures that are tried before training; held-out rows judge every step. Empty: train at
        ``temperature``.
    """

    power: float
    temperature: float
    output_temperature: float
    spectral_exponent: float
    bias_share: float
    prior_anchor: float
    center: bool | None
    hidden_variance: float
    output_variance: float
    batch_size: int
    n_sweeps: int
    joint_fan_in: int = 0
    spectral_floor: float = 0.0
    heating: tuple[tuple[float, ...], ...] = ()


#: Without and with hidden layers. A single layer with Gaussian output is solved exactly in the variational limit.
SHALLOW_CLASSIFIER = AutoSettings(0.1, 1.0, 0.2, 0.0, 0.1, 0.0, None, 50.0, 10.0, 1000, 3)
DEEP_CLASSIFIER = AutoSettings(0.1, 0.3, 0.3, 1.0, 0.1, 0.5, True, 50.0, 40.0, 10_000, 10, spectral_floor=0.5)
SHALLOW_REGRESSOR = AutoSettings(0.0, 1.0, 1.0, 0.0, 0.1, 0.0, True, 50.0, 4.0, 100, 2)
DEEP_REGRESSOR = AutoSettings(1.0, 0.7, 1.0, 0.15, 0.1, 0.3, None, 50.0, 1.0, 100, 2)
#: Joint Gaussians in the hidden layer are honest at temperature 1, but a cold start finds better features.
FEW_INPUTS_REGRESSOR = AutoSettings(
    power=1.0,
    temperature=0.5,
    output_temperature=1.0,
    spectral_exponent=0.0,
    bias_share=0.1,
    prior_anchor=0.15,
    center=None,
    hidden_variance=50.0,
    output_variance=8.0,
    batch_size=10_000,
    n_sweeps=10,
    joint_fan_in=FEW_INPUTS,
    heating=((1.0,), (0.4, 0.6, 1.0), (0.15, 0.25, 0.4, 0.6, 1.0)),
)


#: What is different when weights are discrete: the prior variance of an output potential, which the readout gain is
#: chosen to give, and in classifiers more sweeps or weaker anchors.
ON_LEVELS = {
    SHALLOW_CLASSIFIER: {"output_variance": 5.0, "output_temperature": 0.3, "batch_size": 10_000, "n_sweeps": 10},
    DEEP_CLASSIFIER: {"output_variance": 15.0, "prior_anchor": 0.3},
    SHALLOW_REGRESSOR: {"output_variance": 5.0},
    DEEP_REGRESSOR: {"output_variance": 15.0, "temperature": 0.55},
}
#: The same for spike-and-slab priors with hidden layers: many weights are off.
ON_SLABS = {"output_variance": 20.0}
#: The same by the number of layers of weights, the last entry also for more. Signals die out if anchors are weak: the
#: more so the smaller the batches, and with three hidden layers also the closer the exponent is to 0.
DEEPER: dict[AutoSettings, dict[int, dict[str, float]]] = {
    DEEP_CLASSIFIER: {3: {"prior_anchor": 0.3}, 4: {"prior_anchor": 0.5, "power": 0.5}},
    DEEP_REGRESSOR: {3: {"prior_anchor": 1.0}, 4: {"prior_anchor": 1.0, "power": 1.0}},
    FEW_INPUTS_REGRESSOR: {4: {"prior_anchor": 1.0, "power": 1.0}},
}
#: Variance of the threshold of Heaviside outputs, that of the logistic distribution.
THRESHOLD_NOISE = float(np.pi**2 / 3)


def adapted(settings: AutoSettings, n_layers: int, *, discrete: bool, sparse: bool) -> AutoSettings:
    """The same for so many layers of weights, which are on levels if discrete, and many of them off if sparse."""
    changes: dict[str, Any] = {}
    if discrete:
        changes |= ON_LEVELS[settings]
    changes |= DEEPER.get(settings, {}).get(min(n_layers, 4), {})
    if sparse and n_layers > 1:
        changes |= ON_SLABS
    return replace(settings, **changes)


def plain_ep(settings: AutoSettings) -> AutoSettings:
    """The same for the paper's own schedule: plain EP, and enough sweeps for a damped iteration."""
    return replace(settings, power=1.0, temperature=1.0, output_temperature=1.0, n_sweeps=30, heating=())


def is_discrete(weight_type: Any) -> bool:
    """Whether weights sit on a grid of levels."""
    return not (isinstance(weight_type, str) and weight_type == "continuous")


def level_grid(weight_type: Any, level_probabilities: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Levels, ascending, and the logarithms of their prior probabilities; None for continuous weights."""
    if not is_discrete(weight_type):
        if level_probabilities is not None:
            raise ValueError(
                "level_probabilities is for discrete weights; "
                "set weight_type to 'binary', 'ternary' or an array of levels."
            )
        return None
    try:
        given = NAMED_LEVELS[weight_type] if isinstance(weight_type, str) else weight_type
        levels = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"weight_type must be a name or a 1-D array of numbers, got {weight_type!r}.") from error
    if levels.ndim != 1 or len(levels) < 2 or not np.isfinite(levels).all() or len(np.unique(levels)) < len(levels):
        raise ValueError(
            "The levels in weight_type must be a 1-D array of at least two different finite numbers, "
            f"got {weight_type!r}."
        )
    given = np.ones(len(levels)) if level_probabilities is None else np.asarray(level_probabilities, dtype=np.float64)
    if given.shape != levels.shape or not np.isfinite(given).all() or not (given > 0).all():
        raise ValueError(
            f"level_probabilities must hold one positive number for each of the {len(levels)} levels, "
            f"got {level_probabilities!r}."
        )
    if level_probabilities is not None and abs(given.sum() - 1) > 1e-6:
        raise ValueError(f"level_probabilities must sum to 1, got {level_probabilities!r}; divide them by their sum.")
    order = np.argsort(levels)
    return levels[order], np.log(given[order] / given.sum())


def automatic_batch_size(settings: AutoSettings, n_samples: int) -> int:
    """Rows per batch: as few batches as the largest allows, all (but for rounding) of one size."""
    n_batches = -(-n_samples // settings.batch_size)
    return -(-n_samples // n_batches)


def resolve(value: Any, automatic: Any) -> Any:
    """The value itself, or ``automatic`` where it is ``"auto"``."""
    return automatic if isinstance(value, str) and value == "auto" else value


def per_layer(name: str, value: Any, n_layers: int) -> list[float | None]:
    """One number per layer from a number or a sequence; ``"auto"`` gives None for every layer."""
    if isinstance(value, str):
        return [None] * n_layers
    if isinstance(value, Real):
        return [float(value)] * n_layers
    values = list(value)
    if len(values) != n_layers:
        raise ValueError(
            f"{name} has {len(values)} entries, but the network has {n_layers} layers of weights "
            f"(len(hidden_layer_sizes) + 1); give one number, or one per layer."
        )
    if not all(isinstance(v, Real) and np.isfinite(v) and v > 0 for v in values):
        raise ValueError(f"{name} must be positive and finite in every layer, got {value!r}.")
    return [float(v) for v in values]
