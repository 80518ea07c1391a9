"""Parts of the rows that are learned from apart; what they have learned is added up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from joblib import Parallel, delayed
from sklearn.utils import gen_batches

from sk_epsnn._sklearn import one_blas_thread
from sk_epsnn.course import Rows
from sk_epsnn.ep.energy import divergence, log_evidence
from sk_epsnn.ep.evidence import Change
from sk_epsnn.ep.newton import SHORTEST_STEP
from sk_epsnn.ep.state import State
from sk_epsnn.network import PREDICT_ROWS, Batch
from sk_epsnn.training import Report, Trainer, absorb_in_turn


def absorb_apart(
    trainer: Trainer,
    entered: Callable[[State, Any], Batch],
    state: State,
    shards: Sequence[Rows],
    batches: Sequence[Sequence[Any]],
    total_mass: float,
    n_jobs: int | None,
) -> tuple[State, Report]:
    """Absorb the batches of every shard from the same start, and add up what the shards have learned.

    Several shards move towards the same thing where independent weights cannot say that the others have moved there
    too, so their sum may go too far: it is taken by the longest of 1, 1/2, 1/4, ... whose means are no worse for all
    rows than those of the start, and the means stay if none is. Sums are taken in the order of the shards, and every
    shard has one BLAS thread: the result does not depend on where they are worked on.
    """
    if state.mass > 0:
        # What is known comes from these rows, however many of them: every batch takes its share out.
        state = replace(state, mass=total_mass)
    run = Parallel(n_jobs=n_jobs, prefer="threads")

    def energy(candidate: State) -> float:
        parts = run(delayed(_log_evidence)(entered, candidate, rows) for rows in shards)
        return sum(parts) - divergence(candidate, candidate.posteriors, candidate.priors)

    with one_blas_thread(), run:
        parts = run(
            delayed(_change)(trainer, state, rows, chosen, total_mass)
            for rows, chosen in zip(shards, batches, strict=True)
        )
        changes, steps = zip(*parts, strict=True)
        length, new = 1.0, state.plus(changes)
        while not (after := energy(new)) >= energy(new.recentred(state)):  # so for NaN
            length /= 2
            if length < SHORTEST_STEP:
                new = state.plus(changes).recentred(state)
                after = energy(new)
                break
            new = state.plus(changes, length)
    return new, Report(after, [step for each in steps for step in each])


def _change(
    trainer: Trainer, state: State, rows: Rows, batches: Sequence[Any], total_mass: float
) -> tuple[Change, list[float]]:
    """What one shard adds to the state: all that has to travel back."""
    with one_blas_thread():
        end, report = absorb_in_turn(trainer, state, rows, batches, total_mass)
    return end.since(state), report.steps


def _log_evidence(entered: Callable[[State, Any], Batch], state: State, rows: Any) -> float:
    """Summed log evidence of the rows of a shard under the posterior, in nats."""
    with one_blas_thread():
        parts = gen_batches(rows.n_samples, PREDICT_ROWS)
        return sum(log_evidence(state, entered(state, rows.take(part)), state.posteriors) for part in parts)
