# Every target sets up what it needs. Wanted beforehand: git, make, Python 3.11 or newer with venv and pip, and npm
# for the demo's full catalog. `make PYTHON=python3.12 demo` chooses another interpreter.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo gallery test check bench bench-index constraints kit clean

help:
	@echo "make demo         real Postgres, broker and workers process a shop's catalog; ends with a page to look at"
	@echo "make gallery      every product of the demo in every setting and shape, without the servers; an hour"
	@echo "make test         every test, on servers of its own"
	@echo "make check        lint, format, types, import rules"
	@echo "make bench        what Vitrine costs, as ratios"
	@echo "make bench-index  what the index finds and costs, at 100,000 products; takes an hour"
	@echo "make constraints  write constraints.txt anew from what is installed"
	@echo "make clean        delete the environment and everything built; stop a running demo first"

demo: kit
	$(BIN)/python -m demo

gallery: kit
	$(BIN)/python -m demo.gallery

test: kit
	$(BIN)/pytest -n 2 --dist worksteal

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: kit
	$(BIN)/python -m bench

bench-index: $(INSTALLED)
	$(BIN)/python -m bench.index

# Fetches what is missing only, so it needs no stamp.
kit: $(INSTALLED)
	$(BIN)/vitrine engines --fetch

# The release of torch is fixed before all else: left to choose, pip takes the newest, gigabytes of CUDA with it.
$(INSTALLED): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
	  echo "$(PYTHON) is not installed: install Python 3.11 or newer, or name yours: make PYTHON=... $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Vitrine needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) -V 2>&1): name a newer one: make PYTHON=... $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "$(PYTHON) comes without venv or pip: install them (Debian and Ubuntu: apt-get install python3-venv python3-pip)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

# No local version such as +cpu: which build of a release is installed is the machine's affair.
constraints:
	$(BIN)/python -m pip freeze --exclude-editable --exclude vitrine | grep -v ' @ ' | sed 's/+[a-z0-9.]*$$//' > constraints.new
	mv constraints.new constraints.txt

# Under a private root home the embedded Postgres keeps its data elsewhere and leaves a link to it.
clean:
	@if [ -d .vitrine ]; then find .vitrine -type l -name data -exec sh -c 'rm -rf -- "$$(readlink -f "$$1")"' _ {} \; ; fi
	rm -rf .vitrine build dist $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
