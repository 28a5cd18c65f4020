# What a person or a machine does with a clone, each in one command.

VENV := .venv
BIN := $(VENV)/bin

# The first Python that is new enough and really runs: a name on PATH may be a shim for one that is not installed.
PYTHON ?= $(shell for each in python3.13 python3.12 python3.11 python3; do \
	$$each -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$each && break; \
	done)

.PHONY: help run test check bench-fanout bench-kill clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/run.stamp  ## start controller, agent and worker on loopback; Ctrl-C ends them
	@exec $(BIN)/twistd -n --pidfile= confd-dev --log-format text $(ARGS)

test: $(VENV)/test.stamp  ## run all tests; ARGS, for trial, picks: make test ARGS=tests.test_wire
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && \
	HYPOTHESIS_STORAGE_DIRECTORY="$$scratch/hypothesis" \
	$(BIN)/trial --temp-directory="$$scratch/trial" $(or $(ARGS),tests)

check: $(VENV)/check.stamp  ## lint, format, types, architecture
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	@$(MAKE) --no-print-directory test ARGS="tests.test_architecture"

bench-fanout: $(VENV)/test.stamp  ## measure from publish to the last of 1000 and 5000 agents, beside the raw brokers
	$(BIN)/python -m benchmarks.fanout $(ARGS)

bench-kill: $(VENV)/test.stamp  ## kill a controller 200 times under writes, and look for what it lost
	$(BIN)/python -m benchmarks.kill_nine $(ARGS)

clean:  ## remove what these targets made
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .hypothesis _trial_temp* confd-data
	find confd tests twisted benchmarks \( -name __pycache__ -o -name dropin.cache \) -prune -exec rm -rf {} +

# A stamp is older than the files that say what to install when they change, and is then made anew.
$(VENV)/run.stamp: setup.cfg pyproject.toml
	@test -n "$(PYTHON)" || { echo "confd needs Python 3.11 or newer with its venv module (Debian: apt install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

$(VENV)/check.stamp: $(VENV)/test.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,check]'
	@touch $@
