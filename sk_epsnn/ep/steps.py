"""What the schedules ask of each family of weights beside its density: parts of KL, Newton terms, and steps.

A schedule raises ``sum_n log Z_n(q) - KL(q || cavity)`` in two turns, first by the means, then by the precisions. Each
function is dispatched on the family of its first argument; all weights of one call belong to one family.
"""

from __future__ import annotations

from functools import singledispatch

from sk_epsnn._arrays import Array, absolute, clip, log, total_of
from sk_epsnn.weights import GaussianWeights, IndependentWeights, JointWeights, LevelWeights, Weights

#: Longest Newton step of a discrete weight, in log-odds between the extreme levels.
LOG_ODDS_STEP = 4.0


def _no_steps(weights: Weights) -> TypeError:
    return TypeError(f"{type(weights).__name__} are no family that learns.")


@singledispatch
def kl_mean_part(posterior: Weights, base: Weights) -> float:
    """The part of ``KL(posterior || base)`` that changes when the mean moves, in nats.

    ``(m - m0)^T P0 (m - m0) / 2`` for Gaussian weights; all of KL on levels, where the variance follows the mean.
    """
    raise _no_steps(posterior)


@kl_mean_part.register
def _(posterior: GaussianWeights, base: GaussianWeights) -> float:
    delta = posterior.mean - base.mean
    return 0.5 * total_of(delta * base.times(delta))


@kl_mean_part.register
def _(posterior: LevelWeights, base: LevelWeights) -> float:
    square = posterior.variance + posterior.mean * posterior.mean
    linear = (posterior.shift - base.shift) * posterior.mean - 0.5 * (posterior.precision - base.precision) * square
    return total_of(linear - posterior.log_normaliser + base.log_normaliser)


@singledispatch
def kl_spread_part(posterior: Weights, base: Weights) -> float:
    """The part of ``KL(posterior || base)`` that depends on the covariances only, in nats; 0 on levels."""
    raise _no_steps(posterior)


@kl_spread_part.register
def _(posterior: IndependentWeights, base: IndependentWeights) -> float:
    ratio = base.precision / posterior.precision
    return 0.5 * total_of(ratio - log(ratio) - 1)


@kl_spread_part.register
def _(posterior: JointWeights, base: JointWeights) -> float:
    trace = total_of(base.precision * posterior.covariance)
    n_out, n_in = posterior.mean.shape
    return 0.5 * (trace - base.log_determinant + posterior.log_determinant - n_out * n_in)


@kl_spread_part.register
def _(posterior: LevelWeights, base: LevelWeights) -> float:
    return 0.0


@singledispatch
def mean_cost(posterior: Weights, cavity: Weights, site: Array, temperature: float) -> Array:
    """Derivative in the shift, divided by the variance, of what the energy subtracts from the log evidence.

    That is ``KL(posterior || cavity)``, hence ``P_c (m - m_c)`` for Gaussian weights; for weights whose variance
    follows the mean also ``temperature * site / 2`` times the variance. It balances
    `sk_epsnn.ep.mixing.mean_gradient`.

    Parameters
    ----------
    posterior, cavity : Weights
    site : array of shape (n_out, n_in), or (n_out, n_in, n_in) if joint
        Summed precision of the messages to the weights.
    temperature : float
        That of the layer.

    Returns
    -------
    cost : array of shape (n_out, n_in)
    """
    raise _no_steps(posterior)


@mean_cost.register
def _(posterior: GaussianWeights, cavity: GaussianWeights, site: Array, temperature: float) -> Array:
    return cavity.times(posterior.mean - cavity.mean)


@mean_cost.register
def _(posterior: LevelWeights, cavity: LevelWeights, site: Array, temperature: float) -> Array:
    # The third central moment, in the slope, says how fast the variance follows the mean.
    divergence = posterior.shift - cavity.shift - 0.5 * posterior.slope * (posterior.precision - cavity.precision)
    return divergence + (0.5 * posterior.slope - posterior.mean) * (temperature * site)


@singledispatch
def mean_curvature(posterior: Weights, cavity: Weights) -> Array:
    """Derivative of `mean_cost` in the mean, positive: a diagonal of shape (n_out, n_in), or matrices if joint."""
    raise _no_steps(posterior)


@mean_curvature.register
def _(posterior: GaussianWeights, cavity: GaussianWeights) -> Array:
    return cavity.precision


@mean_curvature.register
def _(posterior: LevelWeights, cavity: LevelWeights) -> Array:
    # Without the part that comes from the site, so that it stays positive.
    return 1 / posterior.variance


@singledispatch
def moved(posterior: Weights, delta: Array) -> Weights:
    """Density whose mean has moved by ``delta``, the precision as it was.

    Exact for Gaussian weights. On levels to first order, and by no more than `LOG_ODDS_STEP`.
    """
    raise _no_steps(posterior)


@moved.register
def _(posterior: GaussianWeights, delta: Array) -> GaussianWeights:
    return posterior.with_mean(posterior.mean + delta)


@moved.register
def _(posterior: LevelWeights, delta: Array) -> LevelWeights:
    change = delta / posterior.variance
    n, width = posterior.n_discrete, posterior.levels[-1] - posterior.levels[0]
    # Between more than two levels a sharp density needs more to move by half a level.
    limit = LOG_ODDS_STEP / width + 0.5 * absolute(posterior.precision[:, :n]) * width / (len(posterior.levels) - 1)
    change[:, :n] = clip(change[:, :n], -limit, limit)
    return posterior.with_natural(posterior.precision, posterior.shift + change)


@singledispatch
def with_site(posterior: Weights, cavity: Weights, site: Array, temperature: float, step: float) -> Weights:
    """Let the precision follow a site precision by the fraction ``step``, the mean as it is (to first order).

    Parameters
    ----------
    posterior, cavity : Weights
    site : array of shape (n_out, n_in), or (n_out, n_in, n_in) if joint
        Summed precision of the messages to the weights.
    temperature : float
        That of the layer. The energy counts the KL of Gaussian covariances times the temperature; on levels all of KL
        counts fully, so the site is cooled with the moments that it comes from.
    step : float in (0, 1]
        At 1 the precision is that of cavity and site.

    Returns
    -------
    posterior : Weights
    """
    raise _no_steps(posterior)


@with_site.register
def _(
    posterior: GaussianWeights, cavity: GaussianWeights, site: Array, temperature: float, step: float
) -> GaussianWeights:
    precision = posterior.precision + step * (cavity.precision + site - posterior.precision)
    return type(posterior)(precision, posterior.mean)


@with_site.register
def _(posterior: LevelWeights, cavity: LevelWeights, site: Array, temperature: float, step: float) -> LevelWeights:
    change = step * (cavity.precision + temperature * site - posterior.precision)
    return posterior.with_natural(posterior.precision + change, posterior.shift + 0.5 * posterior.slope * change)


@singledispatch
def recentred(posterior: Weights, other: Weights) -> Weights:
    """Density with the mean of another, and the precision of this one where these are free of each other.

    On levels they are not, and the result is the other density itself.
    """
    raise _no_steps(posterior)


@recentred.register
def _(posterior: GaussianWeights, other: GaussianWeights) -> GaussianWeights:
    return posterior.with_mean(other.mean)


@recentred.register
def _(posterior: LevelWeights, other: LevelWeights) -> LevelWeights:
    return other
