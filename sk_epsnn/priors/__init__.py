"""Weight priors, each of them one small class (Section IV-A of [1]_).

A prior describes one weight ``w = unit * omega``: a class is the density p0 of ``omega``, and ``unit**2`` is the
`variance` of a prior. A conjugate prior enters the posterior once, as natural parameters. Any other prior
is represented there by a Gaussian site, which `refresh_site` updates from the moments of the tilted density, p0 times
everything else that is known about the weight.

References
----------
.. [1] D. Yao, S. McLaughlin, Y. Altmann, "Training of spiking neural networks with expectation-propagation",
   arXiv:2506.23757, 2025.
"""

from sk_epsnn.priors.ard import ARDPrior
from sk_epsnn.priors.base import Tilted, WeightPrior
from sk_epsnn.priors.bernoulli_gaussian import BernoulliGaussianPrior
from sk_epsnn.priors.gaussian import GaussianPrior
from sk_epsnn.priors.laplace import LaplacePrior
from sk_epsnn.priors.mixture import GaussianMixturePrior

PRIORS = {c.name: c for c in (GaussianPrior, ARDPrior, BernoulliGaussianPrior, LaplacePrior, GaussianMixturePrior)}

__all__ = [
    "PRIORS",
    "ARDPrior",
    "BernoulliGaussianPrior",
    "GaussianMixturePrior",
    "GaussianPrior",
    "LaplacePrior",
    "Tilted",
    "WeightPrior",
]
