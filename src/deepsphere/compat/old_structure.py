"""Names of a model's weights in files saved by deepsphere-cosmo-tf2.

Files name weights by the classes and attributes of the old layers, differently in Keras 2, Keras 3
and TensorFlow checkpoints. `describe` returns the structure of the old counterpart of a model; the
other functions return the names of its weights in each format.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from deepsphere.layers import (
    GraphConv,
    GraphTransformer,
    PatchConv,
    PatchConvTranspose,
    Pool,
    PositionEmbedding,
    ResidualBlock,
    TransformerBlock,
    VisionTransformer,
)

Array = NDArray[Any]

BASES = {"chebyshev": "Chebyshev", "monomial": "Monomial", "bernstein": "Bernstein"}
"""Old classes of the graph convolutions, by basis."""


def _flat(value: Array) -> Array:
    return value.reshape(-1)  # old biases have shape (1, 1, Fout)


def _first(value: Array) -> Array:
    return value[0]  # the old kernel is that of a 2D convolution of height 1


@dataclass(frozen=True)
class Weight:
    """A weight of the old model.

    Attributes
    ----------
    name : str
        Its attribute in the old layer.
    variable : keras.Variable
        The variable that receives its value.
    trainable : bool
        Whether it was trainable. Files list trainable weights first.
    convert : callable
        Converts the old array to the value of `variable`.
    """

    name: str
    variable: Any
    trainable: bool = True
    convert: Callable[[Array], Array] = np.asarray


@dataclass(eq=False)
class Part:
    """A layer or model of the old code.

    Attributes
    ----------
    name : str
        Name of its class.
    weights : list of Weight
        Its own weights, in order of creation.
    parts : dict of str to Part or list of Part
        Its sublayers by attribute, in the order in which they were set.
    is_model : bool
        Whether it was a `keras.Model`, which lists its layers a second time.
    is_sequential : bool
        Whether `parts` holds the layers of a `keras.Sequential`.
    """

    name: str
    weights: list[Weight] = field(default_factory=list)
    parts: dict[str, Part | list[Part]] = field(default_factory=dict)
    is_model: bool = True
    is_sequential: bool = False

    def children(self) -> list[Part]:
        """Return all sublayers, in the order in which they were set."""
        return [
            part
            for entry in self.parts.values()
            for part in (entry if isinstance(entry, list) else [entry])
        ]

    def all_weights(self) -> Iterator[Weight]:
        """Yield the weights of this part and its sublayers."""
        for part in self.children():
            yield from part.all_weights()
        yield from self.weights


def describe(model: Any) -> Part:
    """Return the structure of the old counterpart of a layer or model.

    Parameters
    ----------
    model : keras.layers.Layer or keras.Model
        A built layer of DeepSphere or Keras, a `Sequential`, or a model whose attributes are such
        layers and models.

    Returns
    -------
    Part
        Its old counterpart.
    """
    for kind, make in _DESCRIPTIONS.items():
        if isinstance(model, kind):
            return make(model)
    if isinstance(model, keras.Sequential):
        layers = [describe(layer) for layer in model.layers]
        return Part("HealpyGCNN", parts={"layers": layers}, is_sequential=True)
    if isinstance(model, keras.Model):
        return Part(type(model).__name__, parts=_attributes(model))
    return _keras_layer(model)


def _attributes(model: keras.Model) -> dict[str, Part | list[Part]]:
    """Return the layers and models among a model's attributes."""
    found: dict[str, Part | list[Part]] = {}
    # PyTorch stores layers separately from other attributes.
    for name in [*vars(model), *vars(model).get("_modules", {})]:
        value = None if name.startswith("_") else getattr(model, name, None)
        if isinstance(value, keras.layers.Layer):
            found[name] = describe(value)
        elif isinstance(value, (list, tuple)) and value:
            layers = [item for item in value if isinstance(item, keras.layers.Layer)]
            if len(layers) == len(value):
                found[name] = [describe(layer) for layer in layers]
    return found


def _keras_layer(layer: Any, name: str | None = None) -> Part:
    # `trainable_variables` is empty if a layer is frozen.
    trained = {id(variable) for variable in layer._trainable_variables}
    weights = [
        Weight(variable.name, variable, id(variable) in trained) for variable in layer.weights
    ]
    return Part(name or type(layer).__name__, weights, is_model=False)


def _batch_norm(norm: Any) -> Part:
    trained = [
        Weight(name, variable)
        for name, variable in (("gamma", norm.gamma), ("beta", norm.beta))
        if variable is not None
    ]
    moving = [
        Weight(name, getattr(norm, name), False) for name in ("moving_mean", "moving_variance")
    ]
    return Part("BatchNormalization", trained + moving, is_model=False)


def _norm(norm: Any) -> Part:
    if isinstance(norm, keras.layers.BatchNormalization):
        return _batch_norm(norm)
    return _keras_layer(norm, "LayerNormalization")


def _kernel_and_bias(layer: Any, convert_kernel: Any = np.asarray) -> list[Weight]:
    weights = [Weight("kernel", layer.kernel, convert=convert_kernel)]
    if layer.bias is not None:
        weights.append(Weight("bias", layer.bias, convert=_flat))
    return weights


def _graph_conv(layer: GraphConv) -> Part:
    parts = {} if layer.norm is None else {"bn": _batch_norm(layer.norm)}
    return Part(BASES[layer.basis], _kernel_and_bias(layer), dict(parts))


def _residual(block: ResidualBlock) -> Part:
    parts = {"layer1": _graph_conv(block.conv1), "layer2": _graph_conv(block.conv2)}
    if block.norm1 is not None:
        parts |= {"bn1": _norm(block.norm1), "bn2": _norm(block.norm2)}
    return Part("GCNN_ResidualLayer", parts=dict(parts))


def _pool(layer: Pool) -> Part:
    wrapped = "MaxPooling1D" if layer.mode == "max" else "AveragePooling1D"
    return Part("HealpyPool", parts={"filter": Part(wrapped, is_model=False)})


def _patch_conv(layer: PatchConv) -> Part:
    wrapped = Part("Conv1D", _kernel_and_bias(layer), is_model=False)
    return Part("HealpyPseudoConv", parts={"filter": wrapped})


def _patch_conv_transpose(layer: PatchConvTranspose) -> Part:
    wrapped = Part("Conv2DTranspose", _kernel_and_bias(layer, _first), is_model=False)
    return Part("HealpyPseudoConv_Transpose", parts={"filter": wrapped})


def _position(layer: PositionEmbedding) -> Part:
    return Part("AddPositionEmbs", [Weight("pos_embedding", layer.embeddings)], is_model=False)


def _block(block: TransformerBlock) -> Part:
    parts = {
        old: _keras_layer(getattr(block, new), "Dense")
        for old, new in (("wq", "query"), ("wk", "key"), ("wv", "value"))
    }
    if block.norm1 is not None:
        parts |= {"layer_norm1": _norm(block.norm1), "layer_norm2": _norm(block.norm2)}
    parts |= {"activation_layer": Part("Activation", is_model=False)}
    parts |= {"dense": _keras_layer(block.dense, "Dense")}
    return Part("MultiHeadAttention", parts=dict(parts))


def _transformer(layer: Any, name: str, embedding: Part) -> Part:
    parts: dict[str, Part | list[Part]] = {"embed": embedding}
    if layer.position is not None:
        parts["pos_encoder"] = _position(layer.position)
    parts["mha_layers"] = [_block(block) for block in layer.blocks]
    return Part(name, parts=parts)


def _vision_transformer(layer: VisionTransformer) -> Part:
    embedding = Part("Conv1D", _kernel_and_bias(layer.embedding), is_model=False)
    return _transformer(layer, "Healpy_ViT", embedding)


def _graph_transformer(layer: GraphTransformer) -> Part:
    return _transformer(layer, "Graph_Transformer", _keras_layer(layer.embedding, "Dense"))


_DESCRIPTIONS: dict[type, Callable[[Any], Part]] = {
    GraphConv: _graph_conv,
    ResidualBlock: _residual,
    Pool: _pool,
    PatchConv: _patch_conv,
    PatchConvTranspose: _patch_conv_transpose,
    PositionEmbedding: _position,
    TransformerBlock: _block,
    VisionTransformer: _vision_transformer,
    GraphTransformer: _graph_transformer,
    keras.layers.BatchNormalization: _batch_norm,
}


def hdf5_paths(part: Part, keras_version: int, layers: str = "layers") -> dict[str, Weight]:
    """Return the weights of a model by their path in a ``*.weights.h5`` file.

    Parameters
    ----------
    part : Part
        The model.
    keras_version : {2, 3}
        Keras visits the attributes of a layer in alphabetical order (Keras 2 in reverse) and names
        a layer by the first attribute that holds it.
    layers : str, default "layers"
        Attribute that holds the layers of a `keras.Sequential`.

    Returns
    -------
    dict of str to Weight
        The weights by path.
    """
    found: dict[str, Weight] = {}
    visited: set[int] = set()

    def visit(part: Part, path: str) -> None:
        visited.add(id(part))
        own = sorted(part.weights, key=lambda weight: not weight.trainable)
        found.update({f"{path}vars/{i}": weight for i, weight in enumerate(own)})
        attributes = dict(part.parts)
        if part.is_sequential:
            attributes = {layers: part.children()}
        elif part.is_model:
            attributes["layers"] = part.children()
        for name in sorted(attributes, reverse=keras_version == 2):
            entry = attributes[name]
            if isinstance(entry, Part):
                if id(entry) not in visited:
                    visit(entry, f"{path}{name}/")
                continue
            used: dict[str, int] = {}
            for child in entry:
                if id(child) in visited:
                    continue
                base = _snake_case(child.name)
                number = used[base] = used.get(base, -1) + 1
                visit(child, f"{path}{name}/{base}{f'_{number}' if number else ''}/")

    visit(part, "")
    return found


def _snake_case(name: str) -> str:
    """Convert a class name to Keras' snake case: ``Healpy_ViT`` becomes ``healpy__vi_t``."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def checkpoint_paths(part: Part) -> dict[tuple[str, ...], Weight]:
    """Return the weights of a model by their path of attributes in a TensorFlow checkpoint.

    Returns
    -------
    dict of tuple of str to Weight
        The weights by path. A layer of a `keras.Sequential` is ``layer_with_weights-i``, where i
        counts only layers with weights.
    """
    found: dict[tuple[str, ...], Weight] = {(weight.name,): weight for weight in part.weights}
    steps: list[tuple[tuple[str, ...], Part]] = []
    if part.is_sequential:
        weighted = (child for child in part.children() if any(child.all_weights()))
        steps = [((f"layer_with_weights-{i}",), child) for i, child in enumerate(weighted)]
    else:
        for name, entry in part.parts.items():
            if isinstance(entry, Part):
                steps.append(((name,), entry))
            else:
                steps += [((name, str(i)), child) for i, child in enumerate(entry)]
    for step, child in steps:
        found.update({(*step, *path): weight for path, weight in checkpoint_paths(child).items()})
    return found


def legacy_order(part: Part) -> list[Weight]:
    """Return the weights of a layer in the order of the ``*.h5`` files of Keras 2.

    Trainable weights come first. A model lists the weights of its layers before its own.
    """
    weights = list(part.all_weights())
    return sorted(weights, key=lambda weight: not weight.trainable)
