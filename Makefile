# Every target sets up what it needs, and may be typed twice.
PYTHON ?= python3
# What `make test-lowest` and `make test-newest` run; all tests where it is empty.
TESTS ?=
UV := .venv-lock/bin/uv

.DEFAULT_GOAL := help
.PHONY: help demo docs test gpu test-lowest test-newest lock clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.ready  ## Teach a small model to know what it sees; writes runs/demo
	.venv/bin/vlcal demo

docs: .venv-docs/.ready  ## Build the documentation into site/, without a warning; search needs a server: python -m http.server -d site
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build

test: .venv/.ready  ## Linters, types, tests, on the versions of constraints.txt
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/pytest

gpu: .venv/.ready  ## On a machine with a GPU: what only a GPU can show; writes benchmarks/RESULTS.md
	.venv/bin/pytest -n 0 -m cuda
	.venv/bin/python benchmarks/gpu.py

# Old releases call what their neighbours, which need not be old, deprecate.
test-lowest: .venv-lowest/.ready  ## Tests on the oldest versions that pyproject.toml allows; TESTS=tests/cli runs a part
	.venv-lowest/bin/pytest -W ignore::DeprecationWarning $(TESTS)

test-newest:  ## Tests on whatever was published last; TESTS as above
	$(call install,.venv-newest,,--upgrade --upgrade-strategy eager)
	.venv-newest/bin/pytest $(TESTS)

lock: $(UV)  ## Resolve constraints.txt and constraints-lowest.txt anew from pyproject.toml
	$(call resolve,constraints.txt,)
	$(call resolve,constraints-lowest.txt,--no-config --resolution lowest-direct)

clean:  ## Remove the environments and every cache; runs/ stays
	rm -rf .venv .venv-* build site *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache

# $(1): the environment, $(2): its constraints, $(3): options of pip. Constraints come as variables, since those also
# hold for what builds a package: pip reads the first of them up to 25.2 and the second from 25.3 on.
define install
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "vlcal needs Python 3.11 or newer; got " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(1)
	$(if $(2),PIP_CONSTRAINT=$(2) PIP_BUILD_CONSTRAINT=$(2)) $(1)/bin/python -m pip install $(3) -e ".[test]"
endef

# $(1): the file, $(2): options of uv. One file holds every platform and every Python, by environment markers.
define resolve
	$(UV) pip compile $(2) --quiet --upgrade --universal --python-version 3.11 --extra test --no-annotate \
		--no-emit-index-url --custom-compile-command "make lock" --output-file $(1) pyproject.toml
endef

# Touched last, so that a set-up which was cut short starts again.
.venv/.ready: pyproject.toml constraints.txt
	$(call install,.venv,constraints.txt)
	touch $@

# The generator reads the source and does not run it, so nothing of vlcal is installed beside it.
.venv-docs/.ready: pyproject.toml
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"], sep="\n")' > .venv-docs/requirements.txt
	.venv-docs/bin/python -m pip install -r .venv-docs/requirements.txt
	touch $@

.venv-lowest/.ready: pyproject.toml constraints-lowest.txt
	$(call install,.venv-lowest,constraints-lowest.txt)
	touch $@

$(UV):
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install uv
