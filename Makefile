# Everything here sets itself up: it needs Python >= 3.11 with pip, and make.
PYTHON ?= python3
VENV := .venv
JOBS ?= 2  # processes that run the tests
CASES ?= 5000  # odd inputs that "make fuzz" tries
SEED ?= 0  # of those inputs
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
AUX := .venv-controlnet-aux
AUX_PIP := $(AUX)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
QUANTIZED := .venv-quantized
QUANTIZED_PIP := $(QUANTIZED)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
AUX_FINDS := $(AUX)/bin/python -m pip index versions
PROJECTS := pyproject.toml plugins/threedis-pocket/pyproject.toml constraints.txt

.PHONY: demo test fuzz test-controlnet-aux test-quantized test-full-size test-container check lint types docs clean help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

demo: $(VENV)/.installed  ## render the contact sheet of the pocket models
	$(BIN)/threedis demo

test: $(VENV)/.developed  ## run the tests
	$(BIN)/python -m pytest -n $(JOBS) --cov=threedis_core --cov-report=term --cov-fail-under=90

fuzz: $(VENV)/.developed  ## run thousands of odd inputs through the command line: CASES=5000 SEED=0
	$(BIN)/python tests/fuzz/fuzz.py --cases $(CASES) --seed $(SEED) --jobs $(JOBS)

# torchvision must fit torch, so it stays out of the environment that everything else is in.
test-controlnet-aux: $(AUX)/.developed  ## run the detectors of controlnet-aux, in an environment of their own
	@if test -e $<; then \
		$(AUX)/bin/python -m pytest --confcutdir=tests/controlnet_aux tests/controlnet_aux; \
	fi

# Each of these libraries says something, or waits for something, whenever diffusers is imported.
test-quantized: $(QUANTIZED)/.developed  ## run torchao, quanto and bitsandbytes, in an environment of their own
	$(QUANTIZED)/bin/python -m pytest --confcutdir=tests/quantized tests/quantized tests/diffusers/quantized

test-full-size: $(VENV)/.developed  ## run SD1.5 whole, blocks of SDXL and FLUX.1 at full size, random weights: minutes, 8 GB
	THREEDIS_TEST_FULL_SIZE=1 $(BIN)/python -m pytest tests/full_size

test-container: $(VENV)/.developed  ## carry out the steps of the Dockerfile in an environment of their own
	THREEDIS_TEST_CONTAINER=1 $(BIN)/python -m pytest tests/container

check: lint types docs  ## what CI checks beside the tests

lint: $(VENV)/.developed  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.developed  ## pyright, strict on threedis_core
	$(BIN)/pyright

docs: $(VENV)/.developed  ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:  ## remove what the other targets made
	rm -rf $(VENV) $(AUX) $(QUANTIZED) site build .pytest_cache .ruff_cache .coverage

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python $(PROJECTS)
	@echo "Installing torch, diffusers and ThreeDIS into $(VENV): a few minutes, 1.4 GB."
	@$(PIP) -e . -e plugins/threedis-pocket
	@touch $@

$(VENV)/.developed: $(VENV)/.installed
	@echo "Installing what the tests, lint and documentation need."
	@$(PIP) -e '.[dev]' -e plugins/threedis-pocket
	@touch $@

$(AUX)/bin/python:
	$(PYTHON) -m venv $(AUX)

# pip says of a package index out of reach, too, that it has no torchvision. Then it finds no torch either.
$(AUX)/.developed: $(AUX)/bin/python $(PROJECTS)
	@rm -f $@
	@$(AUX)/bin/python -m pip --version > /dev/null
	@if $(AUX_FINDS) torchvision > /dev/null 2>&1 || ! $(AUX_FINDS) torch > /dev/null 2>&1; then \
		echo "Installing torchvision and controlnet-aux into $(AUX): a few minutes." && \
		$(AUX_PIP) torchvision && $(AUX_PIP) -e '.[controlnet-aux]' pytest && touch $@; \
	else \
		echo "SKIPPED test-controlnet-aux: pip finds no torchvision for this machine"; \
	fi

$(QUANTIZED)/bin/python:
	$(PYTHON) -m venv $(QUANTIZED)

$(QUANTIZED)/.developed: $(QUANTIZED)/bin/python $(PROJECTS)
	@echo "Installing torchao, quanto and bitsandbytes into $(QUANTIZED): a few minutes."
	@$(QUANTIZED_PIP) -e '.[lora,gguf,torchao,quanto,bitsandbytes]' -e plugins/threedis-pocket pytest
	@touch $@
