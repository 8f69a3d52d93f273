"""File locks between processes."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LONG = 3.0
"""Seconds of waiting after which to notify the caller."""


@contextmanager
def exclusive(path: Path, patience: float, tell: Callable[[], object]) -> Iterator[bool]:
    """Hold an exclusive lock if it can be acquired in time, and remove its file at the end.

    The operating system releases the lock when the process ends, even if it is killed. A leftover
    file does not block other processes.

    Parameters
    ----------
    path : Path
        The file to lock. Its directory must exist.
    patience : float
        Maximum time to wait for the lock, in seconds.
    tell : callable
        Called once if waiting takes more than `LONG` seconds.

    Yields
    ------
    bool
        Whether the lock is held. False after `patience` seconds, on file systems without locks or
        free space, and on Windows.
    """
    descriptor = _wait(path, patience, tell) if fcntl is not None else None
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            with contextlib.suppress(OSError):
                path.unlink()  # before the release, so that waiting processes see it is gone
            os.close(descriptor)


def _wait(path: Path, patience: float, tell: Callable[[], object]) -> int | None:
    start, pause, told = time.monotonic(), 0.01, False
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_open(path, descriptor):
                return descriptor
            os.close(descriptor)  # its holder has removed this file; try the new one
            continue
        except BlockingIOError:
            os.close(descriptor)
        except OSError:
            os.close(descriptor)
            return None
        waited = time.monotonic() - start
        if waited > patience:
            return None
        if waited > LONG and not told:
            told = True
            tell()
        time.sleep(pause)
        pause = min(2 * pause, 0.25)


def _is_open(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False
