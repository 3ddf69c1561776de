"""The notebooks run without a warning, and each is in step with its paired script."""

import os
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

from rom import datasets

FOLDER = Path(__file__).parents[1] / "notebooks"
NAMES = sorted({file.stem for kind in ("*.py", "*.ipynb") for file in FOLDER.glob(kind)})
FROM_ABROAD = {
    "02_sea_surface_temperature": "ersst_v5",
    "04_model_discovery": "enso_indices",
}
# Kept by no public archive: named files in the folder ROM_DATA.
FROM_A_FOLDER = {"08_climate_forecast": "north_atlantic_slp_daily.nc"}
RESYNC = "run: jupytext --sync notebooks/*.py; jupyter execute --inplace notebooks/*.ipynb"


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def test_the_notebooks_are_found():
    assert {
        "01_cylinder_wake",
        "02_sea_surface_temperature",
        "03_larger_than_memory",
        "04_model_discovery",
        "05_cylinder_certified",
        "06_structure_and_width",
        "07_can_i_trust_it",
        "08_climate_forecast",
    } <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_script_and_notebook_say_the_same(name):
    script = jupytext.read(FOLDER / f"{name}.py")
    cells = [[(cell.cell_type, cell.source) for cell in nb.cells] for nb in (script, read(name))]
    assert cells[0] == cells[1], RESYNC


@pytest.mark.parametrize("name", NAMES)
def test_the_notebook_is_kept_as_one_whole_run_left_it(name):
    """Outputs are there, in order, of moderate size and free of errors and warnings."""
    code = [cell for cell in read(name).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), RESYNC
    assert (FOLDER / f"{name}.ipynb").stat().st_size < 600_000
    assert_quiet(code)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NAMES)
def test_the_notebook_runs(name, monkeypatch):
    monkeypatch.setenv("ROM_NOTEBOOK_GB", "0.03")
    data = FROM_ABROAD.get(name)
    if data and not datasets.is_local(data):
        pytest.skip(
            f"data set {data!r} is not on this machine: fetch it once with "
            f"python -c \"import rom; rom.datasets.path('{data}')\", or name the folder "
            f"of {datasets.catalogue()[data]['names'][0]} in ROM_DATA"
        )
    file = FROM_A_FOLDER.get(name)
    if file and not (Path(os.environ.get("ROM_DATA", FOLDER)) / file).is_file():
        pytest.skip(f"{file} is not on this machine: name its folder in ROM_DATA")
    nb = read(name)
    NotebookClient(nb, timeout=500, kernel_name="python3").execute(cwd=str(FOLDER))
    assert_quiet([cell for cell in nb.cells if cell.cell_type == "code"])


def assert_quiet(cells):
    """Warnings go to stderr."""
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error", output
            assert output.get("name") != "stderr", f"{cell.source}\n{output.text}"
