"""Gaussian weights."""

from __future__ import annotations

from typing import Any

from sk_epsnn._arrays import Array
from sk_epsnn.priors.base import AUTO, MARGIN, NOT_NEGATIVE, Tilted, WeightPrior, tilted_gaussian


class GaussianPrior(WeightPrior):
    """Gaussian weights, ``w ~ N(0, variance)``; conjugate, so it enters the posterior as it is.

    With weights on levels it is the prior of the biases only.

    Parameters
    ----------
    variance : "auto", float or array-like of shape (n_layers,), default="auto"
        Prior variance of every weight and bias, or one per layer of weights, for raw inputs and targets; 1.0 is the
        standard Gaussian prior of [1]_. "auto" scales the prior to the data: a potential gets a fixed prior variance,
        however many inputs it has and whatever their units.
    anchor : "auto" or float, default="auto"
        Size of random prior means of the hidden layers' weights, in prior standard deviations. It keeps hidden neurons
        different from each other. With 0 only the starting point is random, not the prior. "auto" depends on the task
        and the depth (docs/settings.md), and is 0 where ``variance`` is a number and weights are continuous.
    spectral_exponent : "auto" or float, default="auto"
        Exponent beta of the spectral prior: along each principal axis of the inputs, the prior variance of the first
        layer's weights is proportional to the inputs' second moment to this power. 0 is isotropic. "auto" depends on
        the task (docs/settings.md), and is 0 without hidden layers, where ``variance`` is a number, or with more than
        2048 features. Classifiers with hidden layers take 0 or 1, as short trials on some rows say (``settings_`` of
        the fitted estimator), and with an automatic ``variance`` add half of the mean second moment to each first.

    References
    ----------
    .. [1] D. Yao, S. McLaughlin, Y. Altmann, arXiv:2506.23757, 2025, Section IV-A.

    Examples
    --------
    >>> from sk_epsnn import EPSNNClassifier, GaussianPrior
    >>> GaussianPrior().moments()
    (0.0, 1.0)
    >>> EPSNNClassifier(prior=GaussianPrior(variance=1.0)).get_params()["prior__variance"]
    1.0
    """

    name = "gaussian"
    conjugate = True
    _parameter_constraints = {**WeightPrior._parameter_constraints, "spectral_exponent": [AUTO, NOT_NEGATIVE]}

    def __init__(self, *, variance: Any = "auto", anchor: Any = "auto", spectral_exponent: Any = "auto"):
        self.variance = variance
        self.anchor = anchor
        self.spectral_exponent = spectral_exponent

    def proper(self, precision: Array, shift: Array) -> Array:
        """See `WeightPrior.proper`."""
        return 1 + precision > MARGIN

    def tilted(self, precision: Array, shift: Array) -> Tilted:
        """See `WeightPrior.tilted`."""
        return tilted_gaussian(1.0, precision, shift)
