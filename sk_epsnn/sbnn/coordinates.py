"""Coordinates of inputs in which weights have one prior variance, and directions that the data hardly use are one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sk_epsnn._arrays import Array, astype, concat, like, new_zeros, sqrt, sum_over
from sk_epsnn.basis import InputBasis
from sk_epsnn.messages import WeightMoments
from sk_epsnn.sbnn.weights import Moments

#: Share of the prior variance of a potential that may lie in directions that are taken together.
_REST = 0.03
#: So many directions are worth taking together, and so many are always apart: little variance may say much.
_LEAST_REST, _LEAST_OWN = 8, 64


@dataclass(frozen=True)
class Coordinates:
    """Inputs times the prior standard deviation of their weights; the last ones as the length of what they are.

    Attributes
    ----------
    unit : array of shape (n_axes,)
        Of the axes of a basis, without the constant.
    constant_unit : float
    n_own : int
        Axes with an input of their own; all others, if any, are one input, whose weight has mean 0.
    """

    unit: Array
    constant_unit: float
    n_own: int

    @classmethod
    def of(cls, basis: InputBasis, exponent: float, floor: float, bias_share: float) -> Coordinates:
        """Such that potentials have prior variance 1 on average, by `InputBasis.prior_variances`."""
        variances = basis.prior_variances(None, exponent, 1.0, bias_share, floor)
        unit, n_own = np.sqrt(variances[:-1]), len(variances) - 1
        if basis.rotation is not None:
            share = variances[:-1] * basis.second_moment
            beyond = np.cumsum(share[::-1])[::-1] <= _REST * share.sum()
            first = max(len(share) - int(beyond.sum()), _LEAST_OWN)
            if len(share) - first >= _LEAST_REST:
                n_own = first
        return cls(unit, float(np.sqrt(variances[-1])), n_own)

    @property
    def has_rest(self) -> bool:
        """Whether some axes are taken together."""
        return self.n_own < self.unit.shape[0]

    @property
    def n_inputs(self) -> int:
        """Inputs of the first layer, the constant included."""
        return self.n_own + self.has_rest + 1

    def enter(self, values: Array) -> Array:
        """Inputs of the first layer, from those of the basis, which end with the constant."""
        scaled = values[:, :-1] * astype(like(self.unit, values), values.dtype)
        parts = [scaled[:, : self.n_own], self.constant_unit * values[:, -1:]]
        if self.has_rest:
            rest = scaled[:, self.n_own :]
            parts.insert(1, sqrt(sum_over(rest * rest, axis=1, keepdims=True)))
        return concat(parts, axis=1)

    def center(self, mean: np.ndarray) -> np.ndarray:
        """Means of the inputs, without the constant, for such means along the axes."""
        own = (self.unit * mean)[: self.n_own]
        return np.append(own, 0.0) if self.has_rest else own

    def begin(self, mean: np.ndarray, variance: np.ndarray) -> Moments:
        """Weights of the first layer that act along the axes of the basis as these do; the inverse of `leave`.

        The weight of what is taken together has mean 0 and the mean variance of those that it stands for.
        """
        unit = np.append(self.unit, self.constant_unit)
        mean, variance = mean / unit, variance / unit**2
        places = np.append(np.arange(self.n_own), -1)
        if not self.has_rest:
            return Moments(mean, variance)
        rest = variance[:, self.n_own : -1].mean(axis=1)
        mean, variance = mean[:, places], variance[:, places]
        return Moments(np.insert(mean, -1, 0.0, axis=1), np.insert(variance, -1, rest, axis=1))

    def leave(self, weights: Moments) -> WeightMoments:
        """Weights as they act along the axes of the basis, and on its constant."""
        n_others = self.unit.shape[0] - self.n_own

        def along(values: Array, unit: Array, constant: float) -> Array:
            own = values[:, : self.n_own]
            if n_others:
                own = concat([own] + [values[:, self.n_own : self.n_own + 1]] * n_others, axis=1)
            return concat([own * unit, constant * values[:, -1:]], axis=1)

        unit = astype(like(self.unit, weights.mean), weights.mean.dtype)
        mean = along(weights.mean, unit, self.constant_unit)
        if weights.variance is None:
            return WeightMoments(mean, new_zeros(mean, tuple(mean.shape)), None)
        return WeightMoments(mean, along(weights.variance, unit * unit, self.constant_unit**2), None)
