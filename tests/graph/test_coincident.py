"""A row of pixels at a pole is a single vertex while the graph is built."""

import numpy as np
import pytest

from deepsphere.graph import (
    Graph,
    Optimal,
    edge_weights,
    laplacian,
    rescaled_laplacian,
    resolve_graph,
    spectral,
)
from deepsphere.graph.coincident import READ, DistinctPoints, distinct, spread_back
from deepsphere.graph.laplacians import build_spectral
from deepsphere.sampling import Equiangular, GaussLegendre, Healpix, Scattered

GRID = Equiangular(17, 32, "clenshaw-curtis")
NORTH = np.arange(32)
NEAREST = Graph(20, spread=False, laplacian="normalized")
GRAPHS = [
    Graph(),
    Graph(laplacian="normalized"),
    Graph(laplacian="combinatorial"),
    Graph(laplacian="random_walk"),
    NEAREST,
    Graph(12, laplacian=Optimal(1.0)),
    Graph(laplacian=Optimal(symmetric=True)),
]


def constant_at_poles(seed=0):
    values = np.random.default_rng(seed).standard_normal((17, 32))
    values[[0, -1]] = values[[0, -1], :1]
    return values.ravel()


def test_the_places_of_points():
    places = GRID.places
    assert places.max() + 1 == 15 * 32 + 2
    distances = np.linalg.norm(GRID.points[:, None] - GRID.points, axis=2)
    np.testing.assert_array_equal(distances < 1e-9, places[:, None] == places)
    assert (np.diff(np.unique(places, return_index=True)[1]) > 0).all()
    assert Equiangular(16, 32, "driscoll-healy").places.max() + 1 == 15 * 32 + 1
    assert Equiangular(5, 1, "clenshaw-curtis").places is None  # one pixel at each pole
    for other in (Equiangular(8, 16), GaussLegendre(8), Healpix(4)):
        assert other.places is None


def test_the_places_of_a_part():
    part = GRID.subset(np.r_[3:9, 40:60])
    np.testing.assert_array_equal(part.places, np.r_[np.zeros(6), 1:21])
    assert GRID.subset(np.arange(32, 64)).places is None
    assert GRID.subset(np.arange(31, 64)).places is None  # one pixel of the pole


@pytest.mark.parametrize("graph", GRAPHS, ids=repr)
def test_a_row_with_one_value_keeps_one(graph):
    matrix = laplacian(GRID, graph)
    x = constant_at_poles()
    filtered = matrix @ (matrix @ x)
    assert np.ptp(filtered[NORTH]) < 1e-12 * np.abs(filtered).max()
    assert np.ptp(filtered[-32:]) < 1e-12 * np.abs(filtered).max()


@pytest.mark.parametrize("graph", GRAPHS, ids=repr)
def test_it_is_the_graph_of_the_distinct_points(graph):
    """Compared with the graph of the distinct points as a scattered sampling."""
    matrix = laplacian(GRID, graph)
    first = np.unique(GRID.places, return_index=True)[1]
    small = matrix[first] @ np.eye(len(first))[GRID.places]  # on maps with one value a place
    reference = build_spectral(distinct(GRID), resolve_graph(GRID, graph))
    np.testing.assert_allclose(small, reference.laplacian.toarray(), atol=1e-12)
    if graph == NEAREST:
        points = Scattered(GRID.points[first])
        np.testing.assert_allclose(small, laplacian(points, NEAREST).toarray(), atol=1e-12)
    if graph.laplacian == Optimal(symmetric=True):
        np.testing.assert_allclose(small, small.T, atol=1e-14)


def test_the_eigenvalues_are_those_of_the_distinct_points():
    graph = spectral(GRID)
    small = build_spectral(distinct(GRID), resolve_graph(GRID)).laplacian.toarray()
    diagonal = small.diagonal()[[0, -1]]
    expected = np.concatenate((np.linalg.eigvals(small), np.repeat(diagonal, 31)))
    found = np.linalg.eigvals(graph.laplacian.toarray())
    for values in (found, expected):
        assert np.abs(values).max() <= graph.eigenvalue * 1.001
    np.testing.assert_allclose(np.sort(found.real), np.sort(expected.real), atol=1e-6)


def test_differences_along_the_row_are_smoothed_away():
    """They have the diagonal's eigenvalue, and neighbors see the mean of the row."""
    operator = rescaled_laplacian(GRID)
    x = np.zeros((17, 32))
    x[0] = np.cos(2 * np.pi * np.arange(32) / 32)  # a wind over the pole, as its components are
    once = (operator @ x.ravel()).reshape(17, 32)
    np.testing.assert_allclose(once[0], operator.diagonal()[0] * x[0], atol=1e-12)
    assert np.abs(once[1:]).max() < 1e-12


def test_neighbors_read_the_mean():
    matrix = laplacian(GRID).toarray()
    small = build_spectral(distinct(GRID), resolve_graph(GRID)).laplacian.toarray()
    readers = np.flatnonzero(small[1:-1, 0]) + 1 + 31
    assert len(readers) >= 8
    for reader in readers:
        entries = matrix[reader, NORTH]
        assert np.count_nonzero(entries) == READ
        np.testing.assert_allclose(entries[entries != 0], small[reader - 31, 0] / READ)
        assert entries[reader % 32] != 0  # of its own longitude
    everyone = spread_back(laplacian(Scattered(distinct(GRID).points), 8), GRID, read=1)
    assert (np.diff(everyone.indptr) > 0).all()


def test_the_mean_is_weighted_by_area():
    class Uneven(Equiangular):
        areas = np.arange(1.0, 1 + len(GRID))

    grid = Uneven(GRID.nlat, GRID.nlon, GRID.grid)
    small = laplacian(Scattered(distinct(GRID).points), 8)
    entries = spread_back(small, grid)[[35]].toarray().ravel()
    read = np.flatnonzero(entries[NORTH])
    assert len(read) == READ
    np.testing.assert_allclose(
        entries[read], small[4, 0] * grid.areas[read] / grid.areas[read].sum(), rtol=1e-12
    )


def test_no_edges_between_pixels_at_one_place():
    for edges in (None, 20, Graph(8, spread=False)):
        weights = edge_weights(GRID, edges).tocoo()
        assert (GRID.places[weights.row] != GRID.places[weights.col]).all()


def test_a_part_has_the_rows_of_the_whole():
    part = GRID.subset(np.flatnonzero(GRID.points[:, 2] > 0.3))
    whole, found = laplacian(GRID), laplacian(part)
    inner = np.flatnonzero(part.points[:, 2] > 0.95)  # no edge leads out
    expected = whole[part.indices[inner]][:, part.indices].toarray()
    np.testing.assert_allclose(found[inner].toarray(), expected, atol=1e-9)
    one_pixel = GRID.subset(np.arange(31, 200))
    assert abs(laplacian(one_pixel).sum(axis=1)).max() < 1e-12


def test_areas_are_those_of_all_pixels():
    vertices = distinct(GRID)
    assert isinstance(vertices, DistinctPoints)
    assert vertices.areas.sum() == pytest.approx(4 * np.pi)
    assert vertices.areas[0] == pytest.approx(32 * GRID.areas[0])
    assert distinct(Healpix(2)) == Healpix(2)


def test_a_sampling_that_does_not_say_what_coincides():
    class Careless(Equiangular):
        places = None

    with pytest.raises(ValueError, match=r"vertices 0 and .* coincide; Sampling.places"):
        edge_weights(Careless(5, 8, "clenshaw-curtis"), Graph(20, spread=False))
