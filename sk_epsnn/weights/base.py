"""A density over the weights of one layer, whatever its family.

Every family is exponential, with natural parameters (precision, shift): the density of one weight is a base measure
times ``exp(shift * w - precision * w**2 / 2)``. Products and powers of densities are sums and multiples of these.
State is kept in float64 whatever the data's dtype.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np

from sk_epsnn._arrays import Array, HoldsArrays, cholesky, like, sqrt
from sk_epsnn.messages import WeightMoments


class Weights(HoldsArrays, ABC):
    """A density over the weights of one layer, independent across output units.

    Attributes
    ----------
    precision : array of shape (n_out, n_in), or (n_out, n_in, n_in) if joint
        Natural parameter of ``-w**2 / 2``.
    shift : array of shape (n_out, n_in)
        Natural parameter of ``w``.
    mean : array of shape (n_out, n_in)
    """

    precision: Array
    shift: Array
    mean: Array

    #: Whether every weight is a known number.
    is_known = False
    #: Whether the variance of a weight follows from its mean (given the precision), as on a grid of levels.
    variance_follows_mean = False

    def power_blend(self, base: Self, exponent: float) -> Self:
        """The normalised density ``base * (self / base)**exponent``; eq. 33 with ``exponent = 1 - 1/B``."""
        if exponent == 1:
            return self
        if exponent == 0:
            return base
        precision = base.precision + exponent * (self.precision - base.precision)
        shift = base.shift + exponent * (self.shift - base.shift)
        return self.with_natural(precision, shift)

    @abstractmethod
    def with_natural(self, precision: Array, shift: Array) -> Self:
        """Density of the same family with the given natural parameters."""

    @property
    @abstractmethod
    def is_proper(self) -> bool:
        """Whether the natural parameters belong to a density."""

    @abstractmethod
    def moments(self, temperature: float, dtype: Any) -> WeightMoments:
        """Mean and ``temperature`` times the covariance, in a dtype of the array's library or the one of that name."""

    @abstractmethod
    def mode(self) -> Array:
        """Most probable weights, shape (n_out, n_in)."""

    def sample(self, temperature: float, rng: np.random.RandomState) -> Array:
        """Weights drawn with ``temperature`` times the covariance, shape (n_out, n_in)."""
        mean, variance, covariance = self.moments(temperature, "float64")
        noise = like(rng.standard_normal(tuple(mean.shape)), mean)
        if covariance is None:
            return mean + sqrt(variance) * noise
        return mean + (cholesky(covariance) @ noise[:, :, None])[:, :, 0]
