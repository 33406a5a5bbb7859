# make demo    cluster the digits that ship with scikit-learn and show the report's path
# make test    lint, types and tests
# make bench-TABLE   run a table of the benchmarks, going on where it stopped, and write the pages;
#              RUN="--only vade --seeds 0 --threads 1" says which runs and how
# The environment lives in .venv and is made again only when the dependencies change.

PYTHON ?= python3
DEMO_RUN := runs/digits-demo
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint types pytest clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile

demo: $(STAMP)
	@.venv/bin/deepmixture fit sklearn:digits --out $(DEMO_RUN) --overwrite
	@.venv/bin/deepmixture score $(DEMO_RUN) --labels sklearn:digits
	@echo "report: $(CURDIR)/$(DEMO_RUN)/report.html"

test: lint types pytest

lint: $(STAMP)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports --no-cache

types: $(STAMP)
	.venv/bin/mypy

pytest: $(STAMP)
	.venv/bin/pytest -q --numprocesses auto --maxprocesses 4 --dist loadfile

bench-%: $(STAMP)
	.venv/bin/python -m benchmarks run $* $(RUN)
	.venv/bin/python -m benchmarks table

clean:
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache $(DEMO_RUN)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "deepmixture needs Python 3.11 or newer; found: $$($(PYTHON) --version 2>&1 || true)." \
	       "Name another one: make PYTHON=python3.12" >&2; exit 1; }
	@.venv/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --disable-pip-version-check --quiet \
	  --constraint constraints/dev.txt --editable '.[dev]'
	@touch $@
