# Two commands: `make demo` shows the monitor at work, `make test` tests it.
# Needs Python 3.11 or later, make and the package registries; nothing else.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip --disable-pip-version-check --quiet
COMPILE := --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
           --no-emit-index-url --no-emit-find-links --quiet
SOURCE := $(shell find streams models dashboards config -type f -not -path '*/__pycache__/*')

.PHONY: demo test test-slow check format unit integration proof chaos fuzz audit lock generated benchmark soak clean

demo: $(VENV)/.run ## Kafka, a worker and a feed on this machine, with a live page
	$(BIN)/kpi-monitor demo $(ARGS)

test: $(VENV)/.dev ## Checks, the fast tests, one monitor end to end, two faults: some ten minutes
	sh scripts/debian-packages.sh
	$(MAKE) check
	$(MAKE) audit
	sh scripts/tests.sh 'not slow'

test-slow: $(VENV)/.dev ## The rest of what CI runs: services, faults, reconciliation with SQL
	sh scripts/debian-packages.sh
	sh scripts/tests.sh slow

check: $(VENV)/.dev ## Format, lint, types, architecture, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/deno fmt --check
	$(BIN)/deno lint
	$(BIN)/deno check streams/export/page/live.js
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m dashboards.generate --check
	$(BIN)/python -m tools.reference --check

format: $(VENV)/.dev ## Format, and fix what the linters can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/deno lint --fix
	$(BIN)/deno fmt

unit: $(VENV)/.dev ## The fast tests only
	$(BIN)/pytest tests/unit $(ARGS)

integration: $(VENV)/.dev ## The tests on real services
	sh scripts/test-data.sh
	$(BIN)/pytest tests/integration tests/e2e $(ARGS)

proof: $(VENV)/.dev ## The long variants of the proofs: whole data sets, all models, more workers
	ARGS="-m full --timeout 1800 $(ARGS)" sh scripts/tests.sh slow

chaos: $(VENV)/.dev ## Faults against the real path, compared with the truth; ARGS=--list names them
	sh scripts/test-data.sh
	$(BIN)/python -m tests.chaos $(ARGS)

fuzz: $(VENV)/.dev ## Over 100,000 inputs for every decoder and endpoint
	KPI_FUZZ_EXAMPLES=8000 $(BIN)/pytest tests/fuzz --timeout 3600 $(ARGS)

audit: $(VENV)/.dev ## Known vulnerabilities of what is pinned
	PYTHON="$(PYTHON)" sh scripts/audit.sh

generated: $(VENV)/.dev ## Write the boards' JSON and the reference pages anew
	$(BIN)/python -m dashboards.generate
	$(BIN)/python -m tools.reference

benchmark: $(VENV)/.dev ## Plain Faust, this engine and a bare consumer, side by side
	$(BIN)/python benchmarks/throughput.py $(ARGS)

soak: $(VENV)/.dev ## Memory of a worker at half of its top speed, for 45 minutes
	$(BIN)/python benchmarks/soak.py $(ARGS)

lock: ## Pin every dependency with its hashes
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip --quiet install uv==0.13.9
	build/lock/bin/uv pip compile requirements/audit.in $(COMPILE) -o requirements/audit.lock
	build/lock/bin/uv pip compile requirements/build.in $(COMPILE) -o requirements/build.lock
	build/lock/bin/uv pip compile pyproject.toml --all-extras $(COMPILE) -o requirements/dev.lock
	build/lock/bin/uv pip compile pyproject.toml --extra demo $(COMPILE) -c requirements/dev.lock -o requirements/demo.lock
	build/lock/bin/uv pip compile pyproject.toml $(COMPILE) -c requirements/dev.lock -o requirements/run.lock

clean: ## Remove what was made here
	rm -rf $(VENV) build dist

# The wheel is built from the sources without fetching anything that is not in
# the lock file, and it is the wheel that runs and is tested.
$(VENV)/.run: requirements/demo.lock pyproject.toml $(SOURCE)
	@echo "installing the monitor into $(VENV), about 90 s"
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --require-hashes -r requirements/build.lock
	$(PIP) install --require-hashes -r requirements/demo.lock
	$(PIP) install --no-deps --no-build-isolation --force-reinstall .
	touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.lock
	@echo "installing the tools for development into $(VENV), about a minute"
	$(PIP) install --require-hashes -r requirements/dev.lock
	touch $@
