"""HealpyGCNN: attributes, partial sky, saving, independence of models."""

import h5py
import healpy as hp
import keras
import numpy as np
import pytest

import deepsphere
from deepsphere import HealpyGCNN, gnn_layers, gnn_transformers, healpy_networks
from deepsphere import healpy_layers as hl
from deepsphere.graph import Graph, laplacian
from deepsphere.models import Sequential
from deepsphere.sampling import Healpix
from deepsphere.utils import extend_indices

DISC = extend_indices(hp.query_disc(8, (1.0, 0, 0), 0.8, nest=True), 8, 2)


def some_layers() -> list[keras.layers.Layer]:
    return [
        hl.HealpyChebyshev(K=3, Fout=4, use_bias=True, use_bn=True, activation="relu"),
        hl.HealpyPool(p=1),
        hl.HealpyMonomial(K=3, Fout=3),
        hl.HealpyPseudoConv(p=1, Fout=5),
        hl.HealpyBernstein(K=2, Fout=2),
        keras.layers.Dense(2),
    ]


def maps(pixels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((3, pixels, 1)).astype("float32")


def predict(model: keras.Model, x: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(x, training=False))


@pytest.mark.parametrize("indices", [np.arange(768), DISC], ids=["full", "part"])
def test_attributes(indices):
    layers = some_layers()
    model = HealpyGCNN(nside=8, indices=indices, layers=layers, n_neighbors=12)
    assert (model.nside_in, model.nside_out) == (8, 2)
    assert isinstance(model.nside_out, int)
    assert model.reduction_fac == 4
    assert model.n_neighbors == 12
    np.testing.assert_array_equal(model.indices_in, indices)
    assert model.layers_in == layers
    assert model.layers_use == model.layers
    assert all(isinstance(b, type(a)) for a, b in zip(layers, model.layers_use, strict=True))
    y = predict(model, maps(len(indices)))
    assert y.shape == (3, len(indices) // 16, 2)
    assert np.all(np.isfinite(y))
    # Each graph layer is on its own resolution, and has the model's number of neighbors.
    samplings = [layer.sampling.nside for layer in model.layers_use[:-1]]
    assert samplings == [8, 8, 4, 4, 2]
    assert (
        model.layers_use[0].resolved_graph.neighbors
        == model.layers_use[4].resolved_graph.neighbors
        == 12
    )
    assert model.layers_in == layers
    assert len(model.layers) == 6


@pytest.mark.parametrize(
    ("layers", "nside_out"),
    [
        ([], 4),
        ([hl.HealpyChebyshev(2)], 4),
        ([hl.HealpyPool(1)], 2),
        ([hl.HealpyPool(2)], 1),
        ([hl.HealpyPseudoConv(1, 2), hl.HealpyPool(1)], 1),
        ([hl.HealpyPseudoConv_Transpose(1, 2)], 8),
        ([hl.HealpyPseudoConv_Transpose(2, 1), hl.HealpyPool(1)], 8),
        ([hl.HealpyPool(1), keras.layers.GlobalAveragePooling1D()], 2),
    ],
)
def test_resolution_of_the_output(layers, nside_out):
    model = HealpyGCNN(4, np.arange(192), layers)
    assert model.nside_out == nside_out
    assert model.reduction_fac == 4 / nside_out


def test_default_is_eight_neighbors():
    model = HealpyGCNN(4, np.arange(192), [hl.HealpyChebyshev(2)])
    assert model.n_neighbors == model.layers_use[0].resolved_graph.neighbors == 8


def test_old_arguments_are_taken():
    model = HealpyGCNN(4, np.arange(192), [hl.HealpyChebyshev(2)], 20, 64, 1, name="old")
    assert (model.n_neighbors, model.name) == (20, "old")
    HealpyGCNN(nside=4, indices=range(192), layers=[], max_batch_size=64, initial_Fin=1)


def test_is_a_sequential_of_the_package():
    x, layers = maps(768), some_layers()
    old = HealpyGCNN(8, np.arange(768), layers, n_neighbors=20)
    new = Sequential(Healpix(8), some_layers(), graph=Graph(20, laplacian="normalized_tf2"))
    assert isinstance(old, Sequential)
    predict(old, x), predict(new, x)
    new.set_weights(old.get_weights())
    np.testing.assert_array_equal(predict(old, x), predict(new, x))


def test_pixels_not_closed():
    with pytest.raises(ValueError, match=r"extend_pixels\(pixels, 8, 4, nest=True\)"):
        HealpyGCNN(8, DISC[1:], some_layers())
    with pytest.raises(ValueError, match="nside 8 has 3 coarser levels, got levels=4"):
        HealpyGCNN(8, np.arange(768), [hl.HealpyPool(4)])
    HealpyGCNN(8, DISC[1:], [hl.HealpyChebyshev(2)])  # no resolution changes: any pixels will do


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ((6, [0], []), ValueError, "nside must be a power of two"),
        ((8, [3, 1], []), ValueError, "strictly increasing"),
        ((8, np.ones(768, bool), []), TypeError, "boolean map"),
        ((8, [0, 1], [], 0), ValueError, "neighbors must be at least 1, got 0"),
    ],
)
def test_errors(arguments, error, match):
    with pytest.raises(error, match=match):
        HealpyGCNN(*arguments)


def test_graphs_are_said_as_in_the_old_code():
    with pytest.raises(TypeError, match=r"takes n_neighbors and laplacian, got graph=8; .*Sequ"):
        HealpyGCNN(8, DISC, [], graph=8)


def test_wrong_number_of_pixels():
    model = HealpyGCNN(8, DISC, some_layers())
    with pytest.raises(ValueError, match=rf"\(batch, {len(DISC)}, channels\)"):
        model.build((None, 768, 1))


@pytest.mark.parametrize("indices", [np.arange(768), DISC], ids=["full", "part"])
def test_save_and_load(indices, tmp_path):
    model = HealpyGCNN(8, indices, some_layers(), n_neighbors=12, laplacian="combinatorial")
    model.compile("adam", "mse")
    x = maps(len(indices))
    model.fit(x, np.zeros((3, len(indices) // 16, 2), "float32"), epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is HealpyGCNN
    np.testing.assert_array_equal(predict(loaded, x), predict(model, x))
    assert (loaded.nside_in, loaded.nside_out, loaded.n_neighbors) == (8, 2, 12)
    assert (loaded.graph_spec.laplacian, loaded.name) == ("combinatorial", model.name)
    np.testing.assert_array_equal(loaded.indices_in, indices)
    assert [layer.name for layer in loaded.layers_in] == [layer.name for layer in model.layers]
    assert len(loaded.layers_in) == 6


def test_save_and_load_before_it_is_built(tmp_path):
    with pytest.warns(UserWarning, match="has not yet been built"):  # Keras'
        HealpyGCNN(8, DISC, some_layers()).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert predict(loaded, maps(len(DISC))).shape == (3, len(DISC) // 16, 2)


def test_weights_file(tmp_path):
    x = maps(768)
    model, other = (HealpyGCNN(8, np.arange(768), some_layers()) for _ in range(2))
    assert np.abs(predict(model, x) - predict(other, x)).max() > 1e-3
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(predict(model, x), predict(other, x))
    # The layers as they were given are no part of the model: nothing is saved twice.
    with h5py.File(tmp_path / "model.weights.h5") as file:
        assert set(file) == {"layers", "vars"}
    plain = Sequential(Healpix(8), some_layers(), graph=Graph(8, laplacian="normalized_tf2"))
    plain.build((None, 768, 1))
    plain.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(predict(model, x), predict(plain, x))


def test_one_list_makes_two_models():
    layers = some_layers()[:-1]
    x = maps(768)
    first = HealpyGCNN(8, np.arange(768), layers, n_neighbors=8)
    second = HealpyGCNN(8, np.arange(768), layers, n_neighbors=20)
    small = HealpyGCNN(8, DISC, layers)
    y = predict(first, x)
    predict(second, x), predict(small, maps(len(DISC)))
    assert not set(map(id, first.layers)) & set(map(id, second.layers)) & set(map(id, layers))
    second.set_weights([weight + 1 for weight in second.get_weights()])
    np.testing.assert_array_equal(predict(first, x), y)
    assert not any(layer.built for layer in layers)
    assert [layer.resolved_graph.neighbors for layer in (first.layers[0], second.layers[0])] == [
        8,
        20,
    ]


def test_training_learns():
    """Such a network can learn the mean of a map, so the error must fall far."""
    layers = [
        hl.HealpyChebyshev(3, 4, use_bias=True, activation="elu"),
        hl.HealpyPool(1, "AVG"),
        hl.HealpyChebyshev(3, 1, use_bias=True),
        keras.layers.GlobalAveragePooling1D(),
    ]
    model = HealpyGCNN(4, np.arange(192), layers)
    rng = np.random.default_rng(0)
    y = rng.standard_normal((32, 1)).astype("float32")
    x = (y[:, None] + 0.1 * rng.standard_normal((32, 192, 1))).astype("float32")
    model.compile(keras.optimizers.Adam(0.02), "mse")
    history = model.fit(x, y, epochs=30, batch_size=8, verbose=0).history["loss"]
    assert history[-1] < 0.1 * history[0]


def test_layers_have_the_old_classes_and_arguments(tmp_path):
    layers = [
        hl.HealpyPseudoConv(p=1, Fout=4),
        hl.HealpyPseudoConv_Transpose(p=1, Fout=3),
        hl.HealpyChebyshev(K=5, Fout=6, use_bn=True, initializer="ones", activation="relu"),
        hl.HealpyBernstein(K=2),
        hl.HealpyMonomial(K=2),
        hl.Healpy_ResidualLayer("MONO", {"K": 3}, use_bn=True, norm_type="layer_norm", alpha=0.5),
        hl.HealpyPool(p=1, pool_type="AVG"),
        hl.Healpy_Transformer(2, 3, n_layers=2),
        hl.Healpy_ViT(1, 2, 2, positional_encoding=False),
    ]
    model = HealpyGCNN(8, np.arange(768), layers)
    model.build((None, 768, 1))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for stack in (layers, model.layers, loaded.layers, keras.models.clone_model(model).layers):
        down, up, cheb, bern, mono, residual, pool, attention, vision = stack
        for layer, given in zip(stack, layers, strict=True):
            assert isinstance(layer, type(given))
        assert (down.p, down.Fout, down.filter_size) == (1, 4, 4)
        assert (up.p, up.Fout, up.filter_size) == (1, 3, 4)
        assert (cheb.K, cheb.Fout, cheb.use_bn, cheb.use_bias) == (5, 6, True, False)
        assert isinstance(cheb.initializer, keras.initializers.Ones)
        assert isinstance(cheb.bn, keras.layers.BatchNormalization)
        assert (bern.K, bern.Fout, mono.K) == (2, None, 2)
        assert (residual.layer_type, residual.layer_kwargs["K"]) == ("MONO", 3)
        assert (residual.use_bn, residual.norm_type, residual.alpha) == (True, "layer_norm", 0.5)
        assert not residual.act_before
        assert residual.conv2.order == 2
        assert (pool.p, pool.pool_type, pool.filter_size) == (1, "AVG", 4)
        assert (attention.n_layers, attention.embedding_size) == (2, 6)
        assert (vision.p, vision.embed_filter_size, vision.positional_encoding) == (1, 4, False)
    assert len(model.layers[7].mha_layers) == 2
    assert model.layers[5].layer2.K == 3
    channels = [getattr(layer, "Fout", None) for layer in model.layers]
    assert channels == [4, 3, 6, None, None, None, None, None, None]
    assert [type(layer).__name__ for layer in model.layers[:3]] == [
        *("PatchConv", "PatchConvTranspose", "ChebyshevConv")
    ]


def test_layers_by_the_names_that_the_old_code_gave():
    layers = [
        hl.HealpySmoothing(8, np.arange(768), sigma=100.0),
        hl.HealpyChebyshev(3, 2),
        hl.HealpyPool(1),
        hl.Healpy_ResidualLayer("CHEBY", {"K": 3}),
        hl.HealpyChebyshev(3),
        hl.HealpyPseudoConv_Transpose(1, 2),
        hl.HealpyPseudoConv(1, 2),
        hl.Healpy_Transformer(2, 2),
        hl.Healpy_ViT(1, 2, 2),
        hl.HealpyMonomial(2, name="chebyshev_7"),
    ]
    model = HealpyGCNN(8, np.arange(768), layers)
    names = [
        *("healpy_smoothing", "chebyshev", "healpy_pool", "gcnn__residual_layer"),
        "chebyshev_3",  # the residual layer holds two
        *("healpy_pseudo_conv__transpose", "healpy_pseudo_conv", "graph__transformer"),
        *("healpy__vi_t", "chebyshev_7"),
    ]
    for name, layer in zip(names, model.layers, strict=True):
        assert model.get_layer(name) is layer
        assert model.get_layer(layer.name) is layer
    assert model.get_layer(index=1) is model.layers[1]
    for name in ("chebyshev_1", "chebyshev_4"):
        with pytest.raises(ValueError, match=f"No such layer: {name}"):
            model.get_layer(name)


def test_layers_are_what_old_models_were_made_of():
    layers = [
        hl.HealpyChebyshev(3, 2),
        hl.HealpyMonomial(3),
        hl.HealpyBernstein(2),
        hl.Healpy_ResidualLayer("CHEBY", {"K": 3}),
        hl.Healpy_Transformer(2, 2),
    ]
    model = HealpyGCNN(4, np.arange(192), layers, n_neighbors=20)
    gnn = (gnn_layers.Chebyshev, gnn_layers.Monomial, gnn_layers.Bernstein)
    kinds = (*gnn, gnn_layers.GCNN_ResidualLayer, gnn_transformers.Graph_Transformer)
    for i, layer in enumerate(model.layers):
        assert [isinstance(layer, kind) for kind in kinds] == [i == j for j in range(5)]
    assert not any(isinstance(layer, kinds) for layer in layers)
    L = laplacian(Healpix(4), Graph(20, laplacian="normalized_tf2"))
    residual, transformer = model.layers[3:]
    for layer in (*model.layers[:3], residual.layer1):
        np.testing.assert_array_equal(layer.L.toarray(), L.toarray())
    edges = (L - L.multiply(np.eye(192))).toarray() != 0
    np.testing.assert_array_equal(transformer.A.toarray() != 0, edges)
    assert isinstance(residual.layer1, gnn_layers.Chebyshev)


def test_saving_makes_no_graph(tmp_path, monkeypatch):
    model = HealpyGCNN(4, np.arange(192), [hl.HealpyChebyshev(3, 2), hl.Healpy_Transformer(2, 2)])
    model.build((None, 192, 1))
    made = []
    for kind, name in ((hl.HealpyChebyshev, "L"), (hl.Healpy_Transformer, "A")):
        monkeypatch.setattr(kind, name, property(lambda self: made.append(self)))
    model.save_weights(tmp_path / "model.weights.h5")
    model.load_weights(tmp_path / "model.weights.h5")
    assert not made


def test_transformers_attend_along_the_old_graph():
    """They attend to the pixels with nonzero weights in the old code's Laplacian."""
    edges = laplacian(Healpix(8), Graph(8, laplacian="normalized_tf2"))
    edges.setdiag(0)
    edges.eliminate_zeros()
    model = HealpyGCNN(8, np.arange(768), [hl.Healpy_Transformer(2, 1)])
    model.build((None, 768, 1))
    pattern = model.layers[0].blocks[0].pattern.matrix
    assert (abs(pattern) > 0).astype(int).nnz == edges.nnz
    assert ((pattern != 0) != (edges != 0)).nnz == 0
    new = HealpyGCNN(8, np.arange(768), [hl.Healpy_Transformer(2, 1)], laplacian="normalized")
    new.build((None, 768, 1))
    assert new.layers[0].blocks[0].pattern.matrix.nnz > edges.nnz  # ties are kept


@pytest.mark.parametrize(
    ("nside_in", "nside_out", "indices", "right"),
    [
        (8, 8, [1, 5], [1, 5]),
        (8, 4, [0, 3, 4, 9], [0, 1, 2]),
        (8, 2, [0, 16, 17], [0, 1]),
        (2, 8, [1], np.arange(16, 32)),
    ],
)
def test_transform_indices(nside_in, nside_out, indices, right):
    model = HealpyGCNN(4, np.arange(192), [])
    np.testing.assert_array_equal(model._transform_indices(nside_in, nside_out, indices), right)


def test_transform_indices_against_healpy():
    mask = np.zeros(768)
    mask[DISC] = 1
    model = HealpyGCNN(8, DISC, [])
    for nside in (4, 2, 16):
        right = np.flatnonzero(hp.ud_grade(mask, nside, order_in="NEST", order_out="NEST") > 1e-12)
        np.testing.assert_array_equal(model._transform_indices(8, nside, DISC), right)


def test_old_ways_to_write_arguments():
    model = HealpyGCNN(4.0, np.arange(192), [], name="", spmm_backend="csr")
    assert model.nside_in == 4
    assert model.name


def test_public_names():
    assert deepsphere.HealpyGCNN is healpy_networks.HealpyGCNN is HealpyGCNN
    assert deepsphere.healpy_layers is hl
    assert healpy_networks.hp_nn.HealpyPool is hl.HealpyPool
    assert healpy_networks.gnn.Chebyshev is hl.Chebyshev
