"""How fast one layer is next to dense convolution on the faces of HEALPix, and to DISCO.

Run ``python benchmarks/dense.py``; it prints a table and writes ``dense.csv``, ``dense.md`` and
``dense.png`` to ``benchmarks/results``. The rivals, on PyTorch:

- faces: a 3 × 3 `Conv2d`, channels last, on the twelve faces, padded with pixels of adjacent faces;
- DISCO: ``DiscreteContinuousConvS2`` of torch-harmonics with three radial coefficients and its
  optimized kernels, on a longitude-latitude grid with about as many points. It is skipped if
  torch-harmonics is not installed.

They compute something else than a graph convolution, so only times are compared. Each rival runs
with the default settings of glibc and with variables that let it keep freed memory ("tuned"). Ours
runs without any variable. Times are medians over rounds in which all take turns, and ratios are
medians of the ratios within a round.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import Any

import numpy as np

from interleaved import Timings, interleave, speedup
from pictures import backend_color, plain_logarithms
from problems import Arrays, Case
from processes import Worker, serve
from tables import TITLES, Report, options, parse, print_rows

CASES = (Case(64, 8, 16, 32, 5, 8), Case(64, 4, 64, 64, 5, 8), Case(64, 8, 5, 5, 5, 8))
QUICK_CASES = (Case(8, 2, 3, 2, 3, 8),)
MODES = ("forward", "training")
RIVALS = ("faces", "DISCO")
TUNED = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**34)}


def rival(name: str, case: Case) -> Any:
    """Return a rival with its input, as `candidates.make` returns ours."""
    import torch

    from candidates import Parts, on_torch

    layer: Any
    if name == "faces":
        from rivals.face_convolution import FaceConv

        layer = FaceConv(case.nside, case.channels, case.filters)
        shapes = [(case.batch, 12 * case.nside**2, c) for c in (case.channels, case.filters)]
    else:
        from torch_harmonics import DiscreteContinuousConvS2

        grid = (5 * case.nside // 2, 5 * case.nside)  # 12.5 nside² points
        layer = DiscreteContinuousConvS2(
            case.channels, case.filters, grid, grid, kernel_shape=(3,), bias=False
        )
        shapes = [(case.batch, c, *grid) for c in (case.channels, case.filters)]
    rng = np.random.default_rng(0)
    x, gradient = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    parts = Parts(lambda x, weights: layer(x), list(layer.parameters()), torch.stack)  # noqa: ARG005
    return on_torch(parts, Arrays(x, np.zeros(0, np.float32), gradient))


class Served:
    """One candidate in a process of its own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._turns: dict[str, Any] = {}

    def prepare(self, case: list[int]) -> None:
        """Make the candidate for a case."""
        from candidates import make
        from interleaved import Turns

        self._turns.clear()
        make_it = make if self._name == "ours" else rival
        candidate = make_it(self._name, Case(*case))
        self._turns["forward"] = Turns(candidate.forward)
        self._turns["training"] = Turns(candidate.backward)

    def time(self, mode: str) -> float:
        """Return the seconds of one call."""
        return self._turns[mode].turn()


def measure(case: Case, workers: dict[str, Worker], rounds: int) -> list[dict[str, Any]]:
    """Time all candidates on one case and return rows of the table."""
    for worker in workers.values():
        worker.ask("prepare", case=list(case))
    rows = []
    for mode in MODES:
        turns = {name: partial(worker.ask, "time", mode=mode) for name, worker in workers.items()}
        timings = interleave(turns, rounds)
        rows += [row_of(case, mode, name, timings) for name in workers]
    return rows


def row_of(case: Case, mode: str, name: str, timings: Timings) -> dict[str, Any]:
    """Return a candidate's times, and for ours its ratios to the tuned rivals."""
    values = timings[name]
    row: dict[str, Any] = {**case._asdict(), "mode": mode, "candidate": name}
    row |= {"median_s": median(values), "min_s": min(values), "max_s": max(values)}
    for other in RIVALS:
        tuned = f"{other}, tuned"
        known = name.startswith("ours") and tuned in timings
        row[f"time_over_{other}"] = 1 / speedup(timings, name, tuned) if known else ""
    return row


def ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row a case and mode: all milliseconds, and our times over those of the rivals."""
    found: dict[Any, dict[str, Any]] = {}
    for row in rows:
        case = Case(*(row[name] for name in Case._fields))
        line = found.setdefault((case, row["mode"]), {"sizes": case.label, "mode": row["mode"]})
        text = f"{1000 * row['median_s']:.3g} ms"
        shares = [
            f"{row[f'time_over_{other}']:.2f} × {other}"
            for other in RIVALS
            if row[f"time_over_{other}"]
        ]
        line[row["candidate"]] = f"{text} ({', '.join(shares)})" if shares else text
    return list(found.values())


def draw(rows: list[dict[str, Any]]) -> Any:
    """Draw the times of all candidates, a panel a mode, a group of bars a case."""
    from deepsphere.plot.style import PAGE_WIDTH, new_figure

    names = list(dict.fromkeys(row["candidate"] for row in rows))
    cases = list(dict.fromkeys(tuple(row[field] for field in Case._fields) for row in rows))
    figure = new_figure(PAGE_WIDTH, 1.4 + 0.9 * len(cases), layout="constrained")
    panels = figure.subplots(1, len(MODES), sharey=True)
    height = 0.82 / len(names)
    for axes, mode in zip(panels, MODES, strict=True):
        for j, name in enumerate(names):
            heights = [
                1000 * row["median_s"]
                for row in rows
                if (row["mode"], row["candidate"]) == (mode, name)
            ]
            backend = name.removeprefix("ours, ")
            own = name.startswith("ours")
            axes.barh(
                [i + (j - (len(names) - 1) / 2) * height for i in range(len(cases))],
                heights,
                height * 0.92,
                color=backend_color(next(k for k, v in TITLES.items() if v == backend))
                if own
                else "0.55",
                alpha=1.0 if own or "tuned" in name else 0.5,
                hatch="//" if "DISCO" in name else None,
                edgecolor="white",
                linewidth=0,
                label=name,
            )
        axes.set_xscale("log")
        axes.set_xlabel("milliseconds a call")
        axes.set_title("forward" if mode == "forward" else "forward and both gradients")
        axes.grid(axis="x")
        plain_logarithms(axes.xaxis)
    labels = [Case(*case).label.replace(" channels, ", " channels\n") for case in cases]
    panels[0].set_yticks(range(len(cases)), labels)
    panels[0].invert_yaxis()
    handles, texts = panels[0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside upper center", ncols=4)
    return figure


def main() -> None:
    """Read the command line, measure, print, write and draw."""
    arguments = parse(options(__doc__))
    if arguments.serve:
        serve(Served(arguments.serve))
        return
    report, rows = Report("dense", arguments.output), []
    others = [name for name in RIVALS if name != "DISCO" or find_spec("torch_harmonics")]
    with ExitStack() as stack:

        def start(name: str, backend: str, environment: dict[str, str]) -> Worker:
            return stack.enter_context(Worker(__file__, name, backend, environment))

        workers = {f"ours, {TITLES[b]}": start("ours", b, {}) for b in arguments.backends}
        if find_spec("torch"):
            for name in others:
                workers[name] = start(name, "torch", {})
                workers[f"{name}, tuned"] = start(name, "torch", TUNED)
        for case in QUICK_CASES if arguments.quick else CASES:
            rows += measure(case, workers, arguments.rounds)
            print_rows(ratios(rows)[-len(MODES) :])
            report.write(rows, ratios(rows), partial(draw, rows))


if __name__ == "__main__":
    main()
