"""How training went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from sk_epsnn.plotting._common import PALETTE, line_style, network_of, panels


class ConvergenceDisplay:
    """Course of training: energy after each pass and step of each batch.

    Use `from_estimator` to make one from a fitted network.

    Parameters
    ----------
    history : dict of lists of float
        As ``history_``: "energy" per sample after each pass or call of ``partial_fit``, in nats, and "step" of each
        batch, a fraction of the Newton step or the damping. A regressor that chose its hidden temperature on held-out
        rows has their "held_out" log densities in nats at each "temperature" tried.

    Attributes
    ----------
    ax_ : ndarray of matplotlib axes of shape (2,) or (3,)
        Axes of the energy, of the steps and, where temperatures were tried, of the log density of held-out rows.
    figure_ : matplotlib figure
        Figure that they are part of.

    Raises
    ------
    ValueError
        If "energy" or "step" is missing.

    Examples
    --------
    >>> from sk_epsnn import ConvergenceDisplay
    >>> display = ConvergenceDisplay({"energy": [-1.2, -0.8], "step": [1.0, 0.5, 1.0, 1.0]}).plot()
    >>> [axes.get_xlabel() for axes in display.ax_]
    ['pass', 'batch']
    """

    def __init__(self, history: Mapping[str, Sequence[float]]) -> None:
        missing = [name for name in ("energy", "step") if name not in history]
        if missing:
            raise ValueError(f"history has no {' and no '.join(missing)}; pass history_ of a fitted estimator.")
        self.history = {name: np.asarray(values, dtype=float) for name, values in history.items()}

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Draw the course of the training of a fitted network.

        Parameters
        ----------
        estimator : EPSNNClassifier or EPSNNRegressor
            Fitted, or a fitted pipeline or search that ends in one.
        ax : matplotlib axes or several of them, default=None
            See `plot`.

        Returns
        -------
        display : ConvergenceDisplay

        Raises
        ------
        TypeError
            If the estimator is not a network.
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        """
        return cls(network_of(estimator, cls.__name__, "history_").history_).plot(ax=ax)

    def plot(self, *, ax: Any = None, **kwargs: Any) -> Self:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib axes or several of them, default=None
            Where to draw: as many axes as there are panels, or one whose place they take. None makes a new figure.
        **kwargs
            Passed to ``matplotlib.axes.Axes.plot``.

        Returns
        -------
        self : ConvergenceDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If ``ax`` is not axes, or not as many as there are panels.
        """
        held_out = len(self.history.get("held_out", ())) > 1
        self.ax_ = panels(ax, 3 if held_out else 2)
        self.figure_ = self.ax_[0].figure
        energy, step = self.history["energy"], self.history["step"]
        line = line_style(kwargs, marker="o", color=PALETTE[0])
        self.ax_[0].plot(np.arange(1, len(energy) + 1), energy, **line)
        self.ax_[0].set(xlabel="pass", ylabel="energy per sample (nats)", title="Energy")
        style = line_style(kwargs, marker=".", linestyle="" if len(step) > 1 else "-", color=PALETTE[0])
        self.ax_[1].plot(np.arange(1, len(step) + 1), step, **style)
        self.ax_[1].set(xlabel="batch", ylabel="step", ylim=(0, None), title="Steps")
        if held_out:
            self._held_out(self.ax_[2], line)
        for axes in self.ax_:
            axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        return self

    def _held_out(self, axes: Any, line: dict[str, Any]) -> None:
        density = self.history["held_out"]
        tried = np.arange(1, len(density) + 1)
        axes.plot(tried, density, **line)
        style = {"textcoords": "offset points", "ha": "center", "fontsize": "small"}
        for place, value, temperature in zip(tried, density, self.history["temperature"], strict=True):
            axes.annotate(f"{temperature:g}", (place, value), (0, 5), **style)
        axes.margins(y=0.15)
        axes.set(xlabel="attempt", ylabel="log density per row (nats)", title="Held out, by temperature")
