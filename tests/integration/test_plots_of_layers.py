"""Plots of layers, compared with their responses to an impulse."""

import keras
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from deepsphere.compat import gnn_layers
from deepsphere.graph import Graph, laplacian
from deepsphere.layers import (
    BernsteinConv,
    ChebyshevConv,
    MonomialConv,
    PatchConvTranspose,
    Pool,
    ResidualBlock,
)
from deepsphere.models import Sequential
from deepsphere.plot import (
    plot_filter_coefficients,
    plot_filter_gnomonic,
    plot_filter_responses,
    plot_filter_sections,
)
from deepsphere.plot.filter_layout import choose_pixel
from deepsphere.sampling import Healpix, extend_pixels

ORDER, CHANNELS, FILTERS = 3, 2, 4


@pytest.fixture(scope="module", params=[ChebyshevConv, MonomialConv, BernsteinConv])
def layer(request):
    layer = request.param(FILTERS, ORDER, sampling=Healpix(4), graph=8, name="a_layer")
    layer.build((None, 192, CHANNELS))
    return layer


def impulse(layer, position, channel):
    x = np.zeros((1, len(layer.sampling), CHANNELS), "float32")
    x[0, position, channel] = 1
    return keras.ops.convert_to_numpy(layer(x))[0]


def test_close_ups_show_the_answer_to_an_impulse(layer):
    figure = plot_filter_gnomonic(layer, center=50, width_degrees=40)
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
    figure = plot_filter_sections(layer, center=50, width_degrees=180)
    answer = impulse(layer, 50, 1)
    ring = np.isclose(layer.sampling.points[:, 2], layer.sampling.points[50, 2])
    lines = {line.get_label(): line for line in figure.axes[1].lines}
    drawn = lines["Filter 3"].get_ydata()
    np.testing.assert_allclose(np.sort(drawn), np.sort(answer[ring, 3]), atol=1e-5)


def test_response_at_zero_is_the_gain_of_the_smoothest_mode(layer):
    # The null vector of the Laplacian passes with the factor that is drawn at eigenvalue 0.
    matrix = laplacian(layer.sampling, Graph(8, laplacian="normalized")).toarray()
    values, vectors = np.linalg.eigh(matrix)
    mode = vectors[:, 0]
    assert values[0] == pytest.approx(0, abs=1e-10)
    x = np.zeros((1, len(layer.sampling), CHANNELS), "float32")
    x[0, :, 0] = mode
    gain = keras.ops.convert_to_numpy(layer(x))[0].T @ mode
    lines = {line.get_label(): line for line in plot_filter_responses(layer).axes[0].lines}
    for f in range(FILTERS):
        assert lines[f"Filter {f}"].get_ydata()[0] == pytest.approx(gain[f], abs=1e-5)


def test_coefficients_are_those_of_the_kernel(layer):
    kernel = layer.get_weights()[0].reshape(CHANNELS, ORDER + 1, FILTERS)
    figure = plot_filter_coefficients(layer)
    for channel in range(CHANNELS):
        lines = {line.get_label(): line for line in figure.axes[channel].lines}
        for f in range(FILTERS):
            drawn = lines[f"Filter {f}"].get_ydata()
            np.testing.assert_allclose(drawn, kernel[channel, :, f], atol=1e-7)
    FigureCanvasAgg(figure).draw()


def model_with_a_decoder():
    layers = [
        ChebyshevConv(2, 3, name="first"),
        Pool(name="pool"),
        ResidualBlock(MonomialConv(order=2), name="block"),
        PatchConvTranspose(3, 2, name="up"),
        BernsteinConv(1, 4, name="last"),
    ]
    disc = np.flatnonzero(Healpix(8).points @ [0.48, -0.36, 0.8] > 0.8)
    part = Healpix(8, extend_pixels(disc, 8, 4, nest=True))
    model = Sequential(part, layers, graph=Graph(8, laplacian="random_walk"))
    model.build((None, len(part), CHANNELS))
    return model


PLOTS = (
    plot_filter_coefficients,
    plot_filter_responses,
    plot_filter_sections,
    plot_filter_gnomonic,
)


@pytest.mark.parametrize("plot", PLOTS)
def test_layers_are_given_by_name_index_or_object(plot):
    model = model_with_a_decoder()
    assert " of first" in plot(0, model=model).get_suptitle()
    assert " of block/conv1" in plot("block", model=model).get_suptitle()
    assert " of block/conv2" in plot("block/conv2", model=model).get_suptitle()
    assert " of block/conv1" in plot(model.layers[2]).get_suptitle()
    assert " of last" in plot(-1, model=model).get_suptitle()
    assert " of conv2" in plot(model.layers[2].conv2).get_suptitle()
    with pytest.raises(ValueError, match="pass the model, too"):
        plot("first")
    with pytest.raises(ValueError, match="is a Pool, not a graph convolution"):
        plot("pool", model=model)


def test_close_ups_of_a_decoder_on_a_part_of_the_sphere():
    model = model_with_a_decoder()
    last = model.layers[-1]
    assert last.sampling.nside == 16
    figure = plot_filter_gnomonic("last", model=model)
    position = choose_pixel(last.sampling, None)
    x = np.zeros((1, len(last.sampling), 3), "float32")
    x[0, position, 2] = 1
    answer = keras.ops.convert_to_numpy(last(x))[0, :, 0]
    array = figure.axes[2].images[0].get_array()
    assert array[150, 150] == pytest.approx(answer[position], abs=1e-5)
    seen = np.unique(array.compressed())
    assert len(seen) > 20
    assert np.abs(seen[:, None] - answer).min(axis=1).max() < 1e-5


def test_coefficients_and_response_of_layers_on_a_matrix():
    matrix = laplacian(Healpix(2), Graph(8, laplacian="combinatorial"))
    layer = gnn_layers.Bernstein(matrix, 3, 2, name="on_a_matrix")
    layer.build((None, 48, 1))
    assert "on_a_matrix" in plot_filter_coefficients(layer).get_suptitle()
    line = plot_filter_responses(layer, points=5).axes[0].lines[1]
    assert line.get_xdata()[-1] == pytest.approx(np.linalg.eigvalsh(matrix.toarray())[-1])
    for plot in (plot_filter_sections, plot_filter_gnomonic):
        with pytest.raises(ValueError, match="'on_a_matrix' have no shape on the sphere"):
            plot(layer)
