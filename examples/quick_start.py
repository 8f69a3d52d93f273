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
# # Quick start: telling two universes apart
#
# The light of far galaxies is bent by the matter that it passes. What that does to their shapes
# can be turned into a map of the *convergence* $\kappa$, the density of matter along each line of
# sight. How strongly $\kappa$ varies, and on which scales, depends on the universe: on how much
# matter there is ($\Omega_\mathrm{m}$) and on how strongly it has clumped together ($\sigma_8$).
#
# We simulate maps of two universes, bury them in noise, and train a network to tell from a map
# which universe it is of. The map covers the whole sphere, so the network has to live there too.
#
# You need `pip install 'deepsphere-keras[tensorflow,demo]'` (or `jax`, or `torch` for
# `tensorflow`), and to have trained a Keras model before. Nothing here depends on the backend.

# %%
# %matplotlib inline
import keras
import numpy as np
from sklearn.model_selection import train_test_split

import deepsphere
from deepsphere.data.cosmology import LCDM_HIGH_MATTER, LCDM_LOW_MATTER
from deepsphere.data.skies import SkySimulation, simulate
from deepsphere.layers import ChebyshevConv, Pool
from deepsphere.plot import (
    plot_confusion,
    plot_filter_coefficients,
    plot_filter_gnomonic,
    plot_filter_responses,
    plot_filter_sections,
    plot_history,
    plot_maps,
)
from deepsphere.sampling import Healpix

# %% tags=["parameters"]
nside = 64  # resolution: the sphere has 12 nside^2 pixels
maps_per_class = 100
epochs = 25

# %% [markdown]
# ## The data
#
# A map is a list of numbers, one for each pixel of the
# [HEALPix](https://healpix.sourceforge.io) grid: all pixels have the same area, and each is made
# of four smaller ones at the next resolution. DeepSphere keeps them in NEST ordering, in which
# those four are neighbors in the list.
#
# For each universe CAMB computes the power spectrum of the convergence, and each map is a random
# field with that spectrum, plus white noise of the same variance.

# %%
simulation = SkySimulation(
    cosmologies=(LCDM_HIGH_MATTER, LCDM_LOW_MATTER),
    maps_per_class=maps_per_class,
    nside=nside,
    signal_to_noise=1,
)
maps, labels = simulate(simulation, progress=False)
maps.shape  # maps, pixels, channels

# %%
names = [f"Ωm = {c.omega_m}, σ8 = {c.sigma_8}" for c in simulation.cosmologies]
sphere = Healpix(nside)
plot_maps([maps[0], maps[-1]], sphere, names, unit="convergence with noise")

# %% [markdown]
# By eye there is not much of a difference. Three quarters of the maps are for training; networks
# like numbers around one, so we divide by the standard deviation of these.

# %%
train_maps, test_maps, train_labels, test_labels = train_test_split(
    maps, labels, test_size=0.25, stratify=labels, random_state=0
)
deviation = train_maps.std()
train_maps, test_maps = train_maps / deviation, test_maps / deviation

# %% [markdown]
# ## The network
#
# A graph connects each pixel to its 20 nearest neighbors, with weights that fall off with the
# distance. Its Laplacian $L$ measures how much a map differs from its surroundings, and a
# polynomial of it is a filter: with $\tilde L$ the Laplacian rescaled to a spectrum within
# $[-1, 1]$, $T_k$ the Chebyshev polynomials and $W_k$ the coefficients that are learned,
#
# $$ y = \sum_{k=0}^{K} T_k(\tilde L)\, x\, W_k . $$
#
# $L$ knows nothing of directions, so neither do the filters: the network treats all rotations of
# a map (nearly) alike. The notebook *spherical_convolution* looks into this.
#
# Three times a convolution is followed by max pooling, which takes the largest of each four
# pixels. In the end there is one channel per universe, and we take its mean over the sphere.
# `Sequential` tells each layer the resolution it works at.

# %%
keras.utils.set_random_seed(0)
model = deepsphere.Sequential(sphere, graph=20)
for _ in range(3):
    model.add(ChebyshevConv(5, order=9, normalization="batch", activation="relu"))
    model.add(Pool())
model.add(ChebyshevConv(2, order=9))
model.add(keras.layers.GlobalAveragePooling1D())
model.add(keras.layers.Softmax())
model.build((None, len(sphere), 1))
model.summary()

# %% [markdown]
# ## Training
#
# From here on it is a Keras model like any other.

# %%
schedule = keras.optimizers.schedules.CosineDecay(
    0.03, decay_steps=epochs * -(-len(train_maps) // 16)
)
model.compile(
    keras.optimizers.Adam(schedule),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
history = model.fit(
    train_maps,
    train_labels,
    batch_size=16,
    epochs=epochs,
    validation_data=(test_maps, test_labels),
    verbose=0,
)
plot_history(history.history)

# %%
predictions = model.predict(test_maps, verbose=0).argmax(axis=1)
print(f"{np.mean(predictions == test_labels):.0%} of the test maps are classified correctly")
counts = np.zeros((2, 2), dtype=int)
np.add.at(counts, (test_labels, predictions), 1)
plot_confusion(counts, names)

# %% [markdown]
# ## What the filters do
#
# A filter is known by its coefficients, by what it does to each frequency, and by what it makes
# of a single bright pixel. The frequency of a graph is an eigenvalue of its Laplacian: 0 for a
# constant map, larger for more rapid changes.

# %%
layer = model.layers[0]
plot_filter_coefficients(layer)

# %%
plot_filter_responses(layer)

# %% [markdown]
# The same five filters on the sphere: as a cut through their middle, and seen from above. They are
# round, as they must be.

# %%
plot_filter_sections(layer)

# %%
plot_filter_gnomonic(layer)

# %% [markdown]
# ## Keeping it
#
# One file holds all: layers, weights, the pixels. It can be loaded under any backend.

# %%
model.save("quick_start.keras")
loaded = keras.models.load_model("quick_start.keras")
np.allclose(loaded.predict(test_maps, verbose=0), model.predict(test_maps, verbose=0), atol=1e-6)
