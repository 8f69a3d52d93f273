"""Networks that differ in their graphs and in how they pool, and nothing else.

A graph is named by Laplacian and number of neighbors, ``optimal-20``. A third part makes it a
control, ``optimal-20-as-normalized-8``: the polynomial of the first matrix whose eigenvalues are
those of the second. Filters then have the second one's reach and response to every scale, and
the first one's equivariance.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, eye_array

from deepsphere.graph import Graph, rescaled_laplacian
from deepsphere.graph.isotropy import spectrum
from deepsphere.layers import ChebyshevConv
from deepsphere.models import Sequential
from deepsphere.models.base import make_pool
from deepsphere.ops import SparseOperator
from deepsphere.sampling import Healpix

MATCHED = 2
"""Degree of the polynomial of a control. Eigenvalues, from -1 to 1, then agree to 0.03 or better,
and those beyond the band stay in that range."""


class Case(NamedTuple):
    """A graph, and another one whose eigenvalues it is to have."""

    graph: Graph
    like: Graph | None = None

    @classmethod
    def named(cls, name: str) -> Case:
        """Read a name, as ``optimal-20`` or ``optimal-20-as-normalized-8``."""
        own, _, other = name.partition("-as-")
        return cls(_graph(own), _graph(other) if other else None)


def _graph(name: str) -> Graph:
    laplacian, neighbors = name.rsplit("-", 1)
    return Graph(int(neighbors), laplacian=laplacian)


def network(
    sampling: Healpix,
    case: Case,
    pooling: str,
    filters: tuple[int, ...],
    order: int,
    classes: int,
) -> Sequential:
    """Return a classifier: convolutions with pooling between them, and a mean over the sphere."""
    model = Sequential(sampling, graph=case.graph)
    for i, count in enumerate(filters):
        if i:
            model.add(make_pool(pooling, count))
        model.add(ChebyshevConv(count, order, normalization="batch", activation="relu"))
    model.add(keras.layers.GlobalAveragePooling1D())
    model.add(keras.layers.Dense(classes, activation="softmax"))
    model.build((None, len(sampling), 1))
    if case.like is not None:
        for layer in model.layers:
            if isinstance(layer, ChebyshevConv):
                layer.operator = control(layer.sampling, case, layer.scale)
    return model


def control(sampling: Any, case: Case, scale: float) -> SparseOperator:
    """Return the polynomial of one matrix with the eigenvalues of another."""
    if case.like is None:
        raise ValueError(f"{case} is not a control")
    whole = Healpix(sampling.nside)
    degrees = np.arange(1, 2 * whole.nside + 1)

    def eigenvalues(graph: Graph) -> NDArray[np.float64]:
        matrix = rescaled_laplacian(whole, graph, scale)
        return spectrum(matrix, whole.points, degrees)

    own, wanted = eigenvalues(case.graph), eigenvalues(case.like)
    powers = np.vander(own, MATCHED + 1, increasing=True)
    coefficients = np.linalg.lstsq(powers, wanted, rcond=None)[0]
    matrix = rescaled_laplacian(sampling, case.graph, scale)
    result = csr_array(matrix.shape)
    for coefficient in coefficients[::-1]:  # Horner
        result = csr_array(result @ matrix + coefficient * eye_array(matrix.shape[0]))
    return SparseOperator(result)
