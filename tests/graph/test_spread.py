"""Spread neighbors, compared with a plain loop, and their purpose."""

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from deepsphere.graph import Graph, edge_weights, isotropy_error, laplacian, rescale, spectral
from deepsphere.graph.neighbors import edges_to_nearest
from deepsphere.graph.spread import edges_to_spread
from deepsphere.sampling import Equiangular, Fibonacci, GaussLegendre, Healpix, ReducedGaussian
from spread_truth import chosen_one_by_one

GRID = GaussLegendre(32)


def test_they_are_the_farthest_in_the_disc():
    points = GaussLegendre(12).points
    edges = edges_to_spread(points, 8)
    np.testing.assert_array_equal(edges.toarray() > 0, chosen_one_by_one(points, 8))
    i, j = edges.nonzero()
    assert (edges != edges.T).nnz == 0
    lengths = np.linalg.norm(points[i] - points[j], axis=1)
    np.testing.assert_allclose(edges.data, lengths, rtol=1e-14)


def test_batches_change_nothing(monkeypatch):
    whole = edges_to_spread(GRID.points, 20)
    monkeypatch.setattr("deepsphere.graph.spread.BATCH", 500)
    assert (whole != edges_to_spread(GRID.points, 20)).nnz == 0


def test_neighborhoods_are_as_large_at_the_poles():
    edges = edges_to_spread(GRID.points, 20)
    radius = 2 * np.sqrt(20 / len(GRID))
    farthest = edges.max(axis=1).toarray().ravel()
    assert farthest[:64].min() > 0.8 * radius  # the first ring; of the nearest 20: 0.25
    assert edges_to_nearest(GRID.points, 20).max(axis=1).toarray().ravel()[:64].max() < 0.5 * radius
    assert np.diff(edges.indptr).max() < 60


def test_the_graph_of_a_grid_holds_together():
    grid = Equiangular(32, 64)
    assert connected_components(edges_to_nearest(grid.points, 8))[0] == 5
    assert connected_components(edge_weights(grid, Graph(8, spread=True)))[0] == 1


def test_even_points_keep_their_nearest():
    # The disc of 12 of the mean density holds 13 or 14 points somewhere, even on even points.
    sphere = Fibonacci(1000)
    near, spread = (edges_to_nearest(sphere.points, 12), edges_to_spread(sphere.points, 12))
    assert abs((near > 0).astype(int) - (spread > 0).astype(int)).nnz < 0.1 * near.nnz


@pytest.mark.parametrize("grid", [GRID, Equiangular(32, 64), ReducedGaussian(20)], ids=repr)
def test_gain_of_optimal_weights(grid):
    # Degrees are those of 12 288 points, scaled: gains of 500 to 10 000 there.
    def error(graph):
        matrix = laplacian(grid, graph)
        errors = isotropy_error(matrix, grid.points, [1, 3, 6, 12, 19], areas=grid.areas)
        return np.exp(np.log(errors).mean())

    nearest = Graph(20, spread=False, laplacian="combinatorial")
    assert error(Graph(20, spread=True, laplacian="optimal")) < error(nearest) / 500


@pytest.mark.parametrize("k", [8, 12, 20, 40])
@pytest.mark.parametrize(
    "grid",
    [
        GaussLegendre(16),
        GaussLegendre(12, 40),
        Equiangular(16, 32),
        Equiangular(17, 32, "clenshaw-curtis"),
        Equiangular(4, 8),
        ReducedGaussian(6),
    ],
    ids=repr,
)
def test_polynomials_stay_bounded(grid, k):
    """With the smallest ridge, a polynomial of order 20 amplified some maps 3 800 times."""
    graph = spectral(grid, Graph(k, spread=True, laplacian="optimal"))
    values = np.linalg.eigvals(graph.laplacian.toarray())
    assert values.real.min() > -1e-3 * graph.eigenvalue
    operator = rescale(graph.laplacian, graph.eigenvalue, 0.75).toarray()
    previous, current = np.eye(len(operator)), operator
    for _ in range(19):
        previous, current = current, 2 * operator @ current - previous
    # At most 10 as measured; a row at a pole repeats a value as often as there are longitudes.
    assert np.linalg.norm(current, 2) < 25


def test_a_part_of_a_grid_has_the_rows_of_the_whole():
    region = GRID.subset(GRID.points[:, 2] > 0)
    graph = Graph(20, spread=True, laplacian="optimal")
    whole = laplacian(GRID, graph)[region.indices]
    inner = np.flatnonzero(region.points[:, 2] > 0.5)  # no edge leads out
    part = laplacian(region, graph)[inner]
    np.testing.assert_allclose(part.toarray(), whole[inner][:, region.indices].toarray(), atol=1e-9)


def test_advice_of_the_error():
    with pytest.raises(ValueError, match=r"too uneven .* use Graph\(20, spread=True\)"):
        laplacian(GRID, Graph(20, spread=False, laplacian="optimal"))


def test_small_samplings():
    assert edges_to_spread(Healpix(1).points, 20).nnz == 12 * 11
