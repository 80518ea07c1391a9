"""Patches of images as sparse spikes of channels, pooled."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.validation import check_is_fitted, validate_data

from sk_epsnn._rollback import unchanged_on_error
from sk_epsnn._sklearn import DocumentationLinkMixin, Interval, StrOptions, fit_context
from sk_epsnn._sparse_rows import canonical
from sk_epsnn.encoders._encoder import DTYPES
from sk_epsnn.patches import MOST_IMAGES, MOST_PATCHES, directions, find_image_shape, lively, whitening

Images = NDArray[np.float32]
Rows = NDArray[np.floating] | sparse.csr_array | sparse.csr_matrix

#: Thresholds are as much below the quantile of responses, in units of their standard deviation.
_MARGIN = 1e-4
#: Numbers of one temporary.
_CHUNK = 2**24


class PatchSpikeEncoder(OneToOneFeatureMixin, TransformerMixin, DocumentationLinkMixin, BaseEstimator):
    """Code of images by shapes that occur in them: each channel fires where a patch looks like its kernel.

    `fit` learns kernels by spherical k-means of whitened patches, with no labels. A channel fires at the positions
    where its kernel responds more than to all but a small share of the patches in `fit`; `transform` tells how often it
    does in every region. A classifier without hidden layers on these rates is as good as a convolutional network with
    learned kernels where images are few, and takes seconds.

    Parameters
    ----------
    image_shape : "auto" or tuple of (height, width) or (height, width, n_colors), default="auto"
        Of an image, which is a row of X, row by row, colors last. "auto" takes squares without colors, or single rows
        where the number of features is not a square: signals.
    n_channels : int, default=64
        Kernels, at least 1; fewer where there are not so many different patches.
    kernel_size : int, default=7
        Height and width of the patches, in pixels; no more than an image has with its padding.
    stride : int, default=1
        Pixels from one patch to the next.
    padding : int, default=1
        Pixels of 0 around an image.
    pool_size : int, default=4
        Positions of a region down and across, at least 1; regions at the lower and right ends may have fewer.
    firing_rate : float, default=0.03
        Share of the patches, of those with some contrast, at which a channel fires, in (0, 1).
    output : {"rates", "spikes"}, default="rates"
        Share of the positions of a region at which a channel fires, or whether it fires at any of them, 0 or 1.
    sparse_output : bool, default=False
        Whether `transform` gives CSR rows: most rates are 0.
    random_state : int, RandomState instance or None, default=None
        Chooses the images and patches that kernels are learned from, and where k-means starts.

    Attributes
    ----------
    kernels_ : ndarray of shape (n_channels, kernel_height, kernel_width, n_colors)
        Kernels, float32: the response of a channel is the sum of a patch times its kernel.
    thresholds_ : ndarray of shape (n_channels,)
        Responses above which a channel fires.
    image_shape_ : tuple of (height, width, n_colors)
        Shape of an image.
    n_features_in_, feature_names_in_ : int, ndarray of str
        Number of features in fit, and their names if they were all strings.

    See Also
    --------
    RateSpikeEncoder : One input neuron for each pixel.

    Notes
    -----
    Columns are ordered by the row and the column of a region, and last by channel, which their names say. Images need
    no scale, but all one: a pixel counts as much as its values vary.

    References
    ----------
    .. [1] A. Coates, H. Lee, A. Y. Ng, "An analysis of single-layer networks in unsupervised feature learning", AISTATS
       2011: k-means of whitened patches, and that small strides are worth more than many channels.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_epsnn import PatchSpikeEncoder
    >>> X, _ = load_digits(return_X_y=True)
    >>> encoder = PatchSpikeEncoder((8, 8), n_channels=16, kernel_size=3, pool_size=2, random_state=0)
    >>> encoder.fit_transform(X).shape
    (1797, 256)
    >>> encoder.get_feature_names_out()[:2]
    array(['row0_column0_channel0', 'row0_column0_channel1'], dtype=object)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "image_shape": [StrOptions({"auto"}), "array-like"],
        "n_channels": [Interval(Integral, 1, None, closed="left")],
        "kernel_size": [Interval(Integral, 1, None, closed="left")],
        "stride": [Interval(Integral, 1, None, closed="left")],
        "padding": [Interval(Integral, 0, None, closed="left")],
        "pool_size": [Interval(Integral, 1, None, closed="left")],
        "firing_rate": [Interval(Real, 0, 1, closed="neither")],
        "output": [StrOptions({"rates", "spikes"})],
        "sparse_output": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        image_shape="auto",
        *,
        n_channels=64,
        kernel_size=7,
        stride=1,
        padding=1,
        pool_size=4,
        firing_rate=0.03,
        output="rates",
        sparse_output=False,
        random_state=None,
    ):
        self.image_shape = image_shape
        self.n_channels = n_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.pool_size = pool_size
        self.firing_rate = firing_rate
        self.output = output
        self.sparse_output = sparse_output
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn the kernels, and above which responses their channels fire.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Images, finite real values.
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
        with unchanged_on_error(self):
            X = validate_data(self, X, dtype=DTYPES, accept_sparse="csr")
            self.image_shape_ = find_image_shape(self.image_shape, self.n_features_in_)
            rng = check_random_state(self.random_state)
            patches = self._some_patches(X, rng)
            axes, center = whitening(patches)
            white = (patches - center) @ axes
            kernels = (directions(white, self.n_channels, rng) @ axes.T).astype(np.float32)
            responses = patches @ kernels.T
            # Many patches may have the response at the quantile: they fire, whatever its rounding.
            quantile = np.quantile(responses, 1 - self.firing_rate, axis=0)
            self.thresholds_ = (quantile - _MARGIN * responses.std(axis=0)).astype(np.float32)
            self.kernels_ = kernels.reshape(len(kernels), *self._kernel_shape())
        return self

    def transform(self, X: ArrayLike) -> Rows:
        """Encode images.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Images, finite real values.

        Returns
        -------
        X_encoded : ndarray or CSR array of shape (n_samples, n_features_out)
            Rates in [0, 1], or spikes, 0 or 1; float32 if X is float32, else float64. What an image gives depends on
            no other one.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        ValueError
            If X is not valid.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=DTYPES, accept_sparse="csr", reset=False)
        parts = [self._pooled(images).astype(X.dtype) for images in self._images(X)]
        if self.sparse_output:
            return sparse.vstack([sparse.csr_array(part) for part in parts], format="csr")
        return np.concatenate(parts)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[np.object_]:
        """Get the names of the output columns.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the input features, which columns are not named by; only checked.

        Returns
        -------
        names : ndarray of str objects
            Such as ``row0_column3_channel12``.
        """
        super().get_feature_names_out(input_features)
        heights, widths = (-(-size // self.pool_size) for size in self._grid())
        names = [
            f"row{row}_column{column}_channel{channel}"
            for row in range(heights)
            for column in range(widths)
            for channel in range(len(self.kernels_))
        ]
        return np.array(names, dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # ------------------------------------------------------------------ geometry

    def _kernel_shape(self) -> tuple[int, int, int]:
        height, width, n_colors = self.image_shape_
        sizes = (min(int(self.kernel_size), size + 2 * int(self.padding)) for size in (height, width))
        return *sizes, n_colors

    def _grid(self) -> tuple[int, int]:
        """Positions of a kernel, down and across."""
        kernel, padding = self._kernel_shape(), int(self.padding)
        sizes = self.image_shape_
        down, across = ((sizes[axis] + 2 * padding - kernel[axis]) // int(self.stride) + 1 for axis in (0, 1))
        return down, across

    # ------------------------------------------------------------------ passes over images

    def _images(self, X: Rows) -> Iterator[Images]:
        """Go through images in parts that take no more memory than they must: (n_images, height, width, n_colors)."""
        down, across = self._grid()
        size = down * across * (int(np.prod(self._kernel_shape())) + int(self.n_channels))
        X = canonical(X) if sparse.issparse(X) else X
        for part in gen_batches(X.shape[0], max(1, _CHUNK // size)):
            rows = X[part].toarray() if sparse.issparse(X) else X[part]
            yield rows.astype(np.float32).reshape(-1, *self.image_shape_)

    def _patches(self, images: Images) -> Images:
        """All patches as rows, shape (n_images * n_positions, kernel_height * kernel_width * n_colors)."""
        around = (int(self.padding), int(self.padding))
        padded = np.pad(images, ((0, 0), around, around, (0, 0)))
        height, width, n_colors = self._kernel_shape()
        windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
        windows = windows[:, :: self.stride, :: self.stride].transpose(0, 1, 2, 4, 5, 3)
        return windows.reshape(-1, height * width * n_colors)

    def _some_patches(self, X: Rows, rng: np.random.RandomState) -> Images:
        """Patches with some contrast, of some images; all of these where none has any."""
        chosen = rng.permutation(X.shape[0])[:MOST_IMAGES]
        patches = np.concatenate([self._patches(images) for images in self._images(X[np.sort(chosen)])])
        patches = lively(patches)
        return patches[rng.permutation(len(patches))[:MOST_PATCHES]]

    def _pooled(self, images: Images) -> NDArray[np.floating]:
        """What channels do in each region, shape (n_images, n_features_out)."""
        n_channels, (down, across) = len(self.kernels_), self._grid()
        spikes = self._patches(images) @ self.kernels_.reshape(n_channels, -1).T > self.thresholds_
        spikes = spikes.reshape(len(images), down, across, n_channels)
        rows, columns = (np.arange(0, size, self.pool_size) for size in (down, across))
        join = np.add if self.output == "rates" else np.logical_or
        kind = np.float32 if self.output == "rates" else bool
        pooled = join.reduceat(join.reduceat(spikes, rows, axis=1, dtype=kind), columns, axis=2, dtype=kind)
        if self.output == "rates":
            heights, widths = np.diff(rows, append=down), np.diff(columns, append=across)
            pooled /= (heights[:, np.newaxis] * widths)[:, :, np.newaxis]
        return pooled.reshape(len(images), -1)
