# make run   set up, fetch three small rerankers, start the server, compare them on one question
# make test  set up from nothing, then lint, types and the whole test suite
# Others: check, test-fast, bench, soak, parity, stop, clean. `make help` prints this.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := v1-bge-small v1-colbert v2-minilm
CONFIG := etc/demo.yaml
PIP := $(BIN)/python -m pip --disable-pip-version-check
PACKAGES := rerank_server workers/rerank_workers tests benchmarks

.DEFAULT_GOAL := help
.PHONY: help run test check test-fast bench soak parity stop clean models install-systemd

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -3

# --- set-up -------------------------------------------------------------------------------------

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: Python 3.11 or newer is needed; try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	  || { echo "error: the venv module is missing; on Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml etc/constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV): about 300 MB to download with the CPU build of torch, over 2 GB with the"
	@echo "default CUDA build. For the CPU build, set PIP_EXTRA_INDEX_URL to the CPU index that PyTorch's"
	@echo "'Get started' page names, then run make again."
	@$(PIP) install --quiet --progress-bar off -c etc/constraints.txt -e '.[onnx]'
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo "Installing the development tools into $(VENV): about 200 MB to download"
	@$(PIP) install --quiet --progress-bar off -c etc/constraints.txt -e '.[onnx,openvino,compare]' $$($(BIN)/python -c \
	  'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"])')
	@touch $@

models: $(VENV)/.runtime
	@$(BIN)/rerank-server pull $(DEMO) --config $(CONFIG)

# --- run ----------------------------------------------------------------------------------------

run: models
	@$(BIN)/rerank-server status >/dev/null 2>&1; \
	if [ $$? -eq 4 ]; then $(BIN)/rerank-server start --config $(CONFIG); \
	else echo "A server already runs here; using it."; fi
	@echo
	@$(BIN)/rerank-server compare \
	  "Which company developed the first commercial jet airliner that entered service in 1952, and what was its name?" \
	  "The de Havilland Comet was the world's first commercial jet airliner, entering service with BOAC in 1952." \
	  "Boeing 707 entered service in 1958, developed by Boeing Company." \
	  "Concorde was a supersonic transport aircraft, not a commercial jet airliner."
	@echo
	@echo "Go on:"
	@echo "  curl $$($(BIN)/rerank-server status --json | $(BIN)/python -c 'import json, sys; print(json.load(sys.stdin)["url"])')/rerank -H 'Content-Type: application/json' \\"
	@echo "       -d '{\"query\": \"capital of France\", \"docs\": [\"Paris\", \"Rome\"]}'"
	@echo "  $(BIN)/rerank-server status"
	@echo "  $(BIN)/rerank-server stop"

# As root. SERVICE_USER=NAME runs the service as that user; DESTDIR is for packagers.
install-systemd: $(VENV)/.runtime
	@$(BIN)/python systemd/install.py --config "$(CONFIG)" $(if $(SERVICE_USER),--user "$(SERVICE_USER)")

stop:
	@$(BIN)/rerank-server stop

# --- proof --------------------------------------------------------------------------------------

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest tests/contract -q

test-fast: $(VENV)/.dev
	$(BIN)/pytest -q -m "not process and not weights and not env and not gpu" -k "not histor" \
	  tests/contract tests/core tests/config tests/docs tests/workers

test: check models
	$(BIN)/pytest

# PART="server small" runs these alone; PAIRS=FILE takes labelled pairs from there. docs/performance.md
# says what there is. Peers get environments of their own below .bench/.
bench: $(VENV)/.dev models
	$(if $(PAIRS),PAIRS="$(PAIRS)") $(BIN)/python -m benchmarks $(PART)
	@test ! -e .bench/results.json || $(BIN)/python -m benchmarks.plot .bench/results.json docs/performance.svg

SECONDS ?= 300
SEED ?= $(shell date +%s)
soak: $(VENV)/.dev
	$(BIN)/python -m tests.process.soak --seconds $(SECONDS) --seed $(SEED)

# Derives the golden scores of tests/parity anew, with the references in environments of their own.
parity: $(VENV)/.runtime models
	$(BIN)/python -m tests.parity.derive

# Leaves the models: beside those that make fetched there may be your own.
clean:
	rm -rf $(VENV) .venvs .parity-venv .bench dist build *.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
	find rerank_server workers tests benchmarks docs systemd -name __pycache__ -type d -prune -exec rm -rf {} +
