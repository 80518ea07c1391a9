"""What rows that hidden layers have not seen decide before training: the noise, and the hidden temperature.

Residuals of rows that the hidden layers have fitted are too small to tell the noise, and how cold hidden posteriors
should be is not for the rows that they explain to say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sk_epsnn._arrays import Array, sum_over, to_numpy, zeros_like
from sk_epsnn.course import Course, Rows
from sk_epsnn.ep.evidence import NoiseEvidence
from sk_epsnn.ep.passes import predict
from sk_epsnn.ep.state import State
from sk_epsnn.network import Batch
from sk_epsnn.outputs import GaussianOutput
from sk_epsnn.training import Progress, Trainer, one_pass

#: Prior of a noise that held-out rows judge, in pseudo-observations: where the potentials' own variance says it all,
#: there may be next to none.
_JUDGED_PRIOR_MASS = 1e-4
#: Fewer rows than this cannot judge a noise variance.
LEAST_HELD_OUT = 10


def learned_noise(judge: State, noise: NoiseEvidence, batch: Batch, power: float) -> NoiseEvidence:
    """What a batch adds to what is known of the noise, its potentials being predicted by a state."""
    mean, spread, _ = predict(judge, batch.inputs, judge.moments(batch.target.dtype))
    return noise.absorb(batch.target - mean, spread, batch.sample_weight, power)


def judged_noise(state: State, held_out: Batch, prior: NoiseEvidence) -> tuple[Array, float]:
    """What rows that the posterior has not seen say of it.

    Returns
    -------
    noise_variance : array of shape (n_out,)
        The noise that makes these rows most probable, ``prior`` included.
    score : float
        Their log density with it, in nats per unit of weight, summed over the outputs.
    """
    mean, spread, _ = predict(state, held_out.inputs, state.moments(held_out.target.dtype))
    variance = prior.absorb(held_out.target - mean, spread, held_out.sample_weight, 1.0).variance
    log_density = GaussianOutput(variance).log_partition(mean, spread, held_out.target, 1.0)
    return variance, float(held_out.sample_weight @ sum_over(log_density, axis=1)) / held_out.mass


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
    judges = progress.state.network.batch(*rows.take(order[: held_out.n_rows]))
    shards = [trainer.enter(progress.state, shard) for shard in course.shards(rows.take(order[held_out.n_rows :]), rng)]
    progress = replace(progress, state=replace(progress.state, noise=None)).noted(temperature=[], held_out=[])
    start = best = progress.state
    best_score = -np.inf
    for path in held_out.heating or [(None,)]:
        progress = replace(progress, state=start)
        for temperature in path:
            if temperature is not None:
                progress = replace(progress, state=progress.state.at_temperature(temperature))
            progress, score = _settle(trainer, progress, shards, judges, held_out.passes_per_step, course, rng)
            hidden = float(progress.state.layers[0].temperature)
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
        old = progress.state.network.output.noise_variance
        prior = NoiseEvidence.none_yet(zeros_like(old), _JUDGED_PRIOR_MASS)
        variance, score = judged_noise(progress.state, judges, prior)
        progress = replace(progress, state=progress.state.with_noise_variance(variance))
        if abs(energy - before) < course.tol and np.abs(np.log(to_numpy(variance / old))).max() < course.tol:
            break
    return progress, score
