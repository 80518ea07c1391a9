"""Coordinates of inputs of more columns than rows: axes where the rows are, and one for all that lies elsewhere.

Of the directions in which no row has gone nothing is known but the prior, which is the same in all of them. To a
potential they are a single input, the length of what a row has there, with a single weight of mean 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from sk_epsnn._arrays import (
    Array,
    astype,
    clip,
    concat,
    converted,
    entries,
    epsilon,
    like,
    new_ones,
    sqrt,
    sum_over,
    to_numpy,
    where,
)
from sk_epsnn.basis.input_basis import InputBasis

#: Squared lengths below so many times the rounding of a row's are none.
_ROUNDING = 1e3


@dataclass(frozen=True)
class SpanBasis(InputBasis):
    """A basis whose last axis, before the constant, is the length of what a row has outside the others.

    Attributes
    ----------
    center : array of shape (n_features,)
        What is subtracted from the rows.
    """

    center: Array | None = None

    @property
    def shares_an_axis(self) -> bool:
        """See `InputBasis.shares_an_axis`."""
        return True

    def _centred(self, X: Array | sparse.csr_array) -> Array:
        dense = X.toarray() if sparse.issparse(X) else X
        return dense - astype(self.center, X.dtype)

    def transform(self, X: Array | sparse.csr_array) -> Array:
        """See `InputBasis.transform`."""
        centred = self._centred(X)
        inside = centred @ astype(self.rotation, X.dtype)
        scaled = centred / astype(self.scale, X.dtype)
        whole = sum_over(scaled * scaled, axis=1, keepdims=True)
        square = whole - sum_over(inside * inside, axis=1, keepdims=True)
        square = where(square > _ROUNDING * epsilon(whole) * whole, square, 0 * square)
        parts = [inside, sqrt(square)]
        return concat(parts + [new_ones(inside, (X.shape[0], 1), X.dtype)] * self.constant, axis=1)

    def seeing(self, X: Array | sparse.csr_array) -> tuple[InputBasis, np.ndarray] | None:
        """See `InputBasis.seeing`: axes for what the rows have outside of those that there are."""
        rows = to_numpy(self.transform(X))[:, self.offset.shape[0] - 1] > 0
        if not rows.any():
            return None
        axes = to_numpy(self.rotation) * to_numpy(self.scale)[:, None]
        outside = to_numpy(self._centred(X))[rows].astype(np.float64) / to_numpy(self.scale)
        outside -= (outside @ axes) @ axes.T
        directions, size, _ = np.linalg.svd(outside.T, full_matrices=False)
        return self._with_axes(directions[:, size > _ROUNDING * epsilon(to_numpy(X[:1, :])) * size[0]])

    def with_every_axis(self) -> tuple[InputBasis, np.ndarray]:
        """See `InputBasis.with_every_axis`."""
        axes = to_numpy(self.rotation) * to_numpy(self.scale)[:, None]
        return self._with_axes(np.linalg.qr(axes, mode="complete")[0][:, axes.shape[1] :])

    def _with_axes(self, directions: np.ndarray) -> tuple[InputBasis, np.ndarray]:
        """More axes in place of some of the others, and the axis here of each axis there."""
        n, added = self.offset.shape[0] - 1, directions.shape[1]
        places = np.append(np.arange(n), np.full(added + 1, n))
        scale, center = to_numpy(self.scale), to_numpy(self.center)
        rotation = np.hstack([to_numpy(self.rotation), directions / scale[:, None]])
        offset = np.append(-center @ rotation, 0.0)
        of_axes = replace(self, rotation=None, scale=None, center=None)
        grown = converted(of_axes, lambda array: entries(array, like(places, array)))
        grown = replace(
            grown,
            rotation=like(rotation, self.offset),
            offset=like(offset, self.offset),
            scale=self.scale,
            center=self.center,
            n_others=self.n_others - added,
        )
        return grown, np.append(places, n + 1) if self.constant else places

    def to_inputs(self, mean: Array, covariance: Array) -> tuple[Array, Array, Array, Array]:
        """See `InputBasis.to_inputs`; the weights of all directions outside have the variance of the last axis."""
        assert self.rotation is not None and self.center is not None
        n = self.offset.shape[0] - 1
        rest = covariance[:, n : n + 1]
        own = clip(1 / (self.scale * self.scale) - sum_over(self.rotation * self.rotation, axis=1), min=0.0)
        away = self.center / self.scale
        length = clip(sum_over(away * away) - sum_over(self.offset * self.offset), min=0.0)
        intercept = mean[:, :n] @ self.offset[:n]
        intercept_variance = covariance[:, :n] @ (self.offset[:n] * self.offset[:n]) + rest[:, 0] * length
        if self.constant:
            intercept, intercept_variance = intercept + mean[:, -1], intercept_variance + covariance[:, -1]
        squares = self.rotation * self.rotation
        coef_variance = covariance[:, :n] @ squares.T + rest * own
        return mean[:, :n] @ self.rotation.T, intercept, coef_variance, intercept_variance
