"""Baselines for the network: linear classifiers of power spectra and of pixel variances."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepsphere._extras import require

C_GRID = np.logspace(-2, 2, 5)
"""Regularization strengths tried by `linear_svm_accuracy`."""

MAX_FOLDS = 5  # of cross-validation; fewer if a class has fewer training maps


def power_spectrum_features(maps: ArrayLike, lmax: int | None = None) -> NDArray[np.float64]:
    """Compute the logarithm of each map's angular power spectrum.

    The logarithm makes the scatter of all multipoles nearly Gaussian and of similar size, whatever
    the shape of the spectrum. The monopole and dipole are omitted, since simulated convergence
    has none.

    Parameters
    ----------
    maps : array_like, shape (maps, 12 * nside**2, channels)
        Full-sky HEALPix maps in NEST ordering.
    lmax : int, optional
        Largest multipole, at least 2. Default: ``3 * nside - 1``, the largest that the pixels
        resolve and the maximum.

    Returns
    -------
    ndarray of float64, shape (maps, channels * (lmax - 1))
        ``log(C_l)`` for l = 2 to `lmax`, channel by channel, with ``C_l`` in the maps' unit
        squared.

    Raises
    ------
    ValueError
        If `maps` does not have this shape with nside a power of two, is empty or not finite, if
        the power is zero at some multipole (as for a constant map), or if `lmax` is out of range.
    ImportError
        If healpy is not installed.
    """
    array = _check_maps(maps)
    healpy = require("healpy", "healpy")
    count, pixels, channels = array.shape
    nside = round((pixels / 12) ** 0.5)
    if pixels != 12 * nside**2 or nside & (nside - 1):
        raise ValueError(
            "maps must cover the full sphere with 12 * nside**2 pixels, nside a power of two; "
            f"got {pixels} pixels"
        )
    if lmax is None:
        lmax = 3 * nside - 1
    if not 2 <= lmax <= 3 * nside - 1:
        raise ValueError(f"lmax must be from 2 to {3 * nside - 1} for nside {nside}, got {lmax}")

    nest_of_ring = healpy.ring2nest(nside, np.arange(pixels))
    features = np.empty((count, channels, lmax - 1))
    for index in range(count):
        for channel in range(channels):
            ring = array[index, nest_of_ring, channel].astype(np.float64)
            # One iteration reduces the quadrature error from 1 % to 0.1 % of the power.
            features[index, channel] = healpy.anafast(ring, lmax=lmax, iter=1)[2:]
    if not np.all(features > 0):
        raise ValueError("a map has zero power at some multipoles (is it constant?); leave it out")
    return np.log(features).reshape(count, -1)


def variance_features(maps: ArrayLike) -> NDArray[np.float64]:
    """Compute the variance of each map over its pixels.

    Parameters
    ----------
    maps : array_like, shape (maps, pixels, channels)
        Maps on any sampling with pixels of equal area.

    Returns
    -------
    ndarray of float64, shape (maps, channels)
        Variances, in the maps' unit squared.

    Raises
    ------
    ValueError
        If `maps` does not have three dimensions, is empty, or is not finite.
    """
    return np.var(_check_maps(maps), axis=1, dtype=np.float64)


def linear_svm_accuracy(
    train_features: ArrayLike,
    train_labels: ArrayLike,
    test_features: ArrayLike,
    test_labels: ArrayLike,
    seed: int,
) -> float:
    """Train a linear support vector machine and return its accuracy on the test set.

    Features are standardized and the regularization strength is chosen from ``C_GRID`` by
    cross-validation, both on the training set only.

    Parameters
    ----------
    train_features, test_features : array_like, shape (maps, features)
        Features of each map.
    train_labels, test_labels : array_like of int, shape (maps,)
        Classes: two or more, each with at least two training maps.
    seed : int
        Seed of the split into folds and of the solver.

    Returns
    -------
    float
        Fraction of test maps classified correctly, from 0 to 1.

    Raises
    ------
    ValueError
        If there is only one class, or a class has only one training map; from scikit-learn if
        features and labels do not fit or are not finite.
    ImportError
        If scikit-learn is not installed.
    """
    classes, counts = np.unique(train_labels, return_counts=True)
    if len(classes) < 2 or counts.min() < 2:
        raise ValueError(
            "train_labels must contain at least two classes with at least two maps each, got "
            f"{dict(zip(classes.tolist(), counts.tolist(), strict=True))}"
        )
    pipeline = require("sklearn.pipeline", "baselines")
    preprocessing = require("sklearn.preprocessing", "baselines")
    selection = require("sklearn.model_selection", "baselines")
    svm = require("sklearn.svm", "baselines")

    # "auto" selects the dual problem for fewer maps than features, else the primal: the faster to
    # converge. The default of 1000 iterations is not always enough.
    classifier = pipeline.make_pipeline(
        preprocessing.StandardScaler(),
        svm.LinearSVC(dual="auto", max_iter=100_000, random_state=seed),
    )
    folds = selection.StratifiedKFold(
        n_splits=min(MAX_FOLDS, int(counts.min())), shuffle=True, random_state=seed
    )
    search = selection.GridSearchCV(classifier, {"linearsvc__C": C_GRID}, cv=folds)
    search.fit(train_features, train_labels)
    return float(search.score(test_features, test_labels))


def _check_maps(maps: ArrayLike) -> NDArray[np.floating]:
    array = np.asarray(maps)
    if array.ndim != 3 or array.size == 0:
        raise ValueError(f"maps must have the shape (maps, pixels, channels), got {array.shape}")
    if not np.all(np.isfinite(array)):
        raise ValueError(
            f"maps must be finite, got {np.count_nonzero(~np.isfinite(array))} values that are not"
        )
    return array
