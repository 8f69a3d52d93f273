"""Installed and configured backends of Keras, found without importing any."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path

BACKENDS = ("tensorflow", "jax", "torch")
"""The backends that DeepSphere supports."""


def installed_backends() -> list[str]:
    """Return the names of the installed backends."""
    return [name for name in BACKENDS if find_spec(name) is not None]


def configured_backend() -> tuple[str, str]:
    """Return the backend that Keras will use, and the source of that setting.

    The backend is that of ``KERAS_BACKEND``, else of ``keras.json`` in ``KERAS_HOME`` or
    ``~/.keras``, which Keras writes on its first import, else TensorFlow.
    """
    named = os.environ.get("KERAS_BACKEND")
    if named:
        return named, "KERAS_BACKEND"
    home = os.environ.get("KERAS_HOME") or str(Path("~") / ".keras")
    path = Path(os.path.expanduser(home)) / "keras.json"  # noqa: PTH111  never raises
    try:
        configured = json.loads(path.read_text(encoding="utf-8")).get("backend")
    except (OSError, ValueError, AttributeError):
        configured = None
    return (str(configured), str(path)) if configured else ("tensorflow", "Keras' default")


def missing_backend(name: str) -> str:
    """Return a message with the remedy for a missing backend."""
    installed = installed_backends()
    text = (
        f"Keras' backend {name!r}, which is not installed. Either install it (pip install "
        f"'deepsphere-keras[{name}]'), or "
    )
    if not installed:
        return f"{text}another one: {', '.join(other for other in BACKENDS if other != name)}"
    choices = " or ".join(f"KERAS_BACKEND={other}" for other in installed)
    return f"{text}set the environment variable {choices} before Keras is imported"
