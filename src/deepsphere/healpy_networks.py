"""The network under its module name in deepsphere-cosmo-tf2, see `deepsphere.compat`."""

from deepsphere.compat import gnn_layers as gnn
from deepsphere.compat import healpy_layers as hp_nn
from deepsphere.compat.healpy_networks import HealpyGCNN

__all__ = ["HealpyGCNN", "gnn", "hp_nn"]
