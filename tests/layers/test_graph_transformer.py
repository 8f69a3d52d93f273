import keras
import numpy as np
import pytest

from deepsphere.graph import Graph, edge_weights, gaussian_weights
from deepsphere.graph.spec import as_graph
from deepsphere.layers.graph_transformer import GraphTransformer, NeighborTransformerBlock
from deepsphere.models import Sequential
from deepsphere.sampling import Equiangular, Healpix
from harness import BACKEND, SINGLE, check_layer, relative_error, to_numpy
from transformer_truth import (
    block_truth,
    dense,
    freeze_key_biases,
    move_weights,
    weights_of,
)

SPHERE = Healpix(2)
PART = Healpix(4, np.r_[0:16, 32:48, 100:108])


def data(sampling, channels=3, batch=3):
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, len(sampling), channels)).astype(np.float32)


def built(sampling, graph=4, **arguments):
    arguments = {"activation": "tanh", "num_layers": 2, "graph": graph, **arguments}
    layer = GraphTransformer(3, 2, sampling=sampling, **arguments)
    layer.build((None, len(sampling), 3))
    return move_weights(layer)


def truth(layer, x, mask=None):
    n, graph = x.shape[1], layer.graph_spec or Graph()
    pattern = gaussian_weights(layer.sampling, graph.neighbors).toarray() != 0
    if layer.self_loops:
        pattern = pattern | np.eye(n, dtype=bool)
    x = x.astype(float)
    if mask is not None:
        x = np.where(mask[..., None], x, 0)
    x = dense(x, layer.embedding)
    if layer.position is not None:
        x = x + weights_of(layer.position)[0]
    for block in layer.blocks:
        x = block_truth(x, block, np.tanh, pattern, mask)
    return x


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"self_loops": True, "normalization": None},
        {"position_embedding": False, "num_layers": 1, "graph": None},
    ],
    ids=str,
)
@pytest.mark.parametrize("sampling", [SPHERE, PART], ids=repr)
def test_output_is_that_of_the_definition(sampling, arguments, masked):
    layer, x = built(sampling, **arguments), data(sampling)
    mask = np.random.default_rng(1).random(x.shape[:2]) < 0.6 if masked else None
    expected = truth(layer, x, mask)
    seen = slice(None) if mask is None else mask
    assert relative_error(to_numpy(layer(x, mask=mask))[seen], expected[seen]) < SINGLE


@pytest.mark.slow  # JAX compiles each operation of each precision
def test_gates(tmp_path):
    def make():
        layer = GraphTransformer(
            3, 2, sampling=SPHERE, graph=4, activation="tanh", name="transformer"
        )
        layer.build((None, len(SPHERE), 3))
        return freeze_key_biases(layer)

    check_layer(make, data(SPHERE), tmp_path)


def test_the_block_alone(tmp_path):
    """On its own, the block can be saved and loaded, and computes the same as in the stack."""
    layer, x = built(SPHERE, num_layers=1), data(SPHERE)
    block = NeighborTransformerBlock(3, 2, sampling=SPHERE, graph=4, activation="tanh")
    inputs = keras.Input((48, 6))
    model = keras.Model(inputs, block(inputs))
    block.set_weights(layer.blocks[0].get_weights())
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[-1].get_config() == block.get_config()
    assert block.get_config()["graph"] == Graph(4).get_config()
    embedded = layer.position(layer.embedding(x))
    assert relative_error(loaded(embedded), to_numpy(layer(x))) < SINGLE


def test_nan_outside_the_mask_goes_nowhere():
    layer, x = built(SPHERE), data(SPHERE)
    mask = np.random.default_rng(1).random(x.shape[:2]) < 0.6
    mask[2] = False  # nothing observed at all
    hidden = np.where(mask[..., None], x, np.float32(np.nan))
    y, expected = to_numpy(layer(hidden, mask=mask)), to_numpy(layer(x, mask=mask))
    assert np.isfinite(y).all()
    np.testing.assert_array_equal(y[mask], expected[mask])
    assert np.abs(to_numpy(layer(x))[mask] - y[mask]).max() > 1e-3


def test_training_with_a_mask_in_the_data():
    """A mask as an input, compiled as by default, with NaN outside."""
    x = data(SPHERE)
    mask = np.random.default_rng(1).random(x.shape[:2]) < 0.6
    inputs, seen = keras.Input((48, 3)), keras.Input((48,), dtype="bool")
    layer = GraphTransformer(3, 2, sampling=SPHERE, graph=4)
    y = keras.layers.GlobalAveragePooling1D()(layer(inputs, mask=seen), mask=seen)
    model = keras.Model([inputs, seen], keras.layers.Dense(1)(y))
    jit = False if BACKEND == "torch" else "auto"  # torch.compile takes half a minute
    model.compile(keras.optimizers.SGD(1e-2), "mse", jit_compile=jit)
    x[~mask] = np.nan
    losses = model.fit([x, mask], np.ones((3, 1)), batch_size=2, epochs=3, verbose=0)
    assert np.isfinite(losses.history["loss"]).all()
    assert losses.history["loss"][2] < losses.history["loss"][0]


def test_the_neighbors_are_shared_and_the_models():
    layers = [GraphTransformer(3, 2, graph=k) for k in (None, 6, None)]
    model = Sequential(SPHERE, layers, graph=8)
    model.build((None, 48, 3))
    first, second, third = (layer.blocks[0].pattern for layer in model.layers[-3:])
    assert first is third
    assert first is not second
    assert second.nnz == gaussian_weights(SPHERE, 6).nnz
    assert first.nnz == gaussian_weights(SPHERE, 8).nnz
    assert model.output_shape == (None, 48, 6)


@pytest.mark.parametrize("edges", ["mesh", "adjacent", Graph(6, spread=True)], ids=str)
def test_edges_other_than_the_nearest(edges):
    """A model's graph, valid for convolutions, used to crash the layer."""
    model = Sequential(SPHERE, [GraphTransformer(3, 2)], graph=edges)
    model.build((None, 48, 3))
    (pattern,) = (layer.blocks[0].pattern for layer in model.layers[-1:])
    expected = edge_weights(SPHERE, edges).toarray() != 0
    np.testing.assert_array_equal(pattern.matrix.toarray(), expected)
    again = GraphTransformer.from_config(model.layers[-1].get_config())
    assert again.graph_spec == model.layers[-1].graph_spec == as_graph(edges)


def test_on_a_grid_with_rows_at_the_poles():
    """The nearest neighbors of a pole pixel used to be the other pole pixels."""
    grid = Equiangular(9, 16, "clenshaw-curtis")
    layer = built(grid, None, position_embedding=False)
    x = data(grid).reshape(3, 9, 16, 3)
    x[:, [0, -1]] = x[:, [0, -1], :1]
    x = x.reshape(3, 144, 3)
    y = to_numpy(layer(x)).reshape(3, 9, 16, -1)
    assert np.ptp(y[:, [0, -1]], axis=2).max() < 1e-5 * np.abs(y).max()  # single precision
    pattern = layer.blocks[0].pattern.matrix.tocoo()
    assert (grid.places[pattern.row] != grid.places[pattern.col]).all()


def test_without_position_the_weights_fit_any_sampling():
    fine, coarse = (built(s, position_embedding=False) for s in (Healpix(2), Healpix(1)))
    coarse.set_weights(fine.get_weights())
    x = data(coarse.sampling)
    assert relative_error(coarse(x), truth(coarse, x)) < SINGLE


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"key_dim": 0}, ValueError, "key_dim must be at least 1, got 0"),
        ({"num_heads": "2"}, TypeError, "num_heads must be an integer, got '2'"),
        ({"num_layers": 0}, ValueError, "num_layers must be at least 1, got 0"),
        ({"graph": 0}, ValueError, "neighbors must be at least 1, got 0"),
        ({"activation": "rleu"}, ValueError, "rleu"),
        ({"sampling": 64}, TypeError, "sampling must be a Sampling"),
    ],
    ids=str,
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        GraphTransformer(**{"key_dim": 3, "num_heads": 2, **arguments})


def test_bad_inputs():
    with pytest.raises(ValueError, match=r"needs inputs of shape \(batch, 48, channels\)"):
        GraphTransformer(3, 2, sampling=SPHERE)(np.zeros((2, 12, 3), np.float32))
    with pytest.raises(ValueError, match="does not know the sampling of its input"):
        GraphTransformer(3, 2)(np.zeros((2, 12, 3), np.float32))
