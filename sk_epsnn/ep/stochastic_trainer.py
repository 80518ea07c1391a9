"""Training by natural-gradient steps on mini-batches: the first rate is tried, and every pass is checked.

Whether a rate is too large depends on the data and on the network, and decides between a good posterior and divergence.
So the first batches are gone through at several rates, and training goes on from the one that has raised the energy
most; a pass that lowers the energy is undone, and tried again at half the rate until shorter steps do not help.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from joblib import Parallel, delayed

from sk_epsnn._arrays import evenly_spread, is_singular
from sk_epsnn._sklearn import one_blas_thread
from sk_epsnn.course import Course, Rows
from sk_epsnn.ep.energy import divergence, log_evidence
from sk_epsnn.ep.held_out import Stop
from sk_epsnn.ep.noise import with_varying_noise
from sk_epsnn.ep.state import State
from sk_epsnn.ep.stochastic import GAUSSIAN_SHARE, LAST_RATE, Diverged, arrived, begin, mean_of, natural_step, went_on
from sk_epsnn.ep.trainer import EPTrainer
from sk_epsnn.network import Batch
from sk_epsnn.outputs import GaussianOutput
from sk_epsnn.training import Progress, Report, absorb_in_turn

#: Longest first rate that is tried.
LONGEST_RATE = 1.0
#: Batches at which a rate is judged, in each shard: so many for each hidden layer, as the more there are, the later a
#: rate shows what it is worth.
TRIAL_BATCHES = 10
#: ... or one in so many of all steps, where that is less, but at least so many.
WAY_PER_TRIAL, LEAST_TRIAL = 15, 6
#: Of the first rates the longest is taken whose energy after the trial is lower than the best by at most this share.
#: Long steps leave the energy behind by the noise of the last batches, which the end of the way averages out.
NEARLY = 0.12
#: Times that a rate may be halved before training stays where it is.
MOST_HALVINGS = 10
#: A pass may lower the energy by this share of the size of its parts: rates are never 0, and rows are judged by some.
SLACK = 0.01
#: Rows whose energy is looked at after a trial or a pass.
CHECKED_ROWS = 1000


#: Where steps have led, None if they diverged, and the rate of each.
_Way: TypeAlias = tuple[State | None, list[float]]


@dataclass(frozen=True, kw_only=True)
class StochasticTrainer(EPTrainer):
    """Steps on mini-batches, a whole pass at a time.

    Attributes
    ----------
    n_passes : int
        Passes over the rows that the way takes.
    learning_rate : float or None
        First rate; None lets the first batches choose it.
    """

    n_passes: int
    learning_rate: float | None

    def prepare(
        self, progress: Progress, rows: Rows, course: Course, rng: np.random.RandomState, tell: Callable[[str], None]
    ) -> Progress:
        """See `Trainer.prepare`; what goes on begins at the rate at which training without some rows has ended."""
        if self.held_out is None or self.held_out.anew:
            return super().prepare(progress, rows, course, rng, tell)
        progress = super().prepare(progress, rows, course, rng, tell)
        return replace(progress, state=replace(progress.state, walk=went_on(progress.state.walk, LAST_RATE)))

    def for_passes(self, n_passes: int) -> StochasticTrainer:
        """See `Traveller.for_passes`."""
        return replace(self, n_passes=n_passes, varies=False)

    def towards(self, state: State, stop: Stop, *, goes_on: bool) -> State:
        """See `Traveller.towards`: steps begin anew at the first rate."""
        state = super().towards(state, stop, goes_on=goes_on)
        layers = [*state.layers[:-1], replace(state.layers[-1], learns=stop.learns)]
        return replace(state.with_layers(layers), walk=went_on(state.walk) if goes_on else state.walk)

    def resume(self, state: State, n_samples: int) -> State:
        """See `Trainer.resume`: the way begins anew."""
        return replace(super().resume(state, n_samples), walk=None)

    def finish(self, state: State, mass: float) -> State:
        """See `Trainer.finish`: what only the steps needed is forgotten."""
        return replace(super().finish(state, mass), walk=None, step=0.5)

    def absorb(
        self, state: State, batch: Rows | Batch, total_mass: float, rng: np.random.RandomState | None = None
    ) -> tuple[State, Report]:
        """See `Trainer.absorb`: one step, unchecked."""
        if state.walk is None:
            state = begin(state, self.learning_rate or LONGEST_RATE)
        state, log_z, rate = natural_step(state, self.entered(state, batch), total_mass, self.n_passes)
        return state, Report(log_z, [rate])

    def absorb_pass(
        self,
        state: State,
        shards: Sequence[Rows | Batch],
        batches: Sequence[Sequence[Any]],
        total_mass: float,
        rng: np.random.RandomState | None,
        n_jobs: int | None,
    ) -> tuple[State, Report]:
        """See `Trainer.absorb_pass`: shards go their ways apart from one start, and meet in the middle after it."""
        if state.walk is None:
            for rows in shards:
                state = self._seeing(state, rows)
        with Parallel(n_jobs=n_jobs if len(shards) > 1 else 1, prefer="threads") as run, np.errstate(all="ignore"):
            n_checked = max(1, CHECKED_ROWS // len(shards))
            judges = [self.entered(state, shard.take(evenly_spread(shard.n_samples, n_checked))) for shard in shards]
            if self._begins_to_vary(state):
                state = with_varying_noise(state, judges[0])
            return _Pass(self, run, shards, batches, judges, total_mass).checked(state)


class _Pass:
    """One pass over the rows, for as long as it is tried."""

    def __init__(
        self,
        trainer: StochasticTrainer,
        run: Parallel,
        shards: Sequence[Rows | Batch],
        batches: Sequence[Sequence[Any]],
        judges: Sequence[Batch],
        total_mass: float,
    ):
        self.trainer, self.run, self.shards, self.batches = trainer, run, shards, batches
        self.judges, self.total_mass = judges, total_mass
        #: Shards have one BLAS thread each.
        self.context = one_blas_thread if len(shards) > 1 else nullcontext

    def checked(self, start: State) -> tuple[State, Report]:
        """Where the pass leads, at the longest rate that does not lower the energy."""
        before, size = self._energy(start) if start.walk is None or start.walk.energy is None else start.walk.energy
        if self._prior_takes_over(start):
            before = -np.inf
        if start.walk is not None and start.walk.rate == 0:
            return start, Report(before, [0.0])
        if start.walk is None:
            start, (end, steps) = self._first(start)
        else:
            end, steps = self._walked(start, self.batches)
        best, most = None, -np.inf
        for _ in range(MOST_HALVINGS):
            energy = self._energy_of_end(end, start)
            if end is not None and energy >= before - SLACK * size:  # False for NaN
                return self._ended(start, end, energy, steps)
            if best is not None and not energy > most:
                # Shorter steps do not help: it is not their length.
                return self._ended(start, *best)
            if end is not None and energy > -np.inf:
                best, most = (end, energy, steps), energy
            start = _halved(start)
            end, steps = self._walked(start, self.batches)
        if best is not None:
            return self._ended(start, *best)
        return _stuck(start), Report(before, [0.0])

    def _prior_takes_over(self, start: State) -> bool:
        """Whether priors that are not Gaussian begin to act in this pass, which may cost evidence at any rate."""
        done = 0.0 if start.walk is None else start.walk.passes
        first, last = done / self.trainer.n_passes, (done + 1) / self.trainer.n_passes
        return first < GAUSSIAN_SHARE < last and _has_rules(start)

    def _first(self, start: State) -> tuple[State, _Way]:
        """The start at the rate that suits the first batches best, and the pass from there."""
        rate = self.trainer.learning_rate
        if rate is not None:
            start = begin(start, rate)
            return start, self._walked(start, self.batches)
        n_tried = self._n_tried(len(start.layers) - 1)
        first, rest = ([part[where] for part in self.batches] for where in (slice(n_tried), slice(n_tried, None)))
        (after, steps), rate = self._tried(start, first)
        if after is None:
            return begin(start, rate), (None, [])
        end, more = self._walked(after, rest)
        return begin(start, rate), (end, steps + more)

    def _n_tried(self, n_hidden: int) -> int:
        """Batches of a trial: of a short way a small part."""
        n_steps = self.trainer.n_passes * max(map(len, self.batches))
        return min(TRIAL_BATCHES * max(1, n_hidden), max(LEAST_TRIAL, n_steps // WAY_PER_TRIAL))

    def _tried(self, start: State, batches: Sequence[Sequence[Any]]) -> tuple[_Way, float]:
        """The way at the longest of rates that halve whose energy is nearly the best, and its rate."""
        ways: list[tuple[float, _Way, float]] = []
        most, rate = -np.inf, 2 * LONGEST_RATE
        for _ in range(MOST_HALVINGS):
            rate /= 2
            way = self._walked(begin(start, rate), batches)
            energy = self._energy_of_end(way[0], start)
            if energy > -np.inf:
                ways.append((energy, way, rate))
            if ways and energy <= most:
                break
            most = max(energy, most)
        if not ways:
            return (None, []), rate
        return next((way, rate) for energy, way, rate in ways if energy >= most - NEARLY * abs(most))

    def _walked(self, state: State, batches: Sequence[Sequence[Any]]) -> _Way:
        """The state after batches of every shard, None if it diverged, with the rate of every step."""
        try:
            parts = self.run(
                delayed(_walk)(self.trainer, state, rows, chosen, self.total_mass, self.context)
                for rows, chosen in zip(self.shards, batches, strict=True)
            )
        except Diverged:
            return None, []
        return mean_of([end for end, _ in parts], state), [rate for _, report in parts for rate in report.steps]

    def _energy_of_end(self, end: State | None, start: State) -> float:
        """Energy of all rows in nats where a way has led, with the noise of its start; -infinity if it diverged."""
        if end is None:
            return -np.inf
        return self._energy(end if end.noise is None else replace(end, network=start.network))[0]

    def _energy(self, state: State) -> tuple[float, float]:
        """Energy of all rows in nats, judged from some, and the size of its parts."""
        parts = self.run(delayed(_log_evidence)(state, batch, self.context) for batch in self.judges)
        log_z = sum(parts) * (self.total_mass / sum(batch.mass for batch in self.judges))
        if _has_rules(state):
            # The Gaussian that stands for the prior changes as it goes: the evidence of the rows has to do.
            return log_z, abs(log_z) + self._margin(state)
        cost = divergence(state, state.posteriors, state.priors)
        return log_z - cost, abs(log_z) + cost

    def _margin(self, state: State) -> float:
        """What stands for the cost of the weights in the size of an energy without it: a nat a row."""
        return self.total_mass if _has_rules(state) else 0.0

    def _ended(self, start: State, end: State, energy: float, steps: list[float]) -> tuple[State, Report]:
        """The end of a pass; that of the last one is the average of the last steps, where that is no worse."""
        assert start.walk is not None and end.walk is not None
        passes = start.walk.passes + 1
        # Where the noise changes, the same state has another energy.
        known = None if isinstance(end.network.output, GaussianOutput) else (energy, abs(energy) + self._margin(end))
        end = replace(end, walk=replace(end.walk, passes=passes, energy=known))
        if passes < self.trainer.n_passes:
            end = _with_learned_variances(end)
        else:
            average = arrived(end)
            if (value := self._energy_of_end(average, start)) >= energy:
                end, energy = average, value
        return end, Report(energy, steps)


def _with_learned_variances(state: State) -> State:
    """The state with prior variances that its posterior makes most probable, in the layers that learn them."""
    if not any(layer.learns for layer in state.layers):
        return state
    layers = [layer.with_learned_variance() if layer.learns else layer for layer in state.layers]
    return replace(state.with_layers(layers), walk=replace(state.walk, energy=None))


def _walk(
    trainer: StochasticTrainer,
    state: State,
    rows: Rows | Batch,
    batches: Sequence[Any],
    total_mass: float,
    context: Callable[[], AbstractContextManager],
) -> tuple[State, Report]:
    """Steps over the batches of one shard.

    Raises
    ------
    Diverged
        If numbers are no longer finite.
    """
    with context(), np.errstate(all="ignore"):
        try:
            return absorb_in_turn(trainer, state, rows, batches, total_mass)
        except Exception as error:
            if is_singular(error):
                raise Diverged from error
            raise


def _log_evidence(state: State, batch: Batch, context: Callable[[], AbstractContextManager]) -> float:
    """Summed log evidence of rows in nats."""
    with context(), np.errstate(all="ignore"):
        return log_evidence(state, batch, state.posteriors)


def _has_rules(state: State) -> bool:
    """Whether priors are not Gaussian."""
    return any(layer.rule is not None for layer in state.layers)


def _halved(state: State) -> State:
    """The state about to go on at half the rate, and at half the velocity, which would else carry it on."""
    walk = state.walk
    assert walk is not None
    layers = tuple(replace(way, velocity=0.5 * way.velocity) for way in walk.layers)
    counts = replace(state.counts, halved_rates=state.counts.halved_rates + 1)
    return replace(state, walk=replace(walk, layers=layers, rate=0.5 * walk.rate), counts=counts)


def _stuck(state: State) -> State:
    """The state where no rate leads further: it stays."""
    assert state.walk is not None
    counts = replace(state.counts, rejected_batches=state.counts.rejected_batches + 1)
    return replace(state, walk=replace(state.walk, rate=0.0), counts=counts)
