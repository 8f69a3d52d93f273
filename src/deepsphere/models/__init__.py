"""Networks assembled from layers."""

from deepsphere.models.sequential import Sequential

__all__ = ["Sequential"]
