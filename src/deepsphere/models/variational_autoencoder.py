"""Variational autoencoder, a generative model of maps."""

from __future__ import annotations

from typing import Any

import keras

from deepsphere._checks import check_count
from deepsphere.layers import ChebyshevConv, LayerNormalization
from deepsphere.layers.base import PACKAGE
from deepsphere.models.autoencoder import Autoencoder
from deepsphere.sampling import Sampling


@keras.saving.register_keras_serializable(PACKAGE)
class VariationalAutoencoder(Autoencoder):
    """Autoencoder whose latent features are drawn from a normal distribution.

    The encoder returns a mean and a log variance of each latent feature. In training, the features
    are drawn from that distribution; otherwise they are the means. Train the model on the maps
    themselves: ``model.fit(x, x)``. `sample` draws new maps.

    The loss is the compiled loss plus ``beta`` times the divergence ``KL(q(z|x) || N(0, 1))``,
    summed over all latent features and divided by the number of input values (observed pixels times
    channels), as Keras divides the loss. With ``"mse"`` it is, up to a factor, the negative
    evidence lower bound of maps with white noise of variance ``beta / 2``.

    Parameters
    ----------
    sampling : Sampling
        Sampling of the maps. It needs ``len(filters)`` coarser levels.
    outputs : int, default 1
        Number of channels of the maps, which are input and output.
    beta : float, default 1
        Weight of the divergence, at least 0. With 0, only the noise in the features remains.
    seed : int, optional
        Seed of the draws in training and in `sample`. Default: random.
    filters, pooling, latent, decoder_filters, order, activation, output_activation, graph, \
mask, **kwargs
        See `Autoencoder`.

    Attributes
    ----------
    encoder : deepsphere.models.Sequential
        Network from maps to ``2 * latent`` channels: all means, then all log variances.
    decoder : deepsphere.models.Sequential
        Network from ``latent`` channels to maps.
    latent_sampling : Sampling
        Sampling of the latent features.

    Raises
    ------
    TypeError, ValueError
        Under the conditions listed at `Autoencoder`; TypeError also if `seed` is not an integer,
        and ValueError if `seed` is negative or `beta` is negative or infinite.

    Notes
    -----
    Kingma & Welling, "Auto-encoding variational Bayes", arXiv 1312.6114, equation 10. `beta` is
    that of Higgins et al., "beta-VAE" (ICLR 2017), for a loss divided by the number of values. The
    network is that of `Autoencoder` with one more linear map per coarse pixel.

    Examples
    --------
    >>> from deepsphere.sampling import Healpix
    >>> model = VariationalAutoencoder(Healpix(16), filters=(4, 8), latent=3)
    >>> tuple(model.sample(5, seed=0).shape)
    (5, 3072, 1)
    """

    def __init__(
        self,
        sampling: Sampling,
        outputs: int = 1,
        *,
        beta: float = 1.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        # Set before calling the base constructor, which builds the model.
        self.beta = float(beta)
        if not 0 <= self.beta < float("inf"):
            raise ValueError(f"beta must be finite and at least 0, got {beta}")
        self.seed = None if seed is None else check_count(seed, "seed", least=0)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        super().__init__(sampling, outputs, **kwargs)

    def _latent_layers(self) -> list[keras.layers.Layer]:
        dtype = self.dtype_policy
        return [
            ChebyshevConv(self.filters[-1], self.order, activation=self.activation, dtype=dtype),
            LayerNormalization(dtype=dtype),
            # Half precision is too coarse for a sum of exponentials.
            keras.layers.Dense(2 * self.latent, dtype=self.variable_dtype, name="posterior"),
        ]

    def encode(self, x: Any, training: bool | None = None, mask: Any = None) -> tuple[Any, Any]:
        """Return the distribution of the latent features of maps.

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
        mean, log_variance : tensor, shape (batch, len(latent_sampling), latent)
            Parameters of the independent normal distributions of the features.
        """
        posterior = self.encoder(x, training=training, mask=mask)
        return posterior[..., : self.latent], posterior[..., self.latent :]

    def sample(self, n: int, seed: Any = None) -> Any:
        """Return new maps, decoded from standard normal latent features.

        Parameters
        ----------
        n : int
            Number of maps.
        seed : int or keras.random.SeedGenerator, optional
            Seed of the draws. Default: the model's seed generator.

        Returns
        -------
        tensor, shape (n, len(sampling), channels)
            The maps, 0 at pixels outside the model's mask.

        Raises
        ------
        TypeError
            If `n` is not an integer.
        ValueError
            If `n` is less than 1.
        """
        shape = (check_count(n, "n"), len(self.latent_sampling), self.latent)
        seed = self.seed_generator if seed is None else seed
        return self.decode(keras.random.normal(shape, dtype=self.variable_dtype, seed=seed))

    def call(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Encode, draw features or take the means, decode, and add the divergence to the losses."""
        mask = self.compute_mask(x, mask)
        mean, log_variance = self.encode(x, training, mask)
        self.add_loss(self.beta * self._divergence(mean, log_variance, mask))
        z = mean
        if training:
            noise = keras.random.normal(
                keras.ops.shape(mean), dtype=mean.dtype, seed=self.seed_generator
            )
            z = mean + keras.ops.exp(0.5 * log_variance) * noise
        return self.decode(z, training, self._coarse(mask))

    def _divergence(self, mean: Any, log_variance: Any, mask: Any) -> Any:
        ops = keras.ops
        terms = ops.square(mean) + ops.exp(log_variance) - 1 - log_variance
        per_pixel = 0.5 * ops.sum(terms, axis=-1)
        if mask is None:
            values = len(self.sampling) * self.output_channels
            return ops.mean(per_pixel) * (per_pixel.shape[1] / values)
        observed = ops.sum(ops.cast(mask, per_pixel.dtype))
        total = ops.sum(ops.where(self._coarse(mask), per_pixel, ops.zeros_like(per_pixel)))
        return ops.divide_no_nan(total, observed * self.output_channels)

    def get_config(self) -> dict[str, Any]:
        """Return the model's arguments, for `from_config`."""
        return {**super().get_config(), "beta": self.beta, "seed": self.seed}
