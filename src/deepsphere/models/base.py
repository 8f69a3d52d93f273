"""Base class of the ready-made models, and checks of their arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepsphere._checks import check_choice, check_count
from deepsphere.graph import Graph, GraphLike
from deepsphere.graph.spec import as_graph, graph_config, refuse_parts, with_graph
from deepsphere.layers import ConvPool, PatchConv, Pool, SmoothPool, SphereLayer, SurveyMask
from deepsphere.layers.base import as_sampling
from deepsphere.layers.protocol import require_same_sampling, share
from deepsphere.layers.renamed import RENAMED, refuse_old_names, with_new_names
from deepsphere.models.observed import ObservedPixels
from deepsphere.models.saving import SavedModel
from deepsphere.ops.shapes import ensure_shape
from deepsphere.sampling import Sampling, serialize
from deepsphere.sampling.resampling import POOL_MODES

LEARNED_POOLINGS = ("patch", "conv")
POOLINGS = (*POOL_MODES, *LEARNED_POOLINGS, *(f"smooth_{mode}" for mode in POOL_MODES))


def check_widths(name: str, widths: Sequence[int], least: int = 1) -> tuple[int, ...]:
    """Return channel numbers as a tuple; raise unless they are >= `least` positive integers."""
    if isinstance(widths, (int, str)) or not hasattr(widths, "__iter__"):
        raise TypeError(f"{name} must be a sequence of integers, got {widths!r}")
    checked = tuple(check_count(width, f"each of {name}") for width in widths)
    if len(checked) < least:
        raise ValueError(f"{name} must have a length of at least {least}, got {checked}")
    return checked


def make_pool(pooling: str, filters: int, **options: Any) -> SphereLayer:
    """Return the layer that a model's argument `pooling` names, which goes down one level.

    Parameters
    ----------
    pooling : str
        ``"max"``, ``"mean"`` or ``"area"`` for `deepsphere.layers.Pool`; with the prefix
        ``"smooth_"`` for `deepsphere.layers.SmoothPool`; ``"patch"`` for the learned
        `deepsphere.layers.PatchConv`; ``"conv"`` for the learned `deepsphere.layers.ConvPool`.
    filters : int
        Number of output channels of learned poolings.
    **options
        Other arguments of the layer.

    Returns
    -------
    SphereLayer
        The layer, without sampling and graph, which `SphereLayer.bind` sets.

    Raises
    ------
    ValueError
        If `pooling` is unknown.
    """
    check_choice(pooling, "pooling", POOLINGS)
    if pooling in LEARNED_POOLINGS:
        return (PatchConv if pooling == "patch" else ConvPool)(filters, **options)
    if pooling.startswith("smooth_"):
        return SmoothPool(mode=pooling.removeprefix("smooth_"), **options)
    return Pool(mode=pooling, **options)


def resolutions(sampling: Sampling, steps: int) -> list[Sampling]:
    """Return a sampling and its next coarser samplings.

    Parameters
    ----------
    sampling : Sampling
        The finest sampling.
    steps : int
        Number of levels to go down.

    Returns
    -------
    list of Sampling, length steps + 1
        From fine to coarse.

    Raises
    ------
    TypeError
        If `sampling` is not a `Sampling`.
    ValueError
        If `sampling` has fewer than `steps` complete coarser levels.
    """
    found = [as_sampling(sampling)]
    for _ in range(steps):
        try:
            found.append(share(found[-1].coarsen()))
        except ValueError as error:
            raise ValueError(
                f"the network goes down {steps} levels, but {sampling} has {len(found) - 1} "
                "complete coarser levels. Use fewer filters or a finer sampling, or extend a part "
                "of the sphere to whole coarse pixels (deepsphere.extend_pixels)"
            ) from error
    return found


class SphereModel(SavedModel, ObservedPixels):
    """Base class of the ready-made models.

    Subclasses create their layers from the constructor's arguments. Their configuration thus holds
    the sampling only once, and no layers.

    Parameters
    ----------
    sampling : Sampling
        Sampling of the input.
    mask : array_like of bool, shape (len(sampling),), optional
        True at observed pixels, see `deepsphere.layers.SurveyMask`. Losses and metrics receive only
        these pixels: predictions of shape ``(batch, observed pixels, channels)``.
    graph : Graph, int or str, optional
        Graph on the sampling, see `deepsphere.Graph`; an integer is a number of nearest neighbors.
        Default: `deepsphere.Graph()`.
    **kwargs
        Arguments of `keras.Model`: ``name``, ``dtype``, ``trainable``.

    Raises
    ------
    TypeError
        If `sampling` is not a `Sampling`, or `graph` is not a `Graph`, an integer or a string.
    ValueError
        If `graph` is an unknown name, or `mask` does not hold one bool per pixel or is False
        everywhere.
    """

    renamed: ClassVar[dict[str, str]] = RENAMED
    """New names of arguments by their names in old files."""

    def __init__(
        self,
        sampling: Sampling,
        *,
        mask: ArrayLike | str | None = None,
        graph: GraphLike | None = None,
        **kwargs: Any,
    ) -> None:
        refuse_parts(kwargs)
        refuse_old_names(type(self).__name__, kwargs, self.renamed)
        super().__init__(**kwargs)
        self.sampling = as_sampling(sampling)
        self.graph_spec = None if graph is None else as_graph(graph)
        self.supports_masking = True
        self.survey = self.observed = None
        if mask is not None:
            self.survey = SurveyMask(
                mask, sampling=self.sampling, dtype=self.variable_dtype, name="survey"
            )
            self.observed = self.survey._observed

    @property
    def output_sampling(self) -> Sampling:
        """Sampling of the output, the same as that of the input."""
        return self.sampling

    def compute_output_sampling(self, sampling: Sampling) -> Sampling:
        """Return `output_sampling`; raise ValueError if the model is on another sampling."""
        require_same_sampling(self, sampling)
        return self.output_sampling

    def bind(self, sampling: Sampling, graph: Graph | None = None) -> Self:  # noqa: ARG002
        """Return this model; raise ValueError if it is on another sampling."""
        require_same_sampling(self, sampling)
        return self

    def _as_features(self, inputs: Any) -> Any:
        # Replace an unknown number of pixels by that of the sampling.
        inputs = super()._as_features(inputs)
        shape = tuple(getattr(inputs, "shape", None) or ())
        if len(shape) >= 3 and shape[-2] is None:
            inputs = ensure_shape(inputs, (*[None] * (len(shape) - 2), len(self.sampling), None))
        return inputs

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Check the input's shape; raise ValueError if it does not match the sampling."""
        points = len(self.sampling)
        if len(input_shape) != 3 or input_shape[1] not in (points, None) or not input_shape[2]:
            raise ValueError(
                f"{type(self).__name__} {self.name!r} is on {self.sampling} and needs inputs of "
                f"shape (batch, {points}, channels), got {tuple(input_shape)}; the number of "
                "channels must be known"
            )
        if self.survey is not None:  # it ends the network
            self.survey.build(self.compute_output_shape((None, *input_shape[1:])))
        self.input_spec = keras.layers.InputSpec(
            ndim=3, axes={1: len(self.sampling), 2: input_shape[2]}
        )

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask of the output, at the resolution of the input."""
        if self.survey is None:
            return previous_mask
        return self.survey.compute_mask(inputs, previous_mask)

    def observed_output(self) -> NDArray[np.bool_] | None:
        """Return which pixels of the output are observed, or None if all are."""
        return None if self.observed is None or self.observed.all() else self.observed

    @property
    def _map_shape(self) -> tuple[int, ...]:
        """Shape of an input, without the batch."""
        return len(self.sampling), self.input_spec.axes[2]

    def export(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Write the model for other runtimes, see `keras.Model.export`."""
        if self.built:  # Keras requires a call first, even of a loaded model
            self(keras.Input(self._map_shape))
        super().export(filepath, *args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Return the model's arguments, for `from_config`."""
        return {
            **super().get_config(),
            "sampling": serialize(self.sampling),
            "mask": None if self.survey is None else self.survey.get_config()["mask"],
            "graph": graph_config(self.graph_spec),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Make a model from what `get_config` returned."""
        config = with_new_names(with_graph(config), cls.renamed)
        model: Self = super().from_config(config, custom_objects)
        return model
