import subprocess
import sys
from pathlib import Path

import rom


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_import_loads_nothing_heavy():
    heavy = ["torch", "matplotlib", "numba", "xarray", "sklearn", "numpy", "scipy", "dask"]
    out = run(f"import sys, rom; print([m for m in {heavy} if m in sys.modules])").stdout
    assert out.strip() == "[]"


def test_every_public_name_is_there_and_documented():
    for name in rom.__all__:
        assert getattr(rom, name).__doc__, name


def test_type_checkers_see_the_same_names_as_users():
    source = Path(rom.__file__).read_text().split("if TYPE_CHECKING:")[1].split("__version__")[0]
    typed = {
        line.rsplit(" as ", 1)[1].rstrip(",") for line in source.splitlines() if " as " in line
    }
    assert typed - {"rollout"} == set(rom.__all__) - {"rollout"}


def test_rollout_is_a_function_and_a_package_whatever_is_imported_first():
    first_package = "import rom, rom.rollout.result; print(callable(rom.rollout))"
    first_name = "import rom; f = rom.rollout; from rom.rollout import Status; print(callable(f))"
    assert run(first_package).stdout == run(first_name).stdout == "True\n"


def test_unknown_name_is_an_attribute_error():
    assert not hasattr(rom, "no_such_name")


def test_torch_and_matplotlib_stay_out_of_a_fit_and_rollout():
    code = """
import sys, numpy as np, rom
X = np.random.default_rng(0).normal(size=(60, 5))
model = rom.ROM().fit(X)
rom.check(model, X)
print([m for m in ("torch", "matplotlib") if m in sys.modules])
"""
    assert run(code).stdout.strip() == "[]"
