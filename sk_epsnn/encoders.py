"""Encoders that turn real-valued features into firing rates or spikes.

Both encoders code every row on its own. Their spikes are random but reproducible: the random numbers come from a
counter-based hash of the fitted seed, the values in the row and the output column, so `transform` has no hidden state.
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from sk_epsnn._rollback import unchanged_on_error
from sk_epsnn._sklearn import DocumentationLinkMixin, Interval, StrOptions, fit_context

__all__ = ["PopulationEncoder", "RateSpikeEncoder"]

Float64s = NDArray[np.float64]
Words = NDArray[np.uint64]

# Half-width of the automatic raised cosine as a fraction of the feature's range. The EP paper does not give its own;
# 0.24 of the range (1.44 on [-1, 5]) was wide enough to bridge the gaps in the data of its regression example.
_AUTO_WIDTH = 0.24
# Standard deviation of the Gaussian that is as wide at half its height as a raised cosine of half-width 1.
_GAUSSIAN_PER_COSINE = 0.5 / np.sqrt(2.0 * np.log(2.0))
# exp(-0.5 * 40**2) is zero in float64, so distances beyond 40 standard deviations need not be squared (and overflow).
_GAUSSIAN_CUTOFF = 40.0
# Elements of one temporary (512 kB in float64): small enough to stay in the cache, large enough to hide NumPy's calls.
_CHUNK_ELEMENTS = 2**16
# Smallest normal number: a range or a width below it is as good as zero, and dividing by it would overflow.
_TINY = float(np.finfo(np.float64).tiny)
# Neurons of a feature, or steps.
_COUNT = Interval(Integral, 1, 2**31 - 1, closed="both")
# Anything else becomes float64, the first of them.
_DTYPES = (np.float64, np.float32)
# Increment, shifts and multipliers of splitmix64 (Steele, Lea and Flood, OOPSLA 2014); the top 53 bits fill a double.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ROUNDS = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))
_UNIT = 2.0**-53


def _mix(words: Words) -> Words:
    """Scramble 64-bit words in place by the splitmix64 finaliser, a bijection; returns `words`."""
    for shift, multiplier in _ROUNDS:
        words ^= words >> shift
        words *= multiplier
    words ^= words >> np.uint64(31)
    return words


def _counters(n: int) -> Words:
    """Return the multiples 1, ..., n of the golden increment modulo 2**64: one odd-stepped offset a column."""
    return np.arange(1, n + 1, dtype=np.uint64) * _GOLDEN


def _row_keys(values: Float64s, seed: int) -> Words:
    """Hash the seed and the values of each row (C-ordered, without negative zeros) into one word a row."""
    # Every word is scrambled before it is summed: float32 values and integers leave most low bits zero, and a plain
    # linear combination of such words would give different rows the same key.
    words = _mix(values.view(np.uint64) + _counters(values.shape[1]))
    keys = words.sum(axis=1, dtype=np.uint64)
    keys += _mix(np.array([seed], dtype=np.uint64))
    return _mix(keys)


def _uniforms(keys: Words, n_columns: int) -> Float64s:
    """Return numbers uniform on [0, 1), multiples of 2**-53, of shape (len(keys), n_columns)."""
    words = _mix(keys[:, np.newaxis] + _counters(n_columns))
    words >>= np.uint64(11)
    return words * _UNIT


def _given_range(feature_range: ArrayLike) -> tuple[float, float]:
    """Return `feature_range` as two floats, or raise a ValueError that says what is expected."""
    try:
        low, high = (float(bound) for bound in feature_range)  # type: ignore[union-attr]
    except (TypeError, ValueError):
        low = high = np.nan
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(
            "feature_range must be 'auto' or a pair (low, high) of finite numbers with low < high, for all features; "
            f"got {feature_range!r}. For one range a feature, scale the features first or use a ColumnTransformer."
        )
    return low, high


class _RowEncoder(OneToOneFeatureMixin, TransformerMixin, DocumentationLinkMixin, BaseEstimator):
    """What the encoders share: the range of each feature, the loop over chunks of rows, spikes, names and tags."""

    _spiking = True  # whether `transform` gives spikes rather than rates

    def _suffixes(self) -> list[str]:
        """Return what tells the output columns of one feature apart, one string for each of them."""
        raise NotImplementedError

    def _rates(self, values: Float64s) -> Float64s:
        """Return the rates in [0, 1], all columns of one feature together, of values inside the fitted range."""
        raise NotImplementedError

    def _fit_code(self) -> None:
        """Find what a subclass needs beyond the range of each feature."""

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Find the range of each feature and draw the seed of the spikes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Finite real values, dense.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted encoder.

        Raises
        ------
        ValueError
            If a parameter or X is not valid; the message names the remedy.
        TypeError
            If X is sparse.
        """
        given = None if isinstance(self.feature_range, str) else _given_range(self.feature_range)
        with unchanged_on_error(self):
            X = validate_data(self, X, dtype=_DTYPES)
            low, high = (X.min(axis=0), X.max(axis=0)) if given is None else given
            self.feature_min_ = np.full(X.shape[1], low, dtype=np.float64)
            self.feature_max_ = np.full(X.shape[1], high, dtype=np.float64)
            self._fit_code()
            self.seed_ = int(check_random_state(self.random_state).randint(np.iinfo(np.int64).max, dtype=np.int64))
        return self

    def _half_range(self) -> Float64s:
        """Return half of high - low for each feature, exactly zero where the feature counts as constant."""
        # From halves of the ends: the range itself overflows when both ends are huge.
        half_range = 0.5 * self.feature_max_ - 0.5 * self.feature_min_
        return np.where(half_range < _TINY, 0.0, half_range)

    def transform(self, X: ArrayLike) -> NDArray[np.floating]:
        """Encode the rows of X.

        Values outside the fitted range are clipped to it. The result for a row depends on that row and on the fitted
        encoder only, not on earlier calls, on the other rows, or on whether the row is stored as float32 or float64.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Finite real values, dense.

        Returns
        -------
        X_encoded : ndarray of shape (n_samples, n_features_out)
            Rates in [0, 1] or spikes, 0 or 1, as the first line of the class says. All columns of feature 0 come
            first, then those of feature 1, and so on. float32 if X is float32, else float64.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        TypeError
            If X is sparse.
        ValueError
            If X has NaN, infinite values or the wrong number of features.
        """
        check_is_fitted(self, "seed_")
        X = validate_data(self, X, dtype=_DTYPES, reset=False)
        n_out = X.shape[1] * len(self._suffixes())
        encoded = np.empty((X.shape[0], n_out), dtype=X.dtype)
        step = max(1, _CHUNK_ELEMENTS // n_out)
        for start in range(0, X.shape[0], step):
            rows = slice(start, start + step)
            # float64 whatever the input, so that both types see the same rates; adding zero turns -0.0 into 0.0.
            encoded[rows] = self._encode(np.add(X[rows], 0.0, dtype=np.float64, order="C"))
        return encoded

    def _encode(self, values: Float64s) -> Float64s | NDArray[np.bool_]:
        """Return the rates or the spikes of one chunk of rows."""
        rates = self._rates(np.clip(values, self.feature_min_, self.feature_max_))
        if not self._spiking:
            return rates
        # Strictly less: a rate of 0 never spikes and a rate of 1 always does.
        return _uniforms(_row_keys(values, self.seed_), rates.shape[1]) < rates

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[np.object_]:
        """Get the names of the output columns.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the input features; by default `feature_names_in_`, or ``x0, x1, ...`` if fit saw no names.

        Returns
        -------
        feature_names_out : ndarray of str objects, shape (n_features_out,)
            The name of the feature followed by the suffix that the class describes.

        Raises
        ------
        ValueError
            If `input_features` does not match the names or the number of features seen in fit.
        """
        check_is_fitted(self, "seed_")
        # The one-to-one mixin is the public way to have the input names checked and filled in.
        names = super().get_feature_names_out(input_features)
        return np.array([f"{name}{suffix}" for name in names for suffix in self._suffixes()], dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class PopulationEncoder(_RowEncoder):
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
        "n_neurons": [_COUNT],
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
            return np.where(half_range > 0.0, np.maximum(2.0 * fraction * half_range, _TINY), 1.0)
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
        return np.maximum(np.broadcast_to(width, shape), _TINY)

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


class RateSpikeEncoder(_RowEncoder):
    """Rate code giving spikes (0 or 1), Bernoulli draws at a rate that is linear in the feature.

    The rate of a feature is 0 at the low end of its range and 1 at the high end. Every value gives `n_steps`
    independent spikes.

    Parameters
    ----------
    feature_range : "auto" or (low, high), default="auto"
        Range mapped to rates from 0 to 1: the smallest and largest value of each feature in fit, or one pair of
        numbers, low < high, for all features, such as (0, 255) for pixels. `transform` clips values to the range.
    n_steps : int, default=1
        Number of spike columns for each feature, at least 1.
    random_state : int, RandomState instance or None, default=None
        Seed of the spikes, drawn once in `fit`: None gives other spikes after every fit, an integer the same ones.
        `transform` is reproducible in all cases.

    Attributes
    ----------
    feature_min_, feature_max_ : ndarray of shape (n_features,)
        Range of each feature, in its own units.
    seed_ : int
        Seed of the spikes, in [0, 2**63 - 1).
    n_features_in_, feature_names_in_ : int, ndarray of str
        Number of features in fit, and their names if they were all strings.

    See Also
    --------
    PopulationEncoder : Many neurons per feature, each with a preferred value.

    Notes
    -----
    With one step the output columns keep the names of the features; with more, the columns of a feature named ``x0``
    are named ``x0_t0``, ``x0_t1``, and so on.

    As in `PopulationEncoder`, **equal rows get equal spikes**. For several independent codes of the same rows raise
    `n_steps`, use encoders with other `random_state`, or make the rows differ by a column that counts them.

    A constant feature (a range of zero, or below 4e-308) has rate 0 and never spikes.

    Examples
    --------
    >>> from sk_epsnn import RateSpikeEncoder
    >>> X = [[0.0, 255.0], [128.0, 0.0], [255.0, 51.0]]
    >>> encoder = RateSpikeEncoder(feature_range=(0, 255), n_steps=1000, random_state=0)
    >>> spikes = encoder.fit_transform(X)
    >>> spikes.shape
    (3, 2000)
    >>> spikes.reshape(3, 2, 1000).mean(axis=2).round(1)
    array([[0. , 1. ],
           [0.5, 0. ],
           [1. , 0.2]])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "feature_range": [StrOptions({"auto"}), "array-like"],
        "n_steps": [_COUNT],
        "random_state": ["random_state"],
    }

    def __init__(self, *, feature_range="auto", n_steps=1, random_state=None):
        self.feature_range = feature_range
        self.n_steps = n_steps
        self.random_state = random_state

    def _suffixes(self) -> list[str]:
        return [""] if self.n_steps == 1 else [f"_t{step}" for step in range(self.n_steps)]

    def _rates(self, values: Float64s) -> Float64s:
        half_range = self._half_range()
        rates = 0.5 * values
        rates -= 0.5 * self.feature_min_
        # Dividing by infinity gives constant features a rate of exactly zero.
        rates /= np.where(half_range > 0.0, half_range, np.inf)
        return np.repeat(rates, self.n_steps, axis=1) if self.n_steps > 1 else rates
