import json
import zipfile

import keras
import numpy as np
import pytest

from deepsphere.graph import Graph
from deepsphere.layers import ConvPool, PatchConv, Pool, SmoothPool
from deepsphere.models import UNet
from deepsphere.sampling import Footprint, Healpix, extend_pixels, regions
from harness import (
    HALF,
    QUICK,
    SINGLE,
    check_fit,
    check_modes,
    check_saving,
    relative_error,
    spectral_truth,
    to_numpy,
    trainings,
)

PART = Healpix(4, extend_pixels([0, 20, 100, 101], 4, 1, nest=True))
FOOTPRINT = Footprint.from_mask(
    regions.disc(Healpix(8), lon=20, lat=35, radius=40), coarse_nside=2, nest=True
)
SURVEY, OBSERVED = FOOTPRINT.sampling, FOOTPRINT.observed
OTHER = {"block": "residual", "skip": "add", "pooling": "mean", "unpooling": "repeat"}


def data(sampling=PART, channels=2, batch=3):
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, len(sampling), channels)).astype(np.float32)


def small(sampling=PART, outputs=2, **options):
    options = {"filters": (3, 4, 5), "order": 2, "graph": 4, **options}
    model = UNet(sampling, outputs, **options)
    model.build((None, len(sampling), 2))
    return model


def convolve(x, conv, activation):
    kernel = to_numpy(conv.kernel)
    y = spectral_truth(x, kernel, conv.sampling, basis="chebyshev", graph=4, scale=0.75)
    y /= np.sqrt(1 + 1e-5)  # batch norm before any training: variance 1, epsilon 1e-5
    y += to_numpy(conv.bias)
    return np.maximum(y, 0) if activation else y


def dense(x, layer):
    y = x @ to_numpy(layer.kernel).astype(float)
    return y if layer.bias is None else y + to_numpy(layer.bias)


def convolve_twice(x, block, residual):
    y = convolve(convolve(x, block.conv1, True), block.conv2, not residual)
    if not residual:
        return y
    return np.maximum(y + (x if block.shortcut is None else dense(x, block.shortcut)), 0)


@pytest.mark.parametrize("options", [{}, OTHER, {"pooling": "patch"}], ids=["paper", "other", "p"])
def test_values(options):
    """Compared with the definition in float64: dense eigenvectors and NumPy."""
    model = small(**options)
    for variable in model.trainable_variables:  # biases too
        variable.assign(keras.random.normal(variable.shape, stddev=0.3))
    residual = "block" in options
    x, kept = data().astype(float), []
    for i, block in enumerate(model.down_blocks):
        if i > 0:
            kept.append(x)
            children = x.reshape(3, -1, 4, x.shape[2])
            if model.pooling == "patch":
                pool = model.pools[i - 1]
                x = np.einsum("bpki,kio->bpo", children, to_numpy(pool.kernel))
                x += to_numpy(pool.bias)
            else:
                x = children.max(axis=2) if model.pooling == "max" else children.mean(axis=2)
        x = convolve_twice(x, block, residual)
    for unpool, block in zip(model.unpools, model.up_blocks, strict=True):
        if model.unpooling == "repeat":
            x = np.repeat(dense(x, unpool), 4, axis=1)
        else:
            x = np.einsum("bpi,koi->bpko", x, to_numpy(unpool.kernel)) + to_numpy(unpool.bias)
            x = x.reshape(3, -1, x.shape[3])
        before = kept.pop()
        x = x + before if model.skip == "add" else np.concatenate([x, before], axis=2)
        x = convolve_twice(x, block, residual)
    # Ten convolutions in a row: the layers' own tolerance ten times.
    assert relative_error(model(data()), dense(x, model.last)) < 10 * SINGLE


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"pooling": "mean", "activation": "elu"}, OTHER])
def test_runs_and_trains_in_every_way(options):
    # Smooth: the harness compares with finite differences.
    check_modes(lambda: small(filters=(2, 3), order=1, **{"activation": "tanh", **options}), data())
    check_fit(lambda: small(filters=(3, 4), order=1, **options), data())


@pytest.mark.parametrize("options", [{}, OTHER])
def test_as_a_layer_of_a_saved_model(options, tmp_path):
    check_saving(lambda: small(filters=(3, 4), **options), data(), tmp_path)


@pytest.mark.parametrize(
    ("pooling", "kind", "mode"),
    [
        ("area", Pool, "area"),
        ("patch", PatchConv, None),
        ("conv", ConvPool, None),
        ("smooth_max", SmoothPool, "max"),
        ("smooth_mean", SmoothPool, "mean"),
        ("smooth_area", SmoothPool, "area"),
    ],
)
def test_the_poolings(pooling, kind, mode, tmp_path):
    """Each option uses the layer of that name, on the model's graph."""
    graph = Graph(4, laplacian="combinatorial")
    model = small(filters=(3, 4), pooling=pooling, graph=graph, dtype="float32")
    (pool,) = model.pools
    assert type(pool) is kind
    assert (pool.name, pool.sampling, getattr(pool, "mode", None)) == ("pool_1", PART, mode)
    if kind in (ConvPool, SmoothPool):
        assert pool.operator is model.down_blocks[0].conv1.operator
    x = data()
    y = to_numpy(model(x))
    kept = model.down_blocks[0](x)
    coarse = model.unpools[0](model.down_blocks[1](pool(kept)))
    expected = model.last(model.up_blocks[0](keras.ops.concatenate([coarse, kept], axis=-1)))
    assert relative_error(y, to_numpy(expected)) < SINGLE
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    np.testing.assert_array_equal(to_numpy(loaded(x)), y)


def test_a_number_of_neighbors_that_is_chosen(tmp_path):
    auto = Graph(max_error=1e-2, laplacian="optimal")
    model = small(filters=(3, 4), graph=auto)
    x = data()
    # 6.3e-4 at nside 32 with 8 neighbors: no fewer are tried.
    eight = small(filters=(3, 4), graph=Graph(8, laplacian="optimal"))
    eight.set_weights(model.get_weights())
    np.testing.assert_array_equal(to_numpy(eight(x)), to_numpy(model(x)))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.graph_spec == auto
    np.testing.assert_array_equal(to_numpy(loaded(x)), to_numpy(model(x)))


@pytest.mark.parametrize(
    ("filters", "channels", "outputs"), [((4,), 1, 1), ((4, 2), 3, 5), ((2, 3, 2), 1, 2)]
)
def test_any_depth_and_widths(filters, channels, outputs):
    for options in ({}, OTHER):
        model = small(filters=filters, outputs=outputs, **options)
        shape = (None, len(PART), channels)
        assert model.compute_output_shape(shape) == (None, len(PART), outputs)
        model = UNet(PART, outputs, filters=filters, order=1, **options)
        assert model(data(channels=channels)).shape == (3, len(PART), outputs)
        assert len(model.pools) == len(filters) - 1


def test_number_of_weights_and_summary():
    model = small(filters=(3, 4), output_activation="softmax")
    convs = (2 * 3 + 3 * 3) + (3 * 4 + 4 * 4) + (6 * 3 + 3 * 3)  # down, bottom, up
    biases = 3 + 3 + 4 + 4 + 3 + 3
    expected = 3 * convs + biases + (4 * 4 * 3 + 3) + (3 * 2 + 2)  # up-sampling, last
    assert sum(np.prod(w.shape) for w in model.trainable_weights) == expected
    lines = []
    model.summary(print_fn=lambda text, **_: lines.append(text))
    text = "\n".join(lines)
    assert "?" not in text
    assert "unbuilt" not in text
    assert f"(None, {len(PART)}, 2)" in text


def test_softmax_over_classes():
    y = to_numpy(small(outputs=4, output_activation="softmax")(data()))
    np.testing.assert_allclose(y.sum(axis=2), 1, rtol=1e-6)


def test_learns_to_denoise():
    rng = np.random.default_rng(0)
    sampling = Healpix(4)
    clean = np.einsum("bk,pk->bp", rng.standard_normal((32, 3)), sampling.points)[..., None]
    noisy = clean + 0.5 * rng.standard_normal(clean.shape)
    model = UNet(sampling, 1, filters=(4, 8), order=3, graph=8, pooling="mean")
    model.compile(keras.optimizers.Adam(2e-2), "mse")
    losses = model.fit(noisy, clean, batch_size=8, epochs=10, verbose=0).history["loss"]
    # Smooth maps under white noise of variance 0.25.
    assert losses[-1] < 0.25 / 3, losses
    assert model.evaluate(noisy, clean, verbose=0) < 0.25


@pytest.mark.parametrize(
    "options", [{}, {**OTHER, "pooling": "patch"}, {"pooling": "conv"}, {"pooling": "smooth_max"}]
)
def test_what_was_not_observed_changes_nothing(options):
    model = small(SURVEY, filters=(3, 4), mask=OBSERVED, **options)
    model.compile(keras.optimizers.SGD(0.05), "mse", metrics=["mae"], **QUICK)
    maps = [np.where(OBSERVED[:, None], data(SURVEY), np.float32(fill)) for fill in (0, np.nan)]
    results = trainings(model, maps, lambda x: x)
    assert not np.array_equal(results[0][0][0], results[0][0][1])  # it does learn
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.isfinite(a).all()
    assert (results[0][2][:, ~OBSERVED] == 0).all()


def test_the_loss_is_over_observed_pixels():
    model = small(SURVEY, filters=(3, 4), mask=OBSERVED)
    model.compile("sgd", "mse", metrics=["mae"], **QUICK)
    x = data(SURVEY)
    error = (model.predict(x, verbose=0) - x)[:, OBSERVED]
    expected = np.mean(error**2), np.mean(np.abs(error))
    x[:, ~OBSERVED] = np.nan
    assert model.evaluate(x, x, verbose=0) == pytest.approx(expected, rel=1e-5)
    keras.utils.set_random_seed(0)
    model = small(SURVEY, outputs=3, filters=(3, 4), mask=OBSERVED)  # classes, as integers
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), **QUICK)
    labels = np.random.default_rng(1).integers(0, 3, (3, len(SURVEY)))
    logits = model.predict(x, verbose=0).astype(float)
    chances = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    right = np.take_along_axis(chances, labels[..., None], axis=2)[:, OBSERVED]
    labels[:, ~OBSERVED] = -1
    found = model.evaluate(x, labels, verbose=0)
    assert found == pytest.approx(-np.log(right).mean(), rel=1e-5)


@pytest.mark.parametrize("options", [{}, OTHER])
def test_each_map_may_have_its_own_mask(options):
    masks = np.random.default_rng(1).random((3, len(SURVEY))) < 0.5
    model = small(SURVEY, filters=(3, 4), mask=OBSERVED, **options)
    x = data(SURVEY)
    y = to_numpy(model(x, mask=masks))
    hidden = np.where(masks[..., None], x, np.float32(np.nan))
    np.testing.assert_array_equal(to_numpy(model(hidden, mask=masks)), y)
    assert (y[~(masks & OBSERVED)] == 0).all()
    alone = to_numpy(model(x[:1], mask=masks[:1]))
    assert relative_error(y[:1], alone) < SINGLE
    everything = np.ones_like(masks)
    assert relative_error(model(x, mask=everything), to_numpy(model(x))) < SINGLE


def test_save_and_load(tmp_path):
    """Sampling and mask are saved once, regardless of the number of layers."""
    rng = np.random.default_rng(0)
    blocks = np.sort(rng.choice(48, 30, replace=False))
    sampling = Healpix(2, blocks).refine(2)
    mask = rng.random(len(sampling)) < 0.5
    options = {"filters": (2, 3), "order": 1, "graph": 4, "output_activation": "sigmoid"}
    model = UNet(sampling, 1, mask=mask, **options)
    model.build((None, len(sampling), 1))
    model.compile("adam", "mse", **QUICK)
    x = data(sampling, 1, 2)
    model.fit(x, x, verbose=0)
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        config = file.read("config.json").decode()
    assert config.count(model.get_config()["mask"]) == 1
    assert config.count(json.dumps(model.get_config()["sampling"]["pixels"])) == 1
    assert "keras.src.backend" not in config
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is UNet
    assert loaded.get_config() == model.get_config()
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected)
    for each in (model, loaded):  # training continues in the same way
        each.fit(x, x, verbose=0)
    after = model.predict(x, verbose=0)
    assert relative_error(loaded.predict(x, verbose=0), after) < 1e-5
    assert relative_error(after, expected) > 1e-5


def test_every_option_comes_back():
    options = {**OTHER, "filters": [3, 4], "order": 1, "normalization": None, "activation": "elu"}
    options |= {"output_activation": "tanh", "graph": Graph(9, laplacian="random_walk")}
    model = UNet(PART, 3, name="mine", **options)
    config = json.loads(json.dumps(model.get_config()))
    again = UNet.from_config(config)
    assert again.get_config() == config
    options["graph"] = options["graph"].get_config()
    assert {name: config[name] for name in options} == options
    assert again.down_blocks[0].conv1.resolved_graph == Graph(9, laplacian="random_walk")


@pytest.mark.slow
@pytest.mark.parametrize("policy", HALF)
def test_half_precision(policy):
    model = small(output_activation="softmax")
    half = UNet.from_config({**model.get_config(), "dtype": policy})
    half.build((None, len(PART), 2))
    half.set_weights(model.get_weights())
    y = half(data())
    assert keras.backend.standardize_dtype(y.dtype) == "float32"
    assert keras.backend.standardize_dtype(half.down_blocks[0](data()).dtype) != "float32"
    # Ten layers' roundings, which add up at random.
    assert relative_error(y, to_numpy(model(data()))) < 4 * HALF[policy]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: UNet(PART, 0), ValueError, "outputs must be at least 1, got 0"),
        (lambda: UNet(PART, 1), ValueError, r"goes down 3 levels, but .* has 2 complete coarser"),
        (lambda: small(block="dense"), ValueError, "block must be one of plain, residual"),
        (lambda: small(skip="mul"), ValueError, "skip must be one of concatenate, add"),
        (
            lambda: small(pooling="min"),
            ValueError,
            "pooling must be one of max, mean, area, patch,",
        ),
        (lambda: small(unpooling="max"), ValueError, "unpooling must be one of patch, repeat"),
        (lambda: small(graph=0), ValueError, "neighbors must be at least 1"),
        (lambda: small(graph="x"), ValueError, "graph must be .* got 'x'"),
        (lambda: small(neighbors=8), TypeError, r"use graph=Graph\(neighbors=8\)"),
        (lambda: small(mask=np.ones(5, bool)), ValueError, "mask has 5 pixels"),
        (
            lambda: small().build((None, 100, 2)),
            ValueError,
            r"needs inputs of shape \(batch, 48, channels\), got \(None, 100, 2\)",
        ),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()
