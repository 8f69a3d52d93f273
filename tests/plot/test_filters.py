import numpy as np
import pytest

from deepsphere.plot import (
    plot_filter_coefficients,
    plot_filter_gnomonic,
    plot_filter_responses,
    plot_filter_sections,
)
from deepsphere.plot.filter_layout import choose_pixel, ring_section
from deepsphere.plot.projection import unit_vectors
from deepsphere.sampling import Healpix
from numpy_filters import NumpyFilters

pytestmark = pytest.mark.usefixtures("numpy_analysis")


def curves(axes):
    """The lines of filters in some axes, by label, without the line at zero."""
    return {
        line.get_label(): line.get_xydata()
        for line in axes.lines
        if line.get_label().startswith("Filter")
    }


def test_coefficients_are_drawn_over_the_degree(layer):
    figure = plot_filter_coefficients(layer)
    assert figure.get_suptitle() == "Filter coefficients of some_layer"
    assert figure.get_supxlabel() == "Polynomial degree k"
    assert [axes.get_title() for axes in figure.axes] == ["Channel 0", "Channel 1"]
    for channel, axes in enumerate(figure.axes):
        lines = curves(axes)
        assert list(lines) == ["Filter 0", "Filter 1", "Filter 2"]
        for f, line in enumerate(lines.values()):
            expected = np.column_stack([np.arange(4), layer.coefficients[:, channel, f]])
            np.testing.assert_array_equal(line, expected)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["Filter 0", "Filter 1", "Filter 2"]


def test_spectral_response_reaches_over_the_whole_spectrum(layer):
    figure = plot_filter_responses(layer, points=33)
    assert figure.get_supxlabel() == "Laplacian eigenvalue λ"
    line = curves(figure.axes[1])["Filter 2"]
    assert line[0, 0] == 0
    assert line[-1, 0] == layer.spectral_bound
    assert len(line) == 33
    # Chebyshev polynomials are (-1)^k at the lower end of their interval and 1 at the upper.
    signs = (-1.0) ** np.arange(4)
    assert line[0, 1] == pytest.approx(signs @ layer.coefficients[:, 1, 2])
    assert line[-1, 1] == pytest.approx(layer.coefficients[:, 1, 2].sum())


def test_section_runs_along_the_equator(layer):
    figure = plot_filter_sections(layer, width_degrees=90)
    line = curves(figure.axes[0])["Filter 1"]
    # The equator has 4 nside pixels, 360 / 32 degrees apart; one of them is opposite.
    steps = np.arange(-15, 17)
    np.testing.assert_allclose(line[:, 0], 11.25 * steps, atol=1e-6)
    kernel = layer.localized(int(np.argmax(layer.sampling.points @ _equator(11.25 / 2))))
    for step, value in zip(steps, line[:, 1], strict=True):
        position = int(np.argmax(layer.sampling.points @ _equator(11.25 / 2 + 11.25 * step)))
        assert value == pytest.approx(kernel[position, 0, 1])
    assert figure.axes[0].get_xlim() == (-45, 45)
    assert figure.get_suptitle().endswith("at longitude 5.6°, latitude 0.0°")
    assert "deg" in figure.get_supxlabel()


def _equator(longitude):
    angle = np.radians(longitude)
    return np.array([np.cos(angle), np.sin(angle), 0.0])


def test_section_on_a_part_of_the_sphere(partial):
    points = partial.sampling.points
    middle = int(np.argmax(points @ points.mean(axis=0)))
    line = curves(plot_filter_sections(partial, center=middle).axes[1])["Filter 0"]
    ring = np.isclose(points[:, 2], points[middle, 2])
    assert len(line) == ring.sum()
    kernel = partial.localized(middle)[:, 1, 0]
    np.testing.assert_allclose(np.sort(line[:, 1]), np.sort(kernel[ring]), atol=1e-12)
    # Distances along great circles: less than the steps along the parallel, 11.25 cos(latitude).
    steps = np.sort(np.degrees(np.arccos(np.clip(points[ring] @ points[middle], -1, 1))))
    np.testing.assert_allclose(np.sort(np.abs(line[:, 0])), steps, atol=1e-5)
    centered = line[line[:, 0] == 0, 1]
    assert centered == pytest.approx(kernel[middle])
    # East is positive: the eastern neighbor's value stands to the right of the center.
    longitudes = np.arctan2(points[:, 1], points[:, 0])
    east = np.flatnonzero(ring & (longitudes > longitudes[middle] + 1e-9))
    nearest = east[np.argmin(longitudes[east])]
    assert line[line[:, 0] > 0][0, 1] == pytest.approx(kernel[nearest])


def test_default_range_fits_the_filter(layer):
    kernels = layer.localized(100)
    points = layer.sampling.points
    felt = np.abs(kernels).max(axis=(1, 2)) >= 0.01 * np.abs(kernels).max()
    reach = np.degrees(np.arccos(np.clip(points[felt] @ points[100], -1, 1)).max())
    half = plot_filter_sections(layer, center=100).axes[0].get_xlim()[1]
    pixel = np.degrees(np.sqrt(4 * np.pi / len(points)))
    assert half == pytest.approx(min(1.1 * reach, 9 * pixel), rel=1e-6)


def disc(nside, longitude, latitude, radius):
    """Pixels within some degrees of a direction."""
    axis = unit_vectors(longitude, latitude)
    return np.flatnonzero(Healpix(nside).points @ axis > np.cos(np.radians(radius)))


def test_sections_run_from_west_to_east():
    for sampling in (Healpix(4), Healpix(8, disc(8, 200, 50, 40))):
        position = choose_pixel(sampling, None)
        ring, offsets = ring_section(sampling, position)
        z = sampling.points[:, 2]
        np.testing.assert_array_equal(np.sort(ring), np.flatnonzero(np.isclose(z, z[position])))
        assert (np.diff(offsets) > 0).all()
        longitudes = np.degrees(np.arctan2(*sampling.points[ring, 1::-1].T))
        own = longitudes[ring == position]
        steps = (longitudes - own + 180) % 360 - 180
        assert (np.sign(np.round(steps, 6)) == np.sign(np.round(offsets, 6)))[1:-1].all()


def test_layers_on_no_sampling_have_no_shape_on_the_sphere(layer, monkeypatch):
    monkeypatch.setattr(layer, "sampling", None)
    for plot in (plot_filter_sections, plot_filter_gnomonic):
        with pytest.raises(ValueError, match="'some_layer' have no shape on the sphere"):
            plot(layer)


def test_wrong_arguments_are_named(layer):
    with pytest.raises(ValueError, match="max_channels must be from 1"):
        plot_filter_coefficients(layer, max_channels=0)
    with pytest.raises(ValueError, match="max_filters must be from 1 to 8"):
        plot_filter_responses(layer, max_filters=9)
    with pytest.raises(ValueError, match="points must be at least 2, got 1"):
        plot_filter_responses(layer, points=1)
    with pytest.raises(TypeError, match=r"points must be an integer, got 2\.5"):
        plot_filter_responses(layer, points=2.5)
    with pytest.raises(ValueError, match="width_degrees must be above 0"):
        plot_filter_sections(layer, width_degrees=0)
    with pytest.raises(ValueError, match="at most 150, got 200"):
        plot_filter_gnomonic(layer, width_degrees=200)
    with pytest.raises(ValueError, match="from 0 to 767"):
        plot_filter_gnomonic(layer, center=768)
    with pytest.raises(ValueError, match="gamma must be above 0 and at most 1, got 2"):
        plot_filter_gnomonic(layer, gamma=2)
    layer = NumpyFilters(Healpix(1))
    layer.sampling = "a sphere"
    with pytest.raises(TypeError, match="HEALPix sampling, got 'a sphere'"):
        plot_filter_sections(layer)
