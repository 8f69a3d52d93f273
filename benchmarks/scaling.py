"""How time and memory grow with pixels, terms, batch and share of the sky; spherical harmonics.

Run ``python benchmarks/scaling.py``; it prints tables and writes ``scaling.csv``, ``scaling.md``
and ``scaling.png`` to ``benchmarks/results``. Everything is one graph convolution, forward only,
as in `layer.py`, with 20 neighbors:

- resolution: nside 16 to 1024 (12.6 million pixels), one map, 5 terms, 1 → 1 and 5 → 5 channels;
- terms: 2 to 20, at nside 64, batch 16, 5 → 5 channels;
- batch: 1 to 32, at nside 64, 5 terms, 5 → 5 channels;
- share: the whole sphere, a 12th, a 48th and a 192nd of it, at nside 64 to 1024, one map, 5 terms,
  1 → 1 channel;
- the same kind of filter by spherical harmonics, as in figure 6 of the cosmology paper (Perraudin
  et al., arXiv 1810.12186): ``map2alm`` with ``iter=0``, `almxfl`, `alm2map` of healpy up to
  ``lmax = 3 nside - 1``, in double precision, which healpy has only. Its default ``iter=3``
  takes four times as long and is more exact.

There is one process for each backend and resolution, as the graph at nside 1024 takes gigabytes; in
it, all sizes take turns. Times are medians over the rounds. Memory is what a call adds to the
resident size (as in `memory.py`, but after a call that is not measured), and the graph is what the
process grew by from its start to before the first call, inputs included. Graphs come from a cache
on disk that is kept for this run only.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from statistics import median
from typing import Any

import numpy as np

from interleaved import Turns, interleave
from pictures import backend_color, plain_logarithms
from problems import Case
from processes import Worker, forget_peak, peak, resident, serve
from tables import TITLES, Report, options, parse, print_rows, write_markdown

NSIDES = (16, 32, 64, 128, 256, 512, 1024)
SHARES = (12, 48, 192)
SHARED_FROM = 64
TERMS = (2, 3, 5, 7, 10, 15, 20)
BATCHES = (1, 2, 4, 8, 16, 32)
SWEPT_NSIDE = 64
QUICK = {"nsides": (8, 16), "terms": (2, 4), "batches": (1, 2), "swept_nside": 16}
HARMONICS = "harmonics"

Quantity = Callable[[dict[str, Any]], float]


def sweeps(
    nsides: Sequence[int] = NSIDES,
    terms: Sequence[int] = TERMS,
    batches: Sequence[int] = BATCHES,
    swept_nside: int = SWEPT_NSIDE,
) -> dict[str, list[Case]]:
    """Return the sizes that each question asks for."""
    found = {
        "resolution": [Case(nside, 1, c, c, 5, 20) for nside in nsides for c in (1, 5)],
        "terms": [Case(swept_nside, 16, 5, 5, number, 20) for number in terms],
        "batch": [Case(swept_nside, batch, 5, 5, 5, 20) for batch in batches],
        "share": [
            Case(nside, 1, 1, 1, 5, 20, share)
            for nside in nsides
            if nside >= min(SHARED_FROM, max(nsides))
            for share in SHARES
        ],
    }
    if swept_nside not in nsides:
        del found["terms"], found["batch"]
    return found


class Served:
    """Convolutions on one backend, or spherical harmonics."""

    def __init__(self, role: str) -> None:
        self._calls: dict[str, Any] = {}
        if role != HARMONICS:
            import candidates  # noqa: F401  before memory is looked at

    def prepare(self, case: list[int]) -> dict[str, float]:
        """Make a convolution; return the memory of graph and inputs, and of a call, in MB."""
        from candidates import make

        sizes = Case(*case)
        before = resident()
        candidate = make("ours", sizes)
        candidate.forward()
        ready = resident()
        forget_peak()
        candidate.forward()
        self._calls[str(case)] = Turns(candidate.forward)
        return {"graph_mb": ready - before, "call_mb": peak() - ready}

    def prepare_harmonics(self, nside: int) -> None:
        """Make the filter by spherical harmonics: a Gaussian beam of two pixels."""
        import healpy

        lmax = 3 * nside - 1
        beam = healpy.gauss_beam(2 * healpy.nside2resol(nside), lmax)
        x = np.random.default_rng(0).standard_normal(12 * nside**2)

        def call() -> Any:
            harmonics = healpy.map2alm(x, lmax=lmax, iter=0)
            return healpy.alm2map(healpy.almxfl(harmonics, beam), nside, lmax=lmax)

        self._calls[HARMONICS] = Turns(call)

    def time(self, rounds: int) -> dict[str, list[float]]:
        """Let all that was prepared take turns; return the seconds."""
        return interleave({name: turns.turn for name, turns in self._calls.items()}, rounds)


def measure(asked: dict[str, list[Case]], backends: list[str], rounds: int) -> list[dict[str, Any]]:
    """Measure everything, one process after the other, and return rows of the table."""
    rows: list[dict[str, Any]] = []
    nsides = sorted({case.nside for cases in asked.values() for case in cases})
    with tempfile.TemporaryDirectory() as directory:
        environment = {"DEEPSPHERE_CACHE": directory}
        for nside in nsides:
            for backend in backends:
                here = {
                    case: [sweep for sweep, cases in asked.items() if case in cases]
                    for case in chain.from_iterable(asked.values())
                    if case.nside == nside
                }
                with Worker(__file__, backend, backend, environment) as worker:
                    memory = {case: worker.ask("prepare", case=list(case)) for case in sorted(here)}
                    timings = worker.ask("time", rounds=rounds)
                for case, names in here.items():
                    figures = figures_of(case, backend, timings[str(list(case))]) | memory[case]
                    rows += [{"sweep": name, **figures} for name in names]
                print(f"nside {nside}: {TITLES[backend]} measured", flush=True)
            with Worker(__file__, HARMONICS, backends[0]) as worker:
                worker.ask("prepare_harmonics", nside=nside)
                seconds = worker.ask("time", rounds=rounds)[HARMONICS]
            figures = figures_of(Case(nside, 1, 1, 1, 0, 0), HARMONICS, seconds)
            rows.append({"sweep": "resolution", **figures})
    order = list(asked)
    return sorted(rows, key=lambda row: order.index(row["sweep"]))


def figures_of(case: Case, program: str, seconds: list[float]) -> dict[str, Any]:
    """Return sizes and times of a row."""
    pixels = 12 * case.nside**2 // case.share
    return {
        "program": program,
        **case._asdict(),
        "pixels": pixels,
        "median_s": median(seconds),
        "min_s": min(seconds),
        "max_s": max(seconds),
        "rounds": len(seconds),
        "nanoseconds_per_pixel_and_map": 1e9 * median(seconds) / pixels / case.batch,
    }


def title(program: str) -> str:
    """Return a program's name for readers."""
    return TITLES.get(program, "spherical harmonics")


def select(rows: list[dict[str, Any]], sweep: str, **wanted: Any) -> list[dict[str, Any]]:
    """Return the rows of a sweep with the given entries."""
    return [
        row
        for row in rows
        if row["sweep"] == sweep and all(row[name] == value for name, value in wanted.items())
    ]


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the times against the resolution, a row an nside, whole sphere."""
    lines = []
    for nside in sorted({row["nside"] for row in select(rows, "resolution")}):
        line: dict[str, Any] = {"nside": nside}
        for row in select(rows, "resolution", nside=nside):
            per_pixel = row["nanoseconds_per_pixel_and_map"]
            channels = f"{row['channels']} → {row['filters']}"
            if row["program"] == HARMONICS:
                line["spherical harmonics / ms"] = 1000 * row["median_s"]
                continue
            name = f"{TITLES[row['program']]}, {channels}"
            line[f"{name} / ms (ns per pixel)"] = f"{1000 * row['median_s']:.3g} ({per_pixel:.3g})"
        lines.append(line)
    return lines


def sweeps_table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return time and memory of all that is not against the resolution, a row a size."""
    found: dict[Any, dict[str, Any]] = {}
    sizes_of = lambda row: [row[name] for name in ("sweep", *Case._fields)]  # noqa: E731
    for row in sorted(rows, key=sizes_of):
        if row["sweep"] == "resolution":
            continue
        case = Case(*(row[name] for name in Case._fields))
        sizes = {"against": row["sweep"], "nside": case.nside, "share": f"1/{case.share}"}
        sizes |= {"batch": case.batch, "terms": case.terms}
        line = found.setdefault((row["sweep"], case), sizes)
        line[f"{TITLES[row['program']]} / ms (MB)"] = (
            f"{1000 * row['median_s']:.3g} ({row['call_mb']:.0f})"
        )
    return list(found.values())


def draw(rows: list[dict[str, Any]]) -> Any:
    """Draw six panels: speed, times and memory per pixel; times and memory by terms; by batch."""
    from deepsphere.plot.style import MARKERS, PAGE_WIDTH, new_figure

    figure = new_figure(PAGE_WIDTH, 4.6, layout="constrained")
    speed, pixel, memory, terms, batch, working = panels = figure.subplots(2, 3).ravel()

    def line(axes: Any, shown: list[dict[str, Any]], x: str, y: Quantity, **style: Any) -> None:
        shown = sorted(shown, key=lambda row: row[x])
        axes.plot([row[x] for row in shown], [y(row) for row in shown], **style)

    programs = [p for p in TITLES if any(row["program"] == p for row in rows)]
    for marker, program in zip(MARKERS, programs, strict=False):
        look = {"color": backend_color(program), "marker": marker, "label": TITLES[program]}
        one, five = (
            select(rows, "resolution", program=program, channels=channels) for channels in (1, 5)
        )
        line(speed, one, "nside", seconds, **look)
        line(pixel, one, "nside", nanoseconds_per_pixel, linestyle="--", **look)
        line(pixel, five, "nside", nanoseconds_per_pixel, **look)
        line(memory, five, "nside", bytes_per_pixel, **look)
        by_terms, by_batch = (select(rows, x, program=program) for x in ("terms", "batch"))
        line(terms, by_terms, "terms", milliseconds, **look)
        line(working, by_terms, "terms", lambda row: row["call_mb"], **look)
        line(batch, by_batch, "batch", lambda row: milliseconds(row) / row["batch"], **look)
    for share, style in zip(SHARES, ("--", "-.", ":"), strict=True):
        look = {"linestyle": style, "label": f"1/{share} sphere, {TITLES[program]}"}
        shown = select(rows, "share", program=program, share=share)
        line(speed, shown, "nside", seconds, color=backend_color(program), **look)
    harmonics = select(rows, "resolution", program=HARMONICS)
    line(speed, harmonics, "nside", seconds, color="black", marker="x", label=title(HARMONICS))

    for axes, heading, y_label, x_label in (
        (speed, "whole sphere, 1 → 1 channel", "seconds", "nside"),
        (pixel, "5 → 5 channels, dashed 1 → 1", "nanoseconds per pixel", "nside"),
        (memory, "memory of a call, 5 → 5", "bytes per pixel", "nside"),
        (terms, "batch 16, 5 → 5 channels", "milliseconds", "number of terms"),
        (batch, "5 terms, 5 → 5 channels", "milliseconds per map", "maps in the batch"),
        (working, "memory of a call, batch 16", "megabytes", "number of terms"),
    ):
        axes.set(title=heading, xlabel=x_label, ylabel=y_label)
        axes.grid(axis="y")
    for axes in (speed, pixel, memory, batch):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
    for axes in (terms, working):
        axes.set_xlim(left=0)
    for axes in panels[2:]:
        axes.set_ylim(bottom=0)
    for axes in (speed, pixel):
        axes.set_yscale("log")
        plain_logarithms(axes.yaxis)
    figure.legend(*speed.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def seconds(row: dict[str, Any]) -> float:
    """Return the time of a call."""
    return row["median_s"]


def milliseconds(row: dict[str, Any]) -> float:
    """Return the time of a call."""
    return 1000 * row["median_s"]


def nanoseconds_per_pixel(row: dict[str, Any]) -> float:
    """Return the time of a call per pixel and map."""
    return row["nanoseconds_per_pixel_and_map"]


def bytes_per_pixel(row: dict[str, Any]) -> float:
    """Return the memory of a call."""
    return 1e6 * max(row["call_mb"], 0) / row["pixels"]


def main() -> None:
    """Read the command line, measure, print, write and draw."""
    parser = options(__doc__)
    parser.add_argument("--nsides", type=int, nargs="+", default=NSIDES)
    arguments = parse(parser)
    if arguments.serve:
        serve(Served(arguments.serve))
        return
    asked = sweeps(**QUICK) if arguments.quick else sweeps(arguments.nsides)
    report = Report("scaling", arguments.output)
    rows = measure(asked, arguments.backends, arguments.rounds)
    print_rows(summary(rows))
    report.write(rows, summary(rows), partial(draw, rows))
    if sweeps_table(rows):
        print_rows(sweeps_table(rows))
        write_markdown(sweeps_table(rows), arguments.output / "scaling_sweeps.md")


if __name__ == "__main__":
    main()
