# All targets use the virtual environment .venv, which has the exact versions in constraints.txt.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint fix jar default-reranker ship-default-reranker clean

demo: .venv/installed
	$(BIN)/bioqa demo

test: .venv/installed-dev
	$(BIN)/python -m pytest --durations=10

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: .venv/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python -m benchmarks.readme

jar: .venv/installed
	$(BIN)/python -m bioqa.index.java.build_jar

# Train the default reranker in build/default-reranker, from data to weights, threshold and calibration: an hour and a half on 2 cores.
# Interrupted runs resume. ship-default-reranker replaces the model that bioqa ships.
DATA ?= ../shared/data
BIOQA := $(BIN)/bioqa
PAIRS := build/pairs
HELD_OUT := $(DATA)/bioasq/dev.json.gz $(DATA)/bioasq/test.json.gz $(DATA)/pubmedqa/pubmedqa.json $(DATA)/scifact/qrels/test.tsv
EXCLUDE := $(foreach file,$(HELD_OUT),--exclude $(file))
TRAIN := $(foreach name,titles more-titles snippets claims evidence,$(PAIRS)/$(name)-train.parquet)

build/indexes/abstracts: | .venv/installed
	$(BIOQA) index build $@ $(DATA)/abstracts

build/indexes/scifact: | .venv/installed
	$(BIOQA) index build $@ $(DATA)/scifact/corpus.jsonl.gz

$(PAIRS)/titles-train.parquet: | build/indexes/abstracts
	mkdir -p $(PAIRS)
	$(BIOQA) pairs titles $(DATA)/abstracts/abstracts-1.jsonl.gz --limit 2000 --negatives bm25:3:1-40 --index $| $(EXCLUDE) --out $@

$(PAIRS)/more-titles-train.parquet: | build/indexes/abstracts
	mkdir -p $(PAIRS)
	$(BIOQA) pairs titles $(DATA)/abstracts/abstracts-4.jsonl.gz --limit 700 --negatives bm25:3:1-40 --index $| $(EXCLUDE) --out $@

$(PAIRS)/snippets-train.parquet: | .venv/installed
	mkdir -p $(PAIRS)
	$(BIOQA) pairs build $(DATA)/bioasq/train.json.gz --max-positives 4 --negatives bm25:2 --negatives random:0.25 $(EXCLUDE) --out $@

$(PAIRS)/claims-train.parquet: | build/indexes/scifact
	mkdir -p $(PAIRS)
	$(BIOQA) pairs build $(DATA)/scifact/qrels/train.tsv --passages abstracts --index $| --negatives bm25:6:1-40 $(EXCLUDE) --out $@

$(PAIRS)/evidence-train.parquet: | .venv/installed
	mkdir -p $(PAIRS)
	$(BIOQA) pairs build $(DATA)/scifact/evidence-train.jsonl $(EXCLUDE) --out $@

$(PAIRS)/snippets-dev.parquet: | .venv/installed
	mkdir -p $(PAIRS)
	$(BIOQA) pairs build $(DATA)/bioasq/dev.json.gz --max-positives 3 --negatives bm25:2 --negatives random:0.25 --out $@

default-reranker: $(TRAIN) $(PAIRS)/snippets-dev.parquet .venv/installed-dev
	for file in $(TRAIN); do $(BIOQA) pairs check --first-only $$file $(HELD_OUT) || exit 1; done
	$(BIOQA) train benchmarks/recipes/default.toml --out build/default-reranker
	BIOQA_SHARED_DATA=$(abspath $(DATA)) $(BIN)/python -m benchmarks.default_decision --model build/default-reranker

ship-default-reranker: default-reranker
	for file in model.safetensors config.json tokenizer.json tokenizer_config.json bioqa.json; do cp build/default-reranker/$$file bioqa/rerank/default/ || exit 1; done
	cp build/default-reranker/training.json benchmarks/results/default_reranker-training.json

clean:
	rm -rf .venv build dist indexes/demo

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "bioqa needs Python 3.11 or newer, not " + sys.version.split()[0] + ". Choose another: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
