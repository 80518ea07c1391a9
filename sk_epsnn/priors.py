"""Weight priors, each of them one small class (Section IV-A of [1]_).

A prior describes one weight ``w = unit * omega``: a class is the density p0 of ``omega``, and ``unit**2`` is what the
estimators call ``prior_variance``. A conjugate prior enters the posterior once, as natural parameters. Any other prior
is represented there by a Gaussian site, which `refresh_site` updates from the moments of the tilted density, p0 times
everything else that is known about the weight.

References
----------
.. [1] D. Yao, S. McLaughlin, Y. Altmann, "Training of spiking neural networks with expectation-propagation",
   arXiv:2506.23757, 2025.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from scipy.special import erfcx, expit, log_ndtr, logit, logsumexp
from sklearn.base import BaseEstimator

from sk_epsnn._arrays import Array
from sk_epsnn._sklearn import DocumentationLinkMixin, Interval, validate_parameters
from sk_epsnn.sites import UpdateCounts, bound_site, damp
from sk_epsnn.weights import GaussianWeights, IndependentWeights, JointWeights

#: A tilted density counts as proper when it is no wider than the prior divided by (about) this.
_MARGIN = 1e-6
#: From this ratio of rate to standard deviation on, a half-line density is treated as a bent exponential.
_TAIL = 3.0
#: Levels of the continued fraction for it; the relative error at `_TAIL` is 1e-13 and falls fast beyond.
_N_LEVELS = 36

_POSITIVE = Interval(Real, 0, None, closed="neither")


class Tilted(NamedTuple):
    """Log-normaliser in nats, mean and variance of ``p0(omega) exp(shift omega - precision omega**2 / 2)``."""

    log_z: Array
    mean: Array
    variance: Array


class WeightPrior(DocumentationLinkMixin, BaseEstimator):
    """Base class: the density p0 of one weight, measured in a unit that the layer sets.

    A subclass sets ``name`` and gives `tilted` and, unless every cavity will do, `proper`. Parameters are those of a
    scikit-learn estimator: keyword-only, stored as they are, and validated by `check`.

    Attributes
    ----------
    name : str
        Entry in the registry `PRIORS`.
    conjugate : bool
        Whether the prior is Gaussian, so that it needs no site update.
    sparse : bool
        Whether a weight can be exactly zero, so that `activation_probability` means something.
    """

    name: str
    conjugate: bool = False
    sparse: bool = False
    _parameter_constraints: dict[str, list] = {}

    def check(self) -> None:
        """Validate the parameters.

        Raises
        ------
        ValueError
            Names the parameter, its range and the value.
        """
        validate_parameters(self)

    def proper(self, precision: Array, shift: Array) -> Array:
        """Where p0 times the cavity has a finite integral, by a safe margin.

        Parameters
        ----------
        precision, shift : array
            Finite natural parameters of the cavity of ``omega``; the precision may be zero or negative.

        Returns
        -------
        proper : array of bool
        """
        raise NotImplementedError

    def tilted(self, precision: Array, shift: Array) -> Tilted:
        """Normaliser and moments of ``p0(omega) exp(shift omega - precision omega**2 / 2)``.

        Parameters
        ----------
        precision, shift : array
            Natural parameters of the cavity of ``omega``, where `proper`.

        Returns
        -------
        tilted : Tilted
            With ``mean = dlog_z/dshift`` and ``variance = d2log_z/dshift2``.
        """
        raise NotImplementedError

    def activation_probability(self, precision: Array, shift: Array) -> Array:
        """Probability that the weight is not zero, given the cavity of ``omega``; only if ``sparse``."""
        raise NotImplementedError(f"{type(self).__name__} gives no weight a probability of being zero.")

    def moments(self) -> tuple[float, float]:
        """Mean and variance of ``omega`` under the prior itself."""
        flat = self.tilted(np.zeros(1), np.zeros(1))
        return float(flat.mean[0]), float(flat.variance[0])

    def density(self, mean: Array, variance: Array, joint: bool) -> GaussianWeights:
        """The Gaussian q0(W) that a layer starts from, with the moments of the prior.

        Parameters
        ----------
        mean : array of shape (n_out, n_in)
            Where the prior of each weight is moved to.
        variance : array of shape (n_out, n_in)
            Square of the unit of each weight.
        joint : bool
            Whether the posterior of a unit's weights will be a joint Gaussian.
        """
        unit_mean, unit_variance = self.moments()
        mean = mean + np.sqrt(variance) * unit_mean
        precision = 1 / (variance * unit_variance)
        if not joint:
            return IndependentWeights(precision, mean)
        matrices: Any = np.zeros((*precision.shape, precision.shape[1]))
        diagonal = np.arange(precision.shape[1])
        matrices[:, diagonal, diagonal] = precision
        return JointWeights(matrices, mean)


class GaussianPrior(WeightPrior):
    """Gaussian weights, ``omega ~ N(0, 1)``; conjugate, so q0(W) is the prior itself.

    Examples
    --------
    >>> from sk_epsnn.priors import GaussianPrior
    >>> GaussianPrior().moments()
    (0.0, 1.0)
    """

    name = "gaussian"
    conjugate = True

    def proper(self, precision: Array, shift: Array) -> Array:
        """See `WeightPrior.proper`."""
        return 1 + precision > _MARGIN

    def tilted(self, precision: Array, shift: Array) -> Tilted:
        """See `WeightPrior.tilted`."""
        return _tilted_gaussian(1.0, precision, shift)


class BernoulliGaussianPrior(WeightPrior):
    """Sparse weights (spike and slab): Gaussian with some probability, else exactly zero.

    Parameters
    ----------
    active_probability : float, default=0.5
        Probability, in (0, 1), that a weight is not zero.
    slab_variance : float, default=1.0
        Variance of an active weight, in units of the layer's prior variance; positive.

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
        "active_probability": [Interval(Real, 0, 1, closed="neither")],
        "slab_variance": [_POSITIVE],
    }

    def __init__(self, *, active_probability: float = 0.5, slab_variance: float = 1.0):
        self.active_probability = active_probability
        self.slab_variance = slab_variance

    def proper(self, precision: Array, shift: Array) -> Array:
        """See `WeightPrior.proper`: the slab has to be."""
        return 1 + self.slab_variance * precision > _MARGIN

    def tilted(self, precision: Array, shift: Array) -> Tilted:
        """See `WeightPrior.tilted`: active with the new log-odds, and then Gaussian."""
        slab = _tilted_gaussian(self.slab_variance, precision, shift)
        log_odds = logit(self.active_probability) + slab.log_z
        active, silent = expit(log_odds), expit(-log_odds)
        log_z = np.log1p(-self.active_probability) + np.logaddexp(0, log_odds)
        return Tilted(log_z, active * slab.mean, active * (slab.variance + silent * slab.mean**2))

    def activation_probability(self, precision: Array, shift: Array) -> Array:
        """See `WeightPrior.activation_probability`."""
        slab = _tilted_gaussian(self.slab_variance, precision, shift)
        return expit(logit(self.active_probability) + slab.log_z)


class LaplacePrior(WeightPrior):
    """Laplace (double exponential) weights: density ``exp(-|omega| / scale) / (2 scale)``.

    Parameters
    ----------
    scale : float, default=0.7071067811865476
        Mean of ``|omega|``; the variance is twice its square. The default, 1/sqrt(2), gives unit variance.

    Examples
    --------
    >>> from sk_epsnn.priors import LaplacePrior
    >>> LaplacePrior(scale=2.0).moments()
    (0.0, 8.0)
    """

    name = "laplace"
    _parameter_constraints = {"scale": [_POSITIVE]}

    def __init__(self, *, scale: float = 0.7071067811865476):
        self.scale = scale

    def proper(self, precision: Array, shift: Array) -> Array:
        """See `WeightPrior.proper`: without a positive precision the tails only bear shifts below 1 / scale."""
        bounded = np.abs(shift) * self.scale < 1 - _MARGIN
        return (precision >= 0) & (bounded | (precision * self.scale**2 > _MARGIN**2))

    def tilted(self, precision: Array, shift: Array) -> Tilted:
        """See `WeightPrior.tilted`: the two half-lines, each an exponential bent by the cavity."""
        right = _half_line(1 / self.scale - shift, precision)
        left = _half_line(1 / self.scale + shift, precision)
        log_odds = right.log_z - left.log_z
        p, q = expit(log_odds), expit(-log_odds)
        log_z = np.logaddexp(right.log_z, left.log_z) - np.log(2 * self.scale)
        spread = p * q * (right.mean + left.mean) ** 2
        return Tilted(log_z, p * right.mean - q * left.mean, p * right.variance + q * left.variance + spread)


class GaussianMixturePrior(WeightPrior):
    """Mixture of any number of Gaussians, by default one wide and one narrow (a soft kind of sparsity).

    Parameters
    ----------
    weights : sequence of float, default=(0.5, 0.5)
        Probability of each component; positive, summing to 1.
    means : sequence of float, default=(0.0, 0.0)
        Mean of each component.
    variances : sequence of float, default=(1.0, 0.01)
        Variance of each component; positive.

    Examples
    --------
    >>> from sk_epsnn.priors import GaussianMixturePrior
    >>> GaussianMixturePrior(weights=(0.25, 0.75), means=(3.0, -1.0), variances=(1.0, 1.0)).moments()
    (0.0, 4.0)
    """

    name = "gaussian_mixture"
    _parameter_constraints = {"weights": ["array-like"], "means": ["array-like"], "variances": ["array-like"]}

    def __init__(
        self,
        *,
        weights: Sequence[float] = (0.5, 0.5),
        means: Sequence[float] = (0.0, 0.0),
        variances: Sequence[float] = (1.0, 0.01),
    ):
        self.weights = weights
        self.means = means
        self.variances = variances

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
        return 1 + np.max(self.variances) * precision > _MARGIN

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


PRIORS = {c.name: c for c in (GaussianPrior, BernoulliGaussianPrior, LaplacePrior, GaussianMixturePrior)}


def refresh_site(
    prior: WeightPrior,
    unit: Array | float,
    cavity_precision: Array,
    cavity_shift: Array,
    old_precision: Array,
    old_shift: Array,
    damping: float,
    counts: UpdateCounts,
) -> tuple[Array, Array]:
    """One EP update of the Gaussian sites that stand for a prior in the posterior of the weights.

    Parameters
    ----------
    prior : WeightPrior
    unit : array or float
        Weights are ``w = unit * omega``; the shape of the cavity, or one that broadcasts to it.
    cavity_precision, cavity_shift : array
        Natural parameters of what is known about each ``w`` without the prior; may be flat or improper.
    old_precision, old_shift : array of the same shape
        Natural parameters of the sites so far.
    damping : float
        Step in (0, 1] from the old natural parameters to the new ones; 1 replaces them.
    counts : UpdateCounts
        Receives how many sites were bounded, and how many kept their old value because the cavity leaves no proper
        tilted density or one without finite moments.

    Returns
    -------
    precision, shift : array
        Natural parameters of the new sites, for ``w``; within `sk_epsnn.sites.SITE_BOX` if the old ones are.
    """
    unit = np.broadcast_to(np.asarray(unit, np.float64), cavity_precision.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        tau, nu = cavity_precision * unit**2, cavity_shift * unit
        usable = np.isfinite(tau) & np.isfinite(nu) & prior.proper(tau, nu)
        tilted = prior.tilted(np.where(usable, tau, 0), np.where(usable, nu, 0))
        mean, variance = unit * tilted.mean, unit**2 * tilted.variance
    usable &= np.isfinite(mean) & np.isfinite(variance)
    counts.skipped_sites += int(usable.size - np.count_nonzero(usable))
    cavity = cavity_precision[usable]
    site = bound_site(mean[usable], variance[usable], cavity, cavity_shift[usable], counts)
    old = old_precision[usable], old_shift[usable]
    damped = [damp(a, b, damping) for a, b in zip(old, site, strict=True)]
    # Where the cavity has lost precision since the old site was made, only the full step keeps the product proper.
    weak = cavity + damped[0] <= 0
    precision, shift = np.array(old_precision, np.float64), np.array(old_shift, np.float64)
    precision[usable], shift[usable] = (np.where(weak, b, d) for d, b in zip(damped, site, strict=True))
    return precision, shift


def _tilted_gaussian(variance: float, precision: Array, shift: Array) -> Tilted:
    """Normaliser and moments of ``N(omega; 0, variance)`` times a cavity."""
    spread = 1 + variance * precision
    mean = variance * shift / spread
    return Tilted(0.5 * (shift * mean - np.log1p(variance * precision)), mean, variance / spread)


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
