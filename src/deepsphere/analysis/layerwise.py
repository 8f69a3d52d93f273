"""Equivariance error after each layer of a network, on given maps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepsphere._checks import check_count
from deepsphere.analysis.equivariance import (
    BATCH,
    coarser,
    decompose,
    normalized_errors,
    rotate,
    to_array,
)
from deepsphere.analysis.harmonics import random_rotations
from deepsphere.layers.protocol import follows_protocol
from deepsphere.sampling import Sampling

Floats = NDArray[np.float64]


class LayerEquivariance(NamedTuple):
    """The equivariance error of a network up to one of its layers.

    Attributes
    ----------
    name, type : str
        Name and class of the layer.
    sampling : Sampling or None
        Sampling of its output; None if the output has no pixels.
    mean : float
        Mean normalized error of the network up to this layer, over maps and rotations.
    deviation : float
        Standard deviation over maps and rotations.
    """

    name: str
    type: str
    sampling: Sampling | None
    mean: float
    deviation: float


def layerwise_equivariance(
    model: keras.Model,
    maps: ArrayLike,
    sampling: Sampling | None = None,
    rotations: int = 4,
    seed: int = 0,
) -> list[LayerEquivariance]:
    """Measure the equivariance error of a network after each of its layers.

    The error after a layer is the mean of ``|F(R f) - R F(f)|**2 / |F(f)|**2``, where F are all
    layers up to and including it, f is a map and R a rotation. R leaves outputs without pixels
    unchanged, so their error is that of invariance.

    Parameters
    ----------
    model : keras.Sequential
        A built stack of layers, such as a `deepsphere.models.Sequential`. It runs in inference
        mode.
    maps : array_like, shape (batch, pixels, channels)
        Typical inputs of the model, for example from the test set. They are first band-limited (to
        2.5 nside on HEALPix), because only then is their rotation known.
    sampling : Sampling, optional
        Sampling of the maps, of the whole sphere. Default: that of the model.
    rotations : int, default 4
        Number of random rotations of each map. A few suffice, because the error is also averaged
        over maps.
    seed : int, default 0
        Seed of the rotations.

    Returns
    -------
    list of LayerEquivariance
        One entry per layer, in order. Plot them with
        `deepsphere.plot.plot_layerwise_equivariance`.

    Raises
    ------
    ImportError
        If ducc0, the extra ``harmonics``, is not installed.
    TypeError
        If `model` is not a `keras.Sequential`, `sampling` is neither given nor known from the
        model, or `rotations` is not an integer.
    ValueError
        If `model` is not built, `maps` does not have shape (batch, pixels, channels) on `sampling`
        or is empty, `rotations` is less than 1, the sampling does not cover the whole sphere, or
        the sampling of a layer's output is unknown.

    Notes
    -----
    Activations create small scales that the pixels do not resolve, and pooling drops small scales.
    Everything beyond the band limit of a layer's sampling counts as error, since rotating the
    pixels cannot recover it.

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.layers import ChebyshevConv, Pool
    >>> from deepsphere.models import Sequential
    >>> from deepsphere.sampling import Healpix
    >>> model = Sequential(Healpix(8), [ChebyshevConv(4, order=3, activation="relu"), Pool()])
    >>> model.build((None, 768, 1))
    >>> maps = np.random.default_rng(0).normal(size=(2, 768, 1))
    >>> [row.type for row in layerwise_equivariance(model, maps)]
    ['ChebyshevConv', 'Pool']
    """
    if not isinstance(model, keras.Sequential):
        raise TypeError(
            "model must be a stack of layers, a keras.Sequential or deepsphere.models.Sequential, "
            f"got {type(model).__name__}; for any other model, use equivariance_error(..., "
            "form='rotation')"
        )
    if not model.built:
        raise ValueError(f"model {model.name!r} is not built: call it once on the maps")
    sampling = sampling or getattr(model, "sampling", None)
    if not isinstance(sampling, Sampling):
        raise TypeError(
            f"sampling must be the sampling of the maps, such as Healpix(64), got {sampling!r}"
        )
    fields = np.asarray(maps, dtype=np.float64)
    if fields.ndim != 3 or fields.shape[1] != len(sampling) or not len(fields):
        raise ValueError(
            f"maps must have the shape (batch, {len(sampling)}, channels) on {sampling!r}, got "
            f"shape {fields.shape}"
        )
    count = check_count(rotations, "rotations")
    turns = random_rotations(count, np.random.default_rng(seed))
    errors: list[list[Floats]] = [[] for _ in model.layers]
    for start in range(0, len(fields), BATCH):
        coefficients = decompose(fields[start : start + BATCH], sampling)
        still = np.broadcast_to(np.eye(3), (len(coefficients), 3, 3))
        stages = list(_stages(model, rotate(coefficients, still, sampling), sampling))
        for turn in turns:
            same = np.broadcast_to(turn, still.shape)
            turned = _outputs(model, rotate(coefficients, same, sampling))
            for found, stage, output in zip(errors, stages, turned, strict=True):
                found.append(stage.errors(output, same))
    return [
        LayerEquivariance(
            layer.name,
            type(layer).__name__,
            stage.sampling,
            float(np.mean(found)),
            float(np.std(found)),
        )
        for layer, stage, found in zip(
            model.layers, stages, map(np.concatenate, errors), strict=True
        )
    ]


class _Stage(NamedTuple):
    """The output of a layer for the unrotated fields, prepared for rotation."""

    output: Floats
    sampling: Sampling | None
    coefficients: NDArray[np.complex128] | None

    def errors(self, turned: Floats, turns: Floats) -> Floats:
        expected = self.output
        if self.sampling is not None and self.coefficients is not None:
            expected = rotate(self.coefficients, turns, self.sampling)
        return normalized_errors(self.output, turned, expected, self.sampling)


def _stages(model: keras.Sequential, fields: Floats, sampling: Sampling) -> Iterator[_Stage]:
    where: Sampling | None = sampling
    for layer, output in zip(model.layers, _outputs(model, fields), strict=True):
        where = None if where is None else _output_sampling(layer, output, where)
        yield _Stage(output, where, None if where is None else decompose(output, where))


def _outputs(model: keras.Sequential, fields: Floats) -> Iterator[Floats]:
    """Yield the outputs of all layers."""
    tensor = keras.ops.convert_to_tensor(fields, dtype=model.compute_dtype)
    for layer in model.layers:
        tensor = layer(tensor, training=False)  # keeps Keras masks
        yield to_array(tensor)


def _output_sampling(
    layer: keras.layers.Layer, output: Floats, sampling: Sampling
) -> Sampling | None:
    if output.ndim != 3:
        return None
    if follows_protocol(layer) and output.shape[1] == len(layer.output_sampling):
        return layer.output_sampling
    try:
        return coarser(sampling, output.shape[1])
    except ValueError as error:
        raise ValueError(
            f"layer {layer.name!r} returns {output.shape[1]} pixels for {sampling!r}, but their "
            "positions are unknown"
        ) from error
