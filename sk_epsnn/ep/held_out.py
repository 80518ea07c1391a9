"""What rows that training has not seen decide: temperatures, the noise of a regressor, how wide predictions are.

Residuals of rows that hidden layers have fitted are too small to tell the noise, and how cold the posterior should be
is not for the rows that it explains to say. So paths of temperatures are followed without some of the rows, and these
judge every stop: with the noise, and the factors on the covariances, that predict them best.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from sk_epsnn._arrays import concat, to_numpy, zeros_like
from sk_epsnn.course import Course, Rows
from sk_epsnn.ep.evidence import NoiseEvidence
from sk_epsnn.ep.noise import judged_factors, judged_noise, with_varying_noise
from sk_epsnn.ep.passes import predict
from sk_epsnn.ep.state import State
from sk_epsnn.network import Batch
from sk_epsnn.outputs import GaussianOutput, HeteroscedasticOutput
from sk_epsnn.training import Progress, Trainer, one_pass

#: Prior of a noise that held-out rows judge, in pseudo-observations: where the potentials' own variance says it all,
#: there may be next to none.
_JUDGED_PRIOR_MASS = 1e-4
#: Fewer rows than this cannot judge.
LEAST_HELD_OUT = 10


class Stop(NamedTuple):
    """Where training stops on its way, to be judged.

    Attributes
    ----------
    temperatures : tuple of float or None
        Of the layers on the way there; None leaves them as they are.
    n_passes : int
        Passes on the way there, at most.
    learns : bool
        Whether the variance of the last layer's prior is learned on the way.
    varies : bool
        Whether the noise depends on the inputs from there on; such a stop is the last one.
    """

    temperatures: tuple[float, ...] | None
    n_passes: int
    learns: bool = False
    varies: bool = False

    def hidden(self, state: State) -> float:
        """Temperature of the first layer there."""
        return float(state.layers[0].temperature if self.temperatures is None else self.temperatures[0])


class Traveller(Protocol):
    """What a trainer knows of ways and stops."""

    def for_passes(self, n_passes: int) -> Trainer:
        """The trainer of a way of so many passes, on which the noise begins to vary at a stop only."""

    def towards(self, state: State, stop: Stop, *, goes_on: bool) -> State:
        """The state about to go to a stop, from another one if it ``goes_on``."""

    def enter(self, state: Any, rows: Rows) -> Any:
        """See `Trainer.enter`."""


@dataclass(frozen=True)
class HeldOut:
    """Rows held out before training.

    Attributes
    ----------
    n_rows : int
        Of each fold.
    paths : tuple of tuples of Stop
        Ways to try, each from the untrained network.
    widths : tuple of tuples of float
        Factors on the covariances of the layers, to be tried in predictions.
    n_folds : int
        How many parts of the rows are held out in turn.
    anew : bool
        Whether training goes on with all rows from the untrained network, or the stop before the best one, at the
        temperatures of the best; else from the best stop itself. Several folds need the first.
    caution : float
        Standard errors by which others must be better than the first widths, and the first stop.
    every_class : bool
        Whether every class has a judge, however few its rows; else none that has a single row.
    """

    n_rows: int
    paths: tuple[tuple[Stop, ...], ...]
    widths: tuple[tuple[float, ...], ...]
    n_folds: int = 1
    anew: bool = False
    caution: float = 0.0
    every_class: bool = True


def choose_on_held_out(
    trainer: Traveller,
    progress: Progress,
    rows: Rows,
    held_out: HeldOut,
    course: Course,
    rng: np.random.RandomState,
    tell: Callable[[str], None],
) -> Progress:
    """Train on the other rows, and go on from where the held-out rows are predicted best.

    Notes for every stop the hidden temperature and the log density of the held-out rows, in nats per unit of weight. Of
    samples with several targets that of all together is a row: they are not independent.
    """
    start, way = replace(progress.state, noise=None), _Way(trainer, course, rng)
    stops = [path[: step + 1] for path in held_out.paths for step in range(len(path))]
    parts, weights, mass = [], [], 0.0
    for judges, others in _splits(start, rows, held_out, rng):
        states = [state for path in held_out.paths for state in way.along(path, start, others, judges)]
        wide = [[_judged(state.with_widths(widths), judges) for widths in held_out.widths] for state in states]
        parts.append(np.stack([_log_densities(some, judges) for some in wide]))
        weights.append(to_numpy(judges.sample_weight))
        mass += judges.mass
    if not parts:
        return progress
    tables, weight = np.concatenate(parts, axis=2), np.concatenate(weights)
    widths = [_best(some, weight, held_out.caution) for some in tables]
    found = np.stack([some[best] for some, best in zip(tables, widths, strict=True)])
    for path, score in zip(stops, (found @ weight / mass).tolist(), strict=True):
        hidden = path[-1].hidden(start)
        progress = progress.noted(temperature=[hidden], held_out=[score])
        tell(f"Hidden temperature {hidden:g}, held-out log density = {score:.6f} nats")
    best = _best(found, weight, held_out.caution)
    progress = progress.noted(step=way.steps)
    if held_out.anew:
        *before, last = stops[best]
        state = deque(way.along(tuple(before), start, rows), maxlen=1).pop() if before else start
        state = trainer.towards(state, last, goes_on=len(before) > 0)
        return replace(progress, state=state.with_widths(held_out.widths[widths[best]]))
    state = wide[best][widths[best]]
    if stops[-1][-1].varies and not stops[best][-1].varies:
        state = state.with_noise_that(varies=False)
    return replace(progress, state=state)


def _best(densities: np.ndarray, weight: np.ndarray, caution: float) -> int:
    """The choice that predicts best by so many standard errors of what it gains over the first, or the first itself.

    Parameters
    ----------
    densities : array of shape (n_choices, n_rows)
        Log density of every row, in nats.
    weight : array of shape (n_rows,)
    caution : float
    """
    gain = densities - densities[0]
    mean = gain @ weight / weight.sum()
    error = np.sqrt(((gain - mean[:, None]) ** 2) @ (weight * weight)) / weight.sum()
    return int((mean - caution * error).argmax())


@dataclass
class _Way:
    """How a path is followed.

    Attributes
    ----------
    trainer : Traveller
    course : Course
    rng : RandomState
    steps : list of float
        Length of every step so far.
    """

    trainer: Traveller
    course: Course
    rng: np.random.RandomState
    steps: list[float] = field(default_factory=list)

    def along(self, path: tuple[Stop, ...], start: State, rows: Rows, judges: Batch | None = None) -> Iterator[State]:
        """The state at each stop."""
        progress = Progress(start)
        shards = [self.trainer.enter(start, shard) for shard in self.course.shards(rows, self.rng)]
        for index, stop in enumerate(path):
            state = self.trainer.towards(progress.state, stop, goes_on=index > 0)
            if stop.varies and judges is not None:
                state = with_varying_noise(state, judges)
            progress = self._settled(Progress(state), stop, shards, judges)
            self.steps.extend(progress.history["step"])
            yield progress.state

    def _settled(self, progress: Progress, stop: Stop, shards: list[Any], judges: Batch | None) -> Progress:
        """Train; held-out rows say what the noise of a regressor is after each pass."""
        trainer, energy = self.trainer.for_passes(stop.n_passes), -np.inf
        for _ in range(stop.n_passes):
            before = energy
            progress, energy = one_pass(trainer, progress, shards, self.course, self.rng)
            change = 0.0
            if judges is not None and not stop.varies:
                state = _judged(progress.state, judges)
                change = _change_of_noise(progress.state, state)
                progress = replace(progress, state=state)
            if max(abs(energy - before), change) < self.course.tol:
                break
        return progress


def _splits(state: State, rows: Rows, held_out: HeldOut, rng: np.random.RandomState) -> Iterator[tuple[Batch, Rows]]:
    """Rows that judge and the others, for every fold; of each class every so manieth row judges.

    A class of fewer rows has one judge, which counts as much less: without any, nothing would speak for its rate. Where
    not every class is to have one, no row judges that is the only one of its class, nor do fewer than some in all. With
    labels for every step samples are of no class.
    """
    order, n_rows = rng.permutation(rows.n_samples), held_out.n_rows
    spread = not isinstance(state.network.output, GaussianOutput) and rows.step_weight is None
    if spread:
        label = np.where(rows.target.max(axis=1) > 0, rows.target.argmax(axis=1), -1)
        order = order[np.argsort(label[order], kind="stable")]
        # Classes follow each other in this order.
        _, first, counts = np.unique(label[order], return_index=True, return_counts=True)
    every = rows.n_samples // n_rows
    for fold in range(held_out.n_folds):
        place = np.arange(fold, rows.n_samples, every) if spread else np.arange(fold * n_rows, (fold + 1) * n_rows)
        share = np.ones(len(place))
        if spread and not held_out.every_class:
            place = place[np.repeat(counts, counts)[place] > 1]
            share = np.ones(len(place))
            if len(place) < LEAST_HELD_OUT:
                continue
        elif spread:
            missed = (first + (fold - first) % every) >= first + counts
            place, share = np.append(place, first[missed]), np.append(share, counts[missed] / every)
        judges = rows.take(order[place])
        judges = judges._replace(sample_weight=judges.sample_weight * share.astype(judges.sample_weight.dtype))
        yield state.network.batch(*judges), rows.take(np.delete(order, place))


def _log_densities(states: list[State], judges: Batch) -> np.ndarray:
    """Log densities of held-out samples in nats, shape (n_states, n_samples); states differ in widths or noise."""
    densities = _of_targets(states, judges)
    if judges.step_weight is None:
        return densities
    weighted = densities * to_numpy(judges.step_weight)
    return weighted.reshape(len(states), judges.n_samples, -1).sum(axis=2)


def _of_targets(states: list[State], judges: Batch) -> np.ndarray:
    """Log densities of the targets, shape (n_states, n_targets)."""
    found = [predict(state, judges.inputs, state.moments(judges.target.dtype)) for state in states]
    output = states[0].network.output
    if isinstance(output, GaussianOutput):
        parts = [
            state.network.output.log_density(mean, variance, judges.target)
            for state, (mean, variance, _) in zip(states, found, strict=True)
        ]
        return np.stack([to_numpy(part) for part in parts])
    # All at once: the rule of outputs that compete takes as long for ten rows as for a hundred.
    mean, variance = (concat([each[part] for each in found]) for part in (0, 1))
    target = concat([judges.target] * len(states))
    return to_numpy(output.log_density(mean, variance, target)).reshape(len(states), -1)


def _judged(state: State, judges: Batch) -> State:
    """The state with the noise, of a regressor, that makes held-out rows most probable."""
    output = state.network.output
    if not isinstance(output, GaussianOutput):
        return state
    if isinstance(output, HeteroscedasticOutput) and output.varies:
        return state.with_output(output.with_factors(judged_factors(state, judges)))
    prior = NoiseEvidence.none_yet(zeros_like(output.noise_variance), _JUDGED_PRIOR_MASS)
    return state.with_noise_variance(judged_noise(state, judges, prior))


def _change_of_noise(before: State, after: State) -> float:
    """Largest change of the logarithm of a noise variance."""
    old, new = before.network.output, after.network.output
    if not (isinstance(old, GaussianOutput) and isinstance(new, GaussianOutput)):
        return 0.0
    return float(np.abs(np.log(to_numpy(new.noise_variance / old.noise_variance))).max())
