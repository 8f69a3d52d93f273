"""Fill in what a `Graph` leaves open: the defaults of a sampling, and the number of neighbors."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from math import inf

import numpy as np
from scipy.sparse import csr_array

from deepsphere.graph.build import FORMAT, build_spectral
from deepsphere.graph.cache import DiskCache, MemoryCache
from deepsphere.graph.isotropy import (
    FRACTIONS,
    geometric_mean,
    isotropy_error,
    some_rows,
    table_degrees,
)
from deepsphere.graph.optimal_laplacian import UnstableWeightsError
from deepsphere.graph.spec import Graph, GraphLike, LaplacianName, Optimal, as_graph
from deepsphere.sampling import Sampling, Scattered, serialize
from deepsphere.sampling.subset import whole_of

logger = logging.getLogger(__name__)

CANDIDATES = (8, 12, 16, 20, 24, 32, 40, 48, 64)
"""Numbers of neighbors to try, in increasing order: errors do not always fall with them."""

POINTS = 12 * 32**2
"""Most points on which errors are measured, if the sampling has a coarser form, and most rows."""

PART = 4
"""Every how many-th row is looked at first. The error is a mean over rows of what is not negative:
that of these rows is at most so many times the error of all, and a candidate beyond is done with.
"""

_chosen: MemoryCache[int] = MemoryCache(size=lambda _: 1, limit=1024)
_errors: MemoryCache[float] = MemoryCache(size=lambda _: 1, limit=4096)
_disk = DiskCache(FORMAT)


def forget_choices() -> None:
    """Forget which numbers were chosen, and what was measured for it; what is on disk stays."""
    _chosen.clear()
    _errors.clear()


def choose_neighbors(sampling: Sampling, graph: Graph) -> int:
    """Return the smallest number of neighbors with which a Laplacian is as equivariant as wanted.

    The error is the geometric mean of `isotropy_error` over the degrees 1/16, 1/4, 1/2, 1 and 3/2
    of nside (of ``sqrt(n / 12)`` on other samplings; for `Optimal`, those up to its
    ``band_limit``): the column "mean" of ``deepsphere equivariance``. It is measured on the whole
    sphere, at all points of the finest resolution of the sampling's kind that has 12 288 or fewer,
    which is ``Healpix(32)`` for every `Healpix`. So a network has one number at all of its
    resolutions, and the time, seconds, does not grow with them. With more points, the same number
    of neighbors has a smaller error (1.4 times smaller at nside 64); with few points, a larger one
    (up to 10 times at nside 4).

    Parameters
    ----------
    sampling : Sampling
        Where the sphere is sampled. `Scattered` points, and samplings that cannot be halved, are
        measured as they are, large ones at 12 288 of their points, which takes longer.
    graph : Graph
        With ``max_error``.

    Returns
    -------
    int
        One of `CANDIDATES`: 8, 12, 16, 20, 24, 32, 40, 48, 64.

    Raises
    ------
    TypeError
        If an argument is of another type.
    ValueError
        If the graph has no ``max_error``, or no number of neighbors reaches it; the message then
        says which one comes closest.

    Notes
    -----
    Numbers of neighbors for which optimal weights would be unstable are skipped. Measured errors
    are kept in memory and, one number each, on disk, next to large graphs. The choice is logged
    (`logging`, level INFO, logger ``deepsphere.graph.resolve``).

    Examples
    --------
    >>> from deepsphere.sampling import Healpix
    >>> choose_neighbors(Healpix(256), Graph(max_error=1e-3, laplacian="optimal"))
    8
    """
    graph = _with_defaults(_checked(sampling), as_graph(graph))
    if graph.max_error is None:
        raise ValueError(
            f"choosing the number of neighbors needs Graph(max_error=...), got {graph}"
        )
    measured = representative(sampling)
    return _chosen.get((measured, graph), lambda: _choose(measured, graph))


def resolve_graph(sampling: Sampling, graph: GraphLike | None = None) -> Graph:
    """Return which graph a sampling has, with nothing left open.

    Parameters
    ----------
    sampling : Sampling
        Where the sphere is sampled.
    graph : Graph, int or str, optional
        Which graph, see `Graph`.

    Returns
    -------
    Graph
        With a number of neighbors if the edges are the nearest ones, the Laplacian, and, where the
        sampling is crowded, ``spread``. Resolved graphs are equal if they have equal edges, weights
        and Laplacians.

    Raises
    ------
    TypeError, ValueError
        If `graph` is not one of these, or no number of neighbors reaches its ``max_error``.
    """
    _checked(sampling)
    graph = _with_defaults(sampling, as_graph(graph))
    if graph.max_error is None:
        return graph
    return replace(graph, neighbors=choose_neighbors(sampling, graph), max_error=None)


def _with_defaults(sampling: Sampling, graph: Graph) -> Graph:
    """Return a graph with its Laplacian, and with `spread` where it matters."""
    if graph.edges != "nearest":
        return replace(graph, laplacian=graph.laplacian or "normalized")
    spread = sampling.crowded if graph.spread is None else graph.spread
    default = "optimal" if sampling.crowded and spread else "normalized"
    # False says nothing on an even sampling: equal graphs are to be equal.
    said = spread if spread or sampling.crowded else None
    return replace(graph, spread=said, laplacian=graph.laplacian or default)


def _checked(sampling: Sampling) -> Sampling:
    if not isinstance(sampling, Sampling):
        raise TypeError(f"sampling must be a Sampling such as Healpix(64), got {sampling!r}")
    return sampling


def representative(sampling: Sampling) -> Sampling:
    """Return the whole sphere at the finest resolution of a sampling's kind with few points.

    Parameters
    ----------
    sampling : Sampling
        The sphere or a part of it.

    Returns
    -------
    Sampling
        One of its coarser or finer levels, with `POINTS` or fewer; the one with the fewest if all
        have more. Scattered points, whose levels are less or more even than they are, as they are.
    """
    sampling, _ = whole_of(sampling)
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
    """Return another level of a sampling, or None if there is none."""
    try:
        return move()
    except (ValueError, NotImplementedError):
        return None


def _choose(sampling: Sampling, graph: Graph) -> int:
    """Return the first of `CANDIDATES` with an error as small as wanted."""
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
    """Return the message for when no candidate has an error as small as wanted."""
    kind = graph.laplacian
    best = min(found, key=lambda count: found[count])
    if found[best] == inf:
        return (
            f"optimal weights are unstable on {sampling!r} with {CANDIDATES[0]} to "
            f"{CANDIDATES[-1]} neighbors: use Graph(spread=True, max_error=...) on grids, or "
            "Graph(laplacian='normalized', max_error=...)"
        )
    if isinstance(kind, Optimal) and kind.symmetric:
        advice = "use symmetric=False, a lower band_limit, or a larger error"
    elif kind == "optimal" or isinstance(kind, Optimal):
        advice = "use a lower band_limit, as in Optimal(band_limit=1), or a larger error"
    else:
        advice = "use laplacian='optimal', or a larger error"
    return (
        f"no Laplacian {kind!r} of {CANDIDATES[0]} to {CANDIDATES[-1]} neighbors on {sampling!r} "
        f"has an equivariance error of {graph.max_error:g} or less: the best has about "
        f"{found[best]:.2g}, with {best} neighbors; {advice}"
    )


def _error(sampling: Sampling, graph: Graph, wanted: float) -> float:
    """Return the error of one Laplacian: roughly, where it is far above the one wanted.

    It is infinite where optimal weights are refused as unstable.
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
    """Return the geometric mean of a Laplacian's equivariance error over the band.

    Parameters
    ----------
    matrix : csr_array, shape (n, n)
        The Laplacian.
    sampling : Sampling of n points
        The whole sphere.
    laplacian : str or Optimal
        Which Laplacian it is; for `Optimal`, degrees above its ``band_limit`` do not count.
    part : int, default 1
        Only every so many-th row is looked at.

    Returns
    -------
    float
        See `choose_neighbors`.
    """
    most = laplacian.band_limit if isinstance(laplacian, Optimal) else FRACTIONS[-1]
    rows = some_rows(len(sampling), POINTS)[::part]
    degrees = table_degrees(sampling, most)
    errors = isotropy_error(matrix, sampling.points, degrees, rows=rows, areas=sampling.areas)
    return geometric_mean(np.asarray(errors))
