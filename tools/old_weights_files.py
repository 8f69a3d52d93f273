"""Write weights in the formats of Keras 2 and 3, for tests/compat/test_old_weights.py.

Needs TensorFlow, and tf_keras for Keras 2: ``python tools/old_weights_files.py keras2`` (or
``keras3``). The layers here have the class names, attributes and weights of
deepsphere-cosmo-tf2, which determine what is in a file, but do not compute anything useful. The
weights of the convolutional network are those of tests/golden/model.weights.h5, which the old code
itself wrote.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import h5py
import numpy as np
import tensorflow as tf

VERSION = sys.argv[1]
keras = import_module({"keras2": "tf_keras", "keras3": "keras"}[VERSION])
GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
FOLDER = GOLDEN / VERSION


class Chebyshev(keras.Model):
    """A graph convolution: only its first term is computed."""

    def __init__(self, K, Fout=None, use_bias=False, use_bn=False):
        super().__init__()
        self.K, self.Fout, self.use_bias, self.use_bn = K, Fout, use_bias, use_bn
        if use_bn:
            self.bn = keras.layers.BatchNormalization(center=False, scale=False)

    def build(self, input_shape):
        """Make the kernel and the bias."""
        filters = self.Fout or input_shape[-1]
        self.kernel = self.add_weight(name="kernel", shape=[self.K * input_shape[-1], filters])
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=[1, 1, filters])

    def call(self, x, training=False):
        """Use every weight once, so that Keras builds it."""
        y = x @ self.kernel[:: self.K]
        if self.use_bn:
            y = self.bn(y, training=training)
        return y + self.bias if self.use_bias else y


class Monomial(Chebyshev):
    """The same weights."""


class GCNN_ResidualLayer(keras.Model):  # noqa: N801
    """Two convolutions and two normalizations."""

    def __init__(self, layer_kwargs):
        super().__init__()
        self.layer1, self.layer2 = Chebyshev(**layer_kwargs), Chebyshev(**layer_kwargs)
        self.bn1 = keras.layers.BatchNormalization()
        self.bn2 = keras.layers.BatchNormalization()

    def call(self, x):
        """Apply the four layers."""
        return self.bn2(self.layer2(self.bn1(self.layer1(x)))) + x


class HealpyPool(keras.Model):
    """A pooling layer, which wraps one of Keras."""

    def __init__(self, p):
        super().__init__()
        self.filter = keras.layers.MaxPool1D(4**p, 4**p)

    def call(self, x):
        """Pool."""
        return self.filter(x)


class HealpyPseudoConv(keras.Model):
    """A learned pooling, which wraps a convolution of Keras."""

    def __init__(self, p, Fout):
        super().__init__()
        self.filter = keras.layers.Conv1D(Fout, 4**p, strides=4**p)

    def build(self, input_shape):
        """Build the convolution."""
        self.filter.build(input_shape)

    def call(self, x):
        """Convolve."""
        return self.filter(x)


class HealpyPseudoConv_Transpose(keras.Model):  # noqa: N801
    """A learned up-sampling, which wraps a convolution of Keras in two dimensions."""

    def __init__(self, p, Fout):
        super().__init__()
        self.filter = keras.layers.Conv2DTranspose(Fout, (1, 4**p), strides=(1, 4**p))

    def build(self, input_shape):
        """Build the convolution."""
        self.filter.build([input_shape[0], 1, *input_shape[1:]])

    def call(self, x):
        """Convolve."""
        return tf.squeeze(self.filter(tf.expand_dims(x, 1)), 1)


class AddPositionEmbs(keras.layers.Layer):
    """Learned positions."""

    def build(self, input_shape):
        """Make the positions."""
        self.pos_embedding = self.add_weight(name="pos_embedding", shape=(1, *input_shape[1:]))

    def call(self, x):
        """Add the positions."""
        return x + self.pos_embedding


class MultiHeadAttention(keras.Model):
    """The layers of a block, without attention."""

    def __init__(self, d_model):
        super().__init__()
        self.wq, self.wk, self.wv = (keras.layers.Dense(d_model) for _ in range(3))
        self.layer_norm1 = keras.layers.LayerNormalization()
        self.layer_norm2 = keras.layers.LayerNormalization()
        self.dense = keras.layers.Dense(d_model)

    def call(self, x):
        """Use every layer once."""
        x = self.layer_norm1(x)
        return self.dense(self.layer_norm2(self.wq(x) + self.wk(x) + self.wv(x)))


class Graph_ViT(keras.Model):  # noqa: N801
    """A vision transformer."""

    def __init__(self, p, d_model, n_layers):
        super().__init__()
        self.embed = self.embedding(p, d_model)
        self.pos_encoder = AddPositionEmbs()
        self.mha_layers = [MultiHeadAttention(d_model) for _ in range(n_layers)]

    def embedding(self, p, d_model):
        """Return the layer that embeds patches."""
        return keras.layers.Conv1D(d_model, 4**p, strides=4**p)

    def call(self, x):
        """Apply the layers."""
        x = self.pos_encoder(self.embed(x))
        for layer in self.mha_layers:
            x = layer(x)
        return x


class Healpy_ViT(Graph_ViT):  # noqa: N801
    """The same weights."""


class Graph_Transformer(Graph_ViT):  # noqa: N801
    """A graph transformer: its embedding is a dense layer."""

    def embedding(self, p, d_model):  # noqa: ARG002
        """Return the layer that embeds pixels."""
        return keras.layers.Dense(d_model)


class HealpyGCNN(keras.Sequential):
    """The network, which keeps its layers in two more lists, as the old one did."""

    def __init__(self, layers):
        super().__init__(name="")
        self.layers_in = layers
        self.layers_use = list(layers)
        super().__init__(layers=self.layers_use)


class Autoencoder(keras.Model):
    """Two networks in a model of the user's own."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def call(self, x):
        """Apply both."""
        return self.decoder(self.encoder(x))


def convolutional() -> HealpyGCNN:
    """Return the network of tests/golden/model.weights.h5."""
    return HealpyGCNN(
        [
            Chebyshev(6, 5, use_bias=True, use_bn=True),
            HealpyPool(1),
            Monomial(4, 6, use_bias=True),
            GCNN_ResidualLayer({"K": 4, "use_bias": True}),
            HealpyPseudoConv(1, 8),
            HealpyPseudoConv_Transpose(1, 4),
            HealpyPool(1),
            Chebyshev(3, 2),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(3),
        ]
    )


def transformers() -> Autoencoder:
    """Return a nested model with both transformers."""
    encoder = HealpyGCNN([Graph_Transformer(None, 4, 1), Healpy_ViT(2, 4, 2)])
    decoder = HealpyGCNN([HealpyPseudoConv_Transpose(1, 3), Chebyshev(2, 1)])
    return Autoencoder(encoder, decoder)


def golden_weights(model: HealpyGCNN) -> None:
    """Give the convolutional network the weights that the old code wrote."""
    with h5py.File(GOLDEN / "model.weights.h5") as file:
        groups = file["layers"]

        def fill(layer: keras.layers.Layer, group: h5py.Group) -> None:
            own = group["vars"]
            layer.set_weights([own[str(i)][()] for i in range(len(own))])

        def convolution(layer: Chebyshev, group: h5py.Group) -> None:
            layer.kernel.assign(group["vars/0"][()])
            if layer.use_bias:
                layer.bias.assign(group["vars/1"][()])
            if layer.use_bn:
                fill(layer.bn, group["bn"])

        first, _, monomial, residual, down, up, _, last, _, dense = model.layers
        convolution(first, groups["chebyshev"])
        convolution(last, groups["chebyshev_1"])
        convolution(monomial, groups["monomial"])
        group = groups["gcnn__residual_layer"]
        for name in ("layer1", "layer2"):
            convolution(getattr(residual, name), group[name])
        for name in ("bn1", "bn2"):
            fill(getattr(residual, name), group[name])
        fill(down.filter, groups["healpy_pseudo_conv/filter"])
        fill(up.filter, groups["healpy_pseudo_conv__transpose/filter"])
        fill(dense, groups["dense"])


def write(model: keras.Model, name: str) -> None:
    """Write a model's weights in all formats."""
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    model.save_weights(folder / "new.weights.h5")
    if VERSION == "keras2":
        model.save_weights(folder / "legacy.h5")
        model.save_weights(folder / "weights.tf", save_format="tf")
    checkpoint = tf.train.Checkpoint(network=model)
    tf.train.CheckpointManager(checkpoint, str(folder / "manager"), 1).save()


def values(model: Autoencoder) -> dict[str, np.ndarray]:
    """Return some of the weights by name, for comparison."""
    attention, vision = model.encoder.layers
    up, chebyshev = model.decoder.layers
    variables = {
        "position": attention.pos_encoder.pos_embedding,
        "query": attention.mha_layers[0].wq.kernel,
        "dense": attention.mha_layers[0].dense.kernel,
        "patches": vision.embed.kernel,
        "key": vision.mha_layers[1].wk.kernel,
        "value_bias": vision.mha_layers[1].wv.bias,
        "gamma": vision.mha_layers[0].layer_norm1.gamma,
        "beta": vision.mha_layers[1].layer_norm2.beta,
        "up": up.filter.kernel,
        "kernel": chebyshev.kernel,
    }
    return {name: np.array(variable) for name, variable in variables.items()}


def main() -> None:
    """Write the files."""
    keras.utils.set_random_seed(0)
    model = convolutional()
    model.build((None, 768, 1))
    golden_weights(model)
    write(model, "convolutional")
    model = transformers()
    model(np.zeros((1, 192, 1), np.float32))
    for variable in model.variables:
        variable.assign(variable + tf.random.normal(variable.shape, stddev=0.1))
    write(model, "transformers")
    np.savez(FOLDER / "transformers" / "values.npz", **values(model))


if __name__ == "__main__":
    main()
