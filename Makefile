.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCKED := $(VENV)/.locked
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Every package is in the lock with its hash. Nothing is resolved, so nothing new can enter or break it.
FROM_LOCK := install --quiet --no-deps --require-hashes

.PHONY: help install tools quick check test demo bench clean

help:            ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

$(LOCKED): requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "lockkeeper needs Python 3.11 or newer; say: make PYTHON=python3.12 install" >&2; exit 1; }
	@echo "install: the locked packages into $(VENV) (about a minute)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) $(FROM_LOCK) -r requirements-dev.lock
	@$(PIP) check
	@touch $(LOCKED)

$(STAMP): $(LOCKED) pyproject.toml
	@echo "install: lockkeeper itself"
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $(STAMP)

install: $(STAMP)   ## create .venv with everything pinned and hashed

tools:           ## build the real tools that tests compare with; `make tools` needs Go
	@bash .ci/tools/build.sh

quick: install   ## format, lint, types, layers and the fast tests
	@bash .ci/parts quick

check: install   ## format, lint, types, layers
	@bash .ci/parts check

test: install    ## every check and every test; T=path for one file
	@bash .ci/parts test $(T)

demo: install    ## walk two releases from develop to prod, for real; KEEP=1 leaves it up
	@$(BIN)/python -m tests.demo $(if $(KEEP),--keep,)

bench: install   ## figures against the peers; ONLY=name for one
	@$(BIN)/python -m tests.bench $(if $(ONLY),--only $(ONLY),)

clean:
	rm -rf $(VENV) build .tools
