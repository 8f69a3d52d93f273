"""The equivariance studies run, with correct controls and bookkeeping."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deepsphere.graph import Graph, rescaled_laplacian
from deepsphere.graph.isotropy import isotropy_error, spectrum
from deepsphere.sampling import Healpix

EXPERIMENTS = Path(__file__).parents[2] / "experiments" / "equivariance"
sys.path.append(str(EXPERIMENTS))

from classifier import Case, control  # noqa: E402
from rotated_digits import SPHERE, on_sphere  # noqa: E402
from trials import run_trials  # noqa: E402


@pytest.mark.parametrize("name", ["optimal-20-as-normalized-8", "normalized-8-as-optimal-20"])
def test_controls(name):
    """Controls have the eigenvalues of one graph and the equivariance of the other."""
    case, degrees = Case.named(name), np.arange(1, 17)
    operator = control(Healpix(8), case, 0.75)
    wanted = rescaled_laplacian(Healpix(8), case.like, 0.75)
    points = Healpix(8).points
    found, expected = (spectrum(m, points, degrees) for m in (operator.matrix, wanted))
    assert np.abs(found - expected).max() < 0.03  # as is said of MATCHED
    own, its = (isotropy_error(m, points, [4]) for m in (operator.matrix, wanted))
    assert (own < 0.2 * its) if case.graph.laplacian == "optimal" else (own > 5 * its)


def test_names():
    assert Case.named("optimal-20") == (Graph(20, laplacian="optimal"), None)
    assert Case.named("random_walk-8-as-optimal-20").like == Graph(20, laplacian="optimal")
    with pytest.raises(ValueError, match="is not a control"):
        control(Healpix(4), Case.named("optimal-20"), 1.0)


def test_digits_lie_around_the_pole_and_turn():
    image = np.zeros((1, 8, 8))
    image[0, 0] = 1.0  # the upper edge
    turn = np.array([[[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]])  # about x, the pole to -y
    upright, turned = (on_sphere(image, matrix)[0, :, 0] for matrix in (np.eye(3)[None], turn))
    center = SPHERE.points.T @ upright
    np.testing.assert_allclose(
        (SPHERE.points.T @ turned) / np.linalg.norm(SPHERE.points.T @ turned),
        turn[0] @ (center / np.linalg.norm(center)),
        atol=0.02,  # a third of a pixel
    )
    assert not upright[SPHERE.points[:, 2] < 0].any()


def test_trials_go_on(tmp_path):
    """Finished trials are not run again."""
    done = []

    def trial(graph, pooling, seed):
        done.append((graph, pooling, seed))
        if len(done) == 2:
            raise KeyboardInterrupt
        return {"accuracy": 0.5}

    path = tmp_path / "rows.csv"
    with pytest.raises(KeyboardInterrupt):
        run_trials(path, ["optimal-8"], ["max", "mean"], [0], trial)
    rows = run_trials(path, ["optimal-8"], ["max", "mean"], [0], trial)
    assert len(rows) == 2
    assert done == [("optimal-8", "max", 0), ("optimal-8", "mean", 0), ("optimal-8", "mean", 0)]


def test_rotated_digits_run(tmp_path):
    options = "--graphs optimal-8-as-normalized-8 --poolings smooth_mean --seeds 0 --epochs 1"
    script = EXPERIMENTS / "rotated_digits.py"
    run = subprocess.run(
        [sys.executable, script, *options.split(), "--output", tmp_path],
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "| optimal-8-as-normalized-8 | smooth_mean |" in run.stdout
    assert (tmp_path / "rotated_digits.csv").read_text().startswith("graph,pooling,seed,train,")
