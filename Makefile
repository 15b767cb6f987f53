# Each target sets up what it needs in .venv; nothing but Python 3.11+ and make is asked of the machine.

AUDIO ?= samples/jfk.flac
MODEL ?= base
ARGS ?=
# The first Python on the path that is new enough.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)

VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help transcribe bench benchmark test lint clean

help:
	@echo "make transcribe [AUDIO=file] [MODEL=base] [ARGS=...]   print and save the transcript of a recording"
	@echo "make bench [MODEL=base] [ARGS=...]                     time the model on this machine, stage by stage"
	@echo "make benchmark [AUDIO=file] [ARGS=...]                 compare its speed with the peers that are installed"
	@echo "make test [ARGS=...]                                   run the tests"
	@echo "make lint                                              ruff, mypy and the import contracts"
	@echo "make clean                                             remove $(VENV)"

transcribe: $(VENV)/.runtime
	$(BIN)/python -m whisper_max transcribe "$(AUDIO)" --model "$(MODEL)" --output_dir transcripts $(ARGS)

bench: $(VENV)/.runtime
	$(BIN)/python -m whisper_max bench --model "$(MODEL)" $(ARGS)

benchmark: $(VENV)/.benchmark
	$(BIN)/python scripts/benchmark.py "$(AUDIO)" --model "$(MODEL)" --json build/benchmark.json $(ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV)

$(VENV)/.runtime: pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 to 3.13 found; name one with PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install -qq --editable '.[base,tiny-en,media,vad,server]'  # errors only: setuptools warns
	@touch $@

$(VENV)/.benchmark: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --group benchmark
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@
