"""TensorFlow checkpoints restore every weight of the old layers."""

import keras
import numpy as np
import pytest

from deepsphere import HealpyGCNN, gnn_layers, gnn_transformers
from deepsphere import healpy_layers as hl
from deepsphere.graph import laplacian
from deepsphere.sampling import Healpix
from harness import BACKEND, to_numpy

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's own checkpoints")

SPHERE = Healpix(4)
L = laplacian(SPHERE, 8)
CONV = {"use_bias": True, "use_bn": True}
RESIDUAL = {"use_bn": True, "activation": "relu"}
LAYER_NORM = {"use_bn": True, "norm_type": "layer_norm", "bn_kwargs": {"axis": (1, 2)}}


def network(*layers):
    model = HealpyGCNN(4, np.arange(192), layers)
    model.build((None, 192, 2))
    return model


MAKE = {
    "Chebyshev": lambda: gnn_layers.Chebyshev(L, 3, 4, **CONV),
    "Chebyshev depth-wise": lambda: gnn_layers.Chebyshev(L, 3, depth_wise=True, **CONV),
    "Monomial": lambda: gnn_layers.Monomial(L, 3, 4, **CONV),
    "Bernstein": lambda: gnn_layers.Bernstein(L, 2, 4, **CONV),
    "GCNN_ResidualLayer": lambda: gnn_layers.GCNN_ResidualLayer(
        "MONO", {"L": L, "K": 2, **CONV}, **RESIDUAL
    ),
    "GCNN_ResidualLayer layer norm": lambda: gnn_layers.GCNN_ResidualLayer(
        "BERN", {"L": L, "K": 2}, **LAYER_NORM
    ),
    "Graph_Transformer": lambda: gnn_transformers.Graph_Transformer(L, 2, 2, n_layers=2),
    "Graph_ViT": lambda: gnn_transformers.Graph_ViT(1, 2, 2, n_layers=2),
    "AddPositionEmbs": gnn_transformers.AddPositionEmbs,
    "MultiHeadAttention": lambda: gnn_transformers.MultiHeadAttention(2, 2),
    "MultiHeadAttention on edges": lambda: gnn_transformers.MultiHeadAttention(
        2, 1, sparse_A_indices=np.argwhere(L.toarray() != 0)
    ),
    "HealpyChebyshev": lambda: network(hl.HealpyChebyshev(3, 4, **CONV)),
    "HealpyMonomial": lambda: network(hl.HealpyMonomial(3, 4, **CONV)),
    "HealpyBernstein": lambda: network(hl.HealpyBernstein(2, 4, **CONV)),
    "HealpyPool": lambda: hl.HealpyPool(1),
    "HealpyPseudoConv": lambda: hl.HealpyPseudoConv(1, 3),
    "HealpyPseudoConv_Transpose": lambda: hl.HealpyPseudoConv_Transpose(1, 3),
    "HealpySmoothing": lambda: hl.HealpySmoothing(
        4, np.arange(192), fwhm=900.0, white_noise_sigma=0.1
    ),
    "Healpy_ResidualLayer": lambda: network(
        hl.Healpy_ResidualLayer("CHEBY", {"K": 3, **CONV}, **RESIDUAL)
    ),
    "Healpy_Transformer": lambda: network(hl.Healpy_Transformer(2, 2, n_layers=2)),
    "Healpy_ViT": lambda: hl.Healpy_ViT(1, 2, 2, n_layers=2),
    "a whole network": lambda: network(
        hl.HealpySmoothing(4, np.arange(192), fwhm=900.0),
        hl.HealpyPseudoConv(1, 3, activation="elu"),
        hl.HealpyChebyshev(3, 4, **CONV),
        hl.HealpyPseudoConv_Transpose(1, 4),
        hl.Healpy_ResidualLayer("MONO", {"K": 2, **CONV}, **LAYER_NORM),
        hl.Healpy_Transformer(2, 2),
        hl.HealpyPool(1, "AVG"),
        hl.Healpy_ViT(1, 2, 2),
        keras.layers.Flatten(),
        keras.layers.Dense(2),
    ),
}


def test_no_old_layer_is_left_out():
    covered = {name.split()[0] for name in MAKE}
    modules = (hl, gnn_layers, gnn_transformers)
    functions = {name for name in gnn_transformers.__all__ if name.startswith("scaled_dot")}
    assert {name for module in modules for name in module.__all__} - functions <= covered


@pytest.mark.parametrize("name", MAKE)
def test_every_weight_comes_back(name, tmp_path):
    import tensorflow as tf

    x = np.random.default_rng(1).standard_normal((2, 192, 2)).astype("float32")
    layer, fresh = MAKE[name](), MAKE[name]()
    for one in (layer, fresh):
        one(x)
    for number, variable in enumerate(layer.weights):  # each another value, above 0
        if variable.dtype == "float32":
            variable.assign(np.abs(to_numpy(variable)) + 0.1 + 0.01 * number)
    path = tf.train.Checkpoint(network=layer).save(str(tmp_path / "checkpoint"))
    status = tf.train.Checkpoint(network=fresh).restore(path)
    status.assert_existing_objects_matched()
    assert bool(layer.weights) == (name not in ("HealpyPool", "HealpySmoothing"))
    for one, other in zip(layer.weights, fresh.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(other), to_numpy(one), err_msg=one.path)
    np.testing.assert_array_equal(to_numpy(fresh(x)), to_numpy(layer(x)))
