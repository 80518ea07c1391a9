"""Images: kernels that are moved over them, and means over regions of the maps that these give.

The inputs of a sample are an image row by row, channels last, and so are the spikes of a layer that reads one: those
of all channels at the first position, then those at the second, and so on.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from itertools import product
from math import prod
from numbers import Integral
from typing import Any

import numpy as np

from sk_epsnn._arrays import Array, new_zeros, permute_dims, reshape, stack
from sk_epsnn._sklearn import Interval, StrOptions
from sk_epsnn.connections.base import Connection
from sk_epsnn.patches import ImageShape, find_image_shape


class Convolution(Connection):
    """Neurons that read every patch of an image with the same weights: a convolution.

    An entry of `hidden_layer_sizes`, in front of numbers: ``hidden_layer_sizes=(Convolution(32, 5), 100)``. Kernels
    start at shapes that occur in the images, found by k-means of whitened patches, and channels fire at few positions.

    Parameters
    ----------
    n_channels : int
        Kernels, at least 1.
    size : int
        Height and width of the patches, in pixels; no more than the image has with its padding.
    stride : int, default=1
        Pixels from one patch to the next.
    padding : int, default=0
        Pixels of 0 around the image; not across a signal, an image of a single row.
    pool : int, default=1
        The next layer reads means over regions of so many positions down and across; positions at the lower and right
        ends that do not fill a region are left out.
    image_shape : "auto" or tuple of (height, width) or (height, width, n_channels), default="auto"
        Of what is read. "auto" is the map of a convolution before; of rows of X it takes squares without colors, or
        single rows where the number of features is not a square.

    See Also
    --------
    sk_epsnn.PatchSpikeEncoder : Channels with kernels that are not trained, in seconds.

    Notes
    -----
    X stays two-dimensional: rows hold images row by row, colors last. The coordinates of the inputs are the principal
    axes of patches. Positions of a map share their kernel's uncertainty, so that spikes of one channel go up and down
    together; predictive variances take them as independent.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_epsnn import Convolution, EPSNNClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = EPSNNClassifier(Convolution(8, 3, pool=2), random_state=0).fit(X[:500], y[:500])
    >>> clf.coefs_[0].shape
    (9, 8)
    """

    reads_patches = True
    _parameter_constraints = {
        "n_channels": [Interval(Integral, 1, 2**31 - 1, closed="both")],
        "size": [Interval(Integral, 1, None, closed="left")],
        "stride": [Interval(Integral, 1, None, closed="left")],
        "padding": [Interval(Integral, 0, None, closed="left")],
        "pool": [Interval(Integral, 1, None, closed="left")],
        "image_shape": [StrOptions({"auto"}), tuple, list],
    }

    def __init__(
        self,
        n_channels: int,
        size: int,
        stride: int = 1,
        padding: int = 0,
        pool: int = 1,
        image_shape: Any = "auto",
    ):
        self.n_channels = n_channels
        self.size = size
        self.stride = stride
        self.padding = padding
        self.pool = pool
        self.image_shape = image_shape

    @property
    def n_units(self) -> int:  # type: ignore[override]
        """Neurons of a row: one for each channel."""
        return self.n_channels

    def reading(self, shape: ImageShape) -> Convolution:
        """The same for images of this shape.

        Raises
        ------
        ValueError
            If they are smaller than a kernel; names the remedy.
        """
        connection = copy(self)
        connection.image_shape = shape
        kernel, around = connection.kernel_shape, connection.around
        if any(shape[axis] + 2 * around[axis] < kernel[axis] for axis in (0, 1)):
            raise ValueError(
                f"{self!r} has kernels larger than the images of shape {shape[:2]} that it reads; make size smaller, "
                "or padding or the map before larger (a smaller stride or pool)."
            )
        if min(connection.pooled_shape) < 1:
            raise ValueError(
                f"{self!r} gives maps of shape {connection.map_shape[:2]}, smaller than its regions; make pool or "
                "stride smaller."
            )
        return connection

    @property
    def map_shape(self) -> ImageShape:
        """Height, width and channels of the map of spikes."""
        kernel, around = self.kernel_shape, self.around
        down, across = ((self.image_shape[i] + 2 * around[i] - kernel[i]) // self.stride + 1 for i in (0, 1))
        return down, across, self.n_channels

    @property
    def pooled_shape(self) -> ImageShape:
        """Height, width and channels of the map that the next layer reads."""
        return _pooled_shape(self.map_shape, self.pool)

    @property
    def kernel_shape(self) -> ImageShape:
        """Height, width and channels of a kernel: signals have one row."""
        height, _, channels = self.image_shape
        return 1 if height == 1 else self.size, self.size, channels

    @property
    def around(self) -> tuple[int, int]:
        """Pixels of padding above and below, left and right."""
        return (0 if self.image_shape[0] == 1 else self.padding), self.padding

    def n_rows(self, n_inputs: int) -> int:
        """One for each position.

        Raises
        ------
        ValueError
            If so many inputs are no images of the shape that was found.
        """
        find_image_shape(self.image_shape, n_inputs)
        down, across, _ = self.map_shape
        return down * across

    def n_columns(self, n_inputs: int) -> int:
        """Entries of a patch."""
        return prod(self.kernel_shape)

    def _slices(self) -> Iterator[tuple[slice, slice]]:
        """Where the pixels are, in images with their padding, that all patches have at the same place."""
        return product(self._steps(0), self._steps(1))

    def _steps(self, axis: int) -> list[slice]:
        """Which pixels down (0) or across (1) all patches have at the same place, for every place."""
        length = (self.map_shape[axis] - 1) * self.stride + 1
        return [slice(start, start + length, self.stride) for start in range(self.kernel_shape[axis])]

    def gather(self, values: Array) -> Array:
        """Patches at all positions; where pixels have one channel, NumPy's have the same place of all side by side."""
        images = self._padded(reshape(values, (-1, *self.image_shape)))
        if type(images) is np.ndarray and self.image_shape[2] == 1:
            by_place = np.stack([images[:, rows, columns, 0] for rows, columns in self._slices()])
            return by_place.reshape(len(by_place), -1).T
        if type(images) is np.ndarray:
            height, width, _ = self.kernel_shape
            windows = np.lib.stride_tricks.sliding_window_view(images, (height, width), axis=(1, 2))
            places = windows[:, :: self.stride, :: self.stride].transpose(0, 1, 2, 4, 5, 3)
        else:
            places = stack([images[:, rows, columns, :] for rows, columns in self._slices()], axis=3)
        return reshape(places, (-1, self.n_columns(values.shape[1])))

    def _padded(self, images: Array) -> Array:
        """Images with zeros around them."""
        down, across = self.around
        if down == across == 0:
            return images
        n_images, height, width, channels = images.shape
        padded = new_zeros(images, (n_images, height + 2 * down, width + 2 * across, channels), images.dtype)
        padded[:, down : down + height, across : across + width, :] = images
        return padded

    def scatter(self, messages: Array, n_inputs: int) -> Array:
        """Sums over the patches that a pixel is in."""
        (height, width, channels), (down, across) = self.image_shape, self.around
        n_down, n_across, _ = self.kernel_shape
        full_height, full_width = height + 2 * down, width + 2 * across
        # Rows of all patches first, then what is left of their columns: two sums of few long parts.
        by_row = reshape(messages, (-1, *self.map_shape[:2], n_down, n_across * channels))
        rows = new_zeros(messages, (by_row.shape[0], full_height, by_row.shape[2], by_row.shape[4]), messages.dtype)
        for top, places in enumerate(self._steps(0)):
            rows[:, places, :, :] += by_row[:, :, :, top, :]
        by_column = permute_dims(reshape(rows, (-1, by_row.shape[2], n_across, channels)), (2, 0, 1, 3))
        if type(by_column) is np.ndarray:
            by_column = np.ascontiguousarray(by_column)
        padded = new_zeros(messages, (by_column.shape[1], full_width, channels), messages.dtype)
        for left, places in enumerate(self._steps(1)):
            padded[:, places, :] += by_column[left, :, :, :]
        padded = reshape(padded, (-1, full_height, full_width, channels))
        return reshape(padded[:, down : down + height, across : across + width, :], (-1, n_inputs))


class Pooled(Connection):
    """Reads means over regions of a map of spikes, as deviations from how often each channel fires.

    Parameters
    ----------
    connection : Connection
        What reads the pooled map.
    map_shape : tuple of (height, width, n_channels)
    pool : int, default=1
        Positions of a region, down and across.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_epsnn.connections import Dense, Pooled
    >>> Pooled(Dense(1), (2, 4, 1), pool=2).gather(np.array([[1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]]))
    array([[0.25, 1.  ]])
    """

    selects = False
    centered = True
    follows_weights = False
    _parameter_constraints = {
        "connection": [Connection],
        "map_shape": [tuple],
        "pool": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, connection: Connection, map_shape: ImageShape, pool: int = 1):
        self.connection = connection
        self.map_shape = map_shape
        self.pool = pool
        self.center = np.zeros(map_shape[2])

    @property
    def n_units(self) -> int:  # type: ignore[override]
        """Those of what reads the pooled map."""
        return self.connection.n_units

    @property
    def n_features(self) -> int:  # type: ignore[override]
        """Spikes of a position."""
        return self.map_shape[2]

    @property
    def reads_patches(self) -> bool:  # type: ignore[override]
        """Whether patches of the pooled map are read."""
        return self.connection.reads_patches

    @property
    def region(self) -> tuple[int, int]:
        """Positions of a region, down and across."""
        return _region(self.map_shape, self.pool)

    @property
    def pooled_shape(self) -> ImageShape:
        """Height, width and channels of the pooled map."""
        return _pooled_shape(self.map_shape, self.pool)

    def centered_at(self, rates: np.ndarray) -> Pooled:
        """The same for channels that fire at these rates, shape (n_channels,)."""
        connection = copy(self)
        connection.center = rates
        return connection

    def n_rows(self, n_inputs: int) -> int:
        """Those of what reads the pooled map."""
        return self.connection.n_rows(prod(self.pooled_shape))

    def n_columns(self, n_inputs: int) -> int:
        """Those of what reads the pooled map."""
        return self.connection.n_columns(prod(self.pooled_shape))

    def gather(self, values: Array) -> Array:
        """Means over the regions, gathered."""
        return self.connection.gather(self._pooled(values, self._share))

    def gather_variance(self, variance: Array) -> Array:
        """Variances of the means."""
        return self.connection.gather_variance(self._pooled(variance, self._share**2))

    def scatter(self, messages: Array, n_inputs: int) -> Array:
        """To every position its share."""
        return self._spread(self.connection.scatter, messages, n_inputs, self._share)

    def scatter_squared(self, messages: Array, n_inputs: int) -> Array:
        """Transpose of `gather_variance`."""
        return self._spread(self.connection.scatter_squared, messages, n_inputs, self._share**2)

    def _steps(self, axis: int) -> list[slice]:
        """Which positions down (0) or across (1) are at the same place of all regions, for every place."""
        size = self.region[axis]
        return [slice(start, size * self.pooled_shape[axis], size) for start in range(size)]

    @property
    def _share(self) -> float:
        """That of a position in the mean over its region."""
        down, across = self.region
        return 1 / (down * across)

    def _pooled(self, values: Array, share: float) -> Array:
        """Sums over the regions, each position by its share."""
        if self.pool == 1:
            return values
        maps = reshape(values, (-1, *self.map_shape))
        # Whole rows first, which lie side by side.
        parts = [maps[:, places, :, :] for places in self._steps(0)]
        rows = sum(parts[1:], parts[0])
        parts = [rows[:, :, places, :] for places in self._steps(1)]
        return reshape(share * sum(parts[1:], parts[0]), (values.shape[0], -1))

    def _spread(self, scatter: Any, messages: Array, n_inputs: int, share: float) -> Array:
        """Transpose of `_pooled`, after that of the connection."""
        n_pooled = prod(self.pooled_shape)
        pooled = scatter(messages, n_pooled)
        if self.pool == 1:
            return pooled
        pooled = share * reshape(pooled, (-1, *self.pooled_shape))
        rows = new_zeros(pooled, (*pooled.shape[:2], *self.map_shape[1:]), pooled.dtype)
        for places in self._steps(1):
            rows[:, :, places, :] = pooled
        maps = new_zeros(pooled, (pooled.shape[0], *self.map_shape), pooled.dtype)
        for places in self._steps(0):
            maps[:, places, :, :] = rows
        return reshape(maps, (-1, n_inputs))


def _region(map_shape: ImageShape, pool: int) -> tuple[int, int]:
    """Positions of a region, down and across: a signal has one row."""
    return (1 if map_shape[0] == 1 else pool), pool


def _pooled_shape(map_shape: ImageShape, pool: int) -> ImageShape:
    """Height, width and channels of a map after pooling."""
    (height, width, channels), (down, across) = map_shape, _region(map_shape, pool)
    return height // down, width // across, channels
