"""Saving of ``trainable`` and quantization of the sublayers of a layer.

Keras saves these settings for the layers of functional and sequential models, but not for layers
that a layer creates itself. TensorFlow's checkpoints ignore sublayers in Python containers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import keras


class SublayerState:
    """Mixin that saves and restores ``trainable`` and quantization of sublayers.

    Put it before the Keras class among the bases. It adds two entries to the configuration, each
    only if not empty:

    - ``frozen``: paths of sublayers whose ``trainable`` is False;
    - ``quantized``: paths of sublayers changed by `keras.Model.quantize`, with mode and
      configuration.

    Both are applied once the layer is built. The mixin also exposes sublayers in lists, tuples and
    dicts to ``tf.train.Checkpoint``, which otherwise saves only sublayers that are attributes.

    Parameters
    ----------
    *args, **kwargs
        Arguments of the Keras class.
    frozen : sequence of str, optional
        Paths of sublayers that do not train, as written by `get_config`.
    quantized : dict, optional
        Modes of quantized sublayers by path, as written by `get_config`.
    """

    def __init__(
        self,
        *args: Any,
        frozen: Iterable[str] = (),
        quantized: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        # Keras' `__setattr__` would wrap the containers.
        object.__setattr__(self, "_frozen_paths", tuple(frozen))
        object.__setattr__(self, "_quantized_paths", dict(quantized or {}))

    # Functional models are built before the constructor ends.
    _frozen_paths: tuple[str, ...] = ()
    _quantized_paths: dict[str, Any] = {}  # noqa: RUF012

    def _post_build(self) -> None:
        # Keras calls this after `build`, when all sublayers exist.
        super()._post_build()  # type: ignore[misc]
        self._restore_sublayers()

    def _restore_sublayers(self) -> None:
        frozen, quantized = self._frozen_paths, self._quantized_paths
        if not frozen and not quantized:
            return
        object.__setattr__(self, "_frozen_paths", ())
        object.__setattr__(self, "_quantized_paths", {})
        found = dict(walk_sublayers(self))
        missing = sorted({*frozen, *quantized} - set(found))
        if missing:
            raise ValueError(
                f"the saved configuration of {type(self).__name__} {self.name!r} names layers "  # type: ignore[attr-defined]
                f"that it does not have: {', '.join(missing)}; it has {', '.join(found)}"
            )
        for path, how in quantized.items():
            config = keras.saving.deserialize_keras_object(how["config"])
            found[path].quantize(how["mode"], config=config)
        if frozen:
            for path, layer in found.items():  # parents first, because they set their children
                if layer.trainable != (path not in frozen):
                    layer.trainable = path not in frozen

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, for `from_config`."""
        config = super().get_config()  # type: ignore[misc]
        frozen, quantized = list(self._frozen_paths), dict(self._quantized_paths)
        for path, layer in walk_sublayers(self):
            if not layer.trainable:
                frozen.append(path)
            mode = getattr(layer, "quantization_mode", None)
            if mode is not None and not isinstance(layer, SublayerState):
                settings = getattr(layer, "quantization_config", None)
                quantized[path] = {
                    "mode": mode,
                    "config": keras.saving.serialize_keras_object(settings),
                }
        if frozen:
            config["frozen"] = sorted(set(frozen))
        if quantized:
            config["quantized"] = quantized
        return config

    def _trackable_children(self, save_type: str = "checkpoint", **kwargs: Any) -> dict[str, Any]:
        # TensorFlow's protocol for checkpoints and SavedModels; other backends do not call it.
        children = super()._trackable_children(save_type, **kwargs)  # type: ignore[misc]
        if save_type == "checkpoint":
            known = {id(child) for child in children.values()}
            children.update(
                (name.replace("/", "-"), layer)
                for name, layer in _direct_sublayers(self)
                if id(layer) not in known
            )
        return children


def walk_sublayers(layer: Any, prefix: str = "") -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yield all sublayers of a layer with their paths, parents before children.

    Parameters
    ----------
    layer : keras.layers.Layer
        The outermost layer, which is not yielded.
    prefix : str, default ""
        Start of all paths.

    Yields
    ------
    path : str
        Attribute names and positions in containers, as in ``"down_blocks/0/conv1"``.
    sublayer : keras.layers.Layer
        The sublayer. Each one is yielded once.
    """
    for name, child in _direct_sublayers(layer):
        yield prefix + name, child
        yield from walk_sublayers(child, f"{prefix}{name}/")


def _direct_sublayers(layer: Any) -> Iterator[tuple[str, keras.layers.Layer]]:
    children = {id(child) for child in layer._flatten_layers(include_self=False, recursive=False)}
    if isinstance(layer, keras.Sequential) or hasattr(layer, "_operations"):  # a functional model
        attributes: dict[str, Any] = {"layers": list(layer.layers)}
    else:
        # PyTorch stores submodules separately from other attributes.
        attributes = {**vars(layer), **vars(layer).get("_modules", {})}
        attributes = {
            name: value
            for name, value in attributes.items()
            # Skip the frameworks' own lists of all sublayers.
            if name not in ("_layers", "_modules") and not name.startswith("_self_")
        }
    for name, value in attributes.items():
        for path, child in _layers_in(value, name):
            if id(child) in children:
                children.remove(id(child))
                yield path, child


def _layers_in(value: Any, path: str) -> Iterator[tuple[str, keras.layers.Layer]]:
    if isinstance(value, keras.layers.Layer):
        yield path, value
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _layers_in(item, f"{path}/{i}")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _layers_in(item, f"{path}/{key}")
