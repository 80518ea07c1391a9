"""Real targets as the spikes of a population of output neurons."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Population(NamedTuple):
    """Neurons that stand for values of the targets.

    Attributes
    ----------
    centers : list of ndarray of shape (n_neurons,)
        Values of the neurons of each target, ascending.
    single : bool
        Whether targets are a vector rather than columns.
    """

    centers: list[np.ndarray]
    single: bool

    @classmethod
    def of(cls, y: np.ndarray, n_neurons: int) -> Population:
        """Neurons at quantiles of the targets, both ends too; at every value where there are no more than neurons."""
        centers, probability = [], np.linspace(0, 1, n_neurons)
        for column in y.reshape(len(y), -1).T:
            values = np.unique(column)
            centers.append(values if len(values) <= n_neurons else np.unique(np.quantile(column, probability)))
        return cls(centers, y.ndim == 1)

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Rates of all neurons: those next to a target share 1 so that the mean of their values is the target.

        Targets beyond the ends are clipped.
        """
        columns = y.reshape(len(y), -1)
        if columns.shape[1] != len(self.centers):
            raise ValueError(
                f"y has {columns.shape[1]} outputs, but the model was fitted with {len(self.centers)}; fit a new "
                "estimator for other targets."
            )
        rates = [
            np.stack([np.interp(column, centers, unit) for unit in np.eye(len(centers))], axis=1)
            for column, centers in zip(columns.T, self.centers, strict=True)
        ]
        return np.concatenate(rates, axis=1)

    def decode(self, rate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of each target, from the rates along the last axis; shapes (n_targets, ...)."""
        moments, first = [], 0
        for centers in self.centers:
            share = rate[..., first : first + len(centers)].astype(np.float64)
            share = share / share.sum(axis=-1, keepdims=True)
            mean = share @ centers
            moments.append((mean, (share * (centers - mean[..., np.newaxis]) ** 2).sum(axis=-1)))
            first += len(centers)
        mean, variance = (np.stack(part) for part in zip(*moments, strict=True))
        return mean, variance

    def shaped(self, columns: np.ndarray, dtype: Any) -> np.ndarray:
        """Targets as they were given, from an array of shape (n_targets, n_samples)."""
        return (columns[0] if self.single else columns.T).astype(dtype)
