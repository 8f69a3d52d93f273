"""Number of processors and threads that this process may use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from math import ceil
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def available_processors() -> int:
    """Return the number of processors that this process may use.

    Returns
    -------
    int
        Number of processors in the affinity mask of the process (``taskset``), or of the machine on
        systems without such masks. On Linux it is limited by the CPU quota of the control groups,
        rounded up, by which containers (``docker run --cpus``, Kubernetes limits) share a machine.
        At least 1.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quotas = [ceil(quota) for quota in _quotas()]
    return max(1, min([count, *quotas]))


def thread_count() -> int:
    """Return the number of threads to start for CPU-bound work.

    Returns
    -------
    int
        ``OMP_NUM_THREADS``, at most `available_processors`, which is also the default. In a list
        such as ``4,2``, with one number per level of nested parallelism, the first one counts.
        Values that are not positive integers are ignored, as in OpenMP.
    """
    available = available_processors()
    try:
        wanted = int(os.environ.get("OMP_NUM_THREADS", "").split(",")[0])
    except ValueError:
        return available
    return min(wanted, available) if wanted > 0 else available


def _quotas() -> Iterator[float]:
    """Yield the quotas, in processors, of the control groups of this process."""
    try:
        lines = MEMBERSHIP.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:  # version 2: one hierarchy for all controllers
            yield from _quotas_up(CGROUPS, group, _quota_2)
        elif "cpu" in controllers.split(","):
            for root in (CGROUPS / controllers, CGROUPS / "cpu"):
                yield from _quotas_up(root, group, _quota_1)


def _quotas_up(root: Path, group: str, read: Callable[[Path], float | None]) -> Iterator[float]:
    """Yield the quotas of a group and of all groups above it."""
    path = PurePosixPath(group.lstrip("/"))
    for place in (path, *path.parents):
        # In a container its own group may be mounted as the root, so directories may be missing.
        try:
            quota = read(root / place)
        except (OSError, ValueError):
            continue
        if quota is not None:
            yield quota


def _quota_2(directory: Path) -> float | None:
    quota, period = (directory / "cpu.max").read_text().split()
    return None if quota == "max" else int(quota) / int(period)


def _quota_1(directory: Path) -> float | None:
    quota = int((directory / "cpu.cfs_quota_us").read_text())
    return None if quota <= 0 else quota / int((directory / "cpu.cfs_period_us").read_text())
