"""Pooling and unpooling along the hierarchy of a sampling, without weights."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from deepsphere._checks import check_choice, check_count
from deepsphere.layers.base import PACKAGE, SphereLayer, as_sampling
from deepsphere.layers.masking import hide
from deepsphere.ops import SparseMap, pool
from deepsphere.ops.mapping import gathered_maximum
from deepsphere.sampling import Sampling, serialize
from deepsphere.sampling.resampling import POOL_MODES, padded, pooling_matrix, unpooling_matrix


@keras.saving.register_keras_serializable(PACKAGE)
class Pool(SphereLayer):
    """Take the maximum or mean of the points that share a coarser point.

    Input shape ``(batch, points, channels)``, output shape
    ``(batch, len(output_sampling), channels)``. On HEALPix each level has a quarter of the pixels.

    Parameters
    ----------
    levels : int, default 1
        Number of resolution levels to go down; on HEALPix, `nside` is divided by ``2**levels``.
    mode : {"max", "mean", "area"}, default "max"
        Maximum, mean, or mean weighted by the areas of the points, as in integrals over the sphere.
        A point that belongs to several coarser points, as half the vertices of an icosahedral grid
        do, contributes to each mean by its share.
    sampling : Sampling, optional
        Sampling of the input. Default: set by the surrounding model.
    **kwargs
        Arguments of `keras.layers.Layer`.

    Raises
    ------
    TypeError
        If `levels` is not an integer or `sampling` is not a `Sampling`.
    ValueError
        If `levels` is less than 1, `mode` is unknown, or the sampling has no resolution coarser by
        `levels`. When the layer is built: if the input does not have the sampling's number of
        points.

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.sampling import Healpix
    >>> tuple(Pool(sampling=Healpix(4))(np.zeros((2, 192, 5), "float32")).shape)
    (2, 48, 5)
    """

    def __init__(
        self,
        levels: int = 1,
        mode: str = "max",
        *,
        sampling: Sampling | None = None,
        **kwargs: Any,
    ) -> None:
        self.levels = check_count(levels, "levels")
        self.mode = check_choice(mode, "mode", POOL_MODES)
        super().__init__(sampling=sampling, **kwargs)

    def compute_output_sampling(self, sampling: Sampling) -> Sampling:
        """Return the sampling that is coarser by `levels`."""
        return sampling.coarsen(self.levels)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Look up which points to pool."""
        super().build(input_shape)
        sampling = self.require_sampling()
        self._children = None
        if sampling.branching and (self.mode != "area" or np.ptp(sampling.areas) == 0):
            self._children = sampling.branching**self.levels
        elif self.mode != "max":
            self._mean = SparseMap(
                pooling_matrix(sampling, self.levels, weighted=self.mode == "area")
            )

    @cached_property
    def _members(self) -> NDArray[np.int32]:
        """The points of each coarse point, used where they are not adjacent in memory."""
        return padded(self.require_sampling().membership(self.levels))[0]

    def call(self, x: Any, mask: Any = None) -> Any:
        """Pool the observed points of each coarse point; 0 if there are none."""
        if self.mode != "max":
            y = self._take_mean(hide(x, mask))
            if mask is None:
                return y
            share = self._take_mean(keras.ops.cast(mask, y.dtype)[..., None])
            return keras.ops.divide_no_nan(y, share)
        # Not infinite, because other runtimes of exported models multiply it by 0.
        lowest = -65504.0 if keras.backend.standardize_dtype(x.dtype) == "float16" else -3e38
        x = hide(x, mask, lowest)
        if self._children is not None:
            y = pool(x, self._children, "max")
        else:
            y = gathered_maximum(x, self._members)
        if mask is None:
            return y
        seen = self.compute_mask(x, mask)[..., None]
        return keras.ops.where(seen, y, keras.ops.zeros_like(y))

    def _take_mean(self, x: Any) -> Any:
        return self._mean(x) if self._children is None else pool(x, self._children, "mean")

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask of coarse points: True where at least one of their points is observed."""
        if previous_mask is None or self.require_sampling().branching:
            return super().compute_mask(inputs, previous_mask)
        return any_of(previous_mask, self._members)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return ``(batch, len(output_sampling), channels)``."""
        return (input_shape[0], len(self.output_sampling), input_shape[2])

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, for `from_config`."""
        return {**super().get_config(), "levels": self.levels, "mode": self.mode}


def any_of(mask: Any, members: NDArray[np.int32]) -> Any:
    """Return whether any point of each set is observed.

    Parameters
    ----------
    mask : tensor of bool, shape (batch, points)
        True at observed points.
    members : ndarray of int32, shape (width, sets)
        The points of each set, see `deepsphere.ops.mapping.gathered_maximum`.

    Returns
    -------
    tensor of bool, shape (batch, sets)
    """
    seen = keras.ops.cast(mask, "int32")[..., None]
    return keras.ops.cast(gathered_maximum(seen, members)[..., 0], "bool")


@keras.saving.register_keras_serializable(PACKAGE)
class Unpool(SphereLayer):
    """Copy features to a finer sampling: each point takes those of its coarser point.

    A point that belongs to several coarser points takes their mean, weighted by its shares; on the
    icosahedral grid this is linear interpolation along the edges. Input shape
    ``(batch, points, channels)``, output shape ``(batch, len(output_sampling), channels)``. On
    HEALPix each level has four times the pixels.

    Parameters
    ----------
    levels : int, default 1
        Number of resolution levels to go up.
    sampling : Sampling, optional
        Sampling of the input. Default: set by the surrounding model.
    finer : Sampling, optional
        Sampling of the output. Default: ``sampling.refine(levels)``. It is required for samplings
        without a unique refinement, such as scattered points.
    **kwargs
        Arguments of `keras.layers.Layer`.

    Raises
    ------
    TypeError
        If `levels` is not an integer, or `sampling` or `finer` is not a `Sampling`.
    ValueError
        If `levels` is less than 1, ``finer.coarsen(levels)`` differs from `sampling`, or `sampling`
        has no unique refinement and `finer` is None. When the layer is built: if the input does not
        have the sampling's number of points.

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.sampling import Icosahedral
    >>> tuple(Unpool(sampling=Icosahedral(1))(np.zeros((2, 42, 5), "float32")).shape)
    (2, 162, 5)
    """

    def __init__(
        self,
        levels: int = 1,
        *,
        sampling: Sampling | None = None,
        finer: Sampling | None = None,
        **kwargs: Any,
    ) -> None:
        self.levels = check_count(levels, "levels")
        self.finer = None if finer is None else as_sampling(finer, "finer")
        super().__init__(sampling=sampling, **kwargs)

    def compute_output_sampling(self, sampling: Sampling) -> Sampling:
        """Return the finer sampling."""
        if self.finer is None:
            return sampling.refine(self.levels)
        coarse = self.finer.coarsen(self.levels)
        if coarse != sampling:
            raise ValueError(
                f"{self.finer!r} coarsened by {self.levels} is {coarse!r}, "
                f"but the input is on {sampling!r}"
            )
        return self.finer

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Look up the coarser points of each point."""
        super().build(input_shape)
        fine = self.output_sampling
        self._children = fine.branching**self.levels if fine.branching else None
        if self._children is None:
            self._map = SparseMap(unpooling_matrix(fine, self.levels))

    @cached_property
    def _owners(self) -> NDArray[np.int32]:
        """The coarse points of each point, used where points are not adjacent in memory."""
        return padded(unpooling_matrix(self.output_sampling, self.levels))[0]

    def call(self, x: Any, mask: Any = None) -> Any:
        """Repeat the features, or take weighted means of what is observed."""
        if self._children is not None:
            return keras.ops.repeat(x, self._children, axis=1)
        y = self._map(hide(x, mask))
        if mask is None:
            return y
        return keras.ops.divide_no_nan(y, self._map(keras.ops.cast(mask, y.dtype)[..., None]))

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask of fine points: True where one of their coarser points is observed."""
        fine = self.output_sampling
        if previous_mask is None or fine.branching:
            return super().compute_mask(inputs, previous_mask)
        return any_of(previous_mask, self._owners)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return ``(batch, len(output_sampling), channels)``."""
        return (input_shape[0], len(self.output_sampling), input_shape[2])

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, for `from_config`."""
        finer = None if self.finer is None else serialize(self.finer)
        return {**super().get_config(), "levels": self.levels, "finer": finer}


@keras.saving.register_keras_serializable(PACKAGE)
class MaxUnpool(Unpool):
    """Put features back where `Pool` took the maxima from, and 0 elsewhere.

    Call it on two inputs: the features after pooling, shape ``(batch, coarse points, channels)``,
    and the input of `Pool`, shape ``(batch, fine points, channels)``, which locates the maxima.
    Output shape ``(batch, fine points, channels)``. A maximum that occurs twice is put back twice.

    Parameters
    ----------
    levels : int, default 1
        Number of resolution levels to go up.
    sampling : Sampling, optional
        Sampling of the first input. Default: set by the surrounding model.
    finer : Sampling, optional
        Sampling of the second input and of the output. Default: ``sampling.refine(levels)``.
    **kwargs
        Arguments of `keras.layers.Layer`.

    Raises
    ------
    TypeError, ValueError
        Under the conditions listed at `Unpool`; ValueError also if the second input does not have
        the fine sampling's number of points and the channels of the first.

    Notes
    -----
    H. Noh, S. Hong, B. Han, "Learning deconvolution network for semantic segmentation", ICCV 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.sampling import Healpix
    >>> before = np.array([[[3.0], [1.0], [2.0], [0.0]] * 12], "float32")
    >>> pooled = Pool(sampling=Healpix(2))(before)
    >>> restored = MaxUnpool(sampling=Healpix(1))([10 * pooled, before])
    >>> np.asarray(restored)[0, :4, 0].tolist()
    [30.0, 0.0, 0.0, 0.0]
    """

    def build(self, input_shape: Any) -> None:
        """Look up the coarser points of each point."""
        after, before = input_shape
        if tuple(before[1:]) != (self.output_points, after[2]):
            raise ValueError(
                f"{type(self).__name__} {self.name!r} needs the input of Pool as its second "
                f"input, with shape (batch, {self.output_points}, {after[2]}), got {tuple(before)}"
            )
        super().build(after)
        self.input_spec = None  # the one set above describes a single input
        self._pool = Pool(self.levels, sampling=self.output_sampling, dtype=self.dtype_policy)
        self._pool.build(before)

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Copy the features to the finer points, and keep them at the maxima."""
        after, before = inputs
        coarse, fine = (None, None) if mask is None else mask
        largest = super().call(self._pool(before, mask=fine), coarse)
        # If a value is NaN, so is the maximum, and NaN equals nothing.
        chosen = keras.ops.equal(before, largest) | keras.ops.isnan(before)
        return keras.ops.where(chosen, super().call(after, coarse), keras.ops.zeros_like(before))

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:  # noqa: ARG002
        """Return the mask of the second input."""
        return None if previous_mask is None else previous_mask[1]

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Return the shape of the second input."""
        return tuple(input_shape[1])
