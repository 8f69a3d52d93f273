"""Filter inspection under the names of deepsphere-cosmo-tf2."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from deepsphere import HealpyGCNN
from deepsphere import healpy_layers as hl
from deepsphere.analysis.filters import filter_coefficients, filter_response, localized_filters
from deepsphere.compat import gnn_layers
from deepsphere.compat.filters import Filters
from deepsphere.graph import laplacian
from deepsphere.plot import plot_filters_gnomonic, plot_filters_section
from deepsphere.sampling import Healpix, extend_pixels
from harness import SINGLE, relative_error, to_numpy

plt.switch_backend("agg")

DISC = extend_pixels(np.flatnonzero(Healpix(8).points @ [0.48, -0.36, 0.8] > 0.8), 8, 4, nest=True)


@pytest.fixture(scope="module", params=["full", "part"])
def model(request):
    indices = DISC if request.param == "part" else np.arange(768)
    layers = [
        hl.HealpyChebyshev(4, 3, name="cheby"),
        hl.HealpyPool(1, name="pool"),
        hl.HealpyBernstein(3, 2, name="bern"),
        hl.Healpy_ResidualLayer("CHEBY", {"K": 3}, use_bn=True, name="res"),
        hl.HealpyPseudoConv_Transpose(2, 2, name="up"),
        hl.HealpyMonomial(3, 1, name="mono"),
    ]
    model = HealpyGCNN(8, indices, layers)
    model.build((None, len(indices), 2))
    return model


@pytest.fixture(autouse=True)
def parameters_are_left_alone():
    before = dict(dict.items(matplotlib.rcParams))
    yield
    assert dict(dict.items(matplotlib.rcParams)) == before
    plt.close("all")


@pytest.mark.parametrize("layer", ["cheby", "bern", "mono"])
def test_filters_evaluate_and_localize(model, layer):
    (filters,) = model.get_gsp_filters(layer)
    conv = model.get_layer(layer)
    inputs, outputs = filter_coefficients(conv).shape[1:]
    assert (filters.n_features_in, filters.n_features_out) == (inputs, outputs)
    assert filters.n_filters == inputs * outputs
    assert filters.sampling == conv.sampling
    assert filters.spectral_bound == conv.spectral_bound
    eigenvalues = np.linspace(0, filters.spectral_bound, 7)
    response = filters.evaluate(eigenvalues)
    assert response.shape == (filters.n_filters, 7)
    shapes = filters.localize(5, order=3)
    assert shapes.shape == (len(conv.sampling), filters.n_filters)
    for i in range(inputs):
        x = np.zeros((1, len(conv.sampling), inputs), np.float32)
        x[0, 5, i] = np.sqrt(len(conv.sampling))
        y = to_numpy(conv(x))[0]
        for o in range(outputs):
            number = i * outputs + o
            expected = filter_response(conv, eigenvalues)[:, i, o]
            np.testing.assert_allclose(response[number], expected)
            assert np.abs(shapes[:, number] - y[:, o]).max() < SINGLE * np.abs(shapes).max()


@pytest.mark.parametrize(
    ("ind", "chosen"),
    [
        (None, [0, 1, 2]),
        (0, [0]),
        (2, [2]),
        (-1, [2]),
        ([0], [0]),
        ([2, 0], [2, 0]),
        (np.array([1, 2]), [1, 2]),
        (np.array([False, True, True]), [1, 2]),
        (range(2), [0, 1]),
        (slice(1, None), [1, 2]),
    ],
)
def test_choice_of_channels(model, ind, chosen):
    (filters,) = model.get_gsp_filters("cheby", ind_in=1, ind_out=ind)
    np.testing.assert_array_equal(filters.ind_out, chosen)
    coefficients = filter_coefficients("cheby", model=model)[:, 1:2][:, :, chosen]
    np.testing.assert_array_equal(filters.coefficients, coefficients)
    expected = localized_filters("cheby", 3, model=model)[:, 1, chosen]
    root = np.sqrt(len(filters.sampling))
    np.testing.assert_allclose(filters.localize(3), root * expected, atol=1e-12)
    (weights,) = model.get_gsp_filters("cheby", 1, ind, return_weights=True)
    np.testing.assert_array_equal(weights, coefficients.transpose(0, 2, 1))


@pytest.mark.parametrize("ind", [3, -4, [0, 3], [], True, [[0, 1]], [0.5], "a"])
def test_no_such_channel(model, ind):
    with pytest.raises(ValueError, match="ind_out must be None or some of the 3 channels, 0 to 2"):
        model.get_gsp_filters("cheby", ind_out=ind)


def test_layers_by_name_index_and_object(model):
    conv = model.layers[0]
    for layer in ("cheby", 0, -6, conv, model.layers_in[0]):
        (filters,) = model.get_gsp_filters(layer)
        np.testing.assert_array_equal(filters.coefficients, filter_coefficients(conv))
    first, second = model.get_gsp_filters("res")
    np.testing.assert_array_equal(
        first.coefficients, filter_coefficients(model.get_layer("res").conv1)
    )
    np.testing.assert_array_equal(
        second.coefficients, filter_coefficients(model.get_layer("res").conv2)
    )
    (only,) = model.get_gsp_filters("res/conv2")
    np.testing.assert_array_equal(only.coefficients, second.coefficients)
    with pytest.raises(
        ValueError, match=r"'pool' is a Pool, not a graph convolution; .*'res/conv2'"
    ):
        model.get_gsp_filters("pool")
    with pytest.raises(ValueError, match="PatchConvTranspose, not a graph convolution"):
        model.get_gsp_filters(4)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("chebyshev", ["cheby"]),
        ("gcnn__residual_layer", ["res/conv1", "res/conv2"]),
        ("chebyshev_2", ["res/conv2"]),
        ("bernstein", ["bern"]),
        ("monomial", ["mono"]),
    ],
)
def test_layers_by_the_names_that_the_old_code_gave(model, old, new):
    for one, name in zip(model.get_gsp_filters(old), new, strict=True):
        (expected,) = model.get_gsp_filters(name)
        np.testing.assert_array_equal(one.coefficients, expected.coefficients)
    assert old in model.plot_chebyshev_coeffs(old).get_title()
    with pytest.raises(ValueError, match="has no layer 'chebyshev_3'"):
        model.get_gsp_filters("chebyshev_3")


def test_filters_are_those_of_their_time():
    layer = gnn_layers.Chebyshev(laplacian(Healpix(1), 8), 3, 2)
    layer.build((None, 12, 1))
    filters = Filters(layer)
    before = filters.evaluate([0.3]), filters.localize(0)
    layer.kernel.assign(2 * to_numpy(layer.kernel))
    np.testing.assert_array_equal(filters.evaluate([0.3]), before[0])
    np.testing.assert_array_equal(filters.localize(0), before[1])
    assert relative_error(Filters(layer).localize(0), 2 * before[1]) < SINGLE


def test_filters_on_a_matrix():
    layer = gnn_layers.Monomial(laplacian(Healpix(1), 8), 3, 2)
    layer.build((None, 12, 1))
    filters = Filters(layer)
    assert filters.sampling is None
    assert filters.localize(3).shape == (12, 2)
    assert len(filters.plot().axes[0].lines) == 2
    for plot in (plot_filters_gnomonic, plot_filters_section):
        with pytest.raises(ValueError, match=r"'monomial.*' have no shape on the sphere"):
            plot(filters)


def test_plot_of_coefficients(model):
    figure = plt.figure(figsize=(6, 4))
    axes = model.plot_chebyshev_coeffs("cheby", ind_out=[0, 2])
    assert figure.axes == [axes]  # in the current figure, as plt.savefig expects
    assert axes.get_title() == "Chebyshev coefficients - layer cheby"
    (weights,) = model.get_gsp_filters("cheby", None, [0, 2], return_weights=True)
    drawn = np.array([line.get_ydata() for line in axes.lines])
    np.testing.assert_array_equal(drawn.T, weights.reshape(4, -1))
    own = Figure().add_subplot()
    assert model.plot_chebyshev_coeffs("res", 0, ax=own, title="of {}") is own
    assert len(own.lines) == 4  # 1 -> 2 channels, twice
    assert len({line.get_marker() for line in own.lines}) == 2
    assert own.get_title() == "of res"
    FigureCanvasAgg(figure).draw()


def test_plot_of_responses(model):
    axes = model.plot_filters_spectral("bern", ind_in=0, n=9)
    assert axes is plt.gca()
    conv = model.get_layer("bern")
    assert axes.get_xlim() == (0, conv.spectral_bound)
    for o, line in enumerate(axes.lines):
        eigenvalues = np.linspace(0, conv.spectral_bound, 9)
        np.testing.assert_allclose(line.get_xdata(), eigenvalues)
        expected = filter_response(conv, eigenvalues)[:, 0, o]
        np.testing.assert_allclose(line.get_ydata(), expected)
        assert line.get_label() == f"0→{o}"
    own = Figure().add_subplot()
    model.plot_filters_spectral("res", 0, [1], ax=own, color="red", title="mine")
    assert [line.get_linestyle() for line in own.lines] == ["-", "--"]
    assert {line.get_color() for line in own.lines} == {"red"}
    assert own.get_title() == "mine"
    FigureCanvasAgg(axes.figure).draw()


def test_plot_of_sections(model):
    (figure,) = model.plot_filters_section("cheby", ind_in=[0], ind_out=[0], title="S {}")
    assert figure is plt.gcf()  # notebooks show it
    assert figure.get_suptitle() == "S 1"
    assert len(figure.axes[0].lines[1].get_xdata()) == 9  # K = 4 pixels to either side
    assert [len(one.axes) for one in model.plot_filters_section("res", figsize=(5, 4))] == [4, 4]
    own = Figure().add_subplot()
    (figure,) = model.plot_filters_section("mono", 0, 0, ax=own)
    assert figure is own.figure
    with pytest.raises(ValueError, match="ax has room for only one filter, got 2"):
        model.plot_filters_section("mono", ax=own)
    with pytest.raises(ValueError, match="choose one of the layers 'res/conv1', 'res/conv2'"):
        model.plot_filters_section("res", 0, 0, ax=own)


def test_plot_of_close_ups(model):
    (figure,) = model.plot_filters_gnomonic("mono", graticule=True, figsize=(3, 5))
    assert figure is plt.gcf()
    assert tuple(figure.get_size_inches()) == (3, 5)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["Filter 0->0", "Filter 1->0"]
    assert figure.axes[0].lines
    first, _ = model.plot_filters_gnomonic("res", [0, 1], 0, ind=0, title=None)
    shapes = model.get_gsp_filters("res", [0, 1], 0)[0].localize(0)
    for number, axes in enumerate(first.axes[:2]):
        assert axes.images[0].get_array()[150, 150] == pytest.approx(shapes[0, number])


def test_panels_have_the_numbers_of_their_channels(model):
    (figure,) = model.plot_filters_gnomonic("cheby", 1, [2, 0])
    assert [axes.get_title() for axes in figure.axes[:2]] == ["Filter 1->2", "Filter 1->0"]
    (figure,) = model.plot_filters_section("cheby", 1, [2, 0])
    assert [axes.get_xlabel() for axes in figure.axes] == ["out map 2", "out map 0"]
    assert figure.axes[0].get_ylabel() == "in map 1"
    plt.figure()
    labels = [line.get_label() for line in model.plot_filters_spectral("cheby", 1, 2).lines]
    assert labels == ["1→2"]
