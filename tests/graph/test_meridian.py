"""Neighborhoods along one meridian serve all."""

import numpy as np

from deepsphere.graph.meridian import meridian_of
from deepsphere.graph.spread import edges_to_spread, spread_neighbors
from deepsphere.sampling import GaussLegendre
from spread_truth import chosen_one_by_one


def test_a_meridian_chooses_for_all():
    """All points of a row choose the same neighbors, rotated about the axis."""
    grid = GaussLegendre(12)
    edges = edges_to_spread(grid.points, 8, meridian=meridian_of(grid)).toarray() > 0
    assert (edges == edges.T).all()
    turned = np.roll(np.arange(len(grid)).reshape(12, 24), 1, axis=1).ravel()
    np.testing.assert_array_equal(edges[turned][:, turned], edges)
    # All of the others differ in ties at most, from those that each chooses for itself.
    alone = chosen_one_by_one(grid.points, 8)
    assert np.count_nonzero(edges != alone) < 0.1 * np.count_nonzero(alone)
    firsts = 24 * np.arange(12)
    starts, ends = spread_neighbors(grid.points, 8, centers=firsts)
    assert edges[starts, ends].all()
