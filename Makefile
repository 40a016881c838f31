# Every target sets up what it needs: Python 3.11+ and make are enough.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: setup demo test slow check bench validity latencies format clean

setup: .venv/.dev

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Ratchet needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.run: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --constraint constraints.txt --editable .
	@$(BIN)/python -m compileall -q src || true
	@touch $@

.venv/.dev: .venv/.run
	$(PIP) --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: .venv/.run
	@folder=$$(mktemp -d) && $(BIN)/ratchet demo "$$folder/ratchet-demo"

test: .venv/.dev
	$(BIN)/pytest -m "not slow" -n auto

slow: .venv/.dev
	$(BIN)/pytest -m slow

check: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/pytest tests/web/test_scripts.py

bench: .venv/.dev
	$(BIN)/python -m bench

# two processes share the cores; more threads inside each only wait for one another
validity: .venv/.run
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m ratchet.testing.simulate --write docs/validity.md

# the figures of docs/load.md on intervals of latency differences: ten minutes
latencies: .venv/.run
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m ratchet.testing.latencies

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis dist
