# Everything runs in .venv, which is made here when it is not there. pip's own settings (index, wheels
# of this machine, certificates) are honoured: nothing below names an index.

PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2

.PHONY: help .venv quickstart test check docs

help:
	@echo "make quickstart   install, fetch, fine-tune a real BERT on real reviews, write a report"
	@echo "make test         the test suite, on all three backends"
	@echo "make check        ruff, mypy, and whether the generated docs are fresh"
	@echo "make docs         render what is generated: recipe/schema.json, docs/, the README's tables"
	@echo "make .venv        only the environment"

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

docs: .venv
	$(BIN)/python tools/render_docs.py
