"""Transformers of deepsphere-cosmo-tf2, with attention on any graph or on groups of vertices."""

from __future__ import annotations

from abc import ABCMeta
from math import sqrt
from typing import Any

import keras
import numpy as np
from scipy.sparse import csr_array

from deepsphere._checks import check_count
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
    """Return ``softmax(q k^T / sqrt(depth) - 1e9 mask) v`` and the attention weights.

    Parameters
    ----------
    q, k, v : tensor, shape (..., vertices, depth)
        Queries, keys and values.
    mask : tensor, optional
        1 where a query (second to last axis) must not attend to a key (last axis), else 0.
        Default: all attend to all.

    Returns
    -------
    output : tensor, shape (..., vertices, depth)
        The output of the attention.
    weights : tensor, shape (..., vertices, vertices)
        The weight of each key (last axis) for each query.
    """
    scores = keras.ops.matmul(q, keras.ops.swapaxes(k, -1, -2)) / sqrt(k.shape[-1])
    if mask is not None:
        scores = scores - 1e9 * keras.ops.cast(mask, scores.dtype)
    weights = keras.ops.softmax(scores, axis=-1)
    return keras.ops.matmul(weights, v), weights


def scaled_dot_product_sparse_attention(q: Any, k: Any, v: Any, mask: Any) -> Any:
    """Return the attention of each vertex to its neighbors.

    Parameters
    ----------
    q, k, v : tensor, shape (batch, heads, vertices, depth)
        Queries, keys and values.
    mask : array_like of int, shape (edges, 2)
        Edges, from a query to a key, in any order.

    Returns
    -------
    tensor, shape (batch, heads, vertices, depth)
        The output of the attention; 0 at vertices without edges. Large scores do not overflow.

    Raises
    ------
    ValueError
        If `mask` does not have shape (edges, 2).
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
    """`PositionEmbedding` on any number of vertices.

    Parameters
    ----------
    posemb_init : str or keras.initializers.Initializer, optional
        Initializer of the embeddings. Default: that of `PositionEmbedding`.
    **kwargs
        Other arguments of `PositionEmbedding`.
    """

    native = PositionEmbedding

    def __init__(self, posemb_init: Any = None, **kwargs: Any) -> None:
        super().__init__(embeddings_initializer=posemb_init, **kwargs)


class OldTransformer(OldAttributes):
    """Attributes of the old transformers."""

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
        """The input embedding, once the transformer is built."""
        return self.embedding

    @property
    def pos_encoder(self) -> Any:
        """The position embedding, once the transformer is built, or None."""
        return self.position

    @property
    def mha_layers(self) -> list[Any]:
        """The blocks, once the transformer is built."""
        return list(self.blocks)


class GivenPattern(NeighborTransformerBlock):
    """A transformer block on given edges."""

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
    """Return a `TransformerBlock` with `d_model` channels on any number of vertices.

    Parameters
    ----------
    d_model : int
        Number of channels.
    num_heads : int
        Number of attention heads; it must divide `d_model`.
    use_norm : bool, default True
        Whether to apply layer normalization.
    activation : str or callable, default "relu"
        Activation of the block.
    sparse_A_indices : array_like of int, shape (edges, 2), optional
        Edges, from a query to a key. Default: all vertices attend to all. A block with edges
        cannot be saved on its own; use `Graph_Transformer` instead.
    **kwargs
        Other arguments of `TransformerBlock`.

    Raises
    ------
    ValueError
        If `num_heads` does not divide `d_model`.
    """
    if d_model % num_heads:
        raise ValueError(f"num_heads must divide d_model={d_model}, got {num_heads}")
    arguments = {"activation": activation, "normalization": "layer" if use_norm else None, **kwargs}
    if sparse_A_indices is None:
        return _AnyBlock(d_model // num_heads, num_heads, **arguments)
    edges = np.asarray(keras.ops.convert_to_numpy(sparse_A_indices), dtype=np.int64)
    n = int(edges.max()) + 1
    pattern = csr_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(n, n))
    return GivenPattern(
        d_model // num_heads,
        num_heads,
        sampling=first_pixels(n),
        given=SparseOperator(pattern),
        **arguments,
    )


@keras.saving.register_keras_serializable(PACKAGE)
class _AnyBlock(AnyPixels, TransformerBlock):
    native = TransformerBlock


@keras.saving.register_keras_serializable(PACKAGE)
class Graph_ViT(OldTransformer, AnyPixels, VisionTransformer):  # noqa: N801
    """`VisionTransformer` on groups of ``4**p`` consecutive vertices.

    Parameters
    ----------
    p : int
        Number of levels to coarsen: ``4**p`` vertices become one token.
    key_dim, num_heads
        As in `VisionTransformer`.
    positional_encoding : bool, default True
        Whether to add a position embedding.
    n_layers : int, default 1
        Number of transformer blocks.
    activation, layer_norm, **kwargs
        As in `VisionTransformer`.
    """

    native = VisionTransformer

    @property
    def p(self) -> int:
        """Number of levels to coarsen."""
        return self.levels

    @property
    def embed_filter_size(self) -> int:
        """Number of vertices per group."""
        return 4**self.levels

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
            check_count(p, "p")
            super().__init__(
                key_dim,
                num_heads,
                p,
                num_layers=n_layers,
                position_embedding=positional_encoding,
                activation=activation,
                normalization="layer" if layer_norm else None,
                **kwargs,
            )


@keras.saving.register_keras_serializable(PACKAGE)
class Graph_Transformer(OldTransformer, GraphTransformer, metaclass=ABCMeta):  # noqa: N801
    """`GraphTransformer` on any graph: vertices attend to each other where `A` is not zero.

    Parameters
    ----------
    A : matrix, shape (n, n)
        Adjacency matrix, dense or sparse. It is copied.
    key_dim, num_heads, positional_encoding, n_layers, activation, layer_norm
        As in `GraphTransformer`, where `positional_encoding` is called `position_embedding` and
        `n_layers` is called `num_layers`.

    Raises
    ------
    TypeError
        If the entries of `A` are not real numbers.
    ValueError
        If `A` is not square, has invalid indices, or has entries that are NaN or infinite.
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
            sampling=first_pixels(self._matrix.shape[0]),  # only the number of vertices matters
            num_layers=n_layers,
            position_embedding=positional_encoding,
            activation=activation,
            normalization="layer" if layer_norm else None,
            **kwargs,
        )

    @property
    def A(self) -> csr_array:  # noqa: N802
        """The adjacency matrix."""
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
            "layer_norm": config.pop("normalization") is not None,
            **config,
        }
