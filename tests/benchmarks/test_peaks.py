"""The loops that measure the machine's peak rates compute what they claim to."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
peaks = pytest.importorskip("peaks")


def test_sums_converge_and_operations_are_counted():
    result = np.ones(1, np.float32)
    operations = peaks.library().multiply_and_add(100, result)
    assert result[0] == 12 * 2  # each of the sums s = s / 2 + 1 converges to 2
    assert operations in [2 * 100 * 12 * numbers for numbers in (4, 8, 16)]
    work, call = peaks.compiled_operations()
    assert sum(call()) == work


@pytest.mark.parametrize("make", [peaks.compiled_triad, peaks.numpy_triad])
def test_triads_work_on_every_number(make, monkeypatch):
    made = []

    def recorded(function):
        def call(*args, **kwargs):
            made.append(function(*args, **kwargs))
            return made[-1]

        return call

    for name in ("ones", "full"):
        monkeypatch.setattr(np, name, recorded(getattr(np, name)))
    work, call = make(5000)
    call()
    assert work == sum(array.nbytes for array in made)
    b, c, a = made[:3] if make is peaks.numpy_triad else (made[1], made[2], made[0])
    np.testing.assert_array_equal(a, b + 3 * c)
