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
PYTEST := $(BIN)/python -m pytest --dist worksteal -q
SIDE_BY_SIDE := $(ONE_THREAD) $(PYTEST) -n auto
ARGS ?=

# Another machine's rounding: kernels without AVX, sums by two threads. It runs what computes, the three lower floors;
# the fourth starts processes and writes pages, and adds no arithmetic of its own.
OTHER_ROUNDING := ATEN_CPU_CAPABILITY=default MKL_CBWR=COMPATIBLE ONEDNN_MAX_CPU_ISA=SSE41 \
    OMP_NUM_THREADS=2 MKL_NUM_THREADS=2 OPENBLAS_NUM_THREADS=2 OMP_WAIT_POLICY=passive
COMPUTES := tests/bayesprune tests/models tests/inference

# The slow tests try fresh examples; a failure comes back with the seed that is printed: make test-long SEED=...
SEED ?= $(shell date +%s)
LONG := -m 'long or hypothesis' --hypothesis-profile=long --hypothesis-seed=$(SEED)

.PHONY: help install demo test test-long test-rounding lint typing format bench clean

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
	$(SIDE_BY_SIDE) -m 'not long' $(ARGS)

test-long: $(READY) ## the slow tests: kills, fuzzing, soak, browser, big networks, fresh examples
	$(SIDE_BY_SIDE) $(LONG) $(ARGS)

test-rounding: $(READY) ## what computes, quick and slow, without AVX and on two threads
	$(OTHER_ROUNDING) $(PYTEST) -n 1 $(COMPUTES) $(ARGS)

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
