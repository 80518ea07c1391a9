"""Prior variances learned from the evidence: what makes the weights that were found most probable.

At temperature 1 the energy is a bound on the evidence of the rows, and the variances that raise it most follow from the
moments of the posterior. One factor ``c`` on the prior variances of a layer of ``n`` weights, the biases left out, has
its best value at

    c = (k + sum ((m - m0)^2 / T + s) / v) / (k + n)

with means ``m`` and variances ``s`` of the posterior, those of the prior ``m0`` and ``v``, and ``k`` pseudo-weights of
the variance that the layer started from (an inverse gamma prior of ``c``).
"""

from __future__ import annotations

from dataclasses import replace

from sk_epsnn._arrays import Array, copy_of, diagonal, total_of
from sk_epsnn.ep.state import LayerState
from sk_epsnn.weights import GaussianWeights, JointWeights

#: Pseudo-weights that stay at the variance so far.
PSEUDO_WEIGHTS = 4.0
#: The step to the best factor is taken this many times, in its logarithm, as its fixed point is approached slowly ...
OVER_RELAXED = 2.0
#: ... but no longer than this factor at a time.
MOST_CHANGE = 4.0


def with_learned_variance(layer: LayerState, constant: bool) -> LayerState:
    """The layer with the prior variance that its posterior makes most probable, and what the data say as it was.

    Parameters
    ----------
    layer : LayerState
        Of Gaussian weights, with a Gaussian prior.
    constant : bool
        Whether the last column is a bias, whose prior stays.
    """
    prior, posterior = layer.prior, layer.posterior
    assert isinstance(prior, GaussianWeights) and isinstance(posterior, GaussianWeights)
    n = prior.mean.shape[1] - constant
    delta = (posterior.mean - prior.mean)[:, :n]
    square = delta * delta / layer.temperature + _variance(posterior)[:, :n]
    size = total_of(square / _variance(prior)[:, :n])
    factor = ((PSEUDO_WEIGHTS + size) / (PSEUDO_WEIGHTS + square.shape[0] * square.shape[1])) ** OVER_RELAXED
    factor = min(max(factor, 1 / MOST_CHANGE), MOST_CHANGE)
    precision = copy_of(prior.precision)
    if isinstance(prior, JointWeights):
        precision[:, :n, :n] /= factor
    else:
        precision[:, :n] /= factor
    learned = type(prior)(precision, prior.mean)
    site = posterior.precision - prior.precision
    return replace(layer, prior=learned, posterior=type(posterior)(precision + site, posterior.mean))


def _variance(weights: GaussianWeights) -> Array:
    """Variance of each weight, shape (n_out, n_in)."""
    return diagonal(weights.covariance) if isinstance(weights, JointWeights) else 1 / weights.precision
