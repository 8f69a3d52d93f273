"""Plots of equivariance errors of operators and networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from deepsphere._extras import require
from deepsphere.analysis.equivariance import EquivarianceResult
from deepsphere.analysis.equivariance_table import LaplacianResult, edges_name
from deepsphere.analysis.layerwise import LayerEquivariance
from deepsphere.plot.style import COLORS, COLUMN_WIDTH, MARKERS, house_style, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AGAINST = {
    "degree": "Degree ℓ",
    "degree / nside": "Degree ℓ / nside",
    "nside": "nside",
    "neighbors": "Number of neighbors k",
}
"""Abscissae of equivariance plots, and the labels of their axes."""

DASHES = ("-", "--", ":", "-.")

Label = str | tuple[str, str]


def plot_equivariance(
    lines: Mapping[Label, tuple[ArrayLike, ArrayLike | EquivarianceResult]],
    against: str = "degree",
    *,
    title: str | None = None,
) -> Figure:
    """Plot equivariance errors on logarithmic axes.

    Parameters
    ----------
    lines : mapping of str or (str, str) to (array_like, array_like or EquivarianceResult)
        Abscissae and errors of each line, by its label. An `EquivarianceResult` is drawn with a
        band of one standard deviation, if it is known. For a label of two strings, the first
        determines the color and the second the dashes.
    against : {"degree", "degree / nside", "nside", "neighbors"}, default "degree"
        Quantity on the abscissa.
    title : str, optional
        Title of the figure. Default: none.

    Returns
    -------
    matplotlib.figure.Figure
        A figure with one panel.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    ValueError
        If `lines` is empty, `against` is unknown, there are more labels than colors or dashes, or
        a line does not have as many errors as abscissae.

    Examples
    --------
    >>> figure = plot_equivariance({"Gaussian": ([2, 8, 32], [0.2, 0.02, 0.004])})
    """
    if against not in AGAINST:
        raise ValueError(f"against must be one of {', '.join(map(repr, AGAINST))}; got {against!r}")
    if not lines:
        raise ValueError("lines must not be empty")
    styles = _styles(list(lines))
    with house_style():
        beside = len(lines) > 4
        width = COLUMN_WIDTH + (1.9 if beside else 0.4)
        figure = new_figure(width, 2.7 + (0.2 if title else 0.0), "constrained")
        axes = figure.add_subplot()
        for label, (abscissae, errors) in lines.items():
            _draw(axes, label, abscissae, errors, styles[label])
        axes.set_yscale("log")
        _scale_abscissa(axes, against)
        axes.set_xlabel(AGAINST[against])
        axes.set_ylabel("Equivariance error")
        axes.grid(True)
        if beside:
            figure.legend(loc="outside right center", handlelength=3.0)
        else:
            figure.legend(loc="outside lower center", ncols=min(len(lines), 2))
        if title:
            axes.set_title(title)
    return figure


def plot_laplacian_errors(
    rows: Sequence[LaplacianResult], against: str = "degree", *, title: str | None = None
) -> Figure:
    """Plot equivariance errors of graph Laplacians.

    Parameters
    ----------
    rows : sequence of LaplacianResult
        Errors from `deepsphere.analysis.equivariance_table.laplacian_errors`, for one or several
        samplings.
    against : {"degree", "degree / nside", "nside", "neighbors"}, default "degree"
        Quantity on the abscissa. For ``"nside"`` and ``"neighbors"``, the geometric mean over all
        degrees is drawn.
    title : str, optional
        Title of the figure. Default: none.

    Returns
    -------
    matplotlib.figure.Figure
        A figure with a color for each Laplacian.

    Raises
    ------
    ImportError, ValueError
        As in `plot_equivariance`.
    """
    several = len({row.nside for row in rows}) > 1
    lines: dict[Label, Any] = {}
    for row in rows:
        place = f"nside {row.nside:.3g}" * (several and against != "nside")
        count = "k = " * (row.graph.neighbors is not None) + edges_name(row.graph)
        count *= against != "neighbors"
        label = (
            str(row.graph.laplacian).replace("_", " "),
            ", ".join(filter(None, [count, place])),
        )
        if against.startswith("degree"):
            unit = row.nside if against.endswith("nside") else 1
            lines[label] = (row.degrees / unit, row.errors)
        else:
            abscissa = row.nside if against == "nside" else row.graph.neighbor_count
            abscissae, errors = lines.setdefault(label, ([], []))
            abscissae.append(abscissa)
            errors.append(row.mean())
    return plot_equivariance(lines, against, title=title)


def plot_layerwise_equivariance(
    rows: Sequence[LayerEquivariance] | Mapping[str, Sequence[LayerEquivariance]],
    *,
    title: str | None = None,
) -> Figure:
    """Plot the equivariance error after each layer of one or several networks.

    Parameters
    ----------
    rows : sequence of LayerEquivariance, or mapping of str to sequence of LayerEquivariance
        Errors from `deepsphere.analysis.layerwise_equivariance`. A mapping holds those of several
        networks with the same types of layers, by name.
    title : str, optional
        Title of the figure. Default: none.

    Returns
    -------
    matplotlib.figure.Figure
        A figure with the layers from top to bottom, the resolutions of their outputs, and error
        bars of one standard deviation.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    ValueError
        If `rows` has no layers, or the networks have different types of layers.
    """
    networks = dict(rows) if isinstance(rows, Mapping) else {"": rows}
    first = next(iter(networks.values()), ())
    if not first:
        raise ValueError("rows must contain at least one layer")
    types = [row.type for row in first]
    for name, one in networks.items():
        if [row.type for row in one] != types:
            raise ValueError(
                f"all networks must have the same types of layers, but {name!r} has others"
            )
    places = np.arange(len(first))
    spread = 0.5 / len(networks)
    with house_style():
        height = 0.22 * len(first) * max(1.0, 0.5 * len(networks)) + 0.9
        height += (0.2 if title else 0.0) + (0.25 if len(networks) > 1 else 0.0)
        figure = new_figure(COLUMN_WIDTH + 1.6, height, "constrained")
        axes = figure.add_subplot()
        for i, (name, one) in enumerate(networks.items()):
            mean = np.array([row.mean for row in one])
            spans = np.array([row.deviation for row in one])
            # A bar that reaches zero has no end on a logarithmic axis, so stop at a tenth.
            below = np.minimum(spans, 0.9 * mean)
            y = places + spread * (i - (len(networks) - 1) / 2)
            style: dict[str, Any] = {
                "color": COLORS[i % len(COLORS)],
                "marker": MARKERS[i % len(MARKERS)],
            }
            axes.plot(mean, y, linewidth=0.6, alpha=0.5, color=style["color"])
            axes.errorbar(
                mean, y, xerr=[below, spans], linestyle="none", elinewidth=0.9, label=name, **style
            )
        axes.set_xscale("log")
        _readable_decades(axes, "x")
        axes.set_yticks(places, [_layer_label(row) for row in first])
        axes.set_ylim(len(first) - 0.5, -0.5)
        axes.set_xlabel("Equivariance error after the layer")
        axes.grid(True)
        if len(networks) > 1:
            figure.legend(loc="outside lower center", ncols=min(len(networks), 3))
        if title:
            axes.set_title(title)
    return figure


def _layer_label(row: LayerEquivariance) -> str:
    nside = getattr(row.sampling, "nside", None)
    if nside is not None:
        return f"{row.type} (nside {nside})"
    return f"{row.type} ({len(row.sampling)} pixels)" if row.sampling else row.type


def _styles(labels: Sequence[Label]) -> dict[Label, dict[str, Any]]:
    pairs = [(label, "") if isinstance(label, str) else label for label in labels]
    firsts = list(dict.fromkeys(first for first, _ in pairs))
    seconds = list(dict.fromkeys(second for _, second in pairs))
    if len(firsts) > len(COLORS) or len(seconds) > len(DASHES):
        raise ValueError(
            f"at most {len(COLORS)} colors with {len(DASHES)} kinds of dashes can be "
            f"distinguished; got {len(firsts)} and {len(seconds)}"
        )
    return {
        label: {
            "color": COLORS[firsts.index(first)],
            "marker": MARKERS[firsts.index(first)],
            "linestyle": DASHES[seconds.index(second)],
            "label": ", ".join(filter(None, [first, second])),
        }
        for label, (first, second) in zip(labels, pairs, strict=True)
    }


def _draw(
    axes: Axes,
    label: Label,
    abscissae: ArrayLike,
    errors: ArrayLike | EquivarianceResult,
    style: dict[str, Any],
) -> None:
    x = np.asarray(abscissae, dtype=np.float64)
    deviation = None
    if isinstance(errors, EquivarianceResult):
        errors, deviation = errors
    y = np.asarray(errors, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(
            f"a line needs as many errors as abscissae, got shapes {y.shape} and {x.shape} for "
            f"{label!r}"
        )
    many: dict[str, Any] = {"markevery": max(1, len(x) // 8)} if len(x) > 12 else {}
    axes.plot(x, y, **style, **many)
    if deviation is not None and np.isfinite(deviation).all():
        low = np.maximum(y - deviation, 0.1 * y)
        axes.fill_between(x, low, y + deviation, color=style["color"], alpha=0.15, linewidth=0)


def _scale_abscissa(axes: Axes, against: str) -> None:
    """Make the abscissa logarithmic, with suitable tick labels."""
    ticker = require("matplotlib.ticker", "plot")
    values = np.unique(np.concatenate([line.get_xdata() for line in axes.lines]))
    if against == "degree / nside":
        axes.set_xscale("log")
        _readable_decades(axes, "x")
        return
    axes.set_xscale("log", base=2 if against != "neighbors" else 10)
    axes.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    if against != "degree" or len(values) <= 8:
        axes.set_xticks(values)
        axes.xaxis.set_minor_locator(ticker.NullLocator())


def _readable_decades(axes: Axes, which: str) -> None:
    """Label more than the powers of ten if the axis has fewer than two of them."""
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    axis = axes.xaxis if which == "x" else axes.yaxis
    if high / low < 100:
        ticker = require("matplotlib.ticker", "plot")
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axis.set_minor_formatter(ticker.NullFormatter())
