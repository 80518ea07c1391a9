"""Patches of images: the shape of an image, its windows, and the shapes that occur in them."""

from __future__ import annotations

from math import isqrt
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

#: Height, width and colors of an image, or height, width and channels of a map.
ImageShape = tuple[int, int, int]

#: Images and patches that shapes are learned from, at most, and passes of k-means over these.
MOST_IMAGES, MOST_PATCHES, _PASSES = 1000, 30_000, 20
#: Patches whose values differ by less than this share of those of all say nothing of shapes.
_CONTRAST = 0.1
#: Added to the variances along principal axes before they are divided by, in units of their mean.
_FLOOR = 0.1


def find_image_shape(image_shape: Any, n_features: int) -> ImageShape:
    """Shape of images that are rows of so many values, row by row, colors last.

    "auto" takes squares without colors, or single rows where the number is not a square: signals.

    Raises
    ------
    ValueError
        If they cannot have the shape that is given; names the remedy.
    """
    if isinstance(image_shape, str):
        side = isqrt(n_features)
        return (side, side, 1) if side * side == n_features else (1, n_features, 1)
    shape = tuple(image_shape)
    if (
        len(shape) not in (2, 3)
        or not all(isinstance(size, Integral) and int(size) > 0 for size in shape)
        or int(np.prod(shape)) != n_features
    ):
        raise ValueError(
            f"image_shape={image_shape!r} must be (height, width) or (height, width, n_colors) of images of "
            f"the n_features={n_features} of X, whose rows are images, row by row, colors last; give it their "
            "shape, or reshape X: X.reshape(len(X), -1)."
        )
    height, width, n_colors = (int(size) for size in (*shape, 1)[:3])
    return height, width, n_colors


def lively(patches: NDArray[np.floating]) -> NDArray[np.floating]:
    """Patches with some contrast; all of them where none has any."""
    contrast = np.ptp(patches, axis=1)
    chosen = contrast > _CONTRAST * contrast.max()
    return patches[chosen] if chosen.any() else patches


def whitening(patches: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Principal axes of patches, as columns divided by the standard deviations along them; and their mean."""
    center = patches.mean(axis=0, dtype=np.float64)
    moved = patches - center
    variance, axes = np.linalg.eigh(moved.T @ moved / len(patches))
    variance = np.clip(variance, 0, None)
    sizes = np.sqrt(variance + _FLOOR * variance.mean())
    return axes / np.where(sizes > 0, sizes, np.inf), center


def directions(white: NDArray[np.float64], n_channels: int, rng: np.random.RandomState) -> NDArray[np.float64]:
    """Directions of length 1 that whitened patches lie in, by k-means on the sphere; fewer where few are different."""
    unit = _of_length_one(white).astype(np.float32)
    n_different = len(np.unique(unit[: 10 * n_channels].round(6), axis=0))
    if n_different < n_channels:
        n_different = len(np.unique(unit.round(6), axis=0))
    found = KMeans(min(n_channels, n_different), n_init=1, max_iter=_PASSES, random_state=rng).fit(unit)
    return _of_length_one(found.cluster_centers_.astype(np.float64))


def _of_length_one(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, np.inf)
