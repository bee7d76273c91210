# Two commands for a fresh machine with Python >= 3.11, make and pip: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
# a file is one worker's, so that its programs compile once
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test quick lint clean

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python >= 3.11 is needed: make PYTHON=python3.12 ...")'
	@echo "installing vaejax, and the libraries that constraints.txt pins, into .venv: about two minutes"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: .venv/installed
	$(BIN)/python -m experiments.jl1_three_dots --preset fast

test: .venv/installed
	$(PYTEST) --cov --cov-report term --cov-fail-under 90

quick: .venv/installed
	$(PYTEST) -m "not slow"

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

clean:
	rm -rf .venv .jax_cache
