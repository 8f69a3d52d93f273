"""Autoencoders of maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
from numpy.typing import ArrayLike

from deepsphere._checks import check_choice, check_count
from deepsphere.graph import GraphLike
from deepsphere.layers import (
    ChebyshevConv,
    LayerNormalization,
    PatchConvTranspose,
    SurveyMask,
)
from deepsphere.layers.base import PACKAGE
from deepsphere.layers.masking import resample_mask
from deepsphere.layers.renamed import RENAMED
from deepsphere.models.base import (
    LEARNED_POOLINGS,
    SphereModel,
    check_widths,
    make_pool,
    resolutions,
)
from deepsphere.models.sequential import Sequential
from deepsphere.sampling import Sampling


@keras.saving.register_keras_serializable(PACKAGE)
class Autoencoder(SphereModel):
    """Autoencoder with latent features on a coarse sampling of the sphere.

    Train it on the maps themselves: ``model.fit(x, x)``. Input and output have shape
    ``(batch, len(sampling), channels)``, and the latent features
    ``(batch, len(latent_sampling), latent)``. Each latent feature thus describes one region.

    Parameters
    ----------
    sampling : Sampling
        Sampling of the maps. It needs ``len(filters)`` coarser levels.
    outputs : int, default 1
        Number of channels of the maps, which are input and output.
    filters : sequence of int, default (4, 8, 16)
        Number of channels after each step down.
    pooling : {"patch", "conv"}, default "patch"
        Learned down-sampling: `deepsphere.layers.PatchConv`, or `deepsphere.layers.ConvPool`,
        which is more equivariant to rotations.
    latent : int, default 16
        Number of latent features per coarse pixel.
    decoder_filters : sequence of int, optional
        Number of channels after each step up except the last, which has `outputs`. Default:
        the last of `filters` for all.
    order : int, default 4
        Degree of the polynomials of the graph convolution at the coarse resolution.
    activation : str or callable, default "elu"
        Keras activation after each step except the last.
    output_activation : str or callable, optional
        Keras activation of the output, computed in single precision. Default: the identity.
    graph : Graph, int or str, optional
        Graph on the sampling, see `deepsphere.Graph`; an integer is a number of nearest neighbors.
        Default: `deepsphere.Graph()`.
    mask : array_like of bool, shape (len(sampling),), optional
        True at observed pixels. The others never affect the result, may be NaN, are 0 in the
        output, and do not count in the loss.
    **kwargs
        Arguments of `keras.Model`: ``name``, ``dtype``, ``trainable``.

    Attributes
    ----------
    encoder, decoder : deepsphere.models.Sequential
        The two halves, which can be used separately.
    latent_sampling : Sampling
        Sampling of the latent features.

    Raises
    ------
    TypeError
        If `sampling` is not a `Sampling`, `outputs`, `latent`, `order` or an entry of `filters`
        or `decoder_filters` is not an integer, or `graph` is not a `Graph`, an integer or a string.
    ValueError
        If one of these integers is less than 1 (`order`: less than 0), `pooling` or `graph` is an
        unknown name, `filters` is empty, `decoder_filters` does not have one entry fewer than
        `filters`, `mask` does not hold one bool per pixel or is False everywhere, or the sampling
        has too few coarser levels.

    Notes
    -----
    Network and sizes follow the notebook on generative models of the earlier TensorFlow
    implementation (deepsphere-cosmo-tf2): learned down-sampling by `PatchConv`, one
    `ChebyshevConv` and a normalization, and learned up-sampling by `PatchConvTranspose`. The
    normalization is over the features of each coarse pixel instead of the pixels of each feature,
    so it depends neither on the position on the sphere nor on a mask. The idea is due to Hinton &
    Salakhutdinov, Science 313, 504 (2006).

    Examples
    --------
    >>> from deepsphere.sampling import Healpix
    >>> model = Autoencoder(Healpix(16), filters=(4, 8))
    >>> model.encoder.output_shape, model.decoder.output_shape
    ((None, 192, 16), (None, 3072, 1))
    """

    renamed: ClassVar[dict[str, str]] = {**RENAMED, "channels": "outputs"}

    def __init__(
        self,
        sampling: Sampling,
        outputs: int = 1,
        *,
        filters: Sequence[int] = (4, 8, 16),
        pooling: str = "patch",
        latent: int = 16,
        decoder_filters: Sequence[int] | None = None,
        order: int = 4,
        activation: Any = "elu",
        output_activation: Any = None,
        graph: GraphLike | None = None,
        mask: ArrayLike | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(sampling, mask=mask, graph=graph, **kwargs)
        self.output_channels = check_count(outputs, "outputs")
        self.filters = check_widths("filters", filters)
        self.pooling = check_choice(pooling, "pooling", LEARNED_POOLINGS)
        self.latent = check_count(latent, "latent")
        between = len(self.filters) - 1
        if decoder_filters is None:
            decoder_filters = [self.filters[-1]] * between
        self.decoder_filters = check_widths("decoder_filters", decoder_filters, least=0)
        if len(self.decoder_filters) != between:
            raise ValueError(
                f"decoder_filters must have one entry fewer than filters, that is {between} (the "
                f"last step restores the channels of the input), got {self.decoder_filters}"
            )
        self.order = check_count(order, "order", least=0)
        self.activation = keras.activations.get(activation)
        self.output_activation = keras.activations.get(output_activation)
        self.latent_sampling = resolutions(self.sampling, len(self.filters))[-1]
        self.encoder = self._make_encoder()
        self.decoder = self._make_decoder()
        self.build((None, len(self.sampling), self.output_channels))

    def _make_encoder(self) -> Sequential:
        dtype = self.dtype_policy
        layers: list[keras.layers.Layer] = [] if self.survey is None else [self.survey]
        layers += [
            make_pool(self.pooling, width, activation=self.activation, dtype=dtype)
            for width in self.filters
        ]
        model = Sequential(
            self.sampling, [*layers, *self._latent_layers()], graph=self.graph_spec, name="encoder"
        )
        model.build((None, len(self.sampling), self.output_channels))
        return model

    def _latent_layers(self) -> list[keras.layers.Layer]:
        return [
            ChebyshevConv(self.latent, self.order, dtype=self.dtype_policy),
            LayerNormalization(dtype=self.dtype_policy),
        ]

    def _make_decoder(self) -> Sequential:
        dtype = self.dtype_policy
        layers: list[keras.layers.Layer] = [
            PatchConvTranspose(width, activation=self.activation, dtype=dtype)
            for width in self.decoder_filters
        ]
        layers += [
            PatchConvTranspose(self.output_channels, dtype=dtype),
            keras.layers.Activation(self.output_activation, dtype=self.variable_dtype),
        ]
        if self.observed is not None:
            coarse = self.sampling.membership(len(self.filters)) @ self.observed > 0
            layers = [
                SurveyMask(coarse, dtype=dtype),
                *layers,
                SurveyMask(self.observed, dtype=self.variable_dtype),
            ]
        model = Sequential(self.latent_sampling, layers, graph=self.graph_spec, name="decoder")
        model.build((None, len(self.latent_sampling), self.latent))
        return model

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Check the shape of the input; the constructor has built encoder and decoder."""
        if len(input_shape) == 3 and input_shape[2] != self.output_channels:
            raise ValueError(
                f"{type(self).__name__} {self.name!r} was made with outputs={self.output_channels} "
                f"and needs as many input channels, got inputs of shape {tuple(input_shape)}"
            )
        super().build(input_shape)

    def encode(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Return the latent features of maps.

        Parameters
        ----------
        x : tensor, shape (batch, len(sampling), channels)
            The maps.
        training : bool, optional
            Whether the model is in training.
        mask : tensor of bool, shape (batch, len(sampling)), optional
            True at observed pixels; combined with the model's own mask.

        Returns
        -------
        tensor, shape (batch, len(latent_sampling), latent)
            Latent features.
        """
        return self.encoder(x, training=training, mask=mask)

    def decode(self, z: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Return the maps for latent features.

        Parameters
        ----------
        z : tensor, shape (batch, len(latent_sampling), latent)
            Latent features.
        training : bool, optional
            Whether the model is in training.
        mask : tensor of bool, shape (batch, len(latent_sampling)), optional
            True at coarse pixels with latent features; combined with the model's own mask.

        Returns
        -------
        tensor, shape (batch, len(sampling), channels)
            The maps, 0 at pixels outside the model's mask.
        """
        return self.decoder(z, training=training, mask=mask)

    def call(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Encode and decode."""
        mask = self.compute_mask(x, mask)
        return self.decode(self.encode(x, training, mask), training, self._coarse(mask))

    def _coarse(self, mask: Any) -> Any:
        return resample_mask(mask, len(self.sampling), len(self.latent_sampling))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's shape."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the model's arguments, for `from_config`."""
        return {
            **super().get_config(),
            "outputs": self.output_channels,
            "filters": list(self.filters),
            "pooling": self.pooling,
            "latent": self.latent,
            "decoder_filters": list(self.decoder_filters),
            "order": self.order,
            "activation": keras.activations.serialize(self.activation),
            "output_activation": keras.activations.serialize(self.output_activation),
        }
