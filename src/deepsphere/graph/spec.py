"""`Graph`: which edges, weights and Laplacian a graph on a sampling has, as one value."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from numbers import Real
from typing import Any, Self

import numpy as np

from deepsphere.graph.neighbors import check_neighbors

DEFAULT_NEIGHBORS = 20
"""The papers' choice. More neighbors bring filters closer to equivariance, and cost more."""

EDGES = ("nearest", "mesh", "grid", "adjacent")
"""Sets of edges by name, see `deepsphere.graph.edges`."""

WIDTHS = ("tuned", "average")
"""Widths of the Gaussian kernel by name, see `deepsphere.graph.gaussian_weights`."""

WEIGHTED_LAPLACIANS = ("normalized", "combinatorial", "random_walk")
"""Laplacians of any weighted graph by name."""

LAPLACIANS = (*WEIGHTED_LAPLACIANS, "optimal", "normalized_tf2")
"""Laplacians of a sampling by name. ``"optimal"`` is `Optimal` with its defaults; the last one is
the normalized one of deepsphere-cosmo-tf2, which broke ties between equally distant neighbors (see
`deepsphere.graph.legacy`)."""


@dataclass(frozen=True)
class Optimal:
    """The Laplacian with the weights that make it most equivariant to rotation.

    Parameters
    ----------
    band_limit : float, default 2
        Spherical-harmonic degree up to which equivariance counts, in units of `nside` on HEALPix
        and of ``sqrt(n / 12)`` on other samplings, so that it holds at each resolution of a
        network. Up to 2, HEALPix maps carry information almost without aliasing. Smaller values
        gain more at low degrees and lose above, and polynomials of order 20 may enlarge noise
        fivefold; use 3 for maps with power up to ``3 nside - 1``.
    symmetric : bool, default False
        Whether the weights are symmetric, for applications that conserve energy. Symmetric weights
        lose most of the gain with more than 20 neighbors, and take longer to compute.

    Raises
    ------
    TypeError
        If `band_limit` is not a number.
    ValueError
        If `band_limit` is not from 0.25 to 4.
    """

    band_limit: float = 2.0
    symmetric: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.band_limit, bool) or not isinstance(self.band_limit, (int, float)):
            raise TypeError(f"band_limit must be a number, got {self.band_limit!r}")
        if not 0.25 <= self.band_limit <= 4:
            raise ValueError(
                f"band_limit must be from 0.25 to 4 in units of nside, got {self.band_limit}"
            )
        object.__setattr__(self, "band_limit", float(self.band_limit))
        object.__setattr__(self, "symmetric", bool(self.symmetric))


LaplacianName = str | Optimal
"""What a `Graph` takes as ``laplacian``."""


@dataclass(frozen=True, repr=False)
class Graph:
    """The graph on a sampling: its edges, their weights and its Laplacian.

    Layers, models and functions take it as ``graph=``. There, a number means that many nearest
    neighbors (``graph=8`` is ``graph=Graph(8)``), the name of a set of edges means these edges
    (``graph="mesh"`` is ``graph=Graph(edges="mesh")``), and None means the default: `Graph()`, or
    the graph of the model around a layer.

    Parameters
    ----------
    neighbors : int, optional
        Number of nearest neighbors, clipped to the number of points less one. Two points are joined
        if either is among the neighbors of the other. Default: 20, which is what the papers settled
        on. More neighbors bring filters closer to rotation equivariance and cost more.
    edges : {"nearest", "mesh", "grid", "adjacent"}, default "nearest"
        ``"nearest"``: nearest neighbors with Gaussian weights. ``"mesh"``: Voronoi cells that
        touch. ``"grid"``: the four neighbors on a longitude-latitude grid. ``"adjacent"``: the
        eight HEALPix pixels around. See `deepsphere.graph.edges`.
    width : {"tuned", "average"} or float, default "tuned"
        Width of the Gaussian kernel, see `deepsphere.graph.gaussian_weights`. A number fits one
        number of neighbors at one resolution, and does not go with `max_error`.
    spread : bool, optional
        Where points crowd, as at the poles of longitude-latitude grids, the nearest ones all lie on
        one ring: the graph falls apart, and no weights make a filter of it. With True, as many
        neighbors are chosen that are spread over the disc that holds `neighbors` points of the mean
        density, so that neighborhoods have about the same size everywhere; see
        `deepsphere.graph.spread.edges_to_spread`. On even samplings it changes little. Default:
        True on `Equiangular`, `GaussLegendre` and `ReducedGaussian` grids and parts of them
        (`Sampling.crowded`), False on all other samplings.
    laplacian : str or Optimal, optional
        ``"normalized"``, ``"combinatorial"``, ``"random_walk"``; ``"optimal"`` or `Optimal`, with
        the weights that make it as equivariant to rotation as these edges allow; or
        ``"normalized_tf2"``, the normalized one of deepsphere-cosmo-tf2, which keeps exactly
        `neighbors` neighbors where several are at equal distance, and with which its trained
        weights give the same numbers. Default: ``"optimal"`` with spread neighbors on
        longitude-latitude grids, where Gaussian weights respond differently at each latitude, and
        ``"normalized"`` otherwise.
    max_error : float, optional
        Instead of `neighbors`: the largest equivariance error that the Laplacian may have, between
        0 (commutes with rotations) and 2 (output unrelated to the input). The smallest number of
        neighbors that reaches it is used; see `deepsphere.graph.choose_neighbors` for how the error
        is measured.

    Raises
    ------
    TypeError
        If `neighbors` is not an integer, `spread` not a bool, or `max_error` not a number.
    ValueError
        If `neighbors` is less than 1, `max_error` is not between 0 and 2, a name is unknown, or two
        arguments exclude each other: `neighbors` and `max_error`; a number as `width` and
        `max_error`; `neighbors`, `width`, `spread` or `max_error` and edges other than
        ``"nearest"``.

    Examples
    --------
    >>> from deepsphere.graph import laplacian
    >>> from deepsphere.sampling import Healpix
    >>> laplacian(Healpix(16), Graph(8, laplacian="optimal")).nnz
    28040
    >>> laplacian(Healpix(16), Graph(max_error=1e-2, laplacian="optimal")).nnz  # 8 are enough
    28040
    """

    neighbors: int | None = None
    edges: str = field(default="nearest", kw_only=True)
    width: str | float = field(default="tuned", kw_only=True)
    spread: bool | None = field(default=None, kw_only=True)
    laplacian: LaplacianName | None = field(default=None, kw_only=True)
    max_error: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        _check_name("edges", self.edges, EDGES)
        values = {
            "width": check_width(self.width),
            "spread": _checked_spread(self.spread),
            "laplacian": _checked_laplacian(self.laplacian),
            "max_error": None if self.max_error is None else check_max_error(self.max_error),
            "neighbors": self._checked_neighbors(),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _checked_neighbors(self) -> int | None:
        if self.edges != "nearest":
            for name in ("neighbors", "spread", "max_error"):
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"{name}={getattr(self, name)!r} is for edges='nearest', got edges="
                        f"{self.edges!r}; give one or the other"
                    )
            if self.width != "tuned":
                raise ValueError(
                    f"width={self.width!r} is for edges='nearest', got edges={self.edges!r}, which "
                    "have weights of their own"
                )
            return None
        if self.max_error is None:
            return check_neighbors(DEFAULT_NEIGHBORS if self.neighbors is None else self.neighbors)
        if self.neighbors is not None:
            raise ValueError(
                f"max_error={self.max_error!r} chooses the number of neighbors, got neighbors="
                f"{self.neighbors!r}; give one or the other"
            )
        if not isinstance(self.width, str):
            raise ValueError(
                f"width must be one of {', '.join(WIDTHS)} with max_error, as a number fits one "
                f"number of neighbors; got {self.width}"
            )
        return None

    @property
    def neighbor_count(self) -> int:
        """Number of nearest neighbors.

        Raises
        ------
        ValueError
            If the edges are others, or the number is still to be chosen.
        """
        if self.neighbors is None:
            raise ValueError(
                f"{self!r} says no number of neighbors: pass it through "
                "deepsphere.graph.resolve_graph(sampling, graph) if it has max_error"
            )
        return self.neighbors

    def __repr__(self) -> str:
        said = []
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "neighbors" and value is not None:
                said.append(str(value))
            elif value != each.default:
                said.append(f"{each.name}={value!r}")
        return f"Graph({', '.join(said)})"

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain JSON data, without those that are None."""
        config = {each.name: getattr(self, each.name) for each in fields(self)}
        if isinstance(self.laplacian, Optimal):
            config["laplacian"] = asdict(self.laplacian)
        return {name: value for name, value in config.items() if value is not None}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make a graph from what `get_config` returned."""
        config = dict(config)
        if isinstance(config.get("laplacian"), dict):
            config["laplacian"] = Optimal(**config["laplacian"])
        return cls(**config)


GraphLike = Graph | int | str
"""What users give as ``graph``: a `Graph`, a number of nearest neighbors, or the name of edges."""


def as_graph(graph: GraphLike | dict[str, Any] | None) -> Graph:
    """Return what a user gave as ``graph``, as a `Graph`.

    Parameters
    ----------
    graph : Graph, int, str, dict or None
        A graph; a number of nearest neighbors; the name of a set of edges; what
        `Graph.get_config` returned; or None for the default.

    Returns
    -------
    Graph
        What the argument means.

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If the number or the name is not one that `Graph` takes.
    """
    if isinstance(graph, Graph):
        return graph
    if graph is None:
        return Graph()
    if isinstance(graph, dict):
        return Graph.from_config(graph)
    wanted = (
        f"graph must be a Graph, a number of nearest neighbors or one of {', '.join(EDGES[1:])}"
    )
    if isinstance(graph, Optimal) or (isinstance(graph, str) and graph in LAPLACIANS):
        error: type[Exception] = TypeError if isinstance(graph, Optimal) else ValueError
        raise error(f"{wanted}; got a Laplacian, {graph!r}: use graph=Graph(laplacian={graph!r})")
    if isinstance(graph, str):
        if graph not in EDGES[1:]:
            raise ValueError(f"{wanted}; got {graph!r}")
        return Graph(edges=graph)
    try:
        return Graph(check_neighbors(graph))
    except TypeError:
        raise TypeError(f"{wanted}; got {graph!r}") from None


def refuse_parts(arguments: dict[str, Any]) -> None:
    """Raise TypeError if parts of a graph are among keyword arguments that are for Keras."""
    given = {name: arguments[name] for name in ("neighbors", "laplacian") if name in arguments}
    if given:
        parts = [f"{name}={value!r}" for name, value in given.items()]
        raise TypeError(
            "layers and models take their graph as one argument: use graph=Graph("
            f"{', '.join(parts)}), with Graph from deepsphere; got {' and '.join(parts)}"
        )


def graph_config(graph: Graph | None) -> dict[str, Any] | None:
    """Return what a layer or model writes of its graph, which `as_graph` reads."""
    return None if graph is None else graph.get_config()


def with_graph(config: dict[str, Any]) -> dict[str, Any]:
    """Return a saved configuration with its graph as one value.

    Configurations written before there was `Graph` have two entries, ``neighbors`` and
    ``laplacian``. A bare number of neighbors there meant the nearest ones, also on
    longitude-latitude grids, which today have spread ones by default: what was trained on that
    graph stays on it.

    Parameters
    ----------
    config : dict
        Of any layer or model.

    Returns
    -------
    dict
        The same, or a copy with ``graph`` in place of ``neighbors`` and ``laplacian``.
    """
    if "graph" in config or "neighbors" not in config:
        return config
    config = dict(config)
    neighbors, laplacian = config.pop("neighbors"), config.pop("laplacian", None)
    if neighbors is None and laplacian is None:
        return {**config, "graph": None}
    graph: dict[str, Any] = {} if laplacian is None else {"laplacian": laplacian}
    if isinstance(neighbors, str):
        graph["edges"] = neighbors
    elif isinstance(neighbors, dict):
        graph.update(neighbors)
        if "equivariance" in graph:
            graph["max_error"] = graph.pop("equivariance")
            graph.pop("neighbors")
    elif neighbors is not None:
        graph.update(neighbors=neighbors, spread=False)
    return {**config, "graph": graph}


def check_max_error(max_error: float) -> float:
    """Return a largest equivariance error as a float, or raise if it is not between 0 and 2."""
    if isinstance(max_error, (bool, np.bool_)) or not isinstance(max_error, Real):
        raise TypeError(f"max_error must be a number, got {max_error!r}")
    if not 0 < max_error < 2:
        raise ValueError(f"max_error must be above 0 and below 2, got {max_error}")
    return float(max_error)


def check_laplacian(laplacian: LaplacianName | dict[str, Any]) -> LaplacianName:
    """Return the choice of a Laplacian; `Optimal` with its defaults becomes ``"optimal"``.

    Parameters
    ----------
    laplacian : str, Optimal or dict
        One of `LAPLACIANS`, or `Optimal`, or its fields.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if isinstance(laplacian, dict):
        laplacian = Optimal(**laplacian)
    if isinstance(laplacian, Optimal):
        return "optimal" if laplacian == Optimal() else laplacian
    if not isinstance(laplacian, str) or laplacian not in LAPLACIANS:
        raise ValueError(
            f"laplacian must be Optimal(...) or one of {', '.join(LAPLACIANS)}; got {laplacian!r}"
        )
    return laplacian


def _checked_laplacian(laplacian: Any) -> LaplacianName | None:
    return None if laplacian is None else check_laplacian(laplacian)


def check_width(width: Any) -> str | float:
    """Return a kernel width, or raise if it is neither positive nor one of `WIDTHS`."""
    if isinstance(width, str) and width in WIDTHS:
        return width
    if isinstance(width, (int, float)) and not isinstance(width, bool) and width > 0:
        return float(width)
    raise ValueError(f"width must be positive or one of {', '.join(WIDTHS)}; got {width!r}")


def _checked_spread(spread: Any) -> bool | None:
    if spread is not None and not isinstance(spread, (bool, np.bool_)):
        raise TypeError(f"spread must be True, False or None, got {spread!r}")
    return None if spread is None else bool(spread)


def _check_name(name: str, value: Any, names: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"{name} must be one of {', '.join(names)}; got {value!r}")
