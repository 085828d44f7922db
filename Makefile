.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install tools test check demo bench clean

help:            ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "lockkeeper needs Python 3.11 or newer; say: make PYTHON=python3.12 install" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "install: the locked packages"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	@echo "install: Lockkeeper itself"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m pip check --disable-pip-version-check
	@touch $(STAMP)

install: $(STAMP)   ## create .venv with everything pinned and hashed

tools:           ## build the real tools (cosign, crane, zot ...) into .tools/bin
	@bash .ci/tools/build.sh

check: install   ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: check      ## all checks and all tests
	$(BIN)/pytest

demo: install    ## walk one application from develop to prod, for real; KEEP=1 leaves it up
	@$(BIN)/python -m tests.demo $(if $(KEEP),--keep,)

bench: install   ## figures against the peers; ONLY=name for one
	@$(BIN)/python -m tests.bench $(if $(ONLY),--only $(ONLY),)

clean:
	rm -rf $(VENV) build .tools
