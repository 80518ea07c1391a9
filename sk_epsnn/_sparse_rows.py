"""Rows that stay sparse as they enter a network, also where a mean was subtracted from every column."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse


class SparseRows:
    """Rows of few entries and an offset that all of them share, ``entries + offset``, which is never written out.

    It takes the place of an array where rows are only multiplied: by matrices from either side, and entry by entry by
    rows with the same places of entries, such as their own squares.

    Parameters
    ----------
    entries : csr_array of shape (n_rows, n_columns)
        Without duplicates.
    offset : array of shape (n_columns,)
        In the dtype of the entries.
    """

    #: Arrays of NumPy leave products with these rows to them.
    __array_ufunc__ = None

    def __init__(self, entries: sparse.csr_array, offset: np.ndarray):
        self.entries, self.offset = entries, offset

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        return self.entries.shape

    @property
    def dtype(self) -> np.dtype:
        """That of the entries and of the offset."""
        return self.offset.dtype

    def __matmul__(self, matrix: np.ndarray) -> np.ndarray:
        return self.entries @ matrix + self.offset @ matrix

    def __rmatmul__(self, matrix: np.ndarray) -> np.ndarray:
        product = np.ascontiguousarray((self.entries.T @ matrix.T).T)
        product += np.outer(matrix.sum(1), self.offset)
        return product

    def __mul__(self, other: SparseRows) -> SparseRows:
        mine, theirs, places = self.entries, other.entries, self.entries.indices
        data = mine.data * (theirs.data + other.offset[places]) + self.offset[places] * theirs.data
        entries = sparse.csr_array((data, places, mine.indptr), shape=self.shape)
        return SparseRows(entries, self.offset * other.offset)

    def astype(self, dtype: Any, copy: bool = True) -> SparseRows:
        """The same in another dtype."""
        return SparseRows(self.entries.astype(dtype, copy=copy), self.offset.astype(dtype, copy=copy))

    def toarray(self) -> np.ndarray:
        """The rows written out."""
        return self.entries.toarray() + self.offset


def canonical(X: Any) -> sparse.csr_array:
    """Rows as a CSR array with every place once; the rows that were given stay as they are."""
    rows = sparse.csr_array(X)
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    return rows


def occurring_columns(X: Any) -> np.ndarray:
    """Columns in which some row, sparse or dense, is not 0, ascending."""
    if sparse.issparse(X):
        return np.unique(X.indices[X.data != 0])
    return np.flatnonzero((X != 0).any(axis=0))
