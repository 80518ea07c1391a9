"""What an encoder makes of its inputs."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array

from sk_epsnn._arrays import argument_to_numpy
from sk_epsnn._nesting import chosen
from sk_epsnn._sequences import has_steps, lengths
from sk_epsnn.encoders import Encoder
from sk_epsnn.plotting._common import SHARES, ink, names_or_numbers, new_or_given, ticks


class SpikeRasterDisplay:
    """Raster of spikes: a mark for each neuron that fires in a row of the data, or shades of grey for rates.

    Of data with steps in time it shows one sample, whose rows are its steps. Use `from_estimator` or `from_predictions`
    to make one.

    Parameters
    ----------
    activity : {array-like, sparse matrix} of shape (n_samples, n_neurons) or (n_samples, n_steps, n_neurons)
        Spikes, 0 or 1, or rates in [0, 1]; NaN after the end of a sample that has fewer steps than others.
    sample : int, default=None
        Which sample of those with steps in time; None is the first.
    neuron_names : array-like of str of shape (n_neurons,), default=None
        Names of the neurons, which are shown where there is room for them; None for none.

    Attributes
    ----------
    activity : ndarray of shape (n_samples, n_neurons) or (n_steps, n_neurons)
        What is drawn: the rows, or the steps that the sample has.
    ax_ : matplotlib axes
        Axes of the picture.
    figure_ : matplotlib figure
        Figure that they are part of.

    Raises
    ------
    ValueError
        If ``activity`` has NaN elsewhere or values outside [0, 1], or if there is no such sample.

    Examples
    --------
    >>> from sk_epsnn import PopulationEncoder, SpikeRasterDisplay
    >>> X = [[0.0], [0.5], [1.0]]
    >>> encoder = PopulationEncoder(20, random_state=0).fit(X)
    >>> SpikeRasterDisplay.from_estimator(encoder, X).activity.shape
    (3, 20)
    """

    def __init__(self, activity: Any, *, sample: int | None = None, neuron_names: ArrayLike | None = None) -> None:
        activity = argument_to_numpy(activity)
        self._row = "step" if has_steps(activity) else "row"
        if has_steps(activity):
            activity = _steps_of(activity, 0 if sample is None else sample)
        elif sample is not None:
            raise ValueError(
                "sample is for activity of shape (n_samples, n_steps, n_neurons); leave it out, or give one sample as "
                "activity[np.newaxis]."
            )
        self.activity = check_array(activity, accept_sparse="csr", input_name="activity")
        if sparse.issparse(self.activity):
            self.activity = self.activity.toarray()
        if self.activity.min() < 0 or self.activity.max() > 1:
            raise ValueError("activity must hold spikes (0 or 1) or rates in [0, 1]; encode the features first.")
        n_neurons = self.activity.shape[1]
        self.neuron_names = None
        if neuron_names is not None:
            self.neuron_names = names_or_numbers("neuron_names", neuron_names, n_neurons)

    @classmethod
    def from_estimator(cls, estimator: Any, X: ArrayLike, *, sample: int | None = None, ax: Any = None) -> Self:
        """Draw what a fitted encoder makes of rows of data, or of one of them in the steps of time.

        Parameters
        ----------
        estimator : PopulationEncoder, another encoder or any transformer
            Fitted; of a pipeline that contains an encoder, or a search over one, the steps up to the last encoder are
            used.
        X : array-like of shape (n_samples, n_features) or (n_samples, n_steps, n_features)
            Rows in the order in which they shall be drawn.
        sample : int, default=None
            Which sample, where the encoder gives steps in time; None is the first.
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
        last = estimator[-1] if isinstance(estimator, Pipeline) else estimator
        activity = estimator.transform(X)
        names = last.get_feature_names_out() if isinstance(last, Encoder) else None
        return cls(activity, sample=sample, neuron_names=names).plot(ax=ax)

    @classmethod
    def from_predictions(
        cls,
        activity: Any,
        *,
        sample: int | None = None,
        neuron_names: ArrayLike | None = None,
        ax: Any = None,
    ) -> Self:
        """Draw spikes or rates.

        Parameters
        ----------
        activity : {array-like, sparse matrix} of shape (n_samples, n_neurons) or (n_samples, n_steps, n_neurons)
            Spikes, 0 or 1, or rates in [0, 1]; NaN after the end of a sample that has fewer steps than others.
        sample : int, default=None
            Which sample of those with steps in time; None is the first.
        neuron_names : array-like of str of shape (n_neurons,), default=None
            Names of the neurons, which are shown where there is room for them; None for none.
        ax : matplotlib axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : SpikeRasterDisplay
        """
        return cls(activity, sample=sample, neuron_names=neuron_names).plot(ax=ax)

    def plot(self, *, ax: Any = None, **kwargs: Any) -> Self:
        """Draw the display, rows or steps from left to right and neurons from bottom to top.

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
        n_rows, n_neurons = self.activity.shape
        if np.isin(self.activity, (0, 1)).all():
            row, neuron = np.nonzero(self.activity)
            # A mark as high as the row of one neuron, within what can be seen.
            height = np.clip(200 / n_neurons, 1, 12)
            color = {} if "c" in kwargs else {"color": ink(self.ax_)}
            self.ax_.scatter(row, neuron, **{"s": height**2, "marker": "|", **color, **kwargs})
            self.ax_.set(xlim=(-0.5, n_rows - 0.5), ylim=(-0.5, n_neurons - 0.5))
        else:
            style = {"cmap": SHARES, "vmin": 0, "vmax": 1, "aspect": "auto", "interpolation": "nearest"}
            picture = self.ax_.imshow(self.activity.T, origin="lower", **{**style, **kwargs})
            self.figure_.colorbar(picture, ax=self.ax_, label="rate")
        self.ax_.set(xlabel=self._row, ylabel="neuron")
        if self.neuron_names is not None:
            ticks(self.ax_.yaxis, self.neuron_names)
        return self


def _steps_of(activity: Any, sample: int) -> np.ndarray:
    """The steps that one of several samples has."""
    activity = check_array(activity, allow_nd=True, ensure_all_finite=False, input_name="activity")
    n_samples = len(activity)
    if not isinstance(sample, Integral) or not -n_samples <= sample < n_samples:
        raise ValueError(f"sample must be an integer from {-n_samples} to {n_samples - 1}, got {sample!r}.")
    n_steps = lengths(activity)[sample]
    if n_steps == 0:
        raise ValueError(f"sample={sample} has no step that is not NaN; choose another one.")
    return activity[sample, :n_steps]
