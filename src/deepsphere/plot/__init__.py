"""Plots of maps, filters, training and equivariance, for screen and print.

Each function returns a new `matplotlib.figure.Figure`. It opens no pyplot figure and changes no
global Matplotlib parameter. Importing this package does not import Matplotlib. Save a plot with
``figure.savefig("name.png")`` (or ``.pdf``, ``.svg``). `plot_filters_gnomonic` and
`plot_filters_section`, kept for earlier code, do open pyplot figures.
"""

from deepsphere.plot.equivariance import (
    plot_equivariance,
    plot_laplacian_errors,
    plot_layerwise_equivariance,
)
from deepsphere.plot.filters import (
    plot_coefficients,
    plot_gnomonic_filters,
    plot_sections,
    plot_spectral,
)
from deepsphere.plot.gallery import plot_sampling_gallery
from deepsphere.plot.hierarchy import plot_hierarchy
from deepsphere.plot.maps import plot_gnomonic, plot_map, plot_maps
from deepsphere.plot.old_names import (
    get_index_equator,
    plot_filters_gnomonic,
    plot_filters_section,
)
from deepsphere.plot.training import plot_confusion, plot_history

__all__ = [
    "get_index_equator",
    "plot_coefficients",
    "plot_confusion",
    "plot_equivariance",
    "plot_filters_gnomonic",
    "plot_filters_section",
    "plot_gnomonic",
    "plot_gnomonic_filters",
    "plot_hierarchy",
    "plot_history",
    "plot_laplacian_errors",
    "plot_layerwise_equivariance",
    "plot_map",
    "plot_maps",
    "plot_sampling_gallery",
    "plot_sections",
    "plot_spectral",
]
