# `make demo` and `make test` do all the set-up on a machine that has Python and make.
PYTHON ?= python3
VENV ?= .venv
PARITY_PYTHON ?= $(shell command -v python3.11 || command -v $(PYTHON))
PARITY_VENV ?= .venv-parity

bin := $(VENV)/bin
installed := $(VENV)/.installed
peers_installed := $(PARITY_VENV)/.installed

.PHONY: demo test check format notebooks parity pictures benchmarks soak clean

demo: $(installed)
	$(bin)/fxgrad demo --output fxgrad-demo.html

test: $(installed)
	$(bin)/python -m pytest --numprocesses=auto --maxprocesses=4

check: $(installed)
	$(bin)/ruff format --check .
	$(bin)/ruff check .
	$(bin)/pyright --pythonpath $(bin)/python
	$(bin)/lint-imports

format: $(installed)
	$(bin)/ruff check --fix .
	$(bin)/ruff format .

# Carry each notebook's .py over to its .ipynb and run it.
notebooks: $(installed)
	$(bin)/jupytext --sync notebooks/*.py
	$(bin)/python -m pytest --overwrite notebooks

# The same 100 SGD steps in PyTorch, TensorFlow and each mode here. The peers have their own
# environment; PyTorch's build without CUDA is for Python 3.11.
parity: $(installed) $(peers_installed)
	FXGRAD_PEERS_PYTHON=$(PARITY_VENV)/bin/python $(bin)/python -m pytest tests/parity

# The pictures of the README. They need Chromium and chromedriver.
pictures: $(installed)
	$(bin)/python -m docs.pictures

benchmarks: $(installed) $(peers_installed)
	$(bin)/python benchmarks/dispatch.py
	$(bin)/python benchmarks/dispatch_paths.py
	$(bin)/python benchmarks/break_even.py
	$(bin)/python benchmarks/fit.py
	$(bin)/python benchmarks/loading.py
	$(bin)/python benchmarks/checkpoints.py
	PYTHONPATH=. $(bin)/python benchmarks/scaling.py
	$(bin)/python benchmarks/article_step.py --peers-python $(PARITY_VENV)/bin/python
	PYTHONPATH=. $(bin)/python benchmarks/views.py
	$(bin)/python benchmarks/replay.py --peers-python $(PARITY_VENV)/bin/python

# What befalls checkpoints: kills, signals, flipped bits, full disks. Half an hour; as root all of it.
soak: $(installed)
	$(bin)/python benchmarks/soak.py --docs --output benchmarks/results

$(installed): pyproject.toml
	test -x $(bin)/python || $(PYTHON) -m venv $(VENV)
	$(bin)/python -m pip install --quiet --upgrade pip
	$(bin)/python -m pip install --quiet --editable '.[dev]'
	touch $@

$(peers_installed): tests/parity/requirements.txt
	test -x $(PARITY_VENV)/bin/python || $(PARITY_PYTHON) -m venv $(PARITY_VENV)
	$(PARITY_VENV)/bin/python -m pip install --quiet --requirement tests/parity/requirements.txt
	touch $@

clean:
	rm -rf $(VENV) $(PARITY_VENV) build dist *.egg-info
