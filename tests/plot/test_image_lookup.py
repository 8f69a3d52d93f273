"""The value that each place of an image shows."""

import numpy as np
import pytest

from deepsphere.plot import plot_map
from deepsphere.plot.image_lookup import nearest_vertex
from deepsphere.plot.projection import (
    unit_vectors,
)
from deepsphere.sampling import Healpix, Sampling
from picture_truth import SCALE, image_of, pixel_at, projector, random_directions


class Points(Sampling):
    """A sampling that only has points."""

    kind = "points"
    branching = 1

    def __init__(self, points):
        self._points = points

    @property
    def points(self):
        return self._points

    @property
    def areas(self):
        return np.ones(len(self))

    def __len__(self):
        return len(self._points)

    def coarsen(self, levels=1):
        raise NotImplementedError

    def refine(self, levels=1):
        raise NotImplementedError

    def get_config(self):
        return {}

    def _identity(self):
        return (self._points.tobytes(),)


@pytest.mark.parametrize("partial", [False, True])
def test_each_place_of_the_image_shows_its_healpix_pixel(partial):
    import healpy

    nside = 8
    every = np.arange(12 * nside**2)
    pixels = every[every % 3 > 0] if partial else None
    sampling = Healpix(nside, pixels)
    # Values that tell the pixel: any mistake of order or position shows.
    image = image_of(plot_map(sampling.pixels + 0.5, sampling)).get_array()
    rows, columns = image.shape
    rng = np.random.default_rng(2)
    i, j = rng.integers(0, rows, 3000), rng.integers(0, columns, 3000)
    x, y = (2 * j + 1) / columns * 2 - 2, (2 * i + 1) / rows - 1
    inside = np.hypot(x / 2, y) < 0.999
    i, j, x, y = (v[inside] for v in (i, j, x, y))
    longitude, latitude = projector("MOL").wcs_pix2world(x * SCALE - 1, y * SCALE - 1, 0)
    pixel = healpy.ang2pix(nside, longitude, latitude, nest=True, lonlat=True)
    expected = np.where(np.isin(pixel, sampling.pixels), pixel + 0.5, np.nan)
    np.testing.assert_array_equal(image.filled(np.nan)[i, j], expected)
    assert np.isnan(expected).any() == partial


def test_other_samplings_show_their_nearest_point_and_blank_far_from_any():
    longitude, latitude = np.meshgrid(np.arange(0, 120, 5), np.arange(-60, 61, 5))
    points = unit_vectors(longitude.ravel(), latitude.ravel())
    sampling = Points(points)
    directions = unit_vectors(*random_directions(2000, 3))
    found = nearest_vertex(sampling, directions)
    cosines = directions @ points.T
    seen = found >= 0
    np.testing.assert_array_equal(found[seen], cosines.argmax(axis=1)[seen])
    angle = np.degrees(np.arccos(cosines.max(axis=1)))
    assert seen[angle < 4].all()  # no gap of this grid is wider than half its diagonal of 7.1
    assert not seen[angle > 8].any()
    image = image_of(plot_map(longitude.ravel(), sampling, "equirectangular"))
    assert pixel_at(image, 51 / 90, 11 / 90) == 50
    assert pixel_at(image, -90 / 90, 0) is np.ma.masked
