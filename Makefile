# Each command sets itself up on a machine with Python 3.11 to 3.13, git and make.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt
EXTRAS := tensorboard,demo,vision,report,timm,lite,export,rl,sweep,lightning,huggingface
export OMP_NUM_THREADS ?= 1

.PHONY: demo test lint docs zoo bench fuzz chaos cluster reproduce nightly nightly-newest nightly-oldest nightly-unpinned clean

demo: .venv/demo-ready
	$(BIN)/agscl run digits --out runs/demo-$$(date +%Y%m%d-%H%M%S)

test: lint
	$(BIN)/pytest -n 2

lint: .venv/dev-ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict
	$(BIN)/lint-imports

# The site, in docs/_build/html; a warning is an error.
docs: .venv/docs-ready
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

# More than sixty models of torch, torchvision, timm and transformers, held to the law; writes the table in docs/node-graph.md.
# With IMAGES=DIR (gtsrb.npz, fashion_mnist.npz, mnist.npz) three of them learn three tasks.
zoo: .venv/dev-ready
	$(BIN)/pytest zoo $(if $(IMAGES),--images $(IMAGES))

bench: .venv/bench-ready
	$(BIN)/pytest bench --capture=no $(if $(DATA_ROOT),--data-root $(DATA_ROOT))

# Files damaged in ten thousand ways each; runs killed at every write and at 25 instants.
fuzz: .venv/dev-ready
	$(BIN)/pytest -n 2 --hypothesis-profile=thorough tests/benchmarks/test_fuzzed_data_files.py tests/runs/test_fuzzed_run_files.py

chaos: .venv/dev-ready
	$(BIN)/pytest --hypothesis-profile=thorough tests/chaos

# Ray: two nodes on this machine, a worker, a node and a driver killed; ten minutes.
cluster: .venv/dev-ready
	$(PIP) --editable ".[ray]"
	$(BIN)/pytest --hypothesis-profile=thorough tests/sweeps/test_ray_engine.py

# The runs of a plan (PLAN=paper-cifar100 BUDGET=2h JOBS=4 DEVICE=cuda DATA_ROOT=DIR); what is done is left alone.
PLAN ?= digits
reproduce: .venv/dev-ready
	$(BIN)/agscl reproduce $(PLAN) $(if $(BUDGET),--budget $(BUDGET)) $(if $(JOBS),--jobs $(JOBS)) \
	  $(if $(DEVICE),--device $(DEVICE)) $(if $(DATA_ROOT),--data-root $(DATA_ROOT))

# All tests in environments of their own, Avalanche and the trackers included: with the versions of constraints.txt, and with
# the oldest that pyproject.toml allows. `make nightly-unpinned` takes what is newest today.
nightly:
	$(MAKE) --keep-going nightly-newest nightly-oldest

nightly-newest: PINS := --constraint constraints.txt
nightly-oldest: PINS := --constraint constraints-oldest.txt
nightly-oldest: MLFLOW := ,mlflow# needs older packages than those of constraints.txt
nightly-newest nightly-oldest nightly-unpinned: nightly-%:
	$(PYTHON) -m venv --clear .venv-$*
	.venv-$*/bin/python -m pip install --quiet "pip>=25.1"
	.venv-$*/bin/python -m pip install --quiet $(PINS) --editable ".[$(EXTRAS),wandb$(MLFLOW)]" --group bench
	.venv-$*/bin/pytest -n 2

clean:
	rm -rf .venv .venv-*

$(BIN)/python:
	$(PYTHON) -m venv .venv

.venv/demo-ready: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable ".[demo]"
	touch $@

.venv/dev-ready: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet "pip>=25.1"  # the first that knows dependency groups
	$(PIP) --editable ".[$(EXTRAS)]" --group dev
	touch $@

.venv/docs-ready: .venv/dev-ready
	$(PIP) --editable ".[$(EXTRAS)]" --group docs
	touch $@

.venv/bench-ready: .venv/dev-ready
	$(PIP) --editable ".[$(EXTRAS)]" --group bench
	touch $@
