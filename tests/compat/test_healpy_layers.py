"""Old layer names: their signatures, the layers they create, and the old outputs."""

import inspect
from pathlib import Path

import healpy as hp
import keras
import numpy as np
import pytest

import deepsphere.compat.healpy_layers as compat
from deepsphere import HealpyGCNN
from deepsphere import healpy_layers as hl
from deepsphere.graph import Graph, laplacian
from deepsphere.layers import (
    BernsteinConv,
    ChebyshevConv,
    GaussianSmoothing,
    MonomialConv,
    PatchConv,
    PatchConvTranspose,
    Pool,
    ResidualBlock,
)
from deepsphere.sampling import Healpix
from harness import to_numpy

GOLDEN = Path(__file__).parents[1] / "golden" / "layers.npz"
CONVOLUTIONS = [
    (hl.HealpyChebyshev, ChebyshevConv, -1),
    (hl.HealpyMonomial, MonomialConv, -1),
    (hl.HealpyBernstein, BernsteinConv, 0),
]


@pytest.mark.parametrize("make", [case[0] for case in CONVOLUTIONS])
def test_signature_of_convolutions(make):
    parameters = inspect.signature(make).parameters
    assert list(parameters) == [
        *("K", "Fout", "initializer", "activation", "use_bias", "use_bn", "kwargs")
    ]
    defaults = [p.default for p in parameters.values()][:-1]
    assert defaults == [inspect.Parameter.empty, None, None, None, False, False]


@pytest.mark.parametrize(
    ("make", "names", "defaults"),
    [
        (hl.HealpyPool, ["p", "pool_type", "kwargs"], {"pool_type": "MAX"}),
        (
            hl.HealpyPseudoConv,
            ["p", "Fout", "kernel_initializer", "kwargs"],
            {"kernel_initializer": None},
        ),
        (
            hl.HealpyPseudoConv_Transpose,
            ["p", "Fout", "kernel_initializer", "kwargs"],
            {"kernel_initializer": None},
        ),
    ],
)
def test_signature_of_the_others(make, names, defaults):
    parameters = inspect.signature(make).parameters
    assert list(parameters) == names
    empty = inspect.Parameter.empty
    assert {k: p.default for k, p in parameters.items() if p.default is not empty} == defaults


def test_old_module_has_the_same_objects():
    for name in hl.__all__:
        home = compat if name.lower().startswith("healpy") else compat.gnn_layers
        assert getattr(hl, name) is getattr(home, name, getattr(compat, name, None))


@pytest.mark.parametrize(("make", "cls", "shift"), CONVOLUTIONS)
@pytest.mark.parametrize("K", [1, 2, 5])
def test_order(make, cls, shift, K):
    layer = make(K)
    assert isinstance(layer, cls)
    assert layer.order == K + shift
    assert layer.filters is None
    assert layer.use_bias is False
    assert layer.normalization is None
    assert layer.activation is keras.activations.linear


@pytest.mark.parametrize(("make", "cls", "shift"), CONVOLUTIONS)
def test_arguments(make, cls, shift):
    layer = make(3, 4, "ones", "relu", True, True, regularizer="l2", constraint="non_neg", name="a")
    assert type(layer.bind(Healpix(2))) is cls
    assert (layer.order, layer.filters, layer.use_bias, layer.normalization) == (
        3 + shift,
        4,
        True,
        "batch",
    )
    assert isinstance(layer.kernel_initializer, keras.initializers.Ones)
    assert isinstance(layer.kernel_regularizer, keras.regularizers.L2)
    assert isinstance(layer.kernel_constraint, keras.constraints.NonNeg)
    assert layer.activation is keras.activations.relu
    assert layer.name == "a"
    callable_activation = make(3, activation=keras.ops.sin).activation
    assert callable_activation is keras.ops.sin


@pytest.mark.parametrize(("make", "terms"), [(c[0], 5 + 1 + c[2]) for c in CONVOLUTIONS])
def test_shapes(make, terms):
    layer = make(5, Fout=7, use_bias=True, sampling=Healpix(2), graph=8)
    layer.build((None, 48, 3))
    assert tuple(layer.kernel.shape) == (3 * terms, 7)
    assert tuple(layer.bias.shape) == (7,)
    same = make(5, sampling=Healpix(2), graph=8)
    same.build((None, 48, 3))
    assert tuple(same.kernel.shape) == (3 * terms, 3)
    assert same.bias is None


def test_pools():
    x = np.random.default_rng(0).standard_normal((2, 192, 3)).astype("float32")
    children = x.reshape(2, 12, 16, 3)
    largest, mean = hl.HealpyPool(2), hl.HealpyPool(p=2, pool_type="AVG")
    assert type(largest.bind(Healpix(4))) is type(mean.bind(Healpix(4))) is Pool
    for layer, expected in ((largest, children.max(2)), (mean, children.mean(2))):
        y = layer.bind(Healpix(4))(x)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(y), expected, rtol=0, atol=1e-6)
    down = hp.ud_grade(x[0, :, 0], 1, order_in="NEST", order_out="NEST")
    y = keras.ops.convert_to_numpy(mean.bind(Healpix(4))(x))
    np.testing.assert_allclose(y[0, :, 0], down, rtol=0, atol=1e-6)


def test_patch_convolutions():
    down = hl.HealpyPseudoConv(2, 5, "ones", activation="relu", name="down")
    up = hl.HealpyPseudoConv_Transpose(p=1, Fout=6, kernel_initializer="zeros")
    assert (down.p, down.filters, down.name) == (2, 5, "down")
    assert (up.p, up.filters) == (1, 6)
    assert isinstance(down.kernel_initializer, keras.initializers.Ones)
    assert isinstance(up.kernel_initializer, keras.initializers.Zeros)
    assert down.activation is keras.activations.relu
    down, up = down.bind(Healpix(4)), up.bind(Healpix(4))
    assert (type(down), type(up)) == (PatchConv, PatchConvTranspose)
    assert (down.output_sampling, up.output_sampling) == (Healpix(1), Healpix(8))
    x = np.random.default_rng(0).uniform(0, 1, (2, 192, 3)).astype("float32")
    sums = np.repeat(x.reshape(2, 12, 48).sum(2)[..., None], 5, axis=2)  # kernel of ones
    # Sums of 48 float32 numbers below 1.
    np.testing.assert_allclose(keras.ops.convert_to_numpy(down(x)), sums, rtol=1e-5)
    assert tuple(up(x).shape) == (2, 768, 6)


@pytest.mark.parametrize("make", [hl.HealpyChebyshev, hl.HealpyMonomial])
@pytest.mark.parametrize("K", [0, -2])
def test_too_few_terms(make, K):
    with pytest.raises(ValueError, match=f"K must be at least 1, got {K}"):
        make(K)


def test_negative_degree():
    with pytest.raises(ValueError, match="K must be at least 0, got -1"):
        hl.HealpyBernstein(-1)


@pytest.mark.parametrize("make", [case[0] for case in CONVOLUTIONS])
@pytest.mark.parametrize("K", [2.5, "three", True, None])
def test_no_number_of_terms(make, K):
    with pytest.raises(TypeError, match=f"K must be an integer, got {K!r}"):
        make(K)


@pytest.mark.parametrize("make", [case[0] for case in CONVOLUTIONS])
def test_unknown_activation(make):
    with pytest.raises(ValueError, match="no_such_activation"):
        make(3, activation="no_such_activation")


@pytest.mark.parametrize("make", [case[0] for case in CONVOLUTIONS])
def test_unknown_keyword(make):
    with pytest.raises((TypeError, ValueError), match="no_such_keyword"):
        make(3, no_such_keyword=1)


@pytest.mark.parametrize("name", ["max", "MEAN", None])
def test_unknown_pooling(name):
    for error in (ValueError, OSError):
        with pytest.raises(error, match=f"pool_type must be one of MAX, AVG; got {name!r}"):
            hl.HealpyPool(1, name)


@pytest.mark.parametrize("p", [0, -1])
def test_no_levels(p):
    for make in (hl.HealpyPool, lambda p: hl.HealpyPseudoConv(p, 2)):
        for error in (ValueError, OSError):  # Keras' and the old code's
            with pytest.raises(error, match=f"p must be at least 1, got {p}"):
                make(p)


@pytest.mark.parametrize("tag", ["k8_full", "k8_part", "k20_full", "k20_part"])
@pytest.mark.parametrize(
    ("name", "make"), [("cheb", hl.HealpyChebyshev), ("mono", hl.HealpyMonomial)]
)
def test_golden_outputs(name, make, tag):
    """Outputs of deepsphere-cosmo-tf2 0.3.0 for its own weights, at nside 8.

    Both sides compute in float32: sums of 15 products of numbers around 1.
    """
    with np.load(GOLDEN) as file:
        get = {k.removeprefix(f"{tag}_"): file[k] for k in file if k.startswith(tag)}
    graph = Graph(8 if "k8" in tag else 20, laplacian="normalized_tf2")
    layer = make(5, Fout=4, use_bias=True, activation="relu", graph=graph)
    layer = layer.bind(Healpix(8, get["idx"]))
    layer.build(get["x"].shape)
    layer.kernel.assign(get[f"{name}_W"])
    layer.bias.assign(get[f"{name}_b"].reshape(4))
    y = keras.ops.convert_to_numpy(layer(get["x"]))
    np.testing.assert_allclose(y, get[f"{name}_y"], rtol=0, atol=1e-5)


def test_golden_outputs_on_the_graph_that_keeps_ties():
    """40 of the 768 pixels have ties, whose effect an order of 4 spreads to others."""
    with np.load(GOLDEN) as file:
        get = {k.removeprefix("k20_full_"): file[k] for k in file if k.startswith("k20_full")}
    layer = hl.HealpyChebyshev(5, 4, use_bias=True, activation="relu", graph=20)
    layer = layer.bind(Healpix(8))
    layer.build(get["x"].shape)
    layer.kernel.assign(get["cheb_W"])
    layer.bias.assign(get["cheb_b"].reshape(4))
    y = keras.ops.convert_to_numpy(layer(get["x"]))
    relative = np.sqrt(np.mean((y - get["cheb_y"]) ** 2) / np.mean(get["cheb_y"] ** 2))
    assert 1e-4 < relative < 0.05


class TestWithoutAModel:
    """Layers that need no graph can be called on maps directly."""

    def test_pool(self):
        x = np.random.default_rng(0).standard_normal((2, 192, 1)).astype("float32")
        y = keras.ops.convert_to_numpy(hl.HealpyPool(p=1, pool_type="AVG")(x))
        expected = hp.ud_grade(x[0, :, 0], 2, order_in="NEST", order_out="NEST")
        np.testing.assert_allclose(y[0, :, 0], expected, rtol=0, atol=1e-6)

    @pytest.mark.parametrize("pixels", [16, 32, 192])
    def test_any_number_of_whole_pixels(self, pixels):
        x = np.ones((2, pixels, 3), "float32")
        assert tuple(hl.HealpyPool(2)(x).shape) == (2, pixels // 16, 3)
        assert tuple(hl.HealpyPseudoConv(2, 5)(x).shape) == (2, pixels // 16, 5)
        assert tuple(hl.HealpyPseudoConv_Transpose(1, 4)(x).shape) == (2, pixels * 4, 4)
        assert tuple(hl.Healpy_ViT(p=1, key_dim=4, num_heads=2)(x).shape) == (2, pixels // 4, 8)

    def test_pixels_that_cannot_be_grouped(self):
        with pytest.raises(ValueError, match="not closed under"):
            hl.HealpyPool(1)(np.ones((2, 18, 3), "float32"))

    def test_saved_and_loaded(self, tmp_path):
        inputs = keras.Input((192, 2))
        model = keras.Model(inputs, hl.HealpyPool(1)(hl.HealpyPseudoConv(1, 3)(inputs)))
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        x = np.random.default_rng(0).standard_normal((2, 192, 2)).astype("float32")
        np.testing.assert_array_equal(loaded.predict(x), model.predict(x))


class TestResidual:
    def test_arguments(self):
        given = {"K": 4, "activation": "relu", "use_bias": True}
        norm = {"momentum": 0.8}
        layer = hl.Healpy_ResidualLayer(
            "MONO", given, "elu", act_before=True, use_bn=True, bn_kwargs=norm, alpha=0.3
        )
        assert given == {"K": 4, "activation": "relu", "use_bias": True}
        assert norm == {"momentum": 0.8}
        block = layer.bind(Healpix(2), graph=8)
        assert type(block) is ResidualBlock
        assert type(block.conv1) is type(block.conv2) is MonomialConv
        assert (block.conv1.order, block.conv1.use_bias) == (3, True)
        assert (block.alpha, block.activation_first, block.normalization) == (0.3, True, "batch")
        assert block.norm1.momentum == 0.8
        assert block.activation is keras.activations.elu

    @pytest.mark.parametrize("kind", ["CHEBY", "MONO", "BERN"])
    def test_kinds(self, kind):
        layer = hl.Healpy_ResidualLayer(kind, {"K": 3}, use_bn=True, norm_type="layer_norm")
        y = layer.bind(Healpix(2))(np.ones((2, 48, 3), "float32"))
        assert tuple(y.shape) == (2, 48, 3)

    def test_errors(self):
        with pytest.raises(ValueError, match="one of CHEBY, MONO, BERN; got 'CONV'"):
            hl.Healpy_ResidualLayer("CONV", {"K": 3})
        with pytest.raises(ValueError, match="one of batch_norm, layer_norm; got 'moving_norm'"):
            hl.Healpy_ResidualLayer("MONO", {"K": 3}, norm_type="moving_norm")

    def test_drop_path(self):
        """In training, the convolutions are skipped for some of the samples."""
        layer = hl.Healpy_ResidualLayer("CHEBY", {"K": 3}, drop_path_rate=0.5).bind(Healpix(2))
        x = np.ones((200, 48, 1), "float32")
        skipped = (to_numpy(layer(x, training=True)) == x).all(axis=(1, 2))
        assert 0.3 < skipped.mean() < 0.7
        assert not (to_numpy(layer(x, training=False)) == x).all(axis=(1, 2)).any()

    @pytest.mark.parametrize("old", [hl.HealpyChebyshev, hl.HealpyMonomial, hl.HealpyBernstein])
    def test_depth_wise(self, old):
        """Each output channel depends only on its own input channel."""
        layer = old(3, depth_wise=True).bind(Healpix(2))
        x = np.random.default_rng(0).standard_normal((1, 48, 2)).astype("float32")
        before = to_numpy(layer(x))
        x[..., 1] += 1
        changed = (to_numpy(layer(x)) != before).any(axis=(0, 1))
        np.testing.assert_array_equal(changed.reshape(-1, 2).any(axis=0), [False, True])


class TestSmoothing:
    x = np.random.default_rng(0).standard_normal((2, 192, 2)).astype("float32")

    def test_is_gaussian_smoothing(self):
        old = hl.HealpySmoothing(4, np.arange(192), fwhm=1500.0)
        new = GaussianSmoothing(sampling=Healpix(4), fwhm=1500.0, support=3)
        np.testing.assert_array_equal(to_numpy(old(self.x)), to_numpy(new(self.x)))
        in_rad = hl.HealpySmoothing(4, np.arange(192), sigma=0.3, arcmin=False, n_sigma_support=4)
        new = GaussianSmoothing(sampling=Healpix(4), sigma=0.3, unit="rad", support=4)
        np.testing.assert_array_equal(to_numpy(in_rad(self.x)), to_numpy(new(self.x)))

    def test_ring_ordering(self):
        ring = hp.nest2ring(4, np.arange(192))  # where each NEST pixel is in a RING map
        in_ring = np.empty_like(self.x)
        in_ring[:, ring] = self.x
        nest = hl.HealpySmoothing(4, np.arange(192), fwhm=1500.0)
        y = to_numpy(hl.HealpySmoothing(4, np.arange(192), nest=False, fwhm=1500.0)(in_ring))
        np.testing.assert_allclose(y[:, ring], to_numpy(nest(self.x)), rtol=0, atol=1e-6)

    def test_part_in_ring_ordering(self):
        part = np.sort(hp.nest2ring(4, np.arange(40, 90)))
        order = np.argsort(hp.ring2nest(4, part))
        x = self.x[:, :50]
        y = to_numpy(hl.HealpySmoothing(4, part, nest=False, fwhm=1500.0)(x))
        expected = GaussianSmoothing(sampling=Healpix(4, np.arange(40, 90)), fwhm=1500.0, support=3)
        np.testing.assert_allclose(y[:, order], to_numpy(expected(x[:, order])), rtol=0, atol=1e-6)

    @pytest.mark.parametrize("channels", [None, 2])
    def test_mask(self, channels):
        shape = (192,) if channels is None else (192, channels)
        mask = np.random.default_rng(1).random(shape) < 0.5
        plain = to_numpy(hl.HealpySmoothing(4, np.arange(192), fwhm=1500.0)(self.x))
        layer = hl.HealpySmoothing(4, np.arange(192), mask=mask, fwhm=1500.0)
        expected = plain * mask.reshape(192, -1)
        np.testing.assert_array_equal(to_numpy(layer(self.x)), expected)
        again = hl.HealpySmoothing.from_config(layer.get_config())
        np.testing.assert_array_equal(to_numpy(again(self.x)), expected)

    def test_repetitions(self):
        layer = hl.HealpySmoothing(
            4, np.arange(192), sigma=600.0, per_channel_repetitions=[1, 4], n_sigma_support=4
        )
        new = GaussianSmoothing(sampling=Healpix(4), sigma=[600.0, 1200.0])
        np.testing.assert_array_equal(to_numpy(layer(self.x)), to_numpy(new(self.x)))

    def test_apodized_mask(self):
        """A mask with values between 0 and 1 is a factor, as in the old code."""
        mask = np.linspace(0, 1, 192).astype("float32")
        plain = to_numpy(hl.HealpySmoothing(4, np.arange(192), fwhm=1500.0)(self.x))
        layer = hl.HealpySmoothing(4, np.arange(192), mask=mask[None, :, None], fwhm=1500.0)
        again = hl.HealpySmoothing.from_config(layer.get_config())
        for each in (layer, again):
            y = to_numpy(each(self.x))
            np.testing.assert_allclose(y, plain * mask[:, None], rtol=1e-6, atol=1e-7)  # float32
        with pytest.raises(ValueError, match=r"boolean or from 0 to 1, got values from -1.0 to 1"):
            hl.HealpySmoothing(4, np.arange(192), mask=np.where(mask > 0.5, 1, -1.0), fwhm=1.0)

    def test_white_noise(self):
        """Noise is added in training only, after the smoothing and before the mask."""
        mask = np.arange(192) < 100
        sigma = [0.5, 0.0]
        layer = hl.HealpySmoothing(
            4, np.arange(192), mask=mask, fwhm=1500.0, white_noise_sigma=sigma
        )
        x = np.zeros((200, 192, 2), "float32")
        assert not to_numpy(layer(x, training=False)).any()
        again = hl.HealpySmoothing.from_config(layer.get_config())
        for each in (layer, again):
            noise = to_numpy(each(x, training=True))
            assert not noise[:, 100:].any()
            assert not noise[..., 1].any()
            # 20 000 numbers: their deviation is known to 0.5 %.
            assert noise[:, :100, 0].std() == pytest.approx(0.5, rel=0.02)
        with pytest.raises(
            ValueError, match="white_noise_sigma has 3 channels, but the input has 2"
        ):
            hl.HealpySmoothing(4, np.arange(192), fwhm=1.0, white_noise_sigma=[1, 2, 3])(x)

    def test_attributes(self):
        layer = hl.HealpySmoothing(
            8, np.arange(40), fwhm=[200.0, 300.0], spmm_backend="csr", fwhm_base=200.0
        )
        assert (layer.nside, layer.n_indices, layer.nest, layer.arcmin) == (8, 40, True, True)
        assert (layer.n_sigma_support, layer.do_smoothing, layer.mask) == (3, True, None)
        # The widths that are asked for, not the next larger multiples in variance (346).
        np.testing.assert_allclose(layer.fwhm_arcmin, [200.0, 300.0])
        np.testing.assert_allclose(
            layer.sigma_arcmin, np.array([200, 300]) / np.sqrt(8 * np.log(2))
        )
        assert not hl.HealpySmoothing(8, np.arange(40), fwhm=0.0).do_smoothing

    def test_in_a_model(self, tmp_path):
        layers = [hl.HealpySmoothing(4, np.arange(192), sigma=600.0), hl.HealpyChebyshev(2, 3)]
        model = HealpyGCNN(4, np.arange(192), layers)
        y = model.predict(self.x)
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(loaded.predict(self.x), y)

    def test_errors(self):
        with pytest.raises(ValueError, match=r"mask must have shape \(192,\)"):
            hl.HealpySmoothing(4, np.arange(192), mask=np.ones(5, bool), sigma=1.0)
        with pytest.raises(ValueError, match="strictly increasing"):
            hl.HealpySmoothing(4, [3, 2], sigma=1.0)
        with pytest.raises(ValueError, match="either fwhm or sigma"):
            hl.HealpySmoothing(4, np.arange(192))


@pytest.mark.parametrize("make", [hl.HealpyChebyshev, hl.HealpyMonomial, hl.HealpyBernstein])
def test_get_layer_puts_them_on_a_laplacian(make):
    L = laplacian(Healpix(4), 8)
    layer = make(4, Fout=3, use_bias=True, activation="elu")._get_layer(L)
    x = np.random.default_rng(0).standard_normal((2, 192, 2)).astype("float32")
    y = layer(x)
    same = make(4, Fout=3, use_bias=True, activation="elu", graph=8).bind(Healpix(4))
    same.build(x.shape)
    same.set_weights(layer.get_weights())
    # The bound is computed in other ways, to 1e-4 at least.
    np.testing.assert_allclose(to_numpy(y), to_numpy(same(x)), rtol=0, atol=1e-3)
