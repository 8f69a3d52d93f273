"""Which edges and which Laplacian a graph has, as users write it and as it is saved."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any, Literal

import numpy as np

from deepsphere.graph.neighbors import check_neighbors

DEFAULT_NEIGHBORS = 20
"""What the papers settled on: more are closer to rotation equivariance and cost more."""

EDGE_SETS = ("mesh", "grid", "adjacent")
"""Sets of edges by name, beside the nearest neighbours: see `deepsphere.graph.edges`."""

WIDTHS = ("tuned", "average")
"""Widths of the Gaussian kernel by name, see `deepsphere.graph.gaussian_weights`."""

WEIGHTED_KINDS = ("normalized", "combinatorial", "random_walk")
"""Laplacians of any weighted graph by name."""

KINDS = (*WEIGHTED_KINDS, "optimal", "normalized_tf2")
"""Laplacians of a sampling by name. ``optimal`` is `Optimal` with its defaults; the last is the
normalized one of deepsphere-cosmo-tf2, which broke ties between equally distant neighbours (see
`deepsphere.graph.legacy`)."""


@dataclass(frozen=True)
class Nearest:
    """Edges to the nearest neighbours, with Gaussian weights.

    Parameters
    ----------
    neighbors : int or "auto", default 20
        How many; a plain number means the same as this with the default width. With ``"auto"`` the
        least number is taken that reaches `equivariance`.
    width : {"tuned", "average"} or float, default "tuned"
        Width of the kernel, see `deepsphere.graph.gaussian_weights`. A number, which fits one
        number of neighbours at one resolution, does not go with ``"auto"``.
    spread : bool, optional
        Where points crowd, as at the poles of longitude-latitude grids, the nearest ones lie on one
        ring: the graph falls apart, and no weights make a filter of it. With True as many are
        chosen that are spread over the disc that holds `neighbors` points of the mean density, so
        that neighborhoods are about as large everywhere; see
        `deepsphere.graph.spread.edges_to_spread`. Where points are even, little changes. Default:
        what the sampling needs: True on `Equiangular`, `GaussLegendre` and `ReducedGaussian` grids
        and parts of them (`Sampling.crowded`), False on all others. A plain number says the same.
    equivariance : float, optional
        With ``"auto"``, and only then: the largest equivariance error that the Laplacian may have,
        between 0 (commutes with rotations) and 2 (output unrelated to the input). What is compared
        with it, and where it is measured, is said in `deepsphere.graph.choose_neighbors`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> from deepsphere.graph import laplacian
    >>> from deepsphere.sampling import Healpix
    >>> laplacian(Healpix(16), Nearest("auto", equivariance=1e-2), "optimal").nnz
    28040
    >>> laplacian(Healpix(16), Nearest(8), "optimal").nnz  # which are enough
    28040
    """

    neighbors: int | Literal["auto"] = 20
    width: str | float = "tuned"
    spread: bool | None = None
    equivariance: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", check_width(self.width))
        if self.spread is not None:
            if not isinstance(self.spread, (bool, np.bool_)):
                raise TypeError(f"spread must be True, False or None, got {self.spread!r}")
            object.__setattr__(self, "spread", bool(self.spread))
        if isinstance(self.neighbors, str) and self.neighbors == "auto":
            object.__setattr__(self, "equivariance", check_equivariance(self.equivariance))
            if not isinstance(self.width, str):
                raise ValueError(
                    f"width must be one of {', '.join(WIDTHS)} with neighbors='auto', as a number "
                    f"fits one number of neighbours; got {self.width}"
                )
            return
        if self.equivariance is not None:
            raise ValueError(
                f"equivariance={self.equivariance!r} is for neighbors='auto', got neighbors="
                f"{self.neighbors!r}; give one or the other"
            )
        if isinstance(self.neighbors, str):
            raise TypeError(f"neighbors must be an integer or 'auto', got {self.neighbors!r}")
        object.__setattr__(self, "neighbors", check_neighbors(self.neighbors))

    @property
    def count(self) -> int:
        """How many neighbours, or a ValueError where that is still to be chosen."""
        if isinstance(self.neighbors, str):
            raise ValueError(
                "neighbors='auto' needs a Laplacian to be chosen for: take the number that "
                f"deepsphere.graph.choose_neighbors(sampling, {self.equivariance}, kind) returns"
            )
        return self.neighbors


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
        fivefold; take 3 for maps with power up to ``3 nside - 1``.
    symmetric : bool, default False
        Whether the weights are symmetric, as where energy has to be conserved. That costs most of
        the gain with more than 20 neighbours, and time when the graph is built.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.
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


Edges = int | str | Nearest
"""What users give as ``neighbors``."""

Kind = str | Optimal
"""What users give as ``laplacian``."""


def check_width(width: str | float) -> str | float:
    """Return a kernel width, or raise if it is neither a positive number nor one of `WIDTHS`."""
    if isinstance(width, str) and width in WIDTHS:
        return width
    if isinstance(width, (int, float)) and not isinstance(width, bool) and width > 0:
        return float(width)
    raise ValueError(f"width must be positive or one of {', '.join(WIDTHS)}; got {width!r}")


def check_equivariance(equivariance: float | None) -> float:
    """Return a largest equivariance error as a float, or raise if it is not between 0 and 2."""
    if equivariance is None:
        raise ValueError(
            "neighbors='auto' needs the largest equivariance error that is wanted: "
            "Nearest('auto', equivariance=1e-4)"
        )
    if isinstance(equivariance, (bool, np.bool_)) or not isinstance(equivariance, Real):
        raise TypeError(f"equivariance must be a number, got {equivariance!r}")
    if not 0 < equivariance < 2:
        raise ValueError(f"equivariance must be above 0 and below 2, got {equivariance}")
    return float(equivariance)


def check_edges(neighbors: Edges | dict[str, Any]) -> Edges:
    """Return a choice of edges, or raise if it is none.

    Parameters
    ----------
    neighbors : int, str or Nearest
        A number of nearest neighbours, or one of `EDGE_SETS`; or what `plain` wrote.

    Returns
    -------
    int, str or Nearest
        The same; a `Nearest` with its other defaults becomes a number, so that equal choices are
        equal.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.
    """
    if isinstance(neighbors, str):
        if neighbors == "auto":
            check_equivariance(None)
        if neighbors not in EDGE_SETS:
            raise ValueError(
                f"neighbors must be a number of nearest neighbours, Nearest(...) or one of "
                f"{', '.join(EDGE_SETS)}; got {neighbors!r}"
            )
        return neighbors
    if isinstance(neighbors, dict):
        neighbors = Nearest(**neighbors)
    if isinstance(neighbors, Nearest):
        count = neighbors.neighbors
        return count if count != "auto" and neighbors == Nearest(count) else neighbors
    return check_neighbors(neighbors)


def check_kind(kind: Kind | dict[str, Any]) -> Kind:
    """Return a choice of Laplacian, or raise if it is none.

    Parameters
    ----------
    kind : str or Optimal
        One of `KINDS`, or `Optimal`; or what `plain` wrote.

    Returns
    -------
    str or Optimal
        The same; an `Optimal` with its defaults becomes ``"optimal"``.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if isinstance(kind, dict):
        kind = Optimal(**kind)
    if isinstance(kind, Optimal):
        return "optimal" if kind == Optimal() else kind
    if kind not in KINDS:
        raise ValueError(
            f"laplacian kind must be Optimal(...) or one of {', '.join(KINDS)}; got {kind!r}"
        )
    return kind


def plain(choice: Edges | Kind | None) -> Any:
    """Return a choice as plain JSON data, which `check_edges` and `check_kind` read.

    A number of neighbors is written as a `Nearest`: see `choice_as_written`.
    """
    if isinstance(choice, int):
        choice = Nearest(choice)
    if isinstance(choice, (Nearest, Optimal)):
        return {name: value for name, value in asdict(choice).items() if value is not None}
    return choice


def choice_as_written(config: dict[str, Any]) -> dict[str, Any]:
    """Return a saved configuration with the edges that were meant when it was written.

    `plain` writes every number of neighbors as a dictionary. A bare number is from before 0.1.0,
    when it meant the nearest ones, also on longitude-latitude grids, which need spread ones. What
    was trained on that graph stays on it.

    Parameters
    ----------
    config : dict
        With or without ``neighbors``.

    Returns
    -------
    dict
        The same, or a copy with other ``neighbors``.
    """
    number = config.get("neighbors")
    if isinstance(number, bool) or not isinstance(number, (int, np.integer)):
        return config
    return {**config, "neighbors": plain(Nearest(int(number), spread=False))}
