"""Measures of what layers and models do."""

from deepsphere.analysis.description import LayerDescription, describe
from deepsphere.analysis.filters import (
    filter_coefficients,
    filter_response,
    graph_convolution,
    graph_convolutions,
    localized_filters,
    spectral_bound,
)

__all__ = [
    "LayerDescription",
    "describe",
    "filter_coefficients",
    "filter_response",
    "graph_convolution",
    "graph_convolutions",
    "localized_filters",
    "spectral_bound",
]
