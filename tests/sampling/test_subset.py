"""Parts of samplings: their pixels, coarsening, and extension."""

import copy
import json
import pickle

import numpy as np
import pytest

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
    Subset,
    deserialize,
    extend_pixels,
    extend_region,
    regions,
    serialize,
)

WHOLE = [
    Equiangular(32, 48),
    Equiangular(33, 48, "clenshaw-curtis"),
    GaussLegendre(32),
    ReducedGaussian(24),
    Icosahedral(4),
    IcosahedralFaces(4),
    CubedSphere(24),
    Fibonacci(3000),
    RandomUniform(3000),
]


@pytest.fixture(params=WHOLE, ids=repr)
def whole(request):
    return request.param


def disc(sampling, radius=40):
    return regions.disc(sampling, lon=20, lat=55, radius=radius)


def region_of(sampling, p=2):
    return sampling.subset(extend_region(sampling, disc(sampling), p))


class TestParts:
    def test_points_and_areas_are_those_of_the_whole(self, whole):
        inside = disc(whole)
        part = whole.subset(inside)
        assert part == whole.subset(np.flatnonzero(inside))
        assert part.whole is whole
        assert len(part) == np.count_nonzero(inside)
        np.testing.assert_array_equal(part.indices, np.flatnonzero(inside))
        np.testing.assert_array_equal(part.points, whole.points[inside])
        np.testing.assert_array_equal(part.areas, whole.areas[inside])
        np.testing.assert_array_equal(disc(part), np.ones(len(part)))

    def test_all_is_the_whole(self, whole):
        assert whole.subset(np.ones(len(whole), bool)) is whole

    def test_parts_of_parts(self):
        sphere = CubedSphere(8)
        part = sphere.subset([3, 5, 8, 13])
        assert part.subset([1, 3]) == sphere.subset([5, 13])
        assert part.subset([False, True, False, True]) == sphere.subset([5, 13])
        assert part.subset([0, 1, 2, 3]) == part

    def test_of_healpix(self):
        assert Healpix(4).subset([4, 5]) == Healpix(4, [4, 5])
        assert Healpix(4, [4, 5, 9]).subset([False, True, True]) == Healpix(4, [5, 9])
        assert Healpix(4).subset(np.ones(192, bool)) == Healpix(4)

    def test_identity(self):
        sphere = CubedSphere(8)
        part = sphere.subset([3, 5])
        assert part == Subset(CubedSphere(8), [3, 5])
        assert hash(part) == hash(Subset(CubedSphere(8), [3, 5]))
        assert part != sphere.subset([3, 6])
        assert part != CubedSphere(16).subset([3, 5])
        assert part != sphere
        assert repr(part) == "Subset(CubedSphere(n=8), <2 of 384>)"

    def test_json_and_copies(self, whole):
        part = whole.subset(disc(whole))
        restored = deserialize(json.loads(json.dumps(serialize(part))))
        assert restored == part
        np.testing.assert_array_equal(restored.points, part.points)
        assert copy.deepcopy(part) == part
        assert pickle.loads(pickle.dumps(part)) == part
        with pytest.raises(ValueError, match="read-only"):
            part.indices[0] = 0

    @pytest.mark.parametrize(
        ("region", "error", "match"),
        [
            ([], ValueError, "must not be empty"),
            (np.zeros(24, bool), ValueError, "must not be empty"),
            (
                np.ones(23, bool),
                ValueError,
                r"of CubedSphere\(n=2\) must contain 24 bools.*\(23,\)",
            ),
            ([1.5], TypeError, "bools or indices of points, got dtype float64"),
            ([[1, 2]], ValueError, r"one dimension, got shape \(1, 2\)"),
            ([2, 1], ValueError, "strictly increasing; use np.unique"),
            ([1, 1], ValueError, "strictly increasing; use np.unique"),
            (np.array([2, 1], np.uint8), ValueError, "strictly increasing"),
            ([3, 24], ValueError, r"from 0 to 23 for CubedSphere\(n=2\), got values from 3 to 24"),
            ([-1, 3], ValueError, "got values from -1 to 3"),
        ],
    )
    def test_errors(self, region, error, match):
        for use in (
            CubedSphere(2).subset,
            lambda r: Subset(CubedSphere(2), r),
            lambda r: extend_region(CubedSphere(2), r),
        ):
            with pytest.raises(error, match=match):
                use(region)

    def test_whole_must_be_one(self):
        with pytest.raises(TypeError, match="whole must be a Sampling, got 5"):
            Subset(5, [1])
        for whole in (Healpix(2), CubedSphere(2).subset([1, 2])):
            with pytest.raises(TypeError, match=r"subset\(region\): its parts"):
                Subset(whole, [0])
        with pytest.raises(ValueError, match=r"all points of CubedSphere\(n=1\): use it directly"):
            Subset(CubedSphere(1), range(6))


class TestHierarchy:
    def test_closed_regions_are_coarsened(self, whole):
        part = region_of(whole)
        coarse = part.coarsen()
        assert coarse.whole == whole.coarsen()
        assert coarse.coarsen() == part.coarsen(2)
        assert part.coarsen(0) == part
        # All of its cells lie about the region, and they are those that are complete.
        shares = whole.membership()
        outside = np.setdiff1d(np.arange(len(whole)), part.indices)
        foreign = shares[:, outside].sum(axis=1)
        np.testing.assert_array_equal(coarse.indices, np.flatnonzero(foreign < 1e-12))

    @pytest.mark.parametrize("p", [1, 2])
    def test_membership(self, whole, p):
        part = region_of(whole)
        shares = part.membership(p)
        assert shares.shape == (len(part.coarsen(p)), len(part))
        # A few products of shares up to 1, each rounded.
        np.testing.assert_allclose(shares.sum(axis=0), 1, rtol=0, atol=1e-14)
        assert np.diff(shares.indptr).min() > 0

    def test_membership_inside_is_that_of_the_whole(self, whole):
        part = region_of(whole, 1)
        expected = whole.membership()[part.coarsen().indices][:, part.indices]
        inner = np.isclose(expected.sum(axis=0), 1, rtol=0, atol=1e-12)
        assert inner.mean() > 0.7
        difference = part.membership()[:, inner] - expected[:, inner]
        assert abs(difference).max() < 1e-12  # divided by sums that are 1 but for rounding

    @pytest.mark.parametrize("whole", WHOLE[:-1], ids=repr)  # random points have no finer levels
    def test_refine(self, whole):
        part = whole.subset(disc(whole))
        fine = part.refine(2)
        assert fine.whole == whole.refine(2)
        assert fine == part.refine().refine()
        assert fine.coarsen(2) == part

    def test_halves_of_an_icosahedron(self):
        part = IcosahedralFaces(2).subset(np.arange(320) < 160)
        assert part.coarsen(2) == IcosahedralFaces(0).subset(np.arange(20) < 10)
        np.testing.assert_array_equal(part.membership(2).toarray(), np.repeat(np.eye(10), 16, 1))

    def test_not_closed(self):
        part = CubedSphere(4).subset([0, 1, 4, 5, 6])
        with pytest.raises(ValueError, match=r"not closed under CubedSphere\(n=2\): 1 of its 5"):
            part.coarsen()
        with pytest.raises(ValueError, match=r"use whole\.subset\(extend_region\(whole"):
            part.membership()
        closed = part.whole.subset(extend_region(part.whole, part.indices, 1))
        assert closed == CubedSphere(4).subset([0, 1, 2, 3, 4, 5, 6, 7])
        assert closed.coarsen() == CubedSphere(2).subset([0, 1])

    def test_a_vertex_and_its_neighbors(self):
        """A corner of the icosahedron and the midpoints of five edges."""
        sphere = Icosahedral(1)
        around = sphere.membership()[[3]].nonzero()[1]
        part = sphere.subset(np.sort(around))
        assert len(part) == 6
        assert part.coarsen() == Icosahedral(0).subset([3])
        np.testing.assert_array_equal(part.membership().toarray(), np.ones((1, 6)))


class TestExtendRegion:
    @pytest.mark.parametrize("p", [0, 1, 2, 3])
    def test_of_healpix(self, p):
        pixels = np.sort(np.random.default_rng(p).choice(12 * 16**2, 40, replace=False))
        extended = extend_region(Healpix(16), pixels, p)
        expected = extend_pixels(pixels, 16, 16 >> p, nest=True)
        np.testing.assert_array_equal(np.flatnonzero(extended), expected)

    @pytest.mark.parametrize("p", [0, 1, 2])
    def test_is_closed_and_idempotent(self, whole, p):
        inside = disc(whole, radius=30)
        extended = extend_region(whole, inside, p)
        assert np.all(extended[inside])
        whole.subset(extended).coarsen(p)  # does not raise
        np.testing.assert_array_equal(extend_region(whole, extended, p), extended)
        np.testing.assert_array_equal(extend_region(whole, np.flatnonzero(inside), p), extended)

    @pytest.mark.parametrize("p", [1, 2])
    def test_adds_only_what_is_near(self, whole, p):
        extended = extend_region(whole, disc(whole, radius=30), p)
        # Beyond the border a coarse cell and its neighbors' halves, of about 360 / 48 * 2**p.
        assert np.all(disc(whole, radius=30 + 1.5 * 7.5 * 2**p)[extended])

    @pytest.mark.parametrize("seed", range(3))
    def test_random_regions(self, whole, seed):
        inside = np.random.default_rng(seed).random(len(whole)) < 0.02
        extended = extend_region(whole, inside, 2)
        part = whole.subset(extended)
        assert np.all(extended[inside])
        assert len(part.coarsen(2)) >= 1

    def test_too_many_levels(self):
        with pytest.raises(ValueError, match=r"n 3 cannot be divided by 2\*\*1"):
            extend_region(CubedSphere(12), [5], 3)
