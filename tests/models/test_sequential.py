import json
import zipfile

import keras
import numpy as np
import pytest

from deepsphere._cache import clear_cache
from deepsphere.graph import (
    DisconnectedGraphWarning,
    Graph,
    rescaled_laplacian,
)
from deepsphere.layers import (
    ChebyshevConv,
    MonomialConv,
    PatchConv,
    PatchConvTranspose,
    Pool,
    Resample,
    ResidualBlock,
    Unpool,
)
from deepsphere.models import Sequential, UNet
from deepsphere.sampling import (
    Equiangular,
    GaussLegendre,
    Healpix,
    Scattered,
    extend_pixels,
    scattered,
)
from deepsphere.sampling.scattered import farthest_points
from harness import QUICK, SINGLE, relative_error, to_numpy

PART = Healpix(8, extend_pixels(np.arange(100), 8, 2, nest=True))


def stack():
    return [
        ChebyshevConv(5, 3, normalization="batch", activation="relu"),
        Pool(),
        keras.layers.LayerNormalization(),
        MonomialConv(4, 2, graph=8),
        PatchConv(6),
        PatchConvTranspose(3, levels=2),
        keras.layers.GlobalAveragePooling1D(),
        keras.layers.Dense(2, activation="softmax"),
    ]


def data(sampling=PART, batch=4):
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, len(sampling), 1)).astype(np.float32)


def test_walks_the_resolutions():
    model = Sequential(PART, stack(), graph=Graph(10, laplacian="combinatorial"))
    samplings = [getattr(layer, "sampling", None) for layer in model.layers]
    half, quarter = PART.coarsen(1), PART.coarsen(2)
    assert samplings == [PART, PART, None, half, half, quarter, None, None]
    assert model.output_sampling == PART
    first, second = model.layers[0], model.layers[3]
    assert first.resolved_graph == Graph(10, laplacian="combinatorial")
    assert second.resolved_graph == Graph(8, laplacian="normalized")  # its own, as a whole


def test_output_is_that_of_its_layers_one_by_one():
    model = Sequential(PART, stack())
    x = data()
    y = model(x)
    assert y.shape == (4, 2)
    expected = x
    for layer in model.layers:
        expected = layer(expected)
    np.testing.assert_array_equal(to_numpy(y), to_numpy(expected))


def test_build_before_data_and_any_batch_size():
    model = Sequential(PART, stack())
    model.build((3, len(PART), 1))
    assert model.output_shape == (None, 2)
    assert model.predict(data(batch=5), batch_size=2, verbose=0).shape == (5, 2)
    with_input = Sequential(PART, [keras.Input((len(PART), 1)), *stack()])
    assert with_input.built
    assert with_input.output_shape == (None, 2)


def test_layers_are_used_as_they_are():
    layers = stack()
    model = Sequential(PART, layers)
    assert all(a is b for a, b in zip(model.layers, layers, strict=True))
    layer = ChebyshevConv(1)
    model.add(layer)
    assert model.layers[-1] is layer
    assert layer.sampling is model.output_sampling


def test_layers_on_one_level_share_one_sampling():
    fine, half = Healpix(8, PART.pixels), PART.coarsen()
    layers = [ChebyshevConv(1, 1, sampling=fine), Pool(), ChebyshevConv(1, 1), PatchConv(1)]
    layers += [PatchConvTranspose(1), ResidualBlock(ChebyshevConv(order=1)), Unpool()]
    model = Sequential(PART, [*layers, ChebyshevConv(1, 1)])
    model.build((None, len(PART), 1))
    loaded = Sequential.from_config(json.loads(json.dumps(model.get_config())))
    for each in (model, keras.models.clone_model(model), loaded):
        first, down, second, patch, up, block, _, last = each.layers
        assert first.sampling is last.sampling is down.sampling is each.output_sampling
        for layer in (patch, block, block.conv1, block.conv2):
            assert layer.sampling is second.sampling is up.output_sampling
        assert second.sampling == half


def test_each_level_of_scattered_points_is_chosen_once(monkeypatch):
    counts = []

    def count(points, number):
        counts.append(number)
        return farthest_points(points, number)

    monkeypatch.setattr(scattered, "farthest_points", count)
    points = Scattered(np.random.default_rng(11).standard_normal((256, 3)))
    layers = [ChebyshevConv(1, 1), Pool(), ChebyshevConv(1, 1), Pool(), ChebyshevConv(1, 1)]
    model = Sequential(points, layers)
    model.build((None, 256, 1))
    unet = UNet(points, 1, filters=(1, 1, 1), order=1)
    unet.build((None, 256, 1))
    for each in (model, unet):
        keras.models.clone_model(each) if each is model else type(each).from_config(
            each.get_config()
        )
    assert counts == [64, 16]
    assert unet.sampling is model.sampling


def test_a_layer_in_two_models_is_shared():
    layers = [ChebyshevConv(2, 2), Pool()]
    models = [Sequential(sampling, layers) for sampling in (PART, Healpix(8, PART.pixels))]
    for model in models:
        model.build((None, len(PART), 1))
    assert models[0].layers[0] is models[1].layers[0] is layers[0]
    np.testing.assert_array_equal(*(to_numpy(model(data())) for model in models))
    with pytest.raises(ValueError, match=r"ChebyshevConv .* is on .*make a new layer for each"):
        Sequential(Healpix(4), layers)


def test_a_layer_in_two_models_has_one_graph():
    layers = [ChebyshevConv(2, 2), ResidualBlock(ChebyshevConv(order=1))]
    model = Sequential(PART, layers)
    Sequential(PART, layers, graph=Graph(20))  # the default by its name
    for layer in layers:
        with pytest.raises(ValueError, match=r"runs on Graph\(20.*, but its model .* on Graph\(8"):
            Sequential(PART, [layer], graph=8)
    own = ChebyshevConv(2, 2, graph=8)
    for graph in (None, 10):
        assert Sequential(PART, [own], graph=graph).layers[0].graph_spec == Graph(8)
    model.build((None, len(PART), 1))
    assert Sequential(PART, layers)(data()).shape == (4, len(PART), 2)


def test_a_built_layer_keeps_its_weights():
    layer = ChebyshevConv(2, 2, sampling=PART)
    expected = to_numpy(layer(data()))
    model = Sequential(PART, [layer])
    np.testing.assert_array_equal(to_numpy(model(data())), expected)
    with pytest.raises(ValueError, match=r"runs on Graph\(20.*, but its model .* on Graph\(8"):
        Sequential(PART, [layer], graph=8)
    with pytest.raises(ValueError, match=r"is on .*, but the model"):
        Sequential(Healpix(8), [layer])


def test_a_layer_that_does_not_fit_stays_unbound():
    pool = Pool(3)
    with pytest.raises(ValueError, match="not closed under"):
        Sequential(PART, [pool])
    assert Sequential(Healpix(8), [pool]).output_sampling == Healpix(1)


def test_output_sampling_for_another_input():
    model = Sequential(PART, [keras.layers.Dense(1), Pool(), ChebyshevConv(1, 1)])
    assert model.compute_output_sampling(Healpix(16)) == Healpix(8)
    assert model.compute_output_sampling(PART) is model.output_sampling


def test_add_and_pop():
    model = Sequential(PART)
    model.add(Pool())
    model.add(ChebyshevConv(2, 1))
    assert model.layers[1].sampling == PART.coarsen()
    model.pop()
    assert model.output_sampling == PART.coarsen()
    model.add(PatchConvTranspose(3))
    assert model.output_sampling == PART
    assert model(data()).shape == (4, len(PART), 3)


def test_graphs_are_shared_between_layers():
    model = Sequential(
        PART, [ChebyshevConv(2, 1), ChebyshevConv(2, 1), Pool(), PatchConvTranspose(1)]
    )
    model.add(ChebyshevConv(2, 3))
    model.build((None, len(PART), 1))
    operators = [layer.operator for layer in model.layers if hasattr(layer, "operator")]
    assert operators[0] is operators[1] is operators[2]


def test_a_number_of_neighbors_that_is_chosen(tmp_path):
    # At nside 32: 6.3e-4 with 8 neighbors and optimal weights, and without them 1.8e-2 with 8,
    # and 8.3e-3 with 12, at both resolutions.
    for laplacian, number in (("optimal", 8), ("normalized", 12)):
        layers = [ChebyshevConv(2, 1), Pool(), ChebyshevConv(2, 1)]
        auto = Graph(max_error=1e-2, laplacian=laplacian)
        model = Sequential(PART, layers, graph=auto)
        expected = model(data())
        for layer in (model.layers[0], model.layers[2]):
            graph = Graph(number, laplacian=laplacian)
            other = ChebyshevConv(2, 1, sampling=layer.sampling, graph=graph)
            assert other.make_operator() is layer.operator
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.graph_spec == loaded.layers[0].graph_spec == auto
    np.testing.assert_array_equal(to_numpy(loaded(data())), to_numpy(expected))


def test_save_and_load(tmp_path):
    model = Sequential(PART, stack(), graph=Graph(10, laplacian="random_walk"))
    model.compile("adam", "sparse_categorical_crossentropy", **QUICK)
    labels = np.array([0, 1, 0, 1])
    model.fit(data(), labels, verbose=0)
    expected = model.predict(data(), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is Sequential
    assert loaded.sampling == PART
    assert loaded.graph_spec == Graph(10, laplacian="random_walk")
    np.testing.assert_array_equal(loaded.predict(data(), verbose=0), expected)
    # Training continues in the same way.
    for each in (model, loaded):
        each.fit(data(), labels, verbose=0)
    after = model.predict(data(), verbose=0)
    assert relative_error(loaded.predict(data(), verbose=0), after) < 1e-6  # some roundings
    assert relative_error(after, expected) > 1e-5
    model.save_weights(tmp_path / "model.weights.h5")
    other = Sequential(PART, stack(), graph=Graph(10, laplacian="random_walk"))
    other.build((None, len(PART), 1))
    other.load_weights(tmp_path / "model.weights.h5")
    for a, b in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert relative_error(other(data()), after) < 1e-6


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop", "lion"])
def test_compiled_models_name_no_backend(tmp_path, optimizer):
    """Under PyTorch, Keras would save a reference that needs PyTorch to load."""
    model = Sequential(PART, [Pool(2), keras.layers.Dense(1)])
    model.compile(optimizer, "mse")
    model.fit(data(), np.zeros((4, 7, 1)), verbose=0)
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        assert b"keras.src.backend" not in file.read("config.json")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is type(model.optimizer)
    losses = [each.evaluate(data(), np.zeros((4, 7, 1)), verbose=0) for each in (model, loaded)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_unbuilt_model_has_a_config():
    config = json.loads(json.dumps(Sequential(PART, stack()).get_config()))
    clone = Sequential.from_config(config)
    assert [type(a) for a in clone.layers] == [type(a) for a in stack()]
    assert clone.get_config() == config


def test_clone_model():
    model = Sequential(PART, stack())
    model.build((None, len(PART), 1))
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    assert relative_error(clone(data()), to_numpy(model(data()))) < SINGLE


def test_a_million_pixels_save_small(tmp_path):
    """A survey of a million pixels at several resolutions, and one full of holes."""
    rng = np.random.default_rng(0)
    blocks = np.sort(rng.choice(12 * 64**2, 3906, replace=False))  # of 256 pixels each
    survey = Healpix(1024, (blocks[:, None] * 256 + np.arange(256)).ravel())
    ragged = Healpix(1024, np.sort(rng.choice(12 * 1024**2, 10**6, replace=False)))
    for sampling, layers in (
        (survey, [Pool(), Pool(), PatchConv(2), Pool(mode="mean")]),
        (ragged, [keras.layers.Dense(2)]),
    ):
        assert len(sampling) >= 999_000
        model = Sequential(sampling, layers)
        model.build((None, len(sampling), 1))
        path = tmp_path / "model.keras"
        model.save(path)
        with zipfile.ZipFile(path) as file:
            assert len(file.read("config.json")) < 5e6
        assert keras.models.load_model(path).sampling == sampling


def operators(model):
    return [layer.operator.matrix for layer in model.layers if hasattr(layer, "operator")]


GRID = GaussLegendre(16)


def test_the_default_graph_is_that_of_each_sampling(tmp_path):
    layers = [ChebyshevConv(2, 2), Resample(Healpix(4)), ChebyshevConv(1, 2)]
    model = Sequential(GRID, layers)
    model.build((None, len(GRID), 1))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for made in (model, again):
        first, second = operators(made)
        assert abs(first - rescaled_laplacian(GRID, scale=0.75)).max() == 0
        plain = Graph(20, laplacian="normalized")
        assert abs(second - rescaled_laplacian(Healpix(4), plain, 0.75)).max() == 0
        spread = Graph(20, spread=True, laplacian="optimal")
        assert made.layers[0].resolved_graph == spread
    numbered = Sequential(GRID, [ChebyshevConv(2, 2)], graph=Graph(12, laplacian="combinatorial"))
    numbered = Sequential.from_config(numbered.get_config())
    assert numbered.graph_spec == Graph(12, laplacian="combinatorial")
    expected = Graph(12, spread=True, laplacian="combinatorial")
    assert numbered.layers[0].resolved_graph == expected


@pytest.mark.parametrize("written_by", ["model", "layer"])
def test_what_was_trained_on_the_nearest_neighbors_stays_on_them(written_by):
    """Configurations from before 0.1.0 keep their disconnected graphs on grids and warn."""
    grid = Equiangular(32 if written_by == "model" else 34, 64)  # warned of once
    graph = {"neighbors": 8, "laplacian": "normalized"}
    nothing = dict.fromkeys(graph)
    config = Sequential(grid, [ChebyshevConv(2, 2)]).get_config()
    layer = config["layers"][0]["config"]
    for each in (config, layer):
        del each["graph"]
    config.update(graph if written_by == "model" else nothing)
    layer.update(nothing if written_by == "model" else graph)
    old = Sequential.from_config(config)
    expected = Graph(8, spread=False, laplacian="normalized")
    clear_cache()
    with pytest.warns(DisconnectedGraphWarning, match="has .* pieces"):
        old.build((None, len(grid), 1))
    assert abs(operators(old)[0] - rescaled_laplacian(grid, expected, 0.75)).max() == 0
    again = Sequential.from_config(old.get_config())
    assert again.layers[0].resolved_graph == expected  # and stays so


def test_halves_of_graphs_in_old_configurations():
    """Old files combine a layer's own neighbors with the model's Laplacian."""
    inner = UNet(Healpix(4), 1, filters=(2, 2))
    block = ResidualBlock(ChebyshevConv(order=1), name="block")
    layers = [keras.layers.TimeDistributed(ChebyshevConv(2, 1)), block, Resample(Healpix(4)), inner]
    config = Sequential(GRID, layers).get_config()
    half = {"neighbors": None, "laplacian": "optimal"}
    nothing = dict.fromkeys(half)
    wrapped, residual, _, unet = (layer["config"] for layer in config["layers"])
    for each, old in (
        (config, {"neighbors": 8, "laplacian": "normalized"}),
        (wrapped["layer"]["config"], nothing),
        (residual, nothing),
        (residual["conv"]["config"], half),
        (unet, nothing),
    ):
        del each["graph"]
        each.update(old)
    kept = json.dumps(config)
    old = Sequential.from_config(config)
    assert json.dumps(config) == kept
    eight = Graph(8, spread=False, laplacian="normalized")
    assert old.graph_spec == old.layers[0].layer.graph_spec == old.layers[1].graph_spec == eight
    assert old.layers[1].conv1.graph_spec == Graph(8, spread=False, laplacian="optimal")
    assert old.layers[2].neighbors == 4  # of its own kind
    assert old.layers[3].graph_spec is None


def test_old_configurations_of_other_models():
    config = UNet(GRID, 1, filters=(2, 2)).get_config()
    assert config["graph"] is None
    assert UNet.from_config(config).graph_spec is None
    del config["graph"]
    old = UNet.from_config({**config, "neighbors": 20, "laplacian": "normalized"})
    assert old.graph_spec == Graph(20, spread=False, laplacian="normalized")
    assert UNet.from_config({**config, "neighbors": None, "laplacian": None}).graph_spec is None


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Sequential(64, []), TypeError, r"Sampling such as Healpix\(64\), got 64"),
        (lambda: Sequential(PART, [], graph=0), ValueError, "neighbors must be at least 1"),
        (lambda: Sequential(PART, [], graph="x"), ValueError, "graph must be .* got 'x'"),
        (lambda: Sequential(PART, [], laplacian="x"), TypeError, r"Graph\(laplacian='x'\)"),
        (
            lambda: Sequential(PART, [Pool(3)]),
            ValueError,
            r"not closed under nside 1.*extend_pixels",
        ),
        (
            lambda: Sequential(Healpix(2), [Pool(), Pool()]),
            ValueError,
            "has 0 coarser levels",
        ),
        (
            lambda: Sequential(PART, [ChebyshevConv(2, sampling=Healpix(4))]),
            ValueError,
            r"is on Healpix\(nside=4\), but the model puts it on Healpix\(nside=8",
        ),
        (
            lambda: Sequential(PART, stack()).build((None, 100, 1)),
            ValueError,
            r"needs inputs of shape \(batch, 112, channels\), got \(None, 100, 1\)",
        ),
        (
            lambda: Sequential(PART, stack())(np.zeros((2, 768, 1), np.float32)),
            ValueError,
            r"needs inputs of shape \(batch, 112, channels\)",
        ),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_layer_after_a_change_of_pixels_it_cannot_know():
    model = Sequential(PART, [keras.layers.MaxPooling1D(4), ChebyshevConv(2)])
    with pytest.raises(ValueError, match=r"needs inputs of shape \(batch, 112, channels\)"):
        model(data())
