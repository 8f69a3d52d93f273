"""How long it takes to build the graphs of a network with four resolutions.

Run ``python benchmarks/graph_build.py``; it prints a table and writes ``graph_build.csv``,
``graph_build.md`` and ``graph_build.png`` to ``benchmarks/results``. What is compared, from nside
16 to 1024, on the whole sphere:

- each stage by itself: points, neighbors with weights, Laplacian, bound of its spectrum;
- all of it as a network asks for it (`deepsphere.graph.spectral`): cold, with graphs that an
  earlier process left on disk, and with graphs in memory;
- the rival: the largest eigenvalue by SciPy's ``eigsh`` at its default tolerance, as
  deepsphere-cosmo-tf2 computed it. It did so again in every layer; here each graph counts once. It
  runs in a process of its own, which is ended after two minutes without a result; finer
  resolutions are then left out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

from scipy.sparse.linalg import eigsh

from deepsphere._cache import clear_cache
from deepsphere.graph import (
    Graph,
    gaussian_weights,
    laplacian_of_weights,
    largest_eigenvalue,
    spectral,
)
from deepsphere.graph.cached_laplacians import LARGE
from deepsphere.plot.style import COLORS, MARKERS, PAGE_WIDTH, new_figure
from deepsphere.sampling import Healpix
from pictures import plain_logarithms
from tables import Report, options, parse, print_rows

NEIGHBORS = 20
RESOLUTIONS = 4
STAGES = ("points", "neighbors and weights", "Laplacian", "bound")
WHOLES = ("cold", "from disk", "from memory")
RIVAL = "eigsh alone, as before"
RIVAL_LIMIT = 120.0  # seconds
NSIDES = (16, 32, 64, 128, 256, 512, 1024)
LONG_NSIDE = 512  # from here on one round, of minutes, has to do
QUICK_NSIDES = (8, 16)
TARGETS = {64: 2.0, 256: 40.0}  # seconds, cold

Timings = dict[tuple[int, str], list[float]]


def resolutions(nside: int) -> list[Healpix]:
    """Return the samplings of a network that halves `nside` three times."""
    return [Healpix(nside >> i) for i in range(RESOLUTIONS)]


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Return the seconds that a call takes, and what it returns."""
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def time_stages(nside: int) -> dict[str, float]:
    """Time each stage, summed over the resolutions."""
    seconds: dict[str, float] = defaultdict(float)
    for sampling in resolutions(nside):
        # The weights look up the points again: their share is measured alone and subtracted.
        points, _ = timed(getattr, sampling, "points")
        weighing, weights = timed(gaussian_weights, sampling, NEIGHBORS)
        making, laplacian = timed(laplacian_of_weights, weights)
        bounding, _ = timed(largest_eigenvalue, laplacian)
        for stage, part in zip(STAGES, (points, weighing - points, making, bounding), strict=True):
            seconds[stage] += part
    return seconds


def time_network(nside: int) -> dict[str, float]:
    """Time what a network does: all graphs, built, read from disk, found in memory."""

    def ask() -> None:
        for sampling in resolutions(nside):
            spectral(sampling, Graph(NEIGHBORS, laplacian="normalized"))

    before = os.environ.get("DEEPSPHERE_CACHE")
    with tempfile.TemporaryDirectory() as directory:
        os.environ["DEEPSPHERE_CACHE"] = directory
        try:
            clear_cache()
            cold, _ = timed(ask)
            memory, _ = timed(ask)
            clear_cache()
            disk, _ = timed(ask)
        finally:
            clear_cache()
            if before is None:
                del os.environ["DEEPSPHERE_CACHE"]
            else:
                os.environ["DEEPSPHERE_CACHE"] = before
    seconds = {"cold": cold, "from disk": disk, "from memory": memory}
    if 12 * nside**2 < LARGE:  # quickly built graphs are not kept on disk
        del seconds["from disk"]
    return seconds


def time_rival(nside: int, limit: float) -> dict[str, float]:
    """Time the eigenvalues of all resolutions to machine precision, if that ends in time."""
    command = [sys.executable, "-W", "ignore", __file__, "--serve", str(nside)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the graphs are there
        try:
            found, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            process.kill()
            return {}
    if process.returncode:
        raise RuntimeError(f"eigsh at nside {nside} ended with status {process.returncode}")
    return {RIVAL: float(found.split()[-1])}


def serve_rival(nside: int) -> None:
    """Build the graphs, say so, and print the seconds that their eigenvalues take."""
    laplacians = [
        laplacian_of_weights(gaussian_weights(sampling, NEIGHBORS))
        for sampling in resolutions(nside)
    ]
    print("built", flush=True)
    seconds, _ = timed(
        lambda: [eigsh(m, k=1, which="LM", return_eigenvectors=False) for m in laplacians]
    )
    print(seconds)


def measure(nside: int, rounds: int, with_rival: bool) -> Timings:
    """Time everything in turn, so that a busy minute does not fall on one candidate."""
    timings: Timings = defaultdict(list)
    for _ in range(rounds):
        for candidate in (time_stages, time_network):
            for what, seconds in candidate(nside).items():
                timings[nside, what].append(seconds)
        if with_rival:
            ended = time_rival(nside, RIVAL_LIMIT)
            for what, seconds in ended.items():
                timings[nside, what].append(seconds)
            with_rival = bool(ended)
    return timings


def table(timings: Timings) -> list[dict[str, Any]]:
    """Return the rows of the table."""
    rows = []
    for (nside, what), values in sorted(timings.items(), key=lambda item: item[0][0]):
        row = {"nside": nside, "what": what}
        row |= {f"{f.__name__}_s": f(values) for f in (median, min, max)}
        target = TARGETS.get(nside, "") if what == "cold" else ""
        rows.append({**row, "rounds": len(values), "target_s": target})
    return rows


def summary(timings: Timings) -> list[dict[str, Any]]:
    """Return a table for readers: a row a stage, a column a resolution."""
    nsides = sorted({nside for nside, _ in timings})
    rows = []
    for what in (*STAGES, *WHOLES, RIVAL):
        row = {"": what}
        for nside in nsides:
            values = timings.get((nside, what))
            missing = f"over {RIVAL_LIMIT:g} s" if what == RIVAL else "not kept"
            row[f"nside {nside}"] = readable(median(values)) if values else missing
        rows.append(row)
    return rows


def readable(seconds: float) -> str:
    """Return two or three digits and a unit."""
    unit, size = next(
        ((unit, size) for unit, size in (("s", 1.0), ("ms", 1e-3)) if seconds >= size),
        ("µs", 1e-6),
    )
    number = seconds / size
    return f"{number:.0f} {unit}" if number >= 99.5 else f"{number:.2g} {unit}"


def draw(timings: Timings) -> Any:
    """Draw the whole times against the resolution, and what the cold ones are made of."""
    nsides = sorted({nside for nside, _ in timings})
    figure = new_figure(PAGE_WIDTH, 2.8, layout="constrained")
    left, right = figure.subplots(1, 2)
    for what, color, marker in zip((*WHOLES, RIVAL), COLORS, MARKERS, strict=False):
        shown = [nside for nside in nsides if timings.get((nside, what))]
        style = {"color": color, "marker": marker, "label": what}
        left.plot(shown, [median(timings[nside, what]) for nside in shown], **style)
    targets = {nside: seconds for nside, seconds in TARGETS.items() if nside in nsides}
    if targets:
        left.plot(list(targets), list(targets.values()), "k_", markersize=9, label="target")
    left.set_xscale("log", base=2)
    left.xaxis.set_major_formatter("{x:g}")
    left.set_yscale("log")
    plain_logarithms(left.yaxis)
    left.grid(axis="y")
    left.set_xlabel("nside of the finest of four resolutions")
    left.set_ylabel("seconds")
    left.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    starts = [0.0] * len(nsides)
    for color, stage in zip(COLORS[2:], STAGES, strict=False):
        widths = [
            100 * median(timings[n, stage]) / sum(median(timings[n, s]) for s in STAGES)
            for n in nsides
        ]
        right.barh(range(len(nsides)), widths, 0.6, left=starts, color=color, label=stage)
        starts = [start + width for start, width in zip(starts, widths, strict=True)]
    right.set_yticks(range(len(nsides)), [f"nside {n}" for n in nsides])
    right.invert_yaxis()
    right.set_xlim(0, 100)
    right.set_xlabel("share of the building time in %")
    right.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure


def main() -> None:
    """Read the command line, measure, print, write and draw."""
    parser = options(__doc__, rounds=3)
    parser.add_argument("--nside", type=int, nargs="+", default=NSIDES)
    arguments = parse(parser)
    if arguments.serve:
        serve_rival(int(arguments.serve))
        return
    nsides = QUICK_NSIDES if arguments.quick else arguments.nside
    if min(nsides) < 2 ** (RESOLUTIONS - 1):
        parser.error(f"nside must be 8 or more, got {nsides}")
    report, timings, with_rival = Report("graph_build", arguments.output), {}, True
    time_network(2 ** (RESOLUTIONS - 1))  # what is imported on first use
    for nside in nsides:
        rounds = arguments.rounds if nside < LONG_NSIDE else 1
        timings |= measure(nside, rounds, with_rival)
        with_rival = (nside, RIVAL) in timings
        print_rows(summary(timings))
        report.write(table(timings), summary(timings), partial(draw, timings))


if __name__ == "__main__":
    main()
