"""Portable operations, for exported models that other programs run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

__all__ = ["portable"]

_lock = Lock()
_open = {"portable": 0, "across": 0}

# Global flags, since PyTorch's compiler notices when these change: it cannot read context variables
# and would take what is local to a thread for a constant.
_is_portable = False
_is_across_runtimes = False


@contextmanager
def portable(*, across_runtimes: bool = False) -> Iterator[None]:
    """Use portable operations, which other programs also have.

    By default DeepSphere computes with functions that it compiles from C and that exist in no other
    program. Inside this context manager it uses operations of the backend instead. Results are
    equal up to rounding, but take two to five times as long.

    `export` of the models of this package does this automatically. Use it for other functions that
    write a model to a file: ``tf.saved_model.save``, ``jax.export``, ``torch.export``, converters.

    Parameters
    ----------
    across_runtimes : bool, default False
        Whether the operations must exist in other runtimes, too, such as ONNX Runtime, LiteRT and
        OpenVINO. Sparse products are then sums over neighbors, which takes longer still. Default:
        those of the backend, which a SavedModel needs and which `torch.export` and `jax.export`
        write.

    Notes
    -----
    It acts on all threads, and on functions that are traced inside of it. What ``tf.function`` or
    ``jax.jit`` has traced before keeps its operations: wrap the model in a new function.

    Examples
    --------
    >>> import keras
    >>> import deepsphere
    >>> layer = deepsphere.layers.ChebyshevConv(2, sampling=deepsphere.Healpix(2))
    >>> with deepsphere.portable():
    ...     y = layer(keras.ops.ones((1, 48, 1)))
    """
    names = ("portable", "across") if across_runtimes else ("portable",)
    _count(names, 1)
    try:
        yield
    finally:
        _count(names, -1)


def _count(names: tuple[str, ...], change: int) -> None:
    global _is_portable, _is_across_runtimes
    with _lock:
        for name in names:
            _open[name] += change
        _is_portable, _is_across_runtimes = _open["portable"] > 0, _open["across"] > 0


def is_portable() -> bool:
    """Return whether `portable` rules out compiled functions."""
    return _is_portable


def is_across_runtimes() -> bool:
    """Return whether `portable` rules out operations that only the backend has."""
    return _is_across_runtimes


def called_from(modules: tuple[str, ...]) -> bool:
    """Return whether a function of one of these modules is on the call stack.

    This notices exports without `portable`, for example of plain Keras models with layers of this
    package. Neither Keras nor the backends distinguish a trace for export, which runs in other
    processes, from a trace that runs in this process.

    Parameters
    ----------
    modules : tuple of str
        Prefixes of dotted module names.
    """
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_globals.get("__name__", "").startswith(modules):
            return True
    return False
