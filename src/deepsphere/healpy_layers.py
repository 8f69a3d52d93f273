"""HEALPix layers under their module name in deepsphere-cosmo-tf2, see `deepsphere.compat`."""

from deepsphere.compat.gnn_layers import Bernstein, Chebyshev, GCNN_ResidualLayer, Monomial
from deepsphere.compat.gnn_transformers import Graph_Transformer, Graph_ViT
from deepsphere.compat.healpy_layers import (
    Healpy_ResidualLayer,
    Healpy_Transformer,
    Healpy_ViT,
    HealpyBernstein,
    HealpyChebyshev,
    HealpyMonomial,
    HealpyPool,
    HealpyPseudoConv,
    HealpyPseudoConv_Transpose,
    HealpySmoothing,
)

__all__ = [
    "Bernstein",
    "Chebyshev",
    "GCNN_ResidualLayer",
    "Graph_Transformer",
    "Graph_ViT",
    "HealpyBernstein",
    "HealpyChebyshev",
    "HealpyMonomial",
    "HealpyPool",
    "HealpyPseudoConv",
    "HealpyPseudoConv_Transpose",
    "HealpySmoothing",
    "Healpy_ResidualLayer",
    "Healpy_Transformer",
    "Healpy_ViT",
    "Monomial",
]
