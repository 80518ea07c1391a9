"""Parameters that have moved to the object that uses them: whoever uses an old word is told the new place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

_INFERENCE = "inference=Newton({0}=...), or AverageEP"
#: Old parameters of the estimators, and what stands in their place.
MOVED = {
    "threshold_noise": "output_activation=HeavisideOutput(noise_variance=...)",
    "weight_type": "weights='binary', 'ternary' or Levels(values)",
    "level_probabilities": "weights=Levels(values, probabilities=...)",
    "readout_gain": "weights=Levels(values, gain=...)",
    "prior_variance": "prior=GaussianPrior(variance=...), or another prior's variance",
    "prior_anchor": "prior=GaussianPrior(anchor=...), or another prior's anchor",
    "spectral_exponent": "prior=GaussianPrior(spectral_exponent=...)",
    "input_rotation": _INFERENCE.format("rotate_inputs"),
    "schedule": "inference='newton' or 'average_ep'",
    "n_sweeps": _INFERENCE.format("n_sweeps"),
    "damping": "inference=AverageEP(damping=...)",
    "power": _INFERENCE.format("power"),
    "temperature": _INFERENCE.format("temperature"),
    "validation_fraction": _INFERENCE.format("validation_fraction"),
}


def refuse_moved(estimator: Any, names: Iterable[str]) -> None:
    """Refuse parameters that have moved.

    Raises
    ------
    TypeError
        Names the new place of each.
    """
    moved = [name for name in names if name in MOVED]
    if moved:
        places = "; ".join(f"instead of {name} write {MOVED[name]}" for name in moved)
        raise TypeError(f"{type(estimator).__name__} has no parameter {', '.join(moved)}: {places}.")


def knows_old_words(init: Callable[..., None]) -> Callable[..., None]:
    """Let a constructor say where parameters have moved."""

    @wraps(init)
    def constructor(self: Any, *args: Any, **params: Any) -> None:
        refuse_moved(self, params)
        init(self, *args, **params)

    return constructor
