"""Where deepsphere-cosmo-tf2 had its HEALPix layers; see `deepsphere.compat.healpy_layers`."""

from deepsphere.compat.healpy_layers import (
    HealpyBernstein,
    HealpyChebyshev,
    HealpyMonomial,
    HealpyPool,
    HealpyPseudoConv,
    HealpyPseudoConv_Transpose,
)

__all__ = [
    "HealpyBernstein",
    "HealpyChebyshev",
    "HealpyMonomial",
    "HealpyPool",
    "HealpyPseudoConv",
    "HealpyPseudoConv_Transpose",
]
