"""What holds for every sampling of the whole sphere."""

import copy
import json
import pickle

import numpy as np
import pytest

import deepsphere
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
    Sampling,
    Scattered,
    deserialize,
    serialize,
)

WHOLE_CELLS = [  # each cell is made of whole parts of finer cells, or of exact shares of them
    Healpix(8),
    Equiangular(16, 32),
    Equiangular(12, 20),
    Equiangular(16, 32, "driscoll-healy"),
    Equiangular(17, 32, "clenshaw-curtis"),
    GaussLegendre(16),
    GaussLegendre(20, 12),
    ReducedGaussian(16),
    ReducedGaussian(128, "classical"),
    CubedSphere(12),
    IcosahedralFaces(3),
]
REFINABLE = [*WHOLE_CELLS, Icosahedral(3), Fibonacci(1000)]
SPHERES = [
    *REFINABLE,
    Scattered(Fibonacci(300).points),
    RandomUniform(3000),
    RandomUniform(3000, seed=1),
]


@pytest.fixture(params=SPHERES, ids=repr)
def sphere(request):
    return request.param


def test_all_kinds_are_tried():
    ours = {
        kind: cls
        for kind, cls in Sampling.kinds.items()
        if cls.__module__.startswith("deepsphere.sampling")
    }
    assert {s.kind for s in SPHERES} | {"subset"} == set(ours)
    for cls in ours.values():
        assert getattr(deepsphere, cls.__name__) is cls
        assert getattr(deepsphere.sampling, cls.__name__) is cls


def test_points_are_unit_vectors(sphere):
    assert sphere.points.shape == (len(sphere), 3)
    assert sphere.points.dtype == np.float64
    # Three squares, a sum and a root of numbers below 1, each rounded.
    np.testing.assert_allclose(np.linalg.norm(sphere.points, axis=1), 1, rtol=0, atol=1e-15)


def test_areas_fill_the_sphere(sphere):
    assert sphere.areas.shape == (len(sphere),)
    assert sphere.areas.min() > 0
    assert sphere.areas.sum() == pytest.approx(4 * np.pi, rel=1e-12)  # roundings of the sum


def test_areas_integrate_harmonics_of_low_degree(sphere):
    """All monomials of degree 1 and 2, whose integrals are 0, and 4 pi / 3 for squares."""
    points = sphere.points
    # A cell as wide as h, whose area is about h², contributes an error of relative order h².
    tolerance = sphere.areas.mean()
    assert np.abs(sphere.areas @ points).max() < tolerance
    second = (points.T * sphere.areas) @ points
    assert np.abs(second - np.eye(3) * 4 * np.pi / 3).max() < 4 * tolerance


def test_hierarchy(sphere):
    assert sphere.coarsen(0) == sphere
    assert sphere.coarsen(2) == sphere.coarsen().coarsen()
    assert len(sphere.coarsen()) < len(sphere) / 2
    assert sphere.refine(0) == sphere
    for change in (sphere.coarsen, sphere.refine):
        with pytest.raises(ValueError, match=r"levels must be a nonnegative number.*-1"):
            change(-1)
        with pytest.raises(TypeError, match=r"levels must be an integer.*True"):
            change(True)


@pytest.mark.parametrize("sphere", REFINABLE, ids=repr)
@pytest.mark.parametrize("p", [1, 2])
def test_refining_is_undone_by_coarsening(sphere, p):
    assert sphere.refine(p).coarsen(p) == sphere


@pytest.mark.parametrize("p", [0, 1, 2])
def test_membership_gives_every_cell_away(sphere, p):
    shares = sphere.membership(p)
    assert shares.shape == (len(sphere.coarsen(p)), len(sphere))
    assert shares.data.min() > 0
    # Sums of a few shares, each rounded.
    np.testing.assert_allclose(shares.sum(axis=0), 1, rtol=0, atol=1e-14)
    assert np.diff(shares.indptr).min() > 0  # no coarse cell goes without


def test_membership_of_two_levels_is_that_of_one_twice(sphere):
    twice = sphere.coarsen().membership() @ sphere.membership()
    assert abs(sphere.membership(2) - twice).max() < 1e-15  # the same products of shares up to 1


def test_members_lie_around_their_coarse_point(sphere):
    coarse = sphere.coarsen()
    shares = sphere.membership().tocoo()
    distances = np.linalg.norm(coarse.points[shares.row] - sphere.points[shares.col], axis=1)
    # Rings of longitude-latitude grids, whose cells are long near poles or in a coarse ratio.
    widest = 2 * np.pi / np.sqrt(len(coarse))
    assert distances.max() < widest
    # Coarse cells have their members' points as center of mass, to half of a fine cell.
    centers = (sphere.membership() * sphere.areas) @ sphere.points
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    off = np.linalg.norm(centers - coarse.points, axis=1)
    assert np.median(off) < np.sqrt(sphere.areas.mean())


@pytest.mark.parametrize("sphere", WHOLE_CELLS, ids=repr)
@pytest.mark.parametrize("p", [1, 2])
def test_cells_make_up_coarser_cells(sphere, p):
    areas = sphere.membership(p) @ sphere.areas
    # Edges of bands are right to a few 1e-16, areas to this times the width of a cell.
    np.testing.assert_allclose(areas, sphere.coarsen(p).areas, rtol=1e-10, atol=1e-14)


def test_json(sphere):
    config = serialize(sphere)
    restored = deserialize(json.loads(json.dumps(config)))
    assert type(restored) is type(sphere)
    assert restored == sphere
    assert hash(restored) == hash(sphere)
    np.testing.assert_array_equal(restored.points, sphere.points)
    assert sphere != "sphere"
    assert sphere != Healpix(2)


def test_samplings_differ():
    assert len(set(SPHERES)) == len(SPHERES)


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))]
)
def test_copies(sphere, duplicate):
    assert duplicate(sphere) == sphere
    np.testing.assert_array_equal(duplicate(sphere).points, sphere.points)


def test_immutable(sphere):
    for name in sphere.get_config():
        with pytest.raises(AttributeError):
            setattr(sphere, name, 1)


def test_constructor_arguments_are_seen(sphere):
    config = sphere.get_config()
    assert repr(sphere).startswith(type(sphere).__name__ + "(")
    for name, value in config.items():
        if not isinstance(value, str) or len(value) < 40:
            assert getattr(sphere, name) == value
            assert f"{name}={value!r}" in repr(sphere)


def test_a_class_of_ones_own_is_read_again():
    class Pair(Scattered):
        kind = "pair"

    try:
        pair = Pair([(0, 0), (90, 0)])
        assert deserialize(serialize(pair)) == pair
        assert type(deserialize(serialize(pair))) is Pair
        with pytest.raises(ValueError, match="kind 'pair' already belongs to Pair"):
            type("Other", (Scattered,), {"kind": "pair"})
    finally:
        del Sampling.kinds["pair"]


@pytest.mark.parametrize("sampling", SPHERES, ids=str)
def test_wholes_and_parts(sampling):
    assert sampling.is_full
    assert sampling.whole is sampling
    assert np.array_equal(sampling.indices, np.arange(len(sampling)))
    assert sampling.points is sampling.points
    assert not sampling.points.flags.writeable
    part = sampling.subset([0, 2, 3])
    assert not part.is_full
    assert part.whole == sampling
    assert part.indices.tolist() == [0, 2, 3]
    assert np.array_equal(part.points, sampling.points[[0, 2, 3]])
