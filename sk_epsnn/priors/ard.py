"""Gaussian weights whose variance is learned for every input."""

from __future__ import annotations

from typing import Any

from sk_epsnn.priors.base import WeightPrior
from sk_epsnn.priors.gaussian import GaussianPrior


class ARDPrior(GaussianPrior):
    """Automatic relevance determination: Gaussian weights with one variance for each input, learned from the data.

    Inputs that the evidence of the rows does not ask for get weights near 0. It is for single layers of continuous
    weights, and `fit` learns it; rows of a stream are learned from with the variances of the last `fit`. The other
    priors learn one variance for all weights of a single layer, or none (docs/theory.md).

    Parameters
    ----------
    variance : "auto", float or array-like of shape (n_layers,), default="auto"
        Where the variances start; "auto" scales the start to the data, see `GaussianPrior`.

    References
    ----------
    .. [1] D. J. C. MacKay, "Bayesian non-linear modelling for the prediction competition", ASHRAE Transactions 100,
       1994.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_epsnn import EPSNNRegressor
    >>> X = np.random.default_rng(0).standard_normal((60, 20))
    >>> y = X[:, 0] + 0.1 * np.random.default_rng(1).standard_normal(60)
    >>> plain, ard = (EPSNNRegressor(prior=prior).fit(X, y) for prior in ("gaussian", "ard"))
    >>> bool(abs(plain.coef_[1:]).max() > 0.04), bool(abs(ard.coef_[1:]).max() < 0.001)
    (True, True)
    """

    name = "ard"
    #: One variance for each input.
    learns_each = True
    _parameter_constraints = {**WeightPrior._parameter_constraints}
    del _parameter_constraints["anchor"]

    def __init__(self, *, variance: Any = "auto"):
        self.variance = variance

    anchor = "auto"
    spectral_exponent = "auto"
