"""Plots of training histories and confusion matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepsphere._extras import require
from deepsphere.plot.style import COLORS, COLUMN_WIDTH, PAGE_WIDTH, house_style, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RATE_KEYS = ("learning_rate", "lr")
"""Names under which Keras records the learning rate."""


def plot_history(history: Mapping[str, Sequence[float]], *, title: str | None = None) -> Figure:
    """Plot the loss, a metric and the learning rate against the epoch.

    Parameters
    ----------
    history : mapping of str to sequence of float
        One value per epoch for each name, like the ``history`` attribute of the result of `fit`:
        ``loss``, a metric such as ``accuracy``, both with the prefix ``val_`` for validation data,
        and ``learning_rate``. Only ``loss`` is required. If there are several metrics, the first
        with "acc" in its name is drawn, or else the first.
    title : str, optional
        Title of the figure. Default: none.

    Returns
    -------
    matplotlib.figure.Figure
        A figure with one panel each for loss, metric and learning rate, if available. A dotted
        line marks the epoch with the lowest validation loss. Scales of loss and learning rate are
        logarithmic if the values are positive and span more than a factor of 1.5.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    ValueError
        If ``loss`` is missing, there are no epochs, or the numbers of values differ.
    """
    series = {name: np.asarray(values, dtype=np.float64) for name, values in history.items()}
    _check_history(series)
    metric = _find_metric(series)
    rate = next((name for name in RATE_KEYS if name in series), None)
    names = ["loss", *(name for name in (metric, rate) if name is not None)]
    best = None
    if "val_loss" in series and np.isfinite(series["val_loss"]).any():
        best = int(np.nanargmin(series["val_loss"])) + 1
    ticker = require("matplotlib.ticker", "plot")
    with house_style():
        width = {1: COLUMN_WIDTH, 2: PAGE_WIDTH * 0.8, 3: PAGE_WIDTH}[len(names)]
        figure = new_figure(width, 2.5 + (0.2 if title else 0.0), "constrained")
        for i, name in enumerate(names):
            axes = figure.add_subplot(1, len(names), i + 1)
            _draw_series(axes, series, name, best)
            axes.set_ylabel("Learning rate" if name == rate else _label(name))
            if name == rate or name == "loss":
                _scale(axes, series, name)
            if name == metric and "acc" in name:
                low, high = axes.get_ylim()
                axes.yaxis.set_major_formatter(
                    ticker.PercentFormatter(1.0, decimals=0 if high - low > 0.05 else None)
                )
        # Put one legend below all panels, where it covers no curves.
        handles, labels = figure.axes[0].get_legend_handles_labels()
        columns = len(handles) if len(names) > 1 else 2  # as many as fit
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)
        if title:
            figure.suptitle(title)
    return figure


def plot_confusion(
    matrix: ArrayLike, class_names: Sequence[str] | None = None, *, title: str | None = None
) -> Figure:
    """Plot a confusion matrix.

    Parameters
    ----------
    matrix : array_like, shape (classes, classes)
        Number of examples by true class (row) and predicted class (column).
    class_names : sequence of str, optional
        Names of the classes. Default: 0, 1, 2, ...
    title : str, optional
        Title of the figure. Default: none.

    Returns
    -------
    matplotlib.figure.Figure
        A figure with the numbers and, below each, its share of the row, which sets the color.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    ValueError
        If `matrix` is not square or empty, has negative or non-finite entries, or the number of
        `class_names` differs from the number of classes.
    """
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or counts.size == 0:
        raise ValueError(f"matrix must be square, got shape {counts.shape}")
    if not np.isfinite(counts).all() or counts.min() < 0:
        raise ValueError(f"matrix must not contain negative counts, got {counts.min()}")
    n = len(counts)
    names = [str(i) for i in range(n)] if class_names is None else list(class_names)
    if len(names) != n:
        raise ValueError(f"there must be as many class_names as classes: got {len(names)} for {n}")
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    with house_style():
        cell = 0.85 if n <= 4 else max(0.5, 4.5 / n) if n <= 12 else 6.0 / n
        longest = 0.06 * max(len(line) for name in names for line in name.split("\n"))  # inches
        turned = longest > cell
        figure = new_figure(
            n * cell + longest + 1.2, n * cell + (0.7 * longest if turned else 0.2) + 0.6
        )
        axes = figure.add_subplot()
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        if n <= 12:
            for i, j in np.ndindex(n, n):
                axes.text(
                    j,
                    i,
                    f"{counts[i, j]:g}\n{100 * shares[i, j]:.0f}%",
                    ha="center",
                    va="center",
                    fontsize=8 if n <= 5 else 6,
                    color="white" if shares[i, j] > 0.55 else "black",
                )
        axes.set_xticks(range(n), names)
        if turned:
            for label in axes.get_xticklabels():
                label.set(rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(n), names)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("Predicted class")
        axes.set_ylabel("True class")
        bar = figure.colorbar(image, ax=axes, pad=0.03, aspect=20)
        bar.set_label("Share of the true class")
        bar.ax.yaxis.set_major_formatter(
            require("matplotlib.ticker", "plot").PercentFormatter(1.0, decimals=0)
        )
        if title:
            axes.set_title(title)
    return figure


def _check_history(series: Mapping[str, NDArray[np.float64]]) -> None:
    if "loss" not in series:
        raise ValueError(f"history must contain 'loss'; got {', '.join(series) or 'nothing'}")
    epochs = series["loss"].size
    if epochs == 0:
        raise ValueError("history contains no epoch; train the model first")
    for name, values in series.items():
        if values.shape != (epochs,):
            raise ValueError(
                f"history must contain one value per epoch for each name: 'loss' has {epochs}, "
                f"{name!r} has shape {values.shape}"
            )


def _find_metric(series: Mapping[str, NDArray[np.float64]]) -> str | None:
    metrics = [
        name for name in series if name not in ("loss", *RATE_KEYS) and not name.startswith("val_")
    ]
    return next((name for name in metrics if "acc" in name), metrics[0] if metrics else None)


def _label(name: str) -> str:
    if name.endswith("accuracy"):
        return "Accuracy"
    return name.replace("_", " ").capitalize()


def _draw_series(
    axes: Axes, series: Mapping[str, NDArray[np.float64]], name: str, best: int | None
) -> None:
    epochs = np.arange(1, len(series[name]) + 1)
    # A single epoch needs a marker to be visible, and few epochs look better with markers.
    marker = "o" if len(epochs) <= 30 else None
    axes.plot(epochs, series[name], color=COLORS[0], marker=marker, label="Training")
    if f"val_{name}" in series:
        axes.plot(
            epochs,
            series[f"val_{name}"],
            color=COLORS[1],
            linestyle="--",
            marker="s" if marker else None,
            label="Validation",
        )
    if best is not None:
        axes.axvline(
            best,
            color="0.4",
            linestyle=":",
            linewidth=0.9,
            label=f"Lowest validation loss (epoch {best})",
        )
    axes.set_xlabel("Epoch")
    if len(epochs) == 1:
        axes.set(xticks=[1], xlim=(0.5, 1.5))
    else:
        axes.xaxis.set_major_locator(
            require("matplotlib.ticker", "plot").MaxNLocator(
                integer=True, nbins=6, steps=[1, 2, 5, 10]
            )
        )
    axes.grid(True, axis="y")


def _scale(axes: Axes, series: Mapping[str, NDArray[np.float64]], name: str) -> None:
    """Make the ordinate logarithmic if suitable, with tick labels that match its range."""
    values = np.concatenate([series[name], series.get(f"val_{name}", np.empty(0))])
    values = values[np.isfinite(values)]
    if len(values) == 0 or values.min() <= 0 or values.max() < 1.5 * values.min():
        return
    axes.set_yscale("log")
    span = values.max() / values.min()
    if span > 30:
        return
    ticker = require("matplotlib.ticker", "plot")
    steps = (1, 2, 3, 5, 7) if span > 4 else (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=steps))
    axes.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.yaxis.set_minor_locator(ticker.NullLocator())
