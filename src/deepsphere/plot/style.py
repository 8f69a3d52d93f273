"""The house style of every picture: sizes, fonts and colors, applied without lasting effect."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from deepsphere.extras import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMN_WIDTH = 3.4
"""Width in inches of a one-column figure of a two-column journal (86 mm)."""

PAGE_WIDTH = 7.0
"""Width in inches of a figure across both columns (178 mm)."""

COLORS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#A6761D",
)
"""Line colors that color-blind readers can tell apart: the Okabe-Ito palette, its yellow
(too faint for a line on white) replaced by brown."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""Markers that go with `COLORS`, so that lines can be told apart in gray too."""

BLANK = "#dcdcdc"
"""Color of those parts of the sphere that hold no value."""

SEQUENTIAL = "viridis"
"""Color map of quantities that run from low to high; perceptually uniform."""

DIVERGING = "RdBu_r"
"""Color map of quantities with a meaningful zero; safe for color-blind readers."""

_SETTINGS: dict[str, Any] = {
    # One concrete family that matplotlib brings along: names like "sans-serif" are resolved only
    # when the figure is drawn, by then with the settings of whoever draws it.
    "font.family": ["DejaVu Sans"],
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0,
    "legend.title_fontsize": 7.0,
    "figure.titlesize": 9.5,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": True,
    "axes.formatter.limits": (-3, 4),
    "legend.frameon": False,
    "image.cmap": SEQUENTIAL,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
}


def house_style() -> AbstractContextManager[None]:
    """Apply the house style while the returned context is open.

    Returns
    -------
    context manager
        Sets matplotlib's parameters on entry and restores them on exit.

    Raises
    ------
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> with house_style():  # doctest: +SKIP
    ...     figure = new_figure(COLUMN_WIDTH, 2.5)
    """
    matplotlib = require("matplotlib", "plot")
    return matplotlib.rc_context({"axes.prop_cycle": _color_cycle(), **_SETTINGS})


_by_pyplot = ContextVar("_by_pyplot", default=False)


@contextmanager
def pyplot_figures() -> Iterator[None]:
    """Let pyplot know of the figures that are made while the returned context is open.

    For functions of the earlier code: notebooks show the figures that pyplot knows of.
    """
    require("matplotlib.pyplot", "plot")  # before a style is set: the import chooses a backend
    token = _by_pyplot.set(True)
    try:
        yield
    finally:
        _by_pyplot.reset(token)


def new_figure(width: float, height: float, layout: str = "compressed") -> Figure:
    """Make a figure that pyplot knows nothing of, so that it needs no closing.

    Inside of `pyplot_figures`, pyplot knows of it.

    Parameters
    ----------
    width, height : float
        Size in inches.
    layout : str, default "compressed"
        How matplotlib arranges the contents. The default suits images, whose sides have a fixed
        ratio; ``"constrained"`` suits curves, which fill the room they are given.

    Returns
    -------
    matplotlib.figure.Figure
        Empty figure at 200 dots per inch: sharp on a screen and enough for print at this size.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    if _by_pyplot.get():
        make = require("matplotlib.pyplot", "plot").figure
    else:
        make = require("matplotlib.figure", "plot").Figure
    figure: Figure = make(figsize=(width, height), dpi=200, layout=layout)
    return figure


def _color_cycle() -> Any:
    return require("matplotlib", "plot").cycler(color=COLORS)
