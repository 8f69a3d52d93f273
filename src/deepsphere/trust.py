"""Which files and directories other users cannot have changed, and which are damaged."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def distrust(path: Path) -> str | None:
    """Return why another user could have put or changed what is at `path`, or None.

    Everything on the way is looked at: `path`, the directories above it, and where symbolic links
    lead. Each must belong to this user or to root, and only they may write to it. A directory that
    all may write to and whose sticky bit is set, such as ``/tmp``, may stand above `path`, and so
    may one that the user's private group may write to.

    Parameters
    ----------
    path : Path
        A file or directory; what does not exist yet is judged by the directories above it.

    Returns
    -------
    str or None
        One line that names the first fault with its remedy. Always None on Windows, which has
        neither owners nor modes of this kind.
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
                continue  # there is nothing
            return f"{entry} cannot be examined ({error.strerror})"
        fault = _fault(entry, status, last=entry in (path, real))
        if fault:
            return fault
    return None


def contents_hash(path: Path) -> str:
    """Return 32 hexadecimal digits that tell the contents of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


def find_damage(path: Path) -> str | None:
    """Return why a file whose name ends in its `contents_hash` must not be used, or None.

    Parameters
    ----------
    path : Path
        A file called ``{anything}-{contents_hash}.{suffix}``.
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
    """Make a directory, and those above it, that only this user may enter.

    Raises
    ------
    OSError
        If it cannot be made, or someone else made one that `distrust` refuses.
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
        return None  # its mode says nothing
    if not status.st_mode & OTHERS_MAY_WRITE:
        return None
    if stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX and not last:
        return None
    if not status.st_mode & stat.S_IWOTH and not last and _is_private_group(status.st_gid):
        return None
    return f"others may write to {entry}; if you trust what is there: chmod go-w {entry}"


def _in_user_namespace() -> bool:
    """Whether this process sees users through a map, as in containers without root.

    There the owner of ``/`` and of other directories of the host is shown as nobody.
    """
    try:
        return Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]
    except OSError:
        return False


def _is_private_group(group: int) -> bool:
    """Whether a group has no member but this user, as many distributions make one for each.

    Root's is none: containers run other users in it.
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
