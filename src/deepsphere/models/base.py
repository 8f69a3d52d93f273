"""What the ready-made models share: sampling, survey mask, checks, and how they are saved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, TypeVar

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepsphere.graph import Graph, GraphLike, as_graph, graph_config, with_graph
from deepsphere.graph.spec import refuse_parts
from deepsphere.layers import ConvPool, PatchConv, Pool, SmoothPool, SphereLayer, SurveyMask
from deepsphere.layers.base import check_count, check_sampling
from deepsphere.models.observed import ObservedPixels
from deepsphere.models.saving import SavedModel
from deepsphere.ops.shapes import ensure_shape
from deepsphere.sampling import Sampling, serialize

LEARNED_POOLINGS = ("patch", "conv")
POOLINGS = ("max", "mean", "area", *LEARNED_POOLINGS, "smooth_max", "smooth_mean", "smooth_area")


def check_widths(name: str, widths: Sequence[int], least: int = 1) -> tuple[int, ...]:
    """Return numbers of channels as a tuple, or raise if they are not `least` positive integers."""
    if isinstance(widths, (int, str)) or not hasattr(widths, "__iter__"):
        raise TypeError(f"{name} must be a sequence of integers, got {widths!r}")
    checked = tuple(check_count(f"each of {name}", width, least=1) for width in widths)
    if len(checked) < least:
        raise ValueError(f"{name} must hold at least {least} numbers, got {checked}")
    return checked


def check_choice(name: str, value: str, choices: Sequence[str]) -> str:
    """Return `value`, or raise if it is not one of the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}")
    return value


def make_pool(pooling: str, filters: int, **options: Any) -> SphereLayer:
    """Return a layer that goes down one level, by the name that models have for it.

    Parameters
    ----------
    pooling : str
        ``"max"``, ``"mean"`` or ``"area"``, see `deepsphere.layers.Pool`; the same after
        ``"smooth_"``, see `deepsphere.layers.SmoothPool`; or, learned, ``"patch"``, see
        `deepsphere.layers.PatchConv`, or ``"conv"``, see `deepsphere.layers.ConvPool`.
    filters : int
        Number of output channels, where it is learned.
    **options
        Other arguments of the layer.

    Returns
    -------
    SphereLayer
        Not yet on a sampling, nor a graph: `SphereLayer.bind` gives both.

    Raises
    ------
    ValueError
        If there is no such pooling.
    """
    check_choice("pooling", pooling, POOLINGS)
    if pooling in LEARNED_POOLINGS:
        return (PatchConv if pooling == "patch" else ConvPool)(filters, **options)
    if pooling.startswith("smooth_"):
        return SmoothPool(mode=pooling.removeprefix("smooth_"), **options)
    return Pool(mode=pooling, **options)


def resolutions(sampling: Sampling, steps: int) -> list[Sampling]:
    """Return the sampling and its next coarser ones, or raise if there are not that many.

    Parameters
    ----------
    sampling : Sampling
        Where a network begins.
    steps : int
        How often it halves the resolution.

    Returns
    -------
    list of Sampling, length steps + 1
        From fine to coarse.

    Raises
    ------
    TypeError, ValueError
        If `sampling` is not a sampling, or has too few coarser levels.
    """
    if not isinstance(sampling, Sampling):
        raise TypeError(f"sampling must be a Sampling such as Healpix(64), got {sampling!r}")
    found = [sampling]
    for _ in range(steps):
        try:
            found.append(found[-1].coarsen())
        except ValueError as error:
            raise ValueError(
                f"the network goes down {steps} levels, but {sampling} has {len(found) - 1} that "
                "are coarser and complete. Give fewer filters, or a finer sampling, or extend a "
                "part of the sphere to whole coarse pixels (deepsphere.extend_pixels)"
            ) from error
    return found


Model = TypeVar("Model", bound=keras.Model)


def on_sampling(model: Model, sampling: Sampling) -> Model:
    """Return a model, or raise if it is on another sampling than its place in a larger one."""
    if model.sampling != sampling:
        raise ValueError(
            f"{type(model).__name__} {model.name!r} is on {model.sampling}, but its place in the "
            f"model is on {sampling}"
        )
    return model


class SphereModel(SavedModel, ObservedPixels):
    """Base of the models that are classes of their own.

    A subclass makes its layers from its constructor's arguments, so that its configuration holds
    the sampling once and no layer.

    Parameters
    ----------
    sampling : Sampling
        Where the inputs are sampled.
    mask : array_like of bool, shape (len(sampling),), optional
        True at the pixels that a survey observed, see `deepsphere.layers.SurveyMask`. Losses and
        metrics are given these only: predictions of shape ``(batch, observed pixels, channels)``.
    graph : Graph, int or str, optional
        Graph on the sampling, see `deepsphere.Graph`; an integer is a number of nearest neighbors.
        Default: `deepsphere.Graph()`.
    **kwargs
        Arguments of `keras.Model`: ``name``, ``dtype``, ``trainable``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.
    """

    def __init__(
        self,
        sampling: Sampling,
        *,
        mask: ArrayLike | str | None = None,
        graph: GraphLike | None = None,
        **kwargs: Any,
    ) -> None:
        refuse_parts(kwargs)
        super().__init__(**kwargs)
        self.sampling = check_sampling(sampling)
        self.graph_spec = None if graph is None else as_graph(graph)
        self.supports_masking = True
        self.survey = self.observed = None
        if mask is not None:
            self.survey = SurveyMask(mask, self.sampling, dtype=self.variable_dtype, name="survey")
            self.observed = self.survey._observed

    @property
    def output_sampling(self) -> Sampling:
        """Where the output is sampled: as the input is."""
        return self.sampling

    def bind(self, sampling: Sampling, graph: Graph | None = None) -> Self:  # noqa: ARG002
        """Return this model, as part of another one; raise ValueError on another sampling."""
        return on_sampling(self, sampling)

    def _as_features(self, inputs: Any) -> Any:
        # An unknown number of pixels becomes that of the sampling.
        inputs = super()._as_features(inputs)
        shape = tuple(getattr(inputs, "shape", None) or ())
        if len(shape) >= 3 and shape[-2] is None:
            inputs = ensure_shape(inputs, (*[None] * (len(shape) - 2), len(self.sampling), None))
        return inputs

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Take note of the input's shape, or raise if it does not lie on the sampling."""
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
        """Return which pixels are observed, at the resolution of input and output."""
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
        if self.built:  # Keras asks for one call, which a loaded model has not seen
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
        model: Self = super().from_config(with_graph(config), custom_objects)
        return model
