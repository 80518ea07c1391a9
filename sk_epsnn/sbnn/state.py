"""What training knows: an immutable state, and the set-up that it begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sk_epsnn._arrays import Array, astype, converted, like
from sk_epsnn.messages import WeightMoments
from sk_epsnn.network import Network
from sk_epsnn.sbnn.arrays import NamedArrays
from sk_epsnn.sbnn.coordinates import Coordinates
from sk_epsnn.sbnn.weights import Family, Moments, Parameters, Prior


@dataclass(frozen=True)
class State:
    """What is known; replaced, never changed.

    Attributes
    ----------
    network : Network
        With coordinates and outputs.
    coordinates : Coordinates
    families : tuple of Family
        Of the weights of each layer.
    parameters : mapping of str to array
        Of all families, and "log_noise" of a regressor whose noise is learned.
    priors : tuple of Prior
    memory : object
        The optimizer's.
    mass : float
        Weight of the rows that are learned from, by which divergences are shared.
    n_updates, n_planned : int
        Batches so far, since the course began, and until its end.
    seed : int
        Of predictions.
    noted : mapping of str to tuple of float
        Running means: "log_likelihood" of a row, in nats, "gradient_bias" and "spike_rates" of layers.
    is_known : bool
        Whether weights are points by decree.
    choices : tuple of pairs
        Names of parameters that the rows have answered, and the values.
    """

    network: Network
    coordinates: Coordinates
    families: tuple[Family, ...]
    parameters: NamedArrays
    priors: tuple[Prior, ...]
    memory: Any = None
    mass: float = 1.0
    n_updates: int = 0
    n_planned: int = 0
    seed: int = 0
    noted: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    is_known: bool = False
    choices: tuple[tuple[str, float], ...] = ()

    def trained(self, parameters: Parameters | None = None) -> list[Moments]:
        """Means and variances of the weights of every layer, in the coordinates of training."""
        parameters = self.parameters if parameters is None else parameters
        return [family.moments(parameters) for family in self.families]

    def moments(self, dtype: Any) -> list[WeightMoments]:
        """Means and variances of the weights of every layer, along the axes of the basis."""
        parameters = {name: astype(array, dtype) for name, array in self.parameters.items()}
        first, *others = self.trained(parameters)
        rest = [WeightMoments(m.mean, 0 * m.mean if m.variance is None else m.variance, None) for m in others]
        return [self.coordinates.leave(first), *rest]

    def divergence(self) -> float:
        """Kullback-Leibler divergence of all weights from their priors, in nats."""
        pairs = zip(self.families, self.priors, strict=True)
        return sum(family.divergence(self.parameters, prior) for family, prior in pairs)

    def beside(self, X: Array) -> State:
        """The same, where rows are."""
        return self if isinstance(X, np.ndarray) else converted(self, lambda array: like(array, X))
