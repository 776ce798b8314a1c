# `make` lists the targets. Everything is installed into .venv, once: a second call of a target
# installs nothing unless pyproject.toml or constraints.txt has changed.

VENV := .venv
BIN := $(VENV)/bin

# The first Python that is new enough; another one with `make PYTHON=… test`.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; \
	done)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

# One process for each core.
PYTEST_OPTIONS ?= --numprocesses auto

.DEFAULT_GOAL := help
.PHONY: help demo test docs lint format examples bench clean
.DELETE_ON_ERROR:

help: ## list the targets
	@echo "nablatom: usage: make TARGET"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{ printf "%-12s%s\n", $$1, $$2 }'

demo: $(VENV)/installed-plot ## structures to a fitted, verified force field, in under a minute
	@$(BIN)/nablatom demo

# On arrays as small as those of the tests, threads only wait for each other.
test: $(VENV)/installed-test,peers ## every test and doctest, comparisons with the peers included
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest $(PYTEST_OPTIONS)

lint: $(VENV)/installed-test,lint ## formatter, linter, type checker, import contract
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(VENV)/installed-test,lint ## reformat and apply the linter's safe fixes
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

docs: $(VENV)/installed-docs ## the documentation, in docs/_build/html (warnings are errors)
	@$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

examples: $(VENV)/installed-plot ## run every script of examples/ in an empty directory
	@python=$$PWD/$(BIN)/python && scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && \
	for script in $$PWD/examples/*.py; do \
		echo "$${script##*/}" && (cd "$$scratch" && MPLBACKEND=Agg $$python "$$script") || exit 1; \
	done

bench: $(VENV)/installed-test,peers ## time ourselves against the peers
	@$(BIN)/python -m benchmarks $(BENCH_OPTIONS)

clean: ## remove .venv and everything that was built
	rm -rf $(VENV) docs/_build docs/api/generated build dist .benchmarks .hypothesis \
		.import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# A system Python without ensurepip (Debian's, without python3-venv) still has a pip that can
# install into a bare environment.
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "nablatom needs Python 3.11 or newer; none was found. Name one with: make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version) …"
	@if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then $(PYTHON) -m venv $(VENV); \
	else $(PYTHON) -m venv --without-pip $(VENV) && \
		$(PYTHON) -m pip -qq --python $(BIN)/python install 'pip>=23'; fi

# The stem is the list of extras: installed-test,peers is `pip install -e '.[test,peers]'`.
$(VENV)/installed-%: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing nablatom[$*] into $(VENV) (minutes the first time) …"
	@$(BIN)/python -m pip install -qq -c constraints.txt -e '.[$*]'
	@touch '$@'
