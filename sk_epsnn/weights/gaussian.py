"""Gaussian weights: independent, or joint for the weights into one unit."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Any, Self

from sk_epsnn._arrays import (
    Array,
    astype,
    diagonal,
    eigenvalues,
    inverse_of_positive,
    is_all,
    log_determinant,
    solve,
    total_of,
)
from sk_epsnn.messages import WeightMoments
from sk_epsnn.numerics import plus_diagonal
from sk_epsnn.weights.base import Weights


class GaussianWeights(Weights):
    """A Gaussian density, held as precision and mean.

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

    @classmethod
    @abstractmethod
    def from_natural(cls, precision: Array, shift: Array) -> Self:
        """Density with the given natural parameters (the precision must be positive definite)."""

    def with_natural(self, precision: Array, shift: Array) -> Self:
        """Density of the same family with the given natural parameters (the precision must be positive definite)."""
        return self.from_natural(precision, shift)

    def with_mean(self, mean: Array) -> Self:
        """The same precision about another mean, shape (n_out, n_in)."""
        return type(self)(self.precision, mean)

    @abstractmethod
    def times(self, vectors: Array) -> Array:
        """Precision times one vector per unit, shape (n_out, n_in)."""

    @abstractmethod
    def marginals(self) -> tuple[Array, Array]:
        """Precision and shift of each weight's own density, shape (n_out, n_in)."""

    @abstractmethod
    def times_factor(self, precision: Array, shift: Array) -> Self:
        """Product with a Gaussian factor per weight, given by natural parameters of shape (n_out, n_in)."""

    def mode(self) -> Array:
        """Most probable weights: the mean, shape (n_out, n_in)."""
        return self.mean


class IndependentWeights(GaussianWeights):
    """Every weight has its own Gaussian (the factorised family of the paper)."""

    @classmethod
    def from_natural(cls, precision: Array, shift: Array) -> Self:
        """Density with the given natural parameters, of shape (n_out, n_in); the precisions must be positive."""
        return cls(precision, shift / precision)

    @property
    def is_proper(self) -> bool:
        """Whether every precision is positive."""
        return is_all(self.precision > 0)

    def times(self, vectors: Array) -> Array:
        """Precision times one vector per unit, shape (n_out, n_in): an elementwise product."""
        return self.precision * vectors

    def marginals(self) -> tuple[Array, Array]:
        """Precision and shift of each weight, shape (n_out, n_in): those of the density itself."""
        return self.precision, self.shift

    def times_factor(self, precision: Array, shift: Array) -> Self:
        """Product with a Gaussian factor per weight: natural parameters add up."""
        return self.from_natural(self.precision + precision, self.shift + shift)

    def moments(self, temperature: float, dtype: Any) -> WeightMoments:
        """Mean and ``temperature`` times the variance of every weight, in a dtype."""
        return WeightMoments(astype(self.mean, dtype), astype(temperature / self.precision, dtype), None)


class JointWeights(GaussianWeights):
    """The weights into one unit share a full Gaussian; units are independent of each other."""

    @classmethod
    def from_natural(cls, precision: Array, shift: Array) -> Self:
        """Density with the given natural parameters; the matrices of the precision must be positive definite."""
        return cls(precision, solve(precision, shift[:, :, None])[:, :, 0])

    @property
    def is_proper(self) -> bool:
        """Whether the precision of every unit is positive definite."""
        return is_all(eigenvalues(self.precision) > 0)

    # The matrices of a posterior are asked for several times in every sweep; nothing changes them in place.

    @cached_property
    def covariance(self) -> Array:
        """Inverse of the precision, shape (n_out, n_in, n_in)."""
        return inverse_of_positive(self.precision)

    @cached_property
    def log_determinant(self) -> float:
        """Log-determinant of the precision, summed over the units."""
        return total_of(log_determinant(self.precision))

    def with_mean(self, mean: Array) -> Self:
        """The same precision about another mean, shape (n_out, n_in), with what is known of the matrices."""
        result = super().with_mean(mean)
        for name in ("covariance", "log_determinant"):
            if name in vars(self):
                vars(result)[name] = vars(self)[name]
        return result

    def __getstate__(self) -> dict[str, Array]:
        return {"precision": self.precision, "mean": self.mean}

    def times(self, vectors: Array) -> Array:
        """Precision times one vector per unit, shape (n_out, n_in): one matrix-vector product each."""
        return (self.precision @ vectors[:, :, None])[:, :, 0]

    def marginals(self) -> tuple[Array, Array]:
        """Precision and shift of each weight's own density, from the diagonal of the covariance."""
        precision = 1 / diagonal(self.covariance)
        return precision, precision * self.mean

    def times_factor(self, precision: Array, shift: Array) -> Self:
        """Product with a Gaussian factor per weight, whose precisions, shape (n_out, n_in), join the diagonals."""
        return self.from_natural(plus_diagonal(self.precision, precision), self.shift + shift)

    def moments(self, temperature: float, dtype: Any) -> WeightMoments:
        """Mean and ``temperature`` times the covariance of every unit, in a dtype."""
        covariance = astype(temperature * self.covariance, dtype)
        return WeightMoments(astype(self.mean, dtype), diagonal(covariance), covariance)
