"""Choose from the rows what cannot be said without them: under which choice they are most probable after a few passes.

So a leak is chosen, and the exponent of a spectral prior: whether what classes differ by lies along the long axes of
the inputs, as in images, or along any, as in spectra of speech.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np

from sk_epsnn.course import Course, Rows
from sk_epsnn.leaks import is_open, leaks, with_leak
from sk_epsnn.network import Network
from sk_epsnn.training import Progress, Trainer, one_pass

#: Rows that judge, passes over them, and batches of a pass.
JUDGES, PASSES, BATCHES = 500, 3, 5
#: With less weight in all rows than this an exponent is not tried: they would say nothing.
LEAST_MASS = 100


def chosen(trainer: Any, network: Network, rows: Rows, rng: np.random.RandomState) -> tuple[Any, Network]:
    """The trainer and the network without anything open: the leak first, then the exponent of the prior.

    Every trial starts from the same random numbers, which go on as if there had been none.
    """
    exponents = (trainer.design.spectral_exponent, *trainer.design.other_exponents)
    trainer = _with_exponent(trainer, exponents[0])
    if rows.mass < LEAST_MASS:
        exponents = exponents[:1]
    ways = [with_leak(network, leak) for leak in leaks(network)] if is_open(network) else [network]
    if len(ways) == len(exponents) == 1:
        return trainer, network
    some = rows.some(JUDGES)
    network = _best([(trainer, way) for way in ways], some, rng)[1]
    return _best([(_with_exponent(trainer, exponent), network) for exponent in exponents], some, rng)


def _with_exponent(trainer: Any, exponent: float) -> Any:
    """The same trainer, with this exponent and no other to be tried."""
    return replace(trainer, design=replace(trainer.design, spectral_exponent=exponent, other_exponents=()))


def _best(ways: list[tuple[Any, Network]], rows: Rows, rng: np.random.RandomState) -> tuple[Any, Network]:
    """The first of those under which the rows become most probable."""
    if len(ways) == 1:
        return ways[0]
    course = Course(-(-rows.n_samples // BATCHES), True, PASSES, 0.0, shuffle=True)
    return max(ways, key=lambda way: _objective(way[0].for_passes(PASSES), way[1], rows, course, deepcopy(rng)))


def _objective(trainer: Trainer, network: Network, rows: Rows, course: Course, rng: np.random.RandomState) -> float:
    """Objective per unit of weight after a few passes, in nats; minus infinity where training fails.

    What is wrong with the rows is said by the fit itself.
    """
    objective = -np.inf
    try:
        with np.errstate(all="ignore"):
            progress = Progress(trainer.start(network, rows, rng))
            for _ in range(course.n_passes):
                progress, objective = one_pass(trainer, progress, [rows], course, rng)
    except (ValueError, ArithmeticError, np.linalg.LinAlgError):
        return -np.inf
    return objective if np.isfinite(objective) else -np.inf
