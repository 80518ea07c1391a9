"""What rows that hidden layers have not seen decide before training: the noise, and the hidden temperature.

Residuals of rows that the hidden layers have fitted are too small to tell the noise, and how cold hidden posteriors
should be is not for the rows that they explain to say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sk_epsnn._arrays import to_numpy
from sk_epsnn.activations import GaussianOutput
from sk_epsnn.inference import Batch
from sk_epsnn.sep import NoiseEvidence, judge
from sk_epsnn.training import Course, Progress, Rows, Trainer, one_pass

#: Prior of a learned noise: this many pseudo-observations ...
NOISE_PRIOR_MASS = 0.1
#: ... of this variance, in units of the target's variance.
NOISE_START = 0.1
#: The same where held-out rows judge it: where the potentials' own variance says it all, there may be next to none.
_JUDGED_PRIOR_MASS = 1e-4
#: Fewer rows than this cannot judge a noise variance.
LEAST_HELD_OUT = 10


def noise_prior(squares: Any, mass: float = NOISE_PRIOR_MASS) -> NoiseEvidence:
    """What is known of a noise before the data; ``squares`` is an array of zeros, one for each output."""
    return NoiseEvidence(mass, mass * NOISE_START, 0.0, squares)


@dataclass(frozen=True)
class HeldOut:
    """Rows held out before training.

    Attributes
    ----------
    n_rows : int
    heating : tuple of tuples of float
        Paths of hidden temperatures to try, each step judged by the rows; empty leaves the temperature as it is.
    passes_per_step : int
        Passes at each temperature, at most.
    """

    n_rows: int
    heating: tuple[tuple[float, ...], ...]
    passes_per_step: int


def choose_on_held_out(
    trainer: Trainer,
    progress: Progress,
    rows: Rows,
    held_out: HeldOut,
    course: Course,
    rng: np.random.RandomState,
    tell: Callable[[str], None],
) -> Progress:
    """Train on the other rows, and go on from where the held-out rows are predicted best.

    Every path of temperatures starts from the untrained network.
    """
    order = rng.permutation(rows.n_samples)
    judges = progress.state.batch(rows.take(order[: held_out.n_rows]))
    shards = course.shards(rows.take(order[held_out.n_rows :]), rng)
    progress = replace(progress, state=replace(progress.state, noise=None)).noted(temperature=[], held_out=[])
    start = best = progress.state
    best_score = -np.inf
    for path in held_out.heating or [(None,)]:
        progress = replace(progress, state=start)
        for temperature in path:
            if temperature is not None:
                progress = replace(progress, state=progress.state.at_temperature(temperature))
            progress, score = _settle(trainer, progress, shards, judges, held_out.passes_per_step, course, rng)
            hidden = float(progress.state.network.layers[0].temperature)
            progress = progress.noted(temperature=[hidden], held_out=[score])
            tell(f"Hidden temperature {hidden:g}, held-out log density = {score:.6f} nats")
            if score > best_score:
                best, best_score = progress.state, score
    return replace(progress, state=best)


def _settle(
    trainer: Trainer,
    progress: Progress,
    shards: list[Rows],
    judges: Batch,
    n_passes: int,
    course: Course,
    rng: np.random.RandomState,
) -> tuple[Progress, float]:
    """Train while the held-out rows say what the noise is after each pass; also gives their log density."""
    energy, score = -np.inf, -np.inf
    for _ in range(n_passes):
        before = energy
        progress, energy = one_pass(trainer, progress, shards, course, rng)
        network = progress.state.network
        old = network.output.noise_variance
        variance, score = judge(network, judges, noise_prior(0 * old, _JUDGED_PRIOR_MASS))
        progress = replace(
            progress, state=replace(progress.state, network=replace(network, output=GaussianOutput(variance)))
        )
        if abs(energy - before) < course.tol and np.abs(np.log(to_numpy(variance / old))).max() < course.tol:
            break
    return progress, score
