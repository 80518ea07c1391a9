"""Laplace weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import erfcx, expit, log_ndtr

from sk_epsnn._arrays import Array
from sk_epsnn.priors.base import MARGIN, POSITIVE, Tilted, WeightPrior

#: From this ratio of rate to standard deviation on, a half-line density is treated as a bent exponential.
_TAIL = 3.0
#: Levels of the continued fraction for it; the relative error at `_TAIL` is 1e-13 and falls fast beyond.
_N_LEVELS = 36


class LaplacePrior(WeightPrior):
    """Laplace (double exponential) weights: density ``exp(-|omega| / scale) / (2 scale)``.

    Parameters
    ----------
    scale : float, default=0.7071067811865476
        Mean of ``|omega|``; the variance is twice its square. The default, 1/sqrt(2), gives unit variance.
    variance : "auto", float or array-like of shape (n_layers,), default="auto"
        Square of the unit in which the other parameters are measured, for raw inputs and targets: one number for every
        weight and bias, or one per layer of weights. "auto" scales the prior to the data, see `GaussianPrior`.
    anchor : "auto" or float, default="auto"
        Size of the random start of the hidden layers' weights, in prior standard deviations; "auto" is 0.3. It moves
        the start, not the prior itself.

    Examples
    --------
    >>> from sk_epsnn.priors import LaplacePrior
    >>> LaplacePrior(scale=2.0).moments()
    (0.0, 8.0)
    """

    name = "laplace"
    _parameter_constraints = {**WeightPrior._parameter_constraints, "scale": [POSITIVE]}

    def __init__(self, *, scale: float = 0.7071067811865476, variance: Any = "auto", anchor: Any = "auto"):
        self.scale = scale
        self.variance = variance
        self.anchor = anchor

    def proper(self, precision: Array, shift: Array) -> Array:
        """See `WeightPrior.proper`: without a positive precision the tails only bear shifts below 1 / scale."""
        bounded = np.abs(shift) * self.scale < 1 - MARGIN
        return (precision >= 0) & (bounded | (precision * self.scale**2 > MARGIN**2))

    def tilted(self, precision: Array, shift: Array) -> Tilted:
        """See `WeightPrior.tilted`: the two half-lines, each an exponential bent by the cavity."""
        right = _half_line(1 / self.scale - shift, precision)
        left = _half_line(1 / self.scale + shift, precision)
        log_odds = right.log_z - left.log_z
        p, q = expit(log_odds), expit(-log_odds)
        log_z = np.logaddexp(right.log_z, left.log_z) - np.log(2 * self.scale)
        spread = p * q * (right.mean + left.mean) ** 2
        return Tilted(log_z, p * right.mean - q * left.mean, p * right.variance + q * left.variance + spread)


def _half_line(rate: Array, precision: Array) -> Tilted:
    """Log-mass, mean and variance of ``exp(-rate x - precision x**2 / 2)`` on ``x > 0``.

    Far in the tail of the Gaussian, where it is nearly exponential (or just that, with precision zero), the moments
    come from ``m_k = k / (rate + precision m_{k+1})``, the ratios of successive powers of ``x`` in the mean; they are
    sums of positive terms. Elsewhere they come from the hazard of the normal distribution.
    """
    root = np.sqrt(precision)
    tail = rate > _TAIL * root
    near = _near_half_line(np.where(tail, 0, rate), np.where(tail, 1, root))
    if not tail.any():
        return near
    rate, precision = np.where(tail, rate, 1), np.where(tail, precision, 0)
    # Deep down the ratios change slowly with k, and solve precision m**2 + rate m = k + 1.
    first = second = 2 * (_N_LEVELS + 1) / (rate + np.sqrt(rate**2 + 4 * (_N_LEVELS + 1) * precision))
    for k in range(_N_LEVELS, 0, -1):
        first, second = k / (rate + precision * first), first
    far = Tilted(-np.log(rate + precision * first), first, first * (second - first))
    return Tilted(*(np.where(tail, a, b) for a, b in zip(far, near, strict=True)))


def _near_half_line(rate: Array, root: Array) -> Tilted:
    """The same by the hazard of the normal distribution; ``root`` is the square root of the precision."""
    z = rate / root
    mills = erfcx(z / np.sqrt(2))
    hazard = np.sqrt(2 / np.pi) / mills
    # erfcx overflows on the left, where its logarithm is that of a Gaussian.
    log_mills = np.where(z > 0, np.log(np.minimum(mills, 2)), 0.5 * z**2 + np.log(2) + log_ndtr(-z))
    log_mass = 0.5 * np.log(np.pi / 2) - np.log(root) + log_mills
    return Tilted(log_mass, (hazard - z) / root, (1 - hazard * (hazard - z)) / root**2)
