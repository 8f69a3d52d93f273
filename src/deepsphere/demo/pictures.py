"""Plots of the demonstration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepsphere._files import replacing
from deepsphere.data.cosmology import Cosmology
from deepsphere.layers import GraphConv
from deepsphere.models import Sequential
from deepsphere.plot import (
    plot_confusion,
    plot_filter_coefficients,
    plot_filter_gnomonic,
    plot_filter_responses,
    plot_filter_sections,
    plot_history,
    plot_maps,
)

Picture = tuple[str, str, str]


def class_name(cosmology: Cosmology) -> str:
    """Return a cosmology's name for plots, as mathtext."""
    return rf"$\Omega_\mathrm{{m}} = {cosmology.omega_m:g}$, $\sigma_8 = {cosmology.sigma_8:g}$"


def draw_pictures(
    directory: Path,
    model: Sequential,
    maps: Sequence[NDArray[np.floating]],
    class_names: Sequence[str],
    history: Mapping[str, Sequence[float]],
    confusion: NDArray[np.integer],
) -> list[Picture]:
    """Plot the data, the training and the learned filters, as PNG files.

    Parameters
    ----------
    directory : Path
        Directory for the files.
    model : Sequential
        The trained network.
    maps : sequence of ndarray, shape (pixels,)
        One map of each class.
    class_names : sequence of str
        Names of the classes.
    history : mapping of str to sequence of float
        Loss and metrics of each epoch.
    confusion : ndarray, shape (classes, classes)
        Number of test maps by true (row) and predicted (column) class.

    Returns
    -------
    list of (file name, title, caption)
        Pictures for `deepsphere.demo.report.write_report`.
    """
    convolutions = [layer for layer in model.layers if isinstance(layer, GraphConv)]
    first, last = convolutions[0], convolutions[-1]
    drawn = [
        (
            plot_maps(maps, model.sampling, class_names, unit="convergence with noise"),
            "maps",
            "The data",
            "One simulated map of each class, in Mollweide projection: weak-lensing convergence "
            "of sources at one redshift, with white noise.",
        ),
        (
            plot_history(history),
            "training",
            "Training",
            "Loss and accuracy after each epoch; validation uses the test maps, which influence "
            "no choice. Early on, the running statistics of batch normalization lag behind the "
            "weights, so validation fluctuates; it settles as the learning rate falls along a "
            "cosine.",
        ),
        (
            plot_confusion(confusion, class_names),
            "confusion",
            "Test maps",
            "True and predicted class of the maps that the network never trained on.",
        ),
        (
            plot_filter_coefficients(first),
            "coefficients",
            "Filters: coefficients",
            "Chebyshev coefficients of the first layer's filters.",
        ),
        (
            plot_filter_responses(first),
            "spectral",
            "Filters: spectral domain",
            "The factor by which the first layer's filters multiply each graph frequency: small "
            "eigenvalues of the Laplacian are large scales on the sphere.",
        ),
        (
            plot_filter_sections(first),
            "sections",
            "Filters: sections",
            "The first layer's filters around a pixel on the equator, along its parallel.",
        ),
        (
            plot_filter_gnomonic(first),
            "gnomonic",
            "Filters on the sphere",
            "The first layer's filters around the same pixel, in gnomonic projection.",
        ),
        (
            plot_filter_gnomonic(last, width_degrees=100),
            "gnomonic-last",
            "Filters of the last layer",
            "From each channel (rows) to each class (columns), at the coarsest resolution.",
        ),
    ]
    pictures = []
    for figure, name, title, caption in drawn:
        with replacing(directory / f"{name}.png") as path:
            figure.savefig(path, dpi=150)
        pictures.append((f"{name}.png", title, caption))
    return pictures
