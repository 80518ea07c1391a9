"""The opening of a stream: its first rows, kept while they are too few to tell scales by."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
from scipy import sparse

from sk_epsnn._arrays import Array, array_namespace, concat, like
from sk_epsnn.course import LEAST_SET_UP, Rows

#: Rows are kept until there are so many, and so many for each weight of a unit ...
_ENOUGH, _ROWS_PER_WEIGHT = 128, 4
#: ... or so many numbers, in `LEAST_SET_UP` rows at least.
_MOST_NUMBERS = 2**20
#: Passes over them at most; of hidden layers, which else would fit few rows too closely.
_PASSES, _PASSES_OF_HIDDEN = 20, 2


class Opening:
    """Rows that a stream has brought so far, and where the random start comes from.

    The set-up of a network (centre, axes, scales, random start) is taken anew from all of them, and they are learned
    from anew, whenever they are twice as many as the last time, until they are enough. In between the stream goes on
    from what is known. A first call of at least `LEAST_SET_UP` rows is enough.

    Parameters
    ----------
    rng : RandomState
        As it was before the first set-up; only copies of it are used.
    rows : tuple of Rows
        Targets as they were given.
    n_set_up : int
        Rows that the last set-up saw.
    """

    def __init__(self, rng: np.random.RandomState, rows: tuple[Rows, ...] = (), n_set_up: int = 0):
        self.rng, self.rows, self.n_set_up = rng, rows, n_set_up

    @property
    def n_rows(self) -> int:
        """Rows so far."""
        return sum(rows.n_samples for rows in self.rows)

    @property
    def is_due(self) -> bool:
        """Whether the set-up is to be taken from all rows so far."""
        return self.n_rows >= 2 * self.n_set_up

    @property
    def is_at_once(self) -> bool:
        """Whether the first call was enough."""
        return self.n_set_up == 0 and self.n_rows >= LEAST_SET_UP

    def passes(self, hidden: bool) -> list[list[Any]]:
        """Batches of each pass over all rows so far: more than one pass where they say more than the prior.

        Hidden layers begin with small batches: many rows at once would find all weights at their start.
        """
        n_rows, n_weights, whole = self.n_rows, self.rows[0].X.shape[1] + 1, [slice(None)]
        if self.is_at_once or 2 * n_rows < _ROWS_PER_WEIGHT * n_weights:
            return [whole]
        if not hidden:
            return _PASSES * [whole]
        order = deepcopy(self.rng).permutation(n_rows)
        parts = np.array_split(order, n_rows // LEAST_SET_UP) if n_rows >= 2 * LEAST_SET_UP else whole
        return [parts, *(_PASSES_OF_HIDDEN - 1) * [whole]]

    def with_rows(self, rows: Rows, forgetting: float) -> Opening:
        """The same with the rows of another call, before which the others count only to a power."""
        faded = tuple(old._replace(sample_weight=forgetting * old.sample_weight) for old in self.rows)
        return Opening(self.rng, (*faded, rows), self.n_set_up)

    def joined(self) -> Rows:
        """All rows so far."""
        if len(self.rows) == 1:
            return self.rows[0]
        X, *others = zip(*self.rows, strict=True)
        return Rows(_stacked(X), *(None if part[0] is None else np.concatenate(part) for part in others))

    def kept(self) -> Opening | None:
        """What to keep after a call, None where there are enough rows; arrays of the caller may change afterwards."""
        if not self.is_due:
            *others, last = self.rows
            return Opening(self.rng, (*others, _copy(last)), self.n_set_up)
        n_features = self.rows[0].X.shape[1]
        enough = max(_ENOUGH, _ROWS_PER_WEIGHT * (n_features + 1))
        enough = min(enough, max(_MOST_NUMBERS // n_features, LEAST_SET_UP))
        if self.is_at_once or self.n_rows >= enough:
            return None
        return Opening(self.rng, (_copy(self.joined()),), self.n_rows)


def _stacked(parts: tuple[Any, ...]) -> Any:
    """Inputs of several calls, where the last ones are; sparse ones if any are."""
    if any(sparse.issparse(part) for part in parts):
        return sparse.csr_array(sparse.vstack([sparse.csr_array(part) for part in parts]))
    return concat([like(part, parts[-1]) for part in parts])


def _copy(rows: Rows) -> Rows:
    X, *others = rows
    return Rows(_copied(X), *(None if part is None else part.copy() for part in others))


def _copied(X: Any) -> Array:
    xp = array_namespace(X)
    return X.copy() if xp is np else xp.asarray(X, copy=True)
