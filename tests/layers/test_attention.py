import keras
import numpy as np
import pytest

from deepsphere.layers.attention import PositionEmbedding, TransformerBlock
from deepsphere.sampling import Healpix
from harness import SINGLE, check_layer, relative_error, to_numpy
from transformer_truth import block_truth, freeze_key_biases, move_weights

SPHERE = Healpix(2)


def data(channels=6, batch=3):
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, len(SPHERE), channels)).astype(np.float32)


def built(**arguments):
    block = TransformerBlock(3, 2, sampling=SPHERE, **{"activation": "tanh", **arguments})
    block.build((None, len(SPHERE), 6))
    return move_weights(block)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("normalization", ["layer", None])
def test_output_is_that_of_the_definition(normalization, masked):
    block, x = built(normalization=normalization), data()
    mask = np.random.default_rng(1).random(x.shape[:2]) < 0.6 if masked else None
    y = block(x, mask=mask)
    assert relative_error(y, block_truth(x.astype(float), block, np.tanh, mask=mask)) < SINGLE


def test_activation_is_relu_and_may_be_none():
    x = data()
    for activation, function in (("relu", lambda z: np.maximum(z, 0)), (None, lambda z: z)):
        block = built(activation=activation)
        assert relative_error(block(x), block_truth(x.astype(float), block, function)) < SINGLE
    assert TransformerBlock(3, 2).activation is keras.activations.relu


@pytest.mark.slow  # JAX compiles each operation of each precision
def test_gates_without_norm(tmp_path):  # with it: the two transformers
    def make():
        block = TransformerBlock(
            3, 2, sampling=SPHERE, activation="tanh", normalization=None, name="block"
        )
        block.build((None, len(SPHERE), 6))
        return freeze_key_biases(block)

    check_layer(make, data(), tmp_path)


def test_names_of_the_parts():
    paths = [w.path for w in built(name="block").weights]
    parts = [path.split("/")[-2] for path in paths]
    assert sorted(set(parts)) == ["dense", "key", "norm1", "norm2", "query", "value"]
    assert len(paths) == 12


def test_large_scores_do_not_overflow():
    block = built(normalization=None)
    assert np.isfinite(to_numpy(block(1e3 * data()))).all()


def test_nan_outside_the_mask_goes_nowhere():
    block, x = built(), data()
    mask = np.random.default_rng(1).random(x.shape[:2]) < 0.6
    mask[2] = False  # nothing observed at all
    hidden = np.where(mask[..., None], x, np.float32(np.nan))
    y, expected = to_numpy(block(hidden, mask=mask)), to_numpy(block(x, mask=mask))
    assert np.isfinite(y).all()
    np.testing.assert_array_equal(y[mask], expected[mask])
    assert np.abs(to_numpy(block(x))[mask] - y[mask]).max() > 1e-3


def test_position_embedding(tmp_path):
    layer, x = PositionEmbedding(sampling=SPHERE), data()
    y = to_numpy(layer(x))
    (embeddings,) = layer.get_weights()
    assert embeddings.shape == (1, 48, 6)
    assert embeddings.std() == pytest.approx(0.02, rel=0.15)  # 288 draws know it to 4 %
    np.testing.assert_allclose(y - x, np.broadcast_to(embeddings, x.shape), atol=1e-6)
    check_layer(lambda: PositionEmbedding(sampling=SPHERE, name="position"), x, tmp_path)


def test_position_embedding_takes_an_initializer():
    layer = PositionEmbedding(sampling=SPHERE, embeddings_initializer="ones")
    np.testing.assert_array_equal(to_numpy(layer(np.zeros((1, 48, 2), np.float32))), 1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"key_dim": 0}, ValueError, "key_dim must be at least 1, got 0"),
        ({"key_dim": 2.5}, TypeError, "key_dim must be an integer, got 2.5"),
        ({"num_heads": 0}, ValueError, "num_heads must be at least 1, got 0"),
        ({"activation": "rleu"}, ValueError, "rleu"),
        ({"sampling": 64}, TypeError, "sampling must be a Sampling"),
    ],
    ids=str,
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        TransformerBlock(**{"key_dim": 3, "num_heads": 2, **arguments})


def test_bad_inputs():
    with pytest.raises(ValueError, match=r"needs key_dim \* num_heads = 6 channels, got 5"):
        TransformerBlock(3, 2, sampling=SPHERE)(data(channels=5))
    with pytest.raises(ValueError, match=r"needs inputs of shape \(batch, 48, channels\)"):
        PositionEmbedding(sampling=SPHERE)(np.zeros((2, 12, 6), np.float32))
