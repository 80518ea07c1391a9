"""One rate for each feature."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from sk_epsnn._sklearn import StrOptions
from sk_epsnn._sparse_rows import canonical
from sk_epsnn.encoders._encoder import Float64s
from sk_epsnn.encoders._hash import counters_of, sparse_row_keys, uniforms_at
from sk_epsnn.encoders._row import COUNT, RandomEncoder, Rows, linear_rates


class RateSpikeEncoder(RandomEncoder):
    """Rate code giving spikes (0 or 1), Bernoulli draws at a rate that is linear in the feature.

    The rate of a feature is 0 at the low end of its range and 1 at the high end. Every value gives `n_steps`
    independent spikes.

    Parameters
    ----------
    feature_range : "auto" or (low, high), default="auto"
        Range mapped to rates from 0 to 1: the smallest and largest value of each feature in fit, or one pair of
        numbers, low < high, for all features, such as (0, 255) for pixels. `transform` clips values to the range.
    n_steps : int, default=1
        Number of spikes for each value, at least 1. Samples that have steps already get one spike a step: leave it at
        1 for them.
    layout : {"columns", "steps"}, default="columns"
        How the spikes of rows are arranged: side by side in ``n_features * n_steps`` columns, or the very same spikes
        as steps in time, shape (n_samples, n_steps, n_features). Samples that have steps keep theirs with either.
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
    LatencySpikeEncoder : One spike per feature, the earlier the larger the value.
    DeltaSpikeEncoder : Spikes where a signal has moved.

    Notes
    -----
    With one step, and with ``layout="steps"``, the last axis keeps the names of the features; else the columns of a
    feature named ``x0`` are named ``x0_t0``, ``x0_t1``, and so on.

    As in `PopulationEncoder`, **equal rows get equal spikes**, and equal values at different steps of a sample
    independent ones. For several independent codes of the same rows raise `n_steps`, use encoders with other
    `random_state`, or make the rows differ by a column that counts them.

    A constant feature (a range of zero, or below 4e-308) has rate 0 and never spikes.

    CSR rows, such as counts of words, give CSR spikes, the same ones as dense rows do, where 0 has rate 0 in every
    feature: where no value in fit was below 0, or the given range starts at 0 or above. Else, and as steps, they give
    dense spikes.

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
    >>> encoder.set_params(layout="steps").transform(X).shape
    (3, 1000, 2)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "feature_range": [StrOptions({"auto"}), "array-like"],
        "n_steps": [COUNT],
        "layout": [StrOptions({"columns", "steps"})],
        "random_state": ["random_state"],
    }

    def __init__(self, *, feature_range="auto", n_steps=1, layout="columns", random_state=None):
        self.feature_range = feature_range
        self.n_steps = n_steps
        self.layout = layout
        self.random_state = random_state

    @property
    def _n_steps_out(self) -> int | None:
        return int(self.n_steps) if self.layout == "steps" else None

    def _suffixes(self) -> list[str]:
        return [f"_t{step}" for step in range(self.n_steps)] if self.layout == "columns" and self.n_steps > 1 else [""]

    def _check_steps(self) -> None:
        if self.n_steps > 1:
            raise ValueError(
                f"n_steps={self.n_steps} makes steps out of rows, and X has steps already, one spike for each. Set "
                "n_steps=1, or repeat the steps of X: numpy.repeat(X, n_steps, axis=1)."
            )

    def _rates(self, values: Float64s) -> Float64s:
        rates = linear_rates(values, self.feature_min_, self._half_range())
        return np.repeat(rates, self.n_steps, axis=1) if self.n_steps > 1 else rates

    def _encode_sparse(self, X: Rows) -> Rows | None:
        half_range = self._half_range()
        if self.layout == "steps" or np.any((self.feature_min_ < 0.0) & (half_range > 0.0)):
            return None
        rows = canonical(X).astype(np.float64)
        row, feature = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr)), rows.indices
        values = np.clip(rows.data, self.feature_min_[feature], self.feature_max_[feature])
        rates = linear_rates(values, self.feature_min_[feature], half_range[feature])
        column = feature.astype(np.int64)[:, np.newaxis] * self.n_steps + np.arange(self.n_steps)
        keys = sparse_row_keys(rows, self.seed_)[row]
        spike, step = np.nonzero(uniforms_at(keys[:, np.newaxis], counters_of(column)) < rates[:, np.newaxis])
        shape = (rows.shape[0], rows.shape[1] * int(self.n_steps))
        ones = np.ones(len(spike), dtype=X.dtype)
        return type(X)((ones, (row[spike], column[spike, step])), shape=shape)
