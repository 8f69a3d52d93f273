"""Freed memory is kept for reuse, unless the user opts out, and can be returned."""

import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from deepsphere import _allocator
from harness import BACKEND

if _allocator._glibc() is None:
    pytest.skip("the C library is not glibc", allow_module_level=True)

OUTPUT = 36
"""Megabytes of the output of a layer, more than glibc keeps by itself."""

# Each program prints numbers.
PROGRAM = """
import gc, os, resource
import keras, numpy
import deepsphere
from deepsphere import Healpix
from deepsphere.layers import ChebyshevConv

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def call(layer, x, times):
    for _ in range(times):
        y = layer(x)
    return keras.ops.convert_to_numpy(y)

layer = ChebyshevConv(32, 2, graph=8, sampling=Healpix(16))
many = keras.ops.ones((96, 3072, 16))
call(layer, many, 10)
"""
FAULTS = """
before = faults()
call(layer, many, 10)
print((faults() - before) / 10)
"""
FLAT = """
small = ChebyshevConv(32, 1, graph=4, sampling=Healpix(4))
few = keras.ops.ones((1, 192, 16))
for _ in range(2):
    call(small, few, 1000)
    call(layer, many, 10)
print(resident())
for _ in range(8):
    call(small, few, 1000)
    call(layer, many, 10)
print(resident())
weights = [keras.ops.ones((2**24,)) + i for i in range(4)]
print(resident())
del weights
gc.collect()
deepsphere.clear_cache()
print(resident())
weights = [keras.ops.ones((2**24,)) + i for i in range(4)]
print(resident())
"""
VARIABLES = (
    "DEEPSPHERE_KEEP_MEMORY",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
    "GLIBC_TUNABLES",
)


def run(program, **variables):
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM + program],
        env={**environment, "KERAS_BACKEND": BACKEND, "OMP_NUM_THREADS": "1", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return [float(number) for number in result.stdout.split()]


def test_calls_reuse_memory_that_stays_flat_and_is_returned():
    touched, start, end, full, empty, again = run(FAULTS + FLAT)
    assert end < start + 2 * OUTPUT
    assert again < full + OUTPUT
    if BACKEND != "tensorflow":  # which keeps large blocks itself
        assert empty < start + OUTPUT
        (without,) = run(FAULTS, DEEPSPHERE_KEEP_MEMORY="off")
        assert touched < 0.5 * without  # of 9000 pages; PyTorch cannot reuse every block


@pytest.mark.parametrize(
    ("variable", "value", "done"),
    [
        ("DEEPSPHERE_KEEP_MEMORY", "on", "kept for reuse in blocks of up to 1024"),
        (
            "DEEPSPHERE_KEEP_MEMORY",
            "OFF",
            r"returned to the system \(DEEPSPHERE_KEEP_MEM",
        ),
        ("MALLOC_MMAP_THRESHOLD_", "100000", "as MALLOC_MMAP_THRESHOLD_ says"),
        ("MALLOC_TRIM_THRESHOLD_", "100000", "as MALLOC_TRIM_THRESHOLD_ says"),
        ("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=100000", "as GLIBC_TUNABLES says"),
        (
            "GLIBC_TUNABLES",
            "glibc.malloc.arena_max=1",
            "kept for reuse in blocks of up to 1024",
        ),
    ],
)
def test_users_choose(monkeypatch, variable, value, done):
    calls = []
    library = SimpleNamespace(mallopt=lambda *arguments: calls.append(arguments) or 1)
    monkeypatch.setattr(_allocator, "_glibc", lambda: library)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    assert re.match(done, _allocator.keep_freed_memory.__wrapped__())
    assert bool(calls) == done.startswith("kept")


@pytest.mark.parametrize(
    ("largest", "done"), [(2**25, "kept for reuse in blocks of up to 32 MiB"), (0, "left to the")]
)
def test_older_libraries_accept_less(monkeypatch, largest, done):
    def mallopt(parameter, value):
        return parameter != _allocator.MMAP_THRESHOLD or value <= largest

    monkeypatch.setattr(_allocator, "_glibc", lambda: SimpleNamespace(mallopt=mallopt))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert _allocator.keep_freed_memory.__wrapped__().startswith(done)


def test_unknown_values_are_reported(monkeypatch, caplog):
    monkeypatch.setattr(_allocator, "_glibc", lambda: None)
    monkeypatch.setenv("DEEPSPHERE_KEEP_MEMORY", "0")
    _allocator.keep_freed_memory.__wrapped__()
    assert "DEEPSPHERE_KEEP_MEMORY must be on or off, got '0'" in caplog.text


def test_other_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(_allocator, "_glibc", lambda: None)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert _allocator.keep_freed_memory.__wrapped__().startswith("left to the C library")
    _allocator.return_freed_memory()
