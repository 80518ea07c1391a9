"""Sweeps that learn the prior's variances, and a noise with them, after every pass over the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.utils import gen_batches

from sk_epsnn._arrays import Array, absolute, astype, clip, concat, epsilon, is_any, largest, log, reshape, sum_over
from sk_epsnn.course import Rows
from sk_epsnn.ep.evidence import Evidence, NoiseEvidence
from sk_epsnn.ep.learned_prior import MOST_STEPS, SETTLED
from sk_epsnn.ep.mixing import potential_mean
from sk_epsnn.ep.noise import with_varying_noise
from sk_epsnn.ep.state import State
from sk_epsnn.ep.trainer import SweepTrainer
from sk_epsnn.network import PREDICT_ROWS, Batch
from sk_epsnn.outputs import GaussianOutput
from sk_epsnn.training import Report

#: Prior of a noise that the evidence judges, in pseudo-observations: targets may be without any.
_NOISE_MASS = 1e-6
#: Least noise, in units of the target's variance, unless rounding of the rows is more.
_LEAST_NOISE = 1e-8


@dataclass(frozen=True, kw_only=True)
class EvidenceTrainer(SweepTrainer):
    """Sweeps over one batch after another; what is learned by evidence stays as it is during a pass.

    For the passes of a fit: a stream goes on with what they have learned.
    """

    learns_variance = True

    def absorb_pass(
        self,
        state: State,
        shards: Sequence[Rows | Batch],
        batches: Sequence[Sequence[Any]],
        total_mass: float,
        rng: np.random.RandomState | None,
        n_jobs: int | None,
    ) -> tuple[State, Report]:
        """See `Trainer.absorb_pass`."""
        if self._begins_to_vary(state):
            batch = self.entered(state, shards[0].take(batches[0][0]))
            # Where the means explain all that there is, nothing is left that could vary.
            output: Any = state.network.output
            varies = not is_any(output.noise_variance <= 10 * _least_noise(batch))
            state = with_varying_noise(state, batch) if varies else state.with_noise_that(varies=False)
        learned = state.layers[-1].learned
        if learned is None:  # by a stream, or sparse rows
            return super().absorb_pass(state, shards, batches, total_mass, rng, n_jobs)
        if learned.each and learned.is_new:
            # An input is not given up before it is known how large the noise and the weights are at all.
            state, report = self.absorb_pass(_with_each(state, False), shards, batches, total_mass, rng, n_jobs)
            return _with_each(state, True), report
        noise = state.noise
        state, report = super().absorb_pass(replace(state, noise=None), shards, batches, total_mass, rng, n_jobs)
        if noise is None:
            return state.with_layers([*state.layers[:-1], state.layers[-1].with_learned_variance()]), report
        squares = sum(self._squares(state, rows) for rows in shards)
        least = _least_noise(self.entered(state, shards[0].take(slice(1))))
        return _with_learned_noise(state, noise, squares, total_mass, least), report

    def _squares(self, state: State, rows: Rows | Batch) -> Array:
        """Weighted sum of the squared residuals of the mean, shape (n_out,)."""
        weights, result = state.moments("float64")[0], 0.0
        for part in gen_batches(rows.n_samples, max(1, 16 * PREDICT_ROWS // state.network.n_rows[-1])):
            batch = self.entered(state, rows.take(part))
            mean = astype(weights.mean[: state.network.n_targets, :], batch.target.dtype)
            gap = batch.target - potential_mean(batch.inputs, mean)
            weight, gap = (astype(part, "float64") for part in (batch.weight[:, None], gap))
            result = result + sum_over(weight * gap * gap, axis=0)
        return result


def _with_learned_noise(state: State, noise: NoiseEvidence, squares: Array, mass: float, least: float) -> State:
    """The noise and the prior's variance, of a single layer, that make the rows most probable together.

    All that is known of the rows is what they amount to at the noise ``v`` at which they were learned from: precisions
    and shifts are proportional to ``1 / v``, and squared residuals are a quadratic function of the means.
    """
    output, (start,), n_targets = state.network.output, state.layers, state.network.n_targets
    assert isinstance(output, GaussianOutput)
    old, data = output.noise_variance, start.evidence()
    precision, means = data.precision[:n_targets, ...], start.posterior.mean[:n_targets, :]
    gradient = data.shift[:n_targets, :] - _product(precision, means)
    layer, variance = start, old
    prior = replace(noise, prior_mass=_NOISE_MASS, prior_squares=_NOISE_MASS * noise.prior_squares / noise.prior_mass)
    for _ in range(MOST_STEPS):
        before, last = layer.learned, variance
        assert before is not None
        moved = layer.posterior.mean[:n_targets, :] - means
        curved = moved * (_product(precision, moved) - 2 * gradient)
        left = clip(squares + old * sum_over(curved, axis=1), min=0.0)
        n_known = sum_over(before.known(layer.posterior)[:n_targets, :], axis=1)
        if before.each:
            # A step of EM, which is slower but never goes too far: many factors may explain all that there is.
            mean_square = (left + variance * n_known) / mass
        else:
            mean_square = left / clip(mass - n_known, min=1e-3 * mass)
        variance = prior.known(mean_square, mass).variance
        variance = clip(variance, min=least)
        after = before.improved(layer.posterior).but_for(before, n_targets)
        layer = layer.with_variance(after)
        # Log noises know nothing yet.
        change = concat([old / variance] * state.network.output.units_per_target, axis=0)
        layer = layer.with_evidence(Evidence(*(_by_unit(change, part) for part in data)))
        if before.is_near(after) and float(largest(absolute(log(variance / last)))) < SETTLED:
            break
    return replace(state.with_layers([layer]).with_noise_variance(variance), noise=noise.known(variance, mass))


def _least_noise(batch: Batch) -> float:
    """Least noise variance that is told from rounding."""
    return max(_LEAST_NOISE, epsilon(batch.target))


def _with_each(state: State, each: bool) -> State:
    """The state whose inputs have factors of their own from now on, or one for all."""
    *hidden, last = state.layers
    learned = last.learned
    assert learned is not None
    return state.with_layers([*hidden, replace(last, learned=replace(learned, each=each))])


def _product(precision: Array, vectors: Array) -> Array:
    """Precisions, of independent or joint weights, times one vector per unit."""
    return precision * vectors if precision.ndim == 2 else (precision @ vectors[:, :, None])[:, :, 0]


def _by_unit(factor: Array, part: Array) -> Array:
    """Natural parameters of every unit times its factor."""
    return reshape(factor, (-1,) + (1,) * (part.ndim - 1)) * part
