"""What a GEM-SNN makes of the values of X: rates between 0 and 1, or inputs as they are."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sk_epsnn.encoders import PopulationEncoder
from sk_epsnn.encoders._row import linear_rates

#: How the message ends that refuses values which are no rates.
_REMEDY = (
    "Map them there: PopulationEncoder(output='rates') in a pipeline, sklearn.preprocessing.MinMaxScaler, or "
    "encode='auto'; encode='none' feeds values to the neurons as they are."
)
#: Input neurons of a feature where these are populations, and the most features that "auto" makes populations of.
_POPULATION, _MOST_POPULATIONS = 20, 30


class InputRange(NamedTuple):
    """What values of X become.

    Attributes
    ----------
    kind : {"rates", "range", "population", "none"}
    low, half : ndarray of shape (n_features,)
        Low end and half the length of the range of each feature.
    population : PopulationEncoder or None
    is_strict : bool
        Whether values beyond the range are refused, or clipped.
    """

    kind: str
    low: np.ndarray
    half: np.ndarray
    population: PopulationEncoder | None
    is_strict: bool

    @classmethod
    def of(cls, X: np.ndarray, n_features: int, encode: str) -> InputRange:
        """Of rows that may hold steps side by side, NaN where there are none.

        Raises
        ------
        ValueError
            If ``encode="rates"`` and some values are none.
        """
        steps = X.reshape(-1, n_features)
        steps = steps[~np.isnan(steps[:, 0])]
        low, high = (np.asarray(end, np.float64) for end in (steps.min(axis=0), steps.max(axis=0)))
        kind = encode
        if encode == "auto":
            kind = "population" if n_features <= _MOST_POPULATIONS else "range"
            kind = "rates" if low.min() >= 0 and high.max() <= 1 else kind
        if kind in ("rates", "none"):
            low, high = np.zeros(n_features), np.ones(n_features)
        population = None
        if kind == "population":
            population = PopulationEncoder(_POPULATION, output="rates", out_of_range="clip").fit(steps)
        result = cls(kind, low, 0.5 * high - 0.5 * low, population, encode == "rates")
        result.check(X)
        return result

    @property
    def is_drawn(self) -> bool:
        """Whether spikes are drawn."""
        return self.kind != "none"

    @property
    def n_inputs(self) -> int:
        """Input neurons."""
        return len(self.low) * (1 if self.population is None else _POPULATION)

    def check(self, X: np.ndarray) -> None:
        """Refuse values that are no rates, where these are asked for."""
        with np.errstate(invalid="ignore"):
            if self.is_strict and ((X < 0) | (X > 1)).any():
                raise ValueError(
                    f"encode='rates' needs values from 0 to 1, and X holds values from {np.nanmin(X):.3g} to "
                    f"{np.nanmax(X):.3g}. {_REMEDY}"
                )

    def inputs(self, X: np.ndarray, dtype: Any) -> np.ndarray:
        """Rates of rows, or what is felt of them, their steps side by side; NaN stays.

        Parameters
        ----------
        X : array of shape (n_samples, n_features) or (n_samples, n_steps * n_features)
        dtype : dtype
            Of the result.
        """
        self.check(X)
        if self.kind == "none":
            return X.astype(dtype)
        values = X.astype(np.float64).reshape(-1, len(self.low))
        if self.population is not None:
            there = ~np.isnan(values[:, 0])
            rates = np.full((len(values), self.n_inputs), np.nan, dtype)
            rates[there] = self.population.transform(values[there])
            return rates.reshape(len(X), -1)
        if self.kind == "range":
            values = linear_rates(np.clip(values, self.low, self.low + 2 * self.half), self.low, self.half)
        return np.clip(values, 0, 1).astype(dtype).reshape(X.shape)
