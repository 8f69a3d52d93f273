"""House style of all plots: sizes, fonts and colors, applied temporarily."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from deepsphere._extras import require

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
"""Line colors that color-blind readers can distinguish: the Okabe-Ito palette, with its yellow
(too faint for lines on white) replaced by brown."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""Markers for the lines of `COLORS`, to distinguish them in grayscale too."""

BLANK = "#dcdcdc"
"""Color of parts of the sphere without values."""

SEQUENTIAL = "viridis"
"""Color map of quantities that range from low to high; perceptually uniform."""

DIVERGING = "RdBu_r"
"""Color map of quantities with a meaningful zero; safe for color-blind readers."""

_SETTINGS: dict[str, Any] = {
    # A concrete family that Matplotlib includes: names like "sans-serif" are resolved only when
    # the figure is drawn, with the settings in effect at that time.
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
        Sets Matplotlib's parameters on entry and restores them on exit.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.

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
    """Register figures created within the returned context with pyplot.

    Functions of the earlier code do this, so that notebooks show their figures.
    """
    require("matplotlib.pyplot", "plot")  # before setting a style: the import chooses a backend
    token = _by_pyplot.set(True)
    try:
        yield
    finally:
        _by_pyplot.reset(token)


def new_figure(width: float, height: float, layout: str = "compressed") -> Figure:
    """Return a new figure that is not registered with pyplot and so need not be closed.

    Within `pyplot_figures`, the figure is registered.

    Parameters
    ----------
    width, height : float
        Size in inches.
    layout : str, default "compressed"
        Layout engine of Matplotlib. The default suits images with a fixed aspect ratio;
        ``"constrained"`` suits curves, which fill the available space.

    Returns
    -------
    matplotlib.figure.Figure
        An empty figure at 200 dots per inch, enough for screen and print at this size.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    """
    if _by_pyplot.get():
        make = require("matplotlib.pyplot", "plot").figure
    else:
        make = require("matplotlib.figure", "plot").Figure
    figure: Figure = make(figsize=(width, height), dpi=200, layout=layout)
    return figure


def _color_cycle() -> Any:
    return require("matplotlib", "plot").cycler(color=COLORS)
