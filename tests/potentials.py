"""Potentials for the tests: means and variances, column by column."""

import numpy as np

MEANS = np.array([-8.0, -2.5, -0.7, 0.0, 0.4, 1.9, 6.0])
VARIANCES = np.array([0.05, 0.6, 2.0, 9.0, 100.0])
GRID = [(m, s) for m in MEANS for s in VARIANCES]


def grid(pairs, dtype=np.float64):
    """Column arrays: the shape is (n_samples, n_out) with one output."""
    return (np.array(column, dtype)[:, None] for column in zip(*pairs, strict=True))
