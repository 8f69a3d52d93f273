"""Laplacians in the cache."""

import numpy as np
import pytest

from deepsphere._cache import clear_cache
from deepsphere.graph import (
    Graph,
    laplacian,
    rescaled_laplacian,
    spectral,
)
from deepsphere.sampling import Healpix

PART = Healpix(8, np.flatnonzero(np.random.default_rng(0).random(768) < 0.3))


def test_the_copy_is_the_callers():
    first = laplacian(PART, 8)
    kept = first.toarray()
    first.data[:] = 7
    first.indices[:] = 0
    np.testing.assert_array_equal(laplacian(PART, 8).toarray(), kept)
    rescaled = rescaled_laplacian(PART, 8)
    kept = rescaled.toarray()
    rescaled.data[:] = 7
    np.testing.assert_array_equal(rescaled_laplacian(PART, 8).toarray(), kept)


def test_the_shared_matrix_cannot_be_changed():
    shared = spectral(PART, Graph(8, laplacian="normalized")).laplacian
    for array in (shared.data, shared.indices, shared.indptr):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_clear_cache():
    before = spectral(PART, Graph(8, laplacian="normalized"))
    clear_cache()
    after = spectral(PART, Graph(8, laplacian="normalized"))
    assert before is not after
    assert abs(before.laplacian - after.laplacian).max() == 0
