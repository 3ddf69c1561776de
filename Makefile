# `make demo` and `make test` need Python >= 3.11 and nothing else; both install into .venv first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint install clean

demo: .venv/.installed
	$(BIN)/rom demo --out demo-output

# Pytest's workers fill the cores: threads of BLAS and torch would only wait for each other.
test: .venv/.installed-test lint
	OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

lint: .venv/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

install: .venv/.installed

.venv:
	$(PYTHON) -m venv .venv

.venv/.installed: pyproject.toml constraints.txt | .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/.installed-test: pyproject.toml constraints.txt | .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch .venv/.installed $@

clean:
	rm -rf .venv demo-output
	find rom tests -name __pycache__ -prune -exec rm -r {} +
