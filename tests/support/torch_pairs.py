"""Each PyTorch module beside the Keras layer that computes the same."""

import numpy as np
import torch

import deepsphere.torch as ds
from deepsphere import Graph, layers, models
from deepsphere.ops import SparseOperator
from deepsphere.sampling import Equiangular, Healpix, Icosahedral

SPHERE = Healpix(4)
GRID = Equiangular(8, 16)
MESH = Icosahedral(2)
CONV = {"in_channels": 2, "out_channels": 3, "sampling": SPHERE}


def data(sampling, channels=3, batch=2, seed=0):
    values = np.random.default_rng(seed).standard_normal((batch, len(sampling), channels))
    return values.astype(np.float32)


def randomize(layer, seed=1):
    rng = np.random.default_rng(seed)
    for variable in layer.variables:
        if "seed" not in variable.path and "steps" not in variable.path:
            variable.assign(rng.uniform(0.2, 1, variable.shape))


PAIRS = {
    "conv": lambda: (
        ds.ChebyshevConv(3, 4, 3, sampling=SPHERE, graph=8, activation="relu"),
        layers.ChebyshevConv(4, 3, sampling=SPHERE, graph=8, activation="relu"),
    ),
    "tanh, no bias": lambda: (
        ds.ChebyshevConv(3, 2, 2, sampling=GRID, activation=torch.tanh, bias=False),
        layers.ChebyshevConv(2, 2, sampling=GRID, activation="tanh", use_bias=False),
    ),
    "depthwise": lambda: (
        ds.ChebyshevConv(3, 3, 2, sampling=SPHERE, graph=8, depthwise=True, activation="gelu"),
        layers.ChebyshevConv(order=2, sampling=SPHERE, graph=8, depthwise=True, activation="gelu"),
    ),
    "normalized": lambda: (
        ds.ChebyshevConv(
            3,
            4,
            2,
            sampling=SPHERE,
            graph=Graph(8, laplacian="random_walk"),
            normalization="batch",
        ),
        layers.ChebyshevConv(
            4, 2, sampling=SPHERE, graph=Graph(8, laplacian="random_walk"), normalization="batch"
        ),
    ),
    "pool": lambda: (ds.Pool(sampling=SPHERE), layers.Pool(sampling=SPHERE)),
    "mean of 2": lambda: (
        ds.Pool(2, "mean", sampling=SPHERE),
        layers.Pool(2, "mean", sampling=SPHERE),
    ),
    "mesh max": lambda: (ds.Pool(sampling=MESH), layers.Pool(sampling=MESH)),
    "area": lambda: (ds.Pool(1, "area", sampling=MESH), layers.Pool(1, "area", sampling=MESH)),
    "smooth": lambda: (
        ds.SmoothPool(1, "mean", sampling=SPHERE, graph=8),
        layers.SmoothPool(1, "mean", sampling=SPHERE, graph=8),
    ),
    "unpool": lambda: (ds.Unpool(sampling=SPHERE), layers.Unpool(sampling=SPHERE)),
    "mesh unpool": lambda: (ds.Unpool(sampling=MESH), layers.Unpool(sampling=MESH)),
    "patch": lambda: (
        ds.PatchConvTranspose(3, 2, sampling=SPHERE),
        layers.PatchConvTranspose(2, sampling=SPHERE),
    ),
    "resample": lambda: (
        ds.Resample(GRID, sampling=SPHERE),
        layers.Resample(GRID, sampling=SPHERE),
    ),
    "unet": lambda: (
        ds.UNet(3, 2, sampling=SPHERE, filters=(4, 5, 6), order=2, graph=8),
        models.UNet(SPHERE, 2, filters=(4, 5, 6), order=2, graph=8),
    ),
    "grid unet": lambda: (
        ds.UNet(3, 1, sampling=GRID, filters=(2, 3), order=1, pooling="smooth_max", skip="add"),
        models.UNet(GRID, 1, filters=(2, 3), order=1, pooling="smooth_max", skip="add"),
    ),
}


def made(name):
    module, layer = PAIRS[name]()
    layer.build((None, len(module.sampling), 3))
    randomize(layer)
    ds.load_keras_weights(module, layer)
    return module, layer, data(module.sampling)


def operators_of(module):
    values = [value for part in module.modules() for value in vars(part).values()]
    return [value for value in values if isinstance(value, SparseOperator)]
