"""Predictive uncertainty: what it is made of, and that of class labels."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc

from sk_epsnn._arrays import (
    Array,
    astype,
    clip,
    concat,
    epsilon,
    exp,
    largest,
    like,
    log,
    minimum,
    smallest_normal,
    sqrt,
    stack,
    sum_over,
    take,
    to_numpy,
    where,
    zeros_like,
)
from sk_epsnn.messages import Spread
from sk_epsnn.numerics import gauss_hermite, xlogy
from sk_epsnn.outputs import SoftmaxOutput, SpikingOutput
from sk_epsnn.softmax import tilted

#: Nodes of the rules that average over the weights in `EPSNNClassifier.predict_uncertainty`: where no log-odds has a
#: larger standard deviation than `_NARROW`, and elsewhere; twice as many for up to `_FEW_UNITS` units.
_FEW_NODES, _NODES = 32, 64
_FEW_UNITS = 5
_NARROW = 1.0
#: Rows whose mutual information is computed at a time: few enough to stay in a processor's cache.
_INFORMATION_ROWS = 2048
#: The three nodes of the Gauss-Hermite rule are 0 and +- this.
_OUTER_NODE = float(np.sqrt(3))
#: Log-odds at which a class is as good as certain.
_CERTAIN = 1e4


class Uncertainty(NamedTuple):
    """Predictive uncertainty and its two parts, ``total = aleatoric + epistemic``.

    Attributes
    ----------
    total : ndarray
        Uncertainty of the prediction.
    aleatoric : ndarray
        Part that would remain if the weights were known.
    epistemic : ndarray
        Part that comes from not knowing the weights.
    """

    total: Array
    aleatoric: Array
    epistemic: Array


class PotentialMoments(NamedTuple):
    """Predictive mean and variance of the output potentials.

    Attributes
    ----------
    mean, variance : ndarray of shape (n_samples, n_outputs)
    """

    mean: Array
    variance: Array


def class_log_probability(output: SpikingOutput, spread: Spread) -> Array:
    """Log probabilities of the classes, given that exactly one output unit fires; shape (n_samples, n_classes)."""
    result = output.log_probability(spread.mean, _proper(spread.epistemic + spread.aleatoric))
    # What rounds to a probability of 1 is certain here too.
    return where(result > -epsilon(result), 0.0, result)


def class_uncertainty(output: SpikingOutput, spread: Spread) -> Uncertainty:
    """Entropy of the class, in nats, and the part of it that is mutual information with the weights."""
    total = _entropy(class_log_probability(output, spread))
    epistemic = minimum(_mutual_information(output, spread), total)
    return Uncertainty(total, total - epistemic, epistemic)


def _mutual_information(output: SpikingOutput, spread: Spread) -> Array:
    """``H(E p) - E H(p)`` over the weights, by a fixed quasi-Monte Carlo rule in the output potentials."""
    middle, slope, curvature = _log_odds_over_weights(output, spread)
    wide = to_numpy(largest(slope, axis=1)) > _NARROW
    order, parts = [], []
    for narrow, group in ((True, np.flatnonzero(~wide)), (False, np.flatnonzero(wide))):
        for start in range(0, len(group), _INFORMATION_ROWS):
            rows = group[start : start + _INFORMATION_ROWS]
            parts.append(_information(*(take(part, rows) for part in (middle, slope, curvature)), narrow=narrow))
            order.append(rows)
    return take(concat(parts), np.argsort(np.concatenate(order)))


def _log_odds_over_weights(output: SpikingOutput, spread: Spread) -> tuple[Array, Array, Array]:
    """Log-odds ``middle + slope x + curvature x^2`` of every unit, ``x`` its standard normal part of the weights.

    They are almost linear in the potential: between its mean and sqrt(3) standard deviations to either side they are
    the quadratic through these three points, the nodes of a Gauss-Hermite rule. A softmax has the potentials
    themselves, moved by what its tilted bound says of the spike noise.
    """
    noise = _proper(spread.aleatoric)
    if isinstance(output, SoftmaxOutput):
        middle = spread.mean + (0.5 - tilted(spread.mean, noise)) * noise
        return middle, sqrt(spread.epistemic), zeros_like(middle)
    far = _OUTER_NODE * sqrt(spread.epistemic)
    low, middle, high = (
        # Beyond the bound a class is certain or impossible.
        clip(output.log_odds(spread.mean + shift, noise), -_CERTAIN, _CERTAIN)
        for shift in (-far, zeros_like(far), far)
    )
    return middle, (high - low) / (2 * _OUTER_NODE), (high + low - 2 * middle) / 6


def _proper(variance: Array) -> Array:
    """Variances that may be divided by."""
    return clip(variance, min=smallest_normal(variance))


def _information(middle: Array, slope: Array, curvature: Array, narrow: bool) -> Array:
    """Mutual information of the class with standard normal x, log-odds ``middle + slope x + curvature x^2``.

    Narrow rows, whose slopes are at most `_NARROW` and whose curvatures are smaller still, take the rule of few nodes,
    and log-odds that nowhere go far from the largest one in the middle.
    """
    n_units = middle.shape[1]
    n_nodes = (_FEW_NODES if narrow else _NODES) * (2 if n_units <= _FEW_UNITS else 1)
    nodes, weights = _normal_rule(n_units, n_nodes)
    nodes = astype(like(nodes, middle), middle.dtype)
    # Sums over the classes are faster along the first axis; a single unit stands for two classes.
    middle, slope, curvature = (
        stack([part[:, k] for k in range(n_units)] if n_units > 1 else [zeros_like(part[:, 0]), part[:, 0]])
        for part in (middle, slope, curvature)
    )
    middle = middle - largest(middle, axis=0)
    mean_probability, mean_entropy = zeros_like(middle), zeros_like(middle[0, :])
    for k, weight in enumerate(weights.tolist()):
        node = nodes[k, :, None]
        log_odds = node * curvature
        log_odds += slope
        log_odds *= node
        log_odds += middle
        if not narrow:
            log_odds -= largest(log_odds, axis=0)
        share = exp(log_odds)
        total = sum_over(share, axis=0)
        # The entropy is log(total) - sum(share * log_odds) / total.
        log_odds *= share
        mean_entropy += weight * (log(total) - sum_over(log_odds, axis=0) / total)
        share *= weight / total
        mean_probability += share
    entropy = -sum_over(xlogy(mean_probability, mean_probability), axis=0)
    return clip(entropy - mean_entropy, min=0.0)


def _entropy(log_probability: Array) -> Array:
    """Entropy in nats of each row of log probabilities."""
    probability = exp(log_probability)
    finite = where(probability > 0, log_probability, 0.0)
    return -sum_over(probability * finite, axis=1)


@lru_cache(maxsize=16)
def _normal_rule(n_units: int, n_nodes: int) -> tuple[Array, Array]:
    """Nodes (n_nodes, n_units) and weights of a rule for the standard normal, exact for polynomials of second degree.

    Gauss-Hermite for a single unit, otherwise scrambled Sobol points (drawn once from a fixed seed) and their mirror
    images, turned until their second moments are those of the normal. Where there are as many units as points, only
    the variances are.
    """
    if n_units == 1:
        nodes, weights = np.array(gauss_hermite(n_nodes)).T
        return nodes[:, None], weights
    points = qmc.Sobol(n_units, scramble=True, rng=np.random.default_rng(0)).random(n_nodes // 2)
    half = ndtri(np.clip(points, 1e-9, 1 - 1e-9))
    if n_units < len(half):
        size, axes = np.linalg.eigh(half.T @ half / len(half))
        half = half @ (axes / np.sqrt(size)) @ axes.T
    else:
        half /= np.sqrt((half * half).mean(0))
    return np.vstack([half, -half]), np.full(n_nodes, 1 / n_nodes)
