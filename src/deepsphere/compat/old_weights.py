"""Loading of weights that deepsphere-cosmo-tf2 saved.

The formats are ``*.weights.h5`` of Keras 3 and Keras 2, the legacy ``*.h5`` of Keras 2, and
TensorFlow checkpoints by ``save_weights``, `tf.train.Checkpoint` or its manager.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from deepsphere._extras import require
from deepsphere.compat.old_structure import (
    Array,
    Part,
    Weight,
    checkpoint_paths,
    describe,
    hdf5_paths,
    legacy_order,
)

_OLD_GROUP = re.compile(
    r"(chebyshev|monomial|bernstein|gcnn__residual_layer|healpy_(pool|pseudo_conv\w*|_vi_t)"
    r"|graph__(transformer|vi_t))(_\d+)?"
)
"""Groups of old layers in ``*.weights.h5`` files."""

Match = tuple[Weight, Array | None]
"""A weight and its value in the file, or None if it is missing."""


def load_tf2_weights(
    model: Any, path: str | os.PathLike[str], *, skip_mismatch: bool = False
) -> None:
    """Load weights saved by deepsphere-cosmo-tf2 into a DeepSphere model.

    `HealpyGCNN.load_weights` calls this function for such files. Call it yourself for a subclassed
    model that holds several networks; its attributes must have the same names as in the old code.

    Parameters
    ----------
    model : keras.Model or keras.layers.Layer
        A built model with the layers of the saved model, in the same order.
    path : path
        A ``*.weights.h5`` file (Keras 2 or 3) or ``*.h5`` file (Keras 2); the prefix of a
        TensorFlow checkpoint, with or without ``.index``; or the folder of a
        ``tf.train.CheckpointManager``, for its latest checkpoint. Reading checkpoints requires
        TensorFlow, whatever the Keras backend.
    skip_mismatch : bool, default False
        Whether to warn about weights that do not match and load the others.

    Raises
    ------
    FileNotFoundError
        If nothing exists at `path`.
    ValueError
        If `model` is not built, the file has none of these formats, or its weights do not match
        those of the model in number or shape; the message lists them. The model is not modified.
    ImportError
        If `path` is a checkpoint and TensorFlow is not installed.

    Notes
    -----
    Outputs of `HealpyBernstein` layers differ from those of the old code, which omitted the last
    term of the basis.
    """
    if not model.built:
        raise ValueError(f"{model.name!r} has no weights yet: build it or call it once first")
    part = describe(model)
    matches, unused = _read(part, Path(path))
    problems = [f"{unused[0]!r} and {len(unused) - 1} more are only in the file"] if unused else []
    values = []
    for weight, array in matches:
        if array is None:
            problems.append(f"{_label(weight)} is not in the file")
            continue
        try:
            value = weight.convert(array)
        except (IndexError, ValueError):
            value = array
        if value.shape != tuple(weight.variable.shape):
            problems.append(
                f"{_label(weight)} has shape {tuple(weight.variable.shape)}, but {array.shape} in "
                "the file"
            )
            continue
        values.append((weight.variable, value))
    if problems:
        shown = "\n  ".join([*problems[:8], *(["..."] if len(problems) > 8 else [])])
        message = (
            f"the weights in {os.fspath(path)} do not match the model: the layers, their number of "
            f"channels and the order K must be those of the model that was saved\n  {shown}"
        )
        if not skip_mismatch:
            raise ValueError(message)
        warnings.warn(message, stacklevel=2)
    for variable, value in values:
        variable.assign(value)


def _label(weight: Weight) -> str:
    return repr(getattr(weight.variable, "path", weight.name))


def is_old_weights(path: str | os.PathLike[str]) -> bool:
    """Return whether a path holds weights saved by Keras 2 or by deepsphere-cosmo-tf2."""
    path = Path(path)
    if _checkpoint_prefix(path) is not None:
        return True
    if path.suffix != ".h5" or not path.is_file() or not h5py.is_hdf5(path):
        return False
    with h5py.File(path, "r") as file:
        if _legacy_group(file) is not None:
            return True
        names: list[str] = []
        file.visit(names.append)
        groups = {name.replace("\\", "/").rsplit("/", 1)[-1] for name in names}
        return any(_OLD_GROUP.fullmatch(group) for group in groups)


def _read(part: Part, path: Path) -> tuple[list[Match], list[str]]:
    """Return the weights with their values in the file, and the unused names in the file."""
    prefix = _checkpoint_prefix(path)
    if prefix is not None:
        return _read_checkpoint(part, prefix)
    if not path.is_file():
        raise FileNotFoundError(
            f"no weights at {path}: pass an *.h5 file, the prefix of a checkpoint, or the folder "
            "of a checkpoint manager"
        )
    if not h5py.is_hdf5(path):
        raise ValueError(f"{path} is neither an HDF5 file nor a TensorFlow checkpoint")
    with h5py.File(path, "r") as file:
        legacy = _legacy_group(file)
        return _read_hdf5(part, file) if legacy is None else _read_legacy(part, legacy)


def _read_hdf5(part: Part, file: h5py.File) -> tuple[list[Match], list[str]]:
    datasets: dict[str, h5py.Dataset] = {}

    def collect(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer"):
            datasets[name.replace("\\", "/")] = item

    file.visititems(collect)
    candidates = [
        hdf5_paths(part, version, layers)
        for version, layers in ((3, "layers"), (2, "layers_use"), (2, "layers"), (3, "layers_use"))
    ]
    paths = max(candidates, key=lambda paths: len(paths.keys() & datasets.keys()))
    matches = [
        (weight, datasets[path][()] if path in datasets else None) for path, weight in paths.items()
    ]
    return matches, sorted(datasets.keys() - paths.keys())


def _legacy_group(file: h5py.File) -> h5py.Group | None:
    group = file.get("model_weights", file)  # only in files of whole models
    return group if "layer_names" in group.attrs else None


def _read_legacy(part: Part, group: h5py.Group) -> tuple[list[Match], list[str]]:
    stored = []
    for layer in group.attrs["layer_names"]:
        names = [_text(name) for name in group[_text(layer)].attrs["weight_names"]]
        if names:
            stored.append([(name, group[_text(layer)][name][()]) for name in names])
    ours = [weights for child in part.children() if (weights := legacy_order(child))]
    matches: list[Match] = []
    unused: list[str] = []
    for i in range(max(len(ours), len(stored))):
        weights = ours[i] if i < len(ours) else []
        arrays = stored[i] if i < len(stored) else []
        matches += [(weight, None) for weight in weights[len(arrays) :]]
        unused += [name for name, _ in arrays[len(weights) :]]
        for weight, (name, array) in zip(weights, arrays, strict=False):
            same = name.rsplit("/", 1)[-1].partition(":")[0] == weight.name
            matches.append((weight, array if same else None))
            if not same:
                unused.append(name)
    return matches, unused


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _checkpoint_prefix(path: Path) -> Path | None:
    """Return the prefix of the checkpoint at a path, or None if there is none."""
    if path.suffix == ".index" and path.is_file():
        return path.with_suffix("")
    if Path(f"{path}.index").is_file():
        return path
    state = path / "checkpoint"
    if path.is_dir() and state.is_file():  # written by a checkpoint manager
        for line in state.read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "model_checkpoint_path":
                return path / json.loads(value)  # joining keeps absolute paths
    return None


def _read_checkpoint(part: Part, prefix: Path) -> tuple[list[Match], list[str]]:
    reader, nodes = _open_checkpoint(prefix)
    paths = checkpoint_paths(part)

    def find(node: int | None, path: tuple[str, ...]) -> str | None:
        """Return the key of the value at a path through the object graph."""
        for step in path:
            node = _child(nodes, node, step)
            if node is None:
                return None
        keys = [value.checkpoint_key for value in nodes[node].attributes]
        return keys[0] if keys else None

    roots = _reachable(nodes)
    best = max(roots, key=lambda root: sum(find(root, path) is not None for path in paths))
    matches: list[Match] = []
    used = set()
    for path, weight in paths.items():
        key = find(best, path)
        used.add(key)
        matches.append((weight, None if key is None else np.asarray(reader.get_tensor(key))))
    below = _keys_below(nodes, best)
    return matches, sorted(below - used)


def _child(nodes: Any, node: int | None, name: str) -> int | None:
    """Return the object at an attribute of another object in a checkpoint, or None."""
    children = {child.local_name: child.node_id for child in nodes[node].children}
    for candidate in (name, f"_{name}"):  # Keras 3 stores some kernels in private attributes
        if candidate in children:
            return children[candidate]
    layer = re.fullmatch(r"layer_with_weights-(\d+)", name)
    if layer is None or "_functional" not in children:
        return None
    # In a Keras 3 Sequential, the first operation is the input.
    operations = _child(nodes, children["_functional"], "_operations")
    below = [] if operations is None else nodes[operations].children
    ordered = sorted(below, key=lambda child: int(child.local_name))
    weighted = [child.node_id for child in ordered if _keys_below(nodes, child.node_id)]
    number = int(layer[1])
    return weighted[number] if number < len(weighted) else None


def _open_checkpoint(prefix: Path) -> tuple[Any, Any]:
    """Return a reader of a checkpoint and its object graph."""
    tensorflow = require("tensorflow", extra="tensorflow")
    messages = require("tensorflow.core.protobuf.trackable_object_graph_pb2", extra="tensorflow")
    reader = tensorflow.train.load_checkpoint(str(prefix))
    if "_CHECKPOINTABLE_OBJECT_GRAPH" not in reader.get_variable_to_shape_map():
        raise ValueError(
            f"{prefix} is a TensorFlow 1 checkpoint, which cannot be read; convert it with "
            "TensorFlow 2"
        )
    graph = messages.TrackableObjectGraph()
    graph.ParseFromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
    return reader, graph.nodes


def _reachable(nodes: Any) -> list[int]:
    """Return the objects of a checkpoint in breadth-first order."""
    found, position = [0], 0
    while position < len(found):
        for child in nodes[found[position]].children:
            if child.node_id not in found:
                found.append(child.node_id)
        position += 1
    return found


def _keys_below(nodes: Any, root: int) -> set[str]:
    """Return the keys of all values in an object of a checkpoint, except those of optimizers."""
    keys: set[str] = set()
    found, position = [root], 0
    while position < len(found):
        node = nodes[found[position]]
        keys |= {value.checkpoint_key for value in node.attributes}
        for child in node.children:
            if child.local_name != "optimizer" and child.node_id not in found:
                found.append(child.node_id)
        position += 1
    return {key for key in keys if key and "save_counter" not in key and ".OPTIMIZER" not in key}
