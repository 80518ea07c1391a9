"""What the encoders of single rows share: the range of each feature, the loop over rows, and the draw of the spikes."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.utils import check_random_state
from sklearn.utils.sparsefuncs import min_max_axis
from sklearn.utils.validation import check_is_fitted, validate_data

from sk_epsnn._rollback import unchanged_on_error
from sk_epsnn._sequences import has_steps, validate_sequences
from sk_epsnn._sklearn import Interval, fit_context
from sk_epsnn._sparse_rows import canonical
from sk_epsnn.encoders._encoder import DTYPES, TINY, Encoder, Float64s
from sk_epsnn.encoders._hash import row_keys, uniforms

Integers = NDArray[np.int_]
Rows = NDArray[np.floating] | sparse.csr_array | sparse.csr_matrix

# Elements of one temporary (512 kB in float64): small enough to stay in the cache, large enough to hide NumPy's calls.
_CHUNK_ELEMENTS = 2**16
#: Neurons of a feature, or steps.
COUNT = Interval(Integral, 1, 2**31 - 1, closed="both")


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


def linear_rates(values: Float64s, low: Float64s, half_range: Float64s) -> Float64s:
    """Rates from 0 at the low end of a range to 1 at its high end.

    Parameters
    ----------
    values : array of shape (n_rows, n_features)
        Inside the range.
    low, half_range : arrays of shape (n_features,)
        Its low end and half its length, 0 for a constant feature, whose rate is 0.

    Returns
    -------
    rates : array of the shape of the values
    """
    rates = 0.5 * values
    rates -= 0.5 * low
    # Dividing by infinity gives constant features a rate of exactly zero.
    rates /= np.where(half_range > 0.0, half_range, np.inf)
    return rates


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


class RowEncoder(Encoder):
    """Base of the encoders that code every row, or every step of a sample, on its own by the range of each feature."""

    #: Steps that `transform` makes of a row, along an axis of their own; None where its output has no such axis.
    _n_steps_out: int | None = None

    def _encode(self, values: Float64s, steps: Integers | None) -> Float64s | NDArray[np.bool_]:
        """Return the code of some rows, which are these steps of their samples unless that is None."""
        raise NotImplementedError

    def _fit_code(self, X: Rows) -> None:
        """Find what a subclass needs beyond the range of each feature."""

    def _check_range(self, X: Rows, samples: Integers | None) -> None:
        """Say that rows to transform, steps of these samples unless None, are beyond the range, where a class does."""

    def _check_steps(self) -> None:
        """Refuse samples that have steps already, where a subclass makes steps out of rows."""

    def _encode_sparse(self, X: Rows) -> Rows | None:
        """Return the code of sparse rows as sparse rows, or None where a subclass has dense ones only."""
        return None

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Find the range of each feature and draw the seed of the spikes, where they are random.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or array-like of shape \
                (n_samples, n_steps, n_features)
            Finite real values, but for NaN in all features after the last step of a sample. The range of a feature is
            that over all samples and steps.
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
            if has_steps(X):
                self._check_steps()
                X = validate_sequences(self, X, dtype=DTYPES, reset=True).rows
            else:
                X = validate_data(self, X, dtype=DTYPES, accept_sparse="csr")
            X = canonical(X) if sparse.issparse(X) else X
            if given is None:
                given = min_max_axis(X, axis=0) if sparse.issparse(X) else (X.min(axis=0), X.max(axis=0))
            low, high = given
            self.feature_min_ = np.full(X.shape[1], low, dtype=np.float64)
            self.feature_max_ = np.full(X.shape[1], high, dtype=np.float64)
            self._fit_code(X)
        return self

    def _half_range(self) -> Float64s:
        """Return half of high - low for each feature, exactly zero where the feature counts as constant."""
        # From halves of the ends: the range itself overflows when both ends are huge.
        half_range = 0.5 * self.feature_max_ - 0.5 * self.feature_min_
        return np.where(half_range < TINY, 0.0, half_range)

    def transform(self, X: ArrayLike) -> Rows:
        """Encode the rows of X, or the steps of its samples.

        Values outside the fitted range are clipped to it. The result for a row depends on that row and on the fitted
        encoder only, not on earlier calls, on the other rows, or on whether the row is stored as float32 or float64,
        dense or sparse. The result for a step of a sample depends on the values of that step and, where spikes are
        random, on how many steps came before it, not on other steps or samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or array-like of shape \
                (n_samples, n_steps, n_features)
            Finite real values, but for NaN in all features after the last step of a sample.

        Returns
        -------
        X_encoded : ndarray or CSR of shape (n_samples, n_features_out), or ndarray of shape \
                (n_samples, n_steps, n_features_out)
            Rates in [0, 1] or spikes, 0 or 1, as the first line of the class says; with steps where X has them or the
            class makes them. All columns of feature 0 come first, then those of feature 1, and so on. float32 if X is
            float32, else float64. Dense, unless the class says that sparse rows give sparse ones. NaN after the last
            step of a sample.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ValueError
            If X has infinite values, NaN elsewhere or the wrong number of features, if the class makes steps and X has
            some already, or if ``set_output`` asks for a data frame where the result has steps.
        """
        check_is_fitted(self)
        if has_steps(X):
            self._check_steps()
            self._refuse_table()
            sequences = validate_sequences(self, X, dtype=DTYPES, reset=False)
            self._check_range(sequences.rows, sequences.samples)
            return sequences.padded(self._code(sequences.rows, sequences.steps))
        if self._n_steps_out is not None:
            self._refuse_table()
        X = validate_data(self, X, dtype=DTYPES, accept_sparse="csr", reset=False)
        self._check_range(X, None)
        if sparse.issparse(X) and (code := self._encode_sparse(X)) is not None:
            return code
        return self._code(X, None)

    def _code(self, X: Rows, steps: Integers | None) -> NDArray[np.floating]:
        """Return the code of rows, which are these steps of their samples unless that is None."""
        n_steps = self._n_steps_out if steps is None else None
        n_columns = n_steps or len(self._suffixes())
        shape = (X.shape[1] * n_columns,) if n_steps is None else (n_steps, X.shape[1])
        encoded = np.empty((X.shape[0], *shape), dtype=X.dtype)
        for part, values in chunks(X, X.shape[1] * n_columns):
            code = self._encode(values, None if steps is None else steps[part])
            encoded[part] = code if n_steps is None else code.reshape(-1, X.shape[1], n_steps).swapaxes(1, 2)
        return encoded

    def _clipped(self, values: Float64s) -> Float64s:
        return np.clip(values, self.feature_min_, self.feature_max_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class RandomEncoder(RowEncoder):
    """Base of the encoders whose spikes are Bernoulli draws at rates, the draws a hash of the row and its step."""

    _spiking = True  # whether `transform` gives spikes rather than rates

    def _rates(self, values: Float64s) -> Float64s:
        """Return the rates in [0, 1], all columns of one feature together, of values inside the fitted range."""
        raise NotImplementedError

    def _fit_code(self, X: Rows) -> None:
        self.seed_ = int(check_random_state(self.random_state).randint(np.iinfo(np.int64).max, dtype=np.int64))

    def _encode(self, values: Float64s, steps: Integers | None) -> Float64s | NDArray[np.bool_]:
        rates = self._rates(self._clipped(values))
        if not self._spiking:
            return rates
        # Strictly less: a rate of 0 never spikes and a rate of 1 always does.
        return uniforms(row_keys(values, self.seed_, steps), rates.shape[1]) < rates
