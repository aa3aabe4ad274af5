# Everything runs in a virtual environment in .venv, made from the exact versions in constraints.txt.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint fix jar clean

demo: .venv/installed
	$(BIN)/bioqa demo

test: .venv/installed-dev
	$(BIN)/python -m pytest

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: .venv/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python tests/readme.py

jar: .venv/installed
	rm -rf build/java && mkdir -p build/java
	javac --release 17 -d build/java -cp "$$($(BIN)/python -c 'from bioqa.index.jvm import find_jar; print(find_jar())')" bioqa/index/java/Bulk.java
	jar --create --file bioqa/index/java/bulk.jar --no-manifest --date=2026-01-01T00:00:00Z -C build/java bioqa

clean:
	rm -rf .venv build dist indexes/demo

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "bioqa needs Python 3.11 or newer, not " + sys.version.split()[0] + ". Name one: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
