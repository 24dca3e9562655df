# Nothing to install first but Python 3.11 or newer and make. Everything goes into .venv, from the lock, by hash.

# The first of these that is new enough; or say PYTHON=... yourself.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
READY := .venv/.ready
# What is compiled is kept even where it is not as a rule: three workers and hundreds of processes would do it again.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -q
# The sample company is made for one fixed instant, so that it shows the same wherever and whenever it is made.
DEMO := env -u DATABASE_URL BANDSHIFT_HOME=.bandshift/demo $(BIN)/bandshift
DEMO_AS_OF := 2026-11-16T06:00Z

.PHONY: help demo test check lint types migration bench lock clean
.DEFAULT_GOAL := help

help: ## list what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## a sample company: what would move, then the moves, then their history
	@rm -rf .bandshift/demo
	$(DEMO) demo --as-of $(DEMO_AS_OF)
	$(DEMO) recompute --dry-run --as-of $(DEMO_AS_OF)
	$(DEMO) recompute --as-of $(DEMO_AS_OF)
	$(DEMO) history --limit 10

test: $(READY) ## the suite, on the embedded Postgres; TEST_POSTGRES, TEST_DATABASE_URL choose another
	$(PYTEST)

check: lint types ## what CI runs: lint, types, and the suite with all its random examples
	TEST_EXAMPLES=all $(PYTEST)

lint: $(READY) ## style and common mistakes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## mypy, strict
	$(BIN)/mypy

bench: $(READY) ## the speed, measured against hand-written SQL and an ORM loop; takes a while
	$(BIN)/python -m bench

migration: $(READY) ## make migration name=add_colour_to_accounts: a new, dated, empty migration
	@test -n "$(name)" || { echo "say what it does: make migration name=add_colour_to_accounts" >&2; exit 2; }
	$(BIN)/alembic revision --rev-id "$$(date -u +%Y_%m_%d_%H%M)" -m "$(name)"

lock: ## choose the newest versions that pyproject.toml allows, and write down their hashes
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install -q uv
	.venv-lock/bin/uv pip compile $(LOCK) pyproject.toml -o requirements.lock
	.venv-lock/bin/uv pip compile $(LOCK) --all-extras -c requirements.lock pyproject.toml -o requirements-dev.lock
	rm -rf .venv-lock

# No URL, index or path of whoever locked gets into the lock.
LOCK := -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-header --no-annotate

clean: ## remove what the others have made, the demo's data included
	rm -rf .venv .bandshift/demo .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info build dist

$(READY): requirements-dev.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "bandshift needs Python 3.11 or newer; say make PYTHON=/path/to/python3" >&2; exit 2; }
	@echo "Setting up .venv from the lock (a minute, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-index --no-deps --no-build-isolation -e .
	@touch $@
