"""Keras layers on a sampled sphere."""

from deepsphere.layers.base import SphereConv, SphereLayer
from deepsphere.layers.graph_conv import BernsteinConv, ChebyshevConv, GraphConv, MonomialConv
from deepsphere.layers.patch_conv import PatchConv, PatchConvTranspose
from deepsphere.layers.pooling import Pool
from deepsphere.layers.survey_mask import SurveyMask

__all__ = [
    "BernsteinConv",
    "ChebyshevConv",
    "GraphConv",
    "MonomialConv",
    "PatchConv",
    "PatchConvTranspose",
    "Pool",
    "SphereConv",
    "SphereLayer",
    "SurveyMask",
]
