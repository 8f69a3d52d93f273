"""How near the sparse product and the whole layer come to what this machine can do at most.

Run ``python benchmarks/roofline.py``; it prints two tables and writes ``roofline.csv``,
``roofline.md`` and ``roofline.png`` to ``benchmarks/results``.

Two bounds are measured (`peaks`), each as the best rate that any of several programs reaches in a
round: memory bandwidth on arrays of 128 MB, far above any cache, and single-precision operations.

A program that needs B bytes and F operations takes at least ``max(B / bandwidth, F / rate)``; its
share of the roofline is this over the time it took. Counted is what no program can do without,
each array once, as if neighbors came from the cache always:

- sparse product ``y = A x``, n rows, C columns, ``nnz`` entries: ``B = 4 n C`` (read x) ``+ 4 n C``
  (write y) ``+ 8 nnz`` (read a 4-byte index and a 4-byte weight each); ``F = 2 nnz C``.
- layer, forward, with K terms, N maps, I input and O output channels: ``K - 1`` products in a
  recurrence on ``C = N min(I, O)`` columns, each of which reads two arrays and writes one, so
  ``B = (K - 1) (12 n C + 8 nnz) + 4 n N (I + O)`` and ``F = (K - 1) 2 nnz C + 2 n N K I O``.
- layer, training: the same again on ``C = N min(O, 2 I)`` columns, for both gradients, with
  ``B += 4 n N (2 I + O)`` (read input and given gradient, write the input's) and
  ``F += 4 n N K I O``.

The products with the kernel count no bytes: they use what the recurrence has just computed. Ours
is timed as in `layer.py`; the sparse product is `deepsphere.ops.sparse_product` on one map,
compiled where the backend compiles. Programs take turns, and figures are medians over the rounds.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from interleaved import Turns, interleave
from layer import CASES, QUICK_CASES
from peaks import backend_peaks, own_peaks
from pictures import backend_color, plain_logarithms
from problems import Case
from processes import Worker, serve
from tables import TITLES, Report, options, parse, print_rows, write_csv, write_markdown

TRIAD = 2**25
"""Numbers in each array of the triad."""

SQUARE = 2048
"""Rows of the matrices."""

PRODUCTS = (
    Case(64, 1, 16, 16, 2, 20),
    Case(64, 1, 80, 80, 2, 20),
    Case(64, 1, 128, 128, 2, 20),
    Case(256, 1, 80, 80, 2, 20),
)
QUICK_PRODUCTS = (Case(8, 1, 16, 16, 2, 20),)
LAYERS = tuple(CASES[i] for i in (0, 2, 3, 4))
PROGRAMS = ("product", "forward", "training")
BOUNDS = {"bandwidth": "bandwidth / GB/s", "operations": "10⁹ operations/s"}


def count(program: str, case: Case, n: int, nnz: int) -> tuple[float, float]:
    """Return the bytes and operations that a program needs at least, as the module says.

    Parameters
    ----------
    program : str
        ``"product"``, ``"forward"`` or ``"training"``.
    case : Case
        Sizes; of a product, `batch` times `channels` are the columns.
    n, nnz : int
        Number of rows and entries of the operator.
    """
    maps, inputs, outputs = case.batch, case.channels, case.filters
    if program == "product":
        columns = maps * inputs
        return 8 * n * columns + 8 * nnz, 2 * nnz * columns
    products, dense = case.terms - 1, 2 * n * maps * case.terms * inputs * outputs
    columns = maps * min(inputs, outputs)
    size = products * (12 * n * columns + 8 * nnz) + 4 * n * maps * (inputs + outputs)
    operations = products * 2 * nnz * columns + dense
    if program == "training":
        columns = maps * min(outputs, 2 * inputs)
        size += products * (12 * n * columns + 8 * nnz) + 4 * n * maps * (2 * inputs + outputs)
        operations += products * 2 * nnz * columns + 2 * dense
    return size, operations


def backend_product(case: Case) -> Callable[[], Any]:
    """Return the sparse product of this package on the backend of this process."""
    import keras

    from deepsphere.ops import sparse_product
    from problems import arrays

    operator = case.operator
    x = keras.ops.convert_to_tensor(arrays(case).x)
    if keras.backend.backend() == "torch":
        import torch

        wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None

        def run() -> None:
            with torch.no_grad():
                sparse_product(x, operator)
            wait()

        return run
    if keras.backend.backend() == "jax":
        import jax

        product = jax.jit(lambda x: sparse_product(x, operator))
        return lambda: product(x).block_until_ready()
    import tensorflow as tf

    product = tf.function(lambda x: sparse_product(x, operator))
    return lambda: (product(x), tf.test.experimental.sync_devices())


class Served:
    """The programs of one backend."""

    def __init__(self) -> None:
        self._turns: dict[str, Turns] = {}

    def prepare_peaks(self, triad: int, rows: int) -> dict[str, float]:
        """Make triad and matrix product; return their bytes and operations."""
        programs = backend_peaks(triad, rows)
        self._turns |= {name: Turns(call) for name, (_, call) in programs.items()}
        return {name: work for name, (work, _) in programs.items()}

    def prepare(self, program: str, case: list[int]) -> list[int]:
        """Make a program; return the number of rows and entries of its operator."""
        from candidates import make

        sizes = Case(*case)
        if program == "product":
            call = backend_product(sizes)
        else:
            candidate = make("ours", sizes)
            call = candidate.forward if program == "forward" else candidate.backward
        self._turns["program"] = Turns(call)
        operator = sizes.operator
        return [len(operator), operator.nnz]

    def time(self, name: str) -> float:
        """Return the seconds of one call."""
        return self._turns[name].turn()


def measure(
    tasks: list[tuple[str, Case]], workers: dict[str, Worker], rounds: int, triad: int, rows: int
) -> tuple[list[dict[str, Any]], dict[str, list[float]]]:
    """Time all programs and bounds; return rows of the table, and the bounds round by round."""
    own = own_peaks(triad, rows)
    peaks = {name: Turns(call).turn for name, (_, call) in own.items()}
    work = {name: amount for name, (amount, _) in own.items()}
    for backend, worker in workers.items():
        for bound, amount in worker.ask("prepare_peaks", triad=triad, rows=rows).items():
            work[f"{bound} {backend}"] = amount
            peaks[f"{bound} {backend}"] = lambda w=worker, n=bound: w.ask("time", name=n)
    found: dict[str, list[float]] = {name: [] for name in peaks}
    lines = []
    for program, case in tasks:
        sizes = [
            worker.ask("prepare", program=program, case=list(case)) for worker in workers.values()
        ]
        size, operations = count(program, case, *sizes[0])
        turns = peaks | {
            f"program {backend}": lambda w=worker: w.ask("time", name="program")
            for backend, worker in workers.items()
        }
        timings = interleave(turns, rounds)
        rates = {name: [work[name] / s for s in timings[name]] for name in peaks}
        for name, of_rounds in rates.items():
            found[name] += of_rounds
        bandwidths, operation_rates = (
            [max(of_round) for of_round in zip(*in_memory(rates, bound), strict=True)]
            for bound in BOUNDS
        )
        limits = [
            (size / bandwidth, operations / rate)
            for bandwidth, rate in zip(bandwidths, operation_rates, strict=True)
        ]
        for backend in workers:
            seconds = timings[f"program {backend}"]
            shares = [max(limit) / s for limit, s in zip(limits, seconds, strict=True)]
            by_memory = median(memory for memory, _ in limits)
            by_products = median(products for _, products in limits)
            lines.append(
                {
                    "program": program,
                    **case._asdict(),
                    "backend": backend,
                    "megabytes": size / 1e6,
                    "megaoperations": operations / 1e6,
                    "median_s": median(seconds),
                    "min_s": min(seconds),
                    "max_s": max(seconds),
                    "bound_memory_s": by_memory,
                    "bound_operations_s": by_products,
                    "share": median(shares),
                }
            )
    return lines, found


def label(row: dict[str, Any]) -> str:
    """Return what a row is about."""
    case = Case(*(row[name] for name in Case._fields))
    if row["program"] == "product":
        return f"sparse product: nside {case.nside}, {case.batch * case.channels} columns"
    return f"layer, {row['program']}: {case.label}"


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row a program: its bound, and each backend's share."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        memory, operations = 1000 * row["bound_memory_s"], 1000 * row["bound_operations_s"]
        line = found.setdefault(
            label(row),
            {
                "program": label(row),
                "megabytes": round(row["megabytes"]),
                "10⁶ operations": round(row["megaoperations"]),
                "bound / ms": max(memory, operations),
                "by": "memory" if memory > operations else "operations",
            },
        )
        line[TITLES[row["backend"]]] = (
            f"{100 * row['share']:.0f} % ({1000 * row['median_s']:.3g} ms)"
        )
    return list(found.values())


def in_memory(rates: dict[str, list[float]], bound: str) -> list[list[float]]:
    """Return the rates that count for a bound: not those of arrays in a cache."""
    return [rate for name, rate in rates.items() if name.startswith(bound) and "," not in name]


def bounds_table(found: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Return the measured rates by program."""
    rows: dict[str, dict[str, Any]] = {}
    for key, rates in sorted(found.items(), key=lambda item: "," in item[0]):  # caches last
        bound, _, by = key.partition(" ")
        by = TITLES.get(by, by.replace("compiled", "compiled loop"))
        row = rows.setdefault(by, {"measured by": by, **dict.fromkeys(BOUNDS.values(), "")})
        row[BOUNDS[bound]] = median(rates) / 1e9
    return list(rows.values())


def draw(rows: list[dict[str, Any]], found: dict[str, list[float]]) -> Any:
    """Draw each program's rate over its operations per byte, below the roofline."""
    from deepsphere.plot.style import MARKERS, PAGE_WIDTH, new_figure

    bandwidth, rate = (max(map(median, in_memory(found, bound))) / 1e9 for bound in BOUNDS)
    labels = list(dict.fromkeys(label(row) for row in rows))
    figure = new_figure(PAGE_WIDTH, 1.0 + 0.3 * len(labels), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
    for row in rows:
        intensity = row["megaoperations"] / row["megabytes"]
        left.plot(
            intensity,
            row["megaoperations"] / 1e3 / row["median_s"],
            MARKERS[PROGRAMS.index(row["program"])],
            color=backend_color(row["backend"]),
            markersize=4,
        )
    x = np.geomspace(0.5, 200, 100)
    left.plot(x, np.minimum(bandwidth * x, rate), color="black")
    left.set_title(f"{bandwidth:.3g} GB/s, {rate:.3g} · 10⁹ operations/s")
    left.set_xscale("log")
    left.set_yscale("log")
    for axis in (left.xaxis, left.yaxis):
        plain_logarithms(axis)
    left.set_xlabel("operations per byte")
    left.set_ylabel("10⁹ operations/s")
    for backend in dict.fromkeys(row["backend"] for row in rows):
        color = backend_color(backend)
        left.plot([], [], "s", color=color, label=TITLES[backend])
    for marker, program in zip(MARKERS, PROGRAMS, strict=False):
        name = "sparse product" if program == "product" else f"layer, {program}"
        left.plot([], [], marker, color="0.4", label=name)
    figure.legend(loc="outside upper center", ncols=6)
    backends = list(dict.fromkeys(row["backend"] for row in rows))
    height = 0.8 / len(backends)
    for i, backend in enumerate(backends):
        shares = {label(row): 100 * row["share"] for row in rows if row["backend"] == backend}
        right.barh(
            [j + (i - (len(backends) - 1) / 2) * height for j in range(len(labels))],
            [shares[name] for name in labels],
            height * 0.9,
            color=backend_color(backend),
        )
    right.set_yticks(range(len(labels)), [short(name) for name in labels], fontsize=6)
    right.invert_yaxis()
    right.set_xlim(0, 100)
    right.set_xlabel("share of the roofline in %")
    return figure


def short(name: str) -> str:
    """Return a label in two lines."""
    what, _, sizes = name.partition(": ")
    return f"{what}\n{sizes.replace(' neighbors', ' nb.').replace(' channels', ' ch.')}"


def main() -> None:
    """Read the command line, measure, print, write and draw."""
    arguments = parse(options(__doc__))
    if arguments.serve:
        serve(Served())
        return
    products, layers = (QUICK_PRODUCTS, QUICK_CASES) if arguments.quick else (PRODUCTS, LAYERS)
    triad, rows = (2**20, 128) if arguments.quick else (TRIAD, SQUARE)
    tasks = [("product", case) for case in products]
    tasks += [(program, case) for case in layers for program in ("forward", "training")]
    report = Report("roofline", arguments.output)
    with ExitStack() as stack:
        workers = {
            backend: stack.enter_context(Worker(__file__, backend, backend))
            for backend in arguments.backends
        }
        lines, found = measure(tasks, workers, arguments.rounds, triad, rows)
    print_rows(bounds_table(found))
    print()
    print_rows(summary(lines))
    report.write(lines, summary(lines), partial(draw, lines, found))
    write_csv(bounds_table(found), arguments.output / "roofline_bounds.csv")
    write_markdown(bounds_table(found), arguments.output / "roofline_bounds.md")


if __name__ == "__main__":
    main()
