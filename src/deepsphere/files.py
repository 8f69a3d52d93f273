"""Files that are written whole or not at all."""

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
"""Age in seconds at which a temporary file is taken for the leftover of a killed process."""

_TEMPORARY = re.compile(r"\.(?P<stem>.*)-[0-9a-f]{32}(?P<suffix>\.[^.]*)?")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to, which then replaces `path` in one step.

    Whoever reads `path` finds the old file or the new one, never a part of it; after an error
    the old one is still there. The new file has reached the disk before it takes the old one's
    place. What processes that were killed have left of earlier attempts is removed.

    Parameters
    ----------
    path : Path
        Where the file goes; its directory is made if it does not exist. If `path` is a symbolic
        link, the file that it points to is replaced.

    Yields
    ------
    Path
        A new name in the same directory with the same suffix.

    Raises
    ------
    OSError
        If the file cannot be written: no space, no permission, a directory in its place.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    stem = path.stem[:50]  # with what is added the name must stay below 255 bytes
    temporary = path.with_name(f".{stem}-{uuid.uuid4().hex}{path.suffix}")
    try:
        yield temporary
        flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
        remove_leftovers(path.parent, stem)


def check_directory(path: Path, space: int = 2**20) -> None:
    """Make a directory and see that files can be written to it, before a long computation.

    Parameters
    ----------
    path : Path
        The directory.
    space : int, default 1 MiB
        Number of bytes that must fit.

    Raises
    ------
    OSError
        If it cannot be made or written to, is a file, or the disk is full.
    """
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{path} is a file; name a directory for the results")
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
    """Remove temporary files of `replacing` that killed processes have left in a directory.

    Parameters
    ----------
    directory : Path
        Where to look; nothing happens if it does not exist or cannot be written to.
    stem : str, optional
        Only leftovers of files of this name, without suffix and cut after 50 characters.

    Returns
    -------
    list of Path
        What was removed.
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
    """Whether a file is old and has a name that `replacing` gives to temporary files."""
    try:
        age = time.time() - path.lstat().st_mtime
    except OSError:
        return False
    return age > HOUR and _TEMPORARY.fullmatch(path.name) is not None


def flush(path: Path) -> None:
    """Have the operating system write a file to the disk.

    Without that a power failure after the renaming may leave an empty file in place of both.
    """
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that cannot do it
            raise
    finally:
        os.close(descriptor)


def require_space(folder: Path, size: int) -> None:
    """Raise unless a file of some size can be written.

    HDF5 crashes the whole process when the disk is full as it closes a file: ask before.

    Parameters
    ----------
    folder : Path
        Directory of the file.
    size : int
        Number of bytes.

    Raises
    ------
    OSError
        If there is no room, by the disk or by the limits of user and process.
    """
    if not hasattr(os, "posix_fallocate"):
        free = shutil.disk_usage(folder).free
        if free < size:
            raise OSError(errno.ENOSPC, f"{size} bytes are needed and {free} are free", str(folder))
        return
    with tempfile.TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, max(size, 1))
