"""Transformers of deepsphere-cosmo-tf2: attention on any graph, and on groups of vertices."""

from __future__ import annotations

from abc import ABCMeta
from math import sqrt
from typing import Any

import keras
import numpy as np
from scipy.sparse import csr_array

from deepsphere.compat.gnn_layers import check_matrix, decode_matrix, encode_matrix
from deepsphere.compat.old_constructors import AnyPixels, OldAttributes, first_pixels, old_errors
from deepsphere.layers import (
    GraphTransformer,
    PositionEmbedding,
    TransformerBlock,
    VisionTransformer,
)
from deepsphere.layers.base import PACKAGE
from deepsphere.layers.graph_transformer import NeighborTransformerBlock
from deepsphere.ops import SparseOperator
from deepsphere.ops.attention import neighbor_attention


def scaled_dot_product_attention(q: Any, k: Any, v: Any, mask: Any = None) -> tuple[Any, Any]:
    """Return ``softmax(q k^T / sqrt(depth) - 1e9 mask) v`` and the weights.

    Parameters
    ----------
    q, k, v : tensor, shape (..., vertices, depth)
        Queries, keys and values.
    mask : tensor, optional
        1 where a query (second to last axis) is not to attend to a key (last axis), else 0.

    Returns
    -------
    output : tensor, shape (..., vertices, depth)
        The attention's output.
    weights : tensor, shape (..., vertices, vertices)
        What each query attends to.
    """
    scores = keras.ops.matmul(q, keras.ops.swapaxes(k, -1, -2)) / sqrt(k.shape[-1])
    if mask is not None:
        scores = scores - 1e9 * keras.ops.cast(mask, scores.dtype)
    weights = keras.ops.softmax(scores, axis=-1)
    return keras.ops.matmul(weights, v), weights


def scaled_dot_product_sparse_attention(q: Any, k: Any, v: Any, mask: Any) -> Any:
    """Return the attention of each vertex to those that an edge leads to.

    Parameters
    ----------
    q, k, v : tensor, shape (batch, heads, vertices, depth)
        Queries, keys and values.
    mask : array_like of int, shape (edges, 2)
        From which vertex to which, in any order.

    Returns
    -------
    tensor, shape (batch, heads, vertices, depth)
        The attention's output; 0 at vertices without edges. No score is too large for it.
    """
    edges = np.asarray(keras.ops.convert_to_numpy(mask), dtype=np.int64)
    if edges.ndim != 2 or edges.shape[1] != 2:
        raise ValueError(f"mask must list edges, shape (edges, 2), got shape {edges.shape}")
    n = q.shape[-2]
    pattern = csr_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(n, n))
    pattern.sum_duplicates()
    q, k, v = (keras.ops.swapaxes(x, 1, 2) for x in (q, k, v))
    return keras.ops.swapaxes(neighbor_attention(q, k, v, SparseOperator(pattern)), 1, 2)


@keras.saving.register_keras_serializable(PACKAGE)
class AddPositionEmbs(AnyPixels, PositionEmbedding):
    """`PositionEmbedding` for any number of vertices."""

    native = PositionEmbedding

    def __init__(self, posemb_init: Any = None, **kwargs: Any) -> None:
        super().__init__(embeddings_initializer=posemb_init, **kwargs)


class OldTransformer(OldAttributes):
    """The attributes of the old transformers."""

    old_parts = ("embed", "pos_encoder", "mha_layers", "A")

    key_dim: int
    num_heads: int
    num_layers: int
    position_embedding: bool
    embedding: Any
    position: Any
    blocks: list[Any]

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return self.num_layers

    @property
    def positional_encoding(self) -> bool:
        """Whether positions are added."""
        return self.position_embedding

    @property
    def embedding_size(self) -> int:
        """Number of output channels."""
        return self.key_dim * self.num_heads

    @property
    def embed(self) -> Any:
        """The layer that embeds the input, once the transformer is built."""
        return self.embedding

    @property
    def pos_encoder(self) -> Any:
        """The layer that adds positions, once the transformer is built, or None."""
        return self.position

    @property
    def mha_layers(self) -> list[Any]:
        """The blocks, once the transformer is built."""
        return list(self.blocks)


class GivenPattern(NeighborTransformerBlock):
    """A block on the edges that it is given."""

    def __init__(self, *args: Any, given: SparseOperator, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._given = given

    def make_pattern(self) -> SparseOperator:
        """Return the edges."""
        return self._given


def MultiHeadAttention(  # noqa: N802
    d_model: int,
    num_heads: int,
    use_norm: bool = True,
    activation: Any = "relu",
    sparse_A_indices: Any = None,
    **kwargs: Any,
) -> TransformerBlock:
    """Return a `TransformerBlock` of ``d_model`` channels, for any number of vertices.

    `sparse_A_indices`, of shape (edges, 2), says which vertices attend to which; default: all to
    all. A block with edges is not saved by itself: use `Graph_Transformer` for that.
    """
    if d_model % num_heads:
        raise ValueError(f"num_heads must divide d_model={d_model}, got {num_heads}")
    arguments = {"activation": activation, "layer_norm": use_norm, **kwargs}
    if sparse_A_indices is None:
        return _AnyBlock(d_model // num_heads, num_heads, **arguments)
    edges = np.asarray(keras.ops.convert_to_numpy(sparse_A_indices), dtype=np.int64)
    n = int(edges.max()) + 1
    pattern = csr_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(n, n))
    return GivenPattern(
        d_model // num_heads,
        num_heads,
        first_pixels(n),
        given=SparseOperator(pattern),
        **arguments,
    )


@keras.saving.register_keras_serializable(PACKAGE)
class _AnyBlock(AnyPixels, TransformerBlock):
    native = TransformerBlock


@keras.saving.register_keras_serializable(PACKAGE)
class Graph_ViT(OldTransformer, AnyPixels, VisionTransformer):  # noqa: N801
    """`VisionTransformer` on groups of ``4**p`` consecutive vertices."""

    native = VisionTransformer

    @property
    def embed_filter_size(self) -> int:
        """Number of vertices in a group."""
        return 4**self.p

    def __init__(
        self,
        p: int,
        key_dim: int,
        num_heads: int,
        positional_encoding: bool = True,
        n_layers: int = 1,
        activation: Any = "relu",
        layer_norm: bool = True,
        **kwargs: Any,
    ) -> None:
        with old_errors():
            super().__init__(
                key_dim,
                num_heads,
                p,
                num_layers=n_layers,
                position_embedding=positional_encoding,
                activation=activation,
                layer_norm=layer_norm,
                **kwargs,
            )


@keras.saving.register_keras_serializable(PACKAGE)
class Graph_Transformer(OldTransformer, GraphTransformer, metaclass=ABCMeta):  # noqa: N801
    """`GraphTransformer` on any graph: vertices attend where `A` is not zero.

    Parameters
    ----------
    A : matrix, shape (n, n)
        Adjacency, dense or sparse; it is copied.
    key_dim, num_heads, positional_encoding, n_layers, activation, layer_norm
        As for `GraphTransformer`: ``positional_encoding`` is `position_embedding`, ``n_layers``
        is `num_layers`.
    """

    def __init__(
        self,
        A: Any,
        key_dim: int,
        num_heads: int,
        positional_encoding: bool = True,
        n_layers: int = 1,
        activation: Any = "relu",
        layer_norm: bool = True,
        **kwargs: Any,
    ) -> None:
        self._matrix = decode_matrix(A) if isinstance(A, str) else check_matrix("A", A)
        self._matrix.eliminate_zeros()
        super().__init__(
            key_dim,
            num_heads,
            first_pixels(self._matrix.shape[0]),  # as many vertices, wherever they are
            num_layers=n_layers,
            position_embedding=positional_encoding,
            activation=activation,
            layer_norm=layer_norm,
            **kwargs,
        )

    @property
    def A(self) -> csr_array:  # noqa: N802
        """The adjacency."""
        return self._matrix

    def make_block(self, **kwargs: Any) -> TransformerBlock:
        """Return a block on the edges of the graph."""
        return GivenPattern(given=SparseOperator(self._matrix), **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments from which `from_config` makes an equal layer."""
        config = super().get_config()
        for name in ("sampling", "graph", "self_loops"):
            config.pop(name)
        return {
            "A": encode_matrix(self._matrix),
            "positional_encoding": config.pop("position_embedding"),
            "n_layers": config.pop("num_layers"),
            **config,
        }
