# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From maps to maps: auto-encoders and a denoising U-Net
#
# The networks of the notebook *quick_start* answer with one word for a whole map. Here the answer
# is a map again. An *auto-encoder* squeezes a map into a few numbers and makes a map of them. A
# *variational* auto-encoder learns how these numbers are distributed, so that new maps can be
# drawn. A *U-Net* looks at a map at all scales at once, and takes noise away.

# %%
# %matplotlib inline
import healpy
import keras
import numpy as np
from matplotlib.figure import Figure

from deepsphere.data.cosmology import LCDM_HIGH_MATTER
from deepsphere.data.skies import SkySimulation, simulate
from deepsphere.layers import GaussianSmoothing
from deepsphere.models import Autoencoder, UNet, VariationalAutoencoder
from deepsphere.plot import plot_history, plot_maps
from deepsphere.sampling import Healpix

# %% tags=["parameters"]
nside = 32
number_of_maps = 150
epochs = 30
sampling_epochs = 40

# %% [markdown]
# ## The data
#
# Maps of the matter in a simulated universe (see *quick_start*), without noise, smoothed with a
# Gaussian beam of 8 degrees: what is left are structures of some ten pixels across. We
# divide by the standard deviation and keep a fifth of the maps for testing.

# %%
simulation = SkySimulation(
    cosmologies=(LCDM_HIGH_MATTER,),
    maps_per_class=number_of_maps,
    nside=nside,
    signal_to_noise=np.inf,
)
maps, _ = simulate(simulation, progress=False)
sphere = Healpix(nside)
beam = GaussianSmoothing(sampling=sphere, fwhm=8, unit="degree")
maps = np.concatenate(
    [keras.ops.convert_to_numpy(beam(maps[i : i + 10])) for i in range(0, len(maps), 10)]
)
maps = maps / maps.std()
test, training = maps[: len(maps) // 5], maps[len(maps) // 5 :]
plot_maps([test[0], test[1]], sphere, ["A map", "another"], unit="standard deviations")

# %% [markdown]
# ## An auto-encoder
#
# HEALPix pixels come in groups of four, and so a *patch convolution* maps the numbers of four
# pixels to those of one coarser pixel, all groups alike: three of them divide `nside` by eight. A
# graph convolution and a normalization follow. The decoder goes the same way back, by the transpose
# of patch convolutions: one coarse pixel gives the numbers of its four children.
#
# Between the two, each coarse pixel is left with 16 numbers, where it had 64 pixels.

# %%
keras.utils.set_random_seed(0)
autoencoder = Autoencoder(sphere, filters=(4, 8, 16), latent=16)
autoencoder.encoder.summary()
autoencoder.decoder.summary()

# %% [markdown]
# It is trained to return what it was given. The loss is the mean absolute difference per pixel.


# %%
def schedule(epochs, batch=5):
    """Begin fast, end slow."""
    return keras.optimizers.schedules.CosineDecay(0.01, epochs * -(-len(training) // batch))


autoencoder.compile(keras.optimizers.Adam(schedule(epochs)), loss="mae")
history = autoencoder.fit(
    training, training, batch_size=5, epochs=epochs, validation_data=(test, test), verbose=0
)
plot_history(history.history)

# %%
returned = autoencoder.predict(test, verbose=0)
print(f"mean absolute difference: {np.abs(returned - test).mean():.3f} standard deviations")
plot_maps(
    [test[0], returned[0], returned[0] - test[0]],
    sphere,
    ["input", "output", "difference"],
    unit="standard deviations",
)

# %% [markdown]
# A simple rival keeps as many numbers: the means of groups of four pixels, 16 for each 64 pixels.
# What is lost then?

# %%
means = test.reshape(len(test), -1, 4).mean(axis=2).repeat(4, axis=1)[..., None]
print(f"means of four pixels: {np.abs(means - test).mean():.3f} standard deviations")

# %% [markdown]
# ## Drawing new maps: a variational auto-encoder
#
# An auto-encoder's numbers can be anything; nobody knows which of them belong to maps. In a
# variational auto-encoder (Kingma & Welling, [arXiv:1312.6114](https://arxiv.org/abs/1312.6114))
# the encoder gives a normal distribution for each number, and what the decoder gets is drawn from
# it. The loss has two parts: how far the output is from the input, and how far the
# distributions are from the standard normal one,
#
# $$ \mathrm{loss} = |x - \hat x|^2 + \beta\, D_\mathrm{KL}(q(z|x)\,\|\,\mathcal N(0, 1)) . $$
#
# The smaller the second part, the better do decoded standard normal numbers look like maps. To see
# it we need only few numbers, here four per coarse pixel.

# %%
keras.utils.set_random_seed(0)
variational = VariationalAutoencoder(sphere, filters=(8, 16, 32), latent=4, beta=0.1)
variational.compile(keras.optimizers.Adam(schedule(sampling_epochs)), loss="mse")
history = variational.fit(
    training,
    training,
    batch_size=5,
    epochs=sampling_epochs,
    validation_data=(test, test),
    verbose=0,
)
plot_history(history.history)

# %%
drawn = keras.ops.convert_to_numpy(variational.sample(2, seed=1))
returned = variational.predict(test[:1], verbose=0)
plot_maps(
    [test[0], returned[0], drawn[0], drawn[1]],
    sphere,
    ["a map", "its reconstruction", "drawn", "drawn"],
    unit="standard deviations",
)

# %% [markdown]
# The drawn maps have structures of about the right size and strength. Neighboring coarse pixels
# are drawn independently of each other, so structures larger than a coarse pixel are missing, and
# edges between them can show.

# %% [markdown]
# ## Taking noise away: a U-Net
#
# White noise is equally strong on all scales that pixels can hold, and our maps are smooth. This is
# enough to tell one from the other. A U-Net (Ronneberger et al.,
# [arXiv:1505.04597](https://arxiv.org/abs/1505.04597)) convolves at each resolution on the way
# down, and joins what it found there on the way up, so that the answer can use both the wide view
# and the single pixel. We add noise as strong as the signal, and give the maps without noise as
# the answer.

# %%
rng = np.random.default_rng(0)
noisy_training = training + rng.standard_normal(training.shape).astype("float32")
noisy_test = test + rng.standard_normal(test.shape).astype("float32")

keras.utils.set_random_seed(0)
unet = UNet(sphere, outputs=1, filters=(4, 8, 16), block="residual", activation="elu")
unet.compile(keras.optimizers.Adam(schedule(epochs)), loss="mse")
history = unet.fit(
    noisy_training,
    training,
    batch_size=5,
    epochs=epochs,
    validation_data=(noisy_test, test),
    verbose=0,
)
plot_history(history.history)

# %%
denoised = unet.predict(noisy_test, verbose=0)
plot_maps(
    [test[0], noisy_test[0], denoised[0], denoised[0] - test[0]],
    sphere,
    ["truth", "with noise", "denoised", "what is wrong"],
    limits=(-3, 3),
    unit="standard deviations",
)

# %% [markdown]
# How good is that? For a Gaussian field in white noise the best there is is known: the *Wiener
# filter*, which multiplies each spherical harmonic of degree $\ell$ by $C_\ell / (C_\ell +
# N_\ell)$, the signal's share of the power. It needs the power spectrum of the maps; the U-Net
# found out for itself. Simple smoothing at the best width stands for what one would do without
# either.

# %%
ring = healpy.nest2ring(nside, np.arange(12 * nside**2))


def to_ring(nest_map):
    values = np.empty(len(nest_map))
    values[ring] = nest_map
    return values


lmax = 2 * nside
power = np.mean([healpy.anafast(to_ring(m[:, 0]), lmax=lmax) for m in training[:40]], axis=0)
noise = 4 * np.pi / (12 * nside**2)
wiener = np.stack(
    [
        healpy.alm2map(
            healpy.almxfl(healpy.map2alm(to_ring(m[:, 0]), lmax=lmax), power / (power + noise)),
            nside,
        )[ring]
        for m in noisy_test
    ]
)[..., None]


def smoothed(fwhm):
    layer = GaussianSmoothing(sampling=sphere, fwhm=fwhm, unit="degree")
    return keras.ops.convert_to_numpy(layer(noisy_test))


def error(answer):
    return np.sqrt(np.mean((answer - test) ** 2))


widths = [4, 6, 8, 10]
errors = {
    "noisy map": error(noisy_test),
    "best smoothing": min(error(smoothed(width)) for width in widths),
    "U-Net": error(denoised),
    "Wiener filter": error(wiener),
}
figure = Figure(figsize=(6, 2.2), layout="constrained")
axes = figure.subplots()
bars = axes.barh(list(errors), list(errors.values()), color="#4477aa")
axes.bar_label(bars, fmt=" {:.2f}")
axes.set_xlabel("root mean square error, standard deviations")
axes.invert_yaxis()
axes.spines[["top", "right"]].set_visible(False)
figure

# %% [markdown]
# A linear filter with the right numbers cannot be beaten on Gaussian fields; the nearer the U-Net
# comes to it, the better it has learned. On fields that are not Gaussian, as the true matter is,
# there is more to learn than a spectrum.
