# Commands that are complete from a fresh clone: `make train`, `make test`, `make bench`, `make docs`.
# Another Python has a virtual environment of its own: `make PYTHON=python3.13 test` fills .venv-python3.13.
PYTHON ?= python3
VENV := .venv$(if $(filter python3,$(PYTHON)),,-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
BENCH := .venv-bench
DEMO := .venv-demo
DEVICE ?= cpu
TORCH ?= $(if $(filter gpu,$(DEVICE)),torch,torch==2.13.0)
EXTRAS := $(if $(filter gpu,$(DEVICE)),bench cuda,bench)

.PHONY: train test test-all bench tables docs clean

train: $(VENV)/installed
	$(BIN)/python -m gen_jax.train --config configs/gan.py
	@echo "pictures: runs/gan/samples/*.png and runs/gan/curves.png; scores: runs/gan/evaluation.json"

test: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

# The site too. With 10,000 damaged files in the place of 400, laws under the flags of XLA that users have, and where they are installed: the other
# supported Python, Slurm and Open MPI.
test-all: $(VENV)/installed-test $(DEMO)/installed docs
	FUZZ=10000 $(BIN)/python -m pytest -m ''
	$(DEMO)/bin/python -m pytest -m '' tests/test_demo.py

# The peers have a virtual environment of their own. PyTorch comes first, for the others take whichever version is there. torchcfm
# comes without what it depends on, because it needs little of it here.
bench: $(BENCH)/installed-$(DEVICE)
	$(BENCH)/bin/python benchmarks/run.py --device $(DEVICE)

# Renders docs/results, docs/benchmarks and the short table of README.md from results/*.json; needs the standard library alone.
tables:
	$(PYTHON) results/render.py

# The site, without a network once its packages are installed. What Sphinx warns of is an error.
docs: $(VENV)/installed-docs
	JAX_PLATFORMS=cpu $(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "the site: docs/_build/html/index.html"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test]"
	touch $@

# The page has a virtual environment of its own, without the constraints, because Gradio does not take the newest Pillow.
$(DEMO)/installed: pyproject.toml
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python -m pip install --quiet -e ".[test,demo,browser]"
	touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[docs]"
	touch $@

$(BENCH)/installed-$(DEVICE): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet "$(TORCH)"
	$(BENCH)/bin/python -m pip install --quiet -c constraints.txt $(EXTRAS:%=-e ".[%]")
	$(BENCH)/bin/python -m pip install --quiet --no-deps torchcfm
	touch $@

clean:
	rm -rf .venv .venv-*
