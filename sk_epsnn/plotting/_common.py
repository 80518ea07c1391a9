"""What the displays share: colours, axes to draw on, the network to show, checks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from sk_epsnn._nesting import last_step

#: Size of a figure of one panel, and of each of several, in inches: such that writing is read on a page of text.
_ALONE, _EACH = (5.5, 4.0), (3.7, 3.3)

#: Colours of M. Okabe and K. Ito, which the colour-blind tell apart, in the order of use: blue, vermilion, green,
#: purple, orange, sky blue. Without their black and yellow all stand out from white and from dark grounds.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
#: Grey of data and of lines that only guide the eye.
NEUTRAL = "#808080"
#: Colour maps of matplotlib: of values around 0, of any others, and of shares from 0 to 1.
SIGNED, VALUES, SHARES = "RdBu_r", "viridis", "Greys"


def ink(axes: Any) -> Any:
    """The colour of writing on these axes: black, or what a dark style of matplotlib says."""
    return axes.xaxis.label.get_color()


def next_color(axes: Any) -> str:
    """The first colour of the palette that no line on these axes has, so that displays can share axes."""
    from matplotlib.colors import to_hex

    taken = {to_hex(line.get_color()).upper() for line in axes.lines}
    return next((color for color in PALETTE if color not in taken), PALETTE[len(axes.lines) % len(PALETTE)])


def line_style(given: dict[str, Any], **style: Any) -> dict[str, Any]:
    """A style of lines, but for what the user has given, by whatever name ("c" is "color")."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    return {**style, **normalize_kwargs(given, Line2D)}


def new_or_given(ax: Any) -> Any:
    """The axes given, or those of a new figure."""
    return panels(ax, 1)[0]


def panels(ax: Any, n_panels: int) -> np.ndarray:
    """Axes side by side: those given, a new figure's, or ones that share the place of the single axes given."""
    try:
        import matplotlib.pyplot as plt
        from matplotlib.axes import Axes
        from matplotlib.gridspec import GridSpecFromSubplotSpec
    except ImportError as error:
        raise ImportError('Pictures need matplotlib: pip install "sk_epsnn[plot]".') from error
    if ax is None:
        width, height = _ALONE if n_panels == 1 else _EACH
        _, axes = plt.subplots(1, n_panels, figsize=(width * n_panels, height), layout="constrained", squeeze=False)
        return axes[0]
    given = np.array(ax, dtype=object).ravel()
    if not all(isinstance(axes, Axes) for axes in given) or len(given) not in (1, n_panels):
        expected = "matplotlib axes" if n_panels == 1 else f"matplotlib axes or {n_panels} of them"
        raise ValueError(f"ax must be None or {expected}, got {ax!r}.")
    if len(given) == n_panels:
        return given
    (whole,) = given
    if whole.get_subplotspec() is None:
        raise ValueError(f"Axes that no grid placed cannot be divided; make {n_panels} with plt.subplots.")
    whole.set_axis_off()
    grid = GridSpecFromSubplotSpec(1, n_panels, subplot_spec=whole.get_subplotspec())
    return np.array([whole.figure.add_subplot(grid[place]) for place in range(n_panels)], dtype=object)


def network_of(estimator: Any, user: str, *offers: str) -> Any:
    """The fitted network inside of searches and pipelines, which must offer some fitted attributes."""
    model, _ = last_step(estimator)
    missing = [name for name in offers if not hasattr(type(model), name)]
    if missing:
        raise TypeError(
            f"{user} needs a network with {' and '.join(missing)}, such as EPSNNClassifier or EPSNNRegressor, or a "
            f"pipeline that ends in one, got {type(model).__name__}."
        )
    check_is_fitted(model)
    return model


def one_of(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Refuse a choice that does not exist."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}.")


def names_or_numbers(parameter: str, names: ArrayLike | None, n_names: int) -> np.ndarray:
    """Names given for a parameter, or numbers from 0."""
    result = np.arange(n_names) if names is None else np.asarray(names)
    if result.shape != (n_names,):
        raise ValueError(f"{parameter} must hold {n_names} names, got shape {result.shape}.")
    return result


def ticks(axis: Any, names: np.ndarray) -> None:
    """Name every row or column where there is room; elsewhere the axis counts them."""
    if len(names) <= 20:
        axis.set_ticks(np.arange(len(names)), names, rotation=rotation_of(names) if axis.axis_name == "x" else 0)


def rotation_of(names: np.ndarray) -> int:
    """Degrees by which names below an axis are turned: long ones stand upright."""
    return 90 if max(len(str(name)) for name in names) > 3 else 0
