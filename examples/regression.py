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
# # Regression: measuring two numbers of a universe
#
# In *quick_start* a network told two universes apart. Here it measures two numbers of any universe
# from a range: $\Omega_\mathrm{m}$, how much matter there is, and $\sigma_8$, how strongly it has
# clumped together.
#
# The data have two **channels**: the maps that one gets from the shapes of nearer and of farther
# galaxies. To look at several distances is called *tomography*, after the medical method, because
# it sees the matter slice by slice. Slices overlap, so the channels are correlated, and we shall
# see that the two together tell much more than either alone.
#
# For comparison we do what cosmologists have always done, and compute power spectra.

# %%
# %matplotlib inline
from itertools import pairwise

import camb
import healpy
import keras
import matplotlib.pyplot as plt
import numpy as np
from numpy.polynomial.chebyshev import chebpts1, chebvander2d
from scipy.stats import qmc
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

import deepsphere
from deepsphere.layers import ChebyshevConv, Pool, Statistics
from deepsphere.plot import plot_history, plot_maps
from deepsphere.sampling import Healpix

# %% tags=["parameters"]
nside = 32  # resolution: the sphere has 12 nside^2 pixels
number_of_maps = 2048
epochs = 10
grid = (5, 2)  # how many values of omega_m and of sigma_8 spectra are computed for

# %% [markdown]
# ## Spectra
#
# The light of a galaxy is bent by all matter between it and us. From the shapes of many galaxies at
# one distance one reconstructs the *convergence* $\kappa$, the density of matter along each line of
# sight, weighted by how strongly it bends. As a random field on the sphere it has a power spectrum
# $C_\ell$: the variance of its spherical harmonics of degree $\ell$, which vary on scales of about
# $180^\circ / \ell$. Two fields have two spectra and a **cross spectrum** $C_\ell^{12}$, which is
# the covariance of the first with the second.
#
# CAMB computes all three, for galaxies at the redshifts $z = 0.5$ and 1 (light that has traveled
# for 5 and for 8 billion years). `deepsphere.data.cosmology.convergence_spectrum` has the settings
# for a single redshift; here they are for two. CAMB wants the amplitude of the fluctuations in the
# early universe instead of $\sigma_8$, which is proportional to its root, so that we first ask
# which $\sigma_8$ belongs to some amplitude.

# %%
redshifts = (0.5, 1.0)
lmax = 2 * nside
h, omega_b, n_s = 0.7, 0.046, 0.965  # Hubble constant, baryons, slope of the initial spectrum
amplitude = 2e-9


def camb_parameters(omega_m):
    parameters = camb.CAMBparams()
    parameters.set_cosmology(
        H0=100 * h, ombh2=omega_b * h**2, omch2=(omega_m - omega_b) * h**2, mnu=0
    )
    parameters.InitPower.set_params(As=amplitude, ns=n_s)
    return parameters


def lensing_spectra(omega_m, values_of_sigma_8):
    """Return C_l of channel 1, of channel 2, and of 1 with 2: shape (values, 3, lmax + 1)."""
    parameters = camb_parameters(omega_m)
    parameters.set_matter_power(redshifts=[0], kmax=5)
    parameters.NonLinear = camb.model.NonLinear_none
    parameters.WantCls = False
    known = camb.get_results(parameters).get_sigma8_0()

    parameters = camb_parameters(omega_m)
    parameters.set_for_lmax(max(lmax, 300), lens_potential_accuracy=1)
    parameters.NonLinear = camb.model.NonLinear_both
    parameters.Want_CMB = False
    parameters.SourceWindows = [
        camb.sources.GaussianSourceWindow(redshift=z, sigma=0.02 * z, source_type="lensing")
        for z in redshifts
    ]
    # What takes longest does not depend on the amplitude: it is done once.
    transfer = camb.get_transfer_functions(parameters, only_time_sources=True)
    spectra = []
    for sigma_8 in values_of_sigma_8:
        initial = camb.InitialPowerLaw(As=amplitude * (sigma_8 / known) ** 2, ns=n_s)
        transfer.power_spectra_from_transfer(initial)
        found = transfer.get_source_cls_dict(lmax=lmax, raw_cl=True)
        spectra.append([found[pair] for pair in ("W1xW1", "W2xW2", "W1xW2")])
    return np.nan_to_num(spectra)  # nothing is defined below l = 2


# %% [markdown]
# We shall need thousands of spectra and have no time to compute so many. But they depend on the
# parameters so smoothly that a few suffice: the logarithm of each $C_\ell$ is nearly a polynomial
# in the logarithms of $\Omega_\mathrm{m}$ and $\sigma_8$. We compute the spectra on a small grid
# and interpolate. (The grid is at the zeros of a Chebyshev polynomial, where interpolation works
# best.)

# %%
lowest, highest = np.array([0.15, 0.6]), np.array([0.5, 1.0])  # of omega_m and sigma_8


def to_unit(parameters):
    """Map the logarithms of the parameters to [-1, 1]."""
    return 2 * np.log(parameters / lowest) / np.log(highest / lowest) - 1


def from_unit(values, which):
    return lowest[which] * (highest[which] / lowest[which]) ** ((values + 1) / 2)


def terms(parameters):
    return chebvander2d(*to_unit(parameters).T, [n - 1 for n in grid]).reshape(len(parameters), -1)


omegas, sigmas = (from_unit(chebpts1(n), which) for which, n in enumerate(grid))
known = np.concatenate([lensing_spectra(omega_m, sigmas) for omega_m in omegas])
nodes = np.array([(omega_m, sigma_8) for omega_m in omegas for sigma_8 in sigmas])
coefficients = np.linalg.solve(terms(nodes), np.log(known[:, :, 2:]).reshape(len(nodes), -1))


def spectra_of(parameters):
    """Return spectra for parameters of shape (n, 2), interpolated: shape (n, 3, lmax + 1)."""
    logarithms = terms(parameters) @ coefficients
    spectra = np.exp(logarithms).reshape(len(parameters), 3, lmax - 1)
    return np.pad(spectra, ((0, 0), (0, 0), (2, 0)))


exact = lensing_spectra(0.3, [0.8])[0]
error = spectra_of(np.array([[0.3, 0.8]]))[0, :, 2:] / exact[:, 2:] - 1
print(f"in between, the interpolation is off by up to {np.abs(error).max():.1%}")

# %% [markdown]
# Reconstructing $\kappa$ from the shapes of galaxies is noisy, because galaxies are not round to
# begin with. With $n$ galaxies per solid angle whose ellipticities scatter by $\sigma_\epsilon$,
# the noise is white, with the spectrum $\sigma_\epsilon^2 / n$. We take 1.4 galaxies per square arc
# minute and channel, and $\sigma_\epsilon = 0.26$. That is about what the Dark Energy Survey has in
# one of its redshift bins; but it sees an eighth of the sky, and we the whole.

# %%
galaxies_per_square_arcminute = 1.4
ellipticity = 0.26
noise_spectrum = ellipticity**2 / (galaxies_per_square_arcminute * (180 * 60 / np.pi) ** 2)

examples = np.array([[0.2, 0.8], [0.3, 0.8], [0.4, 0.8], [0.3, 0.7]])
ell = np.arange(2, lmax + 1)
figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained", sharey=True)
names = ["z = 0.5", "z = 1.0", "z = 0.5 with z = 1.0"]
for which, (panel, name) in enumerate(zip(axes, names, strict=True)):
    for (omega_m, sigma_8), spectra in zip(examples, spectra_of(examples), strict=True):
        style = "-" if sigma_8 == 0.8 else "--"
        label = f"$\\Omega_m$ = {omega_m}, $\\sigma_8$ = {sigma_8}"
        panel.semilogx(ell, 1e8 * spectra[which, 2:], style, label=label)
    if which < 2:
        panel.axhline(1e8 * noise_spectrum, color="0.6", linestyle=":", label="noise")
    panel.set(title=name, xlabel=r"degree $\ell$")
    panel.minorticks_off()
    panel.set_xticks([2, 5, 10, 20, 50], [2, 5, 10, 20, 50])
axes[0].set_ylabel(r"$C_\ell$ of the convergence $\times 10^8$")
axes[0].set_ylim(0)
axes[0].legend(fontsize="small")
plt.show()

# %% [markdown]
# A change of $\sigma_8$ moves the spectra up and down. A change of $\Omega_\mathrm{m}$ tilts them,
# about $\ell \approx 10$ in the near channel and $\ell \approx 20$ in the far one. Over a short
# range of scales, and in noise, it is hard to tell one from the other. But how much of a shift
# looks like a given tilt differs between the channels.
#
# ## Maps
#
# The parameters are drawn as a Latin hypercube, which fills the range more evenly than
# independent numbers would. A map with given spectra is made from random numbers, the coefficients
# of its spherical harmonics. For two correlated maps one takes two independent sets of standard
# normal numbers $u$ and $v$, and mixes them,
#
# $$ a^1 = \sqrt{C^{11}}\, u, \qquad
#    a^2 = \frac{C^{12}}{\sqrt{C^{11}}}\, u + \sqrt{C^{22} - \frac{(C^{12})^2}{C^{11}}}\; v , $$
#
# so that their variances and their covariance come out as they should (for each $\ell$ this is the
# Cholesky decomposition of a matrix of two rows).

# %%
sphere = Healpix(nside)
rng = np.random.default_rng(0)
truth = qmc.scale(qmc.LatinHypercube(2, seed=0).random(number_of_maps), lowest, highest)
degree, m = healpy.Alm.getlm(lmax)


def white():
    """Draw harmonic coefficients of variance one; those of m = 0 are real."""
    real, imaginary = rng.standard_normal((2, len(degree)))
    return np.where(m > 0, (real + 1j * imaginary) / np.sqrt(2), real)


def draw_maps(c11, c22, c12):
    """Draw a correlated pair of maps, shape (pixels, 2)."""
    u, v = white(), white()
    root = np.sqrt(c11)
    mixed = np.divide(c12, root, out=np.zeros(lmax + 1), where=root > 0)
    rest = np.sqrt(np.maximum(c22 - mixed**2, 0))
    pair = root[degree] * u, mixed[degree] * u + rest[degree] * v
    maps = [healpy.alm2map(alm, nside, lmax=lmax) for alm in pair]
    return healpy.reorder(np.array(maps), r2n=True).T  # healpy's RING ordering becomes NEST


maps = np.empty((number_of_maps, len(sphere), 2), dtype="float32")
for i, spectra in enumerate(spectra_of(truth)):
    maps[i] = draw_maps(*spectra)
noise = np.sqrt(noise_spectrum / sphere.areas[0])
print(f"signal {maps[..., 0].std():.4f} and {maps[..., 1].std():.4f}, noise {noise:.4f} in a pixel")
clean = maps[:1].copy()
maps += noise * rng.standard_normal(maps.shape, dtype="float32")

# %%
plot_maps(
    [clean[0, :, 0], clean[0, :, 1], maps[0, :, 0], maps[0, :, 1]],
    sphere,
    ["z = 0.5", "z = 1.0", "z = 0.5, with noise", "z = 1.0, with noise"],
    unit="convergence",
    cmap="RdBu_r",
    limits=(-4 * noise, 4 * noise),
)

# %% [markdown]
# Much of the far map is seen in the near one too: the nearer matter bends the light of both. A
# quarter of the maps are kept for testing.

# %%
tests = number_of_maps // 4
train_maps, test_maps = maps[:-tests], maps[-tests:]
train_truth, test_truth = truth[:-tests], truth[-tests:]

# %% [markdown]
# ## The network
#
# Three times a graph convolution (see *spherical_convolution*) with the channels of the layer
# below, followed by the mean over each four pixels. Then `Statistics` takes from each channel the
# mean and the variance over the whole sphere, two numbers that do not change when the sphere is
# turned. A `Dense` layer combines them to two outputs, the parameters.
#
# The convolutions see both maps at once. Products of the two, which is what a cross spectrum is
# made of, are for the activation functions to find.
#
# Networks like numbers around zero and one, so the maps are divided by the standard deviation of
# their channel, and the parameters *standardized*: we subtract their mean and divide by their
# standard deviation. As the loss we take the mean of the squared errors. A network that always
# answers with the mean has a loss of 1.

# %%
scale = train_maps.std(axis=(0, 1))
mean, deviation = train_truth.mean(axis=0), train_truth.std(axis=0)

keras.utils.set_random_seed(0)
model = deepsphere.Sequential(sphere)
for filters in (8, 16, 32):
    model.add(ChebyshevConv(filters, order=4, normalization="batch", activation="relu"))
    model.add(Pool(mode="mean"))
model.add(Statistics("mean_variance"))
model.add(keras.layers.Dense(2))
model.build((None, len(sphere), 2))
model.summary()

# %%
batch = 32
schedule = keras.optimizers.schedules.CosineDecay(
    0.005, decay_steps=epochs * -(-len(train_maps) // batch)
)
model.compile(keras.optimizers.Adam(schedule), loss="mse")
history = model.fit(
    train_maps / scale,
    (train_truth - mean) / deviation,
    batch_size=batch,
    epochs=epochs,
    validation_data=(test_maps / scale, (test_truth - mean) / deviation),
    verbose=0,
)
plot_history(history.history)

# %% [markdown]
# The loss on the training maps is the larger one, contrary to what one is used to. In training,
# batch normalization divides by the standard deviation of the maps in the current batch, which
# blurs just what is to be measured; for predictions it divides by constants, which are averages
# over many batches. (While the weights still change fast these averages are out of date, hence the
# poor validation losses that there may be in some early epochs.)
#
# ## The baseline: power spectra
#
# The spectra of each pair of noisy maps, averaged over a few ranges of $\ell$, are fifteen numbers:
# the logarithms of the two spectra, and the correlation $C^{12} / \sqrt{C^{11} C^{22}}$. On these
# and on their squares and products we do a linear regression. (*Ridge* regression prefers small
# coefficients, which keeps it from fitting the noise; cross-validation on the training maps decides
# how much.)

# %%
edges = np.round(np.geomspace(2, lmax + 1, 6)).astype(int)


def measure_spectra(pair):
    """Return the two spectra and the correlation of two maps, each in five bins."""
    ring = healpy.reorder(pair.T.astype(float), n2r=True)
    alms = [healpy.map2alm(one, lmax=lmax, iter=0) for one in ring]
    spectra = np.array(healpy.alm2cl(alms))  # of 1, of 2, of 1 with 2
    bins = [
        np.average(spectra[:, low:high], axis=1, weights=2 * np.arange(low, high) + 1)
        for low, high in pairwise(edges)
    ]
    first, second, cross = np.transpose(bins)
    return np.log(first), np.log(second), cross / np.sqrt(first * second)


measured = np.array([measure_spectra(pair) for pair in maps])  # maps, 3, bins


def regress(features):
    """Learn the parameters from features of the training maps, predict those of the tests."""
    features = features.reshape(number_of_maps, -1)
    regression = make_pipeline(
        StandardScaler(), PolynomialFeatures(2), RidgeCV(np.logspace(-3, 4, 15))
    )
    return regression.fit(features[:-tests], train_truth).predict(features[-tests:])


predictions = {
    "network": model.predict(test_maps / scale, verbose=0) * deviation + mean,
    "spectra": regress(measured),
    "spectrum of z = 0.5": regress(measured[:, 0]),
    "spectrum of z = 1.0": regress(measured[:, 1]),
}
# No universe of ours lies outside the range, so no prediction should.
predictions = {name: np.clip(found, lowest, highest) for name, found in predictions.items()}

# %% [markdown]
# ## Who measures better?
#
# We add a third number, which is computed from the two,
#
# $$ S_8 = \sigma_8 \sqrt{\Omega_\mathrm{m} / 0.3} . $$
#
# More matter that is clumped less bends light as much as less matter that is clumped more. So a
# lensing survey knows this combination well, even when it does not know the two apart; surveys
# quote it for that reason. The table gives the error (root mean square over the test maps), also as
# a share of the scatter of the true values: at 100 % one might as well have guessed the mean.


# %%
def with_s8(parameters):
    s8 = parameters[:, 1] * np.sqrt(parameters[:, 0] / 0.3)
    return np.column_stack([parameters, s8])


labels = [r"$\Omega_\mathrm{m}$", r"$\sigma_8$", r"$S_8$"]
true = with_s8(test_truth)
scatter = true.std(axis=0)
print(f"{'error of':<20} omega_m       sigma_8       S_8")
for name, found in predictions.items():
    errors = np.sqrt(np.mean((with_s8(found) - true) ** 2, axis=0))
    cells = [f"{e:.3f} ({e / s:3.0%})" for e, s in zip(errors, scatter, strict=True)]
    print(f"{name:<20} " + "  ".join(cells))

# %% [markdown]
# Network and spectra measure about equally well. If one is ahead it is the spectra, as it must be:
# our maps are *Gaussian* random fields, and their spectra contain all there is to know. The
# baseline was told that spectra matter, and has little to learn; the network found out from the
# maps alone. Real convergence is not Gaussian, and has more in it than spectra (try
# `lognormal=True` in `deepsphere.data.skies.SkySimulation`). For a Gaussian field take the spectra:
# they are as good, faster, and one can say why.
#
# Prediction against truth for the network. Each dot is a test map; the bars are mean and standard
# deviation of the predictions in ranges of the truth.

# %%
figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
found = with_s8(predictions["network"])
for i, panel in enumerate(axes):
    panel.plot(true[:, i], found[:, i], ".", color="C0", alpha=0.25, markersize=4)
    ends = np.quantile(true[:, i], np.linspace(0, 1, 9))
    part = np.clip(np.searchsorted(ends, true[:, i]) - 1, 0, 7)
    middle = [true[part == p, i].mean() for p in range(8)]
    center = [found[part == p, i].mean() for p in range(8)]
    spread = [(found - true)[part == p, i].std() for p in range(8)]
    panel.errorbar(middle, center, spread, fmt="o", color="C1", markersize=4, capsize=3)
    panel.plot(ends[[0, -1]], ends[[0, -1]], color="0.4", linewidth=1)
    panel.set(title=labels[i], xlabel="truth", aspect="equal")
axes[0].set_ylabel("prediction of the network")
plt.show()

# %% [markdown]
# The errors grow with $\Omega_\mathrm{m}$, and towards the ends of the range predictions are drawn
# to its middle, as they are for anyone who minimizes squared errors.
#
# ## Degeneracy, and how two distances lift it
#
# In the table, a single channel does badly on $\Omega_\mathrm{m}$, yet much better on $S_8$. To see
# why we draw the error of one parameter against that of the other, for each test map, both relative
# to the truth. Along the gray line $S_8$ stays the same.

# %%
figure, axes = plt.subplots(1, 4, figsize=(10, 3.1), layout="constrained", sharey=True)
order = ["spectrum of z = 0.5", "spectrum of z = 1.0", "spectra", "network"]
for panel, name in zip(axes, order, strict=True):
    e_omega, e_sigma = np.log(predictions[name] / test_truth).T
    panel.plot([-0.5, 0.5], [0.25, -0.25], color="0.6", linewidth=1)
    panel.plot(e_omega, e_sigma, ".", markersize=3, alpha=0.5)
    panel.set(title=name, xlim=(-0.5, 0.5), ylim=(-0.3, 0.3))
    panel.set_xlabel(r"relative error of $\Omega_\mathrm{m}$")
    panel.set_xticks([-0.4, -0.2, 0, 0.2, 0.4])
    exponent = -np.mean(e_omega * e_sigma) / np.mean(e_omega**2)
    best = np.sqrt(np.mean((e_sigma + exponent * e_omega) ** 2))
    print(f"{name:<20} sigma_8 * omega_m^{exponent:.2f} is known to {best:.1%}")
axes[0].set_ylabel(r"relative error of $\sigma_8$")
plt.show()

# %% [markdown]
# The clouds are long and thin: an error in one parameter is made up for by the other. That is a
# **degeneracy**: across the cloud the data know much, along it little. For the near channel it lies
# nearly along the line of constant $S_8$. For the far channel it is less steep: with more
# $\Omega_\mathrm{m}$ and the same $\sigma_8$ the power moves to smaller scales, and of these our
# coarse maps show few. (The exponent 1/2 in $S_8$ is for surveys with much smaller pixels.) As the
# two clouds point in different directions, few pairs of parameters are on both, and together the
# channels measure what neither could alone.
