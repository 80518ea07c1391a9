"""Whether probabilities of classes come true as often as they say."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array, check_consistent_length, column_or_1d

from sk_epsnn._arrays import argument_to_numpy, to_numpy
from sk_epsnn._nesting import last_step
from sk_epsnn.plotting._common import NEUTRAL, line_style, new_or_given, next_color, one_of

_DIAGONAL = "perfect calibration"
#: Areas of the points, in squared points: the least, and what the fullest bin has more.
_LEAST_AREA, _MORE_AREA = 8, 100


class ReliabilityDisplay:
    """Reliability diagram of a classifier of any number of classes.

    Predictions are sorted into bins by their confidence, the probability of the most probable class. In each bin the
    share of right predictions should be the mean confidence.

    Use `from_estimator` or `from_predictions` to make one.

    Parameters
    ----------
    confidence : ndarray of shape (n_bins,)
        Mean confidence in each bin that is not empty.
    accuracy : ndarray of shape (n_bins,)
        Share of right predictions.
    count : ndarray of shape (n_bins,)
        Number of predictions.
    name : str, default=None
        Name in the legend.

    Attributes
    ----------
    ece : float
        Expected calibration error [1]_: the mean of ``abs(accuracy - confidence)`` over all predictions.
    line_ : matplotlib line
        Accuracy against confidence.
    ax_ : matplotlib axes
        Axes of the picture.
    figure_ : matplotlib figure
        Figure that they are part of.

    See Also
    --------
    sklearn.calibration.CalibrationDisplay : The same for one class of two.

    References
    ----------
    .. [1] C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On calibration of modern neural networks", ICML 2017.

    Examples
    --------
    >>> from sk_epsnn import ReliabilityDisplay
    >>> display = ReliabilityDisplay.from_predictions([0, 1, 2], [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.8, 0.1, 0.1]])
    >>> round(display.ece, 3)
    0.133
    """

    def __init__(
        self, confidence: np.ndarray, accuracy: np.ndarray, count: np.ndarray, *, name: str | None = None
    ) -> None:
        self.confidence, self.accuracy, self.count = (np.asarray(part) for part in (confidence, accuracy, count))
        self.name = name
        self.ece = float(np.average(np.abs(self.accuracy - self.confidence), weights=self.count))

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        *,
        n_bins: int = 15,
        strategy: str = "uniform",
        name: str | None = None,
        ax: Any = None,
    ) -> Self:
        """Draw the reliability of a fitted classifier.

        Parameters
        ----------
        estimator : object
            Any fitted classifier with ``predict_proba``, a pipeline or a search among them.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows that the classifier was not trained on.
        y : array-like of shape (n_samples,)
            Their classes.
        n_bins : int, default=15
            Number of bins, at least 1.
        strategy : {"uniform", "quantile"}, default="uniform"
            Bins of equal width in [0, 1], or of equally many predictions.
        name : str, default=None
            Name in the legend; None is the name of the class.
        ax : matplotlib axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : ReliabilityDisplay

        Raises
        ------
        TypeError
            If the estimator has no ``predict_proba``.
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        """
        if not hasattr(estimator, "predict_proba"):
            raise TypeError(f"{cls.__name__} needs a classifier with predict_proba, got {type(estimator).__name__}.")
        probability = estimator.predict_proba(X)
        return cls.from_predictions(
            y,
            probability,
            classes=to_numpy(estimator.classes_),
            n_bins=n_bins,
            strategy=strategy,
            name=type(last_step(estimator)[0]).__name__ if name is None else name,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_proba: ArrayLike,
        *,
        classes: ArrayLike | None = None,
        n_bins: int = 15,
        strategy: str = "uniform",
        name: str | None = None,
        ax: Any = None,
    ) -> Self:
        """Draw the reliability of predicted probabilities.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            Classes.
        y_proba : array-like of shape (n_samples, n_classes)
            Probabilities.
        classes : array-like of shape (n_classes,), default=None
            Class of each column; None is what occurs in ``y_true``, in ascending order.
        n_bins : int, default=15
            Number of bins, at least 1.
        strategy : {"uniform", "quantile"}, default="uniform"
            Bins of equal width in [0, 1], or of equally many predictions.
        name : str, default=None
            Name in the legend.
        ax : matplotlib axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : ReliabilityDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the shapes do not agree, probabilities lie outside [0, 1] or a parameter is not valid.
        """
        one_of("strategy", strategy, ("uniform", "quantile"))
        if not isinstance(n_bins, int | np.integer) or n_bins < 1:
            raise ValueError(f"n_bins must be a positive integer, got {n_bins!r}.")
        probability = _probabilities(y_proba)
        y_true = column_or_1d(argument_to_numpy(y_true))
        check_consistent_length(y_true, probability)
        names = np.unique(y_true) if classes is None else np.asarray(classes)
        if names.shape != (probability.shape[1],):
            raise ValueError(
                f"y_proba has {probability.shape[1]} columns, but there are {len(names)} classes; say by classes=... "
                "what each column stands for."
            )
        confidence, right = probability.max(axis=1), names[probability.argmax(axis=1)] == y_true
        if strategy == "uniform":
            bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
        else:
            bins = np.empty(len(confidence), dtype=int)
            bins[np.argsort(confidence, kind="stable")] = np.arange(len(confidence)) * n_bins // len(confidence)
        count = np.bincount(bins, minlength=n_bins)
        filled = count > 0
        means = [np.bincount(bins, part, minlength=n_bins)[filled] / count[filled] for part in (confidence, right)]
        return cls(means[0], means[1], count[filled], name=name).plot(ax=ax)

    def plot(self, *, ax: Any = None, name: str | None = None, ref_line: bool = True, **line_kw: Any) -> Self:
        """Draw the display; several on the same axes compare classifiers.

        Larger points stand for more predictions. The grey band is one standard deviation, from the number of
        predictions in a bin, of the share of right ones if the classifier is calibrated.

        Parameters
        ----------
        ax : matplotlib axes, default=None
            Where to draw; None makes a new figure.
        name : str, default=None
            Name in the legend; None is that of the display.
        ref_line : bool, default=True
            Whether to draw the line of perfect calibration, with the band around it.
        **line_kw
            Passed to ``matplotlib.axes.Axes.plot``.

        Returns
        -------
        self : ReliabilityDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        self.ax_ = new_or_given(ax)
        self.figure_ = self.ax_.figure
        if ref_line:
            if _DIAGONAL not in self.ax_.get_legend_handles_labels()[1]:
                self.ax_.plot([0, 1], [0, 1], "--", color=NEUTRAL, label=_DIAGONAL)
            chance = np.sqrt(self.confidence * (1 - self.confidence) / self.count)
            low, high = (np.clip(self.confidence + sign * chance, 0, 1) for sign in (-1, 1))
            self.ax_.fill_between(self.confidence, low, high, color=NEUTRAL, alpha=0.2, linewidth=0)
        label = f"{name or self.name or 'classifier'}, ECE {self.ece:.3f}"
        style = line_style(line_kw, label=label, clip_on=False, color=next_color(self.ax_))
        (self.line_,) = self.ax_.plot(self.confidence, self.accuracy, **style)
        area = _LEAST_AREA + _MORE_AREA * np.sqrt(self.count / self.count.max())
        self.ax_.scatter(self.confidence, self.accuracy, area, color=self.line_.get_color(), clip_on=False, zorder=3)
        self.ax_.set(xlabel="confidence", ylabel="share of right predictions", xlim=(0, 1), ylim=(0, 1))
        self.ax_.legend()
        return self


def _probabilities(y_proba: ArrayLike) -> np.ndarray:
    kinds = {"dtype": [np.float64, np.float32], "ensure_2d": False}
    probability = check_array(argument_to_numpy(y_proba), input_name="y_proba", **kinds)
    if probability.ndim < 2 or probability.shape[1] < 2:
        raise ValueError("y_proba needs a column for each class, as predict_proba gives them; got one column.")
    if probability.min() < 0 or probability.max() > 1 + 1e-5:
        raise ValueError("y_proba must hold probabilities between 0 and 1; pass the result of predict_proba.")
    return np.minimum(probability, 1)
