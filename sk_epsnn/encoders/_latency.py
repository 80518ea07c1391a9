"""One spike for each feature, whose time is its value."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sk_epsnn._sklearn import Interval, StrOptions
from sk_epsnn.encoders._encoder import Float64s
from sk_epsnn.encoders._row import COUNT, Integers, RowEncoder, linear_rates


class LatencySpikeEncoder(RowEncoder):
    """Latency code giving spikes (0 or 1), at most one for each feature, the earlier the larger its value.

    The feature is mapped linearly to a rate r, 0 at the low end of its range and 1 at the high end. Features with r up
    to `threshold` never spike; the others do once, at the step nearest to the time

    - ``(n_steps - 1) * (1 - r) / (1 - threshold)`` with ``tau="linear"``: r = 1 spikes at the first step, and r just
      above the threshold at the last;
    - ``tau * log(r / (r - threshold))`` with a number for `tau`: when the membrane of an integrate-and-fire neuron of
      that time constant, driven by r, reaches the threshold. What would come after the last step never does.

    Parameters
    ----------
    n_steps : int, default=10
        Number of steps, at least 1.
    tau : "linear" or float, default="linear"
        Time constant of the membrane, in steps, positive, or time that falls linearly with the value.
    threshold : float, default=0.01
        The rate up to which a feature is silent, in (0, 1).
    feature_range : "auto" or (low, high), default="auto"
        Range mapped to rates from 0 to 1: the smallest and largest value of each feature in fit, or one pair of
        numbers, low < high, for all features, such as (0, 255) for pixels. `transform` clips values to the range.

    Attributes
    ----------
    feature_min_, feature_max_ : ndarray of shape (n_features,)
        Range of each feature, in its own units.
    n_features_in_, feature_names_in_ : int, ndarray of str
        Number of features in fit, and their names if they were all strings.

    See Also
    --------
    RateSpikeEncoder : Many spikes for large values instead of early ones.

    Notes
    -----
    The output always has steps, shape (n_samples, n_steps, n_features), and its last axis the names of the features.
    It is not random: equal rows get equal spikes. CSR rows become dense spikes.

    A constant feature (a range of zero, or below 4e-308) has rate 0 and never spikes.

    Examples
    --------
    >>> from sk_epsnn import LatencySpikeEncoder
    >>> encoder = LatencySpikeEncoder(n_steps=5, feature_range=(0, 100)).fit([[0.0, 0.0, 0.0, 0.0]])
    >>> encoder.transform([[100.0, 75.0, 2.0, 0.0]])
    array([[[1., 0., 0., 0.],
            [0., 1., 0., 0.],
            [0., 0., 0., 0.],
            [0., 0., 0., 0.],
            [0., 0., 1., 0.]]])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_steps": [COUNT],
        "tau": [StrOptions({"linear"}), Interval(Real, 0, None, closed="neither")],
        "threshold": [Interval(Real, 0, 1, closed="neither")],
        "feature_range": [StrOptions({"auto"}), "array-like"],
    }

    def __init__(self, n_steps=10, *, tau="linear", threshold=0.01, feature_range="auto"):
        self.n_steps = n_steps
        self.tau = tau
        self.threshold = threshold
        self.feature_range = feature_range

    @property
    def _n_steps_out(self) -> int:
        return int(self.n_steps)

    def _suffixes(self) -> list[str]:
        return [""]

    def _check_steps(self) -> None:
        raise ValueError(
            "LatencySpikeEncoder makes steps out of rows, and X has steps already. Code the steps one by one with "
            "RateSpikeEncoder or PopulationEncoder, or their changes with DeltaSpikeEncoder; or take each sample as a "
            "row: X.reshape(len(X), -1)."
        )

    def _encode(self, values: Float64s, steps: Integers | None) -> NDArray[np.bool_]:
        rates = linear_rates(self._clipped(values), self.feature_min_, self._half_range())
        above = rates > self.threshold
        times = np.full(rates.shape, np.inf)
        if isinstance(self.tau, str):
            times[above] = (self.n_steps - 1) * ((1.0 - rates[above]) / (1.0 - self.threshold))
        else:
            # log(r / (r - threshold)), accurate also where the threshold is a small part of the rate.
            with np.errstate(over="ignore"):
                times[above] = -self.tau * np.log1p(-self.threshold / rates[above])
        nearest = np.floor(times + 0.5)
        return (nearest[:, :, np.newaxis] == np.arange(self.n_steps)).reshape(len(values), -1)
