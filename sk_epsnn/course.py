"""Rows that belong together, and how a fit goes over them: batches, passes, shards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.utils import gen_batches

from sk_epsnn._arrays import Array, evenly_spread, take

#: Rows that a set-up is taken from, at least, where more will come: standard deviations are right to an eighth then.
LEAST_SET_UP = 32


class Rows(NamedTuple):
    """Inputs, encoded targets of shape (n_samples, n_out) and weights of shape (n_samples,) that belong together.

    Where every step of a sample has a target they are of shape (n_samples, n_steps, n_out), and ``step_weight``, of
    shape (n_samples, n_steps), says how much each counts beside the sample's weight: 0 where there is none. Only the
    inputs may be of another library than NumPy.
    """

    X: Array | sparse.csr_array
    target: np.ndarray
    sample_weight: np.ndarray
    step_weight: np.ndarray | None = None

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return self.X.shape[0]

    @property
    def mass(self) -> float:
        """Sum of the weights of all targets."""
        return float(self.weight.sum(dtype=np.float64))

    @property
    def weight(self) -> np.ndarray:
        """Weight of every target, shape (n_samples,) or (n_samples, n_steps)."""
        return self.sample_weight if self.step_weight is None else self.sample_weight[:, None] * self.step_weight

    def known(self) -> tuple[np.ndarray, np.ndarray]:
        """The targets that there are, one after another, and their weights of shape (n_targets,)."""
        weight = self.weight
        return (self.target, weight) if self.step_weight is None else (self.target[weight > 0], weight[weight > 0])

    def some(self, n: int) -> Rows:
        """At most so many of the rows that have a weight, evenly spread over them."""
        present = np.flatnonzero(self.sample_weight)
        return self.take(present[evenly_spread(len(present), n)])

    def take(self, chosen: Any) -> Rows:
        """Some of the rows, by a slice, indices or a mask."""
        X, target, sample_weight = (take(part, chosen) for part in self[:3])
        return Rows(X, target, sample_weight, None if self.step_weight is None else take(self.step_weight, chosen))


@dataclass(frozen=True)
class Course:
    """How a fit goes over the rows.

    Attributes
    ----------
    batch_size : int
        Rows of a batch, at most.
    equal_batches : bool
        Whether as few equal batches as it takes are made, rather than full ones and a rest.
    n_passes : int
        Passes over all rows, at most.
    tol : float
        Training stops when the objective per unit of weight changes by less than this, in nats.
    shuffle : bool
    n_shards : int
        Parts of the rows that every pass works on apart.
    n_jobs : int or None
        How many of them at once.
    n_set_up : int
        Rows that a set-up is taken from, at least, where they have an order.
    """

    batch_size: int
    equal_batches: bool
    n_passes: int
    tol: float
    shuffle: bool
    n_shards: int = 1
    n_jobs: int | None = None
    n_set_up: int = 1

    def batches(self, n_samples: int) -> list[slice]:
        """Rows of each batch, in their order."""
        size = min(self.batch_size, n_samples)
        if self.equal_batches:
            n_batches = -(-n_samples // self.batch_size)
            size = -(-n_samples // n_batches)
        return list(gen_batches(n_samples, size))

    def shuffled_batches(self, n_samples: int, rng: np.random.RandomState) -> list[Any]:
        """What chooses the rows of each batch of one pass."""
        batches = self.batches(n_samples)
        if not self.shuffle or len(batches) == 1:
            return batches
        order = rng.permutation(n_samples)
        return [order[rows] for rows in batches]

    def first_rows(self, n_samples: int) -> slice:
        """What a set-up may see: all rows if they have no order; a stream cannot look far ahead of its first batch."""
        return slice(None) if self.shuffle else slice(0, max(self.batches(n_samples)[0].stop, self.n_set_up))

    def shards(self, rows: Rows, rng: np.random.RandomState) -> list[Rows]:
        """The rows in parts that are worked on apart, in each pass the same."""
        n_shards = min(self.n_shards, rows.n_samples)
        if n_shards == 1:
            return [rows]
        order = rng.permutation(rows.n_samples) if self.shuffle else np.arange(rows.n_samples)
        return [rows.take(part) for part in np.array_split(order, n_shards)]
