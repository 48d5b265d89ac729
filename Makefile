# Two commands from a fresh clone: `make quickstart` and `make test`.
# They need Python (3.11 or newer) and make only; everything else goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help quickstart test test-references lint docs lock clean

help:
	@echo "make quickstart  install into .venv, train the default experiment, print where its report is"
	@echo "make test        install into .venv, run all tests"
	@echo "make test-references  install PyTorch and the libraries that explanations are compared with, ask them"
	@echo "make lint        ruff and pyright"
	@echo "make docs        build the documentation into site/"
	@echo "make lock        renew the version lock"

$(BIN)/spermjax: pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e .
	@touch $@

$(BIN)/pytest: $(BIN)/spermjax
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[dev]'
	@touch $@

quickstart: $(BIN)/spermjax
	$(BIN)/spermjax train phantom_quickstart

test: $(BIN)/pytest
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-references: $(BIN)/pytest
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[references]'
	$(BIN)/python -m pytest tests/references tests/models tests/train/test_losses.py

lint: $(BIN)/pytest
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(BIN)/spermjax
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[docs]'
	$(BIN)/mkdocs build --strict

lock:
	$(PYTHON) -m venv .lock-venv
	.lock-venv/bin/python -m pip install --quiet uv
	.lock-venv/bin/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-header \
		--extra dev --extra docs --extra ray --output-file requirements.lock pyproject.toml
	rm -r .lock-venv

clean:
	rm -rf $(VENV) build dist site *.egg-info
