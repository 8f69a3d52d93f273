"""Configuration of the documentation site: ``make docs``.

Sources are the guides in docs/, the rendered notebooks in examples/, and the docstrings of all
public names, for which pages are generated into docs/reference.
"""

from __future__ import annotations

import os
import re
import sys
from importlib import import_module
from importlib.metadata import version as installed_version
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")  # the quickest to import; nothing is computed
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = Path(__file__).parents[1]

project = "DeepSphere"
author = "The DeepSphere developers"
copyright = author  # noqa: A001  Sphinx' name
release = installed_version("deepsphere-keras")
version = release

root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/reference/**",
    "examples/*.ipynb",
    "benchmarks/README.md",
    "benchmarks/results/*.md",
    "experiments/equivariance/README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "myst_nb",
]
templates_path = [str(Path(__file__).parent / "_templates")]
html_theme = "pydata_sphinx_theme"
html_show_sourcelink = False
html_title = "DeepSphere"
html_theme_options = {
    "github_url": "https://github.com/deepsphere/deepsphere-keras",
    "show_toc_level": 2,
    "navigation_with_keys": False,
}
default_role = "py:obj"
suppress_warnings = [
    "ref.python",  # types in docstrings are prose: "ndarray, shape (n, 3)"
    "toc.no_title",  # tables that the benchmarks write
]
nb_execution_mode = "off"
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True  # attributes are documented once, as fields of their class
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings say more: shapes and units
autodoc_default_options = {"members": True, "show-inheritance": True}
autosummary_imported_members = True
intersphinx_mapping: dict[str, tuple[str, None]] = {}  # builds need no network

MODULES = {
    "deepsphere.sampling": "Samplings",
    "deepsphere.sampling.regions": "Regions of the sphere",
    "deepsphere.graph": "Graphs and Laplacians",
    "deepsphere.ops": "Operations",
    "deepsphere.ops.exporting": "Operations for export",
    "deepsphere.layers": "Layers",
    "deepsphere.models": "Models",
    "deepsphere.torch": "PyTorch modules",
    "deepsphere.callbacks": "Callbacks",
    "deepsphere.resume": "Training that can be interrupted",
    "deepsphere.data.maps": "FITS maps",
    "deepsphere.data.skies": "Simulated skies",
    "deepsphere.data.cosmology": "Cosmology",
    "deepsphere.analysis": "Analysis",
    "deepsphere.plot": "Plots",
    "deepsphere.gnn_layers": "Layers on a matrix of the TensorFlow 2 code",
    "deepsphere.gnn_transformers": "Transformers of the TensorFlow 2 code",
    "deepsphere.healpy_layers": "Layers of the TensorFlow 2 code",
    "deepsphere.healpy_networks": "Networks of the TensorFlow 2 code",
    "deepsphere.utils": "Functions of the TensorFlow 2 code",
}
"""What the reference has a page for, in this order."""


HOMES = {
    "Graph": "deepsphere.graph.Graph",
    "HealpyGCNN": "deepsphere.healpy_networks.HealpyGCNN",
    "Sequential": "deepsphere.models.Sequential",
    "portable": "deepsphere.ops.exporting.portable",
}
"""Where the names at the top level have their page, but for samplings."""


def public_names(name: str) -> list[str]:
    """Return the public classes, functions and constants of a module."""
    module = import_module(name)
    names = getattr(module, "__all__", None)
    if names is None:
        own = (n for n, v in vars(module).items() if getattr(v, "__module__", "") == name)
        names = [n for n in own if not n.startswith("_")]
    return [n for n in names if not isinstance(getattr(module, n), ModuleType)]


def write_reference(*_: object) -> None:
    """Write a page for each module, with a table of its public names."""
    folder = ROOT / "docs" / "reference"
    folder.mkdir(exist_ok=True)
    described: set[int] = set()  # what several modules offer has a page in the first of them
    for name, title in MODULES.items():
        page = [title, "=" * len(title), "", f".. automodule:: {name}", "   :no-members:", ""]
        page += [f".. currentmodule:: {name}", "", ".. autosummary::", "   :toctree: generated", ""]
        for each in public_names(name):
            value = getattr(import_module(name), each)
            if id(value) not in described:
                page.append(f"   {each}")
            if callable(value):
                described.add(id(value))
        path = folder / f"{name}.rst"
        text = "\n".join(page) + "\n"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    index = ["Reference", "=========", "", ".. toctree::", "   :maxdepth: 1", ""]
    index += [f"   {title} <{name}>" for name, title in MODULES.items()]
    (folder / "index.rst").write_text("\n".join(index) + "\n")


def link_only_names(*arguments: Any) -> None:
    """Turn single backticks into links for names that can be seen, into literals for arguments."""
    _, _, _, obj, _, lines = arguments  # as Sphinx gives them
    scope = sys.modules.get(getattr(obj, "__module__", None) or "", None)

    def replaced(match: re.Match[str]) -> str:
        text = match[1]
        home = HOMES.get(text.removeprefix("deepsphere."))
        if home and text.startswith("deepsphere."):
            return f"`{text} <{home}>`"
        known = "." in text or text[:1].isupper() or callable(getattr(scope, text, None))
        return match[0] if known and " " not in text else f"``{text}``"

    # Not within double backticks, and not after a role such as :ref:
    pattern = re.compile(r"(?<![`:])`([^`]+)`(?![`_])")
    lines[:] = [pattern.sub(replaced, line) for line in lines]


def setup(app: Any) -> None:
    """Connect what is above to Sphinx."""
    app.connect("autodoc-process-docstring", link_only_names)


write_reference()  # before Sphinx looks for sources
