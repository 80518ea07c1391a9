"""A population of neurons for each feature."""

from __future__ import annotations

import warnings
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from sk_epsnn._sklearn import Interval, StrOptions
from sk_epsnn.encoders._centers import REACH, Counts, are_crowded, even_centers, quantile_centers, tails
from sk_epsnn.encoders._encoder import TINY, Float64s, one_per_feature
from sk_epsnn.encoders._row import COUNT, Integers, RandomEncoder, Rows, chunks, columns

# Standard deviation of the Gaussian that is as wide at half its height as a raised cosine of half-width 1.
_GAUSSIAN_PER_COSINE = 0.5 / np.sqrt(2.0 * np.log(2.0))
# exp(-0.5 * 40**2) is zero in float64, so distances beyond 40 standard deviations need not be squared (and overflow).
_GAUSSIAN_CUTOFF = 40.0
# Values a little beyond the range, by less than this share of it, are as ordinary as those at its ends.
_FAR = 0.1
# How far an extended population goes on beyond the range, in widths. Values are clipped one width before its end: no
# neuron fires there that fired in fit, and as many fire as anywhere.
_EXTENSION = 3.0
_LARGEST = float(np.finfo(np.float64).max)
# Rows and features that a message names.
_NAMED = 5


class PopulationEncoder(RandomEncoder):
    """Population code giving spikes (0 or 1), or rates in [0, 1] with ``output="rates"``.

    Every feature is coded by `n_neurons` neurons. Their preferred values (centres) cover the range of the feature,
    ends included, and a neuron's rate falls from 1 with the distance of the feature from its centre.
    With x the feature, c the centre and w the width, the rate is

    - ``0.5 * (1 + cos(pi * min(abs(x - c) / w, 1)))`` for "raised_cosine",
    - ``exp(-0.5 * ((x - c) / w) ** 2)`` for "gaussian".

    A spike is a Bernoulli draw with probability equal to the rate.

    Parameters
    ----------
    n_neurons : int, default=100
        Number of neurons for each feature, at least 1. A single neuron sits in the middle of the range.
    tuning : {"raised_cosine", "gaussian"}, default="raised_cosine"
        Shape of the tuning curve.
    width : "auto", float or array-like of shape (n_features,), default="auto"
        Width of the tuning curves in the units of the feature, positive: the half-width of the raised cosine (the
        distance at which the rate reaches 0), or the standard deviation of the Gaussian. "auto" is 0.24 of the
        feature's range for the raised cosine, and for the Gaussian the standard deviation that makes the curve as
        wide at half its height (0.102 of the range). With fewer than 4 neurons the automatic raised cosine leaves
        values at which no neuron fires: set a larger width. Where the centres are at quantiles, "auto" gives every
        neuron a width of its own: the distance over which 0.24 of the centres lie, on the side where they are nearer,
        and at least to the next centre on either side. A given width holds for all centres of the feature.
    centers : {"auto", "uniform", "quantile"}, default="auto"
        Where the centres are: evenly spaced, or at evenly spaced quantiles of the distinct values of the feature in
        fit. "auto" decides for each feature: quantiles where it has so long a tail, or so wild a value, that evenly
        spaced centres would hardly tell its other values apart (two of three pairs of different values, or of
        rows that differ, lie within 0.12 of the range of each other), else even spacing; and always even
        spacing where `feature_range` is given, and for a single neuron.
    feature_range : "auto" or (low, high), default="auto"
        Range that the centres cover: the smallest and largest value of each feature in fit, or one pair of numbers,
        low < high, for all features. `transform` clips values to the range.
    out_of_range : {"warn", "clip", "error", "extend"}, default="warn"
        What `transform` does about rows far beyond the range. They are coded like the end of it, so that neither
        predictions nor their uncertainty change any more: "warn" gives a UserWarning that names rows and features,
        "clip" says nothing, "error" raises a ValueError. Far is beyond both the range and the values in fit by more
        than a tenth of the range, and by more than the outermost tenth of the rows in fit, and ten more, spread over:
        rows of the kind that was seen in fit hardly ever are. "extend" lays the `n_neurons` centres over the range and
        three widths more on either side instead, and clips values one width before the end. The weights of neurons
        that no row in fit excited stay as uncertain as their prior, so uncertainty grows outside the data, as it does
        in their gaps, to about the spread of the targets.
    output : {"spikes", "rates"}, default="spikes"
        Whether `transform` gives spikes or the rates themselves.
    random_state : int, RandomState instance or None, default=None
        Seed of the spikes, drawn once in `fit`: None gives other spikes after every fit, an integer the same ones.
        `transform` is reproducible in all cases. Rates do not depend on it.

    Attributes
    ----------
    centers_ : ndarray of shape (n_features, n_neurons)
        Preferred values, in the units of the features.
    widths_ : ndarray of shape (n_features,) or (n_features, n_neurons)
        Widths used, in the units of the features: one for each feature, or one for each centre where ``width="auto"``
        and the centres of some feature are at quantiles.
    feature_min_, feature_max_ : ndarray of shape (n_features,)
        Range of each feature, extended if it is, to which values are clipped.
    tolerated_min_, tolerated_max_ : ndarray of shape (n_features,)
        Values below and above these are far beyond the range, for `out_of_range`.
    seed_ : int
        Seed of the spikes, in [0, 2**63 - 1).
    n_features_in_, feature_names_in_ : int, ndarray of str
        Number of features in fit, and their names if they were all strings.

    See Also
    --------
    RateSpikeEncoder : One rate per feature instead of a population.
    DeltaSpikeEncoder : Codes how a signal moves instead of its level.

    Notes
    -----
    The output columns of a feature named ``x0`` are named ``x0_n0``, ``x0_n1``, and so on.

    The random numbers are a hash of `seed_`, the row and the output column, so **equal rows get equal spikes**, within
    a call and between calls. For several independent codes of the same rows use encoders with other `random_state`,
    or make the rows differ by a column that counts them. Two encoders of the same seed draw the same random numbers
    for the same row. The steps of a sample, in X of shape (n_samples, n_steps, n_features), are coded like rows, but
    that the number of the step is part of the hash: equal values at different steps get independent spikes, and the
    first step those of a row.

    A constant feature (a range of zero, or below 4e-308) has an automatic width of 1; all its
    centres coincide with its clipped values, so all its neurons have rate 1. Any other value is far beyond
    its range.

    CSR rows become dense rates or spikes.

    References
    ----------
    .. [1] J. W. Pillow, L. Paninski, V. J. Uzzell, E. P. Simoncelli and E. J. Chichilnisky, "Prediction and decoding
       of retinal ganglion cell responses with a probabilistic spiking model", Journal of Neuroscience 25,
       11003-11013, 2005 (raised-cosine bumps).
    .. [2] S. M. Bohte, J. N. Kok and H. La Poutre, "Error-backpropagation in temporally encoded networks of spiking
       neurons", Neurocomputing 48, 17-37, 2002 (Gaussian population code for spiking networks).

    Examples
    --------
    >>> from sk_epsnn import PopulationEncoder
    >>> X = [[0.0], [1.0], [4.0]]
    >>> encoder = PopulationEncoder(n_neurons=5, width=2.0, output="rates")
    >>> encoder.fit_transform(X).round(2)
    array([[1. , 0.5, 0. , 0. , 0. ],
           [0.5, 1. , 0.5, 0. , 0. ],
           [0. , 0. , 0. , 0.5, 1. ]])
    >>> spikes = encoder.set_params(output="spikes", random_state=0).fit_transform(X)
    >>> sorted(set(spikes.ravel().tolist()))
    [0.0, 1.0]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_neurons": [COUNT],
        "tuning": [StrOptions({"raised_cosine", "gaussian"})],
        "width": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither"), "array-like"],
        "centers": [StrOptions({"auto", "uniform", "quantile"})],
        "feature_range": [StrOptions({"auto"}), "array-like"],
        "out_of_range": [StrOptions({"warn", "clip", "error", "extend"})],
        "output": [StrOptions({"spikes", "rates"})],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_neurons=100,
        *,
        tuning="raised_cosine",
        width="auto",
        centers="auto",
        feature_range="auto",
        out_of_range="warn",
        output="spikes",
        random_state=None,
    ):
        self.n_neurons = n_neurons
        self.tuning = tuning
        self.width = width
        self.centers = centers
        self.feature_range = feature_range
        self.out_of_range = out_of_range
        self.output = output
        self.random_state = random_state

    def _fit_code(self, X: Rows) -> None:
        low, high, self.widths_ = self.feature_min_, self.feature_max_, self._find_widths()
        # A constant feature has nowhere to go, nor has a single neuron.
        extended = (self.out_of_range == "extend") & (self.n_neurons > 1) & (self._half_range() > 0.0)
        with np.errstate(over="ignore"):
            beyond = np.where(extended, _EXTENSION * self.widths_ / self._per_cosine(), 0.0)
            ends = np.clip([low - beyond, high + beyond], -_LARGEST, _LARGEST)
        self.centers_ = even_centers(*ends, self.n_neurons)
        # A tenth of the range, and what float32 rounds away from its ends.
        margin = np.maximum(2.0 * _FAR * self._half_range(), np.finfo(np.float32).eps * np.maximum(abs(low), abs(high)))
        self.tolerated_min_, self.tolerated_max_ = low.copy(), high.copy()
        for feature, column in enumerate(columns(X)):
            values, counts = np.unique(column, return_counts=True)
            self._fit_centers(feature, values, counts)
            below, above = np.maximum(margin[feature], tails(values, counts))
            with np.errstate(over="ignore"):
                self.tolerated_min_[feature] = min(low[feature], values[0]) - below
                self.tolerated_max_[feature] = max(high[feature], values[-1]) + above
        self.tolerated_min_[extended], self.tolerated_max_[extended] = -np.inf, np.inf
        with np.errstate(over="ignore"):
            reach = self.widths_.reshape(len(low), -1) / self._per_cosine()
            first, last = self.centers_[:, 0] + reach[:, 0], self.centers_[:, -1] - reach[:, -1]
        self.feature_min_ = np.where(extended, np.minimum(low, first), low)
        self.feature_max_ = np.where(extended, np.maximum(high, last), high)
        super()._fit_code(X)

    def _fit_centers(self, feature: int, values: Float64s, counts: Counts) -> None:
        """Move the centres of a feature to quantiles of its distinct values where that is asked for, or better."""
        low, high = self.feature_min_[feature], self.feature_max_[feature]
        if self.n_neurons == 1 or not self._half_range()[feature] > 0.0:
            return
        given = not isinstance(self.feature_range, str)
        if self.centers == "quantile" or (self.centers == "auto" and not given and are_crowded(values, counts)):
            # A range that was given need not end where the values do.
            values = np.unique(np.concatenate([[low], np.clip(values, low, high), [high]]))
            beyond = _EXTENSION if self.out_of_range == "extend" else 0.0
            centers, reach = quantile_centers(values, self.n_neurons, beyond)
            # Twice a half has lost the last bit of the smallest numbers.
            self.centers_[feature] = (
                centers if beyond else np.concatenate([[low], centers[1:-1].clip(low, high), [high]])
            )
            if isinstance(self.width, str):
                shape = self.centers_.shape
                self.widths_ = np.broadcast_to(self.widths_.reshape(shape[0], -1), shape).copy()
                self.widths_[feature] = np.maximum(self._per_cosine() * reach, TINY)

    def _per_cosine(self) -> float:
        """Width of a curve of this shape that is as wide at half its height as a raised cosine of half-width 1."""
        return 1.0 if self.tuning == "raised_cosine" else _GAUSSIAN_PER_COSINE

    def _find_widths(self) -> Float64s:
        """Return the width of each feature's tuning curves in its own units, at least the smallest normal number."""
        if isinstance(self.width, str):
            half_range = self._half_range()
            return np.where(half_range > 0.0, np.maximum(2.0 * (REACH * self._per_cosine()) * half_range, TINY), 1.0)
        return np.maximum(one_per_feature("width", self.width, self.n_features_in_), TINY)

    def _check_range(self, X: Rows, samples: Integers | None) -> None:
        if self.out_of_range == "clip":
            return
        rows, features = np.zeros(X.shape[0], dtype=bool), np.zeros(X.shape[1], dtype=bool)
        for part, values in chunks(X, X.shape[1]):
            far = (values < self.tolerated_min_) | (values > self.tolerated_max_)
            rows[part] = far.any(axis=1)
            features |= far.any(axis=0)
        if not rows.any():
            return
        names = getattr(self, "feature_names_in_", [f"x{feature}" for feature in range(len(features))])
        found = np.flatnonzero(rows) if samples is None else np.unique(samples[rows])
        kind, total = ("rows", len(rows)) if samples is None else ("samples", len(np.unique(samples)))
        message = (
            f"{len(found)} of {total} {kind} ({_listed(found)}) have values far beyond the range that "
            f"PopulationEncoder was fitted on (features: {_listed(np.asarray(names)[features])}). They are coded like "
            "the end of the range, so predictions and their uncertainty are those of the end. Fit on rows that cover "
            "them, set out_of_range='extend' to have uncertainty grow outside the range, or out_of_range='clip' to "
            "have them clipped without a warning."
        )
        if self.out_of_range == "error":
            raise ValueError(message)
        warnings.warn(message, UserWarning, stacklevel=3)

    def _suffixes(self) -> list[str]:
        return [f"_n{neuron}" for neuron in range(self.centers_.shape[1])]

    @property
    def _spiking(self) -> bool:
        return self.output == "spikes"

    def _rates(self, values: Float64s) -> Float64s:
        # Half the distance over half the width: the distance itself overflows when the range does.
        distance = np.abs(0.5 * values[:, :, np.newaxis] - 0.5 * self.centers_)
        # Overflow to infinity is harmless here: it is a neuron so far away that its rate is zero.
        with np.errstate(over="ignore"):
            distance /= 0.5 * self.widths_.reshape(len(self.centers_), -1)
        if self.tuning == "raised_cosine":
            rates = 0.5 + 0.5 * np.cos(np.pi * np.minimum(distance, 1.0))
        else:
            rates = np.exp(-0.5 * np.minimum(distance, _GAUSSIAN_CUTOFF) ** 2)
        return rates.reshape(len(values), -1)


def _listed(items: np.ndarray) -> str:
    """The first few of some items, and whether there are more."""
    return ", ".join(str(item) for item in items[:_NAMED]) + (", ..." if len(items) > _NAMED else "")
