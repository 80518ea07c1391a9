"""One pass over the rows: batches one after another, and shards of the rows at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from scipy import sparse
from sklearn.utils import gen_batches

from sk_epsnn._arrays import Array, array_namespace, like, take
from sk_epsnn._sklearn import one_blas_thread
from sk_epsnn.basis import InputBasis
from sk_epsnn.inference import SHORTEST_STEP, Batch
from sk_epsnn.messages import observed
from sk_epsnn.sep import Change, Model, Schedule, absorb

#: Rows that are predicted at a time: what they need of memory is bounded, and stays in a processor's cache.
PREDICT_ROWS = 1024


class Rows(NamedTuple):
    """Inputs, encoded targets of shape (n_samples, n_out) and weights of shape (n_samples,) that belong together.

    Only the inputs may be of another library than NumPy; batches follow them.
    """

    X: Array | sparse.csr_array
    target: np.ndarray
    sample_weight: np.ndarray

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return self.X.shape[0]

    @property
    def mass(self) -> float:
        """Sum of the sample weights."""
        return float(self.sample_weight.sum(dtype=np.float64))

    def take(self, chosen: Any) -> Rows:
        """Some of the rows, by a slice, indices or a mask."""
        return Rows(*(take(part, chosen) for part in self))

    def batch(self, basis: InputBasis) -> Batch:
        """The rows as the network sees them, in the dtype of the inputs."""
        dtype, xp = self.X.dtype, array_namespace(self.X)
        target, sample_weight = (xp.astype(like(part, self.X), dtype) for part in (self.target, self.sample_weight))
        return Batch(observed(basis.transform(self.X)), target, sample_weight)


class Course(NamedTuple):
    """What a pass led to: the model, the summed energy of the batches in nats, and the step length of each."""

    model: Model
    energy: float
    steps: list[float]


def absorb_in_turn(
    model: Model, basis: InputBasis, rows: Rows, batches: Sequence[Any], schedule: Schedule, total_mass: float
) -> Course:
    """Absorb batches, given by what chooses their rows, one after another."""
    energy, steps = 0.0, []
    for chosen in batches:
        model, result = absorb(model, rows.take(chosen).batch(basis), schedule, total_mass)
        energy += result.energy
        steps.append(result.step)
    return Course(model, energy, steps)


def absorb_apart(
    model: Model,
    basis: InputBasis,
    shards: Sequence[Rows],
    batches: Sequence[Sequence[Any]],
    schedule: Schedule,
    total_mass: float,
    n_jobs: int | None,
) -> Course:
    """Absorb the batches of every shard from the same start, and add up what the shards have learned.

    One shard is absorbed in turn. Several move towards the same thing where independent weights cannot say that the
    others have moved there too, so their sum may go too far: it is taken by the longest of 1, 1/2, 1/4, ... whose means
    are no worse for all rows than those of the start, and the means stay if none is. Sums are taken in the order of the
    shards, and every shard has one BLAS thread: the result does not depend on where they are worked on.
    """
    if len(shards) == 1:
        return absorb_in_turn(model, basis, shards[0], batches[0], schedule, total_mass)
    if model.mass > 0:
        # What is known comes from these rows, however many of them: every batch takes its share out.
        model = replace(model, mass=total_mass)
    run = Parallel(n_jobs=n_jobs, prefer="threads")

    def energy(candidate: Model) -> float:
        parts = run(delayed(_log_evidence)(candidate, basis, rows) for rows in shards)
        return sum(parts) - candidate.divergence()

    with one_blas_thread(), run:
        parts = run(
            delayed(_change)(model, basis, rows, chosen, schedule, total_mass)
            for rows, chosen in zip(shards, batches, strict=True)
        )
        changes, steps = zip(*parts, strict=True)
        length, new = 1.0, model.plus(changes)
        while not (after := energy(new)) >= energy(new.recentred(model)):  # so for NaN
            length /= 2
            if length < SHORTEST_STEP:
                new = model.plus(changes).recentred(model)
                after = energy(new)
                break
            new = model.plus(changes, length)
    return Course(new, after, [step for each in steps for step in each])


def _change(
    model: Model, basis: InputBasis, rows: Rows, batches: Sequence[Any], schedule: Schedule, total_mass: float
) -> tuple[Change, list[float]]:
    """What one shard adds to the model: all that has to travel back."""
    with one_blas_thread():
        course = absorb_in_turn(model, basis, rows, batches, schedule, total_mass)
    return course.model.since(model), course.steps


def _log_evidence(model: Model, basis: InputBasis, rows: Rows) -> float:
    """Summed log evidence of the rows of a shard under the posterior, in nats."""
    with one_blas_thread():
        return sum(
            model.log_evidence(rows.take(part).batch(basis)) for part in gen_batches(rows.n_samples, PREDICT_ROWS)
        )
