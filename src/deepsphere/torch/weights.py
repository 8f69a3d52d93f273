"""Exchange of weights with the Keras layers of this package."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepsphere.ops.moving_averages import MANY_STEPS
from deepsphere.torch.filters import BatchNorm, ChebyshevConv
from deepsphere.torch.resolution import PatchConvTranspose, Pool, Resample, Unpool
from deepsphere.torch.unet import UNet

Array = NDArray[Any]


def load_keras_weights(module: nn.Module, layer: Any) -> None:
    """Copy the weights of a Keras layer or model into a module.

    Parameters
    ----------
    module : nn.Module
        A `ChebyshevConv`, `PatchConvTranspose` or `UNet`, a linear layer, or a
        `torch.nn.Sequential` of such modules and of modules without weights.
    layer : keras.layers.Layer
        Its built counterpart with the same shapes; for a `torch.nn.Sequential`, a model whose
        layers with weights are in the same order. It may be on any backend.

    Raises
    ------
    TypeError
        If a module has no counterpart among Keras' layers.
    ValueError
        If the layer is not built or differs from the module in structure or shapes.
    """
    values = []
    for target, variable, to_torch, _ in _tensors(module, layer):
        array = np.asarray(variable.numpy())
        array = array.astype(np.float32) if array.dtype.itemsize < 4 else array  # bfloat16
        value = torch.as_tensor(np.array(to_torch(array), order="C"))
        if value.shape != target.shape:
            raise ValueError(
                f"{variable.path} has shape {tuple(value.shape)}, but the module needs "
                f"{tuple(target.shape)}"
            )
        values.append((target, value))
    with torch.no_grad():  # all of them fit
        for target, value in values:
            target.copy_(value)


def copy_to_keras(module: nn.Module, layer: Any) -> None:
    """Copy the weights of a module into its Keras counterpart, see `load_keras_weights`.

    Parameters
    ----------
    module : nn.Module
        Source of the weights.
    layer : keras.layers.Layer
        Target of the weights: built, with the same shapes.

    Raises
    ------
    TypeError, ValueError
        As for `load_keras_weights`.
    """
    values = []
    for source, variable, _, to_keras in _tensors(module, layer):
        tensor = source.detach().cpu()
        tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        value = to_keras(tensor.numpy())
        if value.shape != tuple(variable.shape):
            raise ValueError(
                f"{variable.path} needs shape {tuple(variable.shape)}, but the module has "
                f"{value.shape}"
            )
        values.append((variable, value))
    for variable, value in values:  # all of them fit
        variable.assign(value)


def _tensors(module: nn.Module, layer: Any) -> Iterator[tuple[Tensor, Any, Any, Any]]:
    """Yield tensors with the corresponding Keras variables and changes of layout."""
    if not layer.built:
        raise ValueError(f"{layer.name!r} is not built: call it or its build method first")
    for one, other in _pairs(module, layer):
        if isinstance(one, ChebyshevConv):
            _check_filter(one, other)
            terms = one.order + 1
            there, back = ((1, 2, 0), (2, 0, 1)) if one.depthwise else ((1, 0, 2), (1, 0, 2))
            yield (
                one.weight,
                other.kernel,
                lambda k, terms=terms, a=there: k.reshape(-1, terms, k.shape[1]).transpose(a),
                lambda w, a=back: _merge_terms(w.transpose(a)),
            )
            if (one.norm is None) != (other.norm is None):
                raise ValueError(f"only one of the module and {other.name!r} normalizes")
            if one.norm is not None:
                yield from _statistics(one.norm, other.norm)
        elif isinstance(one, PatchConvTranspose):
            yield one.weight, other.kernel, _same, _same
        elif isinstance(one, nn.Linear):
            yield one.weight, other.kernel, np.transpose, np.transpose
        if (one.bias is None) != (other.bias is None):
            raise ValueError(f"only one of the module and {other.name!r} has a bias")
        if isinstance(one.bias, Tensor):
            yield one.bias, other.bias, _same, _same


def _merge_terms(kernel: Array) -> Array:
    """Reshape (channels, terms, filters) to (channels * terms, filters)."""
    return kernel.reshape(-1, kernel.shape[2])


def _check_filter(conv: ChebyshevConv, other: Any) -> None:
    """Raise ValueError if a Keras layer computes something different from the module."""
    if getattr(other, "basis", None) != "chebyshev":
        raise TypeError(f"{other.name!r} is not a ChebyshevConv")
    for what, ours, theirs in (
        ("option depthwise", conv.depthwise, other.depthwise),
        ("order", conv.order, other.order),
        ("scale", conv.scale, other.scale),
        ("sampling", conv.sampling, other.sampling),
        ("graph", conv.graph_spec, other.resolved_graph),
    ):
        if ours != theirs:
            raise ValueError(f"the module has the {what} {ours!r}, {other.name!r} has {theirs!r}")


def _statistics(norm: BatchNorm, other: Any) -> Iterator[tuple[Tensor, Any, Any, Any]]:
    yield norm.running_mean, other.moving_mean, _same, _same
    yield norm.running_var, other.moving_variance, _same, _same
    # Averages without a count are treated as those of a long training.
    known = float(other.moving_steps.numpy()) > 0
    at_start = not other.moving_mean.numpy().any() and (other.moving_variance.numpy() == 1).all()
    yield (
        norm.num_batches_tracked,
        other.moving_steps,
        lambda steps: steps if known or at_start else np.full_like(steps, MANY_STEPS),
        _same,
    )


def _same(value: Array) -> Array:
    return value


def _pairs(module: nn.Module, layer: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the modules with weights, each with its counterpart."""
    if isinstance(module, (ChebyshevConv, PatchConvTranspose, nn.Linear)):
        yield module, layer
    elif isinstance(module, UNet):
        if len(module.down) != len(layer.down_blocks):
            raise ValueError(
                f"the module has {len(module.down)} resolutions, {layer.name!r} has "
                f"{len(layer.down_blocks)}"
            )
        if any(pool.weights for pool in layer.pools):
            raise ValueError(f"{layer.name!r} has learned poolings, but the module has none")
        for i, block in enumerate(module.down):
            yield from _of_block(block, layer.down_blocks[i])
        for i, (unpool, block) in enumerate(zip(module.unpools, module.up, strict=True)):
            first = unpool[0] if isinstance(unpool, nn.Sequential) else unpool
            yield first, layer.unpools[i]
            yield from _of_block(block, layer.up_blocks[i])
        yield module.last, layer.last
    elif isinstance(module, nn.Sequential):
        ours = [part for part in module if list(part.parameters())]
        theirs = [part for part in layer.layers if part.weights]
        if len(ours) != len(theirs):
            raise ValueError(
                f"the module has {len(ours)} parts with weights, but {layer.name!r} has "
                f"{len(theirs)} layers with weights"
            )
        for one, other in zip(ours, theirs, strict=True):
            yield from _pairs(one, other)
    elif not isinstance(module, (Pool, Unpool, Resample)):
        raise TypeError(
            f"{type(module).__name__} has no counterpart among the Keras layers of DeepSphere"
        )


def _of_block(block: Any, other: Any) -> Iterator[tuple[Any, Any]]:
    if other.residual:
        raise ValueError("deepsphere.torch.UNet has plain blocks; the model has residual ones")
    yield block[0], other.conv1
    yield block[1], other.conv2
