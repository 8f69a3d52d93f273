"""Tests lie where the modules that they test lie; this folder has what takes several of them."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
# benchmarks/ and experiments/ lie beside the package and have tests of their own.
TESTS = sorted(
    path.relative_to(ROOT / "tests")
    for path in (ROOT / "tests").rglob("test_*.py")
    if path.parent.name != "integration"
)
ELSEWHERE = {
    "experiments/test_equivariance_studies.py": "experiments/equivariance",
    "benchmarks/test_networks.py": "benchmarks/networks.py",
    "benchmarks/test_peaks.py": "benchmarks/peaks.py",
    "benchmarks/rivals/test_face_convolution.py": "benchmarks/rivals/face_convolution.py",
    "ops/compiled/test_csrc.py": "src/deepsphere/ops/compiled/csrc",
}


def has_module(test):
    name = test.name.removeprefix("test_")
    modules = [ROOT / "src/deepsphere" / test.parent / (start + name) for start in ("", "_")]
    if str(test) in ELSEWHERE:
        modules = [ROOT / ELSEWHERE[str(test)]]
    return any(module.exists() for module in modules)


def test_every_test_has_its_module():
    assert [str(test) for test in TESTS if not has_module(test)] == []
