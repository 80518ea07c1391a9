"""Sparse weights: spike and slab."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from scipy.special import expit, logit

from sk_epsnn._arrays import Array
from sk_epsnn._sklearn import Interval
from sk_epsnn.priors.base import MARGIN, POSITIVE, Tilted, WeightPrior, tilted_gaussian


class BernoulliGaussianPrior(WeightPrior):
    """Sparse weights (spike and slab): Gaussian with some probability, else exactly zero.

    Parameters
    ----------
    active_probability : float, default=0.5
        Probability, in (0, 1), that a weight is not zero.
    slab_variance : float, default=1.0
        Variance of an active weight, in units of ``variance``; positive.
    variance : "auto", float or array-like of shape (n_layers,), default="auto"
        Square of the unit in which the other parameters are measured, for raw inputs and targets: one number for every
        weight and bias, or one per layer of weights. "auto" scales the prior to the data, see `GaussianPrior`.
    anchor : "auto" or float, default="auto"
        Size of the random start of the hidden layers' weights, in prior standard deviations; "auto" is 0.3. It moves
        the start, not the prior itself.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_epsnn.priors import BernoulliGaussianPrior
    >>> prior = BernoulliGaussianPrior(active_probability=0.25)
    >>> prior.activation_probability(np.array([0.0, 1.0]), np.array([0.0, 4.0])).round(3)
    array([0.25 , 0.928])
    """

    name = "bernoulli_gaussian"
    sparse = True
    _parameter_constraints = {
        **WeightPrior._parameter_constraints,
        "active_probability": [Interval(Real, 0, 1, closed="neither")],
        "slab_variance": [POSITIVE],
    }

    def __init__(
        self,
        *,
        active_probability: float = 0.5,
        slab_variance: float = 1.0,
        variance: Any = "auto",
        anchor: Any = "auto",
    ):
        self.active_probability = active_probability
        self.slab_variance = slab_variance
        self.variance = variance
        self.anchor = anchor

    @property
    def active_share(self) -> float:  # type: ignore[override]
        """Share of the weights that are not 0."""
        return float(self.active_probability)

    def proper(self, precision: Array, shift: Array) -> Array:
        """See `WeightPrior.proper`: the slab has to be."""
        return 1 + self.slab_variance * precision > MARGIN

    def tilted(self, precision: Array, shift: Array) -> Tilted:
        """See `WeightPrior.tilted`: active with the new log-odds, and then Gaussian."""
        slab = tilted_gaussian(self.slab_variance, precision, shift)
        log_odds = logit(self.active_probability) + slab.log_z
        active, silent = expit(log_odds), expit(-log_odds)
        log_z = np.log1p(-self.active_probability) + np.logaddexp(0, log_odds)
        return Tilted(log_z, active * slab.mean, active * (slab.variance + silent * slab.mean**2))

    def activation_probability(self, precision: Array, shift: Array) -> Array:
        """See `WeightPrior.activation_probability`."""
        slab = tilted_gaussian(self.slab_variance, precision, shift)
        return expit(logit(self.active_probability) + slab.log_z)
