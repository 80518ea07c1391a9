"""The map from rows to the inputs of the network, and back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sk_epsnn._arrays import (
    Array,
    astype,
    clip,
    concat,
    converted,
    diagonal,
    entries,
    is_any,
    like,
    new_empty,
    new_ones,
    stack,
    to_numpy,
    vecdot,
    zeros_like,
)
from sk_epsnn._sparse_rows import SparseRows, canonical, occurring_columns


@dataclass(frozen=True)
class InputBasis:
    """An invertible linear map ``x' = [x, 1] R`` and the spread of the data along its axes.

    Attributes
    ----------
    rotation : array of shape (n_features, n_axes) or None
        Orthonormal columns, each row divided by the column's scale; None stands for the identity, so divided.
    offset : array of shape (n_axes,)
        Constant added to the rotated inputs (minus the rotated mean, when the inputs are centred).
    scale : array of shape (n_features,), or (n_axes,) where sparse rows stay sparse
        Powers of two: near the root mean square of the inputs, or near the size of each column (`column_scales`).
    constant : bool
        Whether x' ends with an explicit constant 1. A rotation of ``[x, 1]`` as a whole needs none.
    second_moment : array of shape (n_axes,)
        Mean square of x' along each axis (without the constant).
    mean : array of shape (n_axes,)
        Mean of x' (without the constant).
    varies : boolean array of shape (n_axes,)
        Axes along which the data has any extent.
    columns : integer array or None
        Where sparse rows stay sparse: the columns with an axis of their own, ascending. One more axis, the last one,
        stands for the length of what a row has in the others. None: there are no others, and rows become dense.
    n_others : int
        Columns, or directions, that share the last axis.
    """

    rotation: Array | None
    offset: Array
    scale: Array
    constant: bool
    second_moment: Array
    mean: Array
    varies: NDArray[np.bool_]
    columns: Array | None = None
    n_others: int = 0

    @property
    def n_axes(self) -> int:
        """Number of network inputs, the constant included."""
        return self.offset.shape[0] + self.constant

    @property
    def shares_an_axis(self) -> bool:
        """Whether the last axis is the length of what a row has in columns, or directions, without one of their own."""
        return self.columns is not None

    def transform(self, X: Array | sparse.csr_array) -> Array:
        """Rows of the network's input, in the dtype of ``X``; sparse rows become dense here, or `SparseRows`."""
        if self.columns is not None:
            return self._few_entries(X)
        n_values = self.offset.shape[0]
        if self.rotation is not None and not self.constant:
            result = X @ astype(self.rotation, X.dtype)
            result += astype(self.offset, X.dtype)
            return result
        result = new_empty(self.offset, (X.shape[0], self.n_axes), X.dtype)
        if self.rotation is not None:
            result[:, :n_values] = X @ astype(self.rotation, X.dtype)
        else:
            dense = X.toarray() if sparse.issparse(X) else X
            result[:, :n_values] = dense / astype(self.scale, X.dtype) if is_any(self.scale != 1) else dense
        if is_any(self.offset != 0):
            result[:, :n_values] += astype(self.offset, X.dtype)
        if self.constant:
            result[:, -1] = 1.0
        return result

    def _few_entries(self, X: Array | sparse.csr_array) -> Array:
        """`transform` where rows stay sparse; other libraries than NumPy have no such rows, and get dense ones."""
        rows, n_rest = canonical(X if sparse.issparse(X) else to_numpy(X)), self.offset.shape[0] - 1
        columns, offset, scale = (to_numpy(part) for part in (self.columns, self.offset, self.scale))
        place, known = _places(columns, rows.indices)
        row = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
        values = rows.data / np.where(known, scale[place], scale[-1]).astype(rows.dtype)
        squares = np.bincount(row[~known], values[~known] ** 2, minlength=rows.shape[0])
        far = np.flatnonzero(squares)
        data = np.concatenate([values[known], np.sqrt(squares[far])]).astype(rows.dtype, copy=False)
        row, place = np.append(row[known], far), np.append(place[known], np.full(len(far), n_rest))
        offset = np.append(offset, np.ones(int(self.constant))).astype(rows.dtype)
        result = SparseRows(sparse.csr_array((data, (row, place)), shape=(rows.shape[0], self.n_axes)), offset)
        return result if isinstance(self.offset, np.ndarray) else like(result.toarray(), self.offset)

    def seeing(self, X: Array | sparse.csr_array) -> tuple[InputBasis, NDArray[np.int_]] | None:
        """See `with_columns`, for the columns that occur in rows for the first time; None if there are none."""
        if self.columns is None:
            return None
        occurring = occurring_columns(X if sparse.issparse(X) else to_numpy(X))
        new = np.setdiff1d(occurring, to_numpy(self.columns))
        return self.with_columns(new) if len(new) else None

    def with_every_axis(self) -> tuple[InputBasis, NDArray[np.int_]] | None:
        """See `with_columns`, so that nothing shares an axis any more; None if nothing does."""
        return None if self.columns is None else self.with_columns(np.arange(len(self.columns) + self.n_others))

    def with_columns(self, columns: NDArray[np.int_]) -> tuple[InputBasis, NDArray[np.int_]]:
        """The same map with axes of their own for more columns, and the axis here of each axis there.

        Weights of a new axis are those of the one that its column shared until now.
        """
        mine = to_numpy(self.columns)
        every = np.union1d(mine, columns)
        place, known = _places(mine, every)
        axes = np.append(np.where(known, place, len(mine)), len(mine))
        grown = converted(replace(self, columns=None), lambda array: entries(array, like(axes, array)))
        added = len(every) - len(mine)
        grown = replace(grown, columns=like(every, self.offset), n_others=self.n_others - added)
        return grown, np.append(axes, len(mine) + 1) if self.constant else axes

    def by_column(self, values: Array) -> Array:
        """What is known for each axis, shape (n_out, n_axes) without the constant, for each column of the data."""
        if self.columns is None:
            return values
        place, known = _places(to_numpy(self.columns), np.arange(self.columns.shape[0] + self.n_others))
        return entries(values, like(np.where(known, place, self.columns.shape[0]), values), axis=1)

    def _per_axis(self) -> Array:
        """How many columns share each axis."""
        counts = np.ones(self.offset.shape[0])
        if self.shares_an_axis:
            counts[-1] = self.n_others
        return counts

    def balance(self, means: Array, others: Array | float = 0.0) -> Array:
        """Subtract from each unit's bias what its weights add to the potential on average over the data.

        Parameters
        ----------
        means : array of shape (n_out, n_axes)
            Weights in this basis, the constant included.
        others : array of shape (n_out,), default=0
            What is added to the potentials by anything else.
        """
        if self.constant:
            balanced = means.copy()
            balanced[:, -1] -= means[:, :-1] @ self.mean + others
            return balanced
        # The constant lies along the offset: these weights realise a potential of 1 for every x.
        size = float(self.offset @ self.offset)
        a = self.offset / size if size > 0 else self.offset
        return means - np.outer(means @ (self.mean - self.offset) + others, a)

    def prior_variances(
        self,
        value: float | None,
        exponent: float,
        potential_variance: float,
        bias_share: float,
        floor: float = 0.0,
    ) -> Array:
        """Prior variance of the weight on each axis, shape (n_axes,).

        Parameters
        ----------
        value : float or None
            Variance of a weight in the space of the inputs, which turned inputs need one scale for; None scales the
            prior to the data instead.
        exponent : float
            Spectral exponent beta: variances proportional to ``second_moment ** beta``. 0 is isotropic.
        potential_variance : float
            With ``value=None``: the prior variance of a potential, averaged over the data.
        bias_share : float
            With ``value=None``: the share of it that comes from the bias, if that is an input of its own.
        floor : float, default=0
            Added to the second moments before they are raised to the exponent, in units of their mean: axes that the
            data hardly use keep weights enough for unknown inputs to be doubted.
        """
        moment, counts = self.second_moment, self._per_axis()
        total = (counts * moment).sum()
        shape = (moment / (total / counts.sum()) + floor) ** exponent
        shape *= total / (counts * moment * shape).sum()
        if value is None:
            bias = bias_share * potential_variance if self.constant else 0.0
            variances = shape * (potential_variance - bias) / total
        else:
            # Where inputs are turned, all have the same.
            unit = self.scale if self.rotation is None else self.scale[:1]
            variances, bias = shape * value * unit**2, value
        return np.append(variances, bias) if self.constant else variances

    def to_inputs(self, mean: Array, covariance: Array) -> tuple[Array, Array, Array, Array]:
        """Weights as they act on the raw inputs.

        Parameters
        ----------
        mean : array of shape (n_out, n_axes)
        covariance : array of shape (n_out, n_axes) or (n_out, n_axes, n_axes)

        Returns
        -------
        coef, intercept, coef_variance, intercept_variance
            Shapes (n_out, n_features) and (n_out,).
        """
        n_values, to_constant = self.offset.shape[0], self.offset
        if self.constant:
            to_constant = concat([self.offset, new_ones(self.offset, (1,), "float64")])
        if covariance.ndim == 2:
            intercept_variance = covariance @ (to_constant * to_constant)
        else:
            units = [covariance[i, :, :] for i in range(covariance.shape[0])]
            intercept_variance = stack([to_constant @ unit @ to_constant for unit in units])
        if self.rotation is None:
            own = covariance if covariance.ndim == 2 else diagonal(covariance)
            coef, coef_variance = mean[:, :n_values] / self.scale, own[:, :n_values] / self.scale**2
            return self.by_column(coef), mean @ to_constant, self.by_column(coef_variance), intercept_variance
        axes = self.rotation
        if self.constant:
            axes = concat([axes, zeros_like(axes[:, :1])], axis=1)
        if covariance.ndim == 2:
            coef_variance = covariance @ (axes * axes).T
        else:
            coef_variance = stack([vecdot(axes @ unit, axes) for unit in units])
        return mean @ axes.T, mean @ to_constant, coef_variance, intercept_variance

    def from_inputs(
        self, coef: Array, intercept: Array, coef_variance: Array, intercept_variance: Array
    ) -> tuple[Array, Array]:
        """Weights along the axes that act as others do on the raw inputs: the inverse of `to_inputs`.

        Exact for means; variances are those of independent weights, none below 0. The basis must have a constant and
        an axis for every column or direction.

        Returns
        -------
        mean, variance : array of shape (n_out, n_axes)
        """
        mean, variance = coef * self.scale, coef_variance * self.scale**2
        if self.rotation is not None:
            directions = self.rotation * self.scale[:, None]
            mean, variance = mean @ directions, variance @ directions**2
        own = clip(intercept_variance - variance @ self.offset**2, min=0.0)
        bias = intercept - mean @ self.offset
        return concat([mean, bias[:, None]], axis=1), concat([variance, own[:, None]], axis=1)


def _places(columns: NDArray[np.int_], wanted: NDArray[np.int_]) -> tuple[NDArray[np.int_], NDArray[np.bool_]]:
    """Where some of the columns, which ascend, hold what is wanted, and whether they do."""
    place = np.minimum(np.searchsorted(columns, wanted), len(columns) - 1)
    return place, columns[place] == wanted
