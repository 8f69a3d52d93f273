"""How the C library treats freed memory: kept for the next step, or returned to the system.

By default glibc returns a large block to the system as soon as it is freed. A training step
allocates blocks of the same sizes again and again, and the system clears each new page first,
which can take longer than a graph filter. So glibc's two thresholds are raised when the compiled
kernels are loaded on JAX or PyTorch, which allocate all features from it. TensorFlow keeps large
blocks itself.
"""

from __future__ import annotations

import ctypes
import logging
import os
import re
from functools import cache

logger = logging.getLogger(__name__)

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Numbers of the parameters of ``mallopt``, from ``malloc.h``."""

KEPT = (2**30, 2**25)
"""Thresholds in bytes, the first that is accepted. glibc before 2.35 accepts at most 32 MiB."""

VARIABLE = "DEEPSPHERE_KEEP_MEMORY"


@cache
def keep_freed_memory() -> str:
    """Let blocks of up to 1 GiB be reused rather than returned to the system, once per process.

    Does nothing if the environment variable ``DEEPSPHERE_KEEP_MEMORY`` is ``off`` (the default is
    ``on``), if the C library is not glibc, or if one of glibc's own variables sets a threshold:
    ``MALLOC_MMAP_THRESHOLD_``, ``MALLOC_TRIM_THRESHOLD_`` or ``GLIBC_TUNABLES``.

    Returns
    -------
    str
        What was done, for `deepsphere.doctor`.
    """
    wanted = os.environ.get(VARIABLE, "on")
    if wanted.lower() not in ("on", "off"):
        logger.warning("%s must be on or off, got %r; it is ignored", VARIABLE, wanted)
    if wanted.lower() == "off":
        return f"returned to the system ({VARIABLE} is off)"
    users = _users_variable()
    if users is not None:
        return f"as {users} says"
    libc = _glibc()
    if libc is None:
        return "left to the C library, which is not glibc"
    for size in KEPT:
        if libc.mallopt(MMAP_THRESHOLD, size) and libc.mallopt(TRIM_THRESHOLD, KEPT[0]):
            return f"kept for reuse in blocks of up to {size >> 20} MiB"
    return "left to the C library, which accepts no thresholds"


def return_freed_memory() -> None:
    """Return freed memory to the system, if the C library can."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _users_variable() -> str | None:
    names = ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"]
    if re.search(r"glibc\.malloc\.\w+_threshold", os.environ.get("GLIBC_TUNABLES", "")):
        names.append("GLIBC_TUNABLES")
    return next((name for name in names if name in os.environ), None)


def _glibc() -> ctypes.CDLL | None:
    if os.name != "posix":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
