import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from numpy.polynomial.chebyshev import chebval

from deepsphere.graph import Graph, spectral
from deepsphere.plot import (
    filters,
    plot_filter_coefficients,
    plot_filter_gnomonic,
    plot_filter_responses,
    plot_filter_sections,
)
from deepsphere.plot.filter_close_ups import round_ticks
from deepsphere.plot.filter_layout import choose_pixel, fit_title, ring_section
from deepsphere.plot.projection import gnomonic_plane, gnomonic_vectors, unit_vectors
from deepsphere.plot.style import new_figure
from deepsphere.sampling import Healpix


class Layer:
    """Chebyshev filters in NumPy, as the analysis functions return them."""

    name = "some_layer"

    def __init__(self, sampling, order=3, channels=2, filters=3):
        self.sampling = sampling
        shape = (order + 1, channels, filters)
        self.coefficients = np.random.default_rng(0).normal(size=shape)
        laplacian, self.spectral_bound = spectral(sampling, Graph(8, laplacian="normalized"))
        self.modes = np.linalg.eigh(laplacian.toarray())

    def response(self, eigenvalues, coefficients):
        points = 2 * eigenvalues / self.spectral_bound - 1
        return np.moveaxis(chebval(points, coefficients), -1, 0)

    def localized(self, position, coefficients=None):
        coefficients = self.coefficients if coefficients is None else coefficients
        values, vectors = self.modes
        response = self.response(values, coefficients)
        return np.tensordot(vectors * vectors[position], response, axes=1)


@pytest.fixture(autouse=True)
def analysis(monkeypatch):
    fakes = {
        "graph_convolutions": lambda layer, model: {layer.name: layer},
        "filter_coefficients": lambda layer: layer.coefficients,
        "response_of": lambda coefficients, layer, values: layer.response(values, coefficients),
        "localize": lambda coefficients, layer, position: layer.localized(position, coefficients),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(filters, name, fake)


@pytest.fixture(scope="module")
def layer():
    return Layer(Healpix(8))


@pytest.fixture(scope="module")
def partial():
    full = Healpix(8)
    pixels = np.flatnonzero(full.points @ [0.48, -0.36, 0.8] > 0.8)
    return Layer(Healpix(8, pixels))


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


@pytest.mark.parametrize("shared", [True, False])
def test_close_ups_are_a_grid_on_symmetric_colors(layer, shared):
    figure = plot_filter_gnomonic(layer, shared_scale=shared, center=100)
    panels = figure.axes[:6]
    assert len(figure.axes) == (7 if shared else 6)
    kernels = layer.localized(100)
    for index, axes in enumerate(panels):
        channel, f = divmod(index, 3)
        image = axes.images[0]
        low, high = image.get_clim()
        assert low == -high
        peak = np.abs(kernels if shared else kernels[:, channel, f]).max()
        assert high == pytest.approx(peak)
        array = image.get_array()
        center = array[array.shape[0] // 2, array.shape[1] // 2]
        assert center == pytest.approx(kernels[100, channel, f])
        assert image.norm(0.0) == pytest.approx(0.5)  # zero is the middle of the color map
        assert axes.xaxis_inverted()
    assert [axes.get_title() for axes in panels[:3]] == ["Filter 0", "Filter 1", "Filter 2"]
    assert panels[3].get_ylabel() == "Channel 1\nNorth (deg)"
    assert [axes.get_xlabel() for axes in panels[3:]] == ["East (deg)"] * 3
    if shared:
        ticks = figure.axes[6].get_yticks()
        assert list(ticks) == sorted(ticks)
        assert max(ticks) <= peak
        assert figure.axes[6].get_ylabel() == "Filter value"
    else:
        assert panels[0].texts[0].get_text() == f"±{np.abs(kernels[:, 0, 0]).max():.2g}"


def test_depth_of_color_follows_gamma(layer):
    peak = np.abs(layer.localized(100)).max()
    square_root = plot_filter_gnomonic(layer, center=100).axes[0].images[0].norm
    linear = plot_filter_gnomonic(layer, center=100, gamma=1.0).axes[0].images[0].norm
    assert square_root(0.25 * peak) == pytest.approx(0.75)
    assert square_root(-0.25 * peak) == pytest.approx(0.25)
    assert linear(0.25 * peak) == pytest.approx(0.625)


def test_close_ups_are_blank_outside_of_the_footprint(partial):
    figure = plot_filter_gnomonic(partial, width_degrees=120)
    array = figure.axes[0].images[0].get_array()
    assert array.mask[0, 0]
    assert not array.mask[array.shape[0] // 2, array.shape[1] // 2]


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


def test_default_range_fits_the_filter(layer):
    kernels = layer.localized(100)
    points = layer.sampling.points
    felt = np.abs(kernels).max(axis=(1, 2)) >= 0.01 * np.abs(kernels).max()
    reach = np.degrees(np.arccos(np.clip(points[felt] @ points[100], -1, 1)).max())
    half = plot_filter_sections(layer, center=100).axes[0].get_xlim()[1]
    pixel = np.degrees(np.sqrt(4 * np.pi / len(points)))
    assert half == pytest.approx(min(1.1 * reach, 9 * pixel), rel=1e-6)


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


@pytest.mark.parametrize("gamma", [0.3, 0.5, 1.0])
@pytest.mark.parametrize("peak", [1.0, 1.49, 1.8, 0.0187, 99.0, 5e-7])
def test_ticks_are_round_and_apart(peak, gamma):
    ticks = np.array(round_ticks(peak, gamma))
    assert len(ticks) == 7
    np.testing.assert_allclose(ticks, -ticks[::-1])
    assert ticks[-1] <= peak * (1 + 1e-9)
    colors = np.sign(ticks) * (np.abs(ticks) / peak) ** gamma
    assert np.diff(colors).min() > 0.1  # of a half of the bar
    digits = ticks[4:] / 10 ** np.floor(np.log10(ticks[4:]) + 1e-9)
    np.testing.assert_allclose(2 * digits, np.round(2 * digits), atol=1e-9)


def test_tangent_plane_and_back():
    rng = np.random.default_rng(5)
    east, north = rng.uniform(-2, 2, (2, 50))
    for longitude, latitude in [(0, 0), (123, -40), (10, 90)]:
        vectors = gnomonic_vectors(east, north, longitude, latitude)
        np.testing.assert_allclose(gnomonic_plane(vectors, longitude, latitude), [east, north])
        assert np.isnan(gnomonic_plane(-vectors, longitude, latitude)).all()


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
    layer = Layer(Healpix(1))
    layer.sampling = "a sphere"
    with pytest.raises(TypeError, match="HEALPix sampling, got 'a sphere'"):
        plot_filter_sections(layer)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("title", ["", "\n", " "])
def test_a_title_without_text(title):
    figure = new_figure(3, 2)
    fit_title(figure, title)
    assert figure.get_suptitle() == title
