"""Grids of levels that weights may take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np

from sk_epsnn._arrays import Array
from sk_epsnn._sklearn import Interval, Option, StrOptions


@dataclass(frozen=True)
class Grid:
    """Levels that discrete weights may take, with their prior probabilities.

    Attributes
    ----------
    levels : tuple of float
        Ascending.
    log_probabilities : tuple of float
    """

    levels: tuple[float, ...]
    log_probabilities: tuple[float, ...]

    @property
    def variance(self) -> float:
        """Prior variance of a weight."""
        levels, probabilities = np.array(self.levels), np.exp(self.log_probabilities)
        mean = probabilities @ levels
        return float(probabilities @ (levels - mean) ** 2)

    def times(self, gain: float) -> Grid:
        """Levels multiplied by a positive number."""
        return replace(self, levels=tuple((gain * np.array(self.levels)).tolist()))


class Levels(Option):
    """Weights on a grid of levels, what a neuromorphic chip holds. Biases are always continuous.

    Parameters
    ----------
    values : array-like of shape (n_levels,)
        At least two different finite numbers.
    probabilities : array-like of shape (n_levels,), default=None
        Prior probabilities of the levels, in the order of ``values``; positive, summing to 1. None makes them equally
        likely.
    gain : "auto" or float, default="auto"
        Factor by which the levels of the last layer are multiplied, positive; for a regressor in units of the targets.
        "auto" gives an output potential a fixed prior variance, so that many inputs do not saturate the outputs; 1
        uses the levels as they are, as in [1]_.

    References
    ----------
    .. [1] D. Yao, S. McLaughlin, Y. Altmann, arXiv:2506.23757, 2025, Section IV-A.

    Examples
    --------
    >>> from sk_epsnn import EPSNNClassifier, Levels
    >>> clf = EPSNNClassifier(weights=Levels([-1, -0.5, 0, 0.5, 1]))
    """

    _parameter_constraints = {
        "values": ["array-like"],
        "probabilities": [None, "array-like"],
        "gain": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, values: Any, *, probabilities: Any = None, gain: Any = "auto"):
        self.values = values
        self.probabilities = probabilities
        self.gain = gain

    def check(self) -> None:
        """Validate the parameters.

        Raises
        ------
        ValueError
            Names the parameter, its range and the value.
        """
        super().check()
        self.grid()

    def grid(self) -> Grid:
        """The levels in ascending order."""
        levels, probabilities = self._levels(), self._probabilities()
        order = np.argsort(levels)
        return Grid(tuple(levels[order].tolist()), tuple(np.log(probabilities[order] / probabilities.sum()).tolist()))

    def _levels(self) -> Array:
        levels = _numbers(self.values)
        if levels is None or len(levels) < 2 or len(np.unique(levels)) < len(levels):
            raise ValueError(
                f"values of Levels must be a 1-D array of at least two different finite numbers, got {self.values!r}."
            )
        return levels

    def _probabilities(self) -> Array:
        n_levels = len(self._levels())
        if self.probabilities is None:
            return np.ones(n_levels)
        given = _numbers(self.probabilities)
        if given is None or len(given) != n_levels or not (given > 0).all():
            raise ValueError(
                f"probabilities of Levels must hold one positive number for each of the {n_levels} levels, "
                f"got {self.probabilities!r}."
            )
        if abs(given.sum() - 1) > 1e-6:
            raise ValueError(
                f"probabilities of Levels must sum to 1, got {self.probabilities!r}; divide them by their sum."
            )
        return given


def _numbers(given: Any) -> Array | None:
    """A vector of finite numbers; None if it is something else."""
    try:
        values = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return values if values.ndim == 1 and np.isfinite(values).all() else None


#: Grids of levels that have a name.
NAMED_LEVELS = {"binary": Levels((-1.0, 1.0)), "ternary": Levels((-1.0, 0.0, 1.0))}
