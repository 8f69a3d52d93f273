import subprocess
import sys

import numpy as np
import pytest

from deepsphere.plot import plot_gnomonic, plot_map, plot_maps
from deepsphere.sampling import Healpix
from picture_truth import image_of, projector

"""The FITS standard's Mollweide projection is this much larger (degrees) than ours."""


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
