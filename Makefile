# make demo   a generated crowd, trained on and judged against its floors, in a few minutes
# make test   the tests
# make lint   ruff and mypy
# Each makes .venv when it is missing. PYTHON chooses the interpreter (3.11 or newer).

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name))))
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
DEMO := demo
RUN := $(BIN)/trajflow
BASELINES := cv cv-sampled anchors analog

export OMP_NUM_THREADS ?= 1

.PHONY: help demo test lint clean

help:
	@sed -n 's/^# //p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "trajflow needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade "pip>=25.1"

$(VENV)/ready-%: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing trajflow and what it needs into $(VENV) ..."
	$(PIP) -c constraints.txt -e ".[sim,xarray]" $(if $(filter run,$*),,--group $*)
	@touch $@

demo: $(VENV)/ready-run
	@$(BIN)/python -c 'import time; print(time.time())' > /dev/null
	@bash examples/demo.sh $(RUN) $(DEMO)

test: $(VENV)/ready-test
	$(BIN)/pytest -n 2 --durations=10

lint: $(VENV)/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf build dist $(DEMO) .pytest_cache .mypy_cache .ruff_cache
