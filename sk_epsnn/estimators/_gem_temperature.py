"""Temperature of the predictions of a GEM-SNN, from held-out rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.model_selection import train_test_split

from sk_epsnn.course import Rows
from sk_epsnn.estimators._gem_plan import GEMPlan
from sk_epsnn.gem.decisions import DECISIONS, log_probability
from sk_epsnn.training import train

#: Share of the rows that say the temperature, and the range in which it is looked for.
_HELD_OUT = 0.1
_TEMPERATURES = (0.05, 1000.0)


def held_out_temperature(plan: GEMPlan, rows: Rows, rng: np.random.RandomState) -> float:
    """The temperature at which a tenth of the rows is most probable, after a training on the others.

    Raises
    ------
    ValueError
        If there are too few rows to hold any out.
    """
    label = rows.target.argmax(axis=1)
    counts = np.bincount(label)
    if counts[counts > 0].min() < 2 or _HELD_OUT * rows.n_samples < len(counts):
        raise ValueError(
            f"temperature='held_out' needs two rows of every class, and ten times as many rows as classes in all; "
            f"there are {rows.n_samples} rows. Give a number."
        )
    kept, held = train_test_split(np.arange(len(label)), test_size=_HELD_OUT, stratify=label, random_state=rng)
    progress = train(plan.stages, plan.network, rows.take(kept), rng, _Alone(), lambda line: None)
    readings = plan.trainer.predictor(progress.state, np.float32)(rows.X[held])
    weight, label = rows.sample_weight[held], label[held]

    def loss(log_temperature: float) -> float:
        said = log_probability(DECISIONS[plan.decision](readings, float(np.exp(-log_temperature))))
        return -float(weight @ said[np.arange(len(label)), label])

    bounds = (float(np.log(_TEMPERATURES[0])), float(np.log(_TEMPERATURES[1])))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


class _Alone:
    """Nobody is told of a fit."""

    def run_pass(self, work: Any) -> bool:
        """Do a pass."""
        work()
        return False
