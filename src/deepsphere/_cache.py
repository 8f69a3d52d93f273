"""Caches of results that are slow to compute: in memory, and on disk for large matrices.

`clear_cache` empties all caches in memory.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import lru_cache
from pathlib import Path
from threading import RLock
from typing import Any, Generic, ParamSpec, TypeVar

import numpy as np
from scipy.sparse import csr_array

from deepsphere._allocator import return_freed_memory
from deepsphere._files import remove_leftovers, replacing
from deepsphere._trust import OTHERS_MAY_WRITE, distrust, make_private_directory

logger = logging.getLogger(__name__)
Value = TypeVar("Value")
Arguments = ParamSpec("Arguments")

_clearing: list[Callable[[], None]] = []
"""Functions that empty the caches in memory."""

FILE = 2
"""Version of the file layout; files with another version are never read."""

_told: set[str] = set()
"""Warnings already issued: a directory is requested often, but its problem is reported once."""


def matrix_bytes(matrix: csr_array) -> int:
    """Return the size of a sparse matrix in bytes."""
    return matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes


class MemoryCache(Generic[Value]):
    """A cache in memory that drops the least recently used values beyond a total size.

    It lives as long as the process, because `clear_cache` refers to it.

    Parameters
    ----------
    size : callable
        Function that returns the size of a value in bytes.
    limit : int
        Largest total size in bytes. The value requested last is always kept.
    """

    def __init__(self, size: Callable[[Value], int], limit: int) -> None:
        self._size, self._limit = size, limit
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = RLock()
        _clearing.append(self.clear)

    def get(self, key: Hashable, build: Callable[[], Value]) -> Value:
        """Return the value of `key`, built if it is not cached."""
        with self._lock:
            if key not in self._values:
                self._values[key] = build()
            self._values.move_to_end(key)
            while len(self._values) > 1 and self._total() > self._limit:
                self._values.popitem(last=False)
            return self._values[key]

    def _total(self) -> int:
        return sum(self._size(value) for value in self._values.values())

    def clear(self) -> None:
        """Drop all values."""
        with self._lock:
            self._values.clear()


def cached(
    maxsize: int,
) -> Callable[[Callable[Arguments, Value]], Callable[Arguments, Value]]:
    """Decorate a function: keep its last `maxsize` results in memory until `clear_cache`."""

    def decorate(function: Callable[Arguments, Value]) -> Callable[Arguments, Value]:
        keeping = lru_cache(maxsize)(function)
        _clearing.append(keeping.cache_clear)
        return keeping  # type: ignore[return-value]  # lru_cache forgets the types of arguments

    return decorate


def clear_cache() -> None:
    """Free the memory of everything that DeepSphere keeps in case it is needed again.

    These are graphs, Laplacians and their largest eigenvalues, the numbers of neighbors found for
    ``Graph(max_error=...)``, Gaussian latitudes, the coarser levels of scattered points, and checks
    of samplings. They are built again when they are needed. Layers and models keep what they hold.
    Files in the cache directory are kept, too: delete the directory, which ``deepsphere doctor``
    prints, to remove large graphs and compiled kernels.

    On Linux, memory that was freed before but kept for reuse is returned to the system, too.
    """
    for clear in _clearing:
        clear()
    return_freed_memory()


def cache_directory(tell: Callable[[str], object] | None = None) -> Path | None:
    """Return the directory of large graphs and compiled kernels, or None if there is none.

    The environment variable ``DEEPSPHERE_CACHE`` names the directory, or turns the cache off if it
    is ``off``. Defaults to ``deepsphere`` in ``XDG_CACHE_HOME`` or ``~/.cache``.

    A directory that other users can write to, itself or through a parent, is not used, because
    files there are executed (see `deepsphere._trust.distrust`). A warning then names the directory
    and the remedy. If it was set by the variable, the default directory is used instead.

    Parameters
    ----------
    tell : callable, optional
        Function called with each warning. By default the logger issues each warning once.

    Returns
    -------
    Path or None
        The directory, which need not exist. None if the cache is off, the user has no home
        directory, or no directory can be trusted.
    """
    tell = tell or _tell
    named = os.environ.get("DEEPSPHERE_CACHE", "")
    if named.lower() == "off":
        return None
    for name in dict.fromkeys((named or default_cache(), default_cache())):
        try:
            path = Path(name).expanduser()
        except RuntimeError as error:  # no home directory, as in some containers
            tell(f"graphs are not cached on disk: there is no directory {name} ({error})")
            continue
        fault = distrust(path)
        if fault is None:
            return path
        tell(f"not using the cache directory {path}: {fault}")
    return None


def default_cache() -> str:
    """Return the directory to use if ``DEEPSPHERE_CACHE`` is not set."""
    return str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "deepsphere")


def _tell(message: str) -> None:
    if message not in _told:
        _told.add(message)
        logger.warning(message)


class DiskCache:
    """A cache on disk of sparse matrices, each with a number, in files named by a hash of the key.

    Parameters
    ----------
    version : int
        Version of the contents. It is part of the hash, so other versions never read these files.
    """

    def __init__(self, version: int) -> None:
        self._version = version

    def get(
        self,
        key: dict[str, Any],
        build: Callable[[], tuple[csr_array, float]],
        size: int | None = None,
    ) -> tuple[csr_array, float]:
        """Return the matrix and number of a key, built and written if they are not on disk.

        A file is used only if it was made for this key and holds a valid matrix of finite numbers.
        Otherwise the matrix is rebuilt, and a warning says why. If the directory is not writable, a
        warning is issued and the matrix is returned without being cached.

        Parameters
        ----------
        key : dict
            Everything that the matrix depends on, as JSON-serializable data.
        build : callable
            Function that returns the matrix and the number.
        size : int, optional
            Required number of rows and columns. If given, the number must be finite too.

        Returns
        -------
        csr_array, float
            The matrix and its number.
        """
        directory = cache_directory()
        if directory is None:
            return build()
        text = json.dumps({"file": FILE, "version": self._version, **key}, sort_keys=True)
        path = directory / f"graph-{hashlib.sha256(text.encode()).hexdigest()[:32]}.npz"
        try:
            return read_matrix(path, text, size)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except Exception as error:  # zipfile and NumPy raise anything on damaged files
            logger.warning("rebuilding the damaged cache file %s (%s)", path, error or repr(error))
        matrix, number = build()
        try:
            make_private_directory(directory)
            _write(path, text, matrix, number)
            remove_leftovers(directory)
        except OSError as error:
            logger.warning("could not write a graph to %s (%s)", path, error)
        return matrix, number


def read_matrix(
    path: Path, key: str | None = None, size: int | None = None
) -> tuple[csr_array, float]:
    """Read and check a file of the cache.

    Parameters
    ----------
    path : Path
        The file.
    key : str, optional
        Key that the file must have been made for. Defaults to any.
    size : int, optional
        Required number of rows and columns. Defaults to any.

    Returns
    -------
    csr_array, float
        The matrix and its number.

    Raises
    ------
    ValueError
        If other users can write to the file, it was made for another key, or its matrix has the
        wrong size, indices out of range or out of order, or numbers that are not finite.
    Exception
        Any exception that NumPy raises for a file that it cannot read.
    """
    fault = distrust(path)
    if fault:
        raise ValueError(fault)
    # Given a path, np.load leaves the file open if its contents are damaged.
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        made_for = str(file["key"])
        if key is not None and made_for != key:
            raise ValueError(f"it was made for {made_for:.200}")
        shape = tuple(int(length) for length in file["shape"])
        if size is not None and shape != (size, size):
            raise ValueError(f"its matrix has shape {shape} instead of {(size, size)}")
        number = float(file["number"])
        arrays = file["data"], file["indices"], file["indptr"]
    if [array.dtype.kind for array in arrays] != ["f", "i", "i"]:
        raise ValueError(f"its arrays are of {', '.join(str(array.dtype) for array in arrays)}")
    matrix = csr_array(arrays, shape=shape)
    matrix.check_format(full_check=True)  # raises ValueError if indices are out of range
    if not matrix.has_canonical_format:
        raise ValueError("its indices are not in order")
    if not np.isfinite(matrix.data).all() or np.isnan(number) or (size and np.isinf(number)):
        raise ValueError("its numbers are not all finite")
    return matrix, number


def _write(path: Path, key: str, matrix: csr_array, number: float) -> None:
    with replacing(path) as temporary:
        np.savez(
            temporary,
            key=np.array(key),
            data=matrix.data,
            indices=matrix.indices,
            indptr=matrix.indptr,
            shape=np.array(matrix.shape),
            number=number,
        )
        temporary.chmod(temporary.stat().st_mode & ~OTHERS_MAY_WRITE)  # whatever the umask says
