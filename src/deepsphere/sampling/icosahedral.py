"""Samplings at the vertices or the faces of a subdivided icosahedron."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from deepsphere.sampling.base import Sampling, check_levels, read_only
from deepsphere.sampling.voronoi import voronoi_areas

MAX_LEVEL = 14  # 20 * 4**14 faces are 5 billion: more do not fit in memory


class Mesh(NamedTuple):
    """Triangles on the sphere, in which the children of a triangle are consecutive."""

    vertices: NDArray[np.float64]
    """Unit vectors, shape ``(n, 3)``; vertices of the coarser mesh come first."""

    faces: NDArray[np.int64]
    """Indices of the corners of each triangle, shape ``(m, 3)``, counterclockwise from outside."""

    edges: NDArray[np.int64]
    """Indices of the ends of the coarser edges that the new vertices halve, shape ``(k, 2)``."""


def icosahedron() -> Mesh:
    """Return the icosahedron with a vertex at each pole and one at longitude 0."""
    longitudes = np.radians(36 * np.arange(10))
    heights = np.where(np.arange(10) % 2, -1, 1) / np.sqrt(5)
    radii = 2 / np.sqrt(5)
    belt = np.column_stack((radii * np.cos(longitudes), radii * np.sin(longitudes), heights))
    vertices = np.concatenate(([[0, 0, 1]], belt, [[0, 0, -1]]))
    faces = []
    for north in range(1, 11, 2):
        south, east, south_east = north + 1, (north + 1) % 10 + 1, (north + 2) % 10 + 1
        faces += [(0, north, east), (north, south, east), (south, south_east, east)]
        faces += [(south, 11, south_east)]
    return Mesh(vertices, np.array(faces), np.zeros((0, 2), np.int64))


def subdivide(mesh: Mesh) -> Mesh:
    """Split each triangle in four at the midpoints of its edges.

    Parameters
    ----------
    mesh : Mesh
        Any triangles.

    Returns
    -------
    Mesh
        The finer mesh. Its vertices are those of `mesh`, followed by the midpoints of its edges,
        ordered by the indices of their ends. Triangles ``4 * i`` to ``4 * i + 3`` make up triangle
        ``i``: those at its three corners, in order, and the middle one.
    """
    n = len(mesh.vertices)
    sides = np.sort(mesh.faces[:, [[0, 1], [1, 2], [2, 0]]], axis=2).reshape(-1, 2)
    keys, middle = np.unique(sides[:, 0] * n + sides[:, 1], return_inverse=True)
    edges = np.column_stack(np.divmod(keys, n))
    middles = mesh.vertices[edges].sum(axis=1)
    middles /= np.linalg.norm(middles, axis=1, keepdims=True)
    a, b, c = mesh.faces.T
    ab, bc, ca = n + middle.reshape(-1, 3).T
    faces = np.stack((a, ab, ca, ab, b, bc, ca, bc, c, ab, bc, ca), axis=1).reshape(-1, 3)
    return Mesh(np.concatenate((mesh.vertices, middles)), faces, edges)


class _Icosahedral(Sampling):
    """Base class of the samplings at vertices and faces."""

    def __init__(self, level: int) -> None:
        level = check_levels(level, "level")
        if level > MAX_LEVEL:
            raise ValueError(f"level must be at most {MAX_LEVEL}, got {level}")
        self._level = level

    @property
    def level(self) -> int:
        """Number of times that triangles have been split in four."""
        return self._level

    @cached_property
    def _mesh(self) -> Mesh:
        mesh = icosahedron()
        for _ in range(self._level):
            mesh = subdivide(mesh)
        for array in mesh:
            read_only(array)
        return mesh

    @property
    def faces(self) -> NDArray[np.int64]:
        """Indices of the vertices at the corners of each triangle, shape ``(20 * 4**level, 3)``.

        Corners are counterclockwise seen from outside. The children of a triangle are consecutive.
        """
        return self._mesh.faces

    def coarsen(self, levels: int = 1) -> Self:
        """Return the sampling that is coarser by `levels`, or raise ValueError if there is none."""
        levels = check_levels(levels)
        if levels > self._level:
            raise ValueError(
                f"level {self._level} has {self._level} coarser levels, got levels={levels}"
            )
        return type(self)(self._level - levels)

    def refine(self, levels: int = 1) -> Self:
        """Return the sampling that is finer by `levels`."""
        return type(self)(self._level + check_levels(levels))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"level": self._level}

    def _identity(self) -> tuple[Any, ...]:
        return (self._level,)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(level={self._level})"


class Icosahedral(_Icosahedral):
    """The vertices of an icosahedron whose triangles are split in four, `level` times.

    New vertices are the midpoints of edges, projected onto the sphere. The vertices of a level are
    the first ones of the next. There are vertices at both poles and at longitude 0.

    Parameters
    ----------
    level : int
        Number of subdivisions, from 0 to 14. There are ``10 * 4**level + 2`` vertices.

    Raises
    ------
    TypeError
        If `level` is not an integer.
    ValueError
        If `level` is not from 0 to 14.

    Notes
    -----
    J. R. Baumgardner and P. O. Frederickson, "Icosahedral discretization of the two-sphere", SIAM
    J. Numer. Anal. 22 (1985). Vertices have six neighbors, except for the twelve of level 0, which
    have five. Areas are those of Voronoi cells.

    A vertex that exists at the coarser level belongs to itself there. A vertex at the midpoint of a
    coarser edge belongs by half to each end, so coarse values are weighted means, not samples.

    Examples
    --------
    >>> from deepsphere.sampling import Icosahedral
    >>> len(Icosahedral(5)), Icosahedral(5).coarsen(2)
    (10242, Icosahedral(level=3))
    """

    kind: ClassVar[str] = "icosahedral"

    @property
    def points(self) -> NDArray[np.float64]:
        """Unit vectors of the vertices, shape ``(len(self), 3)``; read-only."""
        return self._mesh.vertices

    @cached_property
    def areas(self) -> NDArray[np.float64]:
        """Solid angle of each vertex's Voronoi cell in steradian, shape ``(len(self),)``."""
        return read_only(voronoi_areas(self.points))

    def __len__(self) -> int:
        return 10 * 4**self._level + 2

    def _shares(self) -> csr_array:
        coarse = len(self.coarsen())
        ends = self._mesh.edges
        parents = np.concatenate((np.arange(coarse), ends.ravel()))
        children = np.concatenate((np.arange(coarse), np.repeat(np.arange(coarse, len(self)), 2)))
        shares = np.concatenate((np.ones(coarse), np.full(ends.size, 0.5)))
        return csr_array((shares, (parents, children)), shape=(coarse, len(self)))


class IcosahedralFaces(_Icosahedral):
    """The triangles of an icosahedron, split in four `level` times.

    The four children of a triangle are consecutive, as in HEALPix.

    Parameters
    ----------
    level : int
        Number of subdivisions, from 0 to 14. There are ``20 * 4**level`` triangles.

    Raises
    ------
    TypeError
        If `level` is not an integer.
    ValueError
        If `level` is not from 0 to 14.

    Notes
    -----
    Points are the means of the three corners, projected onto the sphere. Areas are exact, after
    A. van Oosterom and J. Strackee, "The Solid Angle of a Plane Triangle", IEEE Trans. Biomed.
    Eng. 30 (1983). Children fill their parent exactly.

    Examples
    --------
    >>> from deepsphere.sampling import IcosahedralFaces
    >>> len(IcosahedralFaces(5)), IcosahedralFaces(5).coarsen(2)
    (20480, IcosahedralFaces(level=3))
    """

    kind: ClassVar[str] = "icosahedral-faces"
    branching: ClassVar[int] = 4

    @cached_property
    def points(self) -> NDArray[np.float64]:
        """Unit vectors of the triangles' centers, shape ``(len(self), 3)``; read-only."""
        sums = self._mesh.vertices[self.faces].sum(axis=1)
        return read_only(sums / np.linalg.norm(sums, axis=1, keepdims=True))

    @property
    def corners(self) -> NDArray[np.float64]:
        """Unit vectors of each triangle's corners, counterclockwise, ``(len(self), 3, 3)``."""
        return self._mesh.vertices[self.faces]

    @property
    def areas(self) -> NDArray[np.float64]:
        """Solid angle of each triangle in steradian, shape ``(len(self),)``."""
        a, b, c = np.moveaxis(self.corners, 1, 0)
        volume = np.sum(a * np.cross(b, c), axis=1)
        cosines = np.sum(a * b, axis=1) + np.sum(b * c, axis=1) + np.sum(c * a, axis=1)
        return 2 * np.arctan2(volume, 1 + cosines)

    def __len__(self) -> int:
        return 20 * 4**self._level
