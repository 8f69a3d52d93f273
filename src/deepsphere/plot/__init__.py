"""Plots of maps, filters, training and equivariance, for screen and print.

Each function returns a new `matplotlib.figure.Figure`. It opens no pyplot figure and changes no
global Matplotlib parameter. Importing this package does not import Matplotlib. Save a plot with
``figure.savefig("name.png")`` (or ``.pdf``, ``.svg``). The plots of deepsphere-cosmo-tf2,
`plot_filters_gnomonic` and `plot_filters_section`, are in `deepsphere.compat.old_plots` and can
also be imported from here; they open pyplot figures.
"""

from typing import Any

from deepsphere.plot.equivariance import (
    plot_equivariance,
    plot_laplacian_errors,
    plot_layerwise_equivariance,
)
from deepsphere.plot.filters import (
    plot_filter_coefficients,
    plot_filter_gnomonic,
    plot_filter_responses,
    plot_filter_sections,
)
from deepsphere.plot.gallery import plot_sampling_gallery
from deepsphere.plot.hierarchy import plot_hierarchy
from deepsphere.plot.maps import plot_gnomonic, plot_map, plot_maps
from deepsphere.plot.training import plot_confusion, plot_history

__all__ = [
    "plot_confusion",
    "plot_equivariance",
    "plot_filter_coefficients",
    "plot_filter_gnomonic",
    "plot_filter_responses",
    "plot_filter_sections",
    "plot_gnomonic",
    "plot_hierarchy",
    "plot_history",
    "plot_laplacian_errors",
    "plot_layerwise_equivariance",
    "plot_map",
    "plot_maps",
    "plot_sampling_gallery",
]

_OLD = ("get_index_equator", "plot_filters_gnomonic", "plot_filters_section")


def __getattr__(name: str) -> Any:
    if name in _OLD:
        from importlib import import_module

        return getattr(import_module("deepsphere.compat.old_plots"), name)
    raise AttributeError(f"module 'deepsphere.plot' has no attribute {name!r}")
