"""The network of the quick-start notebook."""

from __future__ import annotations

import keras

from deepsphere.layers import ChebyshevConv, Pool
from deepsphere.models import Sequential
from deepsphere.sampling import Healpix


def quick_start_network(nside: int, outputs: int = 2) -> Sequential:
    """Return the network of the DeepSphere quick-start notebook.

    It consists of three Chebyshev convolutions (10 terms, 5 channels, bias, batch normalization,
    ReLU), each followed by max pooling, a Chebyshev convolution to one channel per class, the mean
    over pixels, and a softmax. It is fully convolutional, and invariant to rotations to the extent
    that its layers are equivariant.

    Parameters
    ----------
    nside : int
        Resolution of the full-sky input maps, at least 8, since the map is coarsened three times.
    outputs : int, default 2
        Number of classes.

    Returns
    -------
    Sequential
        The network, built for inputs of shape ``(batch, 12 * nside**2, 1)``.
    """
    layers: list[keras.layers.Layer] = []
    for _ in range(3):
        layers += [ChebyshevConv(5, order=9, normalization="batch", activation="relu"), Pool()]
    layers += [
        ChebyshevConv(outputs, order=9),
        keras.layers.GlobalAveragePooling1D(),
        keras.layers.Softmax(),
    ]
    model = Sequential(Healpix(nside), layers, graph=20, name="quick_start")
    model.build((None, len(model.sampling), 1))
    return model
