"""Training, whatever the principle: rows, batches, passes, streams, and what is noted of them.

A `Trainer` knows how a network learns from a batch. What is here knows a trainer's verbs, and no trainer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, NamedTuple, Protocol

import numpy as np

from sk_epsnn._sklearn import Option
from sk_epsnn.course import Course, Rows


class Report(NamedTuple):
    """What a trainer says of the batches it has absorbed.

    Attributes
    ----------
    objective : float
        What training raises, summed over the rows, in nats.
    steps : list of float
        Step length of each batch.
    """

    objective: float
    steps: list[float]


@dataclass(frozen=True)
class Progress:
    """Where training is; replaced, never changed.

    Attributes
    ----------
    state : object
        The trainer's.
    history : dict of lists of float
        "energy": objective per unit of weight after each pass; "step": step length of each batch; and what a trainer
        adds.
    n_passes : int
        Passes over the data, or calls of a stream.
    converged : bool
        Whether the last pass changed the objective by less than the tolerance.
    """

    state: Any
    history: Mapping[str, list[float]] = field(default_factory=lambda: {"energy": [], "step": []})
    n_passes: int = 0
    converged: bool = False

    def noted(self, **entries: Sequence[float]) -> Progress:
        """The same with entries added to the history."""
        added = {name: [*self.history.get(name, []), *values] for name, values in entries.items()}
        return replace(self, history={**self.history, **added})

    def after_pass(self, objective: float, tol: float) -> Progress:
        """The same when a pass has ended with an objective per unit of weight."""
        before = self.history["energy"][-1] if self.history["energy"] else -np.inf
        noted = self.noted(energy=[objective])
        return replace(noted, n_passes=self.n_passes + 1, converged=bool(abs(objective - before) < tol))


class Trainer(ABC):
    """How a network learns. Its state is immutable: every verb gives a new one.

    An estimator reads of a state its ``network`` with coordinates and outputs, ``moments(dtype)``, the mean and the
    variance of the weights of every layer (`sk_epsnn.messages.WeightMoments`), and whether it ``is_known``.
    """

    @abstractmethod
    def start(self, network: Any, rows: Rows, rng: np.random.RandomState) -> Any:
        """State before training, set up for a network from a sample of the rows."""

    @abstractmethod
    def absorb(
        self, state: Any, batch: Rows, total_mass: float, rng: np.random.RandomState | None = None
    ) -> tuple[Any, Report]:
        """State that has learned from a batch.

        ``total_mass`` is the sum of the sample weights of all rows; infinity in a stream, where every batch is new.
        """

    @abstractmethod
    def predictor(self, state: Any, dtype: Any, rng: np.random.RandomState | None = None) -> Callable[[Any], Any]:
        """Function from rows of so many to their output potentials: mean, epistemic and aleatoric variance.

        What is the same for all rows, in the dtype of the inputs, is worked out once.
        """

    # What a trainer may do besides; by default there is nothing to do.

    def known(self, state: Any, weights: str, rng: np.random.RandomState | None = None) -> Any:
        """State whose weights are known: "mode", "mean" or "sample" of a posterior."""
        raise NotImplementedError(f"{type(self).__name__} has no posterior to take weights from.")

    def prepare(
        self, progress: Progress, rows: Rows, course: Course, rng: np.random.RandomState, tell: Callable[[str], None]
    ) -> Progress:
        """Whatever a new fit finds out before it trains on all rows."""
        return progress

    def resume(self, state: Any, n_samples: int) -> Any:
        """State from which a fit goes on that continues an earlier one."""
        return state

    def enter(self, state: Any, rows: Rows) -> Any:
        """Rows as `absorb` is given batches of them during all passes of a stage; at best what each would work out.

        The result has ``n_samples``, ``mass`` and ``take`` as `Rows` have.
        """
        return rows

    def absorb_pass(
        self,
        state: Any,
        shards: Sequence[Any],
        batches: Sequence[Sequence[Any]],
        total_mass: float,
        rng: np.random.RandomState | None,
        n_jobs: int | None,
    ) -> tuple[Any, Report]:
        """State that has learned from one pass: from the batches in turn, or from those of several shards apart.

        ``batches`` has for every shard what chooses the rows of each batch.
        """
        if len(shards) == 1:
            return absorb_in_turn(self, state, shards[0], batches[0], total_mass, rng)
        return self.absorb_apart(state, shards, batches, total_mass, n_jobs)

    def finish(self, state: Any, mass: float) -> Any:
        """State at the end of a fit to rows of so much weight."""
        return state

    def absorb_apart(
        self,
        state: Any,
        shards: Sequence[Rows],
        batches: Sequence[Sequence[Any]],
        total_mass: float,
        n_jobs: int | None,
    ) -> tuple[Any, Report]:
        """State that has learned from every shard apart, given what chooses the rows of each batch."""
        raise NotImplementedError(f"{type(self).__name__} cannot learn from parts of the rows apart; set n_shards=1.")

    def check(self, state: Any) -> None:
        """Refuse a state that a pass, or a batch of a stream, has led out of range.

        Raises
        ------
        ValueError
            Names the remedy.
        """
        return

    def n_refused(self, state: Any) -> int:
        """Updates of batches that were refused because they diverged, so far."""
        return 0

    def faded(self, state: Any, factor: float) -> Any:
        """State whose evidence so far counts only to the power of ``factor``, between 0 and 1."""
        if factor == 1:
            return state
        raise NotImplementedError(f"{type(self).__name__} cannot forget; set forgetting=1.")


class Inference(Option):
    """Base of the objects behind ``inference=``: the options of a trainer, and how one is made of them.

    Attributes
    ----------
    name : str
        What error messages and ``settings_`` call it.
    """

    name: str

    def trainer(self, network: Any, prior: Any, grid: Any) -> Trainer:
        """Trainer of a network.

        Parameters
        ----------
        network : Network
            Without weights, and without coordinates of the inputs yet.
        prior : WeightPrior
        grid : Grid or None
            Levels of the weights; None where they are continuous.

        Raises
        ------
        ValueError
            If the trainer has no use for the prior or the grid; names the parameter.
        """
        raise NotImplementedError


class Watch(Protocol):
    """Who is told of a fit."""

    def run_pass(self, work: Callable[[], Progress]) -> bool:
        """Have one pass done, keep where it led, and say whether it was the last."""


def one_pass(
    trainer: Trainer, progress: Progress, shards: Sequence[Rows], course: Course, rng: np.random.RandomState
) -> tuple[Progress, float]:
    """One pass over the rows in batches, not counted yet, and the objective per unit of weight."""
    batches = [course.shuffled_batches(rows.n_samples, rng) for rows in shards]
    total = sum(rows.mass for rows in shards)
    state, report = trainer.absorb_pass(progress.state, shards, batches, total, rng, course.n_jobs)
    trainer.check(state)
    return replace(progress.noted(step=report.steps), state=state), report.objective / total


def absorb_in_turn(
    trainer: Trainer,
    state: Any,
    rows: Any,
    batches: Sequence[Any],
    total_mass: float,
    rng: np.random.RandomState | None = None,
) -> tuple[Any, Report]:
    """Absorb batches, given by what chooses their rows, one after another."""
    objective, steps = 0.0, []
    for chosen in batches:
        state, report = trainer.absorb(state, rows.take(chosen), total_mass, rng)
        objective += report.objective
        steps.extend(report.steps)
    return state, Report(objective, steps)


@dataclass(frozen=True)
class Stage:
    """Passes over the rows by one trainer; a fit has one stage or several, each beginning where the last one ended.

    Attributes
    ----------
    trainer : Trainer
    course : Course
    """

    trainer: Trainer
    course: Course


def train(
    stages: Sequence[Stage],
    start: Progress | Any,
    rows: Rows,
    rng: np.random.RandomState,
    watch: Watch,
    tell: Callable[[str], None],
) -> Progress:
    """Passes over shuffled batches until the objective settles, the watch stops them or there were enough.

    Parameters
    ----------
    stages : sequence of Stage
    start : Progress or network
        Where an earlier fit ended, or a network that knows nothing yet.
    rows : Rows
    rng : RandomState
    watch : Watch
        Does the passes, so that others can be told of them.
    tell : callable
        Is given a line of text on what happens.

    Returns
    -------
    Progress
    """
    progress = start
    if not isinstance(start, Progress):
        trainer, course = stages[0].trainer, stages[0].course
        progress = Progress(trainer.start(start, rows.take(course.first_rows(rows.n_samples)), rng))
        progress = trainer.prepare(progress, rows, course, rng, tell)
    shards = stages[0].course.shards(rows, rng)
    for index, stage in enumerate(stages):
        if index > 0 or progress is start:
            progress = replace(progress, state=stage.trainer.resume(progress.state, rows.n_samples))
        progress, stopped = _passes(stage, progress, shards, rng, watch, tell)
        progress = replace(progress, state=stage.trainer.finish(progress.state, rows.mass))
        if stopped:
            break
    return progress


def _passes(
    stage: Stage,
    progress: Progress,
    shards: Sequence[Rows],
    rng: np.random.RandomState,
    watch: Watch,
    tell: Callable[[str], None],
) -> tuple[Progress, bool]:
    """The passes of one stage, and whether the watch stopped them."""
    trainer, course = stage.trainer, stage.course
    entered = [trainer.enter(progress.state, shard) for shard in shards]

    def work() -> Progress:
        nonlocal progress
        began = perf_counter()
        after, objective = one_pass(trainer, progress, entered, course, rng)
        progress = _counted(after, objective, course.tol, tell, perf_counter() - began)
        return progress

    for _ in range(course.n_passes):
        if watch.run_pass(work):
            return progress, not progress.converged
    return progress, False


def learn_from_stream(
    trainer: Trainer,
    start: Progress | Any,
    rows: Rows,
    forgetting: float,
    tol: float,
    rng: np.random.RandomState,
    tell: Callable[[str], None],
    before: Progress | None = None,
    passes: Sequence[Sequence[Any]] = ((slice(None),),),
) -> Progress:
    """One call of a stream: what is known so far becomes the prior of these rows.

    Parameters are those of `train`; ``forgetting`` is the power to which what is known is taken before. Where a stream
    starts anew, ``before`` is how far it had come: its calls count, and its history goes on. ``passes`` has for every
    pass over the rows what chooses the rows of each batch; those after the first end when the objective settles.
    """
    progress = start
    if not isinstance(start, Progress):
        state = trainer.start(start, rows, rng)
        progress = Progress(state) if before is None else replace(before, state=state)
    began = perf_counter()
    state = trainer.faded(progress.state, forgetting)
    objectives: list[float] = []
    for batches in passes:
        state, report = absorb_in_turn(trainer, state, rows, batches, rows.mass if objectives else np.inf, rng)
        # What a pass says of the noise is felt in the next one.
        objectives = [*objectives[-2:], report.objective]
        if len(objectives) > 2 and max(objectives) - min(objectives) < tol * rows.mass:
            break
    trainer.check(state)
    progress = replace(progress.noted(step=report.steps), state=state)
    return _counted(progress, report.objective / rows.mass, tol, tell, perf_counter() - began)


def _counted(progress: Progress, objective: float, tol: float, tell: Callable[[str], None], seconds: float) -> Progress:
    """A pass, or a call of a stream, that has ended with an objective per unit of weight: noted and told."""
    progress = progress.after_pass(objective, tol)
    last = progress.history["step"][-1]
    tell(f"Iteration {progress.n_passes}, energy per sample = {objective:.6f} nats, step = {last:.3g}, {seconds:.2f} s")
    return progress
