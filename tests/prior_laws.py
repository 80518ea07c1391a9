"""Laws of the registered priors for the tests, written out, and cases to test them with."""

from typing import NamedTuple

import numpy as np
import oracles
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from sk_epsnn.priors import (
    ARDPrior,
    BernoulliGaussianPrior,
    GaussianMixturePrior,
    GaussianPrior,
    LaplacePrior,
)


class Law(NamedTuple):
    """What an oracle needs: the log-density, its kinks and modes, the least precision of a proper cavity.

    ``active`` is the probability of not lying exactly at zero; the density is that of the rest.
    """

    log_density: object
    points: tuple
    least_precision: float
    active: float = 1.0


def gaussian_law(prior):
    return Law(norm(0, 1).logpdf, (0.0,), -1.0)


def bernoulli_gaussian_law(prior):
    v = prior.slab_variance
    return Law(norm(0, np.sqrt(v)).logpdf, (0.0,), -1 / v, prior.active_probability)


def laplace_law(prior):
    b = prior.scale
    return Law(lambda w: -np.abs(w) / b - np.log(2 * b), (0.0,), 0.0)


def gaussian_mixture_law(prior):
    parts = [(p, norm(m, np.sqrt(v))) for p, m, v in zip(prior.weights, prior.means, prior.variances, strict=True)]
    return Law(
        lambda w: logsumexp([np.log(p) + part.logpdf(w) for p, part in parts], axis=0),
        tuple(prior.means),
        -1 / max(prior.variances),
    )


#: How to integrate each registered prior; a new one needs its own entry, and parameters to test it with.
LAWS = {
    "ard": gaussian_law,
    "gaussian": gaussian_law,
    "bernoulli_gaussian": bernoulli_gaussian_law,
    "laplace": laplace_law,
    "gaussian_mixture": gaussian_mixture_law,
}
CASES = [
    GaussianPrior(),
    ARDPrior(),
    BernoulliGaussianPrior(),
    BernoulliGaussianPrior(active_probability=0.03, slab_variance=4.0),
    BernoulliGaussianPrior(active_probability=0.999, slab_variance=0.01),
    LaplacePrior(),
    LaplacePrior(scale=3.0),
    LaplacePrior(scale=0.05),
    GaussianMixturePrior(),
    GaussianMixturePrior(weights=[1.0], means=[0.7], variances=[2.0]),
    GaussianMixturePrior(weights=(0.2, 0.5, 0.3), means=(-3.0, 0.0, 2.0), variances=(0.5, 1e-4, 1.0)),
]
EVERY = pytest.mark.parametrize("prior", CASES, ids=str)
JOINT = pytest.mark.parametrize("joint", [False, True])
PRECISIONS = (-0.2, 0.0, 1e-6, 0.1, 1.0, 30.0, 1e4)


def cavities(prior):
    """Proper cavities around the precisions above: shifts of the prior's own size, and means of up to 5."""
    law = LAWS[prior.name](prior)
    pairs = []
    for tau in PRECISIONS:
        shifts = [-2.0, -0.3, 0.0, 0.7, 1.1, 6.0, *(m * tau for m in (-5.0, 0.05, 1.3) if tau >= 1)]
        pairs += [(tau, nu) for nu in shifts if tau > law.least_precision]
    if law.least_precision == 0:
        pairs += [(0.0, share / prior.scale) for share in (-0.9, 0.0, 0.5)]
    return np.array(pairs).T


def exact(prior, tau, nu):
    """The tilted density by quadrature, with the point mass at zero if there is one."""
    law = LAWS[prior.name](prior)
    points = (*law.points, nu / tau) if tau > 1e-3 else law.points
    found = oracles.natural_tilted(law.log_density, tau, nu, points)
    return oracles.with_point_mass(found, law.active) if law.active < 1 else found
