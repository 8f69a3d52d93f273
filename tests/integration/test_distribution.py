"""The source distribution contains all tracked files, the wheel the package."""

import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]
BY_ITSELF = {"pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"}
"""What setuptools adds without being told."""


def tracked():
    if not (ROOT / ".git").exists():  # unpacked from a source distribution: nothing else is there
        return []
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in done.stdout.splitlines() if (ROOT / name).exists()]


def rules():
    lines = (ROOT / "MANIFEST.in").read_text().splitlines()
    words = [line.split() for line in lines if line and not line.startswith("#")]
    included = {name for command, *names in words if command == "include" for name in names}
    grafted = {name for command, *names in words if command == "graft" for name in names}
    return included, grafted


def test_the_source_distribution_is_whole():
    """Except for files that only a repository needs, so its tests can be run."""
    included, grafted = rules()
    for name in tracked():
        top = name.split("/")[0]
        if not top.startswith(".") and top != "src":
            assert top in grafted or name in included | BY_ITSELF, name


def test_the_package_is_whole():
    """Data files such as the C sources must be listed, unlike modules."""
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = data["package-data"]["deepsphere"]
    for name in tracked():
        if name.startswith("src/"):
            inside = name.removeprefix("src/deepsphere/")
            assert inside.endswith(".py") or any(fnmatch(inside, p) for p in patterns), name


def test_what_is_named_is_there():
    included, grafted = rules()
    assert {"tests", "constraints"} <= grafted
    for name in included | grafted:
        assert (ROOT / name).exists(), name
