"""Run the scripts in `examples` and write them with their output as .ipynb files.

Usage: python tools/render_notebooks.py [name ...]; renders all if no name is given.
"""

import sys
import time
from pathlib import Path

import jupytext
from nbclient import NotebookClient
from tqdm import tqdm

from deepsphere._files import replacing

EXAMPLES = Path(__file__).parents[1] / "examples"
RESOLUTION = 110  # dots per inch: the pictures' own 200 make notebooks of many megabytes


def render(script: Path) -> float:
    """Run one script, write its notebook, return the seconds it took."""
    notebook = jupytext.read(script)
    client = NotebookClient(
        notebook,
        timeout=1200,
        resources={"metadata": {"path": str(EXAMPLES)}},
        extra_arguments=[f"--InlineBackend.print_figure_kwargs={{'dpi': {RESOLUTION}}}"],
    )
    start = time.perf_counter()
    client.execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day: noise between two versions
        if "outputs" in cell:  # what libraries log concerns this machine only
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    with replacing(script.with_suffix(".ipynb")) as path:
        jupytext.write(notebook, path, fmt="ipynb")
    return time.perf_counter() - start


if __name__ == "__main__":
    names = sys.argv[1:] or sorted(path.stem for path in EXAMPLES.glob("*.py"))
    for name in tqdm(names, unit="notebook"):
        seconds = render(EXAMPLES / f"{name}.py")
        tqdm.write(f"{name}: {seconds:.0f} s")
