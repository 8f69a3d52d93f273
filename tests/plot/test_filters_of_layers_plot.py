"""Pictures of real layers against what those layers do to an impulse."""

import keras
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from deepsphere.graph import laplacian
from deepsphere.layers import BernsteinConv, ChebyshevConv, MonomialConv
from deepsphere.plot import (
    plot_coefficients,
    plot_gnomonic_filters,
    plot_sections,
    plot_spectral,
)
from deepsphere.sampling import Healpix

ORDER, CHANNELS, FILTERS = 3, 2, 4


@pytest.fixture(scope="module", params=[ChebyshevConv, MonomialConv, BernsteinConv])
def layer(request):
    layer = request.param(FILTERS, ORDER, Healpix(4), neighbors=8, name="a_layer")
    layer.build((None, 192, CHANNELS))
    return layer


def impulse(layer, position, channel):
    x = np.zeros((1, len(layer.sampling), CHANNELS), "float32")
    x[0, position, channel] = 1
    return keras.ops.convert_to_numpy(layer(x))[0]


def test_close_ups_show_the_answer_to_an_impulse(layer):
    figure = plot_gnomonic_filters(layer, center=50, width_degrees=40)
    for channel in range(CHANNELS):
        answer = impulse(layer, 50, channel)
        for f in range(FILTERS):
            array = figure.axes[channel * FILTERS + f].images[0].get_array()
            # The layer works in float32, of values up to about 1.
            assert array[150, 150] == pytest.approx(answer[50, f], abs=1e-5)
            seen = np.unique(array.compressed())
            assert len(seen) > 5
            assert np.abs(seen[:, None] - answer[:, f]).min(axis=1).max() < 1e-5


def test_sections_show_the_answer_to_an_impulse(layer):
    figure = plot_sections(layer, center=50, width_degrees=180)
    answer = impulse(layer, 50, 1)
    ring = np.isclose(layer.sampling.points[:, 2], layer.sampling.points[50, 2])
    lines = {line.get_label(): line for line in figure.axes[1].lines}
    drawn = lines["Filter 3"].get_ydata()
    np.testing.assert_allclose(np.sort(drawn), np.sort(answer[ring, 3]), atol=1e-5)


def test_response_at_zero_is_the_gain_of_the_smoothest_mode(layer):
    # The null vector of the Laplacian passes with the factor that is drawn at eigenvalue 0.
    matrix = laplacian(layer.sampling, 8, "normalized").toarray()
    values, vectors = np.linalg.eigh(matrix)
    mode = vectors[:, 0]
    assert values[0] == pytest.approx(0, abs=1e-10)
    x = np.zeros((1, len(layer.sampling), CHANNELS), "float32")
    x[0, :, 0] = mode
    gain = keras.ops.convert_to_numpy(layer(x))[0].T @ mode
    lines = {line.get_label(): line for line in plot_spectral(layer).axes[0].lines}
    for f in range(FILTERS):
        assert lines[f"Filter {f}"].get_ydata()[0] == pytest.approx(gain[f], abs=1e-5)


def test_coefficients_are_those_of_the_kernel(layer):
    kernel = layer.get_weights()[0].reshape(CHANNELS, ORDER + 1, FILTERS)
    figure = plot_coefficients(layer)
    for channel in range(CHANNELS):
        lines = {line.get_label(): line for line in figure.axes[channel].lines}
        for f in range(FILTERS):
            drawn = lines[f"Filter {f}"].get_ydata()
            np.testing.assert_allclose(drawn, kernel[channel, :, f], atol=1e-7)
    FigureCanvasAgg(figure).draw()
