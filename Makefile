# Two commands do everything: `make demo` and `make test`. The rest is for those who carry this on.
PYTHON ?= python3.11
VENV   ?= .venv
RUN    := $(VENV)/bin/python -m chexreason.run
PIP    := $(VENV)/bin/python -m pip --disable-pip-version-check
LABELS := torchxrayvision pydicom-data

.DEFAULT_GOAL := help
WORLD ?= phantom
PAPER := table1 table2 table3 table4 table5 table6 figure1 figure2 figure3 paper

.PHONY: help install install-dev demo claims test check lint types format wheel clean $(PAPER)

help:  ## Show these targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 14
	@echo "table1 ... table6, figure1 ... figure3: one of them; WORLD=clinical: on real data, with real weights"

install: $(VENV)/.installed  ## Create .venv with the pinned dependencies

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt --editable .
	$(PIP) install --quiet --constraint constraints.txt --no-deps $(LABELS)
	@touch $@

install-dev: $(VENV)/.installed-dev  ## ... and with what tests and checks need

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install  ## The whole study on the phantom world: no download, two cores, minutes
	$(RUN)

paper: ## Every table and figure of the paper, doing only what is missing

$(PAPER): install
	$(RUN) experiment=$@ world=$(WORLD) $(MORE)

claims: install  ## Which of the paper's claims hold for the runs at hand
	$(RUN) stage=report stage.show=[claims]

test: install-dev  ## Run the tests, two files at a time with one thread each, the longest file first
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder

check: install-dev lint types test  ## Lint, types and tests

lint: install-dev  ## ruff
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: install-dev  ## mypy
	$(VENV)/bin/mypy

format: install-dev  ## Let ruff put the code in order
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

wheel: install-dev  ## Build dist/*.whl
	$(VENV)/bin/python -m build --wheel --no-isolation

clean:  ## Remove the environment and build products, and keep runs/
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
