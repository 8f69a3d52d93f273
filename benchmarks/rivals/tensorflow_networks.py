"""The networks of `networks.py` in the textbook formulation, as Keras models on TensorFlow."""

from __future__ import annotations

from typing import Any

import keras

from networks import Network
from rivals.tensorflow_textbook import ChebyshevConv, conv_block


def build(network: Network) -> keras.Model:
    """Return the network, built."""
    levels = len(network.filters) + (network.kind == "classifier")
    matrices = [network.case(level).matrix for level in range(levels)]
    x = inputs = keras.Input((len(network.sampling), network.channels))
    make = classifier if network.kind == "classifier" else unet
    return keras.Model(inputs, make(network, x, matrices))


def classifier(network: Network, x: Any, matrices: list[Any]) -> Any:
    """Return class probabilities."""
    for filters, matrix in zip(network.filters, matrices, strict=False):
        x = conv_block(x, filters, network.terms, matrix)
        x = keras.layers.MaxPooling1D(4)(x)
    x = ChebyshevConv(network.outputs, network.terms, matrices[-1], use_bias=True)(x)
    return keras.layers.Softmax()(keras.layers.GlobalAveragePooling1D()(x))


def unet(network: Network, x: Any, matrices: list[Any]) -> Any:
    """Return maps."""
    kept = []
    for level, (filters, matrix) in enumerate(zip(network.filters, matrices, strict=True)):
        if level > 0:
            kept.append(x)
            x = keras.layers.MaxPooling1D(4)(x)
        for _ in range(2):
            x = conv_block(x, filters, network.terms, matrix)
    for filters, matrix in list(zip(network.filters, matrices, strict=True))[-2::-1]:
        x = keras.layers.Conv1DTranspose(filters, 4, strides=4)(x)
        x = keras.layers.Concatenate()([x, kept.pop()])
        for _ in range(2):
            x = conv_block(x, filters, network.terms, matrix)
    return keras.layers.Dense(network.outputs)(x)
