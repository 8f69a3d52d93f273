"""The kernel matrix, compared with the formula for all distances."""

import numpy as np
import pytest

from beam_truth import LatLon, formula
from deepsphere.layers import beam
from deepsphere.layers.beam import beam_passes, gaussian_beam, surroundings
from deepsphere.sampling import Healpix

PART = Healpix(8, np.r_[0:40, 200:203, 704])  # two pieces and one pixel far from all others


@pytest.mark.parametrize("chunk", [300, 2**22])
@pytest.mark.parametrize("support", [4.0, 3.0, 6.5])
@pytest.mark.parametrize("sigma", [0.05, 0.2, 1.1])
@pytest.mark.parametrize("sampling", [Healpix(4), PART, LatLon()], ids=repr)
def test_matrix_is_that_of_the_formula(sampling, sigma, support, chunk, monkeypatch):
    monkeypatch.setattr(beam, "CHUNK", chunk)
    matrix = gaussian_beam(sampling, sigma, support)
    # Angles from chords near the antipode are good to 1e-8, where weights are small.
    np.testing.assert_allclose(matrix.toarray(), formula(sampling, sigma, support), atol=1e-12)
    assert np.all(np.diff(matrix.indptr) > 0)
    assert matrix.has_sorted_indices
    # 1e-12: some hundred roundings of 1e-16, with room
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)


def test_only_what_is_near_is_stored():
    sphere = Healpix(16)
    sigma = 1.5 * np.sqrt(sphere.areas[0])
    # The disc of radius 6 pixel spacings has 36 pi pixels.
    assert gaussian_beam(sphere, sigma).nnz / len(sphere) == pytest.approx(36 * np.pi, rel=0.03)


def test_a_pixel_by_itself_is_left_as_it_is():
    matrix = gaussian_beam(PART, 0.1).toarray()
    np.testing.assert_array_equal(matrix[-1], np.eye(len(PART))[-1])
    np.testing.assert_array_equal(gaussian_beam(PART, 1e-9).toarray(), np.eye(len(PART)))


def test_totals_are_kept_on_the_sphere_as_well_as_stated():
    matrix = gaussian_beam(Healpix(16), 1.5 * np.sqrt(Healpix(16).areas[0]))
    # Of all maps, those of a single pixel change their total most: measured 1.0 %.
    assert abs(matrix.sum(axis=0) - 1).max() < 0.02


def test_passes():
    sphere = Healpix(32)
    spacing = np.sqrt(sphere.areas[0])
    passes = [beam_passes(sphere, width * spacing) for width in (0.01, 1.49, 1.51, 3.01, 15.01)]
    assert passes == [1, 1, 2, 5, 101]


@pytest.mark.parametrize("radius", [0.01, 0.2, 0.5, 1.5, 4.0])
@pytest.mark.parametrize("coarse_level", [1, 6])
def test_surroundings(coarse_level, radius, monkeypatch):
    monkeypatch.setattr(beam, "COARSE_LEVEL", coarse_level)
    sphere = Healpix(8)
    angles = np.arccos(np.clip(sphere.points @ PART.points.T, -1, 1)).min(axis=1)
    assert abs(angles - radius).min() > 1e-9
    expected = np.setdiff1d(np.flatnonzero(angles < radius), PART.pixels)
    found = surroundings(PART, radius)
    np.testing.assert_array_equal([] if found is None else found.pixels, expected)
    assert surroundings(sphere, radius) is None
    assert surroundings(LatLon(), radius) is None


def test_what_is_around_comes_last():
    around = surroundings(PART, 0.5)
    both = Healpix(8, np.union1d(PART.pixels, around.pixels))
    order = np.searchsorted(both.pixels, np.concatenate([PART.pixels, around.pixels]))
    expected = gaussian_beam(both, 0.2).toarray()[np.ix_(order, order)]
    np.testing.assert_allclose(gaussian_beam(PART, 0.2, around=around).toarray(), expected)


@pytest.mark.parametrize("sigma", [0.0, -1.0, np.nan, np.inf, 3.2])
def test_bad_widths(sigma):
    with pytest.raises(ValueError, match=rf"sigma must be in \(0, pi\] rad, got {sigma}"):
        gaussian_beam(PART, sigma)
    with pytest.raises(ValueError, match="sigma must be"):
        beam_passes(PART, sigma)


@pytest.mark.parametrize("support", [0.0, -1.0, np.nan, np.inf])
def test_bad_supports(support):
    with pytest.raises(ValueError, match=f"support must be a positive number .* got {support}"):
        gaussian_beam(PART, 0.1, support)
