"""Synaptic filters: what is left of a spike at later steps.

A synapse has a weight for each kernel of its filter. All kernels are linear and causal, so that over a whole sequence a
filter is a triangular matrix along the steps, and what it does to gradients is the transpose of that matrix.
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np

from sk_epsnn._sklearn import Interval, Option


class SynapticFilter(Option):
    """Base of the objects behind ``synapse=``: kernels of sum 1.

    Attributes
    ----------
    name : str
        Entry in the registry `FILTERS`.
    """

    name: str

    @property
    def n_kernels(self) -> int:
        """Kernels, and weights of a synapse."""
        raise NotImplementedError

    def kernels(self, n_steps: int) -> np.ndarray:
        """What is left of a spike after some steps.

        Parameters
        ----------
        n_steps : int

        Returns
        -------
        kernels : ndarray of shape (n_kernels, n_steps)
            After 0, 1, ... steps.
        """
        raise NotImplementedError

    def matrix(self, n_steps: int, delay: int) -> np.ndarray:
        """From spikes at every step to traces at every step.

        Parameters
        ----------
        n_steps : int
        delay : {0, 1}
            Steps after which a spike is first felt.

        Returns
        -------
        matrix : ndarray of shape (n_kernels, n_steps, n_steps)
        """
        return toeplitz(self.kernels(n_steps), delay)

    # One step after another: what is kept of the past, and the traces that follow.

    def begin(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """What is kept before the first step.

        Parameters
        ----------
        shape : tuple of int
            Of the spikes of a step.
        dtype : dtype

        Returns
        -------
        kept : ndarray
            Its last axes have that shape.
        """
        raise NotImplementedError

    def push(self, kept: np.ndarray, spikes: np.ndarray) -> np.ndarray:
        """What is kept after another step.

        Parameters
        ----------
        kept : ndarray
            Before it.
        spikes : ndarray
            Of this step.

        Returns
        -------
        kept : ndarray
            A new array.
        """
        raise NotImplementedError

    def traces(self, kept: np.ndarray) -> np.ndarray:
        """Traces after the last step.

        Parameters
        ----------
        kept : ndarray

        Returns
        -------
        traces : ndarray of shape (n_kernels, ...)
        """
        raise NotImplementedError


def toeplitz(kernels: np.ndarray, delay: int) -> np.ndarray:
    """Lower triangular matrices ``M[f, t, s] = kernels[f, t - s - delay]``, 0 above."""
    n_steps = kernels.shape[-1]
    lag = np.arange(n_steps)[:, np.newaxis] - np.arange(n_steps) - delay
    return np.where(lag >= 0, kernels[:, np.maximum(lag, 0)], 0.0)


def decays(decay: float, n_steps: int) -> np.ndarray:
    """``decay ** lag`` below the diagonal and on it: sums over the past of what fades."""
    return toeplitz(decay ** np.arange(n_steps)[np.newaxis], 0)[0]


class ExponentialFilter(SynapticFilter):
    """One kernel, ``(1 - decay) decay ** lag``: a trace that fades by the same share at every step.

    Parameters
    ----------
    decay : float, default=0.5
        Share of the trace that is left one step later, in [0, 1). With 0 a spike is felt at one step only.

    See Also
    --------
    RaisedCosineFilters : Several kernels, which tell when a spike came.

    Examples
    --------
    >>> from sk_epsnn import ExponentialFilter
    >>> ExponentialFilter(decay=0.5).kernels(3).tolist()
    [[0.5, 0.25, 0.125]]
    """

    name = "exponential"
    _parameter_constraints = {"decay": [Interval(Real, 0, 1, closed="left")]}

    def __init__(self, *, decay: Any = 0.5):
        self.decay = decay

    @property
    def n_kernels(self) -> int:
        """One."""
        return 1

    def kernels(self, n_steps: int) -> np.ndarray:
        """What is left of a spike after 0, 1, ... steps, shape (1, n_steps)."""
        return (1 - self.decay) * self.decay ** np.arange(n_steps)[np.newaxis]

    def begin(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """The trace itself: zeros, with one more axis in front."""
        return np.zeros((1, *shape), dtype)

    def push(self, kept: np.ndarray, spikes: np.ndarray) -> np.ndarray:
        """The trace after the spikes of another step."""
        return self.decay * kept + (1 - self.decay) * spikes

    def traces(self, kept: np.ndarray) -> np.ndarray:
        """What is kept."""
        return kept


class RaisedCosineFilters(SynapticFilter):
    """Bumps along a logarithmic axis of lags, narrow for the recent past and wide for the remote one.

    Kernel f is ``(1 + cos(z)) / 2`` where ``z = (pi / 2) (x - f)`` lies between -pi and pi, 0 elsewhere, with
    ``x = (n_filters - 1) log(lag + 1) / log(memory)``, divided by its sum: raised cosines as those of [1]_ (section
    2.2), so that every bump has its peak where its neighbours have half of theirs.

    Parameters
    ----------
    n_filters : int, default=5
        Kernels, and weights of every synapse; at least 2.
    memory : int, default=20
        Steps, at least 2, after which a spike is forgotten.

    See Also
    --------
    ExponentialFilter : One kernel.

    References
    ----------
    .. [1] J. W. Pillow et al., "Spatio-temporal correlations and visual signalling in a complete neuronal population",
       Nature 454, 2008.

    Examples
    --------
    >>> from sk_epsnn import RaisedCosineFilters
    >>> RaisedCosineFilters(n_filters=3, memory=9).kernels(9).argmax(axis=1).tolist()
    [0, 2, 8]
    """

    name = "raised_cosines"
    _parameter_constraints = {
        "n_filters": [Interval(Integral, 2, None, closed="left")],
        "memory": [Interval(Integral, 2, None, closed="left")],
    }

    def __init__(self, *, n_filters: Any = 5, memory: Any = 20):
        self.n_filters = n_filters
        self.memory = memory

    @property
    def n_kernels(self) -> int:
        """As many as there are filters."""
        return int(self.n_filters)

    def kernels(self, n_steps: int) -> np.ndarray:
        """What is left of a spike after 0, 1, ... steps, shape (n_filters, n_steps)."""
        result = np.zeros((self.n_filters, n_steps))
        known = min(n_steps, self.memory)
        result[:, :known] = self._bumps[:, :known]
        return result

    @property
    def _bumps(self) -> np.ndarray:
        place = (self.n_filters - 1) * np.log(np.arange(self.memory) + 1) / np.log(self.memory)
        angle = np.clip(0.5 * np.pi * (place - np.arange(self.n_filters)[:, np.newaxis]), -np.pi, np.pi)
        bumps = 0.5 * (1 + np.cos(angle))
        return bumps / bumps.sum(axis=1, keepdims=True)

    def begin(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """The last ``memory`` steps, the newest first: zeros."""
        return np.zeros((self.memory, *shape), dtype)

    def push(self, kept: np.ndarray, spikes: np.ndarray) -> np.ndarray:
        """The same after another step."""
        return np.concatenate([spikes[np.newaxis], kept[:-1]])

    def traces(self, kept: np.ndarray) -> np.ndarray:
        """Sums over the steps, weighted by each kernel."""
        flat = self._bumps.astype(kept.dtype) @ kept.reshape(self.memory, -1)
        return flat.reshape(self.n_filters, *kept.shape[1:])


#: Filters that a string names.
FILTERS: dict[str, type[SynapticFilter]] = {kind.name: kind for kind in (ExponentialFilter, RaisedCosineFilters)}
