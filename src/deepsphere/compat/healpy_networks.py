"""The network of deepsphere-cosmo-tf2, with its signature and attributes."""

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
from deepsphere.graph import Graph, LaplacianName, as_graph
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
"""The old layers by those that they have become."""


@keras.saving.register_keras_serializable(PACKAGE)
class HealpyGCNN(FilterInspection, Sequential):
    """A stack of layers on HEALPix: `deepsphere.models.Sequential` under its old name.

    Parameters
    ----------
    nside : int
        Resolution of the input.
    indices : array_like of int, shape (n,)
        NEST numbers of the input's pixels, strictly increasing; all of them for the full sphere.
    layers : sequence of keras.layers.Layer
        Layers of `deepsphere.healpy_layers` or `deepsphere.layers`, and any of Keras.
    n_neighbors : int, default 8
        Number of nearest neighbors in the graphs. Any number is allowed now.
    max_batch_size, initial_Fin : int, optional
        No longer needed: products that are too large are split by themselves.
    laplacian : str, default "normalized_tf2"
        Which Laplacian, see `deepsphere.Graph`. The default is that of the old code, tie for tie;
        ``"normalized"`` has all symmetries of the pixels.
    spmm_backend : str, optional
        No longer needed, and ignored: there is one way to multiply sparse matrices.
    **kwargs
        Other arguments of `deepsphere.models.Sequential`: ``name``, ``trainable``.

    Attributes
    ----------
    nside_in, nside_out : int
        Resolution of the input and of the output.
    indices_in : ndarray of int64
        The input's pixels.
    layers_in, layers_use : list
        The layers as given, and as they are used.
    n_neighbors : int
        Number of nearest neighbors.
    reduction_fac : float
        Ratio of the two resolutions.

    Raises
    ------
    TypeError, ValueError
        As for `deepsphere.models.Sequential` and `deepsphere.sampling.Healpix`.
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
            nside = int(nside)  # 16.0 was accepted
        if not kwargs.get("name"):  # the old network had the empty name, which Keras refuses now
            kwargs.pop("name", None)
        super().__init__(
            Healpix(nside, indices), layers, Graph(n_neighbors, laplacian=laplacian), **kwargs
        )
        given = [layer for layer in layers if not isinstance(layer, keras.layers.InputLayer)]
        # In a wrapper that Keras does not look into, or it would take them for parts of the model.
        self._given = SimpleNamespace(layers=given)

    def add(self, layer: Any, rebuild: bool = True) -> None:
        """Add a layer on top of the stack, with the attributes that it had in the old code."""
        super().add(layer, rebuild=False)
        self._give_old_face(self._layers[-1])
        if rebuild:
            self._maybe_rebuild()

    def _give_old_face(self, layer: keras.layers.Layer) -> None:
        old = _OLD_LAYERS.get(type(layer))
        if old is None:
            return
        layer.__class__ = old_face(old)
        if isinstance(layer, healpy_layers.Healpy_ResidualLayer):
            self._give_old_face(layer.conv1)
            self._give_old_face(layer.conv2)
        elif isinstance(layer, healpy_layers.Healpy_Transformer):
            layer._on_old_graph = self._own_graph.laplacian == "normalized_tf2"

    def load_weights(self, filepath: Any, skip_mismatch: bool = False, **kwargs: Any) -> None:
        """Load weights, also those that deepsphere-cosmo-tf2 saved in any format.

        The parameters are those of `keras.Model.load_weights`; `filepath` may also be what
        `deepsphere.compat.load_tf2_weights` reads. The layers must be those of the network that
        was saved, in the same order.
        """
        if is_old_weights(filepath):
            load_tf2_weights(self, filepath, skip_mismatch=skip_mismatch)
        else:
            super().load_weights(filepath, skip_mismatch, **kwargs)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """Return a layer by its name or position, see `keras.Model.get_layer`.

        The names that the old code gave are known too, such as ``"chebyshev_1"``.
        """
        if name is not None and index is None:
            layer = by_old_name(name, self)
            if any(layer is each for each in self.layers):
                return layer
        return super().get_layer(name, index)

    def _lookup_dependency(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Return the part that a checkpoint of TensorFlow is restored into."""
        refuse_old_checkpoint(name.startswith("layer_with_weights-"))
        return super()._lookup_dependency(name, *args, **kwargs)

    def _transform_indices(
        self, nside_in: int, nside_out: int, indices: ArrayLike
    ) -> NDArray[np.int64]:
        """Return the pixels of another resolution that a set of pixels covers, in NEST ordering."""
        pixels = np.asarray(indices, dtype=np.int64)
        if nside_out <= nside_in:
            return np.unique(pixels // (nside_in // nside_out) ** 2)
        children = (nside_out // nside_in) ** 2
        return (np.unique(pixels)[:, None] * children + np.arange(children)).ravel()

    @property
    def layers_in(self) -> list[keras.layers.Layer]:
        """The layers as given."""
        return list(self._given.layers)

    def __dir__(self) -> list[str]:
        # Keras saves all layers that it finds by this list; the originals are none of the model.
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
        """The input's pixels."""
        return self.sampling.pixels

    @property
    def layers_use(self) -> list[keras.layers.Layer]:
        """The layers as they are used."""
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
        """Ratio of the resolutions of input and output."""
        return self.nside_in / self.nside_out

    @classmethod
    def _arguments(cls, config: dict[str, Any]) -> dict[str, Any]:
        arguments = super()._arguments(config)
        sampling = cast(Healpix, arguments.pop("sampling"))
        graph = as_graph(arguments.pop("graph"))
        own = {"n_neighbors": graph.neighbor_count, "laplacian": graph.laplacian}
        return {**arguments, "nside": sampling.nside, "indices": sampling.pixels, **own}

    def clone(self, clone_function: Any = None, input_tensors: Any = None) -> Self:
        """Return a model of the same layers with new weights, see `Sequential.clone`."""
        model = super().clone(clone_function, input_tensors)
        model._given.layers = list(self._given.layers)
        return model
