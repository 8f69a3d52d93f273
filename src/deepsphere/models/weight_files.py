"""Weights in files, compared with those of a model."""

from __future__ import annotations

import json
import math
import re
import zipfile
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import keras

from deepsphere._files import require_space

Shapes = dict[str, tuple[int, ...]]

NO_WEIGHTS = frozenset({"optimizer", "metrics", "_loss_tracker", "_compile_metrics"})
"""Groups of a weights file that belong to training, not to the network."""


def size_of_weights(model: keras.Model) -> int:
    """Return the approximate size in bytes of a file with a model's weights and optimizer.

    Parameters
    ----------
    model : keras.Model
        A built model.

    Returns
    -------
    int
        Size of all variables, plus an allowance for the structure of the file.
    """
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *(optimizer.variables if optimizer is not None else ())]
    bits = (re.search(r"\d+$", keras.backend.standardize_dtype(v.dtype)) for v in variables)
    sizes = (max(1, int(found.group()) // 8) if found else 1 for found in bits)
    data = sum(math.prod(v.shape) * size for v, size in zip(variables, sizes, strict=True))
    return data + 2048 * len(variables) + 16384


def weight_differences(model: Any, filepath: Any) -> list[str]:
    """Compare the weights in a file with those of a model by name and shape.

    Parameters
    ----------
    model : keras.Model
        A built model.
    filepath : path
        A ``.weights.h5``, ``.weights.json`` or ``.keras`` file.

    Returns
    -------
    list of str
        One line per weight that is missing, superfluous or of another shape, not counting states of
        optimizers and metrics. Empty if the file is of another kind.
    """
    found = _shapes_in_file(Path(filepath))
    if not found:
        return []
    wanted = _shapes_in_model(model)
    lines = []
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found:
            lines.append(f"{name}: missing from the file, {wanted[name]} in the model")
        elif name not in wanted:
            lines.append(f"{name}: {found[name]} in the file, missing from the model")
        elif found[name] != wanted[name]:
            lines.append(f"{name}: {found[name]} in the file, {wanted[name]} in the model")
    return lines


def superfluous_weights(model: Any, store: Any) -> list[str]:
    """Return the weights in an open file that a model lacks, which Keras would silently ignore.

    Parameters
    ----------
    model : keras.Model
        A built model, or one inside the model that is loaded.
    store : H5IOStore
        The argument that Keras passes to `load_own_variables`.

    Returns
    -------
    list of str
        One line per weight, with its shape. Empty if the store is of another kind.
    """
    inside = getattr(store, "_h5_entry_path", None)
    if inside is None:
        return []
    if hasattr(store, "sharding_config"):
        shapes = _shapes_in_shards(store.path, store.sharding_config)
    else:
        shapes = _shapes_in_group(store.h5_file)
    prefix = f"{inside}/" if inside else ""
    found = {
        name.removeprefix(prefix): shape
        for name, shape in shapes.items()
        if name.startswith(prefix)
    }
    if len(found) <= _count_of_weights(model):  # Keras has loaded all of them
        return []
    wanted = _shapes_in_model(model)
    return [f"{name}: {found[name]}" for name in sorted(found.keys() - wanted.keys())]


def _count_of_weights(model: Any) -> int:
    """Return the number of variables Keras saves; `weights` lacks some of batch normalization."""
    metrics = {id(variable) for metric in model.metrics for variable in metric.variables}
    return sum(
        id(variable) not in metrics and variable.name != "seed_generator_state"
        for variable in model.variables
    )


def _shapes_in_model(model: Any) -> Shapes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.weights.h5"
        require_space(path.parent, size_of_weights(model))
        keras.Model.save_weights(model, path)
        return _shapes_in_file(path)


def _shapes_in_file(path: Path) -> Shapes:
    if path.name.endswith(".h5"):
        with h5py.File(path, "r") as file:
            return _shapes_in_group(file)
    if path.name.endswith(".weights.json"):
        return _shapes_in_shards(path, json.loads(path.read_text()))
    if path.suffix == ".keras" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            content = archive.read("model.weights.h5")
        with h5py.File(BytesIO(content), "r") as file:
            return _shapes_in_group(file)
    return {}


def _shapes_in_shards(path: Path, shards: dict[str, Any]) -> Shapes:
    """Return the shapes in all files listed in a ``.weights.json`` file."""
    names: set[str] = set()
    for files in shards["weight_map"].values():
        names.update([files] if isinstance(files, str) else files)
    shapes: Shapes = {}
    for name in sorted(names):
        with h5py.File(path.with_name(name), "r") as file:
            shapes |= _shapes_in_group(file)
    return shapes


def _shapes_in_group(group: h5py.Group) -> Shapes:
    shapes: Shapes = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not NO_WEIGHTS.intersection(name.split("/")):
            shapes[name] = item.shape

    group.visititems(note)
    return shapes
