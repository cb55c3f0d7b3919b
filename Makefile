# Every target sets up what it needs, and may be typed twice.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Touched last, so that a set-up which was cut short starts again.
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY)  ## Teach a small model to know what it sees; writes runs/demo
	$(BIN)/vlcal demo

test: $(READY)  ## Linters, types, tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest

clean:  ## Remove the environment and every cache; runs/ stays
	rm -rf $(VENV) build *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "vlcal needs Python 3.11 or newer; got " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -e ".[test]"
	touch $@
