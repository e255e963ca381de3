# Two targets matter to a newcomer: `make demo` and `make test`. Both install what they need.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
LOCK   := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
          --generate-hashes --no-emit-index-url --custom-compile-command "make lock"
# Checkov wants other versions of this project's dependencies, hence an environment of its own.
CHECKOV_VERSION := 3.3.30
CHECKOV := $(VENV)/checkov

.DEFAULT_GOAL := help
.PHONY: help demo test test-terraform lint format bench bench-probe bench-soak bench-faults bench-soak-faults bench-endpoint bench-scrape bench-decision fuzz lock audit sbom clean

help: ## Show the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

demo: $(VENV)/.installed-local ## Run a whole sweep on this machine against a simulated exchange.
	@$(BIN)/sweep demo

test: $(VENV)/.installed-dev $(CHECKOV)/.installed-$(CHECKOV_VERSION) ## Run every test, the end-to-end ones included.
	$(BIN)/coverage erase
	$(BIN)/python -m pytest -n 2 -m "not e2e" -p tests.branch_coverage
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --format=total
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "e2e and not alone"
	$(BIN)/python -m pytest -m "e2e and alone"

test-terraform: $(VENV)/.installed-dev ## Run Terraform with the AWS provider against a simulated AWS.
	@$(BIN)/python -m pytest -q -m terraform tests/collector/provider

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

bench-probe: $(VENV)/.installed-dev ## Compare the probe's whole path with other clients (15 minutes).
	$(BIN)/python benchmarks/receive.py
	$(BIN)/python benchmarks/receive_options.py
	$(BIN)/python benchmarks/mixed.py

bench-soak: $(VENV)/.installed-dev ## Watch the probe's memory at 20,000 messages/s (MINUTES=30).
	$(BIN)/python benchmarks/soak.py --minutes $(or $(MINUTES),30)

bench-faults: $(VENV)/.installed-dev ## Bring every fault about and write docs/reliability.md (6 minutes).
	$(BIN)/python -m benchmarks.faults --table --load

bench-soak-faults: $(VENV)/.installed-dev ## A fault every 5 s at 20,000 messages a second (10 minutes).
	$(BIN)/python -m benchmarks.faults --soak 600

bench-endpoint: $(VENV)/.installed-dev ## Scrape the probe while strangers flood its endpoint (10 minutes).
	$(BIN)/python benchmarks/endpoint_flood.py --minutes $(or $(MINUTES),10) --tls

bench-scrape: $(VENV)/.installed-dev ## Delay of the event loop while 1,024 streams are scraped.
	$(BIN)/python benchmarks/scrape.py

bench-decision: $(VENV)/.installed-dev ## Calibrate the decision: false winners, power, coverage (20 minutes).
	$(BIN)/python benchmarks/calibration.py --trials 400

fuzz: $(VENV)/.installed-dev $(VENV)/.installed-fuzz ## Feed ten million inputs to every reader of bytes (INPUTS=n for fewer).
	$(BIN)/python -m tests.fuzz.run --inputs $(or $(INPUTS),10000000)

lock: $(VENV)/.installed-dev ## Lock the newest dependencies that pyproject.toml permits, with hashes.
	$(LOCK) pyproject.toml --output-file requirements/probe.txt
	$(LOCK) pyproject.toml --extra monitor --constraint requirements/probe.txt \
	  --output-file requirements/monitor.txt
	$(LOCK) pyproject.toml --extra local --constraint requirements/monitor.txt \
	  --output-file requirements/local.txt
	$(LOCK) pyproject.toml --extra dev --constraint requirements/local.txt \
	  --output-file requirements/dev.txt

audit: $(VENV)/.installed-dev ## Ask the advisory database about the locked dependencies; needs the network.
	$(BIN)/python requirements/audit.py

sbom: $(VENV)/.installed-dev ## Write the bill of materials of the locked dependencies, CycloneDX.
	@mkdir -p dist
	$(BIN)/cyclonedx-py requirements requirements/local.txt --pyproject pyproject.toml \
	  --output-reproducible --output-file dist/sbom.cdx.json

clean: ## Remove the virtual environment and every cache.
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# Versions are the locked ones, so that tomorrow's releases change nothing here unasked.
# uv installs in seconds; where it cannot be had, pip does the same in a minute. Like pip it shall
# compile: else every command compiles what it imports at its first start, or each time where
# Python may not write beside its sources. pip takes no hashes unless everything has one.
LOCKED = $(firstword $(wildcard requirements/$*.txt) requirements/dev.txt)
$(VENV)/.installed-%: pyproject.toml $(wildcard requirements/*.txt)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv \
	  && $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python \
	    --constraint $(LOCKED) --editable '.[$*]' \
	  || { sed '/--hash=/d; s/ \\$$//' $(LOCKED) >$(VENV)/versions.txt \
	    && $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	      --constraint $(VENV)/versions.txt --editable '.[$*]'; }
	@touch $@

$(CHECKOV)/.installed-%: | $(VENV)/.installed-dev
	@echo "Installing checkov into $(CHECKOV) ..."
	@$(PYTHON) -m venv $(CHECKOV)
	@if $(BIN)/uv pip install --quiet --python $(CHECKOV)/bin/python 'checkov==$*'; then touch $@; \
	  else echo "checkov $* cannot be installed here; its test will be skipped."; fi
