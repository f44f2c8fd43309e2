# Two commands do everything: `make demo` and `make test`. The rest is for those who carry this on.
# The first Python of 3.11 or later; uv makes the environment where it is installed.
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3 python; do \
  command -v $$name >/dev/null && $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
VENV   ?= .venv
REAL   ?= .real
IN     := $(VENV)/bin/python -m
RUN    := $(IN) chexreason.run
UV     := $(shell command -v uv)
PIP    := $(if $(UV),uv pip install --python $(VENV)/bin/python,$(IN) pip --disable-pip-version-check install)
LABELS := torchxrayvision pydicom-data

# Whatever it starts ends with this make (chexreason/runs/processes.py).
export CHEXREASON_STARTER ?= $(shell echo "$$(uname -n) $$PPID")

.DEFAULT_GOAL := help
WORLD  ?= phantom
AGREED := 'teacher.data_use_agreement=PhysioNet Credentialed Health Data Use Agreement 1.5.0'
# In an order that lets two jobs at once stand on different runs.
TABLES := table4 table3 table2 table1 table5 table6 figure1 figure2 figure3
COMMA  := ,
SPACE  := $(subst ,, )
SHOWN  := $(subst $(SPACE),$(COMMA),$(sort $(filter t%,$(TABLES))) $(sort $(filter f%,$(TABLES))) headline transfer claims)
MORE_EXPERIMENTS := sites transfer collapse footprint

.PHONY: help install install-dev demo paper rehearsal claims test test-real bench fault-campaign check lint types audit format wheel clean $(TABLES) $(MORE_EXPERIMENTS)

help:  ## Show these targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 14
	@echo "table1 ... table6, figure1 ... figure3: one of them; WORLD=clinical: on real data, with real weights"
	@echo "MORE='dry_run=true': say what would be made; MORE carries any other override"

install: $(VENV)/.installed  ## Create .venv with the pinned dependencies

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is wanted and none was found: install it, or say make PYTHON=/path/to/python"; exit 1; }
	$(if $(UV),uv venv --quiet --python $(PYTHON) $(VENV),$(PYTHON) -m venv $(VENV))
	$(PIP) --quiet --constraint constraints.txt --editable .
	$(PIP) --quiet --constraint constraints.txt --no-deps $(LABELS)
	@touch $@

install-dev: $(VENV)/.installed-dev  ## ... and with what tests and checks need

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install  ## The whole study on the phantom world: no download, two cores, minutes
	$(RUN) $(MORE)

$(TABLES) $(MORE_EXPERIMENTS): install
	$(RUN) experiment=$@ world=$(WORLD) $(MORE)

paper: install  ## Every table and figure of the paper, doing only what is missing
	$(RUN) experiment=$(subst $(SPACE),$(COMMA),$(TABLES)) sweep.name=paper 'sweep.show=[$(SHOWN)]' world=$(WORLD) $(MORE)

rehearsal: install-dev  ## The clinical study with nothing changed but size, beside a server that speaks the teachers' protocols
	$(RUN) --multirun stage=standin model=medgemma,qwen,nv_reason world=rehearsal hydra/launcher=joblib hydra.launcher.n_jobs=2 $(MORE)
	$(IN) chexreason.phantom.server $(MAKE) --no-print-directory paper WORLD=rehearsal MORE="$(AGREED) $(MORE)"
	$(IN) chexreason.phantom.server $(RUN) stage=teach world=rehearsal model=medgemma prompt=reasoning_a teacher=openai $(AGREED)

claims: install  ## Which of the paper's claims hold for the runs at hand
	$(RUN) stage=report 'stage.show=[claims]' world=$(WORLD) $(MORE)

# Bytecode is kept, whatever a container's environment says: 160 processes import the package.
test: install-dev  ## Run the tests, two files at a time with one thread each, the longest files first
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(IN) pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder

test-real:  ## Real tokenizers and real vLLM, in an environment of its own (downloads 3.5 GB)
	bash tests_real/environment.sh $(REAL)
	CHEXREASON_TOKENIZERS=$(abspath $(REAL))/tokenizers $(REAL)/env/bin/python -m pytest tests_real

bench: install-dev  ## How fast everything is, training beside TRL alone: bench.json, docs/performance.md (an hour)
	OMP_NUM_THREADS=1 $(IN) benches.speed

fault-campaign: install-dev  ## Kills, full disks, damaged files and more on every stage: docs/reliability.md (an hour or two)
	OMP_NUM_THREADS=1 $(IN) benches.faults

check: install-dev lint types audit test  ## Lint, types, advisories and tests

lint: install-dev  ## ruff
	$(IN) ruff check .
	$(IN) ruff format --check .

types: install-dev  ## mypy
	$(IN) mypy

audit: install-dev  ## Known vulnerabilities among the pinned dependencies, where PyPI's advisories can be reached
	$(IN) benches.audit

format: install-dev  ## Let ruff put the code in order
	$(IN) ruff check --fix .
	$(IN) ruff format .

wheel: install-dev  ## Build dist/*.whl
	$(IN) build --wheel --no-isolation

clean:  ## Remove the environment and build products, and keep runs/
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
