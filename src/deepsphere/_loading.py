"""Lazy import of the modules that need Keras.

Samplings and graphs import quickly, while Keras and its backend take seconds. However, Keras must
know the classes of this package before it loads a model, even in a program that only runs
``import deepsphere, keras``. Therefore a finder at the head of ``sys.meta_path`` waits for the
first import of Keras, or of a module of this package that needs it. After that import it loads all
such modules and removes itself.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

from deepsphere._backends import BACKENDS, missing_backend

logger = logging.getLogger(__name__)

REGISTERING = (
    "layers",
    "models",
    "analysis",
    "gnn_layers",
    "gnn_transformers",
    "healpy_layers",
    "compat.healpy_networks",
)
"""Modules that need Keras, including all that register classes with it."""

WITHOUT_KERAS = ("__main__", "cli", "compat", "data", "doctor", "graph", "ops", "sampling", "torch")
"""Modules that can be imported without Keras, like all modules whose names start with ``_``."""

OPERATIONS_WITH_KERAS = (
    *("arguments", "attention", "blockwise", "filters", "mapping", "products", "randomness"),
    "shapes",
)
"""Modules of `deepsphere.ops` that run on the backend of Keras."""


def register_with_keras() -> None:
    """Register the classes now if Keras is imported, otherwise once it is."""
    if "keras" in sys.modules:
        _import_all()
    else:
        sys.meta_path.insert(0, _waiting)


def _import_all() -> None:
    for name in REGISTERING:
        import_module(f"deepsphere.{name}")


class _Waiting:
    """Finder that delegates to the others, and imports all modules that need Keras afterwards."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not _needs_keras(name):
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        specs = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None:
            self._have_all_imported_after(spec)
        return spec

    def _have_all_imported_after(self, spec: ModuleSpec) -> None:
        loader = spec.loader
        assert loader is not None
        execute = loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            vars(loader).pop("exec_module", None)
            sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self]
            try:
                execute(module)
                if spec.name != "keras":
                    _import_all()
            except BaseException as error:
                sys.meta_path.insert(0, self)
                _explain(error, spec.name)
                raise
            if spec.name == "keras":
                try:
                    _import_all()
                except Exception as error:  # importing Keras itself has succeeded
                    logger.warning("cannot register the layers of DeepSphere with Keras: %s", error)

        # Patch the instance, because a wrapper would hide other methods of the loader.
        vars(loader)["exec_module"] = execute_and_register


_waiting = _Waiting()


def _needs_keras(name: str) -> bool:
    package, _, part = name.partition(".")
    if package != "deepsphere":
        return name == "keras"
    if part.startswith("ops."):
        return part.removeprefix("ops.") in OPERATIONS_WITH_KERAS
    if part.startswith("compat."):
        return part != "compat.legacy_graph"
    return part != "" and "." not in part and part[0] != "_" and part not in WITHOUT_KERAS


def _explain(error: BaseException, name: str) -> None:
    """Add advice to the error if importing `name` failed because a backend is missing."""
    if not isinstance(error, ModuleNotFoundError) or error.name not in BACKENDS:
        return
    message = f"{name} needs {missing_backend(error.name)}"
    if name == "keras":  # keep the type of Keras' error
        error.add_note(f"DeepSphere: {message}")
    else:
        raise ImportError(message, name=error.name) from error
