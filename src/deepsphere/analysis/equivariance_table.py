"""Comparison of the equivariance errors of a sampling's graph Laplacians, also as a table."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepsphere._checks import check_count
from deepsphere._files import replacing
from deepsphere.graph import Graph, GraphLike, isotropy_error, laplacian, resolve_graph
from deepsphere.graph.isotropy import (
    check_degrees,
    geometric_mean,
    resolution,
    some_rows,
    table_degrees,
)
from deepsphere.graph.spec import as_graph
from deepsphere.sampling import Sampling

BASELINE = "combinatorial"
"""Baseline Laplacian of the comparison, that of the papers' Gaussian graph."""

VERTICES = 12 * 32**2
"""Default maximum number of vertices at which errors are measured: all up to nside 32."""


class LaplacianResult(NamedTuple):
    """The equivariance error of one graph Laplacian.

    Attributes
    ----------
    graph : Graph
        Its graph, as returned by `deepsphere.graph.resolve_graph`.
    sampling : Sampling
        Sampling of the vertices.
    entries : float
        Mean number of matrix entries per row, which determines the cost.
    degrees : ndarray of int, shape (n,)
        Degrees ell of the spherical harmonics.
    errors : ndarray of float64, shape (n,)
        Exact expectation of the equivariance error at each degree.
    """

    graph: Graph
    sampling: Sampling
    entries: float
    degrees: NDArray[np.int64]
    errors: NDArray[np.float64]

    @property
    def nside(self) -> float:
        """Resolution: nside on HEALPix, ``sqrt(n / 12)`` on other samplings."""
        return resolution(self.sampling)

    def mean(self, degrees: Sequence[int] | None = None) -> float:
        """Return the geometric mean of the errors over some degrees, by default all."""
        chosen = np.isin(self.degrees, self.degrees if degrees is None else degrees)
        return geometric_mean(self.errors[chosen])


def curve_degrees(sampling: Sampling) -> list[int]:
    """Return the degrees for a plot: those of the table, and eight per factor of two.

    They end at 2.5 nside. Beyond that, maps on these points hardly determine the field.
    """
    last = max(2.0, 2.5 * resolution(sampling))
    steps = np.geomspace(1, last, math.ceil(8 * math.log2(last)) + 1)
    return sorted({*table_degrees(sampling), *steps.astype(int).tolist()})


def laplacian_errors(
    sampling: Sampling,
    graphs: Sequence[GraphLike] = (8, 20, 40),
    degrees: Sequence[int] | None = None,
    report: Callable[[str], None] | None = None,
    vertices: int = VERTICES,
    seed: int = 0,
) -> list[LaplacianResult]:
    """Measure the equivariance errors of graph Laplacians of a sampling.

    Parameters
    ----------
    sampling : Sampling
        Sampling of the vertices.
    graphs : sequence of Graph, int or str, default (8, 20, 40)
        Graphs to measure, by default with the numbers of neighbors of the papers. The Laplacian
        defaults to the combinatorial one.
    degrees : sequence of int, optional
        Degrees ell, at least 1. Default: `table_degrees`.
    report : callable, optional
        Called with progress messages, strings of one line. Default: no messages.
    vertices : int, default 12288
        Maximum number of vertices at which the error is measured. A random choice of 12288 is
        accurate to about 1 %, in a time that does not grow with the number of pixels.
    seed : int, default 0
        Seed of the choice of vertices.

    Returns
    -------
    list of LaplacianResult
        For each set of edges, first the combinatorial Laplacian as the baseline, then those of
        `graphs`.

    Raises
    ------
    TypeError
        If `sampling` is not a `Sampling`, a graph is not a `Graph`, an integer or a string,
        `degrees` is empty, or `degrees` or `vertices` are not integers.
    ValueError
        If a graph is invalid, or a degree or `vertices` is less than 1.
    """
    wanted = np.unique(check_degrees(table_degrees(sampling) if degrees is None else degrees))
    rows = some_rows(len(sampling), check_count(vertices, "vertices"), seed)
    measured = len(rows)
    points, areas, result = sampling.points, sampling.areas, []
    cases: list[Graph] = []
    for given in map(as_graph, graphs):
        graph = replace(given, laplacian=given.laplacian or BASELINE)
        graph = resolve_graph(sampling, graph)
        cases += [_baseline(graph), graph]
    cases = list(dict.fromkeys(cases))
    for i, graph in enumerate(cases, start=1):
        if report:
            report(f"{i} of {len(cases)}: {graph.laplacian} Laplacian, {_edges(graph)} ...")
        start = perf_counter()
        matrix = laplacian(sampling, graph)
        built = perf_counter()
        errors = isotropy_error(matrix, points, wanted.tolist(), rows=rows, areas=areas)
        seconds = perf_counter() - built
        entries = matrix.nnz / len(sampling)
        result.append(LaplacianResult(graph, sampling, entries, wanted, errors))
        if report:
            report(
                f"    built in {built - start:.1f} s, measured at {measured:,} vertices in "
                f"{seconds:.1f} s ({measured / seconds:,.0f} vertices/s)"
            )
    return result


def _edges(graph: Graph) -> str:
    return f"{edges_name(graph)} {'edges' if graph.neighbors is None else 'neighbors'}"


def edges_name(graph: Graph) -> str:
    """Return a short name of a graph's edges, such as ``20``, ``20 spread`` or their name."""
    if graph.neighbors is None:
        return graph.edges
    width = "" if graph.width == "tuned" else f", width {graph.width}"
    return f"{graph.neighbors}{' spread' * bool(graph.spread)}{width}"


def gains(rows: Sequence[LaplacianResult], degrees: Sequence[int] | None = None) -> list[float]:
    """Return the factor by which each mean error is below that of the combinatorial Laplacian.

    Parameters
    ----------
    rows : sequence of LaplacianResult
        Errors, including the combinatorial Laplacian for each sampling and set of edges.
    degrees : sequence of int, optional
        Degrees over which the geometric mean is taken. Default: all.

    Returns
    -------
    list of float
        Factors; above 1 if better than the combinatorial Laplacian on the same edges.
    """
    base = {
        (row.sampling, row.graph): row.mean(degrees)
        for row in rows
        if row.graph.laplacian == BASELINE
    }
    with np.errstate(divide="ignore"):
        return [
            float(np.divide(base[row.sampling, _baseline(row.graph)], row.mean(degrees)))
            for row in rows
        ]


def _baseline(graph: Graph) -> Graph:
    return replace(graph, laplacian=BASELINE)


def format_table(rows: Sequence[LaplacianResult], degrees: Sequence[int] | None = None) -> str:
    """Format errors as an aligned Markdown table.

    Parameters
    ----------
    rows : sequence of LaplacianResult
        Errors, all at the same degrees.
    degrees : sequence of int, optional
        Degrees to show, besides their geometric mean. Default: all.

    Returns
    -------
    str
        The table, with a line for each entry of `rows`.
    """
    shown = rows[0].degrees.tolist() if degrees is None else list(degrees)
    head = ["Laplacian", "k", "entries", *(f"ℓ = {ell}" for ell in shown), "mean", "gain"]
    cells = [head]
    for row, gain in zip(rows, gains(rows, shown), strict=True):
        errors = row.errors[np.searchsorted(row.degrees, shown)]
        cells.append(
            [
                str(row.graph.laplacian),
                edges_name(row.graph),
                f"{row.entries:.1f}",
                *(f"{error:.1e}" for error in (*errors, row.mean(shown))),
                f"{gain:.2g}" if gain < 10 else f"{gain:,.0f}",
            ]
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [[cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])] for cells in cells]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], rule, *lines[1:]])


def write_csv(rows: Sequence[LaplacianResult], path: Path) -> None:
    """Write errors to a CSV file, with a line for each Laplacian and degree.

    Parameters
    ----------
    rows : sequence of LaplacianResult
        Errors to write.
    path : Path
        Path of the file. An existing file is replaced.
    """
    with replacing(path) as temporary, Path(temporary).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["laplacian", "neighbors", "sampling", "entries_per_row", "degree", "error"]
        )
        for row in rows:
            for degree, error in zip(row.degrees, row.errors, strict=True):
                start = [
                    row.graph.laplacian,
                    edges_name(row.graph),
                    row.sampling,
                    f"{row.entries:.3f}",
                ]
                writer.writerow([*start, degree, f"{error:.6e}"])
