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

    Attributes
    ----------
    ax_ : ndarray of matplotlib axes of shape (2,)
        Axes of the means and of the log variances.
    figure_ : matplotlib figure
        Figure that they are part of.

    Raises
    ------
    ValueError
        If the shapes do not agree or a variance is negative.

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

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        layer: int = 0,
        units: ArrayLike | None = None,
        kind: str = "auto",
        image_shape: tuple[int, int] | None = None,
        ax: Any = None,
    ) -> Self:
        """Draw the weights of one layer of a fitted network.

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
        image_shape : (height, width), default=None
            See `plot`.
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
            If there is no such layer or neuron.
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
        names = getattr(model, "feature_names_in_", None) if layer in (0, -n_layers) else None
        display = cls(mean[:, chosen], variance[:, chosen], input_names=names, unit_names=unit_names[chosen])
        return display.plot(kind=kind, image_shape=image_shape, ax=ax)

    def plot(self, *, kind: str = "auto", image_shape: tuple[int, int] | None = None, ax: Any = None) -> Self:
        """Draw the display.

        Parameters
        ----------
        kind : {"auto", "image", "bar"}, default="auto"
            "bar" draws a bar for each weight, its mean with one standard deviation to either side. "image" draws one
            row for each neuron. "auto" is bars for up to 60 weights without an ``image_shape``.
        image_shape : (height, width), default=None
            Where the inputs are pixels: the weights of every neuron are drawn as an image of this shape.
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
        if image_shape is not None and (len(image_shape) != 2 or np.prod(image_shape) != len(self.mean)):
            raise ValueError(
                f"image_shape must be (height, width) of {len(self.mean)} inputs in all, got {image_shape!r}."
            )
        if kind == "auto":
            kind = "bar" if self.mean.size <= _BARS and image_shape is None else "image"
        elif kind == "bar" and image_shape is not None:
            raise ValueError("image_shape is for kind='image'; leave it out for bars.")
        self.ax_ = panels(ax, 2)
        self.figure_ = self.ax_[0].figure
        # Of known weights the log variance is minus infinity, which stays blank.
        log_variance = np.log(self.variance, out=np.full_like(self.variance, np.nan), where=self.variance > 0)
        limit = np.abs(self.mean).max() or 1.0
        if kind == "bar":
            self._bars(self.ax_[0], self.mean, np.sqrt(self.variance))
            self._bars(self.ax_[1], log_variance, None)
            if len(self.unit_names) > 1:  # beside the bars, which leave no room
                self.ax_[1].legend(title="neuron", fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
        else:
            self._image(self.ax_[0], self.mean, image_shape, cmap=SIGNED, vmin=-limit, vmax=limit)
            self._image(self.ax_[1], log_variance, image_shape, cmap=VALUES)
        self.ax_[0].set_title("Posterior mean")
        self.ax_[1].set_title("Posterior log variance")
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

    def _image(self, axes: Any, values: np.ndarray, image_shape: tuple[int, int] | None, **style: Any) -> None:
        if image_shape is None:
            picture = axes.imshow(values.T, aspect="auto", interpolation="nearest", **style)
            ticks(axes.xaxis, self.input_names)
            ticks(axes.yaxis, self.unit_names)
            axes.set(xlabel="input", ylabel="neuron")
        else:
            picture = axes.imshow(_mosaic(values, image_shape), interpolation="nearest", **style)
            axes.set_axis_off()
        axes.figure.colorbar(picture, ax=axes, shrink=1 if image_shape is None else 0.8)


def _unit_indices(units: ArrayLike | None, n_units: int) -> np.ndarray:
    """Indices of the neurons asked for, all with None."""
    chosen = np.arange(n_units) if units is None else np.atleast_1d(np.asarray(units))
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu" or not ((chosen >= -n_units) & (chosen < n_units)).all():
        raise ValueError(f"units must be integers from {-n_units} to {n_units - 1}, got {units!r}.")
    return chosen


def _mosaic(values: np.ndarray, image_shape: tuple[int, int]) -> np.ndarray:
    """Images of all neurons side by side, in reading order, with a blank line between them."""
    height, width = image_shape
    n_units = values.shape[1]
    columns = ceil(sqrt(n_units))
    rows = ceil(n_units / columns)
    tiles = np.full((rows * columns, height + 1, width + 1), np.nan)
    tiles[:n_units, :height, :width] = values.T.reshape(n_units, height, width)
    tiled = tiles.reshape(rows, columns, height + 1, width + 1).transpose(0, 2, 1, 3)
    return tiled.reshape(rows * (height + 1), columns * (width + 1))[:-1, :-1]
