# Every target sets itself up in .venv; the only things needed are Python 3.11-3.13 with venv, and make.
#   PYTHON       the interpreter (python3 by default)
#   TORCH_INDEX  a package index for torch alone, for example one with CPU builds
#   BENCH        tables of `make bench` and its options, for example BENCH="costs coverage --markdown tables.md"

PYTHON ?= python3
FRAMEWORK ?= lightning
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt
# What `make bench` compares with, each in an environment of its own.
PEERS := zeus==0.16.0 codecarbon==3.3.2 carbontracker==2.4.7
TORCH := $(shell sed -n 's/^torch==/torch==/p' constraints.txt)

# Into the environment that the bill of materials is of: the wheel, and what it needs.
INSTALL := $(BIN)/python -m pip --python .venv/installed install -q --disable-pip-version-check

EXTRAS := --extra tensorboard --extra report --extra live --extra postgres

.PHONY: help demo test lint bench clean requirements audit release screenshots
help:
	@echo "make demo [FRAMEWORK=keras]   train a small network, measured"
	@echo "make test | lint | bench      what CI runs, and the benchmarks"
	@echo "make screenshots              the pictures of the Carbon tab in docs/images, from two runs on this machine"
	@echo "make release                  wheel, source distribution and bill of materials in dist/"
	@echo "make requirements | audit     pinned requirements with hashes, and what is known against them"

demo: .venv/.demo
	$(BIN)/fitprint demo --framework $(FRAMEWORK)

test: .venv/.test
	$(BIN)/python -m pytest --ignore tests/keras
	KERAS_BACKEND=torch $(BIN)/python -m pytest tests/keras
	KERAS_BACKEND=tensorflow $(BIN)/python -m pytest tests/keras
	KERAS_BACKEND=jax $(BIN)/python -m pytest tests/keras/test_callback.py tests/keras/test_stop.py

lint: .venv/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/.test .venv/.peers
	KERAS_BACKEND=torch PYTHONPATH=tests $(BIN)/python -m benchmarks $(BENCH)

screenshots: .venv/.test
	$(BIN)/python tests/browser/screenshots.py docs/images

# Of this Python and system; torch and the frameworks are the user's.
requirements: .venv/.release
	$(BIN)/pip-compile -q --upgrade --generate-hashes --no-emit-options --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	  --no-header --no-annotate --strip-extras --allow-unsafe $(EXTRAS) -c constraints.txt -o requirements/hashed.txt pyproject.toml

audit: .venv/.release
	@$(BIN)/pip-audit --strict --require-hashes --disable-pip -r requirements/hashed.txt >.venv/audit 2>&1 && { cat .venv/audit; exit 0; }; \
	  grep -E '^Found [0-9]+ known' .venv/audit && { cat .venv/audit; exit 1; }; \
	  tail -n 1 .venv/audit; echo "pip-audit could not ask: nothing is known, and nothing is said against it"

release: .venv/.release
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*
	$(PYTHON) -m venv --clear --without-pip .venv/installed
	$(INSTALL) -r requirements/hashed.txt --require-hashes
	$(INSTALL) dist/*.whl --no-deps
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --mc-type library --output-reproducible -o dist/fitprint.cdx.json .venv/installed

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache

.venv/.base: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "fitprint needs Python 3.11-3.13; $(PYTHON) is another. Name one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv .venv || \
	  { echo "This Python cannot make virtual environments. On Debian and Ubuntu: sudo apt-get install python3-venv"; exit 1; }
	$(PIP) --upgrade pip hatchling
	$(PIP) --no-build-isolation -e .
	@touch $@

.venv/.lint: .venv/.base
	$(PIP) --group lint
	@touch $@

.venv/.torch: .venv/.base
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	@touch $@

.venv/.demo: .venv/.torch
	$(PIP) --no-build-isolation -e '.[demo]'
	@touch $@

.venv/.test: .venv/.demo .venv/.lint
	$(PIP) --group test
	@touch $@

.venv/.release: .venv/.base
	$(PIP) --group release pip-tools pip-audit
	@touch $@

.venv/.peers: .venv/.base
	@for peer in $(PEERS); do \
	  $(PYTHON) -m venv .venv/peers/$${peer%%==*} && \
	  .venv/peers/$${peer%%==*}/bin/python -m pip install -q --disable-pip-version-check $$peer || exit 1; \
	done
	@touch $@
