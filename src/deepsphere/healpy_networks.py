"""Where deepsphere-cosmo-tf2 had its network; see `deepsphere.compat.healpy_networks`."""

from deepsphere.compat.healpy_networks import HealpyGCNN

__all__ = ["HealpyGCNN"]
