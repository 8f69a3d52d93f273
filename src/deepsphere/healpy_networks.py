"""Where deepsphere-cosmo-tf2 had its network; see `deepsphere.compat.healpy_networks`."""

from deepsphere.compat import gnn_layers as gnn
from deepsphere.compat import healpy_layers as hp_nn
from deepsphere.compat.healpy_networks import HealpyGCNN

__all__ = ["HealpyGCNN", "gnn", "hp_nn"]
