"""How fast one graph convolution is, forward and with its gradients, next to its rivals.

Run ``python benchmarks/layer.py``; it prints a table and writes ``layer.csv``, ``layer.md`` and
``layer.png`` to ``benchmarks/results``. One convolution without bias, at six sizes:

- forward: the output alone, as for a prediction;
- training: the output and the gradients with respect to input and kernel, for a given gradient
  of the output.

Ours runs as Keras runs it: in a `tf.function`, in `jax.jit`, and eagerly in PyTorch. The rivals:

- textbook (TensorFlow): transpose, sparse product term by term, stack, one product with the kernel,
  in a `tf.function`;
- ChebConv (PyTorch): PyTorch Geometric's layer, on the same graph;
- CSR (PyTorch): the same recurrence with PyTorch's sparse matrices, eagerly;
- BCOO (JAX): the same with JAX's sparse matrices, in `jax.jit`.

All have the same Laplacian, input and kernel, the default settings of their libraries and thus all
cores. Before anything is timed, output and gradients of each are compared with SciPy in double
precision. There is one process a backend; candidates take turns across processes. Figures are
medians over the rounds, and ratios are medians of the ratios within a round.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from interleaved import Timings, interleave, speedup
from pictures import backend_color, plain_logarithms
from problems import Case, Results, error, truth
from processes import Worker, serve
from tables import TITLES, Report, accelerator, layers, options, parse, print_rows, titled

CASES = (
    Case(64, 16, 5, 5, 10, 20),
    Case(64, 16, 1, 5, 10, 20),
    Case(64, 8, 16, 32, 5, 20),
    Case(64, 4, 64, 64, 5, 20),
    Case(256, 1, 16, 32, 5, 8),
    Case(64, 8, 16, 16, 5, 40),
)
QUICK_CASES = (Case(8, 2, 3, 2, 4, 8), Case(8, 1, 1, 2, 3, 20))
MODES = ("forward", "training")
TOLERANCE = 1e-4
"""Largest relative error in single precision: sums of up to 10^6 terms of both signs."""

TENSOR_CORE_TOLERANCE = 5e-3
"""The same where a GPU rounds factors to 10 bits (TF32), as TensorFlow and JAX let it."""


class Served:
    """The candidates of one backend, in a process of their own."""

    def __init__(self) -> None:
        self._turns: dict[tuple[str, str], Any] = {}
        self._candidates: dict[str, Any] = {}

    def prepare(self, case: list[int], names: list[str], path: str) -> None:
        """Make the candidates for a case; write their results to ``path/name.npz``."""
        from candidates import make
        from interleaved import Turns

        self._turns.clear()
        self._candidates.clear()
        for name in names:
            candidate = make(name, Case(*case))
            self._candidates[name] = candidate
            np.savez(Path(path) / f"{name}.npz", **candidate.results()._asdict())
            for mode, call in (("forward", candidate.forward), ("training", candidate.backward)):
                self._turns[name, mode] = Turns(call)

    def time(self, name: str, mode: str) -> float:
        """Return the seconds of one call."""
        return self._turns[name, mode].turn()


def check(backend: str, name: str, right: Results, directory: str) -> float:
    """Return the error of a candidate's results, or raise if it is too large."""
    path = Path(directory) / f"{name}.npz"
    with np.load(path) as file:
        found = error(Results(**file), right)
    path.unlink()
    allowed = TENSOR_CORE_TOLERANCE if accelerator() else TOLERANCE
    if not found < allowed:
        raise RuntimeError(f"{name} on {backend} is wrong by {found:.2g}, more than {allowed:g}")
    return found


def measure(case: Case, workers: dict[str, Worker], rounds: int) -> list[dict[str, Any]]:
    """Check and time all candidates on one case and return rows of the table."""
    right, errors = truth(case), {}
    for backend, worker in workers.items():
        with tempfile.TemporaryDirectory() as directory:
            names = layers(backend)
            worker.ask("prepare", case=list(case), names=names, path=directory)
            for name in names:
                errors[backend, name] = check(backend, name, right, directory)
    rows = []
    for mode in MODES:
        turns = {
            f"{name} {backend}": lambda w=workers[backend], n=name, m=mode: w.ask(
                "time", name=n, mode=m
            )
            for backend, name in errors
        }
        timings = interleave(turns, rounds)
        rows += [
            row_of(case, mode, backend, name, timings) | {"error": errors[backend, name]}
            for backend, name in errors
        ]
    return rows


def row_of(case: Case, mode: str, backend: str, name: str, timings: Timings) -> dict[str, Any]:
    """Return a candidate's times, and how many times faster it is than the rivals that matter."""
    key = f"{name} {backend}"
    row = {**case._asdict(), "mode": mode, "backend": backend, "candidate": name}
    values = timings[key]
    row |= {"median_s": median(values), "min_s": min(values), "max_s": max(values)}
    for rival in ("textbook tensorflow", "ChebConv torch"):
        row[f"times_faster_than_{rival.split()[0]}"] = (
            speedup(timings, key, rival) if rival in timings else ""
        )
    return row


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row a case and mode: milliseconds of every candidate."""
    found: dict[Any, dict[str, Any]] = {}
    for row in rows:
        case = Case(*(row[name] for name in Case._fields))
        line = found.setdefault((case, row["mode"]), {"sizes": case.label, "mode": row["mode"]})
        column = f"{titled(row['candidate'], row['backend'])} / ms"
        line[column] = 1000 * row["median_s"]
    return list(found.values())


def ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row a case and mode: how many times faster ours is on each backend."""
    found: dict[Any, dict[str, Any]] = {}
    for row in rows:
        if row["candidate"] != "ours":
            continue
        case = Case(*(row[name] for name in Case._fields))
        line = found.setdefault((case, row["mode"]), {"sizes": case.label, "mode": row["mode"]})
        for rival in ("textbook", "ChebConv"):
            value = row[f"times_faster_than_{rival}"]
            line[f"{TITLES[row['backend']]} / {rival}"] = f"{value:.1f}×" if value else ""
    return list(found.values())


def draw(rows: list[dict[str, Any]]) -> Any:
    """Draw the times of all candidates, a panel a mode, a group of bars a case."""
    from deepsphere.plot.style import PAGE_WIDTH, new_figure

    keys = list(dict.fromkeys((row["candidate"], row["backend"]) for row in rows))
    cases = list(dict.fromkeys(tuple(row[name] for name in Case._fields) for row in rows))
    figure = new_figure(PAGE_WIDTH, 1.3 + 0.62 * len(cases), layout="constrained")
    panels = figure.subplots(1, len(MODES), sharex=True, sharey=True)
    height = 0.82 / len(keys)
    for axes, mode in zip(panels, MODES, strict=True):
        for j, (name, backend) in enumerate(keys):
            heights = {
                tuple(row[field] for field in Case._fields): 1000 * row["median_s"]
                for row in rows
                if (row["mode"], row["candidate"], row["backend"]) == (mode, name, backend)
            }
            y = [i + (j - (len(keys) - 1) / 2) * height for i in range(len(cases))]
            axes.barh(
                y,
                [heights[case] for case in cases],
                height * 0.92,
                color=backend_color(backend),
                alpha=1.0 if name == "ours" else 0.55 if name != "CSR" else 0.3,
                label=titled(name, backend),
            )
        axes.set_xscale("log")
        axes.set_xlabel("milliseconds a call")
        axes.set_title("forward" if mode == "forward" else "forward and both gradients")
        axes.grid(axis="x")
    plain_logarithms(panels[0].xaxis)
    labels = [Case(*case).label.replace(" channels, ", " channels\n") for case in cases]
    panels[0].set_yticks(range(len(cases)), labels)
    panels[0].invert_yaxis()
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=4)
    return figure


def main() -> None:
    """Read the command line, measure, print, write and draw."""
    parser = options(__doc__)
    parser.add_argument("--cases", type=int, nargs="+", help="which of the sizes, from 0")
    arguments: argparse.Namespace = parse(parser)
    if arguments.serve:
        serve(Served())
        return
    cases = QUICK_CASES if arguments.quick else CASES
    if arguments.cases:
        cases = tuple(cases[i] for i in arguments.cases)
    report, rows = Report("layer", arguments.output), []
    with ExitStack() as stack:
        workers = {
            backend: stack.enter_context(Worker(__file__, backend, backend))
            for backend in arguments.backends
        }
        for case in cases:
            rows += measure(case, workers, arguments.rounds)
            print_rows(summary(rows)[-len(MODES) :])
            report.write(rows, ratios(rows), partial(draw, rows))
    print_rows(ratios(rows))


if __name__ == "__main__":
    main()
