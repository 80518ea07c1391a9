"""Posterior of the weights of one layer."""

from __future__ import annotations

from math import ceil, sqrt
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from sk_epsnn._arrays import to_numpy
from sk_epsnn.plotting._common import (
    PALETTE,
    SIGNED,
    VALUES,
    ink,
    names_or_numbers,
    network_of,
    one_of,
    panels,
    rotation_of,
    ticks,
)

#: So many weights are still told apart as bars.
_BARS = 60
#: So many channels are drawn side by side; of more, their root mean square.
_SIDE_BY_SIDE = 3


class WeightPosteriorDisplay:
    """Posterior means and log variances of the weights of one layer.

    Use `from_estimator` to make one from a fitted network.

    Parameters
    ----------
    mean : array-like of shape (fan_in, n_units)
        Posterior means of the weights, as in ``coefs_``.
    variance : array-like of shape (fan_in, n_units)
        Their posterior variances, as in ``coefs_variance_``. Known weights have variance 0.
    input_names : array-like of str of shape (fan_in,), default=None
        Names of the inputs; None numbers them.
    unit_names : array-like of str of shape (n_units,), default=None
        Names of the neurons; None numbers them.
    image_shape : (height, width) or (height, width, n_channels), default=None
        Where the inputs are pixels, row by row, channels last: what `plot` draws unless it is given another.

    Attributes
    ----------
    ax_ : ndarray of matplotlib axes of shape (2,)
        Axes of the means and of the log variances.
    figure_ : matplotlib figure
        Figure that they are part of.

    Raises
    ------
    ValueError
        If the shapes do not agree, a variance is negative, or ``image_shape`` does not hold the inputs.

    Examples
    --------
    >>> from sk_epsnn import WeightPosteriorDisplay
    >>> display = WeightPosteriorDisplay([[1.0], [-0.5]], [[0.1], [0.2]]).plot(kind="bar")
    >>> [axes.get_title() for axes in display.ax_]
    ['Posterior mean', 'Posterior log variance']
    """

    def __init__(
        self,
        mean: ArrayLike,
        variance: ArrayLike,
        *,
        input_names: ArrayLike | None = None,
        unit_names: ArrayLike | None = None,
        image_shape: tuple[int, ...] | None = None,
    ) -> None:
        self.mean, self.variance = np.asarray(mean, dtype=float), np.asarray(variance, dtype=float)
        if self.mean.ndim != 2 or self.mean.shape != self.variance.shape:
            raise ValueError(
                "mean and variance must both have shape (fan_in, n_units), as coefs_[layer] and "
                f"coefs_variance_[layer] have; got {self.mean.shape} and {self.variance.shape}."
            )
        if not (self.variance >= 0).all():
            raise ValueError("variance must not be negative or NaN.")
        self.input_names = names_or_numbers("input_names", input_names, self.mean.shape[0])
        self.unit_names = names_or_numbers("unit_names", unit_names, self.mean.shape[1])
        self.image_shape = self._checked(image_shape)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        layer: int = 0,
        units: ArrayLike | None = None,
        kind: str = "auto",
        image_shape: tuple[int, ...] | None = None,
        ax: Any = None,
    ) -> Self:
        """Draw the weights of one layer of a fitted network.

        Those of a `Convolution` are drawn as images of its kernels.

        Parameters
        ----------
        estimator : EPSNNClassifier or EPSNNRegressor
            Fitted, or a fitted pipeline or search that ends in one.
        layer : int, default=0
            Which layer of weights; -1 is the last.
        units : array-like of int, default=None
            Which neurons of the layer; None is all of them.
        kind : {"auto", "image", "bar"}, default="auto"
            See `plot`.
        image_shape : (height, width) or (height, width, n_channels), default=None
            See `plot`; None is the shape of the kernels where the layer is a convolution.
        ax : matplotlib axes, or two of them, default=None
            See `plot`.

        Returns
        -------
        display : WeightPosteriorDisplay

        Raises
        ------
        TypeError
            If the estimator is not a network.
        ValueError
            If there is no such layer or neuron, or ``image_shape`` does not hold the inputs.
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        """
        model = network_of(estimator, cls.__name__, "coefs_", "coefs_variance_")
        n_layers = model.n_layers_ - 1
        if not isinstance(layer, Integral) or not -n_layers <= layer < n_layers:
            raise ValueError(f"layer must be an integer from {-n_layers} to {n_layers - 1}, got {layer!r}.")
        mean, variance = to_numpy(model.coefs_[layer]), to_numpy(model.coefs_variance_[layer])
        last = layer in (-1, n_layers - 1)
        unit_names = np.arange(mean.shape[1])
        if last and len(getattr(model, "classes_", ())) == mean.shape[1]:
            unit_names = to_numpy(model.classes_)
        chosen = _unit_indices(units, mean.shape[1])
        kernel_shape = _kernel_shape(model, layer)
        first = layer in (0, -n_layers) and kernel_shape is None  # kernels read features at many places
        names = {
            "input_names": getattr(model, "feature_names_in_", None) if first else None,
            "unit_names": unit_names[chosen],
        }
        display = cls(mean[:, chosen], variance[:, chosen], **names, image_shape=kernel_shape)
        return display.plot(kind=kind, image_shape=image_shape, ax=ax)

    def plot(self, *, kind: str = "auto", image_shape: tuple[int, ...] | None = None, ax: Any = None) -> Self:
        """Draw the display.

        Parameters
        ----------
        kind : {"auto", "image", "bar"}, default="auto"
            "bar" draws a bar for each weight, its mean with one standard deviation to either side. "image" draws one
            row for each neuron. "auto" is bars for up to 60 weights without an ``image_shape``.
        image_shape : (height, width) or (height, width, n_channels), default=None
            Where the inputs are pixels, row by row, channels last: the weights of every neuron are drawn as an image.
            Up to 3 channels are drawn side by side; of more, the root mean square of the means and the log of the mean
            variance, as the titles say. None is the one of the display.
        ax : matplotlib axes, or two of them, default=None
            Where to draw: two axes, or one whose place two new ones take. None makes a new figure.

        Returns
        -------
        self : WeightPosteriorDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If ``kind`` is none of these, ``image_shape`` does not hold the inputs, or ``ax`` is not axes.
        """
        one_of("kind", kind, ("auto", "image", "bar"))
        if kind == "bar" and image_shape is not None:
            raise ValueError("image_shape is for kind='image'; leave it out for bars.")
        shape = self.image_shape if image_shape is None else self._checked(image_shape)
        if kind == "auto":
            kind = "bar" if self.mean.size <= _BARS and shape is None else "image"
        self.ax_ = panels(ax, 2)
        self.figure_ = self.ax_[0].figure
        self.ax_[0].set_title("Posterior mean")
        self.ax_[1].set_title("Posterior log variance")
        if kind == "bar":
            self._bars(self.ax_[0], self.mean, np.sqrt(self.variance))
            self._bars(self.ax_[1], _log(self.variance), None)
            if len(self.unit_names) > 1:  # beside the bars, which leave no room
                self.ax_[1].legend(title="neuron", fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
        elif shape is None:
            self._matrix(self.ax_[0], self.mean, **_around_0(self.mean))
            self._matrix(self.ax_[1], _log(self.variance), cmap=VALUES)
        else:
            self._images(shape)
        if not self.variance.any():
            middle = {"ha": "center", "va": "center", "transform": self.ax_[1].transAxes}
            self.ax_[1].text(0.5, 0.5, "all weights are known", **middle)
        return self

    def _bars(self, axes: Any, values: np.ndarray, spread: np.ndarray | None) -> None:
        fan_in, n_units = values.shape
        width = 0.8 / n_units
        for unit, name in enumerate(self.unit_names):
            place = np.arange(fan_in) + (unit - 0.5 * (n_units - 1)) * width
            errors = None if spread is None else spread[:, unit]
            bars = {"color": PALETTE[unit % len(PALETTE)], "ecolor": ink(axes), "capsize": min(3, 20 * width)}
            axes.bar(place, values[:, unit], width, yerr=errors, label=str(name), **bars)
        axes.axhline(0, color=ink(axes), linewidth=0.8)
        axes.set_xticks(np.arange(fan_in), self.input_names, rotation=rotation_of(self.input_names))
        axes.set_xlabel("input")

    def _matrix(self, axes: Any, values: np.ndarray, **style: Any) -> None:
        picture = axes.imshow(values.T, aspect="auto", interpolation="nearest", **style)
        ticks(axes.xaxis, self.input_names)
        ticks(axes.yaxis, self.unit_names)
        axes.set(xlabel="input", ylabel="neuron")
        axes.figure.colorbar(picture, ax=axes)

    def _images(self, shape: tuple[int, int, int]) -> None:
        """An image for each neuron, with its channels side by side or their root mean square."""
        n_units, n_channels = self.mean.shape[1], shape[2]
        mean, variance = (np.moveaxis(part.reshape(*shape, n_units), 3, 0) for part in (self.mean, self.variance))
        style, notes = _around_0(mean), ("", "")
        if n_channels > _SIDE_BY_SIDE:
            mean, variance = np.sqrt((mean**2).mean(axis=3, keepdims=True)), variance.mean(axis=3, keepdims=True)
            style = {"cmap": VALUES, "vmin": 0}
            notes = f"\nroot mean square of {n_channels} channels", f"\nmean variance of {n_channels} channels"
        elif n_channels > 1:
            notes = (f"\n{n_channels} channels side by side",) * 2
        drawn = (mean, style), (_log(variance), {"cmap": VALUES})
        for axes, (values, colors), note in zip(self.ax_, drawn, notes, strict=True):
            picture = axes.imshow(_mosaic(values), interpolation="nearest", **colors)
            axes.set_title(axes.get_title() + note)
            axes.set_axis_off()
            axes.figure.colorbar(picture, ax=axes, shrink=0.8)

    def _checked(self, image_shape: Any) -> tuple[int, int, int] | None:
        """Height, width and channels that hold the inputs."""
        if image_shape is None:
            return None
        if len(image_shape) not in (2, 3) or min(image_shape) < 1 or np.prod(image_shape) != len(self.mean):
            raise ValueError(
                f"image_shape must be (height, width) or (height, width, n_channels) of {len(self.mean)} inputs in "
                f"all, got {image_shape!r}. Leave it out for the kernels of a Convolution."
            )
        height, width, n_channels = (*image_shape, 1)[:3]
        return height, width, n_channels


def _kernel_shape(model: Any, layer: int) -> tuple[int, int, int] | None:
    """Height, width and channels of the kernels, if the layer is a convolution, of a pooled map too."""
    connections = getattr(getattr(model, "network_", None), "connections", None)
    if connections is None:
        return None
    connection = getattr(connections[layer], "connection", connections[layer])
    return getattr(connection, "kernel_shape", None)


def _log(variance: np.ndarray) -> np.ndarray:
    """Log variances; of known weights they are minus infinity, which stays blank."""
    return np.log(variance, out=np.full_like(variance, np.nan), where=variance > 0)


def _around_0(mean: np.ndarray) -> dict[str, Any]:
    """Colours with 0 in the middle."""
    limit = np.abs(mean).max() or 1.0
    return {"cmap": SIGNED, "vmin": -limit, "vmax": limit}


def _unit_indices(units: ArrayLike | None, n_units: int) -> np.ndarray:
    """Indices of the neurons asked for, all with None."""
    chosen = np.arange(n_units) if units is None else np.atleast_1d(np.asarray(units))
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu" or not ((chosen >= -n_units) & (chosen < n_units)).all():
        raise ValueError(f"units must be integers from {-n_units} to {n_units - 1}, got {units!r}.")
    return chosen


def _mosaic(images: np.ndarray) -> np.ndarray:
    """Images, shape (n_units, height, width, n_channels), in reading order with a blank line between them.

    Channels are side by side; where there are several, images are two lines apart.
    """
    n_units, height, width, n_channels = images.shape
    apart = min(n_channels, 2)
    across = n_channels * (width + 1) - 1
    columns = min(n_units, ceil(sqrt(n_units * (height + apart) / (across + apart))))
    rows = ceil(n_units / columns)
    tiles = np.full((rows * columns, height + apart, n_channels, width + 1), np.nan)
    tiles[:n_units, :height, :, :width] = images.transpose(0, 1, 3, 2)
    tiles = tiles.reshape(rows * columns, height + apart, -1)
    tiles = np.pad(tiles, ((0, 0), (0, 0), (0, apart - 1)), constant_values=np.nan)
    tiled = tiles.reshape(rows, columns, height + apart, -1).transpose(0, 2, 1, 3)
    return tiled.reshape(rows * (height + apart), -1)[:-apart, :-apart]
