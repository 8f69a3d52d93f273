"""Disconnected graphs cause one warning with location and remedy; others cause none."""

import warnings

import numpy as np
import pytest

from deepsphere._cache import clear_cache
from deepsphere.graph import DisconnectedGraphWarning, Graph, edge_pattern, laplacian
from deepsphere.graph.components import _regions
from deepsphere.sampling import (
    CubedSphere,
    Equiangular,
    Fibonacci,
    GaussLegendre,
    Healpix,
    Icosahedral,
    ReducedGaussian,
    Scattered,
    regions,
)


@pytest.fixture(autouse=True)
def anew():
    clear_cache()


def two_discs(sampling, radius=25):
    return sampling.subset(
        regions.disc(sampling, 20, 10, radius) | regions.disc(sampling, 200, -10, radius)
    )


@pytest.mark.parametrize(
    "sampling",
    [
        *(two_discs(s) for s in (Healpix(16), Equiangular(24, 48), GaussLegendre(24))),
        *(two_discs(s) for s in (CubedSphere(16), Fibonacci(1500), ReducedGaussian(12))),
        two_discs(Icosahedral(3)),
        Healpix(8),
        Healpix(8, np.arange(30)),
        Equiangular(9, 16, "clenshaw-curtis"),
        Equiangular(9, 16, "clenshaw-curtis").subset(np.arange(40)),
    ],
    ids=repr,
)
def test_no_warning_for_separate_regions(sampling):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        laplacian(sampling)
        edge_pattern(sampling)


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (two_discs(Healpix(16)), 2),
        (two_discs(Equiangular(24, 48)), 2),
        (two_discs(ReducedGaussian(12)), 2),
        (two_discs(CubedSphere(16)), 2),
        (Healpix(4, [0, 1, 2, 3, 100, 150]), 3),
        # Beyond a pole without a row of its own the opposite pixel is next.
        (Equiangular(8, 16).subset([3, 11]), 1),
        (Equiangular(9, 16, "clenshaw-curtis").subset([3, 12, 40]), 2),  # one point, and another
        (Equiangular(8, 16).subset([16, 31]), 1),  # across longitude 0
        (Equiangular(8, 16).subset([16, 30]), 2),
    ],
    ids=repr,
)
def test_number_of_regions(sampling, expected):
    assert _regions(sampling) == expected


def test_grids_of_nearest_neighbors():
    grid = GaussLegendre(48)
    with pytest.warns(DisconnectedGraphWarning) as caught:
        laplacian(grid, Graph(8, spread=False))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        laplacian(grid, Graph(8, spread=False))  # once
    message = str(caught.pop().message)
    for part in (
        "GaussLegendre(nlat=48, nlon=96)",
        "Graph(8, spread=False",
        "spread=True",
        "pieces",
    ):
        assert part in message
    assert "at latitudes from -" in message


def test_on_a_part_of_a_grid():
    polar = GaussLegendre(48).subset(GaussLegendre(48).latitudes.repeat(96) > 60)
    with pytest.warns(DisconnectedGraphWarning, match="pieces: .* latitudes from 79"):
        laplacian(polar, Graph(8, spread=False))


def stations(*clusters, seed=0):
    rng = np.random.default_rng(seed)
    return Scattered(
        np.concatenate([center + rng.uniform(-3, 3, (count, 2)) for center, count in clusters])
    )


def test_isolated_stations():
    together = stations(((10, 50), 60))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        laplacian(together)
    with pytest.warns(DisconnectedGraphWarning) as caught:
        laplacian(stations(((10, 50), 60), ((-60, -30), 25)), 8)
    message = str(caught.pop().message)
    assert "has 2 pieces: 25 of 85 points are cut off" in message
    assert "latitudes from -3" in message
    assert "leave out points that are far from all others" in message


def test_a_weight_that_is_as_good_as_none():
    """A mid-ocean station has 20 neighbors, but with weights of 1e-300."""
    with pytest.warns(DisconnectedGraphWarning, match="has 2 pieces: 1 of 61 points"):
        laplacian(stations(((10, 50), 60), ((-150, 0), 1)), 20)


def test_attention_too():
    with pytest.warns(DisconnectedGraphWarning, match="pieces"):
        edge_pattern(GaussLegendre(48), Graph(8, spread=False))
