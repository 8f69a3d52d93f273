"""Measures of what layers and models do."""

from deepsphere.analysis.filters import (
    filter_coefficients,
    filter_response,
    localized_filters,
    spectral_bound,
)

__all__ = ["filter_coefficients", "filter_response", "localized_filters", "spectral_bound"]
