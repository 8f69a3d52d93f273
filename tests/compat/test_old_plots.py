from itertools import pairwise

import healpy
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from deepsphere.plot import get_index_equator, plot_filters_gnomonic, plot_filters_section
from deepsphere.sampling import Healpix

plt.switch_backend("agg")


@pytest.fixture(autouse=True)
def figures_are_closed():
    yield
    plt.close("all")


class Bank:
    """Gaussian filters of several widths around a pixel, of either sign."""

    def __init__(self, sampling, inputs=2, outputs=3):
        self.sampling = sampling
        self.n_features_in, self.n_features_out = inputs, outputs
        self.n_filters = inputs * outputs

    def localize(self, i):
        cosines = self.sampling.points @ self.sampling.points[i]
        number = np.arange(self.n_filters)
        return (-1.0) ** number * np.exp((cosines[:, None] - 1) * 40 / (1 + number))


FULL = Healpix(8)
PART = Healpix(8, np.flatnonzero(FULL.points @ [0.48, -0.36, 0.8] > 0.8))


@pytest.mark.parametrize("nside", [1, 2, 8, 64])
@pytest.mark.parametrize("radius", [0, 1, 3])
def test_indices_on_the_equator(nside, radius):
    pixels, center = get_index_equator(nside, radius)
    number = min(radius, 2 * nside - 1)
    assert len(pixels) == len(set(pixels)) == 2 * number + 1
    assert pixels[number] == center
    longitude, latitude = healpy.pix2ang(nside, pixels, nest=True, lonlat=True)
    np.testing.assert_allclose(latitude, 0, atol=1e-12)
    np.testing.assert_allclose(np.diff(longitude), 90 / nside)
    assert 180 <= longitude[number] < 180 + 90 / nside


def test_as_many_pixels_as_there_are():
    pixels, _ = get_index_equator(4, 100)
    assert len(set(pixels)) == 15  # of 16
    with pytest.raises(ValueError, match="a nonnegative number of pixels; got -1"):
        get_index_equator(4, -1)
    with pytest.raises(ValueError, match="power of two"):
        get_index_equator(3, 1)


def test_sections_are_centered_and_laid_out():
    bank = Bank(FULL)
    figure = plot_filters_section(bank, order=4, title="{} filters", figsize=(9, 5), color="red")
    assert tuple(figure.get_size_inches()) == (9, 5)
    assert figure.get_suptitle() == "6 filters"
    pixels, center = get_index_equator(8, 4)
    for number, axes in enumerate(figure.axes):
        line = axes.lines[1]
        np.testing.assert_allclose(line.get_xdata(), 11.25 * np.arange(-4, 5), atol=1e-9)
        np.testing.assert_allclose(line.get_ydata(), bank.localize(center)[pixels, number])
        assert line.get_color() == "red"
        assert axes.get_ylim() == figure.axes[0].get_ylim()
    assert [axes.get_xlabel() for axes in figure.axes[3:]] == [f"out map {i}" for i in range(3)]
    assert [axes.get_ylabel() for axes in figure.axes[::3]] == ["in map 0", "in map 1"]
    FigureCanvasAgg(figure).draw()


def test_sections_of_a_part_of_the_sphere():
    bank = Bank(PART, 1, 1)
    axes = plot_filters_section(bank, order=2).axes[0]
    x, y = axes.lines[1].get_xdata(), axes.lines[1].get_ydata()
    assert len(x) == 5
    assert x[2] == 0
    assert y[2] == y.max() == pytest.approx(1)
    # All that there are of a ring, which is shorter.
    longest = plot_filters_section(bank, order=100).axes[0].lines[1].get_xdata()
    assert 5 < len(longest) < 32


def test_section_in_given_axes():
    axes = Figure().add_subplot()
    figure = plot_filters_section(Bank(FULL, 1, 1), ax=axes, title="one of {}", label="here")
    assert figure is axes.figure
    assert axes.lines[0].get_label() == "here"
    assert axes.get_title() == "one of 1"
    with pytest.raises(ValueError, match="ax has room for only one filter, got 6"):
        plot_filters_section(Bank(FULL), ax=axes)


@pytest.mark.parametrize(("sampling", "ind"), [(FULL, 0), (FULL, 100), (PART, 0), (PART, 17)])
def test_close_ups(sampling, ind):
    bank = Bank(sampling)
    figure = plot_filters_gnomonic(bank, 5, ind, "{} to {}")
    values = bank.localize(ind)
    titles = []
    for number, axes in enumerate(figure.axes[:6]):
        array = axes.images[0].get_array()
        assert array[150, 150] == pytest.approx(values[ind, number])
        seen = np.unique(array.compressed())
        assert np.isin(seen, values[:, number]).all()
        # Five pixels of 7.33 degrees to either side.
        assert axes.get_xlim()[0] == pytest.approx(np.tan(np.radians(5 * 7.329)), rel=1e-3)
        assert axes.images[0].get_clim() == pytest.approx((-1, 1))
        assert not axes.lines
        titles.append(axes.get_title())
    assert titles == ["0 to 0", "0 to 1", "0 to 2", "1 to 0", "1 to 1", "1 to 2"]
    FigureCanvasAgg(figure).draw()


def test_close_ups_in_the_middle_of_a_footprint():
    axes = plot_filters_gnomonic(Bank(PART, 1, 1), ind=None, title=None).axes[0]
    assert axes.get_title() == ""
    assert axes.images[0].get_array()[150, 150] == pytest.approx(1)
    title = axes.figure.get_suptitle()
    # Longitude -36.9 and latitude 53.1 degrees are the middle; pixels are 7.3 degrees wide.
    longitude, latitude = (float(part.split("°")[0].split()[-1]) for part in title.split(",")[1:])
    assert abs(longitude - 323.1) * 0.6 < 5
    assert abs(latitude - 53.1) < 5


def test_graticule_lies_on_round_angles():
    bank = Bank(FULL, 1, 1)
    figure = plot_filters_gnomonic(bank, 5, 300, graticule=True, figsize=(4, 4))
    axes = figure.axes[0]
    assert tuple(figure.get_size_inches()) == (4, 4)
    limits = axes.get_xlim(), axes.get_ylim()
    east, north = np.concatenate([line.get_xydata() for line in axes.lines]).T
    near = np.hypot(east, north) < 1
    longitude, latitude = healpy.pix2ang(8, 300, nest=True, lonlat=True)
    vectors = gnomonic_by_rotation(east[near], north[near], longitude, latitude)
    angles = np.stack(healpy.vec2ang(vectors, lonlat=True)) / 15
    # A quarter of 73 degrees is rounded up to 30 in latitude, to 30 or 45 in longitude.
    assert np.abs(angles - np.round(angles)).min(axis=0).max() < 1e-6
    assert near.sum() > 100
    plain = plot_filters_gnomonic(bank, 5, 300).axes[0]
    assert limits == (plain.get_xlim(), plain.get_ylim())


def gnomonic_by_rotation(east, north, longitude, latitude):
    """Directions seen on a tangent plane, by healpy's rotation of the frame."""
    vectors = np.stack([np.ones_like(east), east, north])
    return healpy.Rotator(rot=(longitude, latitude, 0), inv=True)(vectors).T


def test_titles_of_many_filters_do_not_overlap():
    bank = Bank(Healpix(2), 6, 17)
    assert len(plot_filters_section(bank).axes) == 102
    figure = plot_filters_gnomonic(bank)
    assert len(figure.axes) == 103  # with the color bar
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [axes.title.get_window_extent(canvas.get_renderer()) for axes in figure.axes[:16]]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_filters_need_a_sampling():
    for plot in (plot_filters_gnomonic, plot_filters_section):
        with pytest.raises(ValueError, match="have no shape on the sphere"):
            plot(Bank(None))
    with pytest.raises(ValueError, match="from 0 to 767"):
        plot_filters_gnomonic(Bank(FULL), ind=768)


@pytest.mark.parametrize("plot", [plot_filters_gnomonic, plot_filters_section])
def test_pyplot_knows_of_the_figures(plot):
    figure = plot(Bank(FULL, 1, 1))
    assert figure is plt.gcf()
    assert plt.get_fignums() == [figure.number]
