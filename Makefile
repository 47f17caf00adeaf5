# make run    start the server on the home var/, made if it is new
# make test   everything that must pass; make test-long: also chaos, soak and fuzz runs
# make bench  the measurements in benchmarks/
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HOME_FOLDER ?= var
# Tests wait for servers a good part of their time: three at a time for two processors.
WORKERS ?= $(shell echo $$(( ($$(nproc) * 3 + 1) / 2 )))
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Images for containers set it; without compiled modules each server and command compiles all anew, 0.7 s.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install dev run test test-long lint bench clean

install: $(VENV)/.installed
	@echo "The command is $(BIN)/pkiserver. Next: make run, or $(BIN)/pkiserver --help"

dev: $(VENV)/.installed-dev

$(VENV)/.installed: .ci/requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pkiserver needs Python 3.11 or newer: make PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "The venv module is missing: on Debian, apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing the pinned dependencies into $(VENV) ..."
	@$(BIN)/pip install --quiet --require-hashes -r .ci/requirements.lock
	@$(BIN)/pip install --quiet --no-deps -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed .ci/requirements-dev.lock
	@$(BIN)/pip install --quiet --require-hashes -r .ci/requirements-dev.lock
	@touch $@

run: $(VENV)/.installed
	@$(BIN)/pkiserver --home $(HOME_FOLDER) init --defaults --quiet
	@exec $(BIN)/pkiserver --home $(HOME_FOLDER) serve --welcome

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

test: dev
	@.ci/test-tools
	@.ci/newer-openssl $(VENV)/newer-openssl
	@$(MAKE) --no-print-directory lint
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m "not long"

test-long: test
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m long

bench: dev
	@.ci/bench-tools
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
