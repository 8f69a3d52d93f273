"""The number of processors: affinity, container quotas, and user settings."""

import ast
import os
from pathlib import Path

import pytest

from deepsphere import _processors as processors
from deepsphere._processors import available_processors, thread_count

CASES = {
    "no limit": ("0::/", {"cpu.max": "max 100000"}, 8),
    "version 2": ("0::/", {"cpu.max": "150000 100000"}, 2),
    "version 2, of the group around": (
        "0::/pod/box",
        {"pod/cpu.max": "300000 100000", "pod/box/cpu.max": "max 100000"},
        3,
    ),
    "a path of the host that a container does not see": (
        "0::/kubepods/1234",
        {"cpu.max": "50000 100000"},
        1,
    ),
    "version 1": (
        "3:cpu,cpuacct:/box\n2:memory:/box",
        {"cpu,cpuacct/box/cpu.cfs_quota_us": "250000", "cpu,cpuacct/box/cpu.cfs_period_us": "1e5"},
        8,
    ),
    "version 1, as a link": (
        "3:cpu,cpuacct:/box",
        {"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"},
        3,
    ),
    "version 1 without a limit": (
        "3:cpu:/",
        {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
        8,
    ),
    "damaged": ("0::/", {"cpu.max": "a lot"}, 8),
    "empty": ("", {}, 8),
}


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Make a machine with 8 processors and the given control groups."""

    def make(membership="", files=()):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
        monkeypatch.setattr(processors, "CGROUPS", tmp_path)
        monkeypatch.setattr(processors, "MEMBERSHIP", tmp_path / "membership")
        (tmp_path / "membership").write_text(membership)
        for name, text in dict(files).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)

    return make


@pytest.mark.parametrize("case", CASES)
def test_quota(machine, case):
    membership, files, expected = CASES[case]
    machine(membership, files)
    assert available_processors() == expected


def test_no_control_groups(machine, monkeypatch, tmp_path):
    machine()
    monkeypatch.setattr(processors, "MEMBERSHIP", tmp_path / "nowhere")
    assert available_processors() == 8


def test_no_affinity_mask(machine, monkeypatch):
    machine()
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert available_processors() == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_processors() == 1


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("3", 3), ("100000", 8), ("4,2", 4), ("0", 8), ("-1", 8), ("", 8), ("many", 8), (None, 8)],
)
def test_what_the_user_asks_for(machine, monkeypatch, wanted, expected):
    machine()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if wanted is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    assert thread_count() == expected


def test_pools_and_trees_of_scipy_start_no_more_threads():
    """SciPy's trees and Python's pools ignore quotas, so each call passes the number."""
    source = Path(processors.__file__).parent
    found = [
        (file.name, ast.unparse(keyword.value))
        for file in source.rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg in ("workers", "max_workers")
    ]
    assert {name for name, _ in found} >= {"neighbors.py", "optimal_rows.py", "beam.py"}
    assert {value for _, value in found} == {"thread_count()"}
