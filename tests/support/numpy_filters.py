"""Filters in NumPy, which stand for layers where no backend is needed."""

import numpy as np
from numpy.polynomial.chebyshev import chebval

from deepsphere.graph import Graph, spectral


class NumpyFilters:
    """Chebyshev filters in NumPy, as the analysis functions return them."""

    name = "some_layer"

    def __init__(self, sampling, order=3, channels=2, filters=3):
        self.sampling = sampling
        shape = (order + 1, channels, filters)
        self.coefficients = np.random.default_rng(0).normal(size=shape)
        laplacian, self.spectral_bound = spectral(sampling, Graph(8, laplacian="normalized"))
        self.modes = np.linalg.eigh(laplacian.toarray())

    def response(self, eigenvalues, coefficients):
        points = 2 * eigenvalues / self.spectral_bound - 1
        return np.moveaxis(chebval(points, coefficients), -1, 0)

    def localized(self, position, coefficients=None):
        coefficients = self.coefficients if coefficients is None else coefficients
        values, vectors = self.modes
        response = self.response(values, coefficients)
        return np.tensordot(vectors * vectors[position], response, axes=1)
