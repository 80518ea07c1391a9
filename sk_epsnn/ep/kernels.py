"""Where convolutions start: shapes that occur in what they read, and channels that fire at few positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr
from sklearn.utils import resample

from sk_epsnn._arrays import to_numpy
from sk_epsnn.course import Rows
from sk_epsnn.ep.spread import below
from sk_epsnn.ep.state import LayerState
from sk_epsnn.network import Network
from sk_epsnn.patches import MOST_IMAGES, MOST_PATCHES, directions, lively, whitening

#: Share of the patches, of those with some contrast, at which a channel fires at the start.
FIRING_RATE = 0.1
#: Patches by which biases are chosen, and halvings of the interval in which they are looked for.
JUDGES, _HALVINGS = 5000, 30


class Kernels(NamedTuple):
    """Shapes that occur in patches.

    Attributes
    ----------
    patches : array of shape (n_patches, n_columns)
        As the neurons read them, without the constant; those with some contrast.
    shapes : array of shape (n_channels, n_columns)
        Kernels whose responses to whitened patches are their cosines with a shape times their length.
    variance : array of shape (n_columns,)
        That of an isotropic prior of the same mean square, in whitened patches.
    """

    patches: np.ndarray
    shapes: np.ndarray
    variance: np.ndarray

    def biases(self, mean: np.ndarray, variance: np.ndarray, bias_variance: np.ndarray) -> np.ndarray:
        """Biases with which channels of these weights fire at their share of the patches, shape (n_channels,)."""
        patches = self.patches[:JUDGES]
        response, spread = patches @ mean.T, np.sqrt(patches**2 @ variance.T + bias_variance)
        spread = np.maximum(spread, np.finfo(spread.dtype).tiny)
        size = np.abs(response).max(axis=0) + 10 * spread.max(axis=0)
        low, high = -size, size
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            fires_more = ndtr((response + middle) / spread).mean(axis=0) > FIRING_RATE
            low, high = np.where(fires_more, low, middle), np.where(fires_more, middle, high)
        return low


def find_kernels(network: Network, layers: Sequence[LayerState], rows: Rows, rng: np.random.RandomState) -> Kernels:
    """Shapes in what the layer after these reads, as they are at the start of training.

    Worked out in float64, from up to 1,000 of the rows.
    """
    index, some = len(layers), rows.some(MOST_IMAGES)
    connection = network.connections[index]
    if index == 0:
        patches = to_numpy(network.enter(to_numpy(some.X)).mean)
    else:
        patches = np.concatenate([up.inputs[-1].mean for up, _ in below(network, layers, some, connection)])
    patches = lively(patches[:, : patches.shape[1] - network.constant])
    patches = resample(patches, replace=False, n_samples=min(MOST_PATCHES, len(patches)), random_state=rng)
    patches = patches.astype(np.float64)
    axes, center = whitening(patches)
    found = directions((patches - center) @ axes, connection.n_units, rng)
    # Where there are not so many different shapes, some are looked for by several channels.
    shapes = found[np.arange(connection.n_units) % len(found)] @ axes.T
    variance = (axes * axes).sum(axis=1) / axes.shape[1]
    # Where no patch differs from another, nothing is known of shapes.
    return Kernels(patches, shapes, np.where(variance > 0, variance, 1.0))
