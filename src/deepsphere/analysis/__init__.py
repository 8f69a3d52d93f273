"""Analysis of layers and models: equivariance, receptive fields, costs, learned filters."""

from deepsphere.analysis.description import LayerDescription, describe
from deepsphere.analysis.equivariance import EquivarianceResult, equivariance_error
from deepsphere.analysis.filters import filter_coefficients, filter_response, localized_filters
from deepsphere.analysis.layerwise import LayerEquivariance, layerwise_equivariance

__all__ = [
    "EquivarianceResult",
    "LayerDescription",
    "LayerEquivariance",
    "describe",
    "equivariance_error",
    "filter_coefficients",
    "filter_response",
    "layerwise_equivariance",
    "localized_filters",
]
