"""Graph layers under their module name in deepsphere-cosmo-tf2, see `deepsphere.compat`."""

from deepsphere.compat.gnn_layers import Bernstein, Chebyshev, GCNN_ResidualLayer, Monomial

__all__ = ["Bernstein", "Chebyshev", "GCNN_ResidualLayer", "Monomial"]
