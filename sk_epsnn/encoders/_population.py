"""A population of neurons for each feature."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np

from sk_epsnn._sklearn import Interval, StrOptions
from sk_epsnn.encoders._row import COUNT, TINY, Float64s, RowEncoder

# Half-width of the automatic raised cosine as a fraction of the feature's range. The EP paper does not give its own;
# 0.24 of the range (1.44 on [-1, 5]) was wide enough to bridge the gaps in the data of its regression example.
_AUTO_WIDTH = 0.24
# Standard deviation of the Gaussian that is as wide at half its height as a raised cosine of half-width 1.
_GAUSSIAN_PER_COSINE = 0.5 / np.sqrt(2.0 * np.log(2.0))
# exp(-0.5 * 40**2) is zero in float64, so distances beyond 40 standard deviations need not be squared (and overflow).
_GAUSSIAN_CUTOFF = 40.0


class PopulationEncoder(RowEncoder):
    """Population code giving spikes (0 or 1), or rates in [0, 1] with ``output="rates"``.

    Every feature is coded by `n_neurons` neurons. Their preferred values (centres) are evenly spaced over the range
    of the feature, ends included, and a neuron's rate falls from 1 with the distance of the feature from its centre.
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
        values at which no neuron fires: set a larger width.
    feature_range : "auto" or (low, high), default="auto"
        Range that the centres cover: the smallest and largest value of each feature in fit, or one pair of numbers,
        low < high, for all features. `transform` clips values to the range.
    output : {"spikes", "rates"}, default="spikes"
        Whether `transform` gives spikes or the rates themselves.
    random_state : int, RandomState instance or None, default=None
        Seed of the spikes, drawn once in `fit`: None gives other spikes after every fit, an integer the same ones.
        `transform` is reproducible in all cases. Rates do not depend on it.

    Attributes
    ----------
    centers_ : ndarray of shape (n_features, n_neurons)
        Preferred values, in the units of the features.
    widths_ : ndarray of shape (n_features,)
        Widths used, in the units of the features.
    feature_min_, feature_max_ : ndarray of shape (n_features,)
        Range of each feature.
    seed_ : int
        Seed of the spikes, in [0, 2**63 - 1).
    n_features_in_, feature_names_in_ : int, ndarray of str
        Number of features in fit, and their names if they were all strings.

    See Also
    --------
    RateSpikeEncoder : One rate per feature instead of a population.

    Notes
    -----
    The output columns of a feature named ``x0`` are named ``x0_n0``, ``x0_n1``, and so on.

    The random numbers are a hash of `seed_`, the row and the output column, so **equal rows get equal spikes**, within
    a call and between calls. For several independent codes of the same rows use encoders with other `random_state`,
    or make the rows differ by a column that counts them. Two encoders of the same seed draw the same random numbers
    for the same row.

    A constant feature (a range of zero, or below 4e-308) has an automatic width of 1; all its
    centres coincide with its clipped values, so all its neurons have rate 1.

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
        "feature_range": [StrOptions({"auto"}), "array-like"],
        "output": [StrOptions({"spikes", "rates"})],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_neurons=100,
        *,
        tuning="raised_cosine",
        width="auto",
        feature_range="auto",
        output="spikes",
        random_state=None,
    ):
        self.n_neurons = n_neurons
        self.tuning = tuning
        self.width = width
        self.feature_range = feature_range
        self.output = output
        self.random_state = random_state

    def _fit_code(self) -> None:
        self.widths_ = self._find_widths()
        fractions = np.linspace(0.0, 1.0, self.n_neurons) if self.n_neurons > 1 else np.array([0.5])
        # A weighted mean of the ends meets both exactly and overflows by rounding at most, which the clipping undoes.
        with np.errstate(over="ignore"):
            centers = np.outer(self.feature_min_, 1.0 - fractions) + np.outer(self.feature_max_, fractions)
        # It also makes the centres of a constant feature exactly equal to its value.
        self.centers_ = np.clip(centers, self.feature_min_[:, np.newaxis], self.feature_max_[:, np.newaxis])

    def _find_widths(self) -> Float64s:
        """Return the width of each feature's tuning curves in its own units, at least the smallest normal number."""
        if isinstance(self.width, str):
            half_range = self._half_range()
            fraction = _AUTO_WIDTH * (1.0 if self.tuning == "raised_cosine" else _GAUSSIAN_PER_COSINE)
            return np.where(half_range > 0.0, np.maximum(2.0 * fraction * half_range, TINY), 1.0)
        try:
            width = np.asarray(self.width, dtype=np.float64)
        except (TypeError, ValueError):
            width = np.array(np.nan)
        shape = (self.n_features_in_,)
        if width.shape not in ((), shape) or not np.all((width > 0.0) & np.isfinite(width)):
            raise ValueError(
                f"width must be 'auto', a positive finite number or one such number for each of the {shape[0]} "
                f"features; got {self.width!r}."
            )
        return np.maximum(np.broadcast_to(width, shape), TINY)

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
            distance /= 0.5 * self.widths_[:, np.newaxis]
        if self.tuning == "raised_cosine":
            rates = 0.5 + 0.5 * np.cos(np.pi * np.minimum(distance, 1.0))
        else:
            rates = np.exp(-0.5 * np.minimum(distance, _GAUSSIAN_CUTOFF) ** 2)
        return rates.reshape(len(values), -1)
