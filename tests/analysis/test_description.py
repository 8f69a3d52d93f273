import keras
import numpy as np
import pytest

from deepsphere.analysis import describe
from deepsphere.compat.healpy_networks import HealpyGCNN
from deepsphere.graph import laplacian
from deepsphere.layers import (
    ChebyshevConv,
    GraphTransformer,
    PatchConv,
    PatchConvTranspose,
    Pool,
    Resample,
    ResidualBlock,
    Statistics,
    SurveyMask,
    TransformerBlock,
    Unpool,
)
from deepsphere.models import Sequential
from deepsphere.sampling import Healpix, Icosahedral
from deepsphere.sampling.resampling import (
    interpolation_matrix,
    pooling_matrix,
    unpooling_matrix,
)

SPHERE = Healpix(8)


def stack(*layers: keras.layers.Layer, sampling: Healpix = SPHERE, channels: int = 1) -> Sequential:
    model = Sequential(sampling, layers, graph=8)
    model.build((None, len(sampling), channels))
    return model


"""Part of the stated radius within which something does change: 0.80 to 1 as measured. The longest
edges of a graph are not in one line, and the pixels inside of a coarse one are in no direction
as far from its center as the farthest."""


def test_rows_tell_resolution_channels_and_parameters():
    model = stack(ChebyshevConv(3, 2, normalization="batch"), Pool(2), Statistics("mean_variance"))
    rows = describe(model)
    assert [row[1:5] for row in rows] == [
        ("ChebyshevConv", SPHERE, 768, 3),
        ("Pool", Healpix(2), 48, 3),
        ("Statistics", None, None, 6),
    ]
    assert [row.nside for row in rows] == [8, 2, None]
    assert [row.parameters for row in rows] == [3 * 3 + 3 + 2 * 3, 0, 0]


@pytest.mark.parametrize(("channels", "filters"), [(2, 5), (5, 2)])
def test_multiply_adds_of_a_graph_convolution(channels, filters):
    model = stack(ChebyshevConv(filters, 3), channels=channels)
    edges = np.count_nonzero(laplacian(SPHERE, 8).toarray())  # with the diagonal
    expected = 3 * edges * min(channels, filters) + 768 * channels * filters * 4
    assert describe(model)[0].multiply_adds == expected


def test_multiply_adds_of_a_depthwise_filter():
    model = stack(ChebyshevConv(order=3, depthwise=True), channels=5)
    edges = np.count_nonzero(laplacian(SPHERE, 8).toarray())
    assert describe(model)[0].multiply_adds == 5 * (3 * edges + 768 * 4)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (PatchConv(5, 2), 768 * 3 * 5),  # each pixel of the patch has a matrix of its own
        (PatchConvTranspose(5, 1), 768 * 4 * 3 * 5),
        (keras.layers.Dense(5), 768 * 3 * 5),
        (keras.layers.Conv1D(5, 4, strides=4), 192 * 4 * 3 * 5),
        (Pool(), 0),
        (keras.layers.BatchNormalization(), 0),
        (TransformerBlock(1, 3), 768 * 4 * 3 * 3 + 2 * 768**2 * 3),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.filterwarnings("ignore:.*does not support masking:UserWarning")  # Keras' Conv1D
def test_multiply_adds_of_other_layers(layer, expected):
    model = stack(SurveyMask(np.ones(768, bool)), layer, channels=3)
    assert describe(model)[-1].multiply_adds == expected


@pytest.mark.parametrize(
    ("layer", "matrix"),
    [
        (Pool(mode="mean"), lambda s: pooling_matrix(s)),
        (Pool(mode="area"), lambda s: pooling_matrix(s, weighted=True)),
        (Unpool(), lambda s: unpooling_matrix(s.refine())),
        (Resample(SPHERE), lambda s: interpolation_matrix(s, SPHERE)),
        (Resample(SPHERE, "bilinear"), lambda s: interpolation_matrix(s, SPHERE, "bilinear")),
    ],
    ids=["mean", "area", "unpool", "conservative", "bilinear"],
)
def test_sparse_maps_cost_their_entries_and_see_as_far(layer, matrix):
    sampling = Icosahedral(3)
    row = describe(stack(layer, sampling=sampling, channels=3))[-1]
    assert row.sampling is not None
    entries = matrix(sampling).tocoo()
    assert row.multiply_adds == 3 * entries.nnz
    points = row.sampling.points
    chords = np.linalg.norm(points[entries.row] - sampling.points[entries.col], axis=1)
    angles = 2 * np.arcsin(chords / 2)
    # Pooling states the largest radius of any family; the others what they reach.
    assert row.receptive_field >= np.degrees(angles.max()) - 1e-6
    if isinstance(layer, Resample):
        assert row.receptive_field == pytest.approx(np.degrees(angles.max()), rel=1e-6)


def test_skipping_missing_values_takes_a_second_product():
    model = stack(Resample(SPHERE, skip_missing=True), sampling=Icosahedral(2))
    expected = 2 * interpolation_matrix(Icosahedral(2), SPHERE).nnz
    assert describe(model)[0].multiply_adds == expected


def test_composite_layers_cost_what_their_parts_cost():
    conv = ChebyshevConv(3, 2)
    one = describe(stack(conv, channels=3))[0]
    block = describe(stack(ResidualBlock(conv, normalization="layer"), channels=3))[0]
    assert block.type == "ResidualBlock"
    assert block.multiply_adds == 2 * one.multiply_adds
    assert block.receptive_field == pytest.approx(2 * one.receptive_field)
    (layer,) = (model := stack(GraphTransformer(3, 2), channels=3)).layers
    pairs, n, width = layer.blocks[0].pattern.nnz, 768, 6
    expected = n * 3 * width + 4 * n * width**2 + 2 * pairs * width
    assert describe(model)[0].multiply_adds == expected


def test_models_in_models_are_opened():
    inner = stack(ChebyshevConv(2, 1, name="conv"), Pool(name="pool"))
    inner.name = "encoder"
    inputs = keras.Input((768, 1))
    model = keras.Model(inputs, keras.layers.Dense(3, name="last")(inner(inputs)))
    rows = describe(model)
    assert [row.name for row in rows] == ["encoder/conv", "encoder/pool", "last"]
    assert rows[-1].sampling == Healpix(4)
    assert sum(row.parameters for row in rows) == model.count_params()
    assert rows[-1].receptive_field == describe(inner)[-1].receptive_field


def test_a_layer_that_is_used_twice_has_its_parameters_once():
    conv = ChebyshevConv(1, 1, sampling=SPHERE, graph=8)
    inputs = keras.Input((768, 1))
    model = keras.Model(inputs, conv(conv(inputs)))
    first, second = describe(model)
    assert (first.parameters, second.parameters) == (model.count_params(), 0)
    assert first.multiply_adds == second.multiply_adds
    assert second.receptive_field == pytest.approx(2 * first.receptive_field)


def test_old_networks_and_loaded_ones(tmp_path):
    layers = [ChebyshevConv(2, 1), Pool()]
    model = HealpyGCNN(8, np.r_[0:64], layers)
    model.build((None, 64, 1))
    model.save(tmp_path / "model.keras")
    rows = describe(keras.models.load_model(tmp_path / "model.keras"))
    assert rows == describe(model)
    assert rows[-1].sampling == Healpix(4, np.r_[0:16])


def test_errors():
    with pytest.raises(TypeError, match="model must be a Keras model, got ChebyshevConv"):
        describe(ChebyshevConv(2))
    with pytest.raises(ValueError, match="is not built: call it once"):
        describe(Sequential(SPHERE, [ChebyshevConv(2)]))
    with pytest.raises(ValueError, match="has no DeepSphere layer"):
        describe(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))
