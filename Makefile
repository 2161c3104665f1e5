# Every target builds what it needs; nothing has to be installed first but Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

# Tests run side by side, one process a core; whoever is done takes over from the others. A test that
# is looked at alone starts sooner without: .venv/bin/python -m pytest tests/FILE
WORKERS ?= auto
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal
# Tests start hundreds of processes, none of which should have to compile what another has.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-fast lint format types bench clean

help: ## List the targets.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

demo: $(VENV)/.preview ## Build .venv, install lorakit and run the whole path on a small model.
	$(BIN)/lorakit demo

test: lint types $(VENV)/.dev ## Lint, type check and run the tests.
	$(PYTEST) -m "not long"

test-all: lint types $(VENV)/.dev ## The same with what is marked as long.
	$(PYTEST)

test-fast: $(VENV)/.dev ## Only the tests that take no more than a few seconds each.
	$(PYTEST) -m "not slow and not long"

lint: $(VENV)/.dev ## Check style and format.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev ## Bring the code into format.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev ## Check types (mypy --strict).
	$(BIN)/mypy

bench: $(VENV)/.dev ## Run the benchmarks that fit this machine.
	$(BIN)/python -m bench

clean: ## Remove what the targets here made.
	rm -rf $(VENV) lorakit-demo dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "lorakit needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade "pip>=25.1"

# Without an NVIDIA GPU this exact version comes first, so that a CPU build of it that lies on the
# machine is taken instead of gigabytes of CUDA; with one, pip chooses.
$(VENV)/.torch: | $(VENV)/bin/python
	@command -v nvidia-smi >/dev/null 2>&1 || { echo "Installing PyTorch"; $(PIP) install --quiet torch==2.13.0; }
	@touch $@

$(VENV)/.preview: pyproject.toml $(VENV)/.torch
	$(PIP) install --quiet --editable ".[preview]"
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.preview
	$(PIP) install --quiet --group dev
	@touch $@
