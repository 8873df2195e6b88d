# Two commands do everything: `make demo` and `make test`. Both set up .venv first, and are quick the second time.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_OFFLINE ?= 1
export HF_HUB_DISABLE_TELEMETRY ?= 1

.PHONY: help demo test lint acceptance clean

help:
	@echo "make demo        set up .venv and label 500 comparisons with a bundled tiny model"
	@echo "make test        set up .venv, then lint, types and tests"
	@echo "make acceptance  what is too long for every day; writes benchmarks/results/"
	@echo "make clean       remove .venv and what tools left behind (outputs/ stays)"

# The torch that constraints.txt names may be a CPU or a CUDA build; whichever is there already is kept.
.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "rlaif needs Python 3.11 or newer; make PYTHON=python3.12 demo"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: .venv/.installed
	@$(BIN)/python examples/demo.py

lint: .venv/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	$(BIN)/pytest --cov --cov-report=term:skip-covered -m "not acceptance"

acceptance: .venv/.installed
	$(BIN)/pytest -m acceptance -v --durations=0 --no-header | tee benchmarks/results/$$(date +%F)-acceptance-tests.txt
	$(BIN)/python benchmarks/extras.py
	$(BIN)/python benchmarks/imports.py
	$(BIN)/python benchmarks/local_labeling.py
	$(BIN)/python benchmarks/scripted_200k.py
	$(BIN)/python benchmarks/hh_rlhf.py
	$(BIN)/python examples/pocket/measure.py rlaif/pocket/models --json benchmarks/results/$$(date +%F)-pocket.json

clean:
	rm -rf .venv .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
