"""What an encoder makes of its inputs."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array

from sk_epsnn._arrays import argument_to_numpy
from sk_epsnn._nesting import chosen
from sk_epsnn.encoders import Encoder
from sk_epsnn.plotting._common import new_or_given


class SpikeRasterDisplay:
    """Raster of spikes: a mark for each neuron that fires in a row of the data, or shades of grey for rates.

    Use `from_estimator` or `from_predictions` to make one.

    Parameters
    ----------
    activity : {array-like, sparse matrix} of shape (n_samples, n_neurons)
        Spikes, 0 or 1, or rates in [0, 1].

    Attributes
    ----------
    ax_ : matplotlib axes
        Axes of the picture.
    figure_ : matplotlib figure
        Figure that they are part of.

    Raises
    ------
    ValueError
        If ``activity`` has NaN or values outside [0, 1].

    Examples
    --------
    >>> from sk_epsnn import PopulationEncoder, SpikeRasterDisplay
    >>> X = [[0.0], [0.5], [1.0]]
    >>> encoder = PopulationEncoder(20, random_state=0).fit(X)
    >>> SpikeRasterDisplay.from_estimator(encoder, X).activity.shape
    (3, 20)
    """

    def __init__(self, activity: Any) -> None:
        self.activity = check_array(argument_to_numpy(activity), accept_sparse="csr", input_name="activity")
        if sparse.issparse(self.activity):
            self.activity = self.activity.toarray()
        if self.activity.min() < 0 or self.activity.max() > 1:
            raise ValueError("activity must hold spikes (0 or 1) or rates in [0, 1]; encode the features first.")

    @classmethod
    def from_estimator(cls, estimator: Any, X: ArrayLike, *, ax: Any = None) -> Self:
        """Draw what a fitted encoder makes of rows of data.

        Parameters
        ----------
        estimator : PopulationEncoder, another encoder or any transformer
            Fitted; of a pipeline that contains an encoder, or a search over one, the steps up to the last encoder are
            used.
        X : array-like of shape (n_samples, n_features)
            Rows in the order in which they shall be drawn.
        ax : matplotlib axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : SpikeRasterDisplay

        Raises
        ------
        TypeError
            If the estimator is a pipeline without an encoder, or no transformer.
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        """
        estimator = chosen(estimator)
        if isinstance(estimator, Pipeline) and not hasattr(estimator, "transform"):
            encoders = [isinstance(step, Encoder) for _, step in estimator.steps]
            if not any(encoders):
                raise TypeError(f"{cls.__name__} needs a pipeline with an encoder, such as PopulationEncoder.")
            estimator = estimator[: len(encoders) - encoders[::-1].index(True)]
        if not hasattr(estimator, "transform"):
            raise TypeError(
                f"{cls.__name__} needs an encoder, such as PopulationEncoder, got {type(estimator).__name__}."
            )
        return cls(estimator.transform(X)).plot(ax=ax)

    @classmethod
    def from_predictions(cls, activity: Any, *, ax: Any = None) -> Self:
        """Draw spikes or rates.

        Parameters
        ----------
        activity : {array-like, sparse matrix} of shape (n_samples, n_neurons)
            Spikes, 0 or 1, or rates in [0, 1].
        ax : matplotlib axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : SpikeRasterDisplay
        """
        return cls(activity).plot(ax=ax)

    def plot(self, *, ax: Any = None, **kwargs: Any) -> Self:
        """Draw the display, rows of the data from left to right and neurons from bottom to top.

        Parameters
        ----------
        ax : matplotlib axes, default=None
            Where to draw; None makes a new figure.
        **kwargs
            Passed to ``matplotlib.axes.Axes.scatter`` (spikes) or ``matplotlib.axes.Axes.imshow`` (rates).

        Returns
        -------
        self : SpikeRasterDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        self.ax_ = new_or_given(ax)
        self.figure_ = self.ax_.figure
        n_samples, n_neurons = self.activity.shape
        if np.isin(self.activity, (0, 1)).all():
            row, neuron = np.nonzero(self.activity)
            # A mark as high as the row of one neuron, within what can be seen.
            height = np.clip(200 / n_neurons, 1, 12)
            self.ax_.scatter(row, neuron, **{"s": height**2, "marker": "|", "color": "black", **kwargs})
            self.ax_.set(xlim=(-0.5, n_samples - 0.5), ylim=(-0.5, n_neurons - 0.5))
        else:
            style = {"cmap": "gray_r", "vmin": 0, "vmax": 1, "aspect": "auto", "interpolation": "nearest"}
            picture = self.ax_.imshow(self.activity.T, origin="lower", **{**style, **kwargs})
            self.figure_.colorbar(picture, ax=self.ax_, label="rate")
        self.ax_.set(xlabel="row", ylabel="neuron")
        return self
