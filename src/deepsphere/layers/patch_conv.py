"""Learned down-sampling and up-sampling by linear maps of patches."""

from __future__ import annotations

from typing import Any

import keras

from deepsphere._checks import check_count
from deepsphere.layers.base import PACKAGE, SphereConv
from deepsphere.layers.masking import hide
from deepsphere.sampling import Sampling


class _PatchLayer(SphereConv):
    """Base class of both directions."""

    def __init__(
        self,
        filters: int | None = None,
        levels: int = 1,
        *,
        sampling: Sampling | None = None,
        **kwargs: Any,
    ) -> None:
        self.levels = check_count(levels, "levels")
        super().__init__(filters, sampling=sampling, **kwargs)

    def _kernel_shape(self, channels: int, filters: int) -> tuple[int, int, int]:
        raise NotImplementedError

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights."""
        super().build(input_shape)
        channels = int(input_shape[2])  # type: ignore[arg-type]
        filters = self.filters or channels
        initializer = keras.initializers.GlorotUniform()
        self._add_weights(self._kernel_shape(channels, filters), initializer, filters)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return ``(batch, len(output_sampling), filters)``."""
        return (input_shape[0], len(self.output_sampling), self.filters or input_shape[2])

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, for `from_config`."""
        return {**super().get_config(), "levels": self.levels}

    def _children(self) -> int:
        return _branching(self.require_sampling()) ** self.levels


@keras.saving.register_keras_serializable(PACKAGE)
class PatchConv(_PatchLayer):
    """Learned down-sampling: a linear map from the pixels of each patch to one coarse pixel.

    Input shape ``(batch, pixels, channels)``, output shape
    ``(batch, pixels / 4**levels, filters)`` on HEALPix. All patches share the kernel. Because it
    distinguishes the pixels of a patch, the layer is not equivariant to rotations.

    Parameters
    ----------
    filters : int, optional
        Number of output channels. Default: the number of input channels.
    levels : int, default 1
        Number of resolution levels to go down.
    sampling : Sampling, optional
        Sampling of the input. Default: set by the surrounding model.
    use_bias : bool, default True
        Whether to add a bias to each output channel.
    activation : str or callable, optional
        Keras activation. Default: the identity.
    kernel_initializer : str or keras.Initializer, optional
        Initial kernel. Default: Glorot uniform, as in Keras' convolutions.
    bias_initializer : str or keras.Initializer, default "zeros"
        Initial bias.
    kernel_regularizer, bias_regularizer : str or keras.Regularizer, optional
        Penalties on kernel and bias. Default: none.
    kernel_constraint, bias_constraint : str or keras.Constraint, optional
        Constraints on kernel and bias. Default: none.
    **kwargs
        Arguments of `keras.layers.Layer`.

    Attributes
    ----------
    kernel : variable, shape (4**levels, channels, filters)
        The layout of `keras.layers.Conv1D`.

    Raises
    ------
    TypeError
        If `filters` or `levels` is not an integer, or `sampling` is not a `Sampling`.
    ValueError
        If `filters` or `levels` is less than 1, the sampling has no resolution coarser by `levels`,
        or the points that share a coarser point are not adjacent in memory, as they are on HEALPix.
        When the layer is built: if the input does not have the sampling's number of pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.sampling import Healpix
    >>> tuple(PatchConv(8, sampling=Healpix(4))(np.zeros((2, 192, 5), "float32")).shape)
    (2, 48, 8)
    """

    def compute_output_sampling(self, sampling: Sampling) -> Sampling:
        """Return the sampling that is coarser by `levels`."""
        _branching(sampling)
        return sampling.coarsen(self.levels)

    def _kernel_shape(self, channels: int, filters: int) -> tuple[int, int, int]:
        return self._children(), channels, filters

    def call(self, x: Any, mask: Any = None) -> Any:
        """Map each patch, add the bias and activate; pixels outside `mask` count as 0."""
        x = hide(x, mask)
        children, channels, filters = self.kernel.shape
        patches = keras.ops.reshape(x, (-1, x.shape[1] // children, children * channels))
        kernel = keras.ops.cast(self.kernel, x.dtype)
        y = keras.ops.matmul(patches, keras.ops.reshape(kernel, (children * channels, filters)))
        return self._add_bias_and_activate(y)


@keras.saving.register_keras_serializable(PACKAGE)
class PatchConvTranspose(_PatchLayer):
    """Learned up-sampling: a linear map from each coarse pixel to the pixels of its patch.

    The transpose of `PatchConv`. Input shape ``(batch, pixels, channels)``, output shape
    ``(batch, pixels * 4**levels, filters)`` on HEALPix.

    Parameters
    ----------
    filters : int, optional
        Number of output channels. Default: the number of input channels.
    levels : int, default 1
        Number of resolution levels to go up.
    sampling : Sampling, optional
        Sampling of the input. Default: set by the surrounding model.
    use_bias : bool, default True
        Whether to add a bias to each output channel.
    activation : str or callable, optional
        Keras activation. Default: the identity.
    kernel_initializer : str or keras.Initializer, optional
        Initial kernel. Default: Glorot uniform, as in Keras' convolutions.
    bias_initializer : str or keras.Initializer, default "zeros"
        Initial bias.
    kernel_regularizer, bias_regularizer : str or keras.Regularizer, optional
        Penalties on kernel and bias. Default: none.
    kernel_constraint, bias_constraint : str or keras.Constraint, optional
        Constraints on kernel and bias. Default: none.
    **kwargs
        Arguments of `keras.layers.Layer`.

    Attributes
    ----------
    kernel : variable, shape (4**levels, filters, channels)
        The layout of `keras.layers.Conv1DTranspose`.

    Raises
    ------
    TypeError
        If `filters` or `levels` is not an integer, or `sampling` is not a `Sampling`.
    ValueError
        If `filters` or `levels` is less than 1, or the points of the finer sampling that share a
        coarser point are not adjacent in memory, as they are on HEALPix. When the layer is built:
        if the input does not have the sampling's number of pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.sampling import Healpix
    >>> tuple(PatchConvTranspose(8, sampling=Healpix(4))(np.zeros((2, 192, 5), "float32")).shape)
    (2, 768, 8)
    """

    def compute_output_sampling(self, sampling: Sampling) -> Sampling:
        """Return the sampling that is finer by `levels`."""
        _branching(sampling)
        return sampling.refine(self.levels)

    def _kernel_shape(self, channels: int, filters: int) -> tuple[int, int, int]:
        return self._children(), filters, channels

    def call(self, x: Any, mask: Any = None) -> Any:
        """Map each pixel to its patch, add the bias, activate; pixels outside `mask` count as 0."""
        x = hide(x, mask)
        children, filters, channels = self.kernel.shape
        kernel = keras.ops.reshape(self.kernel, (children * filters, channels))
        y = keras.ops.matmul(x, keras.ops.transpose(keras.ops.cast(kernel, x.dtype)))
        y = keras.ops.reshape(y, (-1, x.shape[1] * children, filters))
        return self._add_bias_and_activate(y)


def _branching(sampling: Sampling) -> int:
    """Return the number of points per coarser point; raise ValueError if they are not adjacent."""
    if sampling.branching is None:
        raise ValueError(
            "patches need points in the order of their hierarchy, as on HEALPix, but those of "
            f"{sampling!r} are in another order; use Pool and Unpool instead"
        )
    return sampling.branching
