import keras
import numpy as np
import pytest

from deepsphere.analysis.filters import (
    filter_coefficients,
    filter_response,
    graph_convolution,
    graph_convolutions,
    localized_filters,
    spectral_bound,
)
from deepsphere.compat import gnn_layers
from deepsphere.graph import Graph, laplacian
from deepsphere.graph.spec import LAPLACIANS
from deepsphere.layers import (
    BernsteinConv,
    ChebyshevConv,
    MonomialConv,
    PatchConvTranspose,
    Pool,
    ResidualBlock,
)
from deepsphere.models import Sequential
from deepsphere.sampling import Healpix
from harness import SINGLE, relative_error, to_numpy

PART = Healpix(4, np.r_[0:16, 32:64])


def built(cls, **arguments):
    layer = cls(3, 4, sampling=PART, use_bias=False, **{"graph": 8, **arguments})
    layer.build((None, len(PART), 2))
    return layer


@pytest.mark.parametrize("cls", [ChebyshevConv, MonomialConv, BernsteinConv])
@pytest.mark.parametrize("scale", [0.75, 1.0])
@pytest.mark.parametrize("kind", LAPLACIANS)
def test_response_multiplies_eigenvectors(cls, scale, kind):
    layer = built(cls, scale=scale, graph=Graph(8, laplacian=kind))
    matrix = laplacian(PART, Graph(8, laplacian=kind)).toarray()
    values, vectors = (part.real for part in np.linalg.eig(matrix))  # random_walk: not symmetric
    assert np.abs(matrix @ vectors - vectors * values).max() < 1e-9
    # Optimal weights are not symmetric: the bound is that of the symmetric part.
    above = 0.02 if kind == "optimal" else 1e-6
    assert values.max() * (1 - 1e-6) <= spectral_bound(layer) <= values.max() * (1 + above)
    response = filter_response(layer, values)
    for i in (np.argmin(values), 20, np.argmax(values)):
        x = np.zeros((1, len(PART), 2), np.float32)
        x[0, :, 1] = vectors[:, i]
        expected = vectors[:, i, None] * response[i, 1]
        # Where a response nearly vanishes, what is left of the terms' rounding counts.
        size = np.abs(filter_coefficients(layer)[:, 1]).sum() * np.abs(vectors[:, i]).max()
        assert np.abs(to_numpy(layer(x)[0]) - expected).max() < SINGLE * size


def test_response_of_a_decoder_follows_its_own_resolution():
    layer = ChebyshevConv(1, 4, graph=8, use_bias=False, name="fine")
    model = Sequential(PART, [PatchConvTranspose(1, 1), layer])
    model.build((None, len(PART), 1))
    fine = PART.refine(1)
    values, vectors = np.linalg.eigh(laplacian(fine, 8).toarray())
    response = filter_response("fine", values, model=model)[:, 0, 0]
    y = to_numpy(model.layers[1](vectors[None, :, 5:6].astype(np.float32)))[0, :, 0]
    assert y @ vectors[:, 5] == pytest.approx(response[5], abs=1e-5)
    assert localized_filters(-1, 3, model=model).shape == (len(fine), 1, 1)


@pytest.mark.parametrize("cls", [ChebyshevConv, MonomialConv, BernsteinConv])
def test_localized_filters_are_responses_to_impulses(cls):
    layer = built(cls)
    filters = localized_filters(layer, 7)
    assert filters.shape == (len(PART), 2, 3)
    for channel in range(2):
        x = np.zeros((1, len(PART), 2), np.float32)
        x[0, 7, channel] = 1
        assert relative_error(layer(x)[0], filters[:, channel]) < SINGLE


def test_coefficients():
    layer = built(MonomialConv)
    kernel = to_numpy(layer.kernel)
    coefficients = filter_coefficients(layer)
    assert coefficients.shape == (5, 2, 3)
    for channel in range(2):
        for k in range(5):
            np.testing.assert_array_equal(coefficients[k, channel], kernel[channel * 5 + k])


def network():
    return Sequential(
        PART,
        [
            Pool(name="pool"),
            ResidualBlock(ChebyshevConv(order=2, normalization="batch"), name="block"),
            MonomialConv(3, order=1, name="mono"),
            keras.layers.Dense(1, name="dense"),
        ],
        name="network",
    )


@pytest.fixture(scope="module")
def model():
    model = network()
    model.build((None, len(PART), 2))
    return model


def test_layers_by_name_index_and_object(model):
    _, block, mono, _ = model.layers
    assert graph_convolution("mono", model) is mono
    assert graph_convolution(2, model) is graph_convolution(-2, model) is mono
    assert graph_convolution(np.int64(1), model) is block.conv1
    assert graph_convolution(mono) is graph_convolution(mono, model) is mono
    for layer in ("block", "block/conv1", 1, block, block.conv1):
        assert graph_convolution(layer, model) is block.conv1
    assert graph_convolution("block/conv2", model) is block.conv2
    assert graph_convolution(block.conv2) is block.conv2
    assert graph_convolution(model) is block.conv1  # the first of all
    assert graph_convolution("conv2", block) is block.conv2
    expected = {"block/conv1": block.conv1, "block/conv2": block.conv2}
    assert graph_convolutions("block", model) == graph_convolutions(block) == expected
    assert list(graph_convolutions("block", model)) == list(expected)
    assert list(graph_convolutions("block/conv2", model)) == ["block/conv2"]


def test_index_zero_is_an_index():
    first = built(ChebyshevConv)
    model = keras.Sequential([keras.Input((len(PART), 2)), first])
    assert graph_convolution(0, model) is first


def test_layers_of_nested_and_functional_models(model):
    inputs = keras.Input((len(PART), 2))
    encoder = Sequential(PART, [ChebyshevConv(2, 1, name="conv")], name="encoder")
    outer = keras.Model(inputs, model(encoder(inputs)))
    assert graph_convolution("encoder", outer) is encoder.layers[0]
    assert graph_convolution("encoder/conv", outer) is encoder.layers[0]
    assert graph_convolution("network/block/conv2", outer) is model.layers[1].conv2
    assert graph_convolution(-1, outer) is model.layers[1].conv1
    with pytest.raises(ValueError, match="layer 0 is a InputLayer, not a graph convolution; its"):
        graph_convolution(0, outer)


def test_layers_given_to_a_model_are_its_own():
    block = ResidualBlock(ChebyshevConv(order=2), name="block")
    model = Sequential(PART, [block])
    with pytest.raises(ValueError, match="'block/conv1' has no weights yet"):
        graph_convolution(block)
    model.build((None, len(PART), 2))
    assert graph_convolution(block, model) is block.conv1
    assert graph_convolution(block) is block.conv1


def test_all_functions_take_names_and_indices(model):
    mono = model.layers[2]
    for layer in ("mono", 2):
        np.testing.assert_array_equal(
            filter_coefficients(layer, model=model), filter_coefficients(mono)
        )
        assert spectral_bound(layer, model=model) == spectral_bound(mono)
        np.testing.assert_array_equal(
            filter_response(layer, [0.3], model=model), filter_response(mono, [0.3])
        )
        np.testing.assert_array_equal(
            localized_filters(layer, 2, model=model), localized_filters(mono, 2)
        )


def test_layers_on_a_matrix():
    matrix = laplacian(PART, Graph(8, laplacian="combinatorial"))
    layer = gnn_layers.Chebyshev(matrix, 5, 3)
    layer.build((None, len(PART), 2))
    values, vectors = np.linalg.eigh(matrix.toarray())
    assert spectral_bound(layer) == pytest.approx(values[-1])
    response = filter_response(layer, values)
    expected = np.einsum("pn,nio->pio", vectors * vectors[7], response)
    assert relative_error(localized_filters(layer, 7), expected) < 1e-9


def test_no_such_layer(model):
    every = "its graph convolutions are 'block/conv1', 'block/conv2', 'mono'"
    with pytest.raises(ValueError, match=f"'network' has no layer 'bloc'; {every}"):
        graph_convolution("bloc", model)
    with pytest.raises(
        ValueError, match=f"from 0 to 3 in 'network', or from -4 to -1; got 4; {every}"
    ):
        graph_convolution(4, model)
    with pytest.raises(ValueError, match="got -5"):
        graph_convolution(-5, model)
    with pytest.raises(ValueError, match=f"'pool' is a Pool, not a graph convolution; {every}"):
        graph_convolution("pool", model)
    with pytest.raises(ValueError, match="layer 3 is a Dense, not a graph convolution"):
        graph_convolution(3, model)
    with pytest.raises(ValueError, match="it has no graph convolution"):
        graph_convolution("a", keras.Sequential([keras.layers.Dense(1)]))
    for layer in ("mono", 0):
        with pytest.raises(ValueError, match=f"{layer!r} is a name or an index: pass the model"):
            graph_convolution(layer)
    for layer in (None, True, 1.0, ["mono"]):
        with pytest.raises(TypeError, match="must be a layer, its name or its index"):
            graph_convolution(layer, model)
    with pytest.raises(TypeError, match="model must be a Keras model, got str"):
        graph_convolution("mono", "network")
    with pytest.raises(ValueError, match="'block/conv1' has no weights yet"):
        graph_convolution("block", network())


def test_errors():
    with pytest.raises(TypeError, match="must be a graph convolution, got Pool"):
        filter_coefficients(Pool(sampling=PART))
    with pytest.raises(ValueError, match="has no weights yet"):
        filter_coefficients(ChebyshevConv(3, sampling=PART))
    with pytest.raises(ValueError, match="position must be from 0 to 47, got 48"):
        localized_filters(built(ChebyshevConv), 48)
