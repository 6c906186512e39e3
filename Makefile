# A fresh machine needs Python 3.11+, make and a C++ compiler.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PARTS := recipes runtime wizard src tests

.PHONY: quickstart test test-all lint format generated pictures clean

quickstart: $(VENV)/train ## Install, run the quickstart to its end, and ask the trained model.
	$(BIN)/fsft run quickstart
	$(BIN)/fsft generate "$$($(BIN)/fsft run quickstart --json | $(BIN)/python -c 'import json, sys; print(json.load(sys.stdin)["run"])')" \
		--prompt "Who are you?" --prompt "What is fsft?" --prompt "你是谁？"

test: $(VENV)/dev lint ## The checks and the tests that tell most in the least time.
	$(BIN)/python -m pytest -m "not slow"

test-all: $(VENV)/dev lint ## Every test, the whole matrix of layouts included.
	$(BIN)/python -m pytest

lint: $(VENV)/dev
	$(BIN)/ruff check $(PARTS)
	$(BIN)/ruff format --check $(PARTS)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev ## Put the code into its one shape.
	$(BIN)/ruff check --fix $(PARTS)
	$(BIN)/ruff format $(PARTS)

generated: $(VENV)/dev ## Write again what is generated from the code.
	$(BIN)/fsft recipe schema > recipes/recipe.schema.json
	$(BIN)/python -m tests.event_docs > docs/events.md

pictures: $(VENV)/dev ## Take the pictures of all screens anew.
	$(BIN)/python -m tests.pictures

clean:
	rm -rf $(VENV) runs build dist

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/train: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install -c constraints.txt -e ".[train]"
	touch $@

$(VENV)/dev: $(VENV)/train
	$(BIN)/python -m pip install -c constraints.txt -e ".[train,dev]"
	touch $@
