import subprocess
import sys

import numpy as np
import pytest
from astropy.wcs import WCS
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from deepsphere.plot import plot_gnomonic, plot_map, plot_maps
from deepsphere.plot.image_lookup import nearest_vertex
from deepsphere.plot.projection import (
    gnomonic_vectors,
    longitude_latitude,
    meridian,
    parallel,
    plane_to_sphere,
    unit_vectors,
)
from deepsphere.plot.style import BLANK
from deepsphere.sampling import Healpix, Sampling

SCALE = np.degrees(np.sqrt(2))
"""The FITS standard's Mollweide projection is this much larger (degrees) than ours."""


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


def projector(kind, longitude=0.0, latitude=0.0):
    """Projection by wcslib, which is independent of our implementation."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"RA---{kind}", f"DEC--{kind}"]
    wcs.wcs.crval = [longitude, latitude]
    wcs.wcs.crpix = [0, 0]
    wcs.wcs.cdelt = [1, 1]
    return wcs


def random_directions(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-0.999, 0.999, n)))


def image_of(figure, axes=0):
    return figure.axes[axes].images[0]


def pixel_at(image, x, y):
    """Value of the image array at data coordinates, as matplotlib lays it out."""
    array = image.get_array()
    left, right, bottom, top = image.get_extent()
    rows, columns = array.shape
    column = int((x - left) / (right - left) * columns)
    row = int((y - bottom) / (top - bottom) * rows)
    return array[row, column]


def render(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


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


@pytest.mark.parametrize("projection", ["mollweide", "equirectangular"])
def test_graticule_lies_where_the_projection_puts_it(projection):
    longitude, _ = plane_to_sphere(*meridian(60.0, projection), projection)
    np.testing.assert_allclose(longitude[1:-1], 60.0, atol=1e-9)  # the poles have no longitude
    _, latitude = plane_to_sphere(*(0.999 * v for v in parallel(0.0, projection)), projection)
    np.testing.assert_allclose(latitude, 0.0, atol=1e-9)
    x, y = parallel(-30.0, projection)
    _, latitude = plane_to_sphere(0.999 * x, y, projection)
    np.testing.assert_allclose(latitude, -30.0, atol=1e-9)


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


@pytest.mark.parametrize("projection", ["mollweide", "equirectangular"])
@pytest.mark.parametrize("astronomical", [True, False])
def test_orientation_of_what_is_drawn(projection, astronomical):
    sampling = Healpix(32)
    spot = sampling.points @ unit_vectors(60.0, 30.0) > np.cos(np.radians(3))
    figure = plot_map(
        spot.astype(float),
        sampling,
        projection,
        cmap="cool",
        limits=(0, 1),
        astronomical=astronomical,
        graticule=False,
    )
    picture = render(figure)
    axes = figure.axes[0]
    if projection == "mollweide":
        x, y = projector("MOL").wcs_world2pix(60.0, 30.0, 0)
        x, y = (x + 1) / SCALE, (y + 1) / SCALE
    else:
        x, y = 60 / 90, 30 / 90
    expected = axes.transData.transform([x, y])
    center = axes.transData.transform([0, 0])
    assert (expected[0] < center[0]) == astronomical  # east is left on the sky
    assert expected[1] > center[1]
    # Magenta is the top of this color map; the color bar below the axes is left out.
    above = np.arange(len(picture)) < len(picture) - axes.bbox.y0
    rows, columns = np.nonzero((picture == [255, 0, 255]).all(axis=-1) & above[:, None])
    assert len(rows) > 100
    # The spot is ragged by pixels of 1.8 degrees (7 dots): its centroid moves by a part of one.
    np.testing.assert_allclose(columns.mean(), expected[0], atol=4)
    np.testing.assert_allclose(len(picture) - rows.mean(), expected[1], atol=4)


def test_blank_outside_the_footprint_and_where_values_are_missing():
    full = Healpix(16)
    north = np.flatnonzero(full.points[:, 2] > 0.1)
    sampling = Healpix(16, north)
    values = np.ones(len(sampling))
    values[nearest_vertex(sampling, unit_vectors(0.0, 60.0))] = np.nan
    values[nearest_vertex(sampling, unit_vectors(90.0, 45.0))] = -1.6375e30
    values = np.ma.masked_array(values, mask=False)
    values[nearest_vertex(sampling, unit_vectors(-37.0, 52.0))] = np.ma.masked
    figure = plot_map(values, sampling, limits=(0, 2), graticule=False)
    image = image_of(figure)
    for longitude, latitude, shown in [
        (0, 30, 1),
        (0, -30, 0),
        (0, 60, 0),
        (90, 45, 0),
        (-37, 52, 0),
    ]:
        x, y = projector("MOL").wcs_world2pix(longitude, latitude, 0)
        value = pixel_at(image, (x + 1) / SCALE, (y + 1) / SCALE)
        assert (value is np.ma.masked) == (not shown), (longitude, latitude)
    picture = render(figure)
    column, row = figure.axes[0].transData.transform([0.5, -0.5]).round().astype(int)
    assert (picture[len(picture) - row, column] == np.round(255 * np.array(to_rgb(BLANK)))).all()
    column, row = figure.axes[0].transData.transform([1.95, -0.95]).round().astype(int)
    assert (picture[len(picture) - row, column] == 255).all()  # beyond the outline: paper


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


def test_color_bar_tells_unit_limits_and_what_lies_beyond():
    sampling = Healpix(4)
    z = sampling.points[:, 2]
    figure = plot_map(z, sampling, title="Height", unit="z (radii)")
    assert figure.axes[0].get_title() == "Height"
    assert figure.axes[1].get_xlabel() == "z (radii)"
    assert image_of(figure).get_clim() == (z.min(), z.max())
    assert image_of(figure).colorbar.extend == "neither"
    assert image_of(plot_map(z, sampling, limits=(-0.5, 2))).colorbar.extend == "min"
    assert image_of(plot_map(z, sampling, limits=(-0.5, 0.5))).colorbar.extend == "both"
    low, high = image_of(plot_map(np.full(len(z), 3.0), sampling)).get_clim()
    assert low < 3.0 < high


def test_several_maps_share_one_scale():
    sampling = Healpix(4)
    z = sampling.points[:, 2]
    figure = plot_maps([z, 3 * z, z - 1], sampling, ["a", "b", "c"], title="All", unit="z")
    *maps, bar = figure.axes
    assert [axes.get_title() for axes in maps] == ["a", "b", "c"]
    limits = (min(z.min() - 1, 3 * z.min()), 3 * z.max())
    assert [axes.images[0].get_clim() for axes in maps] == [limits] * 3
    assert bar.get_xlabel() == "z"
    assert figure.get_suptitle() == "All"
    render(figure)
    places = [axes.get_position() for axes in maps]
    assert places[0].y0 == pytest.approx(places[1].y0)
    assert places[2].y1 < places[0].y0  # two in a row, the third below


@pytest.mark.parametrize("astronomical", [True, False])
def test_close_up_shows_the_tangent_plane(astronomical):
    import healpy

    nside, longitude, latitude, width = 16, 123.0, 40.0, 30.0
    sampling = Healpix(nside)
    figure = plot_gnomonic(
        sampling.pixels, sampling, (longitude, latitude), width, astronomical=astronomical
    )
    image = image_of(figure)
    half = np.tan(np.radians(15))
    assert image.get_extent() == pytest.approx([-half, half, -half, half])
    wcs = projector("TAN", longitude, latitude)
    size = image.get_array().shape[0]
    rng = np.random.default_rng(4)
    i, j = rng.integers(0, size, (2, 1000))
    x, y = (np.degrees(half * ((2 * k + 1) / size - 1)) for k in (j, i))
    world = wcs.wcs_pix2world(x - 1, y - 1, 0)
    expected = healpy.ang2pix(nside, *world, nest=True, lonlat=True)
    np.testing.assert_array_equal(image.get_array()[i, j], expected)
    axes = figure.axes[0]
    assert axes.xaxis_inverted() == astronomical
    ticks = {
        text.get_text(): place
        for place, text in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    }
    assert ticks["10"] == pytest.approx(np.tan(np.radians(10)))
    assert ticks["−10"] == pytest.approx(-np.tan(np.radians(10)))


def test_close_up_around_a_pixel_and_beyond_the_footprint():
    pixels = np.arange(64)
    sampling = Healpix(8, pixels)
    figure = plot_gnomonic(pixels + 0.0, sampling, 37, 3.0)
    array = image_of(figure).get_array()
    assert array[array.shape[0] // 2, array.shape[1] // 2] == 37
    with pytest.raises(ValueError, match="choose a center inside the footprint"):
        plot_gnomonic(pixels + 0.0, sampling, (225.0, -60.0), 3.0)


def test_wrong_arguments_are_named():
    sampling = Healpix(2)
    values = np.zeros(48)
    with pytest.raises(ValueError, match=r"48 points of the sampling, got shape \(47,\)"):
        plot_map(values[1:], sampling)
    with pytest.raises(ValueError, match=r"one channel at a time"):
        plot_map(np.zeros((48, 2)), sampling)
    with pytest.raises(ValueError, match="all 48 values are missing"):
        plot_map(np.full(48, np.nan), sampling)
    with pytest.raises(ValueError, match="all 48 values are missing"):
        plot_map(np.ma.masked_all(48, dtype=int), sampling)
    with pytest.raises(ValueError, match=r"maps of the full sphere on Healpix\(2\)"):
        plot_map(values, Healpix(2, [3, 5]))
    with pytest.raises(TypeError, match="values must be real, got complex128"):
        plot_map(values * 1j, sampling)
    with pytest.raises(ValueError, match=r"finite \(low, high\)"):
        plot_map(values, sampling, limits=(0, np.inf))
    with pytest.raises(ValueError, match="mollweide, equirectangular; got 'mercator'"):
        plot_map(values, sampling, "mercator")
    with pytest.raises(ValueError, match="low < high"):
        plot_map(values, sampling, limits=(1, 1))
    with pytest.raises(ValueError, match="at least one map"):
        plot_maps([], sampling)
    with pytest.raises(ValueError, match="got 1 for 2"):
        plot_maps([values, values], sampling, ["one"])
    with pytest.raises(ValueError, match="columns must be at least 1, got 0"):
        plot_maps([values], sampling, columns=0)
    with pytest.raises(TypeError, match=r"columns must be an integer, got 1\.5"):
        plot_maps([values], sampling, columns=1.5)
    with pytest.raises(ValueError, match="from 0 to 47"):
        plot_gnomonic(values, sampling, 48)
    with pytest.raises(ValueError, match="latitude from -90 to 90"):
        plot_gnomonic(values, sampling, (0.0, 91.0))
    with pytest.raises(ValueError, match="at most 150, got 180"):
        plot_gnomonic(values, sampling, 0, 180)


def test_importing_needs_no_matplotlib_and_drawing_says_how_to_get_it():
    code = (
        "import sys\n"
        "sys.modules['matplotlib'] = None\n"
        "from deepsphere.plot import plot_map\n"
        "from deepsphere.sampling import Healpix\n"
        "try:\n"
        "    plot_map([0.0] * 12, Healpix(1))\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "deepsphere-keras[plot]" in done.stdout
