import healpy
import numpy as np
import pytest

from deepsphere.sampling import Healpix, regions

FULL = Healpix(16)


@pytest.mark.parametrize("radius", [3.0, 40.0, 120.0])
def test_disc_is_that_of_healpy(radius):
    center = healpy.ang2vec(30, -20, lonlat=True)
    expected = healpy.query_disc(16, center, np.radians(radius), nest=True)
    np.testing.assert_array_equal(np.flatnonzero(regions.disc(FULL, 30, -20, radius)), expected)


def test_small_discs():
    sampling = Healpix(2**12, np.arange(64))
    lon, lat = healpy.pix2ang(2**12, 37, nest=True, lonlat=True)
    assert np.flatnonzero(regions.disc(sampling, lon, lat, 1e-6)).tolist() == [37]


@pytest.mark.parametrize("reverse", [False, True])
def test_polygon_is_that_of_healpy(reverse):
    vertices = [(10, -30), (80, -20), (70, 40), (20, 50)][:: -1 if reverse else 1]
    corners = healpy.ang2vec(*np.transpose(vertices), lonlat=True)
    expected = healpy.query_polygon(16, corners, nest=True)
    np.testing.assert_array_equal(np.flatnonzero(regions.polygon(FULL, vertices)), expected)


def test_a_part_of_the_sphere():
    part = FULL.coarsen(2).refine(2)
    part = type(part)(16, np.arange(500, 900))
    np.testing.assert_array_equal(
        regions.disc(part, 30, 20, 40), regions.disc(FULL, 30, 20, 40)[500:900]
    )


@pytest.mark.parametrize("coordinates", ["G", "C", "E"])
def test_galactic_cut_follows_the_coordinates(coordinates):
    # healpy turns a galactic map, which is cut by latitude, to the other coordinates.
    rotator = healpy.Rotator(coord=[coordinates, "G"])
    latitudes = 90 - np.degrees(rotator(*healpy.pix2ang(16, np.arange(3072), nest=True))[0])
    cut = regions.galactic_cut(FULL, 20, coordinates)
    # healpy's and astropy's systems differ by 0.1 degrees or less (epoch).
    sure = np.abs(np.abs(latitudes) - 20) > 0.2
    np.testing.assert_array_equal(cut[sure], (np.abs(latitudes) > 20)[sure])
    assert sure.mean() > 0.98


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: regions.disc(FULL, 0, 0, 0), "radius must be above 0 and at most 180"),
        (lambda: regions.disc(FULL, 0, 91, 5), "latitudes from -90 to 90"),
        (lambda: regions.disc(FULL, np.nan, 0, 5), "must be finite degrees"),
        (lambda: regions.polygon(FULL, [(0, 0), (10, 0)]), "m at least 3, got shape"),
        (lambda: regions.polygon(FULL, [(0, 0), (0, 0), (0, 5)]), "equal or opposite"),
        (
            lambda: regions.polygon(FULL, [(0, 0), (40, 0), (20, 10), (40, 40)]),
            "not convex; combine",
        ),
        (lambda: regions.galactic_cut(FULL, 90), "from 0 to below 90"),
        (lambda: regions.galactic_cut(FULL, 20, "Q"), "one of G, C, E; got 'Q'"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
