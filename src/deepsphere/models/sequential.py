"""A stack of layers that starts on a sampling and walks its resolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import keras
import numpy as np
from numpy.typing import NDArray

from deepsphere.graph import Edges, Kind, check_edges, check_kind, choice_as_written, plain
from deepsphere.layers.base import PACKAGE, SphereLayer
from deepsphere.models.base import portable_compile_config
from deepsphere.models.observed import ObservedPixels, carry_mask, observed_after
from deepsphere.sampling import Sampling, deserialize, serialize


@keras.saving.register_keras_serializable(PACKAGE)
class Sequential(ObservedPixels, keras.Sequential):
    """A `keras.Sequential` on a sampling of the sphere.

    Walks through the layers with the current sampling, gives each layer of this package the
    sampling of its input (and graph layers their graph), and checks on the way that the pixels
    allow every change of resolution. Any other Keras layer may stand between. Input shape
    ``(batch, len(sampling), channels)``.

    Parameters
    ----------
    sampling : Sampling
        Where the inputs are sampled, for instance ``Healpix(64)``.
    layers : sequence of keras.layers.Layer, optional
        The layers, in order; more can be added with `add`. Layers of this package are copied
        (`SphereLayer.bind`): the same list makes several independent models. Other Keras layers
        are used as they are.
    neighbors : int, str or Nearest, optional
        Number of nearest neighbors in the graphs of layers that do not set their own. Default:
        20.
    laplacian : str or Optimal, optional
        Kind of Laplacian of layers that do not set their own. Default: ``"optimal"`` on
        longitude-latitude grids, ``"normalized"`` elsewhere.
    **kwargs
        Arguments of `keras.Sequential`: ``name``, ``trainable``.

    Raises
    ------
    TypeError, ValueError
        If `sampling` is not a sampling, or a layer does not fit its place: the sampling has no
        such coarser resolution, or is not closed under it.

    Examples
    --------
    >>> import keras
    >>> from deepsphere.layers import ChebyshevConv, Pool
    >>> from deepsphere.sampling import Healpix
    >>> model = Sequential(
    ...     Healpix(8),
    ...     [
    ...         ChebyshevConv(5, order=9, batch_norm=True, activation="relu"),
    ...         Pool(),
    ...         ChebyshevConv(2, order=9),
    ...         keras.layers.GlobalAveragePooling1D(),
    ...     ],
    ... )
    >>> model.build((None, 768, 1))
    >>> model.output_shape
    (None, 2)
    """

    def __init__(
        self,
        sampling: Sampling,
        layers: Sequence[keras.layers.Layer] = (),
        neighbors: Edges | None = None,
        laplacian: Kind | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(sampling, Sampling):
            raise TypeError(f"sampling must be a Sampling such as Healpix(64), got {sampling!r}")
        super().__init__(**kwargs)
        self.sampling = sampling
        self.supports_masking = True
        self.neighbors = None if neighbors is None else check_edges(neighbors)
        self.laplacian = None if laplacian is None else check_kind(laplacian)
        for layer in layers:
            self.add(layer, rebuild=False)
        if self._layers:
            self._maybe_rebuild()

    @property
    def output_sampling(self) -> Sampling:
        """Where the output of the last layer of this package is sampled."""
        for layer in reversed(self._layers):
            if isinstance(layer, SphereLayer):
                return layer.output_sampling
        return self.sampling

    def add(self, layer: Any, rebuild: bool = True) -> None:
        """Add a layer on top of the stack, on the sampling reached so far.

        Parameters
        ----------
        layer : keras.layers.Layer
            A layer of this package is copied, any other is used as it is.
        rebuild : bool, default True
            Whether to build the model again, if its input is known.
        """
        if isinstance(layer, SphereLayer):
            layer = layer.bind(
                self.output_sampling, neighbors=self.neighbors, laplacian=self.laplacian
            )
        super().add(layer, rebuild=rebuild)

    def build(self, input_shape: tuple[int | None, ...] | None = None) -> None:
        """Build all layers for inputs of shape ``(batch, len(sampling), channels)``."""
        if input_shape is not None and (
            len(input_shape) < 2 or input_shape[1] != len(self.sampling)
        ):
            raise ValueError(
                f"the model is on {self.sampling} and needs inputs of shape "
                f"(batch, {len(self.sampling)}, channels), got {tuple(input_shape)}"
            )
        if input_shape is not None:  # a batch size that happened to be first is no commitment
            input_shape = (None, *input_shape[1:])
        super().build(input_shape)

    def observed_output(self) -> NDArray[np.bool_] | None:
        """Return which pixels of the output a `SurveyMask` among the layers leaves observed.

        None if that is all of them, or the output has no pixels.
        """
        key = tuple(map(id, self.layers))
        found = getattr(self, "_observed_output", None)
        if found is None or found[0] != key:
            found = key, observed_after(self.layers)
            object.__setattr__(self, "_observed_output", found)
        return found[1]

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:  # noqa: ARG002
        """Return which pixels of the output are observed, given those of the input."""
        return None if previous_mask is None else carry_mask(previous_mask, self.layers)

    def predicts_maps(self) -> bool:
        """Return whether the output has pixels, as far as that is known before it is built."""
        return self.built and len(self.output_shape) > 2

    def get_config(self) -> dict[str, Any]:
        """Return the arguments from which `from_config` makes an equal model."""
        config = super().get_config()
        for layer in config["layers"]:
            if "sampling" in layer["config"]:  # found again by walking: kept once, not per layer
                layer["config"]["sampling"] = None
                layer.pop("build_config", None)  # built by the model, on its sampling
        return {
            **config,
            "sampling": serialize(self.sampling),
            "neighbors": plain(self.neighbors),
            "laplacian": plain(self.laplacian),
        }

    def get_compile_config(self) -> dict[str, Any] | None:
        """Return how the model was compiled, in terms that every backend knows."""
        return portable_compile_config(super().get_compile_config())

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Make a model from what `get_config` returned."""
        return cls._from_arguments(
            {
                "sampling": deserialize(config["sampling"]),
                "neighbors": choice_as_written(config)["neighbors"],
                "laplacian": config["laplacian"],
            },
            config,
            custom_objects,
        )

    @classmethod
    def _from_arguments(
        cls, arguments: dict[str, Any], config: dict[str, Any], custom_objects: Any
    ) -> Self:
        layers = [
            keras.saving.deserialize_keras_object(layer, custom_objects=custom_objects)
            for layer in config["layers"]
        ]
        model = cls(
            layers=layers, name=config["name"], trainable=config.get("trainable", True), **arguments
        )
        shape = config.get("build_input_shape")
        if shape and not model.built:
            model.build(tuple(shape))
        return model
