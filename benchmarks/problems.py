"""The filters that the benchmarks time: their sizes, inputs, and right results."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from deepsphere.graph import Graph, rescaled_laplacian
from deepsphere.sampling import Healpix, Sampling

LAPLACIAN, SCALE = "normalized", 0.75
"""Laplacian and scale of all benchmarks: those of the networks in the papers."""


class Case(NamedTuple):
    """Sizes of a graph convolution; `share` is how many such parts make the sphere."""

    nside: int
    batch: int
    channels: int
    filters: int
    terms: int
    neighbors: int
    share: int = 1

    @property
    def sampling(self) -> Sampling:
        """The sphere, or the first pixel of a coarse one: 12, 48, 192, ... make the sphere."""
        if self.share == 1:
            return Healpix(self.nside)
        coarse = round((self.share // 12) ** 0.5)
        return Healpix(coarse, [0]).refine((self.nside // coarse).bit_length() - 1)

    @property
    def graph(self) -> Graph:
        """The graph."""
        return Graph(self.neighbors, laplacian=LAPLACIAN)

    @property
    def matrix(self) -> csr_array:
        """The rescaled Laplacian, without Keras."""
        return rescaled_laplacian(self.sampling, self.graph, SCALE)

    @property
    def operator(self) -> Any:
        """The same as a `deepsphere.ops.SparseOperator`, which needs a backend."""
        from deepsphere.ops import laplacian_operator

        return laplacian_operator(self.sampling, self.graph, SCALE)

    @property
    def label(self) -> str:
        """The sizes in short."""
        return (
            f"nside {self.nside}, batch {self.batch}, {self.channels} → {self.filters} channels, "
            f"{self.terms} terms, {self.neighbors} neighbors"
        )


class Arrays(NamedTuple):
    """Input (batch, n, channels), kernel (terms, channels, filters), and the output's gradient."""

    x: NDArray[np.float32]
    kernel: NDArray[np.float32]
    gradient: NDArray[np.float32]


class Results(NamedTuple):
    """Output, and the gradients with respect to input and kernel, in the shapes of `Arrays`."""

    y: NDArray[Any]
    dx: NDArray[Any]
    dkernel: NDArray[Any]


def arrays(case: Case) -> Arrays:
    """Return standard normal numbers, always the same ones for a case."""
    rng = np.random.default_rng(0)
    n = len(case.sampling)
    shapes = (
        (case.batch, n, case.channels),
        (case.terms, case.channels, case.filters),
        (case.batch, n, case.filters),
    )
    return Arrays(*(rng.standard_normal(shape, dtype=np.float32) for shape in shapes))


def truth(case: Case) -> Results:
    """Return the results in double precision, by SciPy and the definition."""
    given = Arrays(*(array.astype(np.float64) for array in arrays(case)))
    matrix = case.matrix
    y, dx, dkernel = np.zeros(given.gradient.shape), np.zeros(given.x.shape), []

    def terms(values: NDArray[Any]) -> Any:
        before, now = None, values
        for _ in range(case.terms):
            yield now
            after = matrix @ now if before is None else 2 * (matrix @ now) - before
            before, now = now, after

    for b in range(case.batch):
        for term, weights in zip(terms(given.x[b]), given.kernel, strict=True):
            y[b] += term @ weights
            dkernel.append(term.T @ given.gradient[b])
        for term, weights in zip(terms(given.gradient[b]), given.kernel, strict=True):
            dx[b] += term @ weights.T
    shape = (case.batch, *given.kernel.shape)
    return Results(y, dx, np.reshape(dkernel, shape).sum(axis=0))


def error(found: Results, right: Results) -> float:
    """Return the largest error of the three, each relative to the largest number in it."""
    return max(
        float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(found, right, strict=True)
    )
