"""Where deepsphere-cosmo-tf2 had its HEALPix layers; see `deepsphere.compat.healpy_layers`."""

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
]
