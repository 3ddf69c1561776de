# `make demo` and `make test` need Python >= 3.11 and nothing else; both install into .venv first.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable
# What pip would do on one core; a file in need of a later Python is passed over.
COMPILE := $(BIN)/python -m compileall -qq -j 0 -x /tests/ .venv/lib || :

.PHONY: demo test pytest lint install clean

demo: .venv/.installed
	$(BIN)/rom demo --out demo-output

test: .venv/.installed-test
	$(MAKE) --jobs=2 lint pytest

# The workers fill the cores: threads of BLAS and torch would only wait for each other.
# Modules of ours are compiled once for all workers, kernels of notebooks and other processes.
pytest: .venv/.installed-test
	PYTHONDONTWRITEBYTECODE= OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 \
	$(BIN)/python -m pytest -n auto --dist worksteal

lint: .venv/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

install: .venv/.installed

.venv:
	$(PYTHON) -m venv .venv

.venv/.installed: pyproject.toml constraints.txt | .venv
	$(INSTALL) .
	$(COMPILE)
	touch $@

.venv/.installed-test: pyproject.toml constraints.txt | .venv
	$(INSTALL) '.[test]'
	$(COMPILE)
	touch .venv/.installed $@

clean:
	rm -rf .venv demo-output
	find rom tests -name __pycache__ -prune -exec rm -r {} +
