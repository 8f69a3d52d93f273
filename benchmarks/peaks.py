"""The most that a machine can do: memory bandwidth, and multiplications and additions per second.

Each is measured by several programs, because none is the fastest everywhere: loops of our own
(``peaks.c``), compiled for the processor; NumPy; and the backends.

- Bandwidth: the STREAM triad ``a = b + 3 c`` in single precision, which counts as three arrays
  moved. (What a processor reads before it writes is not counted, as in STREAM.) The own loop runs
  in one thread per core, on arrays of several sizes, from the first cache to the memory.
- Operations: fused multiplications and additions on registers only, by the own loop; and products
  of two square matrices in single precision. A library that does not know the processor's widest
  instructions stays far below the loop.
"""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from deepsphere._compiler import compile_library, find_compiler
from deepsphere._processors import thread_count

CACHED = {"16 kB": 2**12, "256 kB": 2**16, "2 MB": 2**19}
"""Sizes of each of the three arrays of a thread, in numbers."""

BLOCK = 2**15
"""Numbers that a thread of NumPy takes at a time: 128 KB from each array stay in its cache."""

STEPS = 2**22
"""Steps of the loop of multiplications and additions, about 10 ms."""

Program = tuple[float, Callable[[], Any]]
"""Bytes or operations of a call, and the call."""


@cache
def library() -> ctypes.CDLL:
    """Return the compiled loops."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "peaks.so"
        compile_library(find_compiler(), [Path(__file__).with_name("peaks.c")], [], path)
        loops = ctypes.CDLL(str(path))
    array = np.ctypeslib.ndpointer(np.float32, flags="C")
    loops.multiply_and_add.argtypes = [ctypes.c_int64, array]
    loops.multiply_and_add.restype = ctypes.c_int64
    loops.triad.argtypes = [array, array, array, ctypes.c_size_t, ctypes.c_int64]
    loops.triad.restype = None
    return loops


@cache
def pool() -> ThreadPoolExecutor:
    """Return the threads, one per core; they run C code at the same time."""
    return ThreadPoolExecutor(thread_count())


def on_all_cores(call: Callable[[int], Any]) -> Callable[[], list[Any]]:
    """Return a function that runs ``call(thread)`` in each thread and returns the results."""
    threads = range(thread_count())  # which reads files: not in the timed call
    return lambda: list(pool().map(call, threads))


def compiled_operations() -> Program:
    """Return the loop of fused multiplications and additions."""
    results = [np.ones(1, np.float32) for _ in range(thread_count())]

    def run(thread: int) -> int:
        return library().multiply_and_add(STEPS, results[thread])

    everywhere = on_all_cores(run)
    return float(sum(everywhere())), everywhere


def compiled_triad(size: int, repeats: int = 1) -> Program:
    """Return the triad on `size` numbers a thread."""
    arrays = [[np.ones(size, np.float32) for _ in range(3)] for _ in range(thread_count())]

    def run(thread: int) -> None:
        library().triad(*arrays[thread], size, repeats)

    return 12.0 * size * repeats * thread_count(), on_all_cores(run)


def numpy_triad(size: int) -> Program:
    """Return the triad by NumPy, in blocks that stay in the cache between its two operations."""
    b, c, a = (np.full(size, value, np.float32) for value in (1, 2, 0))
    edges = np.linspace(0, size, thread_count() + 1).astype(int)

    def run(thread: int) -> None:
        for low in range(edges[thread], edges[thread + 1], BLOCK):
            block = slice(low, min(low + BLOCK, edges[thread + 1]))
            np.multiply(c[block], np.float32(3), out=a[block])
            np.add(a[block], b[block], out=a[block])

    return 12.0 * size, on_all_cores(run)


def numpy_product(rows: int) -> Program:
    """Return the product of two matrices by NumPy."""
    a, out = np.ones((rows, rows), np.float32), np.empty((rows, rows), np.float32)
    return 2.0 * rows**3, lambda: np.matmul(a, a, out=out)


def backend_peaks(size: int, rows: int) -> dict[str, Program]:
    """Return triad and matrix product by the backend of this process."""
    import keras

    b, c, a = (keras.ops.full((size,), value, "float32") for value in (1, 2, 0))
    matrix = keras.ops.ones((rows, rows), "float32")
    if keras.backend.backend() == "torch":
        import torch

        wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
        triad = lambda: (torch.add(b, c, alpha=3, out=a), wait())  # noqa: E731
        product = lambda: (matrix @ matrix, wait())  # noqa: E731
    elif keras.backend.backend() == "jax":
        import jax

        add, multiply = jax.jit(lambda b, c: b + 3 * c), jax.jit(lambda m: m @ m)
        triad = lambda: add(b, c).block_until_ready()  # noqa: E731
        product = lambda: multiply(matrix).block_until_ready()  # noqa: E731
    else:
        import tensorflow as tf

        wait = tf.test.experimental.sync_devices
        xla = tf.function(lambda b, c: b + 3 * c, jit_compile=True)
        triad = lambda: (xla(b, c), wait())  # noqa: E731
        product = lambda: (tf.matmul(matrix, matrix), wait())  # noqa: E731
    return {"bandwidth": (12.0 * size, triad), "operations": (2.0 * rows**3, product)}


def own_peaks(size: int, rows: int) -> dict[str, Program]:
    """Return all programs of this process, by what they measure and what runs them."""
    caches = {
        f"bandwidth compiled, arrays of {name} a thread": compiled_triad(numbers, 2**24 // numbers)
        for name, numbers in CACHED.items()
    }
    return {
        "bandwidth compiled": compiled_triad(size // thread_count()),
        "bandwidth NumPy": numpy_triad(size),
        "operations compiled": compiled_operations(),
        "operations NumPy": numpy_product(rows),
        **caches,
    }
