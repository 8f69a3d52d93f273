"""Longitudes and latitudes, compared with healpy."""

import logging
from types import SimpleNamespace

import astropy.units
import healpy as hp
import numpy as np
import pytest

from deepsphere.sampling import Healpix, Scattered, regions
from deepsphere.sampling.lonlat import list_some, to_degrees, to_lonlat, to_vectors


def random_lonlat(n):
    rng = np.random.default_rng(0)
    return np.column_stack((rng.uniform(0, 360, n), rng.uniform(-90, 90, n)))


def test_vectors_are_those_of_healpy():
    lonlat = random_lonlat(1000)
    expected = hp.ang2vec(*lonlat.T, lonlat=True)
    np.testing.assert_allclose(to_vectors(lonlat), expected, rtol=0, atol=1e-15)


def test_round_trip():
    lonlat = random_lonlat(1000)
    # Longitudes are lost towards the poles: compare where they go, and latitudes.
    back = to_lonlat(to_vectors(lonlat))
    np.testing.assert_allclose(back[:, 1], lonlat[:, 1], rtol=0, atol=1e-13)
    np.testing.assert_allclose(to_vectors(back), to_vectors(lonlat), rtol=0, atol=1e-15)


def test_axes():
    lonlat = [(0, 0), (90, 0), (180, 0), (270, 0), (0, 90), (0, -90)]
    vectors = [(1, 0, 0), (0, 1, 0), (-1, 0, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]
    np.testing.assert_allclose(to_vectors(np.array(lonlat)), vectors, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(to_lonlat(np.array(vectors, float)), lonlat)


def test_just_west_of_greenwich():
    """Longitude -1e-18 plus 360 rounds to 360, which is out of range."""
    assert to_lonlat(np.array([[1.0, -1e-18, 0]]))[0, 0] == 0


@pytest.mark.parametrize("wrong", [(np.nan, 0), (0, np.inf), (0, 90.1), (0, -91)])
def test_errors(wrong):
    with pytest.raises(ValueError, match=r"latitudes from -90 to 90; got \[.*\] at index 1$"):
        to_vectors(np.array([(0, 0), wrong, (1, 1)]))


def test_list_some():
    assert list_some(np.arange(3, 5)) == "index 3, 4"
    assert list_some(np.arange(3, 15)) == "index 3, 4, 5, 6, 7 and 7 more"


def test_quantities_bring_their_units():
    """Quantities of astropy, and like those of pint (which is not installed here)."""
    radians = np.radians(random_lonlat(5))
    pint = SimpleNamespace(
        unitless=False, to=lambda unit: SimpleNamespace(magnitude=np.degrees(radians))
    )
    pint.magnitude = radians
    for quantity in (radians * astropy.units.rad, pint):
        np.testing.assert_allclose(to_degrees(quantity, "points"), random_lonlat(5), rtol=1e-15)
        np.testing.assert_allclose(
            Scattered(quantity).points, to_vectors(random_lonlat(5)), rtol=0, atol=1e-15
        )
    with pytest.raises(ValueError, match=r"points must be in degrees or radians: .*m"):
        Scattered(random_lonlat(5) * astropy.units.m)
    angles = np.radians([30, 40, 20]) * astropy.units.rad
    np.testing.assert_array_equal(
        regions.disc(Healpix(8), *angles), regions.disc(Healpix(8), 30, 40, 20)
    )


def test_points_that_are_masked_or_no_numbers():
    lonlat = np.ma.masked_array(random_lonlat(5), mask=np.eye(5, 2, dtype=bool))
    with pytest.raises(ValueError, match="2 of 10 values of points are masked; drop these points"):
        Scattered(lonlat)
    with pytest.raises(TypeError, match="points must be real numbers, got an array of complex128"):
        Scattered(random_lonlat(5) + 0j)


def test_points_that_look_like_radians(caplog):
    with caplog.at_level(logging.WARNING, logger="deepsphere"):
        Scattered(random_lonlat(50))
        assert not caplog.records
        Scattered(np.radians(random_lonlat(50)))
    assert "longitudes and latitudes look like radians" in caplog.text
