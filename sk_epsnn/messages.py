"""The messages between the blocks: up go means and variances, down the derivatives of ``log Z``.

Rows are samples. Arrays have the dtype of the data, and no message is changed once it is made.

References
----------
.. [1] D. Yao, S. McLaughlin, Y. Altmann, "Training of spiking neural networks with expectation-propagation",
   arXiv:2506.23757, 2025.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from sk_epsnn._arrays import Array, astype, clip, concat, is_all, smallest_normal, sum_over
from sk_epsnn._sparse_rows import SparseRows


@dataclass(frozen=True)
class Inputs:
    """Messages from the neurons below a layer, shape (n_samples, n_in); the last column may be the constant 1.

    ``variance`` is ``p (1 - p)`` for spikes of probability ``mean`` and None for observed inputs, whose ``mean`` may
    be `SparseRows`. ``lengths``, of shape (n_samples,), says how many steps in time each sample has; None for all.
    """

    mean: Array
    variance: Array | None
    lengths: Array | None = None

    @property
    def stays_sparse(self) -> bool:
        """Whether the means are `SparseRows`."""
        return isinstance(self.mean, SparseRows)

    @cached_property
    def square(self) -> Array:
        """Squares of the means; observed inputs that are 0 or 1 are their own squares, and share the array."""
        square = self.mean * self.mean
        dense_and_known = self.variance is None and not self.stays_sparse
        # Most that are not show it in the first row.
        same = dense_and_known and is_all(square[:1, :] == self.mean[:1, :]) and is_all(square == self.mean)
        return self.mean if same else square


def observed(values: Array, lengths: Array | None = None) -> Inputs:
    """Inputs that are known numbers."""
    return Inputs(values, None, lengths)


class WeightMoments(NamedTuple):
    """What the forward pass needs of ``q(W)``, in the dtype of the data.

    ``mean`` and ``variance`` have shape (n_out, n_in); ``covariance`` has shape (n_out, n_in, n_in) when the weights
    of a unit are correlated and is None when they are independent.
    """

    mean: Array
    variance: Array
    covariance: Array | None

    def with_mean(self, mean: Array) -> WeightMoments:
        """The same covariances about another mean."""
        return self._replace(mean=astype(mean, self.mean.dtype))

    def without(self, columns: slice | None) -> WeightMoments:
        """The same for all other inputs."""
        if columns is None:
            return self
        mean, variance, covariance = (_without(part, columns, 1) for part in self)
        return WeightMoments(mean, variance, _without(covariance, columns, 2))


def _without(values: Array | None, columns: slice, axis: int) -> Array | None:
    """All but some columns along an axis, 1 or 2."""
    if values is None:
        return None
    before: tuple[slice, ...] = (slice(None),) * axis
    parts = values[(*before, slice(0, columns.start))], values[(*before, slice(columns.stop, None))]
    return concat(parts, axis=axis)


class Potentials(NamedTuple):
    """Message q1(u) = N(mean, variance), each of shape (n_samples, n_out).

    ``from_weights`` is the part of the variance that comes from not knowing the weights.
    """

    mean: Array
    variance: Array
    from_weights: Array


class SpikeMoments(NamedTuple):
    """Spike probability ``E f(u)`` and its first two derivatives in the mean of ``u``."""

    probability: Array
    first: Array
    second: Array


class Derivatives(NamedTuple):
    """Message to a potential ``u ~ N(M, S)`` in derivative form, each of shape (n_samples, n_out).

    ``g = dlogZ/dM``, ``gamma = -d2logZ/dM2``, ``kappa = -2 dlogZ/dS``. A Gaussian site of precision tau and shift
    nu has ``g = (nu - tau M) / (1 + tau S)`` and ``gamma = tau / (1 + tau S)``.
    """

    g: Array
    gamma: Array
    kappa: Array

    def times(self, sample_weight: Array) -> Derivatives:
        """The message of a likelihood raised to the power ``sample_weight``, one per sample."""
        if is_all(sample_weight == 1):
            return self
        w = sample_weight[:, None]
        return Derivatives(w * self.g, w * self.gamma, w * self.kappa)


class Competition(NamedTuple):
    """Curvature of ``-log Z`` in the potentials of units of which one wins: ``diag(w) - w w^T / sum w`` in every row.

    ``weight`` is ``w``, of shape (n_samples, n_out), not negative. Rows of the matrix sum to 0: only differences count.
    """

    weight: Array

    def times(self, sample_weight: Array) -> Competition:
        """The curvature of a likelihood raised to the power ``sample_weight``, one per sample."""
        return Competition(sample_weight[:, None] * self.weight)

    def image(self, potentials: Array) -> Array:
        """The matrix of every row times potentials, shape (n_samples, n_out)."""
        moved, total = self.weight * potentials, sum_over(self.weight, axis=1, keepdims=True)
        mean = sum_over(moved, axis=1, keepdims=True) / clip(total, min=smallest_normal(total))
        return moved - mean * self.weight


class InputMessage(NamedTuple):
    """Message to the inputs of a layer, each of shape (n_rows, n_in).

    With potentials ``u = sum_j w_j x_j``: ``linear = sum_i g_i m_ij``, ``quadratic = sum_i gamma_i m_ij^2`` and
    ``noise = sum_i kappa_i s_ij``. The derivative of ``log Z`` in the mean ``x`` of an input is ``linear - noise * x``,
    minus the second one ``quadratic + noise``.
    """

    linear: Array
    quadratic: Array
    noise: Array


class Spread(NamedTuple):
    """Output potentials with the variance split into what more data could remove and what it could not."""

    mean: Array
    epistemic: Array
    aleatoric: Array


class InputSpace(NamedTuple):
    """Weights and biases of a layer with their variances, shapes (n_out, n_in) and (n_out,).

    Those of the first layer as they act on the raw inputs.
    """

    coef: Array
    intercept: Array
    coef_variance: Array
    intercept_variance: Array
