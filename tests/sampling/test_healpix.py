"""HEALPix samplings against healpy."""

import copy
import json
import pickle

import healpy as hp
import numpy as np
import pytest

from deepsphere.sampling import Healpix, Sampling, deserialize, extend_pixels, serialize
from deepsphere.utils import extend_indices


def part(nside: int, seed: int = 0) -> np.ndarray:
    """Return a random fifth of the pixels, sorted."""
    pixels = np.random.default_rng(seed).choice(12 * nside**2, 12 * nside**2 // 5, replace=False)
    return np.sort(pixels)


def old_extend(pixels: np.ndarray, nside: int, coarse: int, nest: bool) -> np.ndarray:
    """Extend a footprint as deepsphere-cosmo-tf2 did: a map goes down and up again."""
    footprint = np.zeros(12 * nside**2)
    footprint[pixels] = 1
    order = "NEST" if nest else "RING"
    down = hp.ud_grade(footprint, coarse, order_in=order, order_out=order)
    up = hp.ud_grade(down, nside, order_in=order, order_out=order)
    return np.flatnonzero(up > 1e-12)


class TestGeometry:
    @pytest.mark.parametrize("nside", [1, 2, 8, 64])
    def test_full_sphere_is_healpy_nest(self, nside):
        sphere = Healpix(nside)
        expected = np.column_stack(hp.pix2vec(nside, np.arange(12 * nside**2), nest=True))
        assert sphere.points.shape == (len(sphere), 3) == (12 * nside**2, 3)
        assert sphere.points.dtype == np.float64
        # Two libraries evaluate the same closed formulas: a few roundings of numbers below 1.
        np.testing.assert_allclose(sphere.points, expected, rtol=0, atol=1e-14)

    @pytest.mark.parametrize("nside", [2, 32])
    def test_part_is_healpy_nest(self, nside):
        pixels = part(nside)
        sampling = Healpix(nside, pixels)
        expected = np.column_stack(hp.pix2vec(nside, pixels, nest=True))
        np.testing.assert_allclose(sampling.points, expected, rtol=0, atol=1e-14)
        np.testing.assert_array_equal(sampling.pixels, pixels)
        assert len(sampling) == len(pixels)
        assert not sampling.is_full

    def test_largest_nside(self):
        nside = 2**29
        pixels = [0, 12345678901234567, 12 * nside**2 - 1]
        expected = np.column_stack(hp.pix2vec(nside, pixels, nest=True))
        np.testing.assert_allclose(Healpix(nside, pixels).points, expected, rtol=0, atol=1e-14)

    @pytest.mark.parametrize("nside", [1, 4, 128])
    def test_areas_fill_the_sphere(self, nside):
        areas = Healpix(nside).areas
        assert areas.shape == (12 * nside**2,)
        assert areas.sum() == pytest.approx(4 * np.pi, rel=1e-12)
        np.testing.assert_allclose(Healpix(nside, [3]).areas, hp.nside2pixarea(nside), rtol=1e-14)

    def test_numbers(self):
        sphere = Healpix(16)
        assert (sphere.nside, sphere.level, sphere.is_full) == (16, 4, True)
        np.testing.assert_array_equal(sphere.pixels, np.arange(12 * 256))
        assert sphere.pixels.dtype == np.int64

    def test_level_is_another_name_of_nside(self):
        assert Healpix(level=5) == Healpix(32)
        assert Healpix(level=0) == Healpix(1)
        assert Healpix(level=29).nside == 2**29
        assert Healpix(level=2, pixels=[1, 5]) == Healpix(4, [1, 5])

    def test_numpy_integers_are_integers(self):
        assert Healpix(np.int32(8), np.array([1, 2], np.uint8)) == Healpix(8, [1, 2])
        assert Healpix(np.int64(8)).coarsen(np.int64(1)) == Healpix(4)


class TestHierarchy:
    @pytest.mark.parametrize("p", [0, 1, 2, 3])
    def test_full(self, p):
        assert Healpix(8).coarsen(p) == Healpix(8 >> p)
        assert Healpix(8).refine(p) == Healpix(8 << p)
        assert Healpix(8).refine(p).coarsen(p) == Healpix(8)

    @pytest.mark.parametrize("p", [1, 2])
    def test_parents_hold_their_children(self, p):
        fine = Healpix(16, extend_pixels(part(16), 16, 16 >> p, nest=True))
        coarse = fine.coarsen(p)
        # Independent of numbering: which coarse pixel does healpy find around each fine center?
        around = hp.vec2pix(coarse.nside, *fine.points.T, nest=True)
        np.testing.assert_array_equal(np.repeat(coarse.pixels, 4**p), around)
        assert fine.branching**p * len(coarse) == len(fine)
        assert coarse.refine(p) == fine

    def test_full_parents_are_those_of_ud_grade(self):
        coarse = np.random.default_rng(1).standard_normal(12 * 4**2)
        up = hp.ud_grade(coarse, 16, order_in="NEST", order_out="NEST")
        np.testing.assert_array_equal(up, np.repeat(coarse, Healpix(4).branching ** 2))

    def test_coarsen_keeps_parts_of_a_part(self):
        assert Healpix(2, [4, 5, 6, 7]).coarsen() == Healpix(1, [1])
        assert Healpix(4, np.arange(16, 48)).coarsen(2) == Healpix(1, [1, 2])

    def test_full_and_part_meet(self):
        """A list of all pixels is the full sphere, also after a change of level."""
        assert Healpix(4, np.arange(192)) == Healpix(4)
        assert Healpix(4, np.arange(192)).is_full
        assert hash(Healpix(4, np.arange(192))) == hash(Healpix(4))
        assert Healpix(4, np.arange(192)).coarsen().is_full

    def test_not_closed(self):
        with pytest.raises(ValueError, match=r"extend_pixels\(pixels, 4, 2, nest=True\)") as caught:
            Healpix(4, [0, 1, 2, 3, 8, 9]).coarsen()
        assert "1 of its 2 pixels are incomplete" in str(caught.value)
        with pytest.raises(ValueError, match="not closed"):
            Healpix(4, [0, 1, 2, 3, 8, 9]).membership()
        # The advice in the message helps.
        assert Healpix(4, extend_pixels([0, 1, 2, 3, 8, 9], 4, 2, nest=True)).coarsen() == Healpix(
            2, [0, 2]
        )

    def test_errors(self):
        with pytest.raises(ValueError, match="nside 8 has 3 coarser levels, got levels=4"):
            Healpix(8).coarsen(4)
        with pytest.raises(ValueError, match="nside 8 has 26 finer levels, got levels=27"):
            Healpix(8).refine(27)
        with pytest.raises(ValueError, match="nside 8 has 26 finer levels, got levels=100000"):
            Healpix(8).refine(100_000)
        for change in (Healpix(8).coarsen, Healpix(8).refine):
            with pytest.raises(ValueError, match=r"levels must be a nonnegative number.*-1"):
                change(-1)
            with pytest.raises(TypeError, match=r"levels must be an integer.*True"):
                change(True)
            with pytest.raises(TypeError, match=r"levels must be an integer.*1\.0"):
                change(1.0)


class TestIdentity:
    def test_equal(self):
        pixels = part(8)
        assert Healpix(8, pixels) == Healpix(8, pixels.tolist())
        assert hash(Healpix(8, pixels)) == hash(Healpix(8, pixels.tolist()))
        assert {Healpix(8): "found"}[Healpix(level=3)] == "found"

    def test_different(self):
        pixels = part(8)
        assert Healpix(8) != Healpix(16)
        assert Healpix(8) != Healpix(8, pixels)
        assert Healpix(8, pixels) != Healpix(8, pixels[1:])
        assert Healpix(8, pixels) != Healpix(16, pixels)
        assert Healpix(8) != 8
        assert Healpix(8) != "Healpix(nside=8)"

    @pytest.mark.parametrize("sampling", [Healpix(32), Healpix(8, part(8)), Healpix(2**29, [7])])
    def test_json(self, sampling):
        text = json.dumps(serialize(sampling))
        restored = deserialize(json.loads(text))
        assert restored == sampling
        assert type(restored) is Healpix
        np.testing.assert_array_equal(restored.pixels, sampling.pixels)

    def test_json_of_full_sphere_is_short(self):
        assert json.dumps(serialize(Healpix(1024))) == '{"kind": "healpix", "nside": 1024}'

    def test_deserialize_leaves_the_config(self):
        config = serialize(Healpix(8))
        deserialize(config)
        assert config == {"kind": "healpix", "nside": 8}

    @pytest.mark.parametrize("config", [{"kind": "flat"}, {"nside": 8}])
    def test_unknown_kind(self, config):
        with pytest.raises(ValueError, match=r"unknown sampling .*known: .*healpix"):
            deserialize(config)

    def test_repr(self):
        assert repr(Healpix(8)) == "Healpix(nside=8)"
        assert repr(Healpix(8, [3, 4])) == "Healpix(nside=8, pixels=<2 of 768>)"

    def test_is_a_sampling(self):
        assert isinstance(Healpix(1), Sampling)

    @pytest.mark.parametrize(
        "duplicate",
        [lambda s: s, copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))],
    )
    @pytest.mark.parametrize("pixels", [None, [1, 5, 6]])
    def test_immutable(self, pixels, duplicate):
        sampling = Healpix(2, pixels)
        assert sampling.pixels.flags.writeable is False  # also before it is copied
        sampling = duplicate(sampling)
        assert sampling == Healpix(2, pixels)
        with pytest.raises(ValueError, match="read-only"):
            sampling.pixels[0] = 3
        with pytest.raises(AttributeError):
            sampling.nside = 4

    def test_the_callers_array_is_copied(self):
        pixels = np.array([1, 5, 6])
        sampling = Healpix(2, pixels)
        pixels[0] = 0
        np.testing.assert_array_equal(sampling.pixels, [1, 5, 6])
        assert sampling == Healpix(2, [1, 5, 6])


class TestErrors:
    @pytest.mark.parametrize("nside", [0, -4, 3, 12, 100, 2**30])
    def test_nside_value(self, nside):
        with pytest.raises(ValueError, match=rf"power of two.*NEST.*got {nside}$"):
            Healpix(nside)

    @pytest.mark.parametrize("nside", [8.0, True, "8", [8]])
    def test_nside_type(self, nside):
        with pytest.raises(TypeError, match="nside must be an integer, got"):
            Healpix(nside)

    def test_nside_or_level(self):
        with pytest.raises(ValueError, match="either nside or level"):
            Healpix()
        with pytest.raises(ValueError, match=r"either nside or level.*nside=8, level=3"):
            Healpix(8, level=3)

    @pytest.mark.parametrize(
        ("level", "error", "match"),
        [
            (-1, ValueError, "level must be a nonnegative number.*-1"),
            (30, ValueError, "level must be at most 29, got 30"),
            (100_000, ValueError, "level must be at most 29, got 100000"),
            (2.0, TypeError, "level must be an integer.*2.0"),
            (True, TypeError, "level must be an integer.*True"),
        ],
    )
    def test_level(self, level, error, match):
        with pytest.raises(error, match=match):
            Healpix(level=level)

    @pytest.mark.parametrize(
        ("pixels", "error", "match"),
        [
            ([3, 1, 2], ValueError, "strictly increasing.*np.unique"),
            ([1, 2, 2, 3], ValueError, "strictly increasing.*np.unique"),
            ([-1, 2], ValueError, "from 0 to 767 for nside 8.*from -1 to 2"),
            ([5, 768], ValueError, "from 0 to 767 for nside 8.*from 5 to 768"),
            (np.ones(768, bool), TypeError, r"boolean map; use np.flatnonzero\(map\)"),
            ([1.0, 2.0], TypeError, "integers, got dtype float64"),
            ([[1, 2], [3, 4]], ValueError, r"one dimension, got shape \(2, 2\)"),
            (5, ValueError, r"one dimension, got shape \(\)"),
            ([], ValueError, "empty"),
            ("all", TypeError, "integers, got dtype"),
        ],
    )
    def test_pixels(self, pixels, error, match):
        with pytest.raises(error, match=match):
            Healpix(8, pixels)


class TestExtendPixels:
    @pytest.mark.parametrize("nest", [True, False])
    @pytest.mark.parametrize(("nside", "coarse"), [(8, 8), (8, 4), (16, 2), (32, 1)])
    @pytest.mark.parametrize("extend", [extend_pixels, extend_indices])
    def test_is_the_old_route(self, nside, coarse, nest, extend):
        pixels = np.random.default_rng(2).choice(12 * nside**2, 5 * nside, replace=False)
        expected = old_extend(pixels, nside, coarse, nest)
        result = extend(pixels, nside, coarse, nest=nest)
        np.testing.assert_array_equal(result, expected)
        assert result.dtype == np.int64

    def test_default_is_nest(self):
        np.testing.assert_array_equal(extend_pixels([5], 2, 1, nest=True), [4, 5, 6, 7])
        np.testing.assert_array_equal(extend_indices([5], 2, 1), [4, 5, 6, 7])

    def test_a_disc(self):
        center = hp.ang2vec(1.0, 0.3)
        disc = hp.query_disc(32, center, 0.4, nest=True)
        np.testing.assert_array_equal(
            extend_pixels(disc, 32, 4, nest=True), old_extend(disc, 32, 4, nest=True)
        )

    def test_is_closed_and_idempotent(self):
        extended = extend_pixels(part(16), 16, 4, nest=True)
        assert Healpix(16, extended).coarsen(2).nside == 4
        np.testing.assert_array_equal(extend_pixels(extended, 16, 4, nest=True), extended)

    def test_order_and_repetition_do_not_matter(self):
        np.testing.assert_array_equal(
            extend_pixels([9, 0, 9, 1], 2, 1, nest=True), [0, 1, 2, 3, 8, 9, 10, 11]
        )

    @pytest.mark.parametrize("extend", [extend_pixels, extend_indices])
    @pytest.mark.parametrize(
        ("arguments", "error", "match"),
        [
            (([1], 4, 8), ValueError, "coarse_nside must be at most nside 4, got 8"),
            (([1], 4, 3), ValueError, "power of two"),
            (([1], 6, 2), ValueError, "power of two"),
            (([192], 4, 2), ValueError, "from 0 to 191 for nside 4"),
            (([True] * 191, 4, 2), TypeError, "boolean"),
            (([], 4, 2), ValueError, "empty"),
        ],
    )
    def test_errors(self, extend, arguments, error, match):
        with pytest.raises(error, match=match):
            extend(*arguments, nest=True)
