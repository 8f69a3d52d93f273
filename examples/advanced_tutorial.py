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
# # Advanced tutorial: a survey, all layers, your own training loop
#
# Hardly any telescope sees the whole sky. This notebook works on the part that a survey observed,
# shows the layers that you can build networks of, and trains with a loop of your own instead of
# Keras' `fit`. It builds on the notebook *quick_start*.

# %%
# %matplotlib inline
import healpy
import keras
import numpy as np

import deepsphere
from deepsphere.data.skies import SkySimulation, simulate
from deepsphere.layers import (
    BernsteinConv,
    ChebyshevConv,
    GaussianSmoothing,
    GraphTransformer,
    MonomialConv,
    PatchConv,
    PatchConvTranspose,
    Pool,
    ResidualBlock,
    Statistics,
    SurveyMask,
    VisionTransformer,
)
from deepsphere.plot import plot_filter_gnomonic, plot_history, plot_map, plot_maps
from deepsphere.sampling import Footprint, Healpix, regions

# %% tags=["parameters"]
nside = 32
maps_per_class = 200
epochs = 25

# %% [markdown]
# ## The footprint of a survey
#
# A region of the sphere is a boolean map, True where there is data. Regions are combined as numpy
# arrays are: `&` for both, `|` for either, `~` for the rest. Ours is a large disc in the south,
# without the band in which our galaxy is in the way (maps in galactic coordinates).

# %%
sphere = Healpix(nside)
observed = regions.disc(sphere, lon=60, lat=-55, radius=60) & regions.galactic_cut(sphere, 20)
plot_map(observed.astype(float), sphere, title="Observed", cmap="Greys")

# %% [markdown]
# A mask that comes in a file would be in the RING ordering of healpy, as this one:

# %%
mask_in_ring = healpy.reorder(observed.astype(float), n2r=True) > 0.5

# %% [markdown]
# A network halves `nside` when it pools: each pixel of the coarser map is made of four. At the edge
# of the survey some of the four are missing. So the footprint has to be *padded* to whole pixels
# of the coarsest resolution that the network uses. Ours will go down by three levels.

# %%
footprint = Footprint.from_mask(mask_in_ring, coarse_nside=nside // 8, nest=False)
footprint

# %%
state = footprint.unpack(footprint.observed + 1.0, nest=True, fill=0.0)
state[footprint.sampling.pixels[~footprint.observed]] = 1.0
plot_map(state, sphere, title="Observed (2), padded (1), not needed (0)", cmap="Greys")

# %% [markdown]
# ## Data on the footprint
#
# We simulate maps of two universes on the whole sphere, with noise, and mark as
# [unseen](https://healpy.readthedocs.io) what the survey does not see, as a file would. `pack`
# picks the pixels of the footprint, in the order that networks need; `unpack` puts them back.

# %%
simulation = SkySimulation(maps_per_class=maps_per_class, nside=nside, signal_to_noise=1)
full_maps, labels = simulate(simulation, progress=False)
full_maps = full_maps / full_maps.std()
full_maps[:, ~observed] = healpy.UNSEEN
maps = footprint.pack(full_maps, nest=True)
print(f"{full_maps.shape[1]} pixels on the sphere, {maps.shape[1]} on the footprint")
plot_map(footprint.unpack(maps[0, :, 0], nest=True), sphere, title="A map", unit="deviations")

# %% [markdown]
# ## The layers
#
# **Graph convolutions** filter by polynomials of the graph's Laplacian. The polynomials can be
# written in three bases, which can express the same filters but start from other random ones and
# train differently. **Pooling** takes the largest or the mean of the four children of each coarser
# pixel. A **residual block** adds its input to the result of two convolutions. **Patch
# convolutions** are Keras' strided convolutions on the four (or 16, ...) children; they can tell
# the children apart, hence are not equivariant to rotations. **Transformers** let pixels attend to
# their neighbors on the graph, or coarse pixels to all others. **Statistics** sum up the sphere.
# Each layer takes maps of shape (maps, pixels, channels) and knows its *sampling*, the pixels it
# works on; where the resolution changes, so does the sampling of what follows.

# %%
part = footprint.sampling
some = maps[:2]
layers = [
    ChebyshevConv(4, order=4, sampling=part),
    MonomialConv(4, order=4, sampling=part),
    BernsteinConv(4, order=4, sampling=part),
    ResidualBlock(
        ChebyshevConv(order=2, activation="relu"), sampling=part, normalization="batch", alpha=0.1
    ),
    GaussianSmoothing(sampling=part, fwhm=5, unit="degree"),
    Pool(levels=1, mode="max", sampling=part),
    PatchConv(4, levels=1, sampling=part),
    PatchConvTranspose(4, levels=1, sampling=part),
    GraphTransformer(key_dim=4, num_heads=2, sampling=part),
    VisionTransformer(key_dim=4, num_heads=2, levels=3, sampling=part),
    Statistics("mean_variance", sampling=part),
]
print("input", some.shape)
for layer in layers:
    print(f"{type(layer).__name__:20} {tuple(layer(some).shape)}")

# %% [markdown]
# Smoothing has nothing to learn; here is what it does. At the edge, weights are those of the
# pixels that are there.

# %%
smooth = keras.ops.convert_to_numpy(layers[4](some))
plot_maps(
    [footprint.unpack(m[0, :, 0], nest=True) for m in (some, smooth)],
    sphere,
    ["A map", "smoothed to 5 degrees"],
)

# %% [markdown]
# ## The network
#
# `SurveyMask` comes first. From there on the network knows which pixels were observed, at every
# resolution: convolutions take the others as 0; pooling, batch normalization and statistics leave
# them out.
# In a `Sequential` you need not name the samplings: it walks through them.

# %%
keras.utils.set_random_seed(1)
model = deepsphere.Sequential(
    part,
    [
        SurveyMask(footprint.observed),
        ChebyshevConv(6, order=9, normalization="batch", activation="relu"),
        Pool(mode="max"),
        MonomialConv(6, order=5, normalization="batch", activation="relu"),
        Pool(mode="mean"),
        ResidualBlock(
            ChebyshevConv(order=5, activation="relu"),
            activation="relu",
            normalization="batch",
            normalization_config={"momentum": 0.9},  # our steps are few: follow them quickly
            alpha=0.5,
        ),
        PatchConv(8, activation="relu"),
        ChebyshevConv(2, order=2),
        Statistics("mean"),
    ],
    graph=20,
)
model.build((None, len(part), 1))
model.summary()

# %% [markdown]
# Does it really not look beyond the survey? We put nonsense into the padded pixels.

# %%
nonsense = some.copy()
nonsense[:, ~footprint.observed] = np.nan
print(np.array_equal(model.predict(some, verbose=0), model.predict(nonsense, verbose=0)))

# %% [markdown]
# ## A training loop of your own
#
# A fifth of the maps is for testing. `PyDataset` or any generator would do as a source of batches;
# here we shuffle indices. The step that computes the loss, its gradients and the update is the only
# part that differs between the backends, and each is the backend's own idiom.

# %%
rng = np.random.default_rng(0)
order = rng.permutation(len(maps))
test, training = order[: len(maps) // 5], order[len(maps) // 5 :]
batch = 16

loss_function = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
steps = epochs * (len(training) // batch)
optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, steps))
optimizer.build(model.trainable_variables)

# %%
if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    @tf.function
    def train_step(x, y):
        with tf.GradientTape() as tape:
            loss = loss_function(y, model(x, training=True))
        gradients = tape.gradient(loss, model.trainable_weights)
        optimizer.apply(gradients, model.trainable_weights)
        return loss

elif keras.backend.backend() == "jax":
    import jax

    def loss_of(trainable, fixed, x, y):
        logits, fixed = model.stateless_call(trainable, fixed, x, training=True)
        return loss_function(y, logits), fixed

    @jax.jit
    def update(trainable, fixed, slots, x, y):
        (loss, fixed), gradients = jax.value_and_grad(loss_of, has_aux=True)(trainable, fixed, x, y)
        trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
        return loss, trainable, fixed, slots

    def train_step(x, y):
        variables = [model.trainable_variables, model.non_trainable_variables, optimizer.variables]
        loss, *values = update(*([v.value for v in group] for group in variables), x, y)
        for group, new in zip(variables, values, strict=True):
            for variable, value in zip(group, new, strict=True):
                variable.assign(value)
        return loss

else:

    def train_step(x, y):
        model.zero_grad()
        loss = loss_function(keras.ops.convert_to_tensor(y), model(x, training=True))
        loss.backward()
        gradients = [weight.value.grad for weight in model.trainable_weights]
        optimizer.apply(gradients, model.trainable_weights)
        return loss


# %%
history = {"loss": [], "val_loss": [], "accuracy": [], "val_accuracy": []}


def measure(indices):
    logits = model.predict(maps[indices], batch_size=batch, verbose=0)
    loss = float(loss_function(labels[indices], logits))
    return loss, float(np.mean(logits.argmax(axis=1) == labels[indices]))


for _ in range(epochs):
    shuffled = rng.permutation(training)
    for start in range(0, len(shuffled) - batch + 1, batch):
        chosen = shuffled[start : start + batch]
        train_step(maps[chosen], labels[chosen])
    for prefix, indices in (("", training), ("val_", test)):
        loss, accuracy = measure(indices)
        history[f"{prefix}loss"].append(loss)
        history[f"{prefix}accuracy"].append(accuracy)

print(f"accuracy on the test maps: {history['val_accuracy'][-1]:.0%}")
plot_history(history)

# %% [markdown]
# A fifth of the sphere tells less than all of it, and where the two curves part, the network begins
# to learn its training maps by heart. More maps would help; so would noise drawn anew in each
# epoch.
#
# ## Filters at any depth
#
# Filters can be looked at anywhere in the network, by the layer's name or place. Here is the second
# graph convolution, at half the resolution, around a pixel in the middle of the footprint.

# %%
plot_filter_gnomonic(3, model=model, max_channels=3, max_filters=3)

# %% [markdown]
# The footprint and the mask are saved with the model; `deepsphere info survey.keras` on the command
# line tells what is in the file.

# %%
model.save("survey.keras")
loaded = keras.models.load_model("survey.keras")
np.allclose(loaded.predict(some, verbose=0), model.predict(some, verbose=0), atol=1e-6)
