"""Keep what is slow to build: in memory up to a limit, large matrices also on disk."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from threading import RLock
from typing import Any, Generic, TypeVar

import numpy as np
from scipy.sparse import csr_array

from deepsphere.files import remove_leftovers, replacing
from deepsphere.trust import OTHERS_MAY_WRITE, distrust, make_private_directory

logger = logging.getLogger(__name__)
Value = TypeVar("Value")

FILE = 2
"""Number of the files' layout: others are never read."""

_told: set[str] = set()
"""What has been said: a directory is asked for often, and its fault is told once."""


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


def cache_directory(tell: Callable[[str], object] | None = None) -> Path | None:
    """Return where large graphs and compiled kernels are kept, or None if they are not.

    The environment variable ``DEEPSPHERE_CACHE`` names the directory; ``off`` turns the cache
    off. Default: ``deepsphere`` in ``XDG_CACHE_HOME`` or ``~/.cache``; None if there is no home.

    A directory that other users may write to is not used, because what they put there would be
    executed: a warning says which directory that is and how to mend it, and the default takes the
    place of a directory that was named. Directories above count as well, see
    `deepsphere.trust.distrust`.

    Parameters
    ----------
    tell : callable, optional
        Called with what is wrong. Default: a warning of the logger, each of them once.
    """
    tell = tell or _tell
    named = os.environ.get("DEEPSPHERE_CACHE", "")
    if named.lower() == "off":
        return None
    for name in dict.fromkeys((named or default_cache(), default_cache())):
        try:
            path = Path(name).expanduser()
        except RuntimeError as error:  # a user without a home, as in some containers
            tell(f"keeping no graphs on disk: no directory {name} ({error})")
            continue
        fault = distrust(path)
        if fault is None:
            return path
        tell(f"not using the cache directory {path}: {fault}")
    return None


def default_cache() -> str:
    """Return the name of the directory that is used where the user names none."""
    return str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "deepsphere")


def _tell(message: str) -> None:
    if message not in _told:
        _told.add(message)
        logger.warning(message)


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
        self,
        key: dict[str, Any],
        build: Callable[[], tuple[csr_array, float]],
        size: int | None = None,
    ) -> tuple[csr_array, float]:
        """Return the matrix and number of a key, built and written if they are not there.

        A file is used only if it says that it was made for this key and holds a whole matrix of
        finite numbers; otherwise the graph is built anew, and a warning says why. A directory that
        cannot be written to is reported and does no harm.

        Parameters
        ----------
        key : dict
            All that the matrix depends on, as plain JSON data.
        build : callable
            Makes the matrix and the number.
        size : int, optional
            Number of rows and of columns that the matrix must have; its number must be finite
            then.
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
        except Exception as error:  # whatever damage makes zipfile and NumPy raise
            logger.warning("rebuilding the damaged cache file %s (%s)", path, error or repr(error))
        matrix, number = build()
        try:
            make_private_directory(directory)
            _write(path, text, matrix, number)
            remove_leftovers(directory)
        except OSError as error:
            logger.warning("could not keep a graph in %s (%s)", path, error)
        return matrix, number


def read_matrix(
    path: Path, key: str | None = None, size: int | None = None
) -> tuple[csr_array, float]:
    """Read a file of the cache and check all that can be checked.

    Parameters
    ----------
    path : Path
        The file.
    key : str, optional
        The key that it must be made for; by default any.
    size : int, optional
        Number of rows and of columns that the matrix must have; by default any.

    Returns
    -------
    csr_array, float
        The matrix, and the number that belongs to it.

    Raises
    ------
    ValueError
        If others may write to the file, or it was made for another key, or its matrix has another
        size, indices out of range or out of order, or numbers that are not finite.
    Exception
        Whatever NumPy raises if it cannot be read.
    """
    fault = distrust(path)
    if fault:
        raise ValueError(fault)
    # Opened here: NumPy leaves the file open where its contents are damaged.
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        made_for = str(file["key"])
        if key is not None and made_for != key:
            raise ValueError(f"it was made for {made_for:.200}")
        shape = tuple(int(length) for length in file["shape"])
        if size is not None and shape != (size, size):
            raise ValueError(f"its matrix has shape {shape} where {(size, size)} is right")
        number = float(file["number"])
        arrays = file["data"], file["indices"], file["indptr"]
    if [array.dtype.kind for array in arrays] != ["f", "i", "i"]:
        raise ValueError(f"its arrays are of {', '.join(str(array.dtype) for array in arrays)}")
    matrix = csr_array(arrays, shape=shape)
    matrix.check_format(full_check=True)  # indices in range, as many as there are numbers
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
