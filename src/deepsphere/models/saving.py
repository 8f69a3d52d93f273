"""Safe saving and loading of models."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
from keras.src.backend.common import global_state

from deepsphere._files import flush, replacing, require_space
from deepsphere.layers.sublayers import SublayerState
from deepsphere.models.weight_files import size_of_weights, superfluous_weights, weight_differences
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


def _read_dataset(_: str, item: Any) -> None:
    if isinstance(item, h5py.Dataset):
        item[()]
