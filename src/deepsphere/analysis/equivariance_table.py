"""Equivariance errors of the graph Laplacians of a sampling, side by side, and as a table."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepsphere.files import replacing
from deepsphere.graph import check_kind, laplacian
from deepsphere.graph.isotropy import check_degrees, isotropy_error
from deepsphere.layers.base import check_count
from deepsphere.sampling import Healpix

BASELINE = "combinatorial"
"""The Laplacian that others are compared with: that of the papers' Gaussian graph."""

VERTICES = 12 * 32**2
"""Vertices at which the error is measured: all up to nside 32, a random choice above."""

FRACTIONS = (1 / 16, 1 / 4, 1 / 2, 1, 3 / 2)
"""Degrees of the table in units of nside: from large scales to where the maps' power ends."""


class LaplacianError(NamedTuple):
    """The error of one graph Laplacian.

    Attributes
    ----------
    laplacian : str
        Which one, see `deepsphere.graph.laplacian`.
    neighbors, nside : int
        Of which graph.
    entries : float
        Entries of the matrix in each row: what it costs.
    degrees : ndarray of int, shape (n,)
        Degrees ell of the spherical harmonics.
    errors : ndarray of float64, shape (n,)
        Exact expectation of the equivariance error of each degree.
    """

    laplacian: str
    neighbors: int
    nside: int
    entries: float
    degrees: NDArray[np.int64]
    errors: NDArray[np.float64]

    def mean(self, degrees: Sequence[int] | None = None) -> float:
        """Return the geometric mean of the errors, of some of the degrees or of all."""
        chosen = np.isin(self.degrees, self.degrees if degrees is None else degrees)
        with np.errstate(divide="ignore"):  # a degree without error: the mean is 0
            return float(np.exp(np.log(self.errors[chosen]).mean()))


def table_degrees(nside: int) -> list[int]:
    """Return the degrees of a table: 1/16, 1/4, 1/2, 1 and 3/2 of nside, as far as they differ."""
    return sorted({max(1, int(fraction * nside)) for fraction in FRACTIONS})


def curve_degrees(nside: int) -> list[int]:
    """Return the degrees of a picture: those of the table, and eight per factor of two."""
    steps = np.geomspace(1, 2 * nside, 8 * int(np.log2(2 * nside)) + 1)
    return sorted({*table_degrees(nside), *np.rint(steps).astype(int).tolist()})


def laplacian_errors(
    nside: int,
    neighbors: Sequence[int] = (8, 20, 40),
    kinds: Sequence[str] = (BASELINE,),
    degrees: Sequence[int] | None = None,
    report: Callable[[str], None] | None = None,
    vertices: int = VERTICES,
    seed: int = 0,
) -> list[LaplacianError]:
    """Measure the graph Laplacians of a HEALPix sampling.

    Parameters
    ----------
    nside : int
        Resolution.
    neighbors : sequence of int, default (8, 20, 40)
        Numbers of neighbours, by default those of the papers.
    kinds : sequence of str
        Which Laplacians, see `deepsphere.graph.laplacian`.
    degrees : sequence of int, optional
        Degrees ell. Default: `table_degrees`.
    report : callable, optional
        Is told in a line what has been measured, and how fast.
    vertices : int, default 12288
        Most vertices at which the error is measured. A random choice of that many is good to about
        1 %, and the time does not grow with the number of pixels.
    seed : int, default 0
        Of the choice of vertices.

    Returns
    -------
    list of LaplacianError
        For each number of neighbours first the combinatorial Laplacian, with which the others are
        to be compared, then those of `kinds`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.
    """
    sampling = Healpix(nside)
    wanted = check_degrees(table_degrees(nside) if degrees is None else degrees)
    wanted = np.unique(wanted)
    counts = [check_count("neighbors", k, least=1) for k in dict.fromkeys(neighbors)]
    names = list(dict.fromkeys([BASELINE, *(check_kind(kind) for kind in kinds)]))
    rows = None
    if len(sampling) > check_count("vertices", vertices, least=1):
        rng = np.random.default_rng(seed)
        rows = np.sort(rng.choice(len(sampling), vertices, replace=False))
    measured = len(sampling) if rows is None else len(rows)
    points, result = sampling.points, []
    cases = [(count, name) for count in counts for name in names]
    for i, (count, name) in enumerate(cases, start=1):
        if report:
            report(f"{i} of {len(cases)}: {name} Laplacian, {count} neighbours ...")
        start = perf_counter()
        matrix = laplacian(sampling, count, name)
        built = perf_counter()
        errors = isotropy_error(matrix, points, wanted.tolist(), rows=rows)
        seconds = perf_counter() - built
        entries = matrix.nnz / len(sampling)
        result.append(LaplacianError(name, count, nside, entries, wanted, errors))
        if report:
            report(
                f"    built in {built - start:.1f} s, measured at {measured:,} vertices in "
                f"{seconds:.1f} s ({measured / seconds:,.0f} vertices/s)"
            )
    return result


def gains(rows: Sequence[LaplacianError], degrees: Sequence[int] | None = None) -> list[float]:
    """Return how much smaller each geometric mean is than the combinatorial Laplacian's.

    Parameters
    ----------
    rows : sequence of LaplacianError
        With a combinatorial Laplacian for each number of neighbours and nside.
    degrees : sequence of int, optional
        Of which degrees the mean is taken. Default: all.

    Returns
    -------
    list of float
        Above 1: better than the combinatorial Laplacian with as many neighbours.
    """
    base = {
        (row.nside, row.neighbors): row.mean(degrees) for row in rows if row.laplacian == BASELINE
    }
    with np.errstate(divide="ignore"):
        return [float(np.divide(base[row.nside, row.neighbors], row.mean(degrees))) for row in rows]


def format_table(rows: Sequence[LaplacianError], degrees: Sequence[int] | None = None) -> str:
    """Write errors as an aligned table that Markdown understands too.

    Parameters
    ----------
    rows : sequence of LaplacianError
        What was measured, all at the same degrees.
    degrees : sequence of int, optional
        Which degrees are shown, and their geometric mean. Default: all.

    Returns
    -------
    str
        A line for each row.
    """
    shown = rows[0].degrees.tolist() if degrees is None else list(degrees)
    head = ["Laplacian", "k", "entries", *(f"ℓ = {ell}" for ell in shown), "mean", "gain"]
    cells = [head]
    for row, gain in zip(rows, gains(rows, shown), strict=True):
        errors = row.errors[np.searchsorted(row.degrees, shown)]
        cells.append(
            [
                row.laplacian,
                str(row.neighbors),
                f"{row.entries:.1f}",
                *(f"{error:.1e}" for error in (*errors, row.mean(shown))),
                f"{gain:.2g}" if gain < 10 else f"{gain:,.0f}",
            ]
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [[cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])] for cells in cells]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], rule, *lines[1:]])


def write_csv(rows: Sequence[LaplacianError], path: Path) -> None:
    """Write errors to a file, a line for each Laplacian and degree.

    Parameters
    ----------
    rows : sequence of LaplacianError
        What was measured.
    path : Path
        The file; an old one is replaced.
    """
    with replacing(path) as temporary, Path(temporary).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["laplacian", "neighbors", "nside", "entries_per_row", "degree", "error"])
        for row in rows:
            for degree, error in zip(row.degrees, row.errors, strict=True):
                start = [row.laplacian, row.neighbors, row.nside, f"{row.entries:.3f}"]
                writer.writerow([*start, degree, f"{error:.6e}"])
