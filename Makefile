# Everything runs in an environment of its own, .venv, which is remade when its lists change.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install demo docs test test-all fuzz sanitize lint format clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]' --constraint constraints.txt
	mkdir -p $(VENV)/src
	ln -sfn ../.. $(VENV)/src/attnc
	touch $@

demo: install
	$(BIN)/attnc demo

docs: install
	$(BIN)/attnc list --markdown > docs/library.md.new
	mv docs/library.md.new docs/library.md

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# One thread for each of the two processes: with two each, threads wait for cores that others spin on.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -q

test: lint
	$(PYTEST) -m 'not slow'

test-all: lint
	$(PYTEST)

# Random specs by their kernels, in tiles, densely and by the oracle: `make fuzz FROM=0 SEEDS=10000`;
# INDUCTOR=300: so many of them through torch.compile, too.
FROM ?= 0
INDUCTOR ?= 0
JOBS ?= $(shell nproc)
fuzz: SEEDS ?= 1000
fuzz: install
	cd tests && ../$(BIN)/python -m fuzz --from $(FROM) --seeds $(SEEDS) --inductor $(INDUCTOR) --jobs $(JOBS)

# The same, and the library, with kernels that stop at what C++ leaves undefined.
sanitize: SANITIZER = LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc ATTNC_SANITIZE=1 CXX=g++ OMP_NUM_THREADS=2
sanitize: SEEDS ?= 500
sanitize: install
	$(SANITIZER) $(BIN)/pytest -n $(JOBS) -q tests/runtime/test_kernels.py
	cd tests && $(SANITIZER) ../$(BIN)/python -m fuzz --from $(FROM) --seeds $(SEEDS) --lowering cpu --jobs $(JOBS)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
