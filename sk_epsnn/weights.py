"""Gaussian families of weight posteriors: independent weights, or a joint Gaussian per output unit.

A family holds the precision and the mean of ``q(W)``; products and powers of densities are sums and multiples of
the natural parameters (precision, precision times mean). State is kept in float64 whatever the data's dtype.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple, Self

import numpy as np

from sk_epsnn.numerics import Array


class WeightMoments(NamedTuple):
    """What the forward pass needs of ``q(W)``, in the dtype of the data.

    ``mean`` and ``variance`` have shape (n_out, n_in); ``covariance`` has shape (n_out, n_in, n_in) when the weights
    of a unit are correlated and is None when they are independent.
    """

    mean: Array
    variance: Array
    covariance: Array | None


class GaussianWeights(ABC):
    """A Gaussian density over the weights of one layer, independent across output units.

    Parameters
    ----------
    precision : array
        Shape (n_out, n_in) if the weights are independent, (n_out, n_in, n_in) if joint.
    mean : array of shape (n_out, n_in)
    """

    def __init__(self, precision: Array, mean: Array):
        self.precision = precision
        self.mean = mean

    @property
    def shift(self) -> Array:
        """Second natural parameter, precision times mean, shape (n_out, n_in)."""
        return self.times(self.mean)

    def power_blend(self, base: Self, exponent: float) -> Self:
        """The normalised density ``base * (self / base)**exponent``; eq. 33 with ``exponent = 1 - 1/B``."""
        if exponent == 1:
            return self
        if exponent == 0:
            return base
        precision = base.precision + exponent * (self.precision - base.precision)
        shift = base.shift + exponent * (self.shift - base.shift)
        return type(self).from_natural(precision, shift)

    def kl_mean_part(self, mean: Array) -> float:
        """``(mean - m)^T P (mean - m) / 2``: what moving the mean away from this density costs, in nats."""
        delta = mean - self.mean
        return 0.5 * float((delta * self.times(delta)).sum())

    @classmethod
    @abstractmethod
    def from_natural(cls, precision: Array, shift: Array) -> Self:
        """Density with the given natural parameters (the precision must be positive definite)."""

    @abstractmethod
    def times(self, vectors: Array) -> Array:
        """Precision times one vector per unit, shape (n_out, n_in)."""

    @abstractmethod
    def moments(self, temperature: float, dtype: np.dtype) -> WeightMoments:
        """Mean and ``temperature`` times the covariance."""

    @abstractmethod
    def kl_spread_part(self, base: Self) -> float:
        """The part of ``KL(self || base)`` that depends on the covariances only, in nats."""


class IndependentWeights(GaussianWeights):
    """Every weight has its own Gaussian (the factorised family of the paper)."""

    @classmethod
    def from_natural(cls, precision: Array, shift: Array) -> Self:
        """See `GaussianWeights.from_natural`."""
        return cls(precision, shift / precision)

    def times(self, vectors: Array) -> Array:
        """Elementwise product."""
        return self.precision * vectors

    def moments(self, temperature: float, dtype: np.dtype) -> WeightMoments:
        """See `GaussianWeights.moments`."""
        return WeightMoments(self.mean.astype(dtype), (temperature / self.precision).astype(dtype), None)

    def kl_spread_part(self, base: Self) -> float:
        """See `GaussianWeights.kl_spread_part`."""
        ratio = base.precision / self.precision
        return 0.5 * float((ratio - np.log(ratio) - 1).sum())


class JointWeights(GaussianWeights):
    """The weights into one unit share a full Gaussian; units are independent of each other."""

    @classmethod
    def from_natural(cls, precision: Array, shift: Array) -> Self:
        """See `GaussianWeights.from_natural`."""
        return cls(precision, np.linalg.solve(precision, shift[:, :, None])[:, :, 0])

    def times(self, vectors: Array) -> Array:
        """Matrix-vector product, one matrix per unit."""
        return (self.precision @ vectors[:, :, None])[:, :, 0]

    def moments(self, temperature: float, dtype: np.dtype) -> WeightMoments:
        """See `GaussianWeights.moments`."""
        covariance = temperature * np.linalg.inv(self.precision)
        variance = np.diagonal(covariance, axis1=1, axis2=2)
        return WeightMoments(self.mean.astype(dtype), variance.astype(dtype), covariance.astype(dtype))

    def kl_spread_part(self, base: Self) -> float:
        """See `GaussianWeights.kl_spread_part`."""
        trace = (base.precision * np.linalg.inv(self.precision)).sum()
        log_det = np.linalg.slogdet(base.precision)[1].sum() - np.linalg.slogdet(self.precision)[1].sum()
        return 0.5 * float(trace - log_det - self.mean.size)
