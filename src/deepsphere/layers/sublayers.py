"""What Keras does not save of the layers inside a layer: whether they train, and in what precision.

Keras writes these settings for the layers of a functional or sequential model, each with its own
configuration. A layer that makes its sublayers itself writes only its own, and TensorFlow's
checkpoints do not see sublayers in Python containers at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import keras


class SublayerState:
    """Mixin that saves and restores what a layer or model knows about its sublayers.

    Put it before the Keras class among the bases. It adds two entries to the configuration, each
    only where there is something to say:

    - ``frozen``: paths of the sublayers whose ``trainable`` is False,
    - ``quantized``: paths of the sublayers that `keras.Model.quantize` has changed, with the mode.

    Both are applied as soon as the layer is built. It also shows sublayers in lists, tuples and
    dicts to ``tf.train.Checkpoint``, which otherwise saves only those that are attributes.

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
        # Not by Keras' `__setattr__`, which wraps containers.
        object.__setattr__(self, "_frozen_paths", tuple(frozen))
        object.__setattr__(self, "_quantized_paths", dict(quantized or {}))

    # A functional model is built before the constructor ends.
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
            for path, layer in found.items():  # parents first: a parent's flag goes to its children
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
        # TensorFlow's protocol for checkpoints and saved models; other backends never call it.
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
    """Walk through the layers inside a layer, parents before their children.

    Parameters
    ----------
    layer : keras.layers.Layer
        Where to begin.
    prefix : str, default ""
        What all paths start with.

    Yields
    ------
    path : str
        Names of attributes and places in containers, as in ``"down_blocks/0/conv1"``.
    sublayer : keras.layers.Layer
        Each sublayer, once.
    """
    for name, child in _direct_sublayers(layer):
        yield prefix + name, child
        yield from walk_sublayers(child, f"{prefix}{name}/")


def _direct_sublayers(layer: Any) -> Iterator[tuple[str, keras.layers.Layer]]:
    children = {id(child) for child in layer._flatten_layers(include_self=False, recursive=False)}
    if isinstance(layer, keras.Sequential) or hasattr(layer, "_operations"):  # a functional model
        attributes: dict[str, Any] = {"layers": list(layer.layers)}
    else:
        # PyTorch keeps submodules apart from the other attributes.
        attributes = {**vars(layer), **vars(layer).get("_modules", {})}
        attributes = {
            name: value
            for name, value in attributes.items()
            # Not where Keras, PyTorch and TensorFlow themselves list all of them.
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
