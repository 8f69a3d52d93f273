"""Where filters are drawn, and what is written beside them."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from deepsphere.plot import (
    plot_filter_coefficients,
    plot_filter_gnomonic,
    plot_filter_responses,
    plot_filter_sections,
)
from deepsphere.plot.filter_layout import choose_pixel, fit_title
from deepsphere.plot.projection import unit_vectors
from deepsphere.plot.style import new_figure
from deepsphere.sampling import Healpix

pytestmark = pytest.mark.usefixtures("numpy_analysis")


def test_titles_say_what_is_left_out(layer):
    for plot in (
        plot_filter_coefficients,
        plot_filter_responses,
        plot_filter_sections,
        plot_filter_gnomonic,
    ):
        figure = plot(layer, max_channels=1, max_filters=2)
        assert "(the first 1 of 2 channels and 2 of 3 filters)" in figure.get_suptitle()
        assert "first" not in plot(layer).get_suptitle()
        FigureCanvasAgg(figure).draw()
    assert len(plot_filter_coefficients(layer, max_channels=1).axes) == 1


def test_long_names_stay_within_the_figure(layer, monkeypatch):
    monkeypatch.setattr(layer, "name", "block_3_residual_2_chebyshev_conv_with_a_long_name")
    for plot in (plot_filter_sections, plot_filter_gnomonic):
        figure = plot(layer, max_channels=1, max_filters=1)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        title = figure._suptitle.get_window_extent(canvas.get_renderer())
        assert title.x0 >= 0
        assert title.x1 <= figure.bbox.width


def test_center_is_a_pixel_or_a_direction(layer):
    by_position = plot_filter_sections(layer, center=17).get_suptitle()
    vector = layer.sampling.points[17]
    longitude = np.degrees(np.arctan2(vector[1], vector[0]))
    latitude = np.degrees(np.arcsin(vector[2]))
    assert (
        plot_filter_sections(layer, center=(longitude + 0.5, latitude)).get_suptitle()
        == by_position
    )


def disc(nside, longitude, latitude, radius):
    """Pixels within some degrees of a direction."""
    axis = unit_vectors(longitude, latitude)
    return np.flatnonzero(Healpix(nside).points @ axis > np.cos(np.radians(radius)))


def angle_to(sampling, position, longitude, latitude):
    cosine = sampling.points[position] @ unit_vectors(longitude, latitude)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


@pytest.mark.parametrize(
    ("pixels", "longitude", "latitude"),
    [
        (disc(16, 200, 50, 20), 200, 50),
        (disc(16, 0, 90, 35), 0, 90),
        (np.union1d(disc(16, 30, 10, 25), disc(16, 150, -40, 12)), 30, 10),  # two patches
        (np.setdiff1d(np.arange(3072), disc(16, 80, 30, 60)), 260, -30),  # all but a hole
    ],
)
def test_filters_are_shown_in_the_middle_of_a_footprint(pixels, longitude, latitude):
    sampling = Healpix(16, pixels)
    position = choose_pixel(sampling, None)
    assert angle_to(sampling, position, longitude, latitude) < 4  # pixels are 3.7 degrees wide


def test_no_pixel_is_farther_from_the_edge_than_the_default(partial):
    points, pixels = partial.sampling.points, partial.sampling.pixels
    missing = np.delete(Healpix(8).points, pixels, axis=0)
    depth = np.arccos((points @ missing.T).max(axis=1))
    chosen = depth[choose_pixel(partial.sampling, None)]
    assert chosen > depth.max() - 0.13  # a pixel: depth is to edge pixels, not beyond them


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("title", ["", "\n", " "])
def test_a_title_without_text(title):
    figure = new_figure(3, 2)
    fit_title(figure, title)
    assert figure.get_suptitle() == title
