"""Sites: data factors in natural or derivative form, and the only place that divides, damps and bounds them.

Every correction is counted, so that a fitted model can say how often it was needed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

from sk_epsnn.numerics import Array

#: Log-ratios sent to hidden spikes are kept within +- this bound (the KL projection of a Bernoulli site on a box).
LOG_RATIO_BOUND = 10.0


class Derivatives(NamedTuple):
    """Message to a potential ``u ~ N(M, S)`` in derivative form, each of shape (n_samples, n_out).

    ``g = dlogZ/dM``, ``gamma = -d2logZ/dM2``, ``kappa = -2 dlogZ/dS``. A Gaussian site of precision tau and shift
    nu has ``g = (nu - tau M) / (1 + tau S)`` and ``gamma = tau / (1 + tau S)``.
    """

    g: Array
    gamma: Array
    kappa: Array

    def times(self, sample_weight: Array) -> Derivatives:
        """The message of a likelihood raised to the power ``sample_weight``, one per sample."""
        w = sample_weight[:, None]
        return Derivatives(w * self.g, w * self.gamma, w * self.kappa)


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
        Batches whose whole update was refused (non-finite, or the energy fell); the posterior stayed as it was.
    bounded_precisions : int
        Site precisions that came out negative and were set to zero, keeping the mean.
    bounded_log_ratios : int
        Messages to hidden spikes cut at +- ``LOG_RATIO_BOUND``.
    """

    rejected_steps: int = 0
    shortened_steps: int = 0
    rejected_precisions: int = 0
    rejected_batches: int = 0
    bounded_precisions: int = 0
    bounded_log_ratios: int = 0

    def as_dict(self) -> dict[str, int]:
        """Plain dictionary of the counters."""
        return asdict(self)

    def plus(self, other: UpdateCounts) -> UpdateCounts:
        """Sum of two sets of counters."""
        mine, theirs = self.as_dict(), other.as_dict()
        return UpdateCounts(**{k: mine[k] + theirs[k] for k in mine})


def bound_precision(precision: Array, counts: UpdateCounts) -> Array:
    """Site precisions clipped at zero from below.

    With the mean kept as it is, this is the closest Gaussian in KL with a non-negative site precision.
    """
    negative = precision < 0
    counts.bounded_precisions += int(np.count_nonzero(negative))
    return np.where(negative, 0, precision)


def bound_log_ratio(log_ratio: Array, counts: UpdateCounts) -> Array:
    """Log-ratios clipped to ``[-LOG_RATIO_BOUND, LOG_RATIO_BOUND]``."""
    outside = np.abs(log_ratio) > LOG_RATIO_BOUND
    counts.bounded_log_ratios += int(np.count_nonzero(outside))
    return np.clip(log_ratio, -LOG_RATIO_BOUND, LOG_RATIO_BOUND)


def damp(old: Array, new: Array, step: float) -> Array:
    """Damped natural parameter ``(1 - step) old + step new``; ``step = 1/B`` gives eq. 34."""
    return old + step * (new - old)
