"""`Model`, a functional `keras.Model` whose losses and metrics use observed pixels only."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import keras
import numpy as np
from keras.src.models.functional import Functional

from deepsphere.graph import Graph
from deepsphere.layers import protocol
from deepsphere.layers.base import PACKAGE
from deepsphere.models.observed import Observed, ObservedPixels, carry_mask
from deepsphere.models.saving import SavedModel
from deepsphere.sampling import Sampling


@keras.saving.register_keras_serializable(PACKAGE)
class Model(SavedModel, ObservedPixels, Functional):
    """Functional `keras.Model` whose losses and metrics use observed pixels only.

    The model traces the masks of its `SurveyMask` layers to each output. As in
    `deepsphere.models.Sequential`, targets, predictions and sample weights are restricted to the
    observed pixels; elsewhere targets are arbitrary, including NaN. A model may have several
    outputs, with and without pixels and on different resolutions, each with its own losses and
    metrics.

    The first layer needs the argument ``sampling``; later layers take the sampling of their input.
    Files, frozen and quantized layers are handled as in the other models of this package.

    Parameters
    ----------
    inputs, outputs : keras.KerasTensor, or list or dict of them
        Inputs and outputs of `keras.Model`.
    name : str, optional
        Name of the model.
    **kwargs
        Other arguments of `keras.Model`: ``trainable``.

    Raises
    ------
    ValueError
        If `inputs` and `outputs` are not connected by layers.

    Examples
    --------
    >>> import keras, numpy as np
    >>> from deepsphere.layers import ChebyshevConv, Pool, SurveyMask
    >>> from deepsphere.sampling import Healpix
    >>> sampling = Healpix(4)
    >>> inputs = keras.Input((192, 1))
    >>> x = SurveyMask(np.arange(192) < 100, sampling=sampling)(inputs)
    >>> x = ChebyshevConv(2, order=3)(x)
    >>> model = Model(inputs, [x, Pool()(x)])
    >>> [int(observed.sum()) for observed in model.observed_outputs()]
    [100, 25]
    """

    # No constructor here, because Keras recognizes functional models by its arguments.

    @property
    def sampling(self) -> Sampling | None:
        """Sampling of the single input; None if it is unknown or there are several inputs."""
        return protocol.first_sampling(self)

    @property
    def output_sampling(self) -> Sampling | None:
        """Sampling of the output, or of the first of several; None if no layer has a sampling."""
        return protocol.last_sampling(self)

    def compute_output_sampling(self, sampling: Sampling) -> Sampling:
        """Return `output_sampling`; raise ValueError if the model is on another sampling."""
        protocol.require_same_sampling(self, sampling)
        return self.output_sampling or sampling

    def bind(self, sampling: Sampling, graph: Graph | None = None) -> Self:  # noqa: ARG002
        """Return this model; raise ValueError if it is on another sampling."""
        protocol.require_same_sampling(self, sampling)
        return self

    def observed_outputs(self) -> list[Observed]:
        """Return which pixels of each output are observed, in the order of `outputs`.

        None if all pixels are observed, the output has no pixels, or the mask depends on the data.
        """
        found: list[Observed] | None = getattr(self, "_observed_outputs", None)
        if found is None:
            with ThreadPoolExecutor(1) as pool:  # a new thread, outside of any backend's tracing
                masks = pool.submit(follow_masks, self, [None] * len(self.inputs)).result()
            found = [self._observed(*pair) for pair in zip(self.outputs, masks, strict=True)]
            object.__setattr__(self, "_observed_outputs", found)
        return found

    def _observed(self, output: Any, mask: Any) -> Observed:
        if mask is None or len(output.shape) < 2 or output.shape[1] not in (None, mask.shape[1]):
            return None
        if not mask.any():
            raise ValueError(
                f"{type(self).__name__} {self.name!r} has no observed pixel in its output "
                f"{output.name!r}: the masks of its layers do not overlap; mask fewer pixels"
            )
        return None if mask.all() else mask[0]

    def observed_output(self) -> Observed:
        """Return which pixels of the single output are observed; None with several outputs."""
        observed = self.observed_outputs()
        return observed[0] if len(observed) == 1 else None

    def predicts_maps(self) -> bool:
        """Return whether an output has pixels."""
        return any(len(output.shape) > 2 for output in self.outputs)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:  # noqa: ARG002
        """Return None, because the outputs carry the masks set by their layers."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Return the model's arguments, for `from_config`."""
        config = super().get_config()
        for name in ("frozen", "quantized"):  # Keras saves these with each layer
            config.pop(name, None)
        return config


def follow_masks(model: Functional, before: list[Any]) -> list[Any]:
    """Return the mask of each output, as Keras sets it in a call of the model.

    Parameters
    ----------
    model : Functional
        The model.
    before : list of ndarray of bool, shape (1, pixels), or None
        The mask of each input.

    Returns
    -------
    list of ndarray of bool, shape (1, pixels), or None
        The masks; None if Keras has no mask or the mask depends on the data.
    """
    masks = {id(tensor): mask for tensor, mask in zip(model.inputs, before, strict=True)}
    for _, nodes in sorted(model._nodes_by_depth.items(), reverse=True):
        for node in nodes:
            if not node.is_input:
                after = keras.tree.flatten(_masks_after(node, masks))
                for tensor, mask in zip(node.outputs, after, strict=False):
                    array = None if mask is None else keras.ops.convert_to_numpy(mask)
                    masks[id(tensor)] = None if array is None else np.array(array, dtype=bool)
    return [masks.get(id(output)) for output in model.outputs]


def _masks_after(node: Any, masks: dict[int, Any]) -> Any:
    operation, arguments = node.operation, node.arguments
    if not isinstance(operation, keras.layers.Layer):
        # Keras drops masks here, although pixels remain. Combine them as `keras.layers.Add` does.
        points = node.outputs[0].shape[1:2]
        maps = [tensor for tensor in arguments.keras_tensors if tensor.shape[1:2] == points]
        given = [masks.get(id(tensor)) for tensor in maps]
        known = [mask for mask in given if mask is not None]
        return np.logical_or.reduce(known) if known and len(known) == len(given) else None
    # Keras propagates the masks of the first argument only.
    first = next(iter((*arguments.args, *arguments.kwargs.values())))
    before = keras.tree.map_structure(lambda tensor: masks.get(id(tensor)), first)
    if isinstance(operation, Functional):
        return follow_masks(operation, keras.tree.flatten(before))
    if not keras.tree.is_nested(first):
        return carry_mask(before, [operation])
    if not operation.supports_masking or not any(m is not None for m in keras.tree.flatten(before)):
        return None
    return operation.compute_mask(keras.tree.map_structure(_zeros, first), before)


def _zeros(tensor: Any) -> Any:
    return keras.ops.zeros([length or 1 for length in tensor.shape], tensor.dtype)
