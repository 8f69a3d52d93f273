"""Scattered points: accepted input, coarsening, and copies."""

import json

import numpy as np
import pytest

from deepsphere.sampling import RandomUniform, Scattered, deserialize, serialize
from deepsphere.sampling.lonlat import to_vectors
from deepsphere.sampling.scattered import farthest_points

LONLAT = np.random.default_rng(3).uniform((-180, -60), (180, 70), (200, 2))


def distances(points, others):
    return np.linalg.norm(points[:, None] - others, axis=2)


class TestPoints:
    def test_lonlat(self):
        np.testing.assert_array_equal(Scattered(LONLAT).points, to_vectors(LONLAT))
        assert Scattered(LONLAT) == Scattered(LONLAT.tolist()) == Scattered(to_vectors(LONLAT))

    def test_vectors_of_any_length(self):
        vectors = to_vectors(LONLAT)
        lengths = np.random.default_rng(0).uniform(0.1, 6371, (200, 1))
        # Multiplied and divided again: two roundings.
        np.testing.assert_allclose(Scattered(vectors * lengths).points, vectors, atol=3e-16)

    @pytest.mark.parametrize("seed", range(3))
    def test_normalized_vectors_stay_as_they_are(self, seed):
        """Otherwise points would change slightly with every save and load."""
        vectors = np.random.default_rng(seed).standard_normal((20_000, 3))
        points = Scattered(vectors).points
        np.testing.assert_array_equal(Scattered(points).points, points)
        stations = to_vectors(np.random.default_rng(seed).uniform(-90, 90, (20_000, 2)))
        np.testing.assert_array_equal(Scattered(stations).points, stations)

    def test_the_callers_array_is_copied(self):
        vectors = to_vectors(LONLAT)
        sampling = Scattered(vectors)
        vectors[0] = 0
        assert sampling == Scattered(LONLAT)
        for array in (sampling.points, sampling.areas, sampling.coarsen().points):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0

    def test_order_matters(self):
        assert Scattered(LONLAT) != Scattered(LONLAT[::-1])
        assert Scattered(LONLAT) != Scattered(LONLAT[:-1])

    @pytest.mark.parametrize(
        ("points", "match"),
        [
            (np.zeros((0, 2)), r"shape \(0, 2\)"),
            (np.zeros(3), r"shape \(n, 2\).*or \(n, 3\).*got shape \(3,\)"),
            (np.zeros((2, 4)), r"got shape \(2, 4\)"),
            ([(0, 0), (0, 95)], r"latitudes from -90 to 90; got \[0.0, 95.0\] at index 1"),
            ([(0, 0), (np.nan, 5)], r"finite degrees.*index 1"),
            ([(1, 0, 0), (np.inf, 0, 0)], r"points must be finite; got \[inf, .*index 1"),
            (
                [(0, 0, 0), (1, 0, 0), (0, 0, 0)],
                "vectors must not be 0, but those at index 0, 2 are",
            ),
            ([(0, 5), (360, 5), (3, 3), (0, 5)], "2 of 4 repeat an earlier one.*index 1, 3; drop"),
            ([(0, 90), (77, 90)], "1 of 2 repeat an earlier one"),
            (np.tile([[7, 7]], (9, 1)), "8 of 9 repeat.*index 1, 2, 3, 4, 5 and 3 more"),
        ],
    )
    def test_errors(self, points, match):
        with pytest.raises(ValueError, match=match):
            Scattered(points)

    def test_repr(self):
        assert repr(Scattered(LONLAT)) == "Scattered(<200 points>)"


class TestHierarchy:
    def test_farthest_points(self):
        points = to_vectors(LONLAT)
        chosen = [0]
        while len(chosen) < 50:
            chosen.append(distances(points, points[chosen]).min(axis=1).argmax())
        np.testing.assert_array_equal(farthest_points(points, 50), np.sort(chosen))
        assert len(np.unique(farthest_points(points, 200))) == 200

    def test_of_equally_far_points_the_first_is_chosen(self):
        octahedron = np.array(
            [(0, 0, 1), (1, 0, 0), (0, 1, 0), (-1, 0, 0), (0, -1, 0), (0, 0, -1.0)]
        )
        np.testing.assert_array_equal(farthest_points(octahedron, 3), [0, 1, 5])

    @pytest.mark.parametrize(("n", "expected"), [(200, 50), (197, 50), (5, 2), (4, 1), (1, 1)])
    def test_a_quarter_is_kept_in_order(self, n, expected):
        fine = Scattered(LONLAT[:n])
        coarse = fine.coarsen()
        assert len(coarse) == expected
        kept = distances(coarse.points, fine.points).argmin(axis=1)
        assert np.all(np.diff(kept) > 0)
        np.testing.assert_array_equal(fine.points[kept], coarse.points)
        # A point that is kept is a member of itself.
        np.testing.assert_array_equal(fine.membership()[:, kept].toarray(), np.eye(expected))

    def test_points_belong_to_the_nearest_that_is_kept(self):
        fine = Scattered(LONLAT)
        coarse = fine.coarsen()
        expected = distances(fine.points, coarse.points).argmin(axis=1)
        np.testing.assert_array_equal(fine.membership().tocsc().indices, expected)

    def test_no_choice_covers_much_better(self):
        """Gonzalez: kept points are at least as far apart as any point from the nearest of them."""
        fine = RandomUniform(2000)
        coarse = fine.coarsen()
        radius = distances(fine.points, coarse.points).min(axis=1).max()
        apart = distances(coarse.points, coarse.points)
        assert apart[~np.eye(len(coarse), dtype=bool)].min() >= radius

    def test_parts_are_even(self):
        fine = RandomUniform(4000)
        areas = fine.membership() @ fine.areas
        assert areas.std() / areas.mean() < 0.35  # 0.33 was measured, 0.54 for k-means

    def test_down_to_one(self):
        assert len(Scattered(LONLAT).coarsen(4)) == 1
        assert len(Scattered(LONLAT).coarsen(6)) == 1

    def test_no_finer_levels(self):
        with pytest.raises(
            ValueError, match=r"no finer levels, got levels=2; start from the finest"
        ):
            Scattered(LONLAT).refine(2)


class TestRandomUniform:
    def test_seed(self):
        assert RandomUniform(50, 3) == RandomUniform(50, 3)
        assert RandomUniform(50) == RandomUniform(50, seed=0)
        assert RandomUniform(50, 3) != RandomUniform(50, 4)
        assert RandomUniform(50, 3) != RandomUniform(49, 3)
        np.testing.assert_array_equal(RandomUniform(50, 3).points, RandomUniform(50, 3).points)

    def test_points_stay(self):
        """Models store only the seed, so these points must never change."""
        fractions = [0.6369616873214543, 0.2697867137638703]  # PCG64 of seed 0, NumPy's manual
        height = 2 * fractions[0] - 1
        point = [np.cos(2 * np.pi * fractions[1]), np.sin(2 * np.pi * fractions[1])]
        expected = [*(np.sqrt(1 - height**2) * np.array(point)), height]
        np.testing.assert_allclose(RandomUniform(1).points[0], expected, rtol=1e-14)

    def test_written_as_seed(self):
        config = serialize(RandomUniform(5000, 7))
        assert config == {"kind": "random-uniform", "n": 5000, "seed": 7}

    def test_uniform(self):
        points = RandomUniform(100_000).points
        octants, counts = np.unique(points > 0, axis=0, return_counts=True)
        assert len(octants) == 8
        assert np.abs(counts - 12_500).max() < 5 * np.sqrt(12_500)  # five standard deviations
        heights = np.histogram(points[:, 2], 10, (-1, 1))[0]
        assert np.abs(heights - 10_000).max() < 5 * np.sqrt(10_000)

    @pytest.mark.parametrize(
        ("arguments", "error", "match"),
        [
            ((0,), ValueError, "n must be at least 1, got 0"),
            ((10, -1), ValueError, "seed must be at least 0, got -1"),
            ((10, None), TypeError, "seed must be an integer, got None"),
        ],
    )
    def test_errors(self, arguments, error, match):
        with pytest.raises(error, match=match):
            RandomUniform(*arguments)


def test_coarse_levels_are_written_too():
    coarse = RandomUniform(400).coarsen(2)
    assert deserialize(json.loads(json.dumps(serialize(coarse)))) == coarse
