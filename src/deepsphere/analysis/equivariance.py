"""Equivariance of operators, layers and models to rotations of the sphere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from deepsphere._checks import check_count
from deepsphere.analysis.harmonics import (
    analyze,
    band_limit,
    check_whole,
    random_coefficients,
    random_rotations,
    synthesize,
)
from deepsphere.graph.isotropy import check_degrees, isotropy_error
from deepsphere.ops.matrices import to_csr
from deepsphere.ops.operator import SparseOperator
from deepsphere.sampling import Sampling
from deepsphere.sampling.base import check_sampling

Floats = NDArray[np.float64]
Apply = Callable[[Floats], Floats]

FORMS = ("isotropy", "rotation")

BATCH = 16
"""Number of fields to which an operator is applied at once."""

LINEAR = 1e-4
"""Relative deviation above which a map is not linear; rounding in single precision is below."""


class EquivarianceResult(NamedTuple):
    """Equivariance errors per degree.

    Attributes
    ----------
    mean : ndarray of float64, shape (degrees,)
        Mean normalized error of each degree; 0 is equivariant.
    deviation : ndarray of float64, shape (degrees,)
        Standard deviation over random fields and rotations. The standard error of the mean is
        ``deviation / sqrt(rotations)``. NaN if `mean` is the exact expectation.
    """

    mean: Floats
    deviation: Floats


def equivariance_error(
    what: Any,
    sampling: Sampling,
    degrees: Sequence[int],
    rotations: int = 16,
    form: str = "isotropy",
    seed: int = 0,
    *,
    channels: int | None = None,
    output_sampling: Sampling | None = None,
) -> EquivarianceResult:
    """Measure the equivariance error of an operator, layer, model or function, for each degree.

    There are two forms, whose means agree for linear maps:

    - ``"rotation"``: the mean of ``|F(R f) - R F(f)|**2 / |F(f)|**2`` over random fields f of
      spherical-harmonic degree ell and random rotations R, the definition of the papers. It works
      for any F, including maps that are nonlinear, have several channels or change the
      resolution. An output without pixels, shape (batch, features), should be invariant: R leaves
      it unchanged.
    - ``"isotropy"``: ``2 E|L f - h f|**2 / E|L f|**2`` with the best number h, without any
      rotation. It works for linear maps with one channel on the points of one sampling. For a
      sparse matrix it is the exact expectation and needs no random numbers.

    Parameters
    ----------
    what : sparse matrix, SparseOperator, keras.layers.Layer, keras.Model or callable
        A matrix acts on the pixels. A layer or model receives fields of shape (batch, pixels,
        channels) and runs in inference mode. A function receives a float64 array of shape
        (batch, pixels) and returns an array of shape (batch, output pixels).
    sampling : Sampling
        Sampling of the input. The rotation form needs one of the whole sphere.
    degrees : sequence of int
        Degrees ell, at least 1. For the rotation form they are at most
        `deepsphere.analysis.harmonics.band_limit`, 2.5 nside on HEALPix.
    rotations : int, default 16
        Number of random fields per degree, each with its own rotation. With 16, the mean is
        accurate to about 10 % from degree 8 on.
    form : {"isotropy", "rotation"}, default "isotropy"
        Form of the error. The default has no numerical error of its own.
    seed : int, default 0
        Seed of the random fields and rotations.
    channels : int, optional
        Number of channels of the random fields, which are independent. Default: the number the
        layer or model was built for, or 1.
    output_sampling : Sampling, optional
        Sampling of the output. Default: the level of `sampling` with as many pixels.

    Returns
    -------
    EquivarianceResult
        Mean and standard deviation for each degree.

    Raises
    ------
    ImportError
        If ducc0, the extra ``harmonics``, is not installed. Sparse matrices do not need it in the
        isotropy form.
    TypeError
        If `sampling` is not a `Sampling`, `degrees` is empty, `degrees`, `rotations` or `channels`
        are not integers, or `what` has none of the types above.
    ValueError
        If `form` is unknown; if a degree is below 1 or above the band limit of the rotation form;
        if `rotations` or `channels` is less than 1, or `channels` is not 1 for a matrix or
        function; if `what` does not act on the pixels of `sampling`; if it is not linear, has
        several channels or changes the pixels in the isotropy form; or if the output is on no
        level of `sampling` and `output_sampling` is not given.

    Notes
    -----
    See Perraudin et al., arXiv 1904.05146, and Defferrard et al., arXiv 2012.15000. The rotation
    form rotates maps exactly within the band limit: its error for the identity is 1e-16. Output of
    F beyond the band limit cannot be rotated. For an equivariant F, such as an activation, it
    counts as error; for other F it counts once instead of twice, so the result is between half and
    all of that of the isotropy form. Layers compute in single precision, which limits the error to
    about 1e-14 divided by the square of the layer's gain at that degree.

    Examples
    --------
    >>> from deepsphere.graph import Graph, laplacian
    >>> from deepsphere.sampling import Healpix
    >>> graph = laplacian(Healpix(8), Graph(20, laplacian="combinatorial"))
    >>> print(equivariance_error(graph, Healpix(8), [2, 8]).mean.round(4))
    [0.0048 0.0005]
    """
    check_sampling(sampling)
    if form not in FORMS:
        raise ValueError(f"form must be one of {', '.join(FORMS)}; got {form!r}")
    wanted = check_degrees(degrees)
    rotations = check_count(rotations, "rotations")
    matrix = _matrix(what)
    if matrix is not None and matrix.shape[1] != len(sampling):
        raise ValueError(
            f"the operator acts on {matrix.shape[1]} pixels, but {sampling!r} has {len(sampling)}"
        )
    rng = np.random.default_rng(seed)
    if form == "rotation":
        apply, width = _function(what if matrix is None else matrix, channels)
        _check_band(wanted, sampling)
        samples = [
            _rotated(apply, width, sampling, output_sampling, int(degree), rotations, rng)
            for degree in wanted
        ]
        return _summary(np.array([errors.mean() for errors in samples]), samples)
    if matrix is not None:
        if matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"{_ELSEWHERE}, got a matrix of shape {matrix.shape}")
        mean = isotropy_error(matrix, sampling.points, wanted.tolist(), areas=sampling.areas)
        return EquivarianceResult(mean, np.full(len(wanted), np.nan))
    apply, width = _function(what, channels)
    _check_linear(apply, width, len(sampling), rng)
    return _isotropy(apply, sampling, wanted, rotations, rng)


_ELSEWHERE = (
    'form "isotropy" requires a linear map from one channel to one on the same pixels; use '
    'form="rotation"'
)


def _matrix(what: Any) -> csr_array | None:
    """Return the matrix of an operator, or None if it is not given by a matrix."""
    if isinstance(what, SparseOperator):
        what = what.matrix
    if not issparse(what):
        return None
    return to_csr(what, "the operator").copy()


def _function(what: Any, channels: int | None) -> tuple[Apply, int]:
    """Return a function from (batch, pixels, channels) to arrays (batch, ...), and its channels."""
    if isinstance(what, keras.layers.Layer):
        if channels is None:
            channels = _built_for(what)
        return keras_function(what), check_count(channels, "channels")
    if channels not in (None, 1):
        raise ValueError(
            f"only layers and models have channels; got channels={channels!r} for {what!r}"
        )
    if issparse(what):
        return (lambda fields: (what @ fields[:, :, 0].T).T[:, :, None]), 1
    if not callable(what):
        raise TypeError(
            "what must be a sparse matrix, a SparseOperator, a Keras layer or model, or a "
            f"function of arrays, got {type(what).__name__}"
        )

    def call(fields: Floats) -> Floats:
        result = np.asarray(what(fields[:, :, 0]), dtype=np.float64)
        if result.ndim != 2 or len(result) != len(fields):
            raise ValueError(
                f"the function must return an array of shape ({len(fields)}, pixels) for an input "
                f"of shape {fields.shape[:2]}, got shape {result.shape}"
            )
        return result[:, :, None]

    return call, 1


def keras_function(layer: keras.layers.Layer) -> Apply:
    """Return a layer's inference as a function from arrays to float64 arrays."""

    def call(fields: Floats) -> Floats:
        inputs = keras.ops.convert_to_tensor(fields, dtype=layer.compute_dtype)
        return to_array(layer(inputs, training=False))

    return call


def to_array(tensor: Any) -> Floats:
    """Return the values of a Keras tensor as float64."""
    values = keras.ops.convert_to_numpy(keras.ops.stop_gradient(tensor))
    return np.asarray(values, dtype=np.float64)


def _built_for(layer: keras.layers.Layer) -> int:
    """Return the number of channels that a layer or model was built for, or 1."""
    shape = (layer.get_build_config() or {}).get("input_shape") if layer.built else None
    return int(shape[-1]) if shape and shape[-1] else 1


def _check_band(wanted: NDArray[np.int64], sampling: Sampling) -> None:
    check_whole(sampling)
    limit = band_limit(sampling)
    if wanted.max() > limit:
        raise ValueError(
            f'degrees must be at most {limit} on {sampling!r} for form "rotation", got '
            f'{wanted.max()}; form "isotropy" has no limit'
        )


def _rotated(
    apply: Apply,
    width: int,
    sampling: Sampling,
    output_sampling: Sampling | None,
    degree: int,
    count: int,
    rng: np.random.Generator,
) -> Floats:
    """Return the rotation form's error for random fields of one degree, each rotated once."""
    errors = []
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        coefficients = random_coefficients(degree, size * width, rng).reshape(size, width, -1)
        turns = random_rotations(size, rng)
        plain = apply(np.moveaxis(synthesize(coefficients, sampling.points), 1, 2))
        turned = apply(rotate(coefficients, turns, sampling))
        where = None
        if plain.ndim == 3:
            where = output_sampling or coarser(sampling, plain.shape[1])
        expected = plain if where is None else rotate(decompose(plain, where), turns, where)
        errors.append(normalized_errors(plain, turned, expected, where))
    return np.concatenate(errors)


def rotate(coefficients: NDArray[np.complex128], turns: Floats, sampling: Sampling) -> Floats:
    """Rotate fields and sample them.

    Parameters
    ----------
    coefficients : ndarray of complex, shape (batch, channels, m)
        Spherical-harmonic coefficients of the fields.
    turns : ndarray, shape (batch, 3, 3)
        Rotation matrix of each field.
    sampling : Sampling
        Sampling of the result.

    Returns
    -------
    ndarray of float64, shape (batch, len(sampling), channels)
        The rotated fields.
    """
    points = sampling.points
    turned = [synthesize(c, points @ turn) for c, turn in zip(coefficients, turns, strict=True)]
    return np.moveaxis(np.array(turned), 1, 2)


def decompose(maps: Floats, sampling: Sampling) -> NDArray[np.complex128]:
    """Return the spherical-harmonic coefficients of maps, for `rotate`.

    Parameters
    ----------
    maps : ndarray, shape (batch, len(sampling), channels)
        Values on the sampling.
    sampling : Sampling
        Sampling of the whole sphere.

    Returns
    -------
    ndarray of complex128, shape (batch, channels, m)
        The coefficients.

    Raises
    ------
    ValueError
        If `maps` does not have this shape or cannot be analyzed, see
        `deepsphere.analysis.harmonics.analyze`.
    """
    if maps.ndim != 3 or maps.shape[1] != len(sampling):
        raise ValueError(
            f"maps on {sampling!r} must have shape (batch, {len(sampling)}, channels), got "
            f"{maps.shape}: pass the sampling of the output as output_sampling=..."
        )
    return analyze(np.moveaxis(maps, 2, 1), sampling)


def normalized_errors(
    plain: Floats, turned: Floats, expected: Floats, sampling: Sampling | None
) -> Floats:
    """Return ``|F(R f) - R F(f)|**2 / |F(f)|**2`` of each field, shape (batch,).

    Parameters
    ----------
    plain, turned, expected : ndarray, shape (batch, pixels, channels) or (batch, ...)
        ``F(f)``, ``F(R f)`` and ``R F(f)``.
    sampling : Sampling or None
        Their sampling; None if they have no pixels.
    """
    areas = np.ones(1) if sampling is None else sampling.areas[:, None]
    axes = tuple(range(1, plain.ndim))
    difference = (areas * (turned - expected) ** 2).sum(axis=axes)
    power = (areas * plain**2).sum(axis=axes)
    with np.errstate(divide="ignore"):  # infinite if F(f) is zero and F(R f) is not
        return np.divide(difference, power, out=np.zeros_like(power), where=difference > 0)


def coarser(sampling: Sampling, pixels: int) -> Sampling:
    """Return the level of a sampling's hierarchy with a given number of pixels.

    Raises
    ------
    ValueError
        If no level has that number of pixels.
    """
    level = sampling
    while len(level) > pixels:
        try:
            level = level.coarsen(1)
        except ValueError:
            break
    if len(level) != pixels:
        raise ValueError(
            f"the output has {pixels} pixels, but no coarser level of {sampling!r} has that "
            "number: pass its sampling as output_sampling=..."
        )
    return level


def _check_linear(apply: Apply, width: int, pixels: int, rng: np.random.Generator) -> None:
    """Raise ValueError unless a map is linear, from one channel to one on the same pixels."""
    if width != 1:
        raise ValueError(f"{_ELSEWHERE}, got {width} channels")
    # White noise: difference operators reduce smooth fields to rounding errors.
    first, second = rng.normal(size=(2, pixels, 1))
    images = apply(np.array([first, second, first + 2 * second]))
    if images.shape != (3, pixels, 1):
        raise ValueError(
            f"{_ELSEWHERE}, got an output of shape {('batch', *images.shape[1:])} for an input of "
            f"shape {('batch', pixels, 1)}"
        )
    excess = np.linalg.norm(images[2] - images[0] - 2 * images[1])
    if not excess <= LINEAR * np.linalg.norm(images):
        share = excess / np.linalg.norm(images)
        raise ValueError(
            f"{_ELSEWHERE}: this one is not linear, F(f + 2 g) differs from F(f) + 2 F(g) by "
            f"{share:.1e} (does it have a bias or an activation?)"
        )


def _isotropy(
    apply: Apply,
    sampling: Sampling,
    wanted: NDArray[np.int64],
    count: int,
    rng: np.random.Generator,
) -> EquivarianceResult:
    """Return the isotropy form's error, with the best number h for all fields of a degree."""
    areas, points = sampling.areas, sampling.points
    means, samples = [], []
    for degree in wanted:
        fields = synthesize(random_coefficients(int(degree), count, rng), points)
        images = np.concatenate(
            [apply(fields[i : i + BATCH, :, None])[:, :, 0] for i in range(0, count, BATCH)]
        )
        h = np.sum(areas * images * fields) / np.sum(areas * fields**2)
        left = 2 * np.sum(areas * (images - h * fields) ** 2, axis=1)
        power = np.sum(areas * images**2, axis=1)
        total = power.sum()
        means.append(left.sum() / total if total > 0 else 0.0)
        samples.append(np.divide(left, power, out=np.zeros_like(power), where=power > 0))
    return _summary(np.array(means), samples)


def _summary(means: Floats, samples: Sequence[Floats]) -> EquivarianceResult:
    spread = [np.std(s, ddof=1) if len(s) > 1 else np.nan for s in samples]
    return EquivarianceResult(means, np.array(spread))
