"""Base classes and helpers of the layers with old constructors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import keras
import numpy as np

from deepsphere.graph import Graph
from deepsphere.layers import SphereLayer
from deepsphere.layers.base import PACKAGE
from deepsphere.sampling import Healpix, Sampling


class OldError(ValueError, OSError):
    """Invalid argument: a `ValueError` that is also an `OSError`, which the old code raised."""


@contextmanager
def old_errors() -> Iterator[None]:
    """Convert ValueError to `OldError` within the context."""
    try:
        yield
    except OldError:
        raise
    except ValueError as error:
        raise OldError(str(error)) from error


def refuse_old_checkpoint(old: bool) -> None:
    """Raise ValueError if `tf.train.Checkpoint` restores an old checkpoint.

    TensorFlow would silently skip most of it.
    """
    if old:
        raise ValueError(
            "this checkpoint was written by deepsphere-cosmo-tf2, whose layers had a different "
            "structure: load it with model.load_weights(path), or with "
            "deepsphere.compat.load_tf2_weights(model, path) if the model contains several "
            "networks"
        )


class OldAttributes:
    """Mixin of layers with the attributes of the old code.

    Attributes
    ----------
    old_parts : tuple of str
        Attributes that are layers or expensive to compute. They are hidden from `dir`, which Keras
        uses to find and name the objects it saves, so that it saves layers under their new names
        and does not build graphs.
    """

    old_parts: ClassVar[tuple[str, ...]] = ()

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name not in self.old_parts]

    def _lookup_dependency(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Return the object that a TensorFlow checkpoint is restored into."""
        refuse_old_checkpoint(name in self.old_parts)
        return super()._lookup_dependency(name, *args, **kwargs)  # type: ignore[misc]


class OldConstructor(SphereLayer):
    """Mixin of layers whose constructor takes arguments of the old code.

    Their configuration is that of the new layer, `native`.
    """

    native: ClassVar[type[SphereLayer]]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Create a layer from the result of `get_config`."""
        layer = cls.native.from_config(config)
        layer.__class__ = cls  # Keras finds its weights by the class name
        return layer

    def _given_arguments(self) -> dict[str, Any]:
        return {}  # `native` does not take the old arguments


class OldSignature(OldConstructor):
    """Mixin of old layers that models replace by layers of `deepsphere.layers`.

    Attributes
    ----------
    on_graph_class : type or None
        The old layer class that takes the graph itself, used within models of the old code.
    """

    on_graph_class: ClassVar[type[Any] | None] = None

    def _copy_with(self, **changes: Any) -> Any:
        return self.native.from_config({**self._arguments(), **changes})

    def bind(self, sampling: Sampling, graph: Graph | None = None) -> Any:
        """Return a layer of `deepsphere.layers` on a sampling."""
        with old_errors():
            return self._copy_with().bind(sampling, graph)


_faces: dict[str, Any] = {}


def old_face(old: Any) -> Any:
    """Return a class with the attributes of an old layer that Keras saves as the new layer.

    It is the class of the layers of a `HealpyGCNN`. Code for the old package can find these layers
    with `isinstance` and read their arguments, while saved models contain no old names. They are
    instances of both old classes, such as ``HealpyChebyshev`` and ``gnn_layers.Chebyshev``.

    Parameters
    ----------
    old : type
        A class such as ``HealpyPool``.

    Returns
    -------
    type
        A subclass of `old` with the name of ``old.native``.
    """
    native: type[SphereLayer] = old.native
    name = native.__name__
    if name not in _faces:
        # Keras also saves the module, so use that of the new layer.
        attributes = {"__module__": native.__module__, "__doc__": old.__doc__}
        face = type(name, (old,), {**attributes, "bind": SphereLayer.bind})
        # Register the new layer last, so that Keras finds it under the common name.
        for cls in (face, native):
            keras.saving.register_keras_serializable(PACKAGE, name)(cls)
        if old.on_graph_class is not None:
            old.on_graph_class.register(face)
        _faces[name] = face
    return _faces[name]


class AnyPixels(OldSignature):
    """Mixin of layers that only need their pixels in groups of four, whatever the sampling."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build the layer, on the pixels with the lowest numbers if it has no sampling."""
        with old_errors():
            if self.sampling is None and len(input_shape) == 3 and input_shape[1] is not None:
                self.sampling = first_pixels(input_shape[1])
                self.output_sampling  # noqa: B018  raises ValueError if the pixels cannot be grouped
            super().build(input_shape)


def first_pixels(count: int) -> Healpix:
    """Return a sampling with `count` pixels, for layers that depend only on their number."""
    nside = 1
    while 12 * nside**2 < count:
        nside *= 2
    # Add two levels if it is not a full sphere, so that p fails only if pixels cannot be grouped.
    return Healpix(nside) if 12 * nside**2 == count else Healpix(4 * nside, np.arange(count))
