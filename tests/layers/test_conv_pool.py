"""Learned downsampling, compared with `SmoothPool`, eigenvectors and rotated maps."""

import keras
import numpy as np
import pytest

from deepsphere.analysis import describe, equivariance_error
from deepsphere.analysis.filters import graph_convolution
from deepsphere.graph import Graph
from deepsphere.layers import ConvPool, PatchConv, Pool, SmoothPool
from deepsphere.models import Sequential
from deepsphere.sampling import Equiangular, Healpix, Icosahedral
from harness import SINGLE, check_layer, relative_error, spectral_truth, to_numpy

SPHERE = Healpix(4)
PART = Healpix(4, np.arange(64))
RANDOM = keras.initializers.TruncatedNormal(stddev=0.3, seed=1)


def data(points, channels=2, batch=3):
    return np.random.default_rng(0).standard_normal((batch, points, channels)).astype(np.float32)


def built(sampling=SPHERE, channels=2, filters=3, **options):
    layer = ConvPool(filters, sampling=sampling, **options)
    layer.build((None, len(sampling), channels))
    return layer


def mixing(layer, channels=2):
    """The matrix between channels: what the kernel does to the largest scale, T_k(-1) = (-1)^k."""
    kernel = to_numpy(layer.kernel).astype(float).reshape(channels, layer.order + 1, -1)
    return np.einsum("ckf,k->cf", kernel, (-1.0) ** np.arange(layer.order + 1))


@pytest.mark.parametrize(
    ("sampling", "options"),
    [
        (SPHERE, {"graph": Graph(laplacian="optimal")}),
        (SPHERE, {"graph": Graph(8, laplacian="combinatorial"), "cutoff": 1.5}),
        (Healpix(8), {"graph": Graph(laplacian="optimal"), "levels": 2}),
        (PART, {"graph": Graph(laplacian="random_walk"), "order": 3}),
        (Icosahedral(2), {"graph": Graph(laplacian="optimal")}),
        (Equiangular(8, 16), {"graph": Graph(edges="mesh", laplacian="combinatorial")}),
    ],
    ids=str,
)
def test_begins_as_smooth_pooling_and_a_dense_layer(sampling, options):
    layer, x = built(sampling, **options), data(len(sampling))
    smooth = SmoothPool(sampling=sampling, mode="area", **options)
    expected = to_numpy(smooth(x)).astype(float) @ mixing(layer)
    assert layer.order == len(smooth.coefficients) - 1
    # The same sums, in another order: channels are mixed before the mean, not after it.
    assert relative_error(layer(x), expected) < SINGLE
    kernel = to_numpy(layer.kernel).reshape(2, layer.order + 1, 3)
    np.testing.assert_allclose(
        kernel, mixing(layer)[:, None] * smooth.coefficients[:, None], rtol=1e-5
    )


def test_with_the_normalized_laplacian_constants_change_a_little():
    layer, x = built(), data(len(SPHERE))
    expected = to_numpy(SmoothPool(sampling=SPHERE, mode="mean")(x)).astype(float) @ mixing(layer)
    assert 1e-3 < relative_error(layer(x), expected) < 0.03  # 2.6 % at one point


def test_the_matrix_between_channels_is_glorot_uniform():
    found = mixing(built(channels=40, filters=20), channels=40)
    limit = np.sqrt(6 / (40 + 20))
    assert 0.95 * limit < np.abs(found).max() < limit * (1 + 1e-5)  # of 800 numbers
    assert found.std() == pytest.approx(limit / np.sqrt(3), rel=0.1)  # rounded: 2.5 % at 1 sigma


@pytest.mark.parametrize("p", [1, 2])
def test_values_of_any_kernel(p):
    layer = built(PART, levels=p, order=3, graph=8, activation="relu", kernel_initializer=RANDOM)
    layer.bias.assign([0.1, -0.2, 0.3])
    x, kernel = data(len(PART)), to_numpy(layer.kernel)
    y = spectral_truth(x, kernel, PART, basis="chebyshev", graph=8, scale=0.75)
    y = y.reshape(3, -1, 4**p, 3).mean(axis=2) + to_numpy(layer.bias)
    assert relative_error(layer(x), np.maximum(y, 0)) < SINGLE


def test_only_observed_points_count():
    layer, x = built(PART, order=3, kernel_initializer=RANDOM), data(len(PART))
    layer.bias.assign([0.1, -0.2, 0.3])
    mask = np.random.default_rng(1).random(x.shape[:2]) < 0.5
    mask[0, :4] = False
    hidden = np.where(mask[..., None], x, 0)
    y = spectral_truth(
        hidden, to_numpy(layer.kernel), PART, basis="chebyshev", graph=20, scale=0.75
    )
    children = mask.reshape(3, -1, 4, 1)
    count = children.sum(axis=2)
    y = (children * y.reshape(3, -1, 4, 3)).sum(axis=2) / np.maximum(count, 1)
    x[~mask] = np.nan
    seen = keras.ops.convert_to_tensor(mask)
    assert relative_error(layer(x, mask=seen), y + to_numpy(layer.bias)) < SINGLE
    np.testing.assert_array_equal(to_numpy(layer.compute_mask(x, seen)), count[..., 0] > 0)


def test_normalizes_the_coarser_points():
    layer, x = built(PART, normalization="batch", use_bias=False), 10 * data(len(PART))
    mask = keras.ops.convert_to_tensor(np.random.default_rng(1).random(x.shape[:2]) < 0.3)
    for options in ({}, {"mask": mask}):
        y = to_numpy(layer(x, training=True, **options))
        if options:
            y = y[to_numpy(layer.compute_mask(x, mask))]
        y = y.reshape(-1, 3)
        np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(y.var(axis=0), 1, rtol=1e-3)  # epsilon: 1e-5, of 1 or so


def test_more_equivariant_than_patches_and_maxima():
    """The field is rectified, so it has scales that the coarser sampling cannot represent."""
    pytest.importorskip("ducc0")
    keras.utils.set_random_seed(0)
    fine, degrees = Healpix(8), [4, 8]

    def error(pool):
        model = Sequential(fine, [keras.layers.ReLU(), pool])
        return equivariance_error(model, fine, degrees, 8, form="rotation").mean

    first = error(ConvPool(16, graph=Graph(laplacian="optimal")))
    trained = error(ConvPool(16, graph=Graph(laplacian="optimal"), kernel_initializer=RANDOM))
    patches = error(PatchConv(16))
    # Measured with eight seeds, at least: 76 and 200 times less than of maxima, 390 and 880 times
    # less than of patches; with any coefficients 25 and 3.8 times.
    assert (first < error(Pool()) / 50).all()
    assert (first < patches / 200).all()
    assert (trained < patches / 3).all()


def test_filter_dropout():
    layer, x = built(PART, channels=1, filters=40, filter_dropout=0.5), data(len(PART), 1)
    factors = to_numpy(layer(x, training=True)) / to_numpy(layer(x))
    assert np.ptp(factors, axis=(0, 1)).max() < 1e-5
    assert set(np.round(factors[0, 0], 3)) == {0, 2}


def test_gates(tmp_path):
    def make():
        return ConvPool(3, sampling=PART, graph=8, activation="tanh")

    check_layer(make, data(len(PART)), tmp_path)


def test_every_option_comes_back():
    options = {
        "filters": 3,
        "order": 2,
        "levels": 2,
        "cutoff": 1.5,
        "scale": 1.0,
        "normalization": "batch",
    }
    options |= {"graph": Graph(9, laplacian="optimal").get_config(), "use_bias": False}
    layer = ConvPool(sampling=SPHERE, kernel_regularizer="l2", **options)
    config = layer.get_config()
    assert {name: config[name] for name in options} == options
    assert ConvPool.from_config(config).get_config() == config
    # An order that was not asked for is that of the resolution.
    assert built().get_config()["order"] is None
    layer(data(len(SPHERE)))
    (penalty,) = layer.losses
    assert float(to_numpy(penalty)) == pytest.approx(
        0.01 * np.sum(to_numpy(layer.kernel) ** 2), rel=1e-5
    )


def test_a_model_gives_its_graph():
    model = Sequential(SPHERE, [ConvPool(3)], graph=Graph(8, laplacian="combinatorial"))
    model.build((None, len(SPHERE), 2))
    (layer,) = model.layers
    assert layer.resolved_graph == Graph(8, laplacian="combinatorial")
    assert model.output_sampling == Healpix(2)
    assert graph_convolution(layer) is layer  # its filters can be looked at
    (row,) = describe(model)
    assert (row.pixels, row.channels) == (48, 3)
    # Both channels go through the series, as they are fewer than the filters.
    products = layer.order * layer.operator.nnz * 2 + 192 * (layer.order + 1) * 2 * 3
    assert row.multiply_adds == products


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"cutoff": 0}, ValueError, r"cutoff must be in \(0, 3\], in units of nside, got 0"),
        ({"order": 0}, ValueError, "order must be at least 1, got 0"),
        ({"order": 1.5}, TypeError, "order must be an integer, got 1.5"),
        ({"levels": 0}, ValueError, "levels must be at least 1, got 0"),
        ({"levels": 3, "sampling": SPHERE}, ValueError, "3"),
        ({"filters": 0}, ValueError, "filters must be at least 1, got 0"),
    ],
)
def test_errors(options, error, match):
    with pytest.raises(error, match=match):
        ConvPool(**options)


def test_depthwise():
    """Each channel equals the output of a one-channel layer with its rows of the kernel."""
    x = np.random.default_rng(0).standard_normal((2, 192, 3)).astype("float32")
    layer = ConvPool(sampling=Healpix(4), order=2, depthwise=True)
    y = to_numpy(layer(x))
    assert y.shape == layer.compute_output_shape(x.shape) == (2, 48, 3)
    for channel in range(3):
        single = ConvPool(1, sampling=Healpix(4), order=2)
        single.build((None, 192, 1))
        single.kernel.assign(to_numpy(layer.kernel)[3 * channel : 3 * channel + 3])
        right = to_numpy(single(x[..., channel : channel + 1]))[..., 0]
        assert relative_error(y[..., channel], right) < SINGLE
