"""Weights that are known numbers, as those of a frozen network."""

from __future__ import annotations

from typing import Any, Self

from sk_epsnn._arrays import Array, astype, zeros_like
from sk_epsnn.messages import WeightMoments
from sk_epsnn.weights.base import Weights


class KnownWeights(Weights):
    """A point mass on every weight: the limit of infinite precision, in which nothing is left to learn.

    It has no natural parameters, and no evidence changes it.

    Parameters
    ----------
    mean : array of shape (n_out, n_in)
        The weights.
    """

    is_known = True

    def __init__(self, mean: Array):
        self.mean = mean

    def power_blend(self, base: Self, exponent: float) -> Self:
        """The normalised density ``base * (self / base)**exponent``: known, unless nothing of it is taken."""
        return base if exponent == 0 else self

    def with_natural(self, precision: Array, shift: Array) -> Self:
        """No finite natural parameters belong to a known number.

        Raises
        ------
        TypeError
            Always.
        """
        raise TypeError("Known weights have no natural parameters, hence no density with others.")

    @property
    def is_proper(self) -> bool:
        """Whether the natural parameters belong to a density: a point mass is one."""
        return True

    def moments(self, temperature: float, dtype: Any) -> WeightMoments:
        """The weights, with a variance of 0 at every temperature."""
        mean = astype(self.mean, dtype)
        return WeightMoments(mean, zeros_like(mean), None)

    def mode(self) -> Array:
        """The weights, shape (n_out, n_in)."""
        return self.mean
