import keras
import numpy as np
import pytest

from deepsphere.analysis import describe
from deepsphere.analysis.receptive_field import family_radius, longest_edge
from deepsphere.compat.healpy_networks import HealpyGCNN
from deepsphere.graph import laplacian
from deepsphere.layers import (
    BernsteinConv,
    ChebyshevConv,
    ConvPool,
    GaussianSmoothing,
    GraphTransformer,
    MonomialConv,
    PatchConv,
    PatchConvTranspose,
    Pool,
    Resample,
    ResidualBlock,
    SmoothPool,
    Statistics,
    SurveyMask,
    TransformerBlock,
    Unpool,
    VisionTransformer,
)
from deepsphere.models import Sequential
from deepsphere.ops import SparseOperator
from deepsphere.sampling import Healpix, Icosahedral
from deepsphere.sampling.resampling import (
    interpolation_matrix,
    pooling_matrix,
    unpooling_matrix,
)
from harness import to_numpy

SPHERE = Healpix(8)


def branches(sampling: Healpix = SPHERE) -> keras.Model:
    """A small U-Net, whose skip connection sees less far than its coarse level."""
    inputs = keras.Input((len(sampling), 1))
    fine = ChebyshevConv(3, 1, sampling=sampling, graph=8, activation="tanh")(inputs)
    coarse = PatchConv(4, sampling=sampling)(fine)
    coarse = MonomialConv(4, 1, sampling=sampling.coarsen(), graph=4)(coarse)
    up = PatchConvTranspose(3, sampling=sampling.coarsen())(coarse)
    return keras.Model(inputs, keras.layers.Concatenate()([fine, up + 0.5]))


def stack(*layers: keras.layers.Layer, sampling: Healpix = SPHERE, channels: int = 1) -> Sequential:
    model = Sequential(sampling, layers, graph=8)
    model.build((None, len(sampling), channels))
    return model


class Repeat(keras.Model):
    """A subclassed model, without a graph of layers, that uses the survey's mask."""

    def __init__(self):
        super().__init__()
        self.survey = SurveyMask(SPHERE.points[:, 2] < 0.9, sampling=SPHERE)
        self.pool = Pool(1, "mean", sampling=SPHERE)
        self.conv = ChebyshevConv(2, 1, sampling=SPHERE.coarsen(), graph=4)
        self.last = keras.layers.Dense(2)

    def build(self, input_shape):
        self.survey.build(input_shape)
        self.pool.build(input_shape)
        self.conv.build((None, 192, 1))
        self.last.build((None, 768, 2))

    def call(self, x):
        x = self.conv(self.pool(self.survey(x)))
        return self.last(keras.ops.repeat(x, 4, axis=1))


def repeat() -> keras.Model:
    model = Repeat()
    model.build((None, 768, 1))
    return model


CASES = {
    "chebyshev": lambda: stack(ChebyshevConv(2, 3)),
    "bernstein": lambda: stack(BernsteinConv(2, 2)),
    "order 0": lambda: stack(ChebyshevConv(2, 0)),
    "pool": lambda: stack(Pool(2, "mean")),
    "smooth pool": lambda: stack(SmoothPool(1, "mean", order=2)),
    "conv pool": lambda: stack(ConvPool(2, order=2)),
    "patch": lambda: stack(PatchConv(2, 2)),
    "patch transpose": lambda: stack(PatchConvTranspose(2, 1)),
    "smoothing": lambda: stack(GaussianSmoothing(sigma=3, unit="degree", support=3)),
    "graph transformer": lambda: stack(GraphTransformer(3, 2, num_layers=2)),
    "residual": lambda: stack(ResidualBlock(ChebyshevConv(order=1)), keras.layers.ReLU()),
    "stack": lambda: stack(ChebyshevConv(2, 2), Pool(1, "mean"), ChebyshevConv(2, 1)),
    "branches": branches,
    "part of the sphere": lambda: branches(Healpix(8, np.r_[0:256])),
    "class of its own": repeat,
}

LEAST = 0.75
"""Part of the stated radius within which something does change: 0.80 to 1 as measured. The longest
edges of a graph are not in one line, and the pixels inside of a coarse one are in no direction
as far from its center as the farthest."""


def reach(model: keras.Model, fine: Healpix, coarse: Healpix) -> float:
    """Measure how far from a changed pixel of the input the output changes, in degrees."""
    n = len(fine)
    changed = np.unique(np.linspace(0, n - 1, 150).astype(int))
    x = np.random.default_rng(0).standard_normal((len(changed), n, 1)).astype(np.float32)
    before = to_numpy(model(x))
    x[np.arange(len(changed)), changed] += 100
    found = (to_numpy(model(x)) != before).any(axis=2)  # all else is computed alike
    cosines = fine.points[changed] @ coarse.points.T
    return float(np.degrees(np.arccos(np.clip(cosines[found].min(), -1, 1))))


@pytest.mark.parametrize("name", CASES)
def test_nothing_changes_outside_of_the_receptive_field(name):
    model = CASES[name]()
    rows = describe(model)
    stated = rows[-1].receptive_field
    assert stated < 180
    fine = next(layer.sampling for layer in model._flatten_layers() if hasattr(layer, "sampling"))
    measured = reach(model, fine, rows[-1].sampling)
    assert LEAST * stated <= measured <= stated * (1 + 1e-6) + 1e-2  # 1e-2: of acos near 1


@pytest.mark.parametrize(
    "layer",
    [
        Statistics(),
        keras.layers.GlobalAveragePooling1D(),
        keras.layers.Conv1D(2, 3, padding="same"),
        keras.layers.LayerNormalization(axis=(1, 2)),
        TransformerBlock(1, 1),
        VisionTransformer(2, 1, levels=1),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_that_mix_all_pixels_see_the_whole_sphere(layer):
    assert describe(stack(Pool(), layer))[-1].receptive_field == np.inf


def test_a_field_of_more_than_the_sphere_is_the_whole_sphere():
    model = stack(ChebyshevConv(2, 20))
    assert describe(model)[0].receptive_field == np.inf


def test_longest_edge_is_that_of_the_dense_graph():
    matrix = laplacian(SPHERE, 8)
    angles = np.degrees(np.arccos(np.clip(SPHERE.points @ SPHERE.points.T, -1, 1)))
    expected = angles[(matrix.toarray() != 0) & ~np.eye(768, dtype=bool)].max()
    found = longest_edge(SparseOperator(matrix), SPHERE.points)
    assert np.degrees(found) == pytest.approx(expected, rel=1e-6)


def test_family_radius_is_that_of_healpy():
    healpy = pytest.importorskip("healpy")
    children = np.arange(768)
    parents = np.array(healpy.pix2vec(2, children // 16, nest=True)).T
    angles = np.arccos(np.sum(SPHERE.points * parents, axis=1))
    assert family_radius(SPHERE, Healpix(2)) == pytest.approx(angles.max(), rel=1e-6)


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
