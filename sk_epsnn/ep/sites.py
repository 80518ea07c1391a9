"""Sites: data factors in natural or derivative form, and the only place that divides, damps and bounds them.

Every correction is counted, so that a fitted model can say how often it was needed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

from sk_epsnn._arrays import Array, absolute, clip, how_many, hypot, is_any, ones_like, sqrt, where

#: A difference of two precisions this small beside them is rounding.
_ROUNDING = 1e-12
#: Log-ratios sent to hidden spikes are kept within +- this bound (the KL projection of a Bernoulli site on a box).
LOG_RATIO_BOUND = 10.0


@dataclass
class UpdateCounts:
    """How often an update had to be rejected or bounded.

    Attributes
    ----------
    rejected_steps : int
        Steps of the mean that would not have raised the energy at any length, and were not taken.
    shortened_steps : int
        Steps that raised the energy only after halving.
    rejected_precisions : int
        Updates of the precisions that would have lowered the energy at any length, and were not taken.
    rejected_batches : int
        Batches, or passes of steps on mini-batches, whose whole update was refused (non-finite, or the energy fell);
        the posterior stayed as it was.
    halved_rates : int
        Passes of steps on mini-batches that lowered the energy, and were undone to go on at half the rate.
    bounded_precisions : int
        Site precisions set to their bound, most often negative ones set to zero, keeping the mean.
    bounded_shifts : int
        Site shifts set to their bound.
    skipped_sites : int
        Sites of a weight prior left as they were, because their cavity has no proper tilted density (or not a finite
        one).
    bounded_log_ratios : int
        Messages to hidden spikes cut at +- ``LOG_RATIO_BOUND``.
    """

    rejected_steps: int = 0
    shortened_steps: int = 0
    rejected_precisions: int = 0
    rejected_batches: int = 0
    halved_rates: int = 0
    bounded_precisions: int = 0
    bounded_shifts: int = 0
    skipped_sites: int = 0
    bounded_log_ratios: int = 0

    def as_dict(self) -> dict[str, int]:
        """Plain dictionary of the counters."""
        return asdict(self)

    def plus(self, other: UpdateCounts) -> UpdateCounts:
        """Sum of two sets of counters."""
        mine, theirs = self.as_dict(), other.as_dict()
        return UpdateCounts(**{k: mine[k] + theirs[k] for k in mine})

    def since(self, start: UpdateCounts) -> UpdateCounts:
        """What has been counted since an earlier state."""
        return self.plus(UpdateCounts(**{k: -v for k, v in start.as_dict().items()}))


def bound_precision(precision: Array, counts: UpdateCounts) -> Array:
    """Site precisions clipped at zero from below.

    With the mean kept as it is, this is the closest Gaussian in KL with a non-negative site precision.
    """
    negative = precision < 0
    counts.bounded_precisions += how_many(negative)
    return where(negative, 0.0, precision)


class SiteBox(NamedTuple):
    """Bounds on the natural parameters of a Gaussian site: its precision is in a range, its shift within +- a bound."""

    least_precision: float
    most_precision: float
    most_shift: float


SITE_BOX = SiteBox(least_precision=0.0, most_precision=1e12, most_shift=1e14)


def bound_site(
    mean: Array,
    variance: Array,
    cavity_precision: Array,
    cavity_shift: Array,
    counts: UpdateCounts,
    box: SiteBox = SITE_BOX,
) -> tuple[Array, Array]:
    """Gaussian site within a box that brings cavity times site closest to a tilted density (constrained EP, [1]_).

    Closest means least ``KL(tilted || cavity * site)``, which is convex in the natural parameters and depends on the
    tilted density through its first two moments. Inside the box this is the plain division of EP; a bound on the
    precision alone keeps the mean. Elementwise, in float64.

    Parameters
    ----------
    mean, variance : array
        Moments of the tilted density, finite; a variance of zero is a point mass.
    cavity_precision, cavity_shift : array of the same shape
        Natural parameters of the cavity, which may be flat or improper. Where the cavity's precision is negative, the
        box is cut (or stretched) so that cavity times site stays proper.
    counts : UpdateCounts
        Receives the number of entries at a bound of the precision and of the shift. A precision that misses the box
        by less than a relative 1e-12 of the cavity's is set to the bound as rounding, without being counted.
    box : SiteBox
        Bounds of the site itself, not of its product with the cavity.

    Returns
    -------
    precision, shift : array
        Natural parameters of the site. They are differences, so their error is that of the product: about 1e-16 of
        the cavity's parameters, however small the site.

    References
    ----------
    .. [1] J. M. Hernandez-Lobato, D. Hernandez-Lobato, A. Suarez, "Expectation propagation in linear regression
       models with spike-and-slab priors", Machine Learning 99:437-487, 2015. doi:10.1007/s10994-014-5475-7
    """
    least = clip(-(1 + _ROUNDING) * cavity_precision, min=box.least_precision)
    most = clip(least, min=box.most_precision)
    with np.errstate(divide="ignore", over="ignore"):
        total = 1 / variance
    free = total - cavity_precision
    precision = clip(free, least, most)
    total = where(precision == free, total, cavity_precision + precision)
    free_shift = mean * total - cavity_shift
    shift = clip(free_shift, -box.most_shift, box.most_shift)
    outside = absolute(free_shift) > box.most_shift
    if is_any(outside):
        # The KL is convex: a shift whose bound is passed at the best precision stays at that bound when both are free.
        refit = _closest_precision(mean, variance, cavity_shift + shift) - cavity_precision
        free = where(outside, refit, free)
        precision = clip(free, least, most)
    missed = absolute(free - precision) > _ROUNDING * absolute(cavity_precision)
    counts.bounded_precisions += how_many(missed)
    counts.bounded_shifts += how_many(outside)
    return precision, shift


def _closest_precision(mean: Array, variance: Array, shift: Array) -> Array:
    """Precision of the Gaussian of a given shift that is closest in KL to a density with the given moments."""
    second_moment = variance + mean * mean
    with np.errstate(divide="ignore", over="ignore"):
        length = 2 * shift * sqrt(second_moment)
        return (1 + hypot(ones_like(length), length)) / (2 * second_moment)


def bound_log_ratio(log_ratio: Array, counts: UpdateCounts) -> Array:
    """Log-ratios clipped to ``[-LOG_RATIO_BOUND, LOG_RATIO_BOUND]``."""
    outside = absolute(log_ratio) > LOG_RATIO_BOUND
    if not is_any(outside):
        return log_ratio
    counts.bounded_log_ratios += how_many(outside)
    return clip(log_ratio, -LOG_RATIO_BOUND, LOG_RATIO_BOUND)


def damp(old: Array, new: Array, step: float) -> Array:
    """Damped natural parameter ``(1 - step) old + step new``; ``step = 1/B`` gives eq. 34."""
    return old + step * (new - old)
