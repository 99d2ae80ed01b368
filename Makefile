# Everything here starts from a fresh clone with nothing but Python >= 3.11: the first target that needs it makes .venv.
# Another interpreter: make PYTHON=/path/to/python test

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11 python,$(shell \
    $(name) -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $(name))))

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TYPING := .build/typing
CHECKED := $(foreach folder,tests benchmarks,$(if $(wildcard $(folder)/*.py),$(folder)))
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt
TORCH := $(shell sed -n '/^torch==/p' constraints.txt)

# One thread a process: the tests run side by side, and two OpenMP teams on one core wait for each other.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
PYTEST := $(ONE_THREAD) $(BIN)/python -m pytest -n auto --dist worksteal -q
ARGS ?=

.PHONY: help install demo test test-long lint typing format bench clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

install: $(READY) ## make .venv with everything in it

# The pinned torch comes first and alone: an open range would take the newest build and gigabytes of CUDA with it.
$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "no Python >= 3.11 with venv found; name one: make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "installing into $(VENV) with $$($(PYTHON) --version)"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { rm -rf $(VENV); $(PYTHON) -m venv $(VENV); }
	@$(PIP_INSTALL) "$(TORCH)"
	@$(PIP_INSTALL) -e '.[dev]'
	@touch $@

demo: $(READY) ## compare the methods on the bundled digits, into demo/
	$(BIN)/bayesprune compare --out demo $(ARGS)

test: $(READY) ## the quick tests
	$(PYTEST) -m 'not long' $(ARGS)

test-long: $(READY) ## the slow tests: kills, fuzzing, soak, browser, big networks
	$(PYTEST) -m long $(ARGS)

lint: $(READY) ## ruff and mypy --strict
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check
	@$(MAKE) --no-print-directory typing
	@$(BIN)/mypy $(addprefix -p ,bayesprune $(CHECKED)) | sed -E 's#^$(TYPING)/(bayesprune/(models|inference|experiments)/)?#\1#; s#^bayesprune/(models|inference|experiments)/#\1/#'

# mypy knows no package-dir: links lay the floors out as they are installed, so that bayesprune.models is checked, not Any.
typing:
	@rm -rf $(TYPING) && mkdir -p $(TYPING)/bayesprune
	@ln -s $(addprefix ../../,$(CHECKED)) $(TYPING)/
	@ln -s $(addprefix ../../../,$(filter-out %/__pycache__,$(wildcard bayesprune/*)) models inference experiments) $(TYPING)/bayesprune/

format: $(READY) ## put the code in ruff's format and mend what ruff can mend
	$(BIN)/ruff check --quiet --fix
	$(BIN)/ruff format --quiet

bench: $(READY) ## every benchmark, one after the other, on one thread
	@for file in benchmarks/[!_]*.py; do echo "== $$file"; $(ONE_THREAD) $(BIN)/python -m "benchmarks.$$(basename "$$file" .py)"; done

clean: ## remove what make made (not demo/ or runs/)
	rm -rf $(VENV) .build build dist bayesprune.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
