import json
import zipfile

import keras
import numpy as np
import pytest

from deepsphere.graph import Graph
from deepsphere.layers import (
    ChebyshevConv,
    ConvPool,
    PatchConv,
    Pool,
    SmoothPool,
    Statistics,
    SurveyMask,
)
from deepsphere.models import (
    Sequential,
    cnn_classifier,
    fcn_classifier,
    vit_classifier,
)
from deepsphere.sampling import Footprint, Healpix, extend_pixels, regions
from harness import QUICK, SINGLE, relative_error, to_numpy, trainings

PART = Healpix(8, extend_pixels([0, 100, 300, 301], 8, 2, nest=True))
FOOTPRINT = Footprint.from_mask(
    regions.disc(Healpix(8), lon=20, lat=35, radius=40), coarse_nside=2, nest=True
)
SURVEY, OBSERVED = FOOTPRINT.sampling, FOOTPRINT.observed
SMALL = {"filters": (3, 4), "order": 2, "graph": 4}
MAKE = {
    "fcn": lambda sampling=PART, outputs=2, **options: fcn_classifier(
        sampling, outputs, **{**SMALL, **options}
    ),
    "cnn": lambda sampling=PART, outputs=2, **options: cnn_classifier(
        sampling, outputs, **{**SMALL, "hidden": (5,), **options}
    ),
    "vit": lambda sampling=PART, outputs=2, **options: vit_classifier(
        sampling, outputs, **{"key_dim": 4, "num_heads": 2, "levels": 2, "num_layers": 2, **options}
    ),
}
ALL = pytest.mark.parametrize("name", MAKE)


def data(sampling=PART, channels=1, batch=4):
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, len(sampling), channels)).astype(np.float32)


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def test_fcn_of_the_paper():
    """Layers and number of weights of arXiv 1810.12186, on a 192nd of the sphere."""
    part = Healpix(4, [100]).refine(5)
    model = fcn_classifier(part, 2)
    assert trainable(model) == 54_720
    assert model.count_params() == 54_720 + 2 * (16 + 32 + 64 + 64 + 64)  # moving statistics
    convs = [layer for layer in model.layers if isinstance(layer, ChebyshevConv)]
    assert [conv.kernel.shape for conv in convs] == [
        (5 * 1, 16),
        (5 * 16, 32),
        (5 * 32, 64),
        (5 * 64, 64),
        (5 * 64, 64),
        (5 * 64, 2),
    ]
    levels = [part.coarsen(i) for i in range(6)]
    assert [conv.sampling for conv in convs] == levels
    assert [conv.normalization for conv in convs] == ["batch"] * 5 + [None]
    assert convs[-1].bias is None
    assert convs[-1].activation is keras.activations.linear
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == [*["ChebyshevConv", "Pool"] * 5, "ChebyshevConv", "Statistics", "Activation"]


def test_cnn_of_the_paper():
    """131 072 weights in the last layer on a 12th of the sphere at nside 1024."""
    assert len(Healpix(1, [0]).refine(10).coarsen(5)) * 64 * 2 == 131_072
    for part in (Healpix(1, [0]).refine(5), Healpix(1, [0]).refine(6)):
        model = cnn_classifier(part, 2)
        dense = model.layers[-2]
        assert dense.kernel.shape == (len(part.coarsen(5)) * 64, 2)
        assert dense.bias is None
        convs = 5 * (1 * 16 + 16 * 32 + 32 * 64 + 2 * 64 * 64) + 16 + 32 + 3 * 64
        assert trainable(model) == convs + dense.count_params()


@pytest.mark.parametrize(
    ("sampling", "nside"),
    [(Healpix(1, [3]).refine(3), 8), (Healpix(2, [7, 40]).refine(2), 8), (Healpix(8), 8)],
)
@ALL
def test_any_part_of_the_sphere(name, sampling, nside):
    assert sampling.nside == nside
    model = MAKE[name](sampling, outputs=3, channels=2)
    assert type(model) is Sequential
    assert model.output_shape == (None, 3)
    y = to_numpy(model(data(sampling, 2)))
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)


@ALL
def test_options_of_the_end(name):
    logits = MAKE[name](outputs=3, output_activation=None, name="mine")
    assert logits.name == "mine"
    assert (to_numpy(logits(data())) < 0).any()
    unbuilt = MAKE[name](channels=None)
    assert not unbuilt.built
    assert unbuilt(data(channels=3)).shape == (4, 2)
    lines = []
    MAKE[name]().summary(print_fn=lambda text, **_: lines.append(text))
    assert "unbuilt" not in "\n".join(lines)


def test_statistics_and_dense_layers():
    for kind, features in (("max", 4), ("mean_variance", 8), ("histogram", 80)):
        model = MAKE["cnn"](statistics=kind, hidden=(7, 6), dropout=0.5, output_bias=True)
        dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
        assert [layer.kernel.shape for layer in dense] == [(features, 7), (7, 6), (6, 2)]
        assert all(layer.use_bias for layer in dense)
        assert sum(isinstance(layer, keras.layers.Dropout) for layer in model.layers) == 3
        model = MAKE["fcn"](statistics=kind)
        assert model(data()).shape == (4, 2)
        assert any(isinstance(layer, keras.layers.Dense) for layer in model.layers) == (
            kind != "max"
        )
    assert MAKE["fcn"](output_bias=True).layers[-3].bias is not None


def test_arguments_of_the_convolutions():
    options = {"filter_dropout": 0.25, "kernel_regularizer": "l2", "scale": 1.0}
    options |= {"graph": Graph(4, laplacian="random_walk")}
    for name in ("fcn", "cnn"):
        model = MAKE[name](pooling="mean", activation="elu", normalization=None, **options)
        convs = [layer for layer in model.layers if isinstance(layer, ChebyshevConv)]
        for conv in convs:
            assert (conv.filter_dropout, conv.scale, conv.norm) == (0.25, 1.0, None)
            assert conv.resolved_graph == Graph(4, laplacian="random_walk")
            assert isinstance(conv.kernel_regularizer, keras.regularizers.L2)
        assert convs[0].activation is keras.activations.elu
        assert {layer.mode for layer in model.layers if isinstance(layer, Pool)} == {"mean"}


@pytest.mark.parametrize("name", ["fcn", "cnn"])
@pytest.mark.parametrize(
    ("pooling", "kind"),
    [("conv", ConvPool), ("patch", PatchConv), ("smooth_max", SmoothPool), ("area", Pool)],
)
def test_poolings(name, pooling, kind, tmp_path):
    graph = Graph(4, laplacian="combinatorial")
    model = MAKE[name](pooling=pooling, graph=graph, filter_dropout=0.25)
    pools = model.layers[1:4:2]
    assert [type(pool) for pool in pools] == [kind, kind]
    assert [pool.sampling for pool in pools] == [PART, PART.coarsen()]
    if pooling == "smooth_max":
        assert {pool.mode for pool in pools} == {"max"}
    if kind in (ConvPool, SmoothPool):  # on the graphs that the convolutions have
        assert [pool.operator for pool in pools] == [conv.operator for conv in model.layers[:3:2]]
    if kind in (ConvPool, PatchConv):
        assert [pool.kernel.shape[-1] for pool in pools] == [3, 4]
    y = to_numpy(model(data()))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(loaded(data())), y)


def test_cnn_flattens_pixel_by_pixel():
    model = MAKE["cnn"](hidden=(), output_activation=None)
    x = data()
    for layer in model.layers[:4]:
        x = layer(x)
    x = to_numpy(x)
    np.testing.assert_allclose(
        to_numpy(model(data())), x.reshape(4, -1) @ to_numpy(model.layers[-2].kernel), atol=1e-5
    )


@ALL
def test_learns_to_tell_smooth_maps_from_noise(name):
    rng = np.random.default_rng(0)
    sampling = Healpix(8)
    noise = rng.standard_normal((48, len(sampling)))
    smooth = rng.standard_normal((48, 3)) @ sampling.points.T * np.sqrt(3)
    x = np.concatenate([noise, smooth])[..., None].astype(np.float32)
    labels = np.repeat([0, 1], 48)
    order = rng.permutation(96)
    x, labels = x[order], labels[order]
    model = MAKE[name](sampling)
    model.compile(
        keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    model.fit(x[:64], labels[:64], batch_size=8, epochs=8, verbose=0)
    # Guesses would be right for 16 of the 32 maps, and for 26 or more with a chance of 3e-4.
    assert model.evaluate(x[64:], labels[64:], verbose=0)[1] > 25 / 32


@ALL
def test_what_was_not_observed_changes_nothing(name):
    model = MAKE[name](SURVEY, mask=OBSERVED)
    assert isinstance(model.layers[0], SurveyMask)
    model.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy", **QUICK)
    maps = [np.where(OBSERVED[:, None], data(SURVEY), np.float32(fill)) for fill in (0, np.nan)]
    results = trainings(model, maps, lambda _: np.array([0, 1, 0, 1]))
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.isfinite(a).all()


@ALL
def test_a_mask_of_all_pixels_changes_nothing(name):
    model = MAKE[name](hidden=()) if name == "cnn" else MAKE[name]()
    masked = MAKE[name](mask=np.ones(len(PART), bool), **({"hidden": ()} if name == "cnn" else {}))
    masked.set_weights(model.get_weights())
    assert relative_error(masked(data()), to_numpy(model(data()))) < 5 * SINGLE


@ALL
@pytest.mark.filterwarnings("error:.*does not support masking")
def test_no_layer_destroys_the_mask(name):
    MAKE[name](SURVEY, mask=OBSERVED, statistics="mean")(data(SURVEY))
    if name == "cnn":
        MAKE[name](SURVEY, mask=OBSERVED, dropout=0.5)(data(SURVEY))


@ALL
def test_save_and_load(name, tmp_path):
    rng = np.random.default_rng(0)
    sampling = Healpix(2, np.sort(rng.choice(48, 30, replace=False))).refine(2)
    mask = rng.random(len(sampling)) < 0.5
    model = MAKE[name](sampling, mask=mask)
    model.compile("adam", "sparse_categorical_crossentropy", **QUICK)
    x = data(sampling)
    model.fit(x, np.array([0, 1, 0, 1]), verbose=0)
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        config = file.read("config.json").decode()
    assert config.count(model.layers[0].get_config()["mask"]) == 1
    assert config.count(json.dumps(model.get_config()["sampling"]["pixels"])) == 1
    assert "keras.src.backend" not in config
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert json.dumps(loaded.get_config()) == json.dumps(model.get_config())
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected)


@pytest.mark.slow
@ALL
def test_outputs_in_single_precision(name):
    expected = MAKE[name]()
    for policy, tolerance in (("mixed_float16", 0.01), ("mixed_bfloat16", 0.1)):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            model = MAKE[name]()
        finally:
            keras.config.set_dtype_policy(before)
        model.set_weights(expected.get_weights())
        y = model(data())
        assert keras.backend.standardize_dtype(y.dtype) == "float32"
        # A dozen layers' roundings to 11 or 8 bits.
        assert relative_error(y, to_numpy(expected(data()))) < tolerance


def test_statistics_are_the_mean_by_default():
    statistics = [layer for layer in MAKE["fcn"]().layers if isinstance(layer, Statistics)]
    assert [layer.statistic for layer in statistics] == ["mean"]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: fcn_classifier(Healpix(8), 2),
            ValueError,
            r"goes down 5 levels, but Healpix\(nside=8\) has 3 .*fewer filters or a finer",
        ),
        (lambda: MAKE["vit"](levels=3), ValueError, "goes down 3 levels"),
        (lambda: MAKE["fcn"](outputs=0), ValueError, "outputs must be at least 1"),
        (lambda: MAKE["cnn"](outputs=1.5), TypeError, "outputs must be an integer"),
        (lambda: MAKE["vit"](channels=0), ValueError, "channels must be at least 1"),
        (lambda: MAKE["cnn"](hidden=(0,)), ValueError, "each of hidden must be at least 1"),
        (lambda: MAKE["fcn"](pooling="min"), ValueError, "pooling must be one of max, mean"),
        (lambda: MAKE["fcn"](statistics="median"), ValueError, "statistic must be one of"),
        (lambda: MAKE["cnn"](mask=np.ones(3, bool)), ValueError, "mask has 3 pixels"),
        (lambda: MAKE["fcn"](dropFilt=0.1), ValueError, "dropFilt"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()
