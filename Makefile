# Every target does all its own set-up: it needs Python 3.11 or newer, make and a package index, nothing else.
PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed

.PHONY: demo test quick coverage lint docs bench fuzz clean

demo: $(INSTALLED)
	PATH="$(abspath $(BIN)):$$PATH" ./demo.sh $(DEMO)

# one thread for each test process: threads that wait for a core that another process has slow tests many times
test quick coverage: export OMP_NUM_THREADS = 1

test: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --dist loadfile

quick: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow"

coverage: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --dist loadfile --cov --cov-report term

docs: $(INSTALLED)
	$(BIN)/sphinx-build -W --keep-going -n -b html docs docs/_build/html

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

# ten minutes for each reader of strangers' files
fuzz: $(INSTALLED)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[fuzz]"
	for target in weights checkpoints sens store config; do \
		$(BIN)/python fuzz/$$target.py -max_total_time=600 -rss_limit_mb=4096 || exit; \
	done

clean:
	rm -rf $(VENV) $(DEMO) build dist docs/_build *.egg-info

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[train,dev]"
	touch $@
