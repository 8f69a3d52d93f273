"""`Graph`: the edges, weights and Laplacian of a graph on a sampling, as one immutable value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from importlib import import_module
from numbers import Real
from typing import Any, Self

import numpy as np
from scipy.sparse import csr_array

from deepsphere._checks import check_choice
from deepsphere.graph.neighbors import check_neighbors
from deepsphere.sampling import Sampling

DEFAULT_NEIGHBORS = 20
"""The papers' choice. More neighbors make filters more equivariant but cost more."""

EDGES = ("nearest", "mesh", "grid", "adjacent")
"""Names of the sets of edges, see `deepsphere.graph.edges`."""

WIDTHS = ("tuned", "average")
"""Names of the widths of the Gaussian kernel, see `deepsphere.graph.gaussian_weights`."""

WEIGHTED_LAPLACIANS = ("normalized", "combinatorial", "random_walk")
"""Names of the Laplacians that are defined for any weighted graph."""

LAPLACIANS = (*WEIGHTED_LAPLACIANS, "optimal")
"""Names of the Laplacians of a sampling. ``"optimal"`` is `Optimal` with its defaults."""

_HOMES = {"normalized_tf2": "deepsphere.compat.legacy_graph"}
"""Modules that register Laplacians of earlier implementations, imported on first use."""

_registered: dict[str, Callable[[Sampling, Graph], csr_array]] = {}


def register_laplacian(name: str, build: Callable[[Sampling, Graph], csr_array]) -> None:
    """Add a Laplacian to those that a `Graph` may name.

    Parameters
    ----------
    name : str
        The name, as in ``Graph(laplacian=name)``.
    build : callable
        Function of a sampling with n points and a resolved graph that returns the Laplacian, a
        symmetric `csr_array` of float64, shape (n, n).
    """
    _registered[name] = build


def registered_laplacian(name: Any) -> Callable[[Sampling, Graph], csr_array] | None:
    """Return the function of a Laplacian that was registered under a name, or None."""
    if name not in _registered and name in _HOMES:
        import_module(_HOMES[name])
    return _registered.get(name)


@dataclass(frozen=True)
class Optimal:
    """The Laplacian whose weights make it as equivariant to rotation as its edges allow.

    Parameters
    ----------
    band_limit : float, default 2
        Largest spherical-harmonic degree for which the weights are optimized, from 0.25 to 4 in
        units of `nside` on HEALPix and of ``sqrt(n / 12)`` on other samplings. The unit makes one
        value fit every resolution of a network. HEALPix maps carry degrees up to ``2 nside`` almost
        without aliasing, hence the default. Smaller values reduce the error at low degrees and
        increase it above, and polynomials of order 20 may amplify noise fivefold. Use 3 for maps
        with power up to degree ``3 nside - 1``.
    symmetric : bool, default False
        Whether to constrain the weights to be symmetric, for applications that conserve energy.
        Symmetric weights take longer to compute and lose most of the gain with more than 20
        neighbors.

    Raises
    ------
    TypeError
        If `band_limit` is not a number.
    ValueError
        If `band_limit` is not between 0.25 and 4.
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
        if not isinstance(self.symmetric, (bool, np.bool_)):
            raise TypeError(f"symmetric must be True or False, got {self.symmetric!r}")
        object.__setattr__(self, "band_limit", float(self.band_limit))
        object.__setattr__(self, "symmetric", bool(self.symmetric))


LaplacianName = str | Optimal
"""Type of the argument `laplacian` of `Graph`."""


@dataclass(frozen=True, repr=False)
class Graph:
    """The graph on a sampling: its edges, their weights and its Laplacian.

    Layers, models and functions accept it as ``graph=``, together with shorthands: a number is a
    number of nearest neighbors (``graph=8`` is ``graph=Graph(8)``), a string is a set of edges
    (``graph="mesh"`` is ``graph=Graph(edges="mesh")``), and None is the default, which is `Graph()`
    or, in a layer inside a model, the graph of the model.

    Parameters
    ----------
    neighbors : int, optional
        Number of nearest neighbors, clipped to the number of points minus one. Two points are
        joined if either is among the neighbors of the other. Defaults to 20, the papers' choice.
        More neighbors make filters more equivariant to rotation but cost more.
    edges : {"nearest", "mesh", "grid", "adjacent"}, default "nearest"
        Which points are joined, see `deepsphere.graph.edges`:

        - ``"nearest"``: nearest neighbors, with Gaussian weights;
        - ``"mesh"``: points whose Voronoi cells touch;
        - ``"grid"``: the four neighbors on a longitude-latitude grid;
        - ``"adjacent"``: the eight pixels around a HEALPix pixel.
    width : {"tuned", "average"} or float, default "tuned"
        Width of the Gaussian kernel, see `deepsphere.graph.gaussian_weights`. A number suits one
        number of neighbors at one resolution only, and cannot be combined with `max_error`.
    spread : bool, optional
        Whether to spread the neighbors of a point over a disc instead of taking the nearest ones.
        At the poles of longitude-latitude grids, the nearest points all lie on one ring: the graph
        falls apart, and no choice of weights gives a good filter. If True, the neighbors are spread
        over the disc that holds `neighbors` points at the mean density, so neighborhoods have about
        the same size everywhere; see `deepsphere.graph.spread.edges_to_spread`. On even samplings
        this changes little. Defaults to True on `Equiangular`, `GaussLegendre` and
        `ReducedGaussian` grids and parts of them (`Sampling.crowded`), and to False on all other
        samplings.
    laplacian : str or Optimal, optional
        Which Laplacian:

        - ``"normalized"``, ``"combinatorial"`` or ``"random_walk"``, see
          `deepsphere.graph.laplacian_of_weights`;
        - ``"optimal"`` or an `Optimal`: weights that make the Laplacian as equivariant to rotation
          as the edges allow;
        - ``"normalized_tf2"``: the normalized Laplacian of deepsphere-cosmo-tf2, with which weights
          trained there give the same numbers. See `deepsphere.compat.legacy_graph`.

        Defaults to ``"optimal"`` for spread neighbors on longitude-latitude grids, where the
        response of Gaussian weights depends on the latitude, and to ``"normalized"`` otherwise.
    max_error : float, optional
        Largest equivariance error of the Laplacian, between 0 (commutes with rotations) and 2
        (output unrelated to the input). Give it instead of `neighbors` to use the smallest number
        of neighbors that reaches it; `deepsphere.graph.choose_neighbors` describes how the error is
        measured.

    Raises
    ------
    TypeError
        If `neighbors` is not an integer, `spread` is not a bool, or `max_error` is not a number.
    ValueError
        If `neighbors` is less than 1, `width` is not positive, `max_error` is not between 0 and 2,
        or a name is unknown. Also if arguments exclude each other: `neighbors` with `max_error`, a
        numeric `width` with `max_error`, or `neighbors`, `width`, `spread` or `max_error` with
        edges other than ``"nearest"``.

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
        check_choice(self.edges, "edges", EDGES)
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
                        f"{name}={getattr(self, name)!r} requires edges='nearest', got "
                        f"edges={self.edges!r}; give one or the other"
                    )
            if self.width != "tuned":
                raise ValueError(
                    f"width={self.width!r} requires edges='nearest', got edges={self.edges!r}, "
                    "which has its own weights; leave out the width"
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
                f"width must be one of {', '.join(WIDTHS)} with max_error, because a number suits "
                f"only one number of neighbors; got {self.width}"
            )
        return None

    @property
    def neighbor_count(self) -> int:
        """Number of nearest neighbors, as an int.

        Raises
        ------
        ValueError
            If the edges are not the nearest neighbors, or `max_error` still has to be resolved.
        """
        if self.neighbors is None:
            raise ValueError(
                f"{self!r} has no number of neighbors: pass it through "
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
        """Return the arguments that are not None, as JSON-serializable data."""
        config = {each.name: getattr(self, each.name) for each in fields(self)}
        if isinstance(self.laplacian, Optimal):
            config["laplacian"] = asdict(self.laplacian)
        return {name: value for name, value in config.items() if value is not None}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return the graph described by a result of `get_config`."""
        config = dict(config)
        if isinstance(config.get("laplacian"), dict):
            config["laplacian"] = Optimal(**config["laplacian"])
        return cls(**config)


GraphLike = Graph | int | str
"""Type of ``graph`` arguments: a `Graph`, a number of nearest neighbors, or a name in `EDGES`."""


def as_graph(graph: GraphLike | dict[str, Any] | None) -> Graph:
    """Convert an argument ``graph`` to a `Graph`.

    Parameters
    ----------
    graph : Graph, int, str, dict or None
        A graph, a number of nearest neighbors, the name of a set of edges, a result of
        `Graph.get_config`, or None for the default.

    Returns
    -------
    Graph
        The graph; a `Graph` is returned unchanged.

    Raises
    ------
    TypeError
        If `graph` has another type, or is an `Optimal`.
    ValueError
        If the number is less than 1, the name is unknown, or the dictionary holds invalid values.
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
    if isinstance(graph, Optimal) or (
        isinstance(graph, str) and (graph in LAPLACIANS or graph in _HOMES)
    ):
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
    """Raise TypeError if ``neighbors`` or ``laplacian`` is among keyword arguments for Keras."""
    given = {name: arguments[name] for name in ("neighbors", "laplacian") if name in arguments}
    if given:
        parts = [f"{name}={value!r}" for name, value in given.items()]
        raise TypeError(
            "layers and models take their graph as a single argument: use "
            f"graph=Graph({', '.join(parts)}), with Graph from deepsphere; got "
            f"{' and '.join(parts)}"
        )


def graph_config(graph: Graph | None) -> dict[str, Any] | None:
    """Return the configuration of a layer's or model's graph, which `as_graph` reads."""
    return None if graph is None else graph.get_config()


def with_graph(config: dict[str, Any]) -> dict[str, Any]:
    """Return a saved configuration with its graph in one entry, ``graph``.

    Configurations saved before `Graph` existed have two entries, ``neighbors`` and ``laplacian``.
    A bare number of neighbors meant nearest neighbors then, even on longitude-latitude grids, where
    neighbors are spread by default now. The conversion keeps the graph that the layer or model was
    trained on.

    Parameters
    ----------
    config : dict
        Configuration of any layer or model.

    Returns
    -------
    dict
        `config` itself, or a copy with ``graph`` in place of ``neighbors`` and ``laplacian``.
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
    """Return `max_error` as a float, or raise if it is not a number between 0 and 2."""
    if isinstance(max_error, (bool, np.bool_)) or not isinstance(max_error, Real):
        raise TypeError(f"max_error must be a number, got {max_error!r}")
    if not 0 < max_error < 2:
        raise ValueError(f"max_error must be above 0 and below 2, got {max_error}")
    return float(max_error)


def check_laplacian(laplacian: LaplacianName | dict[str, Any]) -> LaplacianName:
    """Return a checked `laplacian`; `Optimal` with its defaults becomes ``"optimal"``.

    Parameters
    ----------
    laplacian : str, Optimal or dict
        One of `LAPLACIANS`, an `Optimal`, or the fields of one.

    Raises
    ------
    TypeError
        If the dictionary has unknown fields, or a `band_limit` that is not a number.
    ValueError
        If `laplacian` is none of these.
    """
    if isinstance(laplacian, dict):
        laplacian = Optimal(**laplacian)
    if isinstance(laplacian, Optimal):
        return "optimal" if laplacian == Optimal() else laplacian
    if not isinstance(laplacian, str) or not (
        laplacian in LAPLACIANS or registered_laplacian(laplacian)
    ):
        raise ValueError(
            f"laplacian must be Optimal(...) or one of {', '.join(LAPLACIANS)}; got {laplacian!r}"
        )
    return laplacian


def _checked_laplacian(laplacian: Any) -> LaplacianName | None:
    return None if laplacian is None else check_laplacian(laplacian)


def check_width(width: Any) -> str | float:
    """Return a kernel width, or raise ValueError if it is neither positive nor in `WIDTHS`."""
    if isinstance(width, str) and width in WIDTHS:
        return width
    if isinstance(width, (int, float)) and not isinstance(width, bool) and width > 0:
        return float(width)
    raise ValueError(f"width must be positive or one of {', '.join(WIDTHS)}; got {width!r}")


def _checked_spread(spread: Any) -> bool | None:
    if spread is not None and not isinstance(spread, (bool, np.bool_)):
        raise TypeError(f"spread must be True, False or None, got {spread!r}")
    return None if spread is None else bool(spread)
