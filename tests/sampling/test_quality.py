"""Figures of hierarchies: known values and general bounds."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from deepsphere.sampling import (
    CubedSphere,
    Equiangular,
    Fibonacci,
    GaussLegendre,
    Healpix,
    Icosahedral,
    IcosahedralFaces,
    RandomUniform,
    ReducedGaussian,
    Scattered,
    extend_region,
    hierarchy_quality,
    regions,
)

SPHERE = Icosahedral(3)
SAMPLINGS = [
    Healpix(8),
    Healpix(8, range(256)),
    Equiangular(16, 32),
    GaussLegendre(16),
    ReducedGaussian(16),
    SPHERE,
    SPHERE.subset(extend_region(SPHERE, regions.disc(SPHERE, 20, 50, 40), levels=2)),
    IcosahedralFaces(3),
    CubedSphere(12),
    Fibonacci(1000),
    RandomUniform(1000),
    Scattered(np.random.default_rng(3).uniform((-10, 35), (40, 70), (300, 2))),
]


@pytest.fixture(params=SAMPLINGS, ids=repr)
def sampling(request):
    return request.param


def chords(points, others):
    return np.linalg.norm(points[:, None] - others, axis=2)


def degrees(chord):
    return np.degrees(2 * np.arcsin(chord / 2))


def test_against_all_pairs(sampling):
    finest, *coarser = hierarchy_quality(sampling, 2)
    assert finest.part_variation is finest.children is finest.farthest_child is None
    assert finest.reach is finest.child_ratio is None
    for level, one in enumerate([finest, *coarser]):
        here = sampling.coarsen(level)
        assert (one.level, one.points) == (level, len(here))
        apart = chords(here.points, here.points)[~np.eye(len(here), dtype=bool)]
        assert one.separation == pytest.approx(degrees(apart.min()), rel=1e-9)
        assert one.spacing == pytest.approx(np.degrees(np.sqrt(here.areas.mean())))
        assert one.area_variation == pytest.approx(here.areas.std() / here.areas.mean(), abs=1e-12)
        if level:
            fine = sampling.coarsen(level - 1)
            shares = fine.membership().toarray()
            distances = chords(here.points, fine.points)
            farthest = degrees(distances[shares > 0].max())
            assert one.farthest_child == pytest.approx(farthest, rel=1e-9)
            areas = shares @ fine.areas
            assert one.part_variation == pytest.approx(areas.std() / areas.mean(), abs=1e-12)
            counts = shares.sum(axis=1)
            assert counts.sum() == pytest.approx(len(fine))  # every child has parents
            expected = counts.min(), np.median(counts), counts.max()
            assert one.children == pytest.approx(expected)
            assert one.reach == pytest.approx(one.farthest_child / one.spacing)
            assert one.child_ratio == pytest.approx(2 * one.farthest_child / one.separation)


def test_covering_of_the_whole_sphere():
    """None of 100 000 positions is farther, and one is nearly as far."""
    places = Fibonacci(100_000).points
    apart = 0.6 * np.sqrt(4 * np.pi / 100_000)  # any place is nearer than that to one of these
    for sampling in (Equiangular(8, 16), Icosahedral(2), Fibonacci(200), RandomUniform(300)):
        (one,) = hierarchy_quality(sampling, 0)
        largest = degrees(cKDTree(sampling.points).query(places)[0].max())
        assert largest <= one.covering <= largest + np.degrees(apart)
        # The middle of the two nearest points is half as far from them, and covered.
        assert one.covering >= one.separation / 2
        assert one.mesh_ratio == 2 * one.covering / one.separation >= 1


def test_covering_of_a_part_is_that_of_its_cells():
    whole = CubedSphere(8)
    inside = regions.disc(whole, 20, 50, 40)
    part = whole.subset(inside)
    places = Fibonacci(100_000).points
    nearest = cKDTree(whole.points).query(places)[1]
    places = places[inside[nearest]]
    largest = degrees(cKDTree(part.points).query(places)[0].max())
    (one,) = hierarchy_quality(part, 0)
    assert largest <= one.covering <= largest + 0.5


def test_the_icosahedron():
    *_, last = hierarchy_quality(Icosahedral(2), 2)
    assert last.points == 12
    assert last.separation == pytest.approx(np.degrees(np.arctan(2)))
    # From a corner to the middle of a face.
    middle = np.arccos(np.sqrt((5 + 2 * np.sqrt(5)) / 15))
    assert last.covering == pytest.approx(np.degrees(middle))
    assert last.area_variation == pytest.approx(0, abs=1e-12)
    assert last.children == (3.5, 3.5, 3.5)  # itself, and half of five
    assert last.farthest_child == pytest.approx(np.degrees(np.arctan(2)) / 2)
    assert last.spacing == pytest.approx(np.degrees(np.sqrt(np.pi / 3)))


def test_the_octahedron_and_single_points():
    octahedron = Scattered(np.concatenate((np.eye(3), -np.eye(3))))
    finest, pair, single = hierarchy_quality(octahedron, 2)
    assert finest.separation == pytest.approx(90)
    assert finest.covering == pytest.approx(np.degrees(np.arccos(np.sqrt(1 / 3))))
    assert (pair.separation, pair.covering) == pytest.approx((180, 90))
    assert pair.children == (1, 3, 5)  # of points equally near, the first is the parent
    assert single.covering == pytest.approx(180)
    assert np.isnan(single.separation)
    assert np.isnan(single.mesh_ratio)
    assert single.farthest_child == pytest.approx(180)


@pytest.mark.parametrize("sampling", [Healpix(16), CubedSphere(16), IcosahedralFaces(3)], ids=repr)
def test_cells_of_four_have_four_children(sampling):
    for one in hierarchy_quality(sampling, 3)[1:]:
        assert one.children == (4, 4, 4)
        # Parts are the cells themselves.
        assert one.part_variation == pytest.approx(one.area_variation, abs=1e-9)
        assert one.reach < np.sqrt(0.5)  # of squares, no place is farther from the center


def test_a_part_has_the_figures_of_the_whole():
    for part, whole in zip(
        hierarchy_quality(Healpix(8, range(256)), 2), hierarchy_quality(Healpix(8), 2), strict=True
    ):
        assert part.separation >= whole.separation
        assert part.covering <= whole.covering + 1e-9
        assert part.spacing == pytest.approx(whole.spacing)


def test_farthest_points_are_at_least_as_far_apart_as_children_from_parents():
    """Gonzalez (1985): no other choice brings children nearer than half as far."""
    crowded = RandomUniform(500).points + np.array([0.8, 0, 0])
    for sampling in (RandomUniform(2000), Scattered(crowded)):
        finest, *coarser = hierarchy_quality(sampling, 3)
        assert all(one.child_ratio <= 2 + 1e-9 for one in coarser)
        assert finest.mesh_ratio > coarser[0].mesh_ratio > coarser[1].mesh_ratio


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (("healpix",), TypeError, "sampling must be a Sampling, got 'healpix'"),
        ((Healpix(4), 3), ValueError, "nside 4 has 2 coarser levels, got levels=3"),
        ((Healpix(4), -1), ValueError, "levels must be a nonnegative number"),
        ((Healpix(4), 1.0), TypeError, "levels must be an integer"),
    ],
)
def test_errors(arguments, error, match):
    with pytest.raises(error, match=match):
        hierarchy_quality(*arguments)
