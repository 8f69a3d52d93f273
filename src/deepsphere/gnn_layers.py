"""Where deepsphere-cosmo-tf2 had its graph layers; see `deepsphere.compat.gnn_layers`."""

from deepsphere.compat.gnn_layers import Bernstein, Chebyshev, GCNN_ResidualLayer, Monomial

__all__ = ["Bernstein", "Chebyshev", "GCNN_ResidualLayer", "Monomial"]
