"""How long it takes to build the graphs of a network with four resolutions.

Run ``python benchmarks/graph_build.py``; it prints a table and writes ``graph_build.csv`` and
``graph_build.png`` to ``benchmarks/results``. What is compared:

- each stage by itself: points, neighbours with weights, Laplacian, bound of its spectrum;
- all of it as a network asks for it (`deepsphere.graph.spectral`): cold, with graphs that an
  earlier process left on disk, and with graphs in memory;
- the rival: the largest eigenvalue by SciPy's ``eigsh`` at its default tolerance, as
  deepsphere-cosmo-tf2 computed it. It did so again in every layer; here each graph counts once.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

from scipy.sparse.linalg import eigsh

from deepsphere.files import replacing
from deepsphere.graph import (
    clear_cache,
    gaussian_weights,
    laplacian_of_weights,
    largest_eigenvalue,
    spectral,
)
from deepsphere.graph.laplacians import LARGE
from deepsphere.plot.style import COLOURS, PAGE_WIDTH, house_style, new_figure
from deepsphere.sampling import Healpix

NEIGHBORS = 20
RESOLUTIONS = 4
STAGES = ("points", "neighbours and weights", "Laplacian", "bound")
WHOLES = ("cold", "from disk", "from memory")
RIVAL = "eigsh alone, as before"
RIVAL_NSIDE = 64  # beyond it takes minutes
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
            spectral(sampling, NEIGHBORS, "normalized")

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


def time_rival(nside: int) -> dict[str, float]:
    """Time the eigenvalues of all resolutions to machine precision."""
    laplacians = [
        laplacian_of_weights(gaussian_weights(sampling, NEIGHBORS))
        for sampling in resolutions(nside)
    ]
    seconds, _ = timed(
        lambda: [eigsh(m, k=1, which="LM", return_eigenvectors=False) for m in laplacians]
    )
    return {RIVAL: seconds}


def measure(nsides: Iterable[int], rounds: int) -> Timings:
    """Time everything in turn, so that a busy minute does not fall on one candidate."""
    timings: Timings = defaultdict(list)
    time_network(2 ** (RESOLUTIONS - 1))  # what is imported on first use
    for _ in range(rounds):
        for nside in nsides:
            candidates = [time_stages, time_network]
            candidates += [time_rival] if nside <= RIVAL_NSIDE else []
            for candidate in candidates:
                for what, seconds in candidate(nside).items():
                    timings[nside, what].append(seconds)
    return timings


def write_table(timings: Timings, path: Path) -> None:
    """Print the table and write it as CSV."""
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["nside", "what", "median_s", "min_s", "max_s", "rounds", "target_s"])
        for (nside, what), values in timings.items():
            target = TARGETS.get(nside, "") if what == "cold" else ""
            numbers = [f"{f(values):.6f}" for f in (median, min, max)]
            writer.writerow([nside, what, *numbers, len(values), target])
            goal = f"   target {target:g} s" if target else ""
            print(f"nside {nside:4d}  {what:24s} {median(values):10.4f} s{goal}")


def readable(seconds: float) -> str:
    """Return two digits and a unit."""
    return f"{seconds:.2g} s" if seconds > 0.01 else f"{seconds * 1e6:.2g} µs"


def draw(timings: Timings, path: Path) -> None:
    """Draw the whole times side by side, and what the cold ones are made of."""
    nsides = sorted({nside for nside, _ in timings})
    with house_style():
        figure = new_figure(PAGE_WIDTH, 2.6, layout="constrained")
        left, right = figure.subplots(1, 2)
        whats = (RIVAL, *WHOLES)
        height = 0.8 / len(nsides)
        for i, nside in enumerate(nsides):
            for j, what in enumerate(whats):
                values = timings.get((nside, what))
                if not values:
                    continue
                y = j + (i - (len(nsides) - 1) / 2) * height
                left.barh(
                    y,
                    median(values),
                    height * 0.9,
                    color=COLOURS[i],
                    label=f"nside {nside}" if what == "cold" else None,
                )
                left.annotate(
                    readable(median(values)),
                    (median(values), y),
                    (-3, 0),
                    textcoords="offset points",
                    va="center",
                    ha="right",
                    color="white",
                    fontsize=6.5,
                )
            if nside in TARGETS:
                y = WHOLES.index("cold") + 1 + (i - (len(nsides) - 1) / 2) * height
                left.vlines(TARGETS[nside], y - height / 2, y + height / 2, "black", linewidth=1)
        left.plot([], [], "k|", markersize=7, label="target")
        left.set_xscale("log")
        left.set_xlim(1e-5, 10 * max(median(v) for v in timings.values()))
        left.set_yticks(range(len(whats)), [w.replace(", ", ",\n") for w in whats])
        left.invert_yaxis()
        left.set_xlabel("seconds for the graphs of four resolutions")
        left.legend(loc="lower right")
        starts = [0.0] * len(nsides)
        for colour, stage in zip(COLOURS[2:], STAGES, strict=False):
            widths = [
                100 * median(timings[n, stage]) / sum(median(timings[n, s]) for s in STAGES)
                for n in nsides
            ]
            right.barh(range(len(nsides)), widths, 0.5, left=starts, color=colour, label=stage)
            starts = [start + width for start, width in zip(starts, widths, strict=True)]
        right.set_yticks(range(len(nsides)), [f"nside {n}" for n in nsides])
        right.invert_yaxis()
        right.set_xlim(0, 100)
        right.set_xlabel("share of the building time in %")
        right.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
        with replacing(path) as temporary:
            figure.savefig(temporary)


def main() -> None:
    """Read the command line, measure, print, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nside", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    too_small = [n for n in arguments.nside if n < 2 ** (RESOLUTIONS - 1)]
    if too_small or arguments.rounds < 1:
        parser.error(f"nside must be 8 or more and rounds 1 or more, got {arguments}")
    timings = measure(arguments.nside, arguments.rounds)
    write_table(timings, arguments.output / "graph_build.csv")
    draw(timings, arguments.output / "graph_build.png")


if __name__ == "__main__":
    main()
