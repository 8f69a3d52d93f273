"""Keep what is slow to build: in memory up to a limit, large matrices also on disk."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from threading import RLock
from typing import Any, Generic, TypeVar

import numpy as np
from scipy.sparse import csr_array

from deepsphere.files import replacing

logger = logging.getLogger(__name__)
Value = TypeVar("Value")

# What reading a damaged file raises; RuntimeError where it seems encrypted or oddly compressed.
_UNREADABLE = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile)


def matrix_bytes(matrix: csr_array) -> int:
    """Return the memory that a sparse matrix takes, in bytes."""
    return matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes


class MemoryCache(Generic[Value]):
    """Values by key; the least recently used go when the total size exceeds a limit.

    Parameters
    ----------
    size : callable
        Size of a value in bytes.
    limit : int
        Total size in bytes; the value asked for last always stays.
    """

    def __init__(self, size: Callable[[Value], int], limit: int) -> None:
        self._size, self._limit = size, limit
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = RLock()

    def get(self, key: Hashable, build: Callable[[], Value]) -> Value:
        """Return the value of `key`, built if it is not there."""
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
        """Forget all values."""
        with self._lock:
            self._values.clear()


def cache_directory() -> Path | None:
    """Return where large graphs are kept, or None if they are not.

    The environment variable ``DEEPSPHERE_CACHE`` names the directory; ``off`` turns the cache
    off. Default: ``deepsphere`` in ``XDG_CACHE_HOME`` or ``~/.cache``; None if there is no home.
    """
    name = os.environ.get("DEEPSPHERE_CACHE", "")
    if name.lower() == "off":
        return None
    path = Path(name or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "deepsphere")
    try:
        return path.expanduser()
    except RuntimeError as error:  # a user without a home, as in some containers
        logger.warning("keeping no graphs on disk: no directory %s (%s)", path, error)
        return None


class DiskCache:
    """Sparse matrices, each with a number, in files named by a hash of what they were made from.

    Parameters
    ----------
    version : int
        Part of the hash; another version never reads these files.
    """

    def __init__(self, version: int) -> None:
        self._version = version

    def get(
        self, key: dict[str, Any], build: Callable[[], tuple[csr_array, float]]
    ) -> tuple[csr_array, float]:
        """Return the matrix and number of a key, built and written if they are not there.

        A file that cannot be read is built anew; a directory that cannot be written to is
        reported and does no harm.
        """
        directory = cache_directory()
        if directory is None:
            return build()
        text = json.dumps({"version": self._version, **key}, sort_keys=True)
        path = directory / f"graph-{hashlib.sha256(text.encode()).hexdigest()[:32]}.npz"
        try:
            return _read(path)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except _UNREADABLE as error:
            logger.warning("rebuilding the damaged cache file %s (%s)", path, error)
        matrix, number = build()
        try:
            _write(path, matrix, number)
        except OSError as error:
            logger.warning("could not keep a graph in %s (%s)", path, error)
        return matrix, number


def _read(path: Path) -> tuple[csr_array, float]:
    with np.load(path, allow_pickle=False) as file:
        matrix = csr_array(
            (file["data"], file["indices"], file["indptr"]), shape=tuple(file["shape"])
        )
        matrix.has_canonical_format = True
        return matrix, float(file["number"])


def _write(path: Path, matrix: csr_array, number: float) -> None:
    with replacing(path) as temporary:
        np.savez(
            temporary,
            data=matrix.data,
            indices=matrix.indices,
            indptr=matrix.indptr,
            shape=np.array(matrix.shape),
            number=number,
        )
