"""Choose from the rows what cannot be said without them: by what a short training on some of them predicts of others.

So a leak is chosen, and the exponent of a spectral prior: whether what classes differ by lies along the long axes of
the inputs, as in images, or along any, as in spectra of speech.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.special import logsumexp

from sk_epsnn._arrays import astype, like, to_numpy
from sk_epsnn.course import Course, Rows
from sk_epsnn.leaks import is_open, leaks, with_leak
from sk_epsnn.network import Network
from sk_epsnn.training import absorb_in_turn

#: Rows of trials, at most; one in so many of them judges.
ROWS, JUDGES = 800, 4
#: Steps of a trial, about, rows of a batch.
STEPS, BATCH = 120, 50
#: With less weight in all rows nothing is tried: they would say nothing.
LEAST_MASS = 100
#: What is taken without trials.
USUAL_LEAK = 0.84


def chosen(trainer: Any, network: Network, rows: Rows, rng: np.random.RandomState) -> tuple[Any, Network]:
    """The trainer and the network without anything open: the leak first, then the exponent of the prior.

    Every trial starts from the same random numbers, which go on as if there had been none.
    """
    exponents, tries = trainer.design.exponents, rows.mass >= LEAST_MASS
    trainer = _with_exponent(trainer, exponents[0])
    if is_open(network):
        tried = list(leaks(network)) if tries else [USUAL_LEAK]
        ways = [(trainer, with_leak(network, leak)) for leak in tried]
        network = _best(ways, rows, rng)[1]
    if not tries:
        return trainer, network
    return _best([(_with_exponent(trainer, exponent), network) for exponent in exponents], rows, rng)


def _with_exponent(trainer: Any, exponent: float) -> Any:
    """The same trainer, with this exponent and no other to be tried."""
    return replace(trainer, design=replace(trainer.design, exponents=(exponent,)))


def _best(ways: list[tuple[Any, Network]], rows: Rows, rng: np.random.RandomState) -> tuple[Any, Network]:
    """The first of those that predict best."""
    if len(ways) == 1:
        return ways[0]
    some = rows.some(ROWS)
    order = deepcopy(rng).permutation(some.n_samples)
    n_judges = some.n_samples // JUDGES
    judges, others = some.take(order[:n_judges]), some.take(order[n_judges:])
    return max(ways, key=lambda way: _prediction(way[0], way[1], others, judges, deepcopy(rng)))


def _prediction(trainer: Any, network: Network, rows: Rows, judges: Rows, rng: np.random.RandomState) -> float:
    """Log density of the targets of the judges per unit of weight, in nats, after a few steps on the other rows."""
    n_batches = -(-rows.n_samples // BATCH)
    course = Course(BATCH, True, -(-STEPS // n_batches), 0.0, True)
    trainer = replace(trainer, course=course)
    state = trainer.start(network, rows, rng)
    entered = trainer.enter(state, rows)
    for _ in range(course.n_passes):
        batches = course.shuffled_batches(rows.n_samples, rng)
        state, _ = absorb_in_turn(trainer, state, entered, batches, rows.mass, rng)
    state = trainer.finish(state, rows.mass)
    spreads = trainer.predictor(state, judges.X.dtype)(judges.X)
    target = astype(like(judges.target, judges.X), judges.X.dtype)
    output = state.network.output
    each = [to_numpy(output.log_density(s.mean, s.epistemic + s.aleatoric, target)) for s in spreads]
    density = logsumexp(each, axis=0) - np.log(len(each))
    mean = float(np.average(density, weights=judges.sample_weight))
    return mean if np.isfinite(mean) else -np.inf
