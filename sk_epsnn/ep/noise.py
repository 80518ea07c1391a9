"""What rows that hidden layers have not seen decide before training: the noise, and the hidden temperature.

Residuals of rows that the hidden layers have fitted are too small to tell the noise, and how cold hidden posteriors
should be is not for the rows that they explain to say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize

from sk_epsnn._arrays import Array, astype, like, sum_over, to_numpy, zeros_like
from sk_epsnn.course import Course, Rows
from sk_epsnn.ep.evidence import NoiseEvidence
from sk_epsnn.ep.passes import predict
from sk_epsnn.ep.state import State
from sk_epsnn.network import Batch
from sk_epsnn.outputs import GaussianOutput
from sk_epsnn.training import Progress, Stage, Trainer, one_pass

#: Prior of a noise that held-out rows judge, in pseudo-observations: where the potentials' own variance says it all,
#: there may be next to none.
_JUDGED_PRIOR_MASS = 1e-4
#: Fewer rows than this cannot judge a noise variance.
LEAST_HELD_OUT = 10


def learned_noise(judge: State, noise: NoiseEvidence, batch: Batch, power: float) -> NoiseEvidence:
    """What a batch adds to what is known of the noise, its potentials being predicted by a state."""
    mean, spread = _predicted(judge, batch)
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
    mean, spread = _predicted(state, held_out)
    variance = prior.absorb(held_out.target - mean, spread, held_out.sample_weight, 1.0).variance
    log_density = GaussianOutput(variance).log_partition(mean, spread, held_out.target, 1.0)
    return variance, float(held_out.sample_weight @ sum_over(log_density, axis=1)) / held_out.mass


def judged_factors(state: State, held_out: Batch) -> tuple[Array, float]:
    """What rows that the posterior has not seen say of the variances that it predicts, where the noise varies.

    Returns
    -------
    factors : array of shape (2, n_targets)
        On the variance of the potentials and on the noise: those that make these rows most probable. Their logarithms
        have standard normal priors.
    score : float
        Log density of the rows with them, in nats per unit of weight, summed over the outputs.
    """
    last = predict(state, held_out.inputs, state.moments(held_out.target.dtype))
    parts = (last.mean, last.variance, held_out.target, held_out.sample_weight)
    mean, variance, target, weight = (to_numpy(part).astype(float) for part in parts)
    output: Any = state.network.output
    noise, n_targets = to_numpy(output.noise_variance), target.shape[1]

    def with_factors(logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Summed log density, and its slopes in the logarithms of the factors."""
        factor = np.exp(logs.reshape(2, -1))
        widened = np.hstack([factor[0] * variance[:, :n_targets], variance[:, n_targets:]])
        log_z, message = output.with_noise_variance(factor[1] * noise).evidence(mean, widened, target, 1.0)
        slopes = np.hstack([-0.5 * (message.kappa * widened)[:, :n_targets], message.g[:, n_targets:]])
        return weight @ log_z.sum(1), weight @ slopes

    def cost(logs: np.ndarray) -> tuple[float, np.ndarray]:
        density, slopes = with_factors(logs)
        return 0.5 * logs @ logs - density, logs - slopes

    best = minimize(cost, np.zeros(2 * n_targets), jac=True, method="L-BFGS-B").x
    return like(np.exp(best.reshape(2, -1)), output.noise_variance), float(with_factors(best)[0]) / held_out.mass


def with_varying_noise(state: State, batch: Batch) -> State:
    """The state about to learn how its noise varies, starting from all that rows are predicted to vary by.

    With a noise that starts too large the means find out what they can explain; too small, every row counts too much.
    """
    output: Any = state.network.output
    _, spread = _predicted(state, batch)
    weight = batch.sample_weight[:, None]
    variance = output.noise_variance + astype(sum_over(weight * spread, axis=0), "float64") / batch.mass
    return replace(state.with_noise_variance(variance).with_varying_noise(), walk=None)


def _predicted(state: State, batch: Batch) -> tuple[Array, Array]:
    """Predictive mean and variance of the potentials that have targets, shape (n_samples, n_targets) each."""
    last = predict(state, batch.inputs, state.moments(batch.target.dtype))
    mean, variance = (state.network.output.targeted(part) for part in last[:2])
    return mean, variance


@dataclass(frozen=True)
class HeldOut:
    """Rows held out before training.

    Attributes
    ----------
    n_rows : int
    heating : tuple of tuples of float
        Paths of hidden temperatures to try, each step judged by the rows; empty leaves the temperature as it is.
    passes_per_step : int
        Passes at each temperature, at most, and of a noise that varies.
    ending : Stage or None
        A pass that ends a fit in which the noise varies: the rows judge where it leads.
    """

    n_rows: int
    heating: tuple[tuple[float, ...], ...]
    passes_per_step: int
    ending: Stage | None = None


def choose_on_held_out(
    trainer: Trainer,
    progress: Progress,
    rows: Rows,
    held_out: HeldOut,
    course: Course,
    rng: np.random.RandomState,
    tell: Callable[[str], None],
    varying: Trainer | None = None,
) -> Progress:
    """Train on the other rows, and go on from where the held-out rows are predicted best.

    Every path of temperatures starts from the untrained network. From the best one a trainer whose noise varies goes
    on, if there is one; the rows then say how far its variances are from the truth.
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
            progress = _noted(progress, score, tell)
            if score > best_score:
                best, best_score = progress.state, score
    progress = replace(progress, state=best)
    if varying is None:
        return progress
    progress = replace(progress, state=with_varying_noise(best, judges))
    progress = _vary(varying, progress, shards, held_out.passes_per_step, course, rng)
    if held_out.ending is not None:
        progress, _ = one_pass(held_out.ending.trainer, progress, shards, held_out.ending.course, rng)
    factors, score = judged_factors(progress.state, judges)
    output = progress.state.network.output.with_factors(factors)
    return _noted(replace(progress, state=progress.state.with_output(output)), score, tell)


def _noted(progress: Progress, score: float, tell: Callable[[str], None]) -> Progress:
    """The same with what held-out rows say of it in the history."""
    hidden = float(progress.state.layers[0].temperature)
    tell(f"Hidden temperature {hidden:g}, held-out log density = {score:.6f} nats")
    return progress.noted(temperature=[hidden], held_out=[score])


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


def _vary(
    trainer: Trainer,
    progress: Progress,
    shards: list[Rows],
    n_passes: int,
    course: Course,
    rng: np.random.RandomState,
) -> Progress:
    """Train until it settles, or for so many passes."""
    energy = -np.inf
    for _ in range(n_passes):
        before = energy
        progress, energy = one_pass(trainer, progress, shards, course, rng)
        if abs(energy - before) < course.tol:
            break
    return progress
