"""Predictions of a regressor, with how far they may be off."""

from __future__ import annotations

from inspect import signature
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm
from sklearn.utils import check_array, check_consistent_length, column_or_1d

from sk_epsnn._nesting import last_step
from sk_epsnn.plotting._common import NEUTRAL, line_style, new_or_given, next_color

#: Points of the automatic grid.
_GRID = 200


class PredictionBandDisplay:
    """Predicted mean of a regressor along one feature, with the band in which new observations are expected.

    A darker band inside, where the estimator tells it, is that of the curve without noise: the part of the uncertainty
    that comes from not knowing the weights.

    Use `from_estimator` or `from_predictions` to make one.

    Parameters
    ----------
    x : array-like of shape (n_points,)
        Values of the feature.
    mean : array-like of shape (n_points,)
        Predictions.
    std : array-like of shape (n_points,)
        Standard deviations of new observations, noise included.
    epistemic_std : array-like of shape (n_points,), default=None
        Standard deviations that come from not knowing the weights.
    x_data, y_data : array-like of shape (n_samples,), default=None
        Observations to draw as points.
    feature_name : str, default="x"
        Label of the horizontal axis.

    Attributes
    ----------
    line_ : matplotlib line
        The mean.
    ax_ : matplotlib axes
        Axes of the picture.
    figure_ : matplotlib figure
        Figure that they are part of.

    Raises
    ------
    ValueError
        If lengths differ.

    Examples
    --------
    >>> from sk_epsnn import PredictionBandDisplay
    >>> display = PredictionBandDisplay.from_predictions([1.0, 0.0], mean=[3.0, 2.0], std=[0.2, 0.1])
    >>> display.line_.get_ydata().tolist()
    [2.0, 3.0]
    """

    def __init__(
        self,
        x: ArrayLike,
        mean: ArrayLike,
        std: ArrayLike,
        *,
        epistemic_std: ArrayLike | None = None,
        x_data: ArrayLike | None = None,
        y_data: ArrayLike | None = None,
        feature_name: str = "x",
    ) -> None:
        self.x, self.mean, self.std = (column_or_1d(part, dtype=float) for part in (x, mean, std))
        self.epistemic_std = None if epistemic_std is None else column_or_1d(epistemic_std, dtype=float)
        check_consistent_length(self.x, self.mean, self.std, self.epistemic_std)
        if (x_data is None) != (y_data is None):
            raise ValueError("x_data and y_data go together: pass both or neither.")
        self.x_data = None if x_data is None else column_or_1d(x_data, dtype=float)
        self.y_data = None if y_data is None else column_or_1d(y_data, dtype=float)
        check_consistent_length(self.x_data, self.y_data)
        self.feature_name = feature_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        feature: int | str = 0,
        target: int = 0,
        grid: ArrayLike | None = None,
        level: float = 0.95,
        ax: Any = None,
    ) -> Self:
        """Draw the predictions of a fitted regressor along one feature.

        Parameters
        ----------
        estimator : object
            Any fitted regressor whose ``predict`` knows ``return_std``, or a pipeline or search that ends in one.
        X : array-like or data frame of shape (n_samples, n_features)
            Rows that say where to draw: the feature runs over its range here, every other feature stays at its median.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Targets, to draw as points.
        feature : int or str, default=0
            Which column of X, by its number or, in a data frame, its name.
        target : int, default=0
            Which output, where there are several.
        grid : array-like of shape (n_points,), default=None
            Values of the feature; None is 200 of them over its range in X.
        level : float, default=0.95
            Probability of the bands, between 0 and 1.
        ax : matplotlib axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : PredictionBandDisplay

        Raises
        ------
        TypeError
            If ``predict`` of the estimator has no ``return_std``.
        ValueError
            If there is no such feature or target.
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        """
        model, before = last_step(estimator)
        if not hasattr(model, "predict") or "return_std" not in signature(model.predict).parameters:
            raise TypeError(
                f"{cls.__name__} needs a regressor with predict(X, return_std=True), such as EPSNNRegressor, "
                f"got {type(model).__name__}."
            )
        values = check_array(X)
        names = [str(name) for name in getattr(X, "columns", (f"x{i}" for i in range(values.shape[1])))]
        index = names.index(feature) if feature in names else _index("feature", feature, len(names))
        x = np.linspace(values[:, index].min(), values[:, index].max(), _GRID) if grid is None else column_or_1d(grid)
        rows = _like_frame(_along(values, index, x), X)
        for transformer in before:
            rows = transformer.transform(rows)
        mean, std = model.predict(rows, return_std=True)
        uncertain = model.predict_uncertainty(rows) if hasattr(model, "predict_uncertainty") else None
        uncertain = getattr(uncertain, "epistemic", None)  # weights may be points, that nobody is uncertain about
        parts = [mean, std] if uncertain is None else [mean, std, np.sqrt(uncertain)]
        mean, std, *epistemic = (_output(part, target) for part in parts)
        display = cls(
            x,
            mean,
            std,
            epistemic_std=epistemic[0] if epistemic else None,
            x_data=None if y is None else values[:, index],
            y_data=None if y is None else _output(np.asarray(y), target),
            feature_name=names[index],
        )
        return display.plot(level=level, ax=ax)

    @classmethod
    def from_predictions(
        cls,
        x: ArrayLike,
        *,
        mean: ArrayLike,
        std: ArrayLike,
        epistemic_std: ArrayLike | None = None,
        x_data: ArrayLike | None = None,
        y_data: ArrayLike | None = None,
        feature_name: str = "x",
        level: float = 0.95,
        ax: Any = None,
    ) -> Self:
        """Draw predictions.

        Parameters
        ----------
        x : array-like of shape (n_points,)
            Values of the feature.
        mean : array-like of shape (n_points,)
            Predictions.
        std : array-like of shape (n_points,)
            Standard deviations of new observations, noise included.
        epistemic_std : array-like of shape (n_points,), default=None
            Standard deviations that come from not knowing the weights.
        x_data : array-like of shape (n_samples,), default=None
            Values of the feature in the observations to draw as points.
        y_data : array-like of shape (n_samples,), default=None
            Targets of these observations.
        feature_name : str, default="x"
            Label of the horizontal axis.
        level : float, default=0.95
            Probability of the bands, between 0 and 1.
        ax : matplotlib axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : PredictionBandDisplay
        """
        display = cls(
            x, mean, std, epistemic_std=epistemic_std, x_data=x_data, y_data=y_data, feature_name=feature_name
        )
        return display.plot(level=level, ax=ax)

    def plot(self, *, level: float = 0.95, ax: Any = None, **line_kw: Any) -> Self:
        """Draw the display.

        Parameters
        ----------
        level : float, default=0.95
            Probability of the bands, between 0 and 1: that of a Gaussian around the mean.
        ax : matplotlib axes, default=None
            Where to draw; None makes a new figure.
        **line_kw
            Passed to ``matplotlib.axes.Axes.plot``, for the mean.

        Returns
        -------
        self : PredictionBandDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If ``level`` is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ValueError(f"level must be between 0 and 1, got {level!r}.")
        self.ax_ = new_or_given(ax)
        self.figure_ = self.ax_.figure
        order = np.argsort(self.x, kind="stable")
        x, mean = self.x[order], self.mean[order]
        if self.x_data is not None:
            points = {"color": NEUTRAL, "alpha": 0.5, "markersize": 4, "markeredgewidth": 0}
            self.ax_.plot(self.x_data, self.y_data, "o", label="data", zorder=1, **points)
        style = line_style(line_kw, label="mean", color=next_color(self.ax_))
        (self.line_,) = self.ax_.plot(x, mean, **style)
        bands = [(self.std, 0.2, f"{level:.0%} of observations")]
        if self.epistemic_std is not None:
            bands.append((self.epistemic_std, 0.4, f"{level:.0%}, weights only"))
        for std, alpha, label in bands:
            reach = norm.ppf(0.5 + 0.5 * level) * std[order]
            style = {"color": self.line_.get_color(), "alpha": alpha, "linewidth": 0}
            self.ax_.fill_between(x, mean - reach, mean + reach, label=label, **style)
        self.ax_.set(xlabel=self.feature_name, ylabel="target")
        self.ax_.legend(fontsize="small")
        return self


def _index(name: str, value: Any, n_values: int) -> int:
    if not isinstance(value, Integral) or not 0 <= int(value) < n_values:
        raise ValueError(f"{name} must be an integer from 0 to {n_values - 1} (or a column's name), got {value!r}.")
    return int(value)


def _output(values: np.ndarray, target: int) -> np.ndarray:
    """The column of one target."""
    columns = values.reshape(len(values), -1)
    return columns[:, _index("target", target, columns.shape[1])]


def _along(values: np.ndarray, index: int, x: np.ndarray) -> np.ndarray:
    """Rows in which one feature runs over a grid and the others stay at their medians."""
    rows = np.tile(np.median(values, axis=0), (len(x), 1))
    rows[:, index] = x
    return rows


def _like_frame(rows: np.ndarray, X: Any) -> Any:
    """The rows as a data frame with the names of another, if that is one."""
    if hasattr(X, "iloc"):
        return type(X)(rows, columns=X.columns)
    return type(X)(rows, schema=X.columns) if hasattr(X, "schema") else rows
