"""Where deepsphere-cosmo-tf2 had its helper functions; see `deepsphere.compat.utils`."""

from deepsphere.compat.utils import extend_indices

__all__ = ["extend_indices"]
