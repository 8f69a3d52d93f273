"""The network class of deepsphere-cosmo-tf2, with its signature and attributes."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Self, cast

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepsphere.compat import gnn_transformers, healpy_layers
from deepsphere.compat.filter_inspection import FilterInspection, by_old_name
from deepsphere.compat.gnn_layers import note_ignored
from deepsphere.compat.old_constructors import OldSignature, old_face, refuse_old_checkpoint
from deepsphere.compat.old_weights import is_old_weights, load_tf2_weights
from deepsphere.graph import Graph
from deepsphere.graph.spec import LaplacianName, as_graph
from deepsphere.layers.base import PACKAGE
from deepsphere.models import Sequential
from deepsphere.sampling import Healpix

_OLD_LAYERS: dict[type, type[OldSignature]] = {
    old.native: old
    for old in (
        healpy_layers.HealpyChebyshev,
        healpy_layers.HealpyMonomial,
        healpy_layers.HealpyBernstein,
        healpy_layers.HealpyPool,
        healpy_layers.HealpyPseudoConv,
        healpy_layers.HealpyPseudoConv_Transpose,
        healpy_layers.Healpy_ResidualLayer,
        healpy_layers.Healpy_Transformer,
        gnn_transformers.Graph_ViT,
    )
}
"""Old layers by the layers that replace them."""


@keras.saving.register_keras_serializable(PACKAGE)
class HealpyGCNN(FilterInspection, Sequential):
    """A stack of layers on HEALPix: `deepsphere.models.Sequential` under its old name.

    Parameters
    ----------
    nside : int
        Resolution of the input, a power of two.
    indices : array_like of int, shape (n,)
        NEST numbers of the input's pixels, strictly increasing; all pixels for the full sphere.
    layers : sequence of keras.layers.Layer
        Layers of `deepsphere.healpy_layers` or `deepsphere.layers`, and Keras layers.
    n_neighbors : int, default 8
        Number of nearest neighbors in the graphs. Unlike in the old code, any number is allowed.
    max_batch_size, initial_Fin : int, optional
        Ignored: large products are split automatically.
    laplacian : str, default "normalized_tf2"
        Type of the Laplacian, see `deepsphere.Graph`. The default reproduces the old code,
        including ties between neighbors; ``"normalized"`` has all symmetries of the pixels.
    spmm_backend : str, optional
        Ignored: there is only one sparse product.
    **kwargs
        Other arguments of `deepsphere.models.Sequential`: ``name``, ``trainable``.

    Attributes
    ----------
    nside_in, nside_out : int
        Resolution of the input and the output.
    indices_in : ndarray of int64
        Pixels of the input.
    layers_in, layers_use : list
        The given layers, and the layers in use.
    n_neighbors : int
        Number of nearest neighbors.
    reduction_fac : float
        Ratio of the two resolutions.

    Raises
    ------
    TypeError
        If ``graph`` is given, or as in `deepsphere.models.Sequential` and
        `deepsphere.sampling.Healpix`.
    ValueError
        As in `deepsphere.models.Sequential` and `deepsphere.sampling.Healpix`.
    """

    sampling: Healpix

    def __init__(
        self,
        nside: int,
        indices: ArrayLike,
        layers: Sequence[keras.layers.Layer],
        n_neighbors: int = 8,
        max_batch_size: int | None = None,  # noqa: ARG002
        initial_Fin: int | None = None,  # noqa: ARG002
        laplacian: LaplacianName = "normalized_tf2",
        spmm_backend: str | None = None,
        **kwargs: Any,
    ) -> None:
        note_ignored("HealpyGCNN", spmm_backend=spmm_backend)
        if "graph" in kwargs:
            raise TypeError(
                f"HealpyGCNN takes n_neighbors and laplacian, got graph={kwargs['graph']!r}; "
                "deepsphere.Sequential takes any graph"
            )
        if nside == int(nside):
            nside = int(nside)  # the old code accepted 16.0
        if not kwargs.get("name"):  # Keras no longer accepts the old network's empty name
            kwargs.pop("name", None)
        super().__init__(
            Healpix(nside, indices), layers, Graph(n_neighbors, laplacian=laplacian), **kwargs
        )
        given = [layer for layer in layers if not isinstance(layer, keras.layers.InputLayer)]
        # Hidden from Keras, which would track them as parts of the model.
        self._given = SimpleNamespace(layers=given)

    def add(self, layer: Any, rebuild: bool = True) -> None:
        """Add a layer on top of the stack, with its attributes of the old code."""
        if type(layer) in _OLD_LAYERS:
            layer = layer._copy_with()  # its class will change
        super().add(layer, rebuild=False)
        self._give_old_face(self._layers[-1])
        if rebuild:
            self._maybe_rebuild()

    def _give_old_face(self, layer: keras.layers.Layer) -> None:
        old = _OLD_LAYERS.get(type(layer))
        if old is not None:
            layer.__class__ = old_face(old)
        if isinstance(layer, healpy_layers.Healpy_ResidualLayer):
            self._give_old_face(layer.conv1)
            self._give_old_face(layer.conv2)
        elif isinstance(layer, healpy_layers.Healpy_Transformer):
            layer._on_old_graph = self._own_graph.laplacian == "normalized_tf2"

    def load_weights(self, filepath: Any, skip_mismatch: bool = False, **kwargs: Any) -> None:
        """Load weights, including those saved by deepsphere-cosmo-tf2 in any format.

        The parameters are those of `keras.Model.load_weights`. `filepath` may also be any path
        that `deepsphere.compat.load_tf2_weights` reads. The layers must be those of the saved
        network, in the same order.
        """
        if is_old_weights(filepath):
            load_tf2_weights(self, filepath, skip_mismatch=skip_mismatch)
        else:
            super().load_weights(filepath, skip_mismatch, **kwargs)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """Return a layer by its name or index, see `keras.Model.get_layer`.

        Names of the old code, such as ``"chebyshev_1"``, work too.
        """
        if name is not None and index is None:
            layer = by_old_name(name, self)
            if any(layer is each for each in self.layers):
                return layer
        return super().get_layer(name, index)

    def _lookup_dependency(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Return the object that a TensorFlow checkpoint is restored into."""
        refuse_old_checkpoint(name.startswith("layer_with_weights-"))
        return super()._lookup_dependency(name, *args, **kwargs)

    def _transform_indices(
        self, nside_in: int, nside_out: int, indices: ArrayLike
    ) -> NDArray[np.int64]:
        """Return the pixels that cover a set of pixels at another resolution, in NEST ordering."""
        pixels = np.asarray(indices, dtype=np.int64)
        if nside_out <= nside_in:
            return np.unique(pixels // (nside_in // nside_out) ** 2)
        children = (nside_out // nside_in) ** 2
        return (np.unique(pixels)[:, None] * children + np.arange(children)).ravel()

    @property
    def layers_in(self) -> list[keras.layers.Layer]:
        """The given layers."""
        return list(self._given.layers)

    def __dir__(self) -> list[str]:
        # Keras saves all layers found by dir(), and the originals are not part of the model.
        return [name for name in super().__dir__() if name != "layers_in"]

    @property
    def nside_in(self) -> int:
        """Resolution of the input."""
        return self.sampling.nside

    @property
    def nside_out(self) -> int:
        """Resolution of the output."""
        return cast(Healpix, self.output_sampling).nside

    @property
    def indices_in(self) -> NDArray[np.int64]:
        """Pixels of the input."""
        return self.sampling.pixels

    @property
    def layers_use(self) -> list[keras.layers.Layer]:
        """The layers in use."""
        return self.layers

    @property
    def n_neighbors(self) -> int:
        """Number of nearest neighbors."""
        return self._own_graph.neighbor_count

    @property
    def _own_graph(self) -> Graph:
        return cast(Graph, self.graph_spec)

    @property
    def reduction_fac(self) -> float:
        """Ratio of the input's to the output's resolution."""
        return self.nside_in / self.nside_out

    @classmethod
    def _arguments(cls, config: dict[str, Any]) -> dict[str, Any]:
        arguments = super()._arguments(config)
        sampling = cast(Healpix, arguments.pop("sampling"))
        graph = as_graph(arguments.pop("graph"))
        own = {"n_neighbors": graph.neighbor_count, "laplacian": graph.laplacian}
        return {**arguments, "nside": sampling.nside, "indices": sampling.pixels, **own}

    def clone(self, clone_function: Any = None, input_tensors: Any = None) -> Self:
        """Return a model with the same layers and new weights, see `Sequential.clone`."""
        model = super().clone(clone_function, input_tensors)
        model._given.layers = list(self._given.layers)
        return model
