"""Atomic writing of files."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOUR = 3600.0
"""Age in seconds from which a temporary file counts as the leftover of a killed process."""

_TEMPORARY = re.compile(r"\.(?P<stem>.*)-[0-9a-f]{32}(?P<suffix>\.[^.]*)?")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, which then replaces `path` in one step.

    Readers of `path` find the old file or the complete new one. After an error, the old file
    remains. The new file is flushed to disk before it replaces the old one. Leftovers of killed
    processes are removed.

    Parameters
    ----------
    path : Path
        The final file; missing directories are created. If `path` is a symbolic link, its target is
        replaced.

    Yields
    ------
    Path
        A new name in the same directory with the same suffix.

    Raises
    ------
    OSError
        If the file cannot be written, for lack of space or permission, or because `path` is a
        directory.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    stem = path.stem[:50]  # file names are limited to 255 bytes
    temporary = path.with_name(f".{stem}-{uuid.uuid4().hex}{path.suffix}")
    try:
        yield temporary
        flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
        remove_leftovers(path.parent, stem)


def check_directory(path: Path, space: int = 2**20) -> None:
    """Create a directory and check that it is writable, before a long computation.

    Parameters
    ----------
    path : Path
        The directory.
    space : int, default 1 MiB
        Free space to require, in bytes.

    Raises
    ------
    OSError
        If the directory cannot be created or written to, `path` is a file, or the disk is full.
    """
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{path} is a file; choose a directory for the results")
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".probe-{uuid.uuid4().hex}"
        try:
            probe.write_bytes(bytes(space))
            flush(probe)
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise type(error)(error.errno, f"{path} cannot be written to: {error.strerror}") from error


def remove_leftovers(directory: Path, stem: str | None = None) -> list[Path]:
    """Remove temporary files of `replacing` left in a directory by killed processes.

    Parameters
    ----------
    directory : Path
        The directory. If it does not exist or is not writable, nothing happens.
    stem : str, optional
        File name without suffix, cut after 50 characters. Default: remove the leftovers of all
        files.

    Returns
    -------
    list of Path
        The removed files.
    """
    removed = []
    with contextlib.suppress(OSError):
        for path in filter(is_leftover, directory.iterdir()):
            found = _TEMPORARY.fullmatch(path.name)
            if found and stem in (None, found["stem"]):
                with contextlib.suppress(OSError):
                    path.unlink()
                    removed.append(path)
    return removed


def is_leftover(path: Path) -> bool:
    """Return whether a file is old and has the name of a temporary file of `replacing`."""
    try:
        age = time.time() - path.lstat().st_mtime
    except OSError:
        return False
    return age > HOUR and _TEMPORARY.fullmatch(path.name) is not None


def flush(path: Path) -> None:
    """Flush a file to disk.

    Otherwise a power failure after renaming may leave an empty file.
    """
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # not supported by the file system
            raise
    finally:
        os.close(descriptor)


def require_space(folder: Path, size: int) -> None:
    """Raise OSError unless a file of the given size can be written.

    HDF5 crashes the process if the disk is full when it closes a file.

    Parameters
    ----------
    folder : Path
        Directory of the file.
    size : int
        Size in bytes.

    Raises
    ------
    OSError
        If the disk, or a limit of user or process, leaves too little space.
    """
    if not hasattr(os, "posix_fallocate"):
        free = shutil.disk_usage(folder).free
        if free < size:
            raise OSError(
                errno.ENOSPC, f"{size} bytes are needed, but only {free} are free", str(folder)
            )
        return
    with tempfile.TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, max(size, 1))
