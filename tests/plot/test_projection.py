"""Map projections, compared with WCSLIB."""

import numpy as np
import pytest

from deepsphere.plot.projection import (
    gnomonic_plane,
    gnomonic_vectors,
    longitude_latitude,
    plane_to_sphere,
    unit_vectors,
)
from picture_truth import SCALE, projector, random_directions


@pytest.mark.parametrize("center", [0.0, 75.0, -140.0])
def test_mollweide_agrees_with_wcslib(center):
    longitude, latitude = random_directions(500)
    # The standard's own formula, wrapped around the chosen center; 1e-9 is rounding.
    x, y = projector("MOL").wcs_world2pix((longitude - center) % 360, latitude, 0)
    back = plane_to_sphere((x + 1) / SCALE, (y + 1) / SCALE, "mollweide", center)
    np.testing.assert_allclose(back[1], latitude, atol=1e-6)
    difference = (back[0] - longitude + 180) % 360 - 180
    np.testing.assert_allclose(difference, 0, atol=1e-6)


def test_outside_of_the_picture_there_is_no_direction():
    longitude, latitude = plane_to_sphere([1.9, 0.0, 2.1], [0.9, 0.0, 0.0], "mollweide")
    np.testing.assert_array_equal(np.isnan(longitude), [True, False, True])
    np.testing.assert_array_equal(np.isnan(latitude), [True, False, True])
    assert not np.isnan(plane_to_sphere(1.9, 0.9, "equirectangular")).any()


def test_gnomonic_agrees_with_wcslib():
    x, y = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 200))
    vectors = gnomonic_vectors(x, y, 200.0, -35.0)
    wcs = projector("TAN", 200.0, -35.0)
    longitude, latitude = wcs.wcs_pix2world(np.degrees(x) - 1, np.degrees(y) - 1, 0)
    expected = unit_vectors(longitude, latitude)
    np.testing.assert_allclose(vectors, expected, atol=1e-9)
    np.testing.assert_allclose(longitude_latitude(vectors)[0], longitude, atol=1e-6)


def test_longitudes_are_below_360():
    assert longitude_latitude([1.0, -1e-20, 0.0])[0] == 0
    longitude, _ = plane_to_sphere([-1e-18, 0.0], [0.0, 0.0], "equirectangular")
    assert (longitude < 360).all()
    np.testing.assert_allclose(longitude, 0, atol=1e-9)


def test_tangent_plane_and_back():
    rng = np.random.default_rng(5)
    east, north = rng.uniform(-2, 2, (2, 50))
    for longitude, latitude in [(0, 0), (123, -40), (10, 90)]:
        vectors = gnomonic_vectors(east, north, longitude, latitude)
        np.testing.assert_allclose(gnomonic_plane(vectors, longitude, latitude), [east, north])
        assert np.isnan(gnomonic_plane(-vectors, longitude, latitude)).all()
