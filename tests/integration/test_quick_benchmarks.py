"""The benchmarks run at tiny sizes, and their candidates give the right numbers."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))

# The other scripts consist of the same parts. Each backend is a process, so one is enough.
SCRIPTS = {
    "layer": ["--backends", "jax"],
    "roofline": ["--backends", "jax"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_quick_run_writes_table_and_picture(name, tmp_path):
    command = [sys.executable, BENCHMARKS / f"{name}.py", "--quick", "--output", tmp_path]
    command += SCRIPTS[name]
    environment = {**os.environ, "KERAS_BACKEND": "jax"}  # of the parent, as in `make bench`
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    for file in (f"{name}.csv", f"{name}.md", f"{name}.png", "machine.json"):
        assert (tmp_path / file).stat().st_size > 100


def test_truth_is_the_polynomial_of_the_eigenvalues():
    from problems import Case, arrays, truth

    case = Case(nside=2, batch=2, channels=3, filters=2, terms=4, neighbors=8)
    values, vectors = np.linalg.eigh(case.matrix.toarray())
    # The lowest one is -1, which may be rounded to a number below it: of no angle.
    angles = np.arccos(np.clip(values, -1, 1))
    given, found = arrays(case), truth(case)
    bases = [(vectors * np.cos(k * angles)) @ vectors.T for k in range(case.terms)]
    y = sum(t @ given.x @ w for t, w in zip(bases, given.kernel, strict=True))
    np.testing.assert_allclose(found.y, y, atol=1e-6)
    # The filter is linear in the input and in the kernel: both gradients give back the product
    # of output and given gradient.
    product = (found.y * given.gradient).sum()
    np.testing.assert_allclose((found.dx * given.x).sum(), product, rtol=1e-6)
    np.testing.assert_allclose((found.dkernel * given.kernel).sum(), product, rtol=1e-6)


def test_share_is_that_part_of_the_sphere():
    from problems import Case

    for share in (1, 12, 48, 192):
        assert len(Case(32, 1, 1, 1, 2, 8, share).sampling) == 12 * 32**2 / share


def test_turns_and_ratios(monkeypatch):
    from interleaved import interleave, speedup

    order = []
    seconds = {"a": iter([1.0, 2.0, 1.0]), "b": iter([3.0, 4.0, 5.0])}

    def turn(name):
        order.append(name)
        return next(seconds[name])

    timings = interleave({name: lambda n=name: turn(n) for name in "ab"}, rounds=3)
    assert "".join(order) == "abbaab"
    assert speedup(timings, "a", "b") == 3.0
