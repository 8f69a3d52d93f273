"""Keras layers on a sampled sphere."""

from deepsphere.layers.attention import PositionEmbedding, TransformerBlock
from deepsphere.layers.base import SphereConv, SphereLayer
from deepsphere.layers.conv_pool import ConvPool
from deepsphere.layers.graph_conv import BernsteinConv, ChebyshevConv, GraphConv, MonomialConv
from deepsphere.layers.graph_conv_lstm import GraphConvLSTM, GraphConvLSTMCell
from deepsphere.layers.graph_transformer import GraphTransformer, NeighborTransformerBlock
from deepsphere.layers.normalization import BatchNormalization, LayerNormalization
from deepsphere.layers.patch_conv import PatchConv, PatchConvTranspose
from deepsphere.layers.pooling import MaxUnpool, Pool, Unpool
from deepsphere.layers.resample import Resample
from deepsphere.layers.residual import ResidualBlock
from deepsphere.layers.smooth_pool import SmoothPool
from deepsphere.layers.smoothing import GaussianSmoothing
from deepsphere.layers.statistics import Statistics
from deepsphere.layers.survey_mask import SurveyMask
from deepsphere.layers.vision_transformer import VisionTransformer

__all__ = [
    "BatchNormalization",
    "BernsteinConv",
    "ChebyshevConv",
    "ConvPool",
    "GaussianSmoothing",
    "GraphConv",
    "GraphConvLSTM",
    "GraphConvLSTMCell",
    "GraphTransformer",
    "LayerNormalization",
    "MaxUnpool",
    "MonomialConv",
    "NeighborTransformerBlock",
    "PatchConv",
    "PatchConvTranspose",
    "Pool",
    "PositionEmbedding",
    "Resample",
    "ResidualBlock",
    "SmoothPool",
    "SphereConv",
    "SphereLayer",
    "Statistics",
    "SurveyMask",
    "TransformerBlock",
    "Unpool",
    "VisionTransformer",
]
