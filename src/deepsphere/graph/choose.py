"""How many nearest neighbours a Laplacian needs for the equivariance error that is wanted."""

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
from deepsphere.graph.choices import (
    DEFAULT_NEIGHBORS,
    Edges,
    Kind,
    Nearest,
    Optimal,
    check_edges,
    check_kind,
    plain,
)
from deepsphere.graph.isotropy import (
    FRACTIONS,
    geometric_mean,
    isotropy_error,
    some_rows,
    table_degrees,
)
from deepsphere.graph.optimal_laplacian import UnstableWeightsError
from deepsphere.sampling import Sampling, Scattered, serialize
from deepsphere.sampling.subset import whole_of

logger = logging.getLogger(__name__)

CANDIDATES = (8, 12, 16, 20, 24, 32, 40, 48, 64)
"""Numbers of neighbours that are tried, from few to many: errors do not always fall with them."""

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


def choose_neighbors(
    sampling: Sampling,
    equivariance: float,
    kind: Kind = "normalized",
    *,
    width: str = "tuned",
    spread: bool | None = None,
) -> int:
    """Return the least number of neighbours with which a Laplacian is as equivariant as wanted.

    The error is the geometric mean of `isotropy_error` over the degrees 1/16, 1/4, 1/2, 1 and 3/2
    of nside (of ``sqrt(n / 12)`` on other samplings; of `Optimal`, those up to its ``band_limit``):
    the column "mean" of ``deepsphere equivariance``. It is measured on the whole sphere, at all
    points of the finest resolution of the sampling's kind that has 12 288 or fewer, which is
    ``Healpix(32)`` for every `Healpix`. So a network has one number at all of its resolutions, and
    the time, seconds, does not grow with them. At more points the error of the same number of
    neighbours is smaller (1.4 times at nside 64), at few it is larger (up to 10 times at nside 4).

    Parameters
    ----------
    sampling : Sampling
        Where the sphere is sampled. `Scattered` points, and samplings that cannot be halved, are
        measured as they are, large ones at 12 288 of their points: that takes longer.
    equivariance : float
        The largest error that is wanted, between 0 (commutes with rotations) and 2.
    kind : str or Optimal, default "normalized"
        Which Laplacian, see `deepsphere.graph.laplacian`.
    width : {"tuned", "average"}, default "tuned"
        Width of the Gaussian kernel, see `gaussian_weights`.
    spread : bool, optional
        Whether neighbors are spread where points crowd, see `Nearest`.

    Returns
    -------
    int
        One of `CANDIDATES`: 8, 12, 16, 20, 24, 32, 40, 48, 64.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.
    ValueError
        If no number of neighbours reaches that error; the message says which one comes nearest.

    Notes
    -----
    Numbers with which optimal weights are refused as unstable are passed over. Errors that were
    measured are kept in memory and, a number each, on disk, beside large graphs. What is chosen is
    logged (`logging`, level INFO, logger ``deepsphere.graph.choose``).

    Examples
    --------
    >>> from deepsphere.sampling import Healpix
    >>> choose_neighbors(Healpix(256), 1e-3, "optimal")
    8
    """
    choice = _definite_spread(_checked(sampling), Nearest("auto", width, spread, equivariance))
    kind = check_kind(kind)
    measured = representative(sampling)
    return _chosen.get((measured, choice, kind), lambda: _choose(measured, choice, kind))


def definite_graph(
    sampling: Sampling, neighbors: Edges | None = None, kind: Kind | None = None
) -> tuple[Edges, Kind]:
    """Return which graph a sampling has, with nothing left to be chosen.

    Parameters
    ----------
    sampling : Sampling
        Where the sphere is sampled.
    neighbors : int, str or Nearest, optional
        Which edges, see `deepsphere.graph.laplacian`. Default: `DEFAULT_NEIGHBORS`.
    kind : str or Optimal, optional
        Which Laplacian. Default: ``"optimal"`` for spread neighbors of crowded samplings, where
        Gaussian weights make no filter of them; ``"normalized"`` otherwise.

    Returns
    -------
    neighbors : int, str or Nearest
        What `check_edges` returns. Where the sampling is crowded, ``spread`` is True or False; and
        instead of ``"auto"`` there is the number of `choose_neighbors`. Equal graphs are equal.
    kind : str or Optimal
        What `check_kind` returns.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or no number of neighbors will do.
    """
    _checked(sampling)
    neighbors = check_edges(DEFAULT_NEIGHBORS if neighbors is None else neighbors)
    if isinstance(neighbors, str):
        return neighbors, "normalized" if kind is None else check_kind(kind)
    choice = neighbors if isinstance(neighbors, Nearest) else Nearest(neighbors)
    choice = _definite_spread(sampling, choice)
    if kind is None:
        kind = "optimal" if sampling.crowded and choice.spread else "normalized"
    kind = check_kind(kind)
    if choice.equivariance is not None:
        width, spread = str(choice.width), choice.spread
        count = choose_neighbors(sampling, choice.equivariance, kind, width=width, spread=spread)
        choice = Nearest(count, width, spread)
    return check_edges(choice), kind


def definite_edges(
    sampling: Sampling, neighbors: Edges | None = None, kind: Kind | None = None
) -> Edges:
    """Return which edges a graph has: the first of the two that `definite_graph` returns."""
    return definite_graph(sampling, neighbors, kind)[0]


def _definite_spread(sampling: Sampling, choice: Nearest) -> Nearest:
    """Return the choice with `spread` said where it matters, and only there if it is False."""
    spread = sampling.crowded if choice.spread is None else choice.spread
    return replace(choice, spread=spread if spread or sampling.crowded else None)


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


def _choose(sampling: Sampling, choice: Nearest, kind: Kind) -> int:
    """Return the first of `CANDIDATES` with an error as small as wanted."""
    wanted = choice.equivariance or 0.0
    found: dict[int, float] = {}
    for count in CANDIDATES:
        edges = check_edges(Nearest(count, choice.width, choice.spread))
        error = _error(sampling, edges, kind, wanted)
        logger.debug("%s, %s, %d neighbours: error %.2g", sampling, kind, count, error)
        if error <= wanted:
            logger.info(
                "%d neighbours for an equivariance error of %g with Laplacian %s: %.2g on %s",
                *(count, wanted, kind, error, sampling),
            )
            return count
        found[count] = error
    raise ValueError(_none_reached(sampling, choice, kind, found))


def _none_reached(sampling: Sampling, choice: Nearest, kind: Kind, found: dict[int, float]) -> str:
    """Return the message for when no candidate has an error as small as wanted."""
    best = min(found, key=lambda count: found[count])
    if found[best] == inf:
        return (
            f"optimal weights are unstable on {sampling!r} with {CANDIDATES[0]} to "
            f"{CANDIDATES[-1]} neighbours: use Nearest('auto', spread=True, equivariance=...) on "
            "grids, or laplacian='normalized'"
        )
    if isinstance(kind, Optimal) and kind.symmetric:
        advice = "take symmetric=False, a lower band_limit, or a larger error"
    elif kind == "optimal" or isinstance(kind, Optimal):
        advice = "take a lower band_limit, as in Optimal(band_limit=1), or a larger error"
    else:
        advice = "take laplacian='optimal', or a larger error"
    return (
        f"no Laplacian {kind!r} of {CANDIDATES[0]} to {CANDIDATES[-1]} neighbours on {sampling!r} "
        f"has an equivariance error of {choice.equivariance:g} or less: the best has about "
        f"{found[best]:.2g}, with {best} neighbours; {advice}"
    )


def _error(sampling: Sampling, edges: Edges, kind: Kind, wanted: float) -> float:
    """Return the error of one Laplacian: roughly, where it is far above the one wanted.

    It is infinite where optimal weights are refused as unstable.
    """

    @cache
    def matrix() -> csr_array:
        return build_spectral(sampling, edges, kind).laplacian

    def measure(part: int) -> float:
        try:
            return mean_error(matrix(), sampling, kind, part)
        except UnstableWeightsError:
            return inf

    def kept(part: int) -> float:
        request = {"sampling": serialize(sampling), "neighbors": plain(edges), "kind": plain(kind)}
        nothing = csr_array((1, 1))
        return _disk.get({"error": part, **request}, lambda: (nothing, measure(part)))[1]

    rough = _errors.get((sampling, edges, kind, PART), lambda: kept(PART))
    if rough > PART * wanted:
        return rough
    return _errors.get((sampling, edges, kind, 1), lambda: kept(1))


def mean_error(matrix: csr_array, sampling: Sampling, kind: Kind, part: int = 1) -> float:
    """Return the geometric mean of a Laplacian's equivariance error over the band.

    Parameters
    ----------
    matrix : csr_array, shape (n, n)
        The Laplacian.
    sampling : Sampling of n points
        The whole sphere.
    kind : str or Optimal
        Which Laplacian it is: of `Optimal`, degrees above its ``band_limit`` do not count.
    part : int, default 1
        Only every so many-th row is looked at.

    Returns
    -------
    float
        See `choose_neighbors`.
    """
    most = kind.band_limit if isinstance(kind, Optimal) else FRACTIONS[-1]
    rows = some_rows(len(sampling), POINTS)[::part]
    degrees = table_degrees(sampling, most)
    errors = isotropy_error(matrix, sampling.points, degrees, rows=rows, areas=sampling.areas)
    return geometric_mean(np.asarray(errors))
