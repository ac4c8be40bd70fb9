# make demo   generate a crowd, train on it, judge it against its baselines; some minutes
# make test   run the tests
# make lint   run ruff and mypy
# make docs   build the documentation into build/site
# make fuzz   random bytes for each of our parsers, ten minutes each; FUZZ=seconds
# make clean  remove what these left, but not .venv
#
# Each makes .venv if it is missing; PYTHON chooses the interpreter, 3.11 or newer.

PYTHON ?= $(shell for name in python3 python3.12 python3.11 python3.13; do \
  $$name -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null \
  && echo $$name && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install

TRAJFLOW := $(BIN)/trajflow

DEMO := demo
CROWD := $(DEMO)/crowd.zarr
RUN := $(DEMO)/run
BRIEF := --set train.epochs=10
FUZZ := 600
BASELINES := cv cv-sampled anchors analog

export OMP_NUM_THREADS ?= 1

.PHONY: help demo test docs lint fuzz clean

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

demo: $(VENV)/ready-run
	rm -rf $(DEMO)
	mkdir $(DEMO)
	$(TRAJFLOW) data make crowd -o $(CROWD) --seed 1
	$(TRAJFLOW) doctor $(CROWD)
	$(TRAJFLOW) data plot $(CROWD) -o $(DEMO)/crowd.png
	$(TRAJFLOW) train $(CROWD) --out $(RUN) $(BRIEF)
	$(TRAJFLOW) evaluate $(RUN) $(CROWD)
	for baseline in $(BASELINES); do \
	  $(TRAJFLOW) evaluate --baseline $$baseline $(CROWD) --json > $(DEMO)/$$baseline.json || exit; \
	done
	$(TRAJFLOW) compare $(RUN) $(BASELINES:%=$(DEMO)/%.json)
	$(TRAJFLOW) plot $(RUN) $(CROWD) -o $(DEMO)/forecasts.png
	@echo
	@echo "The run is in $(RUN), pictures in $(DEMO)/crowd.png and $(DEMO)/forecasts.png. Next:"
	@echo "  source $(BIN)/activate"
	@echo "  trajflow tui $(DEMO)"
	@echo "  trajflow predict $(RUN) $(CROWD) -o $(DEMO)/forecasts.csv"
	@echo "  trajflow data import my-tracks.csv -o my-tracks.zarr"
	@echo "  trajflow train my-tracks.zarr"

test: $(VENV)/ready-test
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

docs: $(VENV)/ready-docs
	$(BIN)/mkdocs build --strict
	@echo "open build/site/index.html"

lint: $(VENV)/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fuzz: $(VENV)/ready-fuzz
	$(BIN)/python fuzz/run.py --seconds $(FUZZ)

clean:
	rm -rf build dist $(DEMO) .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/ready-run: EXTRAS := -e ".[sim]"
$(VENV)/ready-test: EXTRAS := -e ".[sim,export]" --group test
$(VENV)/ready-dev: EXTRAS := -e ".[sim,export]" --group dev
$(VENV)/ready-docs: EXTRAS := -e . --group docs
$(VENV)/ready-fuzz: EXTRAS := -e . --group fuzz
$(VENV)/ready-%: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing trajflow and what it needs into $(VENV); this takes a minute or more"
	$(PIP) -c constraints.txt $(EXTRAS)
	@touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer with venv found: make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade "pip>=25.1"
