"""What the encoders share: the range of each feature, the loop over rows, and the hash that draws the spikes."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.sparsefuncs import min_max_axis
from sklearn.utils.validation import check_is_fitted, validate_data

from sk_epsnn._rollback import unchanged_on_error
from sk_epsnn._sklearn import DocumentationLinkMixin, Interval, fit_context
from sk_epsnn._sparse_rows import canonical

Float64s = NDArray[np.float64]
Words = NDArray[np.uint64]
Rows = NDArray[np.floating] | sparse.csr_array | sparse.csr_matrix

# Elements of one temporary (512 kB in float64): small enough to stay in the cache, large enough to hide NumPy's calls.
_CHUNK_ELEMENTS = 2**16
#: Smallest normal number: a range or a width below it is as good as zero, and dividing by it would overflow.
TINY = float(np.finfo(np.float64).tiny)
#: Neurons of a feature, or steps.
COUNT = Interval(Integral, 1, 2**31 - 1, closed="both")
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
    return _with_seed(words.sum(axis=1, dtype=np.uint64), seed)


def sparse_row_keys(rows: sparse.csr_array, seed: int) -> Words:
    """`_row_keys` of sparse float64 rows, each place once: the sum over zeros, put right where there is a value.

    Parameters
    ----------
    rows : CSR array of shape (n_samples, n_features)
    seed : int

    Returns
    -------
    keys : array of words of shape (n_samples,)
    """
    counters = _counters(rows.shape[1])
    zeros = _mix(counters.copy())
    words = _mix((rows.data + 0.0).view(np.uint64) + counters[rows.indices]) - zeros[rows.indices]
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(words, dtype=np.uint64)])
    return _with_seed(np.diff(sums[rows.indptr]) + zeros.sum(dtype=np.uint64), seed)


def _with_seed(keys: Words, seed: int) -> Words:
    keys += _mix(np.array([seed], dtype=np.uint64))
    return _mix(keys)


def _uniforms(keys: Words, n_columns: int) -> Float64s:
    """Return numbers uniform on [0, 1), multiples of 2**-53, of shape (len(keys), n_columns)."""
    return uniforms_at(keys[:, np.newaxis], _counters(n_columns))


def uniforms_at(keys: Words, counters: Words) -> Float64s:
    """The numbers of rows of these keys in columns of these counters, which are broadcast together.

    Parameters
    ----------
    keys, counters : array of words

    Returns
    -------
    uniforms : array
        On [0, 1), multiples of 2**-53.
    """
    words = _mix(keys + counters)
    words >>= np.uint64(11)
    return words * _UNIT


def counters_of(columns: NDArray[np.int_]) -> Words:
    """The counters of some columns.

    Parameters
    ----------
    columns : integer array
        Numbered from 0.

    Returns
    -------
    counters : array of words
    """
    return (columns.astype(np.uint64) + np.uint64(1)) * _GOLDEN


def chunks(X: Rows, n_columns: int) -> Iterator[tuple[slice, Float64s]]:
    """Go through rows in parts that take `n_columns` numbers a row in float64: the part, and its values, dense.

    Parameters
    ----------
    X : array or sparse array of shape (n_samples, n_features)
    n_columns : int

    Yields
    ------
    part : slice
    values : array of shape (n_rows, n_features)
    """
    step = max(1, _CHUNK_ELEMENTS // n_columns)
    for start in range(0, X.shape[0], step):
        part = slice(start, start + step)
        values = X[part].toarray() if sparse.issparse(X) else X[part]
        # float64 whatever the input, so that both types see the same rates; adding zero turns -0.0 into 0.0.
        yield part, np.add(values, 0.0, dtype=np.float64, order="C")


def columns(X: Rows) -> Iterator[Float64s]:
    """Go through the columns, each dense in float64 and without negative zeros.

    Parameters
    ----------
    X : array or sparse array of shape (n_samples, n_features)

    Yields
    ------
    values : array of shape (n_samples,)
    """
    by_column = sparse.csc_array(X) if sparse.issparse(X) else X
    for column in range(X.shape[1]):
        values = by_column[:, [column]]
        values = values.toarray() if sparse.issparse(X) else values
        yield np.add(values[:, 0], 0.0, dtype=np.float64)


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


class RowEncoder(OneToOneFeatureMixin, TransformerMixin, DocumentationLinkMixin, BaseEstimator):
    """What the encoders share: the range of each feature, the loop over chunks of rows, spikes, names and tags."""

    _spiking = True  # whether `transform` gives spikes rather than rates

    def _suffixes(self) -> list[str]:
        """Return what tells the output columns of one feature apart, one string for each of them."""
        raise NotImplementedError

    def _rates(self, values: Float64s) -> Float64s:
        """Return the rates in [0, 1], all columns of one feature together, of values inside the fitted range."""
        raise NotImplementedError

    def _fit_code(self, X: Rows) -> None:
        """Find what a subclass needs beyond the range of each feature."""

    def _check_range(self, X: Rows) -> None:
        """Say that rows to transform are beyond the range, where a subclass does."""

    def _encode_sparse(self, X: Rows) -> Rows | None:
        """Return the code of sparse rows as sparse rows, or None where a subclass has dense ones only."""
        return None

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Find the range of each feature and draw the seed of the spikes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Finite real values.
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
        """
        given = None if isinstance(self.feature_range, str) else _given_range(self.feature_range)
        with unchanged_on_error(self):
            X = validate_data(self, X, dtype=_DTYPES, accept_sparse="csr")
            X = canonical(X) if sparse.issparse(X) else X
            if given is None:
                given = min_max_axis(X, axis=0) if sparse.issparse(X) else (X.min(axis=0), X.max(axis=0))
            low, high = given
            self.feature_min_ = np.full(X.shape[1], low, dtype=np.float64)
            self.feature_max_ = np.full(X.shape[1], high, dtype=np.float64)
            self._fit_code(X)
            self.seed_ = int(check_random_state(self.random_state).randint(np.iinfo(np.int64).max, dtype=np.int64))
        return self

    def _half_range(self) -> Float64s:
        """Return half of high - low for each feature, exactly zero where the feature counts as constant."""
        # From halves of the ends: the range itself overflows when both ends are huge.
        half_range = 0.5 * self.feature_max_ - 0.5 * self.feature_min_
        return np.where(half_range < TINY, 0.0, half_range)

    def transform(self, X: ArrayLike) -> Rows:
        """Encode the rows of X.

        Values outside the fitted range are clipped to it. The result for a row depends on that row and on the fitted
        encoder only, not on earlier calls, on the other rows, or on whether the row is stored as float32 or float64,
        dense or sparse.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Finite real values.

        Returns
        -------
        X_encoded : ndarray or CSR of shape (n_samples, n_features_out)
            Rates in [0, 1] or spikes, 0 or 1, as the first line of the class says. All columns of feature 0 come
            first, then those of feature 1, and so on. float32 if X is float32, else float64. Dense, unless the class
            says that sparse rows give sparse ones.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ValueError
            If X has NaN, infinite values or the wrong number of features.
        """
        check_is_fitted(self, "seed_")
        X = validate_data(self, X, dtype=_DTYPES, accept_sparse="csr", reset=False)
        self._check_range(X)
        if sparse.issparse(X) and (code := self._encode_sparse(X)) is not None:
            return code
        n_out = X.shape[1] * len(self._suffixes())
        encoded = np.empty((X.shape[0], n_out), dtype=X.dtype)
        for part, values in chunks(X, n_out):
            encoded[part] = self._encode(values)
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
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
