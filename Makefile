# Needs Python 3.11+, make and git. Everything is installed into .venv from requirements.txt, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEV_READY := $(VENV)/.ready-dev

.PHONY: demo test test-slow dev lint types validate check bench bench-calls clean

demo: $(READY)          ## the whole chain on the bundled sample with the stand-in models; prints the leaderboard
	$(BIN)/valbench demo

test: $(DEV_READY)      ## the tests: offline, no server, under 8 minutes
	$(BIN)/python -m pytest -n auto -rs

test-slow: $(DEV_READY) ## daemon, kills, real servers, browser
	$(BIN)/python -m pytest -m slow -n 0 --timeout 900 -rs

dev: $(READY)           ## the Dagster UI and daemon on http://127.0.0.1:3000
	$(BIN)/valbench prepare
	DAGSTER_HOME="$${DAGSTER_HOME:-$$(sed -n 's/^DAGSTER_HOME=//p' .env)}" $(BIN)/dagster dev -w workspace.yaml $(ARGS)

lint: $(DEV_READY)      ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV_READY)     ## mypy, strict
	$(BIN)/mypy

validate: $(READY)      ## the code location loads
	$(BIN)/dagster definitions validate -w workspace.yaml

check: lint types validate test

bench: $(DEV_READY)     ## speed and memory of mining; needs VALBENCH_TEST_DUMPS and lbzip2, and a quiet machine
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	$(BIN)/python -m benchmarks.mining.run

bench-calls: $(DEV_READY) ## speed and memory of model calls, against a server on loopback; needs a quiet machine
	$(BIN)/python -m benchmarks.inference.run

clean:
	rm -rf $(VENV) build dist

$(READY): requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(DEV_READY): $(READY) requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
