"""Transformer in which each pixel attends to its neighbors."""

from __future__ import annotations

from typing import Any

import keras

from deepsphere.graph import GraphLike
from deepsphere.graph.spec import as_graph, graph_config
from deepsphere.layers.attention import TransformerBlock
from deepsphere.layers.base import PACKAGE
from deepsphere.layers.masking import hide
from deepsphere.layers.transformer import Transformer
from deepsphere.ops import SparseOperator
from deepsphere.ops.attention import neighbor_attention, neighbor_pattern
from deepsphere.sampling import Sampling


@keras.saving.register_keras_serializable(PACKAGE)
class NeighborTransformerBlock(TransformerBlock):
    """`TransformerBlock` in which each pixel attends only to its neighbors on the graph.

    Time and memory are linear in the number of pixels. Features gathered along the edges are never
    all in memory at once (see `deepsphere.ops.attention`). Input and output shape
    ``(batch, pixels, key_dim * num_heads)``.

    Parameters
    ----------
    key_dim, num_heads, sampling, activation, normalization
        See `TransformerBlock`.
    graph : Graph, int or str, optional
        Graph whose edges join neighbors, see `deepsphere.Graph`; an integer is a number of nearest
        neighbors. Two pixels attend to each other if either is a neighbor of the other; edge
        weights are ignored. Default: the model's, or else `deepsphere.Graph()`.
    self_loops : bool, default False
        Whether each pixel also attends to itself. The default follows the earlier implementation:
        a pixel keeps its own features through the residual.
    **kwargs
        Arguments of `keras.layers.Layer`.

    Raises
    ------
    TypeError, ValueError
        Under the conditions listed at `TransformerBlock`; TypeError also if `graph` is not a
        `Graph`, an integer or a string, and ValueError if it is an unknown name.

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.sampling import Healpix
    >>> block = NeighborTransformerBlock(8, 4, sampling=Healpix(4), graph=8)
    >>> tuple(block(np.zeros((2, 192, 32), "float32")).shape)
    (2, 192, 32)
    """

    on_graph = True

    def __init__(
        self,
        key_dim: int,
        num_heads: int,
        *,
        sampling: Sampling | None = None,
        graph: GraphLike | None = None,
        self_loops: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(key_dim, num_heads, sampling=sampling, **kwargs)
        self.graph_spec = None if graph is None else as_graph(graph)
        self.self_loops = bool(self_loops)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Get the neighbors and create the weights."""
        super().build(input_shape)
        self.pattern = self.make_pattern()

    def make_pattern(self) -> SparseOperator:
        """Return the pattern of attention, which all layers on the same graph share."""
        return neighbor_pattern(self.require_sampling(), self.graph_spec, self.self_loops)

    def attend(self, q: Any, k: Any, v: Any, mask: Any) -> Any:
        """Return the attention; all shapes are (batch, pixels, num_heads, key_dim)."""
        return neighbor_attention(q, k, v, self.pattern, mask)

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, for `from_config`."""
        graph = {"graph": graph_config(self.graph_spec), "self_loops": self.self_loops}
        return {**super().get_config(), **graph}


@keras.saving.register_keras_serializable(PACKAGE)
class GraphTransformer(Transformer):
    """Transformer in which each pixel attends to its neighbors on the graph.

    A dense layer embeds every pixel into ``key_dim * num_heads`` channels, a learned position
    embedding is added, and `num_layers` blocks (`NeighborTransformerBlock`) follow. Input shape
    ``(batch, pixels, channels)``, output shape ``(batch, pixels, key_dim * num_heads)``. Time and
    memory are linear in the number of pixels.

    Parameters
    ----------
    key_dim : int
        Number of channels per head.
    num_heads : int
        Number of attention heads.
    sampling : Sampling, optional
        Sampling of the input. Default: set by the surrounding model.
    num_layers : int, default 1
        Number of blocks; the output at a pixel depends on pixels up to `num_layers` edges away.
    graph : Graph, int or str, optional
        Graph whose edges join neighbors, see `deepsphere.Graph`; an integer is a number of nearest
        neighbors. Two pixels attend to each other if either is a neighbor of the other; edge
        weights are ignored. Default: the model's, or else `deepsphere.Graph()`.
    self_loops : bool, default False
        Whether each pixel also attends to itself. The default follows the earlier implementation:
        a pixel keeps its own features through the residual.
    position_embedding : bool, default True
        Whether to add a learned vector to each embedded pixel: ``pixels * key_dim * num_heads``
        weights. Without it the weights fit any sampling.
    activation : str or callable, default "relu"
        Keras activation in the blocks; None means the identity.
    normalization : {"layer", None}, default "layer"
        Normalization in the blocks, see `TransformerBlock`.
    **kwargs
        Arguments of `keras.layers.Layer`.

    Raises
    ------
    TypeError
        If `key_dim`, `num_heads` or `num_layers` is not an integer, `sampling` is not a `Sampling`,
        or `graph` is not a `Graph`, an integer or a string.
    ValueError
        If `key_dim`, `num_heads` or `num_layers` is less than 1, `graph` is an unknown name, or
        Keras does not know `activation`. When the layer is built: if the input does not have the
        sampling's number of pixels.

    Notes
    -----
    After Dwivedi & Bresson, arXiv 2012.09699, with a learned embedding instead of eigenvectors,
    because the graph is always the same. With a mask, no pixel attends to unobserved pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.sampling import Healpix
    >>> layer = GraphTransformer(key_dim=8, num_heads=4, sampling=Healpix(4))
    >>> tuple(layer(np.zeros((2, 192, 5), "float32")).shape)
    (2, 192, 32)
    """

    on_graph = True

    def __init__(
        self,
        key_dim: int,
        num_heads: int,
        *,
        sampling: Sampling | None = None,
        num_layers: int = 1,
        graph: GraphLike | None = None,
        self_loops: bool = False,
        position_embedding: bool = True,
        activation: Any = "relu",
        normalization: str | None = "layer",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            key_dim,
            num_heads,
            sampling=sampling,
            num_layers=num_layers,
            position_embedding=position_embedding,
            activation=activation,
            normalization=normalization,
            **kwargs,
        )
        self.graph_spec = None if graph is None else as_graph(graph)
        self.self_loops = bool(self_loops)

    def make_embedding(self, width: int) -> keras.layers.Layer:
        """Return a dense layer of that width."""
        return keras.layers.Dense(width, dtype=self.dtype_policy, name="embedding")

    def make_block(self, **kwargs: Any) -> TransformerBlock:
        """Return a block in which neighbors attend to each other."""
        return NeighborTransformerBlock(graph=self.graph_spec, self_loops=self.self_loops, **kwargs)

    def call(self, x: Any, mask: Any = None) -> Any:
        """Embed the pixels, add the position embedding and apply the blocks."""
        return self.attend(self.embedding(hide(x, mask)), mask)

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, for `from_config`."""
        graph = {"graph": graph_config(self.graph_spec), "self_loops": self.self_loops}
        return {**super().get_config(), **graph}
