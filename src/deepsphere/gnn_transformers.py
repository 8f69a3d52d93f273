"""Transformers under their module name in deepsphere-cosmo-tf2, see `deepsphere.compat`."""

from deepsphere.compat.gnn_transformers import (
    AddPositionEmbs,
    Graph_Transformer,
    Graph_ViT,
    MultiHeadAttention,
    scaled_dot_product_attention,
    scaled_dot_product_sparse_attention,
)

__all__ = [
    "AddPositionEmbs",
    "Graph_Transformer",
    "Graph_ViT",
    "MultiHeadAttention",
    "scaled_dot_product_attention",
    "scaled_dot_product_sparse_attention",
]
