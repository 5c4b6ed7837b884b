# `make run` and `make test` are all a fresh machine needs: each makes the virtual environment it uses.

VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin

.PHONY: run test test-slow lint type reproduce clean help

help:
	@echo "make run    set up, compare all methods on the built-in data, print the table"
	@echo "make test   set up, run the tests"
	@echo "make lint   ruff: rules and format"
	@echo "make type   mypy"
	@echo "make reproduce  remake the recorded runs (STEPS=... for some: results/reproduce.sh list)"
	@echo "make clean  remove the environment and caches"

$(BIN)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

run: $(BIN)/.ready
	$(BIN)/python -m bench run

test: $(BIN)/.ready
	$(BIN)/python -m pytest

test-slow: $(BIN)/.ready
	$(BIN)/python -m pytest -m slow

lint: $(BIN)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(BIN)/.ready
	$(BIN)/mypy

reproduce:
	VENV=$(VENV) PYTHON=$(PYTHON) results/reproduce.sh $(STEPS)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
