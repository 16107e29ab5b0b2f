# Each target sets up .venv by itself; stamp files make the second run start at once.
#   make demo       ten images through the RTL of a small accelerator, in the terminal
#   make test       all tests but the long ones;  make test-full: those too
#   make formal     proofs of units of the netlist, and the seeded bugs that they must find
#   make boards     bitstreams of all boards, into build/boards: hours
#   make mutation   seeded faults of the Verilog that the tests must find;  make coverage: its lines and
#                   branches that they reach
#   make lint       style, types, generated documents
#   make setup      only the virtual environment;  make clean removes it and what was built

VENV := .venv
BIN := $(VENV)/bin
JOBS ?= auto
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

.PHONY: setup demo test test-full formal boards mutation coverage lint docs clean check-tools
.DEFAULT_GOAL := setup

setup: $(VENV)/.stamp-base

demo: $(VENV)/.stamp-base
	@$(BIN)/accel demo

test: $(VENV)/.stamp-test
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --durations 10

test-full: $(VENV)/.stamp-test
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --durations 10 -m "full or not full"

formal: $(VENV)/.stamp-formal
	$(BIN)/python scripts/formal.py

BOARDS ?= icebreaker tangnano20k ulx3s

boards: $(VENV)/.stamp-fpga
	@status=0; for board in $(BOARDS); do $(BIN)/accel build $$board -o build/boards/$$board || status=1; done; exit $$status

mutation: $(VENV)/.stamp-test
	$(BIN)/python scripts/mutation.py --jobs 2

coverage: $(VENV)/.stamp-test
	$(BIN)/python scripts/coverage_rtl.py --missing

lint: $(VENV)/.stamp-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python scripts/generate_docs.py --check

docs: $(VENV)/.stamp-base
	$(BIN)/python scripts/generate_docs.py

clean:
	rm -rf $(VENV) build dist *.egg-info

check-tools:
	@test -n "$(PYTHON)" || { echo "systolite needs Python 3.11 or later: install python3 (or: make PYTHON=/path/to/python3.11)"; exit 1; }
	@command -v "$${CXX:-g++}" >/dev/null || { echo "systolite needs a C++ compiler for its simulators: install g++ (or set CXX)"; exit 1; }

$(VENV)/.stamp-base: pyproject.toml constraints.txt | check-tools
	@echo "setting up $(VENV): packages for generator, compiler and simulator (once; a minute or two)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot make virtual environments: install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.stamp-test: $(VENV)/.stamp-base
	@echo "setting up $(VENV): packages for the tests (once; a minute or two)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

$(VENV)/.stamp-fpga: $(VENV)/.stamp-base
	@echo "setting up $(VENV): packages for the boards' bitstreams (once; a minute or two)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fpga]'
	@touch $@

$(VENV)/.stamp-formal: $(VENV)/.stamp-base
	@echo "setting up $(VENV): packages for the formal proofs (once; a minute)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[formal]'
	@touch $@
