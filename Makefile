# A bare machine needs Python 3.11 (or 3.12) with pip, and nothing else: each target sets up what it uses.
# The environment is .venv, with the versions of constraints.txt; `make` alone lists the targets.

PYTHON  ?=
WORKERS ?= 2
ARGS    ?=

VENV  := .venv
BIN   := $(VENV)/bin
PIP   := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check
TORCH := $(shell grep '^torch==' constraints.txt)

# Processes scale here, threads do not: two threads beside any other load spin and run several times slower.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-slow fuzz lint docs format bench constraints vulnerabilities clean pictures

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/dev.stamp ## Set up .venv for development

demo: $(VENV)/run.stamp ## Tune CHGNet on shipped frames, and the composition encoder on a shipped table: two reports
	@rm -rf runs/demo runs/demo-formulas
	@$(BIN)/matgraft tune examples/data/sige/frames.extxyz --test examples/data/sige/test.extxyz \
		--from chgnet --strategy feature --out runs/demo $(ARGS)
	@$(BIN)/matgraft tune examples/data/formation/formation_energies.csv --target formation_energy \
		--from composition --out runs/demo-formulas
	@$(BIN)/matgraft predict runs/demo-formulas NaCl SrTiO3 Ni3Al U2Xe7

pictures: demo ## Photograph the reports of the demo for the README (needs chromium)
	@for one in demo:report demo-formulas:report-formulas; do \
		chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --virtual-time-budget=20000 \
			--window-size=1200,2400 --screenshot=docs/$${one#*:}.png file://$(CURDIR)/runs/$${one%%:*}/report.html; done

test: lint ## Lint, then run the tests but for the slow ones (ARGS="-k name" narrows it)
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not slow" $(ARGS)

test-slow: $(VENV)/dev.stamp ## Run the slow tests: whole ways whose parts `make test` covers
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m slow $(ARGS)

fuzz: $(VENV)/dev.stamp ## Give broken inputs to every reader and parser (ARGS="--minutes 30"); faults stay in runs/fuzz
	$(BIN)/python tests/fuzz/lane.py $(ARGS)

lint: $(VENV)/dev.stamp ## Check style, types and the order of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

docs: $(VENV)/docs.stamp ## Build the site of the docs into site/; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

format: $(VENV)/dev.stamp ## Format the code and fix what can be fixed safely
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(VENV)/run.stamp ## Run the benchmarks, one after another
	@set -e; for script in $(sort $(filter-out benchmarks/_%,$(wildcard benchmarks/*.py))); do \
		echo "== $$script"; $(BIN)/python $$script $(ARGS) || [ $$? = 77 ]; done  # 77: skipped

constraints: ## Renew constraints.txt: the newest releases that live together with this torch, extras included
	@$(call find_python); rm -rf .venv-constraints; $$python -m venv .venv-constraints
	.venv-constraints/bin/python -m pip install $(TORCH)
	.venv-constraints/bin/python -m pip install -e ".[all,dev,docs]"
	@{ sed '/^[^#]/,$$d' constraints.txt; .venv-constraints/bin/python -m pip freeze --exclude-editable \
		| grep -vE '^(cuda-|nvidia-.*cu[0-9]+|triton)' | sed 's/+.*//'; } > constraints.tmp
	@mv constraints.tmp constraints.txt; rm -rf .venv-constraints

vulnerabilities: ## Ask PyPI for known vulnerabilities of the versions in constraints.txt (needs the network)
	@$(call find_python); [ -x .venv-audit/bin/pip-audit ] || { $$python -m venv .venv-audit; \
		.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit; }
	.venv-audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict

clean: ## Remove .venv and the caches; runs/ stays
	rm -rf $(VENV) .venv-constraints .venv-audit .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist site
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Sets $python to the first interpreter that runs and has the right version, or says what is missing.
define find_python
	python=; for try in $(PYTHON) python3.11 python3 python3.12; do \
		if $$try -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; then \
			python=$$try; break; fi; done; \
	if [ -z "$$python" ]; then \
		echo "matgraft needs Python 3.11 or 3.12; found: $$(python3 --version 2>/dev/null || echo no python3)." >&2; \
		echo "Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; fi
endef

$(VENV)/pyvenv.cfg:
	@$(call find_python); echo "Setting up $(VENV) with $$($$python --version): takes about 4 minutes the first time, most of it downloads."; \
		$$python -m venv --clear $(VENV)

# torch first, and alone: with it in place no other package is free to bring a newer build.
$(VENV)/torch.stamp: constraints.txt | $(VENV)/pyvenv.cfg
	@$(PIP) $(TORCH)
	@touch $@

$(VENV)/run.stamp: $(VENV)/torch.stamp pyproject.toml
	@$(PIP) -c constraints.txt -e .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/torch.stamp pyproject.toml
	@$(PIP) -c constraints.txt -e ".[dev,all]"
	@touch $(VENV)/run.stamp $@

$(VENV)/docs.stamp: $(VENV)/dev.stamp
	@$(PIP) -c constraints.txt -e ".[docs]"
	@touch $@
