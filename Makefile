# Two targets matter to a newcomer: `make demo` and `make test`. Both install what they need.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench bench-decision fuzz clean

help: ## Show the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

demo: $(VENV)/.installed-local ## Run a whole sweep on this machine against a simulated exchange.
	@$(BIN)/sweep demo

test: $(VENV)/.installed-dev ## Run every test, the end-to-end ones included.
	$(BIN)/python -m pytest -n 2 -m "not e2e"
	$(BIN)/python -m pytest -m e2e

lint: $(VENV)/.installed-dev ## Check style, types and the direction of imports.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev ## Rewrite the sources in the project's style.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev ## Measure what the documentation claims.
	$(BIN)/python benchmarks/histogram.py
	$(BIN)/python benchmarks/receive.py

bench-decision: $(VENV)/.installed-dev ## Calibrate the decision: false winners, power, coverage (20 minutes).
	$(BIN)/python benchmarks/calibration.py --trials 400

fuzz: $(VENV)/.installed-dev $(VENV)/.installed-fuzz ## Feed ten million inputs to every reader of bytes (INPUTS=n for fewer).
	$(BIN)/python -m tests.fuzz.run --inputs $(or $(INPUTS),10000000)

clean: ## Remove the virtual environment and every cache.
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# uv installs in seconds; where it cannot be had, pip does the same in a minute.
$(VENV)/.installed-%: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv \
	  && $(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[$*]' \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@
