# Commands that are complete from a fresh clone: `make train`, `make test`, `make bench`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH := .venv-bench
DEVICE ?= cpu
TORCH ?= torch==2.13.0

.PHONY: train test bench clean

train: $(VENV)/installed
	$(BIN)/python -m gen_jax.train --config configs/gan.py
	@echo "pictures: runs/gan/samples/*.png and runs/gan/curves.png; scores: runs/gan/evaluation.json"

test: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest

# The peers have a virtual environment of their own, for what they ask for is older than what we do. PyTorch comes first: a
# version by its number may be a build for the CPU alone, and the others ask for any.
bench: $(BENCH)/installed
	$(BENCH)/bin/python benchmarks/run.py --device $(DEVICE)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test]"
	touch $@

$(BENCH)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet $(TORCH)
	$(BENCH)/bin/python -m pip install --quiet -c constraints.txt -e ".[bench]"
	touch $@

clean:
	rm -rf $(VENV) $(BENCH)
