# Everything runs in .venv, which is made here when it is not there. pip's own settings (index, wheels
# of this machine, certificates) are honoured: nothing below names an index.

PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2

# What measures an accelerator is the Python that is named, with the frameworks that it has: nothing is installed.
BENCH_PYTHON = $(if $(filter command environment,$(firstword $(origin PYTHON))),$(PYTHON),$(BIN)/python)
MINUTES ?= 9.5

.PHONY: help .venv quickstart test check docs gpu-bench sbom audit

help:
	@echo "make quickstart   install, fetch, fine-tune a real BERT on real reviews, write a report"
	@echo "make test         the test suite, on all three backends"
	@echo "make check        ruff, mypy, and whether the generated docs are fresh"
	@echo "make docs         render what is generated: recipe/schema.json, docs/, the README's tables"
	@echo "make gpu-bench    checks and measures a machine with a GPU or a TPU, in ten minutes and without a network:"
	@echo "                  make gpu-bench PYTHON=/path/to/python (with Keras and its backends; on a TPU with jax[tpu]"
	@echo "                  and torch for CPUs), OUT=FOLDER, MINUTES=30 for more backends"
	@echo "make .venv        only the environment"
	@echo "make sbom         sbom.json: what is installed in it, as CycloneDX 1.6, validated"
	@echo "make audit        whether an advisory is known of a pinned version: 1 where one is, 4 where nobody could be asked"

.venv: .venv/.installed

# The stamp is younger than both files exactly when they are what is installed.
.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is $$($(PYTHON) -V 2>&1), expected Python 3.11 or newer: run make PYTHON=python3.11" >&2; exit 4; }
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@echo "installing into .venv: a few minutes the first time"
	@# -qq, or pip warns once for every package that one of several indexes lacks; errors are still shown.
	$(BIN)/python -m pip install -qq -c constraints.txt -e '.[all,dev]'
	@touch $@

# Eager torch starts at once, and on two CPU cores no backend was faster; any other: make quickstart KERAS_BACKEND=jax
quickstart: export KERAS_BACKEND ?= torch
quickstart: .venv
	$(BIN)/python -m zoo.fetch recipes/quickstart.yaml
	$(BIN)/python -m zoo.run recipes/quickstart.yaml

test: .venv
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow"

check: .venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/render_docs.py --check

gpu-bench:
	@command -v $(BENCH_PYTHON) >/dev/null || \
	  { echo "$(BENCH_PYTHON) is not there, expected a Python with Keras: run make gpu-bench PYTHON=/path/to/python" >&2; exit 4; }
	$(BENCH_PYTHON) benchmarks/accelerator.py --minutes $(MINUTES) $(if $(OUT),--out $(OUT))

docs: .venv
	$(BIN)/python tools/render_docs.py

# They stand in an environment of their own, so as not to be in what they list.
.audit/.installed: tools/audit-requirements.txt
	test -x .audit/bin/pip || $(PYTHON) -m venv .audit
	.audit/bin/python -m pip install -qq -r tools/audit-requirements.txt
	@touch $@

sbom: .venv .audit/.installed
	.audit/bin/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml --output-reproducible -o sbom.json
	@echo sbom.json

audit: .venv .audit/.installed
	@$(BIN)/python tools/audit_dependencies.py
