"""Bursts whose times alone tell six classes apart."""

from __future__ import annotations

import numpy as np
from _common import Arrays

N_TRAIN, N_TEST = 1_200, 1_200
N_CLASSES, N_CHANNELS, N_STEPS = 6, 20, 40
#: Spikes of a burst, and the standard deviation of its time, in steps.
BURST, JITTER = 4, 2.0


def temporal_order(seed: int) -> Arrays:
    """Every channel fires one burst of four spikes in a row; when, says the class. All counts are equal."""
    rng = np.random.default_rng(seed)
    times = rng.uniform(JITTER, N_STEPS - BURST - JITTER, (N_CLASSES, N_CHANNELS))
    y = rng.integers(0, N_CLASSES, N_TRAIN + N_TEST)
    start = times[y] + JITTER * rng.standard_normal((len(y), N_CHANNELS))
    start = np.clip(np.rint(start), 0, N_STEPS - BURST).astype(int)[:, np.newaxis]
    step = np.arange(N_STEPS)[:, np.newaxis]
    X = ((step >= start) & (step < start + BURST)).astype(np.float32)
    return X[:N_TRAIN], y[:N_TRAIN], X[N_TRAIN:], y[N_TRAIN:]
