"""Safe saving and loading of models."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import zipfile
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import keras
from keras.src.backend.common import global_state

from deepsphere._files import flush, replacing, require_space
from deepsphere.layers.sublayers import SublayerState
from deepsphere.ops.exporting import portable

LEGACY_SUFFIXES = (".h5", ".hdf5")


class SavedModel(SublayerState):
    """Mixin that saves models atomically and checks weights on loading.

    Put it before the Keras class among the bases. Files are written under a temporary name in the
    same directory, read back, flushed to disk and renamed. If the disk is full or the process is
    killed, an existing file remains intact.
    """

    def save(
        self, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any
    ) -> None:
        """Write the model to a ``.keras`` file, see `keras.Model.save`.

        Parameters
        ----------
        filepath : path
            Name of the file. An existing file is replaced in one step once the new one is complete.
        overwrite : bool, default True
            Whether to replace an existing file without asking.
        zipped : bool, optional
            False writes a directory instead of a single file.
        **kwargs
            Other arguments of `keras.Model.save`.

        Raises
        ------
        ValueError
            If the name ends in ``.h5`` or ``.hdf5``. This format of Keras 2 cannot store samplings,
            and such files could not be loaded.
        OSError
            If the file cannot be written.
        """
        name = os.fspath(filepath)
        if name.lower().endswith(LEGACY_SUFFIXES):
            refuse_legacy_file(self, name)
        path = Path(name)
        if name.startswith("hf://") or (path.exists() and not overwrite):  # Keras asks the user
            super().save(filepath, overwrite, zipped, **kwargs)  # type: ignore[misc]
        elif zipped is False:
            size = size_of_weights(self)
            _save_directory(path, size, lambda new: super(SavedModel, self).save(new, True, False))  # type: ignore[misc]
        else:
            with replacing(path) as temporary:
                require_space(path.parent, size_of_weights(self))
                super().save(temporary, overwrite, zipped, **kwargs)  # type: ignore[misc]
                _check_archive(temporary)

    def save_weights(
        self, filepath: Any, overwrite: bool = True, max_shard_size: float | None = None
    ) -> None:
        """Write the weights to a ``.weights.h5`` file, see `keras.Model.save_weights`.

        Parameters
        ----------
        filepath : path
            Name of the file. An existing file is replaced once the new one is complete.
        overwrite : bool, default True
            Whether to replace an existing file without asking.
        max_shard_size : float, optional
            Maximum size of each file in GB, to split the weights into several files.

        Raises
        ------
        ValueError
            If the name does not have the ending that Keras requires.
        OSError
            If the file cannot be written.
        """
        path = Path(filepath)
        endings = (".weights.h5",) if max_shard_size is None else (".weights.h5", ".weights.json")
        if not path.name.endswith(endings):
            raise ValueError(
                f"the name of a file of weights must end in {' or '.join(endings)}, "
                f"got {os.fspath(filepath)!r}"
            )
        if path.exists() and not overwrite:  # Keras asks the user
            super().save_weights(filepath, overwrite, max_shard_size)  # type: ignore[misc]
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent, prefix=".weights-") as folder:
            require_space(Path(folder), size_of_weights(self))
            super().save_weights(Path(folder) / path.name, True, max_shard_size)  # type: ignore[misc]
            files = sorted(Path(folder).iterdir(), key=lambda file: file.suffix == ".json")
            for file in files:
                if file.suffix == ".h5":
                    _check_hdf5(file)
                flush(file)
            for file in files:  # the index of shards comes last
                file.replace(path.parent / file.name)

    def load_weights(self, filepath: Any, skip_mismatch: bool = False, **kwargs: Any) -> None:
        """Read weights from a file, see `keras.Model.load_weights`.

        Parameters
        ----------
        filepath : path
            A file written by `save_weights` or `save`.
        skip_mismatch : bool, default False
            Whether to warn about weights that do not match or that the model lacks, and load the
            others, instead of raising an error.
        **kwargs
            Other arguments of `keras.Model.load_weights`.

        Raises
        ------
        ValueError
            If weights in the file are missing, superfluous or of another shape. The message lists
            the weights that differ, with their shapes.
        """
        try:
            super().load_weights(filepath, skip_mismatch, **kwargs)  # type: ignore[misc]
        except ValueError as error:
            differences = weight_differences(self, filepath) if self.built else []  # type: ignore[attr-defined]
            if not differences:
                raise
            raise ValueError(
                f"{os.fspath(filepath)} does not hold the weights of "
                f"{type(self).__name__} {self.name!r}:\n{_listed(differences)}\n"  # type: ignore[attr-defined]
                "Build the model with the sampling, the filters and the order that it was saved "
                "with, or load the whole model with keras.models.load_model."
            ) from error

    def export(
        self,
        filepath: Any,
        format: str = "tf_saved_model",  # noqa: A002 (the name in Keras)
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Write the model for other runtimes, see `keras.Model.export`.

        The exported model computes with portable operations, see `deepsphere.portable`.

        Parameters
        ----------
        filepath : path
            Name of the file or folder.
        format : str, default "tf_saved_model"
            One of the formats of Keras. What runs outside of the backend, such as ``"onnx"``, uses
            operations that all runtimes have.
        *args, **kwargs
            Other arguments of `keras.Model.export`.
        """
        with portable(across_runtimes=format != "tf_saved_model"):
            super().export(filepath, format, *args, **kwargs)  # type: ignore[misc]

    def load_own_variables(self, store: Any) -> None:
        """Load the model's own variables; raise ValueError if the file has superfluous weights.

        Keras calls this for each part of a model, and raises the error or turns it into a warning.
        """
        super().load_own_variables(store)  # type: ignore[misc]
        superfluous = superfluous_weights(self, store)
        if superfluous:
            raise ValueError(
                f"the file holds weights that {type(self).__name__} {self.name!r} does not "  # type: ignore[attr-defined]
                f"have:\n{_listed(superfluous)}\nLoad it with skip_mismatch=True to leave them out"
            )

    def get_config(self) -> dict[str, Any]:
        """Return the model's arguments, for `from_config`.

        Raises
        ------
        ValueError
            If it is called to write the HDF5 format of Keras 2, by `keras.saving.save_model` or by
            `save` of a plain Keras model that contains this one.
        """
        if global_state.get_global_attribute("use_legacy_config", False):
            refuse_legacy_file(self)
        config: dict[str, Any] = super().get_config()
        return config

    def get_compile_config(self) -> dict[str, Any] | None:
        """Return the arguments of `compile`, in a form that works on every backend."""
        return portable_compile_config(super().get_compile_config())  # type: ignore[misc]


MOST_SHOWN = 8
"""Maximum number of differences in an error message."""


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


def refuse_legacy_file(model: Any, name: str | None = None) -> None:
    """Raise ValueError with the format to use; `name` is None if Keras has begun the file."""
    path = Path("model.h5" if name is None else name)
    begun = "" if name is not None else "; the file that Keras has started contains no model"
    raise ValueError(
        f"{type(model).__name__} {model.name!r} cannot be saved as {name or 'HDF5'}: the HDF5 "
        "format of Keras 2 loses the samplings, and such a file could not be loaded. Save "
        f"{path.with_suffix('.keras').name} instead, or the weights alone with "
        f"save_weights({path.with_suffix('.weights.h5').name!r}){begun}"
    )


def portable_compile_config(config: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return a compile configuration that names no backend."""
    optimizer = (config or {}).get("optimizer")
    # On PyTorch, Keras names its private subclass, which can only be loaded with PyTorch.
    if isinstance(optimizer, dict) and optimizer["module"].startswith("keras.src.backend."):
        optimizer.update(module="keras.optimizers", registered_name=None)
    return config


def _save_directory(path: Path, size: int, write: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        require_space(Path(folder), size)
        new, old = Path(folder) / path.name, Path(folder) / "old"
        write(new)
        if not path.exists():
            new.rename(path)
            return
        path.rename(old)
        try:
            new.rename(path)
        except OSError:
            old.rename(path)
            raise
        shutil.rmtree(old, ignore_errors=True)


def _check_archive(path: Path) -> None:
    if path.is_dir() or not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise OSError(f"{path} could not be read back after writing: {damaged} is damaged")


def _check_hdf5(path: Path) -> None:
    with h5py.File(path, "r") as file:
        file.visititems(_read_dataset)


def _listed(lines: list[str]) -> str:
    more = len(lines) - MOST_SHOWN
    shown = [*lines[:MOST_SHOWN], *([f"and {more} more"] if more > 0 else [])]
    return "\n".join(f"- {line}" for line in shown)


Shapes = dict[str, tuple[int, ...]]


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


NO_WEIGHTS = frozenset({"optimizer", "metrics", "_loss_tracker", "_compile_metrics"})
"""Groups of a weights file that belong to training, not to the network."""


def _read_dataset(_: str, item: Any) -> None:
    if isinstance(item, h5py.Dataset):
        item[()]
