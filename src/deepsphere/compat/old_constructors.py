"""What layers with old constructors share."""

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
    """An invalid argument: a `ValueError`, and an `OSError` as the old code raised."""


@contextmanager
def old_errors() -> Iterator[None]:
    """Raise an `OldError` in place of a `ValueError`."""
    try:
        yield
    except OldError:
        raise
    except ValueError as error:
        raise OldError(str(error)) from error


def refuse_old_checkpoint(old: bool) -> None:
    """Raise if `tf.train.Checkpoint` restores an old checkpoint, most of which it would skip."""
    if old:
        raise ValueError(
            "this checkpoint was written by deepsphere-cosmo-tf2, whose layers had other parts: "
            "load it by model.load_weights(path), or by deepsphere.compat.load_tf2_weights(model, "
            "path) if the model holds several networks"
        )


class OldAttributes:
    """Mixin of layers with the attributes of old ones.

    Attributes
    ----------
    old_parts : tuple of str
        Those that are layers, or slow to make. They are hidden from `dir`, by which Keras finds
        and names what it saves: it is to find layers by their new names, and not to make graphs.
    """

    old_parts: ClassVar[tuple[str, ...]] = ()

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name not in self.old_parts]

    def _lookup_dependency(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Return the part that a checkpoint of TensorFlow is restored into."""
        refuse_old_checkpoint(name in self.old_parts)
        return super()._lookup_dependency(name, *args, **kwargs)  # type: ignore[misc]


class OldConstructor(SphereLayer):
    """Mixin of layers of this package whose constructor takes old arguments.

    They write the configuration of the new layer, `native`.
    """

    native: ClassVar[type[SphereLayer]]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Make an equal layer from what `get_config` returned."""
        layer = cls.native.from_config(config)
        layer.__class__ = cls  # the name under which Keras finds its weights
        return layer

    def _given_arguments(self) -> dict[str, Any]:
        return {}  # the old ones, which `native` does not take


class OldSignature(OldConstructor):
    """What layers with old constructors share: models use the layers of this package instead.

    Attributes
    ----------
    on_graph_class : type or None
        The old layer that took the graph itself: what models of the old code were made of.
    """

    on_graph_class: ClassVar[type[Any] | None] = None

    def bind(self, sampling: Sampling, graph: Graph | None = None) -> Any:
        """Return a layer of `deepsphere.layers` on a sampling."""
        with old_errors():
            return self.native.from_config(self._arguments()).bind(sampling, graph)


_faces: dict[str, Any] = {}


def old_face(old: Any) -> Any:
    """Return a class with the attributes of an old layer, which Keras saves as the new one.

    The layers of a `HealpyGCNN` have it: code written for the old package finds them by
    `isinstance` and reads their arguments, and what is saved needs no old names. They count as
    instances of both old classes, such as ``HealpyChebyshev`` and ``gnn_layers.Chebyshev``.

    Parameters
    ----------
    old : type
        A class such as ``HealpyPool``.

    Returns
    -------
    type
        A subclass under the name of ``old.native``.
    """
    native: type[SphereLayer] = old.native
    name = native.__name__
    if name not in _faces:
        # Their module is the new layer's, too, as that is what Keras writes.
        face = type(name, (old,), {"__module__": native.__module__, "__doc__": old.__doc__})
        # Registered last, the new layer is what Keras finds under their common name.
        for cls in (face, native):
            keras.saving.register_keras_serializable(PACKAGE, name)(cls)
        if old.on_graph_class is not None:
            old.on_graph_class.register(face)
        _faces[name] = face
    return _faces[name]


class AnyPixels(OldSignature):
    """For layers that need to know no more than that their pixels come four by four."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Take the pixels for those with the lowest numbers, if nothing was said of them."""
        with old_errors():
            if self.sampling is None and len(input_shape) == 3 and input_shape[1] is not None:
                self.sampling = first_pixels(input_shape[1])
                self.resample(self.sampling)  # raises if they cannot be grouped
            super().build(input_shape)


def first_pixels(count: int) -> Healpix:
    """Return a sampling with so many pixels, for layers that need to know only their number."""
    nside = 1
    while 12 * nside**2 < count:
        nside *= 2
    # Two levels more where they are no full sphere: then p is wrong only if they cannot be grouped.
    return Healpix(nside) if 12 * nside**2 == count else Healpix(4 * nside, np.arange(count))
