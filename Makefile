# make help lists the targets. Everything runs from .venv, which the first target creates from the lock.
PYTHON ?= python3
V := .venv/bin
Q ?= 100 个 1.5 连乘会怎样？
export Q
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev ask serve test test-all check fmt lint types js layers bench build audit lock screenshots clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup:
	@$(PYTHON) scripts/setup.py
setup-dev:
	@$(PYTHON) scripts/setup.py --dev

ask: setup ## answer a question with live numbers: make ask Q="why is my loss nan?"
	@$(V)/numstab ask "$$Q" $(ARGS)

serve: setup ## the page and the API on http://127.0.0.1:8000
	@$(V)/numstab serve $(ARGS)

PYTEST = OMP_NUM_THREADS=1 $(V)/python -m pytest -n auto # both: tests/conftest.py
test: setup-dev ## what protects a user, in minutes
	@scripts/browser.sh
	@$(PYTEST) -m "not exhaustive" $(ARGS)
test-all: setup-dev ## every test, with more examples drawn: nightly, before a release
	@scripts/browser.sh
	@$(PYTEST) --hypothesis-profile=thorough $(ARGS)

check: setup-dev lint types layers test ## lint, types, layers, tests

fmt: setup-dev ## format, and fix what ruff can
	@$(V)/ruff format . && $(V)/ruff check --fix .
lint: setup-dev ## ruff
	@$(V)/ruff format --check . && $(V)/ruff check .
types: setup-dev js ## mypy, strict, and the types of the page's scripts
	@$(V)/mypy
js: setup-dev ## the page's scripts: parts of templates, types (npm fetches TypeScript once)
	@$(V)/python scripts/parts.py
	@$(V)/python scripts/javascript.py
layers: setup-dev ## import-linter: who may import whom
	@$(V)/lint-imports

bench: setup-dev ## benchmarks, each against an alternative
	@$(V)/python -m bench $(ARGS)

build: setup-dev ## the wheels numstab, numstab-core and numstab-model, and the SBOM, into dist/
	@$(V)/python scripts/wheels.py dist
	@$(V)/python scripts/sbom.py dist

audit: setup-dev ## known vulnerabilities of the locked packages
	@$(V)/python scripts/audit.py

screenshots: setup-dev ## take the README's screenshots
	@scripts/browser.sh
	@$(V)/python scripts/screenshots.py

lock: ## resolve the lock files (needs uv)
	@scripts/lock.sh

clean: ## remove .venv and build outputs
	@rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache node_modules ci-output
