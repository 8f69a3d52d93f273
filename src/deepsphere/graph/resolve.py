"""Fill in what a `Graph` leaves open: a sampling's defaults and the number of neighbors."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from math import inf

import numpy as np
from scipy.sparse import csr_array

from deepsphere._cache import DiskCache, MemoryCache
from deepsphere.graph.isotropy import (
    FRACTIONS,
    geometric_mean,
    isotropy_error,
    some_rows,
    table_degrees,
)
from deepsphere.graph.laplacians import FORMAT, build_spectral
from deepsphere.graph.optimal import UnstableWeightsError
from deepsphere.graph.spec import Graph, GraphLike, LaplacianName, Optimal, as_graph
from deepsphere.sampling import Sampling, Scattered, serialize
from deepsphere.sampling.base import check_sampling

logger = logging.getLogger(__name__)

CANDIDATES = (8, 12, 16, 20, 24, 32, 40, 48, 64)
"""Numbers of neighbors to try, in this order: the error does not always fall with the number."""

POINTS = 12 * 32**2
"""Largest number of rows at which errors are measured, and largest number of points of the
resolution at which they are measured, if the sampling has coarser ones."""

PART = 4
"""Step between the rows at which the error is first estimated. The error is a mean of nonnegative
numbers over the rows, so the estimate is at most `PART` times the error: a candidate with a larger
estimate is rejected without measuring the rest."""

_chosen: MemoryCache[int] = MemoryCache(size=lambda _: 1, limit=1024)
_errors: MemoryCache[float] = MemoryCache(size=lambda _: 1, limit=4096)
_disk = DiskCache(FORMAT)


def choose_neighbors(sampling: Sampling, graph: Graph) -> int:
    """Return the smallest number of neighbors whose equivariance error is at most ``max_error``.

    The error is the geometric mean of `isotropy_error` over the degrees 1/16, 1/4, 1/2, 1 and 3/2
    of nside (of ``sqrt(n / 12)`` on other samplings), without those above the ``band_limit`` of an
    `Optimal`. The command ``deepsphere equivariance`` prints it in the column "mean".

    The error is measured on the whole sphere, at the finest resolution of the sampling that has at
    most 12 288 points: ``Healpix(32)`` for every `Healpix`. A network therefore has one number of
    neighbors at all its resolutions, and the choice takes seconds at any of them. The error at
    other resolutions differs: it is 1.4 times smaller at nside 64, and up to 10 times larger at
    nside 4.

    Parameters
    ----------
    sampling : Sampling
        The sampling of the sphere. `Scattered` points, and samplings that cannot be halved, are
        measured at their own resolution, which takes longer; if there are more than 12 288 points,
        at 12 288 of them.
    graph : Graph
        A graph with ``max_error``.

    Returns
    -------
    int
        One of `CANDIDATES`: 8, 12, 16, 20, 24, 32, 40, 48 or 64.

    Raises
    ------
    TypeError
        If `sampling` is not a `Sampling`, or `graph` is not a `Graph`, an integer or a string.
    ValueError
        If the graph has no ``max_error``, or no candidate reaches it. The message names the number
        that comes closest.

    Notes
    -----
    Candidates for which optimal weights would be unstable are skipped. Measured errors are cached
    in memory and on disk. The choice is logged at level INFO by the logger
    ``deepsphere.graph.resolve``.

    Examples
    --------
    >>> from deepsphere.sampling import Healpix
    >>> choose_neighbors(Healpix(256), Graph(max_error=1e-3, laplacian="optimal"))
    8
    """
    graph = _with_defaults(check_sampling(sampling), as_graph(graph))
    if graph.max_error is None:
        raise ValueError(
            f"choosing the number of neighbors needs Graph(max_error=...), got {graph}"
        )
    measured = representative(sampling)
    return _chosen.get((measured, graph), lambda: _choose(measured, graph))


def resolve_graph(sampling: Sampling, graph: GraphLike | None = None) -> Graph:
    """Return a graph with the defaults of a sampling filled in and ``max_error`` resolved.

    Parameters
    ----------
    sampling : Sampling
        The sampling of the sphere.
    graph : Graph, int or str, optional
        A `Graph`, a number of nearest neighbors, or the name of a set of edges. Defaults to
        `Graph()`.

    Returns
    -------
    Graph
        A graph with a Laplacian and, if its edges are nearest neighbors, their number. ``spread``
        is set if the sampling is crowded or the neighbors are spread. Resolved graphs are equal if
        they have equal edges, weights and Laplacians.

    Raises
    ------
    TypeError
        If `sampling` is not a `Sampling`, or `graph` has another type.
    ValueError
        If `graph` is an invalid number or name, or no number of neighbors reaches its
        ``max_error``.
    """
    check_sampling(sampling)
    graph = _with_defaults(sampling, as_graph(graph))
    if graph.max_error is None:
        return graph
    return replace(graph, neighbors=choose_neighbors(sampling, graph), max_error=None)


def _with_defaults(sampling: Sampling, graph: Graph) -> Graph:
    """Return a graph with its Laplacian, and with `spread` where it makes a difference."""
    if graph.edges != "nearest":
        return replace(graph, laplacian=graph.laplacian or "normalized")
    spread = graph.spread
    if spread is None:
        spread = sampling.crowded
    default = "optimal" if sampling.crowded and spread else "normalized"
    # On an even sampling False and None mean the same: make such graphs equal.
    said = spread if spread or sampling.crowded else None
    return replace(graph, spread=said, laplacian=graph.laplacian or default)


def representative(sampling: Sampling) -> Sampling:
    """Return the level of a sampling at which its errors are measured.

    Parameters
    ----------
    sampling : Sampling
        The sphere or a part of it.

    Returns
    -------
    Sampling
        The finest level of the whole with at most `POINTS` points, or the coarsest if all have
        more. Scattered points are returned unchanged, because their levels are not equally even.
    """
    sampling = sampling.whole
    if isinstance(sampling, Scattered):
        return sampling
    while len(sampling) > POINTS:
        coarser = _level(sampling.coarsen)
        if type(coarser) is not type(sampling) or len(coarser) >= len(sampling):
            break
        sampling = coarser
    while len(sampling) < POINTS:
        finer = _level(sampling.refine)
        if type(finer) is not type(sampling) or not len(sampling) < len(finer) <= POINTS:
            break
        sampling = finer
    return sampling


def _level(move: Callable[[], Sampling]) -> Sampling | None:
    """Return another level of a sampling, or None if it does not exist."""
    try:
        return move()
    except (ValueError, NotImplementedError):
        return None


def _choose(sampling: Sampling, graph: Graph) -> int:
    """Return the first of `CANDIDATES` that reaches `max_error`, or raise ValueError."""
    wanted = graph.max_error or 0.0
    found: dict[int, float] = {}
    for count in CANDIDATES:
        error = _error(sampling, replace(graph, neighbors=count, max_error=None), wanted)
        logger.debug("%s, %s, %d neighbors: error %.2g", sampling, graph.laplacian, count, error)
        if error <= wanted:
            logger.info(
                "%d neighbors for an equivariance error of %g with Laplacian %s: %.2g on %s",
                *(count, wanted, graph.laplacian, error, sampling),
            )
            return count
        found[count] = error
    raise ValueError(_none_reached(sampling, graph, found))


def _none_reached(sampling: Sampling, graph: Graph, found: dict[int, float]) -> str:
    """Return the error message for the case that no candidate reaches `max_error`."""
    kind = graph.laplacian
    best = min(found, key=lambda count: found[count])
    if found[best] == inf:
        return (
            f"optimal weights are unstable on {sampling!r} with {CANDIDATES[0]} to "
            f"{CANDIDATES[-1]} neighbors: use Graph(spread=True, max_error=...) on grids, or "
            "Graph(laplacian='normalized', max_error=...)"
        )
    if isinstance(kind, Optimal) and kind.symmetric:
        advice = "use symmetric=False, a lower band_limit, or a larger max_error"
    elif kind == "optimal" or isinstance(kind, Optimal):
        advice = "use a lower band_limit, as in Optimal(band_limit=1), or a larger max_error"
    else:
        advice = "use laplacian='optimal' or a larger max_error"
    return (
        f"no Laplacian {kind!r} with {CANDIDATES[0]} to {CANDIDATES[-1]} neighbors on "
        f"{sampling!r} has an equivariance error of {graph.max_error:g} or less: the best error "
        f"is about {found[best]:.2g}, with {best} neighbors; {advice}"
    )


def _error(sampling: Sampling, graph: Graph, wanted: float) -> float:
    """Return the error of one Laplacian, or an estimate if it is far above the one wanted.

    The error is infinite if optimal weights would be unstable.
    """

    @cache
    def matrix() -> csr_array:
        return build_spectral(sampling, graph).laplacian

    def measure(part: int) -> float:
        try:
            return mean_error(matrix(), sampling, graph.laplacian, part)
        except UnstableWeightsError:
            return inf

    def kept(part: int) -> float:
        request = {"sampling": serialize(sampling), "graph": graph.get_config()}
        nothing = csr_array((1, 1))
        return _disk.get({"error": part, **request}, lambda: (nothing, measure(part)))[1]

    rough = _errors.get((sampling, graph, PART), lambda: kept(PART))
    if rough > PART * wanted:
        return rough
    return _errors.get((sampling, graph, 1), lambda: kept(1))


def mean_error(
    matrix: csr_array, sampling: Sampling, laplacian: LaplacianName | None, part: int = 1
) -> float:
    """Return the geometric mean over degrees of a Laplacian's equivariance error.

    Parameters
    ----------
    matrix : csr_array, shape (n, n)
        The Laplacian.
    sampling : Sampling
        The whole sphere, with n points.
    laplacian : str, Optimal or None
        Kind of the Laplacian. For an `Optimal`, degrees above its ``band_limit`` are ignored.
    part : int, default 1
        Step between the rows at which the error is measured.

    Returns
    -------
    float
        The error that `choose_neighbors` describes.
    """
    most = laplacian.band_limit if isinstance(laplacian, Optimal) else FRACTIONS[-1]
    rows = some_rows(len(sampling), POINTS)[::part]
    degrees = table_degrees(sampling, most)
    errors = isotropy_error(matrix, sampling.points, degrees, rows=rows, areas=sampling.areas)
    return geometric_mean(np.asarray(errors))
