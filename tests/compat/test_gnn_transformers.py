"""Old transformers on any graph, compared with dense float64 attention."""

import keras
import numpy as np
import pytest
from scipy.sparse import csr_array

import deepsphere
from deepsphere import HealpyGCNN
from deepsphere import gnn_transformers as gt
from deepsphere import healpy_layers as hl
from deepsphere.layers import GraphTransformer, VisionTransformer
from deepsphere.sampling import Healpix
from harness import relative_error, to_numpy

N, HEADS, DEPTH = 20, 2, 3
RNG = np.random.default_rng(0)
A = (RNG.random((N, N)) < 0.3) * RNG.random((N, N))  # directed, weighted
A[3] = 0  # a vertex that attends to none
Q, K, V = RNG.standard_normal((3, 2, HEADS, N, DEPTH)).astype("float32")
X = RNG.standard_normal((2, N, 5)).astype("float32")


def dense_attention(q, k, v, allowed):
    q, k, v = (a.astype(float) for a in (q, k, v))
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max()) * allowed
    total = weights.sum(axis=-1, keepdims=True)
    return np.divide(weights, total, out=np.zeros_like(weights), where=total > 0) @ v


def test_dense_attention():
    forbidden = (A == 0).astype("float32")
    forbidden[3, 0] = 0
    output, weights = gt.scaled_dot_product_attention(Q, K, V, forbidden)
    assert relative_error(output, dense_attention(Q, K, V, forbidden == 0)) < 1e-5
    np.testing.assert_allclose(to_numpy(weights).sum(axis=-1), 1, rtol=1e-5)
    output, _ = gt.scaled_dot_product_attention(Q, K, V)
    assert relative_error(output, dense_attention(Q, K, V, True)) < 1e-5


@pytest.mark.parametrize("factor", [1, 1e3])
def test_sparse_attention_does_not_overflow(factor):
    edges = RNG.permutation(np.argwhere(A))
    q = (factor * Q).astype("float32")
    output = to_numpy(gt.scaled_dot_product_sparse_attention(q, K, V, edges))
    assert np.isfinite(output).all()
    if factor == 1:
        assert relative_error(output, dense_attention(Q, K, V, A != 0)) < 1e-5
    assert (output[:, :, 3] == 0).all()


def block_truth(block, x, allowed):
    """The block by its definition, in float64."""

    def dense(layer, x):
        return x @ to_numpy(layer.kernel).astype(float) + to_numpy(layer.bias)

    def norm(layer, x):
        if layer is None:
            return x
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3)
        return x * to_numpy(layer.gamma) + to_numpy(layer.beta)

    def heads(x):
        return x.reshape(*x.shape[:2], block.num_heads, -1).swapaxes(1, 2)

    x = norm(block.norm1, x.astype(float))
    q, k, v = (heads(dense(layer, x)) for layer in (block.query, block.key, block.value))
    y = x + dense_attention(q, k, v, allowed).swapaxes(1, 2).reshape(x.shape)
    return y + np.maximum(dense(block.dense, norm(block.norm2, y)), 0)


@pytest.mark.parametrize("use_norm", [True, False])
@pytest.mark.parametrize("sparse", [True, False])
def test_multi_head_attention(sparse, use_norm):
    x = RNG.standard_normal((2, N, 6)).astype("float32")
    edges = np.vstack([np.argwhere(A), [[N - 1, N - 1]]]) if sparse else None
    allowed = True
    if sparse:
        allowed = A != 0
        allowed[N - 1, N - 1] = True
    block = gt.MultiHeadAttention(6, 2, use_norm=use_norm, sparse_A_indices=edges)
    y = block(x)
    assert relative_error(y, block_truth(block, x, allowed)) < 1e-5
    with pytest.raises(ValueError, match="num_heads must divide d_model=6, got 4"):
        gt.MultiHeadAttention(6, 4)


@pytest.mark.parametrize("layer_norm", [True, False])
@pytest.mark.parametrize("form", [np.asarray, csr_array])
def test_graph_transformer(form, layer_norm, tmp_path):
    before = A.copy()
    layer = gt.Graph_Transformer(
        form(A), 3, 2, positional_encoding=False, n_layers=2, layer_norm=layer_norm
    )
    y = to_numpy(layer(X))
    expected = X.astype(float) @ to_numpy(layer.embedding.kernel) + to_numpy(layer.embedding.bias)
    for block in layer.blocks:
        expected = block_truth(block, expected, A != 0)
    assert relative_error(y, expected) < 1e-5
    np.testing.assert_array_equal(A, before)

    inputs = keras.Input((N, 5))
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))


def test_position_embeddings():
    layer = gt.AddPositionEmbs(posemb_init="ones")
    np.testing.assert_array_equal(to_numpy(layer(X)), X + 1)


def test_vision_transformer_on_any_vertices():
    assert tuple(gt.Graph_ViT(2, 3, 2, n_layers=2)(np.ones((2, 32, 5), "float32")).shape) == (
        2,
        2,
        6,
    )
    assert hl.Healpy_ViT is gt.Graph_ViT


def test_in_healpy_networks(tmp_path):
    layers = [
        hl.Healpy_Transformer(key_dim=3, num_heads=2, n_layers=1, layer_norm=False),
        hl.Healpy_ViT(p=1, key_dim=4, num_heads=2),
        hl.HealpyChebyshev(K=3, Fout=2),
    ]
    model = HealpyGCNN(4, np.arange(192), layers, n_neighbors=8)
    x = RNG.standard_normal((2, 192, 1)).astype("float32")
    y = model.predict(x, verbose=0)
    assert y.shape == (2, 48, 2)
    assert isinstance(model.layers[0], GraphTransformer)
    assert isinstance(model.layers[1], VisionTransformer)
    assert model.layers[0].graph_spec.neighbors == 8
    assert model.nside_out == 2
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), y)


def test_get_layer():
    layer = hl.Healpy_Transformer(3, 2)._get_layer(A)
    assert isinstance(layer, gt.Graph_Transformer)
    assert tuple(layer(X).shape) == (2, N, 6)


def test_errors():
    with pytest.raises(ValueError, match=r"A must be a square matrix, got shape \(3, 4\)"):
        gt.Graph_Transformer(np.ones((3, 4)), 3, 2)
    with pytest.raises(ValueError, match=r"shape \(edges, 2\), got shape \(20, 20\)"):
        gt.scaled_dot_product_sparse_attention(Q, K, V, A)


def test_public_name():
    assert deepsphere.gnn_transformers is gt
    assert deepsphere.sampling.Healpix is Healpix
