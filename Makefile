# Every target does all its own set-up: it needs Python 3.11 or newer, make and a package index, nothing else.
PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed

.PHONY: demo test quick lint bench clean

demo: $(INSTALLED)
	PATH="$(abspath $(BIN)):$$PATH" ./demo.sh $(DEMO)

# one thread for each test process: threads that wait for a core that another process has slow tests many times
test quick: export OMP_NUM_THREADS = 1

test: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --dist loadfile

quick: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow"

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED)
	$(BIN)/python benchmarks/sparse.py
	$(BIN)/python benchmarks/prepare.py
	$(BIN)/python benchmarks/loader.py
	$(BIN)/python benchmarks/step.py
	$(BIN)/python benchmarks/containers.py
	$(BIN)/python benchmarks/zoo.py
	$(BIN)/python benchmarks/synthrooms.py --rooms 6

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[train,dev]"
	touch $@
