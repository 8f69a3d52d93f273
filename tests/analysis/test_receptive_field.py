"""How far a layer sees."""

import keras
import numpy as np
import pytest

from deepsphere.analysis import describe
from deepsphere.analysis.receptive_field import family_radius, longest_edge
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
    ResidualBlock,
    SmoothPool,
    Statistics,
    SurveyMask,
    TransformerBlock,
    VisionTransformer,
)
from deepsphere.models import Sequential
from deepsphere.ops import SparseOperator
from deepsphere.sampling import Healpix
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
