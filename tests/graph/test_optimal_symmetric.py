"""Symmetric optimal weights."""

from deepsphere.graph import (
    Graph,
    Optimal,
    isotropy_error,
    laplacian,
)
from deepsphere.sampling import Healpix


def test_symmetric_weights_lie_between():
    sphere = Healpix(16)
    errors = [
        isotropy_error(laplacian(sphere, Graph(8, laplacian=kind)), sphere.points, [2, 4, 8])
        for kind in ("combinatorial", Optimal(symmetric=True), "optimal")
    ]
    assert (errors[0] > 3 * errors[1]).all()
    assert (errors[1] > errors[2]).all()
