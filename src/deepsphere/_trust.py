"""Checks that cached files are intact and that no other user can have changed them."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def distrust(path: Path) -> str | None:
    """Return why another user could have created or changed `path`, or None if none could.

    Checks `path`, the directories above it, and the targets of symbolic links. Each must belong to
    this user or to root, and be writable by them only. Directories above `path` may also be
    world-writable with the sticky bit, such as ``/tmp``, or writable by the user's private group.

    Parameters
    ----------
    path : Path
        A file or directory. If it does not exist, only the directories above it count.

    Returns
    -------
    str or None
        One line with the first fault and its remedy. Always None on Windows, where owners and modes
        work differently.
    """
    if os.name == "nt":
        return None
    path = Path(os.path.abspath(path))  # noqa: PTH100  keeps symbolic links, without their ".."
    real = Path(os.path.realpath(path))
    for entry in dict.fromkeys((*_from_the_root(real), *_from_the_root(path))):
        try:
            status = entry.lstat()
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
                continue  # does not exist
            return f"{entry} cannot be examined ({error.strerror})"
        fault = _fault(entry, status, last=entry in (path, real))
        if fault:
            return fault
    return None


def contents_hash(path: Path) -> str:
    """Return a hash of a file's contents, 32 hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


def find_damage(path: Path) -> str | None:
    """Return why a file whose name ends in its `contents_hash` must not be used, or None.

    Parameters
    ----------
    path : Path
        A file named ``{anything}-{contents_hash}.{suffix}``.

    Returns
    -------
    str or None
        The fault found by `distrust`, an error on reading, or that the file is damaged.
    """
    fault = distrust(path)
    if fault is not None:
        return fault
    try:
        whole = path.stem.endswith(f"-{contents_hash(path)}")
    except OSError as error:
        return str(error)
    return None if whole else "the file is damaged"


def make_private_directory(path: Path) -> None:
    """Create a directory that only this user may enter, and missing directories above it.

    Raises
    ------
    OSError
        If the directory cannot be created, or `distrust` finds a fault in it.
    """
    for directory in _from_the_root(Path(os.path.abspath(path))):  # noqa: PTH100
        if not directory.is_dir():
            try:
                directory.mkdir(mode=0o700)
            except FileExistsError:
                if not directory.is_dir():  # otherwise another process was faster
                    raise
    fault = distrust(path)
    if fault is not None:
        raise PermissionError(fault)


def _from_the_root(path: Path) -> Iterator[Path]:
    yield from reversed(path.parents)
    yield path


def _fault(entry: Path, status: os.stat_result, last: bool) -> str | None:
    user = os.geteuid()
    nobody = not last and status.st_uid == 65534 and _in_user_namespace()
    if status.st_uid not in (user, 0) and not nobody:
        return f"{entry} belongs to user {status.st_uid}, not to you (user {user})"
    if stat.S_ISLNK(status.st_mode):
        return None  # modes of symbolic links have no meaning
    if not status.st_mode & OTHERS_MAY_WRITE:
        return None
    if stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX and not last:
        return None
    if not status.st_mode & stat.S_IWOTH and not last and _is_private_group(status.st_gid):
        return None
    return f"others may write to {entry}; if you trust its contents: chmod go-w {entry}"


def _in_user_namespace() -> bool:
    """Return whether user ids are mapped, as in rootless containers.

    There, ``/`` and other directories of the host appear to belong to nobody.
    """
    try:
        return Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]
    except OSError:
        return False


def _is_private_group(group: int) -> bool:
    """Return whether this user is the only member of a group.

    Many distributions create such a group for each user. Root's group does not count, because
    containers run other users in it.
    """
    if os.geteuid() == 0:
        return False
    try:
        import grp
        import pwd

        user = pwd.getpwuid(os.geteuid())
        found = grp.getgrgid(group)
    except (ImportError, KeyError):
        return False
    return (
        user.pw_gid == group
        and found.gr_name == user.pw_name
        and set(found.gr_mem) <= {user.pw_name}
    )
