"""Weights from a mixture of Gaussians."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import logsumexp

from sk_epsnn._arrays import Array
from sk_epsnn.priors.base import MARGIN, Tilted, WeightPrior


class GaussianMixturePrior(WeightPrior):
    """Mixture of any number of Gaussians, by default one wide and one narrow (a soft kind of sparsity).

    Parameters
    ----------
    weights : sequence of float, default=(0.5, 0.5)
        Probability of each component; positive, summing to 1.
    means : sequence of float, default=(0.0, 0.0)
        Mean of each component.
    variances : sequence of float, default=(1.0, 0.01)
        Variance of each component, in units of ``variance``; positive.
    variance : "auto", float or array-like of shape (n_layers,), default="auto"
        Square of the unit in which the other parameters are measured, for raw inputs and targets: one number for every
        weight and bias, or one per layer of weights. "auto" scales the prior to the data, see `GaussianPrior`.
    anchor : "auto" or float, default="auto"
        Size of the random start of the hidden layers' weights, in prior standard deviations; "auto" is 0.3. It moves
        the start, not the prior itself.

    Examples
    --------
    >>> from sk_epsnn.priors import GaussianMixturePrior
    >>> GaussianMixturePrior(weights=(0.25, 0.75), means=(3.0, -1.0), variances=(1.0, 1.0)).moments()
    (0.0, 4.0)
    """

    name = "gaussian_mixture"
    _parameter_constraints = {
        **WeightPrior._parameter_constraints,
        "weights": ["array-like"],
        "means": ["array-like"],
        "variances": ["array-like"],
    }

    def __init__(
        self,
        *,
        weights: Sequence[float] = (0.5, 0.5),
        means: Sequence[float] = (0.0, 0.0),
        variances: Sequence[float] = (1.0, 0.01),
        variance: Any = "auto",
        anchor: Any = "auto",
    ):
        self.weights = weights
        self.means = means
        self.variances = variances
        self.variance = variance
        self.anchor = anchor

    def check(self) -> None:
        """See `WeightPrior.check`."""
        super().check()
        weights = self._numbers("weights")
        if not (weights.size and (weights > 0).all() and np.isclose(weights.sum(), 1, rtol=0, atol=1e-8)):
            raise ValueError(
                f"weights of {type(self).__name__} must be positive and sum to 1. Got {self.weights!r} instead."
            )
        for name in ("means", "variances"):
            values = self._numbers(name)
            if len(values) != len(weights):
                raise ValueError(
                    f"{name} of {type(self).__name__} must have one entry for each of the {len(weights)} weights. "
                    f"Got {getattr(self, name)!r} instead."
                )
        if not (self._numbers("variances") > 0).all():
            raise ValueError(f"variances of {type(self).__name__} must be positive. Got {self.variances!r} instead.")

    def _numbers(self, name: str) -> Array:
        """One parameter as a vector of finite numbers."""
        given = getattr(self, name)
        try:
            values = np.asarray(given, np.float64)
        except (TypeError, ValueError):
            values = np.empty(())
        if values.ndim != 1 or not np.isfinite(values).all():
            raise ValueError(
                f"{name} of {type(self).__name__} must be a sequence of finite numbers. Got {given!r} instead."
            )
        return values

    def proper(self, precision: Array, shift: Array) -> Array:
        """See `WeightPrior.proper`: the widest component has to be."""
        return 1 + np.max(self.variances) * precision > MARGIN

    def tilted(self, precision: Array, shift: Array) -> Tilted:
        """See `WeightPrior.tilted`: every component stays Gaussian, and their weights change."""
        weights, means, variances = (np.asarray(x, np.float64) for x in (self.weights, self.means, self.variances))
        tau, nu = precision[..., None], shift[..., None]
        spread = 1 + tau * variances
        # Under a sharp cavity all components gain nearly the same: without it their ratios keep their digits.
        sharp = tau * variances.max() > 1
        center = nu / np.where(sharp, tau, 1)
        exponent = np.where(
            sharp,
            -0.5 * tau * (means - center) ** 2,
            nu * means + 0.5 * nu**2 * variances - 0.5 * tau * means**2,
        )
        log_terms = np.log(weights) - 0.5 * np.log(spread) + exponent / spread
        log_sum = logsumexp(log_terms, axis=-1, keepdims=True)
        share = np.exp(log_terms - log_sum)
        parts = (means + nu * variances) / spread
        mean = (share * parts).sum(-1)
        variance = (share * (variances / spread + (parts - mean[..., None]) ** 2)).sum(-1)
        return Tilted((log_sum + np.where(sharp, 0.5 * nu * center, 0))[..., 0], mean, variance)
