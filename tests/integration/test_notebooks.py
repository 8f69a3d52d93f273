"""Every notebook runs at reduced size; and its rendered form is its own.

The quick start runs on the current backend, the others on the one that starts and compiles
fastest, as the models in them are those of other tests.

The reduced values replace those of the cell tagged `parameters`.
"""

import os
import subprocess
import sys
from pathlib import Path

import jupytext
import keras
import pytest

from deepsphere._backends import installed_backends

EXAMPLES = Path(__file__).parents[2] / "examples"

SMALL = {
    "advanced_tutorial": {"nside": 8, "maps_per_class": 10, "epochs": 1},
    "generative_models": {"nside": 8, "number_of_maps": 10, "epochs": 1, "sampling_epochs": 1},
    "quick_start": {"nside": 8, "maps_per_class": 8, "epochs": 1},
    "regression": {"nside": 8, "number_of_maps": 64, "epochs": 1, "grid": (1, 1)},
    "spherical_convolution": {"nside": 8, "eigen_nside": 4, "largest_nside": 16},
}
"""What each notebook runs with here."""


def parameters_cell(notebook):
    tagged = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    return tagged[0]


def test_all_notebooks_are_listed():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_notebook_runs(name, tmp_path):
    notebook = jupytext.read(EXAMPLES / f"{name}.py")
    cell = parameters_cell(notebook)
    values = dict(line.split("#")[0].split(" = ") for line in cell.source.splitlines() if line)
    assert set(values) >= set(SMALL[name])  # no name that the notebook does not use
    cell.source += "".join(f"\n{key} = {value!r}" for key, value in SMALL[name].items())
    script = tmp_path / f"{name}.py"  # its output goes next to it
    script.write_text(
        "\n\n".join(
            "\n".join(line for line in cell.source.splitlines() if not line.startswith("%"))
            for cell in notebook.cells
            if cell.cell_type == "code"
        )
    )
    # In a process of its own: notebooks may use pyplot, whose state is that of the process.
    backend = keras.backend.backend() if name == "quick_start" else installed_backends()[-1]
    environment = {**os.environ, "MPLBACKEND": "agg", "KERAS_BACKEND": backend}
    result = subprocess.run(
        [sys.executable, script.name], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.mark.parametrize("name", SMALL)
def test_rendered_notebook_is_that_of_the_script(name):
    script = jupytext.read(EXAMPLES / f"{name}.py")
    rendered = jupytext.read(EXAMPLES / f"{name}.ipynb")
    assert [c.source for c in rendered.cells] == [c.source for c in script.cells], (
        "render it again: make notebooks"
    )
    assert any(c.get("outputs") for c in rendered.cells)
    errors = [o for c in rendered.cells for o in c.get("outputs", []) if o.output_type == "error"]
    assert not errors
