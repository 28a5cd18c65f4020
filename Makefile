# The tasks of a clone, one command each.

VENV := .venv
BIN := $(VENV)/bin

# The first Python that is new enough and really runs: a name on PATH may be a shim for one that is not installed.
PYTHON ?= $(shell for each in python3.13 python3.12 python3.11 python3; do \
	$$each -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$each && break; \
	done)

.PHONY: build deps fmt lint help run run-controller run-controller-redis run-controller-nats run-agent run-agent-redis run-agent-nats \
	run-agent-stream run-worker test test-full fuzz docs swagger test-containers test-systemd check audit dist news changelog release-check \
	test-faults test-mutants soak bench bench-watchdog bench-fanout bench-kill bench-million bench-simulation bench-proof docker-build docker-up docker-down docker-logs clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/run.stamp  ## start controller, agent and worker on loopback; Ctrl-C ends them
	@exec $(BIN)/twistd -n --pidfile= confd-dev --log-format text $(ARGS)

TWISTD = @exec $(BIN)/twistd -n --pidfile=

run-controller: $(VENV)/run.stamp  ## start a controller; ARGS passes options to any of these
	$(TWISTD) confd-controller $(ARGS)

run-controller-redis: $(VENV)/run.stamp  ## start a controller that publishes to Redis on this machine
	$(TWISTD) confd-controller --distribution-strategy REDIS $(ARGS)

run-controller-nats: $(VENV)/run.stamp  ## start a controller that publishes to NATS on this machine
	$(TWISTD) confd-controller --distribution-strategy NATS $(ARGS)

run-agent: $(VENV)/run.stamp  ## start an agent that polls
	$(TWISTD) confd-agent $(ARGS)

run-agent-redis: $(VENV)/run.stamp  ## start an agent that subscribes to Redis on this machine
	$(TWISTD) confd-agent --distribution-strategy REDIS $(ARGS)

run-agent-nats: $(VENV)/run.stamp  ## start an agent that subscribes to NATS on this machine
	$(TWISTD) confd-agent --distribution-strategy NATS $(ARGS)

run-agent-stream: $(VENV)/run.stamp  ## start an agent that keeps a stream to its controller open
	$(TWISTD) confd-agent --distribution-strategy STREAM $(ARGS)

run-worker: $(VENV)/run.stamp  ## start a worker
	$(TWISTD) confd-worker $(ARGS)

# Much of the suite waits for processes, so four at a time are right for two processors; a pick runs in one, where trial
# has all its options.
JOBS ?= $(if $(ARGS),,4)

test: $(VENV)/test.stamp  ## run all tests, JOBS at a time; ARGS picks some: make test ARGS=tests.codec.test_headers
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && \
	HYPOTHESIS_STORAGE_DIRECTORY="$$scratch/hypothesis" \
	$(BIN)/trial $(JOBS:%=--jobs=%) --temp-directory="$$scratch/trial" $(or $(ARGS),tests)

# The tests that tests/budgets.py cuts short elsewhere.
FULL := tests.integration.test_schemathesis tests.integration.test_conformance tests.integration.test_proof tests.integration.test_scripts \
	tests.integration.test_dashboard_rollouts \
	tests.agent tests.brokers tests.cli tests.client tests.codec tests.controller tests.runtime tests.web tests.worker

test-full: export CONFD_TEST_BUDGET = full
test-full:  ## run the tests of random inputs with all of their inputs; ARGS picks others
	@$(MAKE) --no-print-directory test JOBS=4 ARGS="$(or $(ARGS),$(FULL))"

build: deps  ## install confd into .venv; there is nothing to compile

deps: $(VENV)/run.stamp  ## install confd and what it needs into .venv
	@echo "confd is installed in $(VENV); make run starts it"

lint: check  ## the same as check

fmt: $(VENV)/check.stamp  ## format the code
	$(BIN)/ruff format

check: $(VENV)/check.stamp  ## lint, format, types, architecture
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	@$(MAKE) --no-print-directory test ARGS="tests.test_architecture"

audit: $(VENV)/audit.stamp  ## look for published advisories on the installed packages
	@$(BIN)/python scripts/audit.py

docs: $(VENV)/docs.stamp  ## build the pages, docs/_build/html/index.html
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs docs/_build/html

test-containers:  ## run every profile of docker-compose.yml end to end; COMPOSE names the command, ARGS picks profiles
	scripts/test-containers.py $(ARGS)

test-systemd:  ## run the systemd units in a container that systemd runs, as root; ENGINE names docker or podman
	scripts/test-systemd.py

swagger: $(VENV)/docs.stamp  ## write the API documents, build/openapi/*.json
	@$(BIN)/python scripts/openapi.py build/openapi

dist: $(VENV)/release.stamp  ## build wheel and sdist, dist/*; needs no network once the tools are installed
	rm -rf build dist
	$(BIN)/python -m build --no-isolation .

news: $(VENV)/release.stamp  ## show the changelog of the next release
	$(BIN)/towncrier build --draft

changelog: $(VENV)/release.stamp  ## move the news into CHANGELOG.rst, under the version of confd/__init__.py
	$(BIN)/towncrier build --yes

release-check: dist $(VENV)/test.stamp  ## check that a release can be made: its files install and run, and read older databases
	$(BIN)/towncrier build --draft >/dev/null
	@$(MAKE) --no-print-directory test \
		ARGS="tests.test_release tests.integration.test_packaging tests.agent.test_historic tests.controller.store.test_historic"

# The profile of the compose file: make docker-up PROFILE=redis
PROFILE ?= nats
COMPOSE ?= docker compose

docker-build:  ## build the image
	$(firstword $(COMPOSE)) build --tag localhost/confd .

docker-up:  ## start a fleet in containers, with NATS unless PROFILE says otherwise; needs .env
	@test -f .env || { echo "copy .env.example to .env, and give every value in it" >&2; exit 1; }
	$(COMPOSE) --profile $(PROFILE) up --detach --build

docker-down:  ## stop the fleet in containers; its volumes stay
	$(COMPOSE) --profile $(PROFILE) down

docker-logs:  ## follow the logs of the fleet in containers
	$(COMPOSE) --profile $(PROFILE) logs --follow

bench: $(VENV)/test.stamp  ## run all benchmarks, and write docs/benchmarks; ARGS=--full runs them at full size
	$(BIN)/python -m benchmarks.everything $(ARGS)

bench-watchdog: $(VENV)/test.stamp  ## fail if a poll or a publish takes twice the time in benchmarks/baseline.json
	$(BIN)/python -m benchmarks.watchdog $(ARGS)

fuzz: $(VENV)/test.stamp  ## measure for a minute what untrusted bytes cost to parse; ARGS=--seed N repeats a run
	$(BIN)/python -m tests.fuzz $(ARGS)

test-faults: $(VENV)/test.stamp  ## inject every fault into real processes, and check the promises; ARGS picks rows
	$(BIN)/python -m tests.faults $(ARGS)

test-mutants: $(VENV)/test.stamp  ## break confd on purpose in many ways, and check that a test fails each time
	$(BIN)/python -m tests.faults.mutants $(ARGS)

soak: $(VENV)/test.stamp  ## run load and random faults for 20 minutes, and look for growth and loss
	$(BIN)/python -m tests.faults.soak $(ARGS)

bench-fanout: $(VENV)/test.stamp  ## measure the time from a publish to the last of 1000 and 5000 agents, beside the raw brokers
	$(BIN)/python -m benchmarks.fanout $(ARGS)

bench-kill: $(VENV)/test.stamp  ## kill a controller 200 times under writes, and look for lost writes
	$(BIN)/python -m benchmarks.kill_nine $(ARGS)

bench-million: $(VENV)/test.stamp  ## start a controller on PostgreSQL with 1 000 000 agents, and measure what they cost
	$(BIN)/python -m benchmarks.million $(ARGS)

bench-simulation: $(VENV)/test.stamp  ## start two controllers that know 1 000 000 agents, and let 200 000 report a version
	$(BIN)/python -m benchmarks.simulation $(ARGS)

bench-proof: $(VENV)/test.stamp  ## measure the time until 1000 and 5000 agents have applied a publish, and reports a second
	$(BIN)/python -m benchmarks.proof $(ARGS)

clean:  ## remove the files that these targets made
	rm -rf $(VENV) build dist docs/_build *.egg-info .mypy_cache .ruff_cache .hypothesis _trial_temp* confd-data web app
	find confd tests twisted benchmarks docs \( -name __pycache__ -o -name dropin.cache \) -prune -exec rm -rf {} +

# A stamp is made again when the files that list the packages have changed.
$(VENV)/run.stamp: setup.cfg pyproject.toml
	@test -n "$(PYTHON)" || { echo "confd needs Python 3.11 or newer with its venv module (Debian: apt install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[templates]'
	@touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

$(VENV)/release.stamp: $(VENV)/run.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[release]'
	@touch $@

$(VENV)/docs.stamp: $(VENV)/test.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

$(VENV)/audit.stamp: $(VENV)/run.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[audit]'
	@touch $@

$(VENV)/check.stamp: $(VENV)/test.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,check]'
	@touch $@
