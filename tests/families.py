"""Weights of every family for the tests, and what enumeration says of those on levels."""

import numpy as np
import oracles
import pytest
from scipy.stats import multivariate_normal

from sk_epsnn.weights import IndependentWeights, JointWeights, LevelWeights

N_OUT, N_IN = 3, 4
FAMILIES = pytest.mark.parametrize("family", [IndependentWeights, JointWeights])
#: Levels and their prior probabilities.
GRIDS = {
    "two": ([-1.0, 1.0], [0.5, 0.5]),
    "two, off centre": ([-0.5, 2.0], [0.3, 0.7]),
    "three": ([-1.0, 0.0, 1.0], [0.2, 0.7, 0.1]),
    "five, uneven": ([-2.0, -0.5, 0.0, 0.4, 1.5], [0.1, 0.2, 0.3, 0.15, 0.25]),
}
EVERY_GRID = pytest.mark.parametrize("grid", sorted(GRIDS))
CONSTANT = pytest.mark.parametrize("constant", [False, True])


def random_weights(family, seed):
    rng = np.random.default_rng(seed)
    mean = rng.standard_normal((N_OUT, N_IN))
    if family is IndependentWeights:
        return family(rng.uniform(0.3, 4.0, (N_OUT, N_IN)), mean)
    root = rng.standard_normal((N_OUT, N_IN, 2 * N_IN))
    return family(root @ root.swapaxes(1, 2) / N_IN, mean)


def matrices(weights):
    """Precision of each unit as a full matrix."""
    p = weights.precision
    return p if p.ndim == 3 else np.stack([np.diag(row) for row in p])


def level_weights(grid, precision, shift, constant):
    levels, prior = (np.array(part) for part in GRIDS[grid])
    return LevelWeights(precision, shift, levels, np.log(prior), constant)


def random_naturals(seed, constant):
    """Precisions of either sign, that of a bias positive; no level comes near the bound on the log-odds."""
    rng = np.random.default_rng(seed)
    precision, shift = rng.uniform(-1, 3, (N_OUT, N_IN)), rng.uniform(-2, 2, (N_OUT, N_IN))
    if constant:
        precision[:, -1] = rng.uniform(0.3, 3, N_OUT)
    return precision, shift


def level_laws(grid, precision, shift, constant):
    """Enumerated law of every discrete weight, by its index."""
    shape = len(precision), precision.shape[1] - constant
    return {index: oracles.level_law(*GRIDS[grid], precision[index], shift[index]) for index in np.ndindex(shape)}


def enumerated_kl(grid, q, base, constant):
    """KL divergence between two pairs (precision, shift)."""
    one, other = level_laws(grid, *q, constant), level_laws(grid, *base, constant)
    total = sum((one[k].probabilities * np.log(one[k].probabilities / other[k].probabilities)).sum() for k in one)
    if constant:
        for (precision, shift), (base_precision, base_shift) in zip(
            *(np.stack(pair)[:, :, -1].T for pair in (q, base)), strict=True
        ):
            total += oracles.gaussian_kl(precision, shift / precision, base_precision, base_shift / base_precision)
    return total


def enumerated_moments(grid, precision, shift, constant):
    """Mean and variance of every weight, a Gaussian bias among them."""
    mean, variance = shift / precision, 1 / precision
    for index, law in level_laws(grid, precision, shift, constant).items():
        mean[index], variance[index] = law.mean, law.variance
    return mean, variance


def diagonal_pair(seed):
    independent = random_weights(IndependentWeights, seed)
    return independent, JointWeights(matrices(independent), independent.mean)


def log_density(weights, unit, point):
    return multivariate_normal.logpdf(point, weights.mean[unit], np.linalg.inv(matrices(weights)[unit]))
