# Everything here works on a fresh clone: a target that needs the environment makes it first (no root, no apt).
#   make demo            one credit line, end to end, into demo/     (PROMPT="a red ladybug" make demo)
#   make test            the tests                                   (TESTS=tests/cli make test)
#   make test-heavy      the long cases of kinds that make test has the core of (a quarter of an hour)
#   make check-images    the wheel in an environment for each image, started (needs the package index)
#   make test-system     the tests that need the system's packages   (apt-get install postgresql prometheus)
#   make check           format, lint, types, layers, protos and their compatibility, tests
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CONSTRAINTS := deploy/constraints.txt
PROTOS := $(sort $(wildcard protos/creditline/v1/*.proto))
BASELINE := protos/baseline.binpb
PROTOC = $(BIN)/python -m grpc_tools.protoc -Iprotos
# Debian's Python may come without ensurepip; then its own pip puts one into the environment.
MAKE_VENV = $(PYTHON) -m venv $(VENV) 2>/dev/null || { $(PYTHON) -m venv --clear --without-pip $(VENV) \
	&& $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }
TESTS ?= tests
# Tests run in so many processes at once; WORKERS=0 runs them in one, as a debugger needs it.
WORKERS ?= 3
BENCHMARKS = $(sort $(filter-out %/__init__.py %/result_files.py %/results_table.py %/reference_parts.py %/lab_plots.py %/decoys.py %/paired_ratios.py %/process_trees.py %/test_% %/conftest.py,\
	$(wildcard tests/benchmarks/*.py)))

# Nothing is downloaded once it is installed; one thread per process, because several services run at once.
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false
export OMP_NUM_THREADS ?= 2
# Large blocks are kept by the process: torch on a CPU otherwise maps and unmaps them on every step.
export MALLOC_MMAP_THRESHOLD_ := 4294967296
export MALLOC_TRIM_THRESHOLD_ := 17179869184
# Torch takes large blocks in huge pages, in worker threads too.
export THP_MEM_ALLOC_ENABLE := 1
export PYTHONUNBUFFERED := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install demo test test-heavy test-system check check-images format protos results readme-picture bench lab lab-train distill-figures refit bench-index bench-bring bench-serving load fuzz clean

help:
	@sed -n '2,7s/^# *//p' Makefile

install: $(INSTALLED)

$(INSTALLED): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit("Creditline needs Python 3.11 or newer; this is " + sys.version if sys.version_info < (3, 11) else 0)'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { rm -rf $(VENV); $(MAKE_VENV); } \
	  || { echo "$(PYTHON) has neither ensurepip nor pip; set PYTHON to one that has" >&2; exit 1; }
	@echo "Installing Creditline into $(VENV) (once; torch is the large part)"
	$(BIN)/python -m pip install --constraint $(CONSTRAINTS) --editable ".[dev]"
	@touch $@

demo: $(INSTALLED)
	@$(BIN)/creditline demo $(if $(PROMPT),--prompt "$$PROMPT") $(if $(SEED),--seed "$$SEED")

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) $(TESTS) $(PYTEST_ARGUMENTS)

test-heavy: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "heavy and not system" -n $(WORKERS) $(TESTS) $(PYTEST_ARGUMENTS)

test-system: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m system $(TESTS) $(PYTEST_ARGUMENTS)

check: $(INSTALLED)
	$(BIN)/ruff format --check services tests
	$(BIN)/ruff check services tests
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory protos-unchanged
	@$(MAKE) --no-print-directory protos-compatible
	@$(MAKE) --no-print-directory test

# Installs and starts what the images hold, without containers; `make test` has its fast core (tests/deploy).
check-images: $(INSTALLED)
	@$(BIN)/python -m tests.deploy.check_images

format: $(INSTALLED)
	$(BIN)/ruff format services tests
	$(BIN)/ruff check --fix services tests

protos: $(INSTALLED)
	$(PROTOC) --python_out=services --pyi_out=services --grpc_python_out=services $(PROTOS)

# The style of the contract, and that clients of the last release still work; without network.
.PHONY: protos-compatible
protos-compatible: $(INSTALLED)
	$(BIN)/buf lint protos
	$(BIN)/buf breaking protos --against $(BASELINE)

# With a release: what later contracts must stay compatible with.
.PHONY: protos-baseline
protos-baseline: $(INSTALLED)
	$(BIN)/buf build protos --exclude-source-info --output $(BASELINE)

# The REST reference, from the OpenAPI document; a test compares.
.PHONY: reference
reference: $(INSTALLED)
	@$(BIN)/python -m tests.gateway.transport.test_reference

# Generates into a scratch directory and compares: the committed code must be what the protos give.
.PHONY: protos-unchanged
protos-unchanged: $(INSTALLED)
	@rm -rf build/protos && mkdir -p build/protos
	@$(PROTOC) --python_out=build/protos --pyi_out=build/protos --grpc_python_out=build/protos $(PROTOS)
	@diff -r -x __pycache__ -x __init__.py build/protos/creditline/v1 services/creditline/v1 \
	  || { echo "services/creditline/v1 is not what protos/ gives; run 'make protos'" >&2; exit 1; }

results: $(INSTALLED)
	@$(BIN)/python -m tests.benchmarks.results_table

# The README's picture is the last demo's credit line, at half its size.
readme-picture: $(INSTALLED)
	@$(BIN)/python -c "from PIL import Image; drawn = Image.open('demo/credit-line.png'); \
	  drawn.reduce(2).quantize(256).save('tests/benchmarks/results/images/credit-line.png', optimize=True)"

# Every table and plot of the lab, from what is committed (a few minutes).
lab: $(INSTALLED)
	@$(BIN)/python -m tests.benchmarks.lab
	@$(BIN)/python -m tests.benchmarks.leave_k_out
	@$(BIN)/python -m tests.benchmarks.one_unit
	@$(BIN)/python -m tests.benchmarks.surrogate_shap
	@$(BIN)/python -m tests.benchmarks.groups
	@$(BIN)/python -m tests.benchmarks.fast_teacher
	@$(BIN)/python -m tests.benchmarks.lab_steps
	@$(BIN)/python -m tests.benchmarks.lab_sheets
	@$(BIN)/python -m tests.benchmarks.exact
	@$(MAKE) --no-print-directory results

# Students by every recipe, from committed labels (about half an hour).
distill-figures: $(INSTALLED)
	@$(BIN)/python -m tests.benchmarks.distillation
	@$(BIN)/python -m tests.benchmarks.served_contributors
	@$(BIN)/python -m tests.benchmarks.distillation_reference
	@$(BIN)/python -m tests.benchmarks.candidates
	@$(BIN)/python -m tests.benchmarks.distillation_plots
	@$(BIN)/python -m tests.benchmarks.top_works_sheet
	@$(MAKE) --no-print-directory results

# What is fitted on the packaged release without training (some minutes): what it knows of pictures and prompts apart.
refit: $(INSTALLED)
	@$(BIN)/python -m tests.benchmarks.refit
	@$(MAKE) --no-print-directory results

# The index at 10,000 to 1M works, beside Faiss: speed, ingest, capacity, faults (the first run, which fills and
# builds the collections under build/index, takes an hour and 12 GB).
BENCH_INSTALLED := $(VENV)/.bench-installed
$(BENCH_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable ".[bench]"
	@touch $@

bench-index: $(BENCH_INSTALLED)
	@$(BIN)/python -m tests.benchmarks.index.quality
	@$(BIN)/python -m tests.benchmarks.index.ingest
	@$(BIN)/python -m tests.benchmarks.index.capacity
	@$(BIN)/python -m tests.benchmarks.index.faults
	@$(MAKE) --no-print-directory results

# What strangers bring, end to end (half an hour): each module measures one part and fills its figures of bring.json.
BRING = spellings generators consent vectors ingest adding sources commands
bench-bring: $(INSTALLED)
	@set -e; for part in $(BRING); do echo "== $$part"; OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.bring.$$part; done
	@$(MAKE) --no-print-directory results

# The serving path's speed, beside an earlier commit, the bare parts of an answer, and infinity (half an hour; the
# first run makes infinity's environment under build/infinity, 7 GB).
SERVING = embed private start
bench-serving: $(INSTALLED)
	@set -e; for part in $(SERVING); do echo "== $$part"; OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.serving.$$part; done
	@$(BIN)/python -m tests.benchmarks.serving.answers
	@$(BIN)/python -m tests.benchmarks.serving.infinity
	@$(MAKE) --no-print-directory refit

# The gateway under load and hostile callers: each module fills its figures of load.json. As in a deployment, malloc
# has no thresholds of its own: with those above a service keeps what it has freed, and grew for ten minutes.
LOAD = keyless decoding overload swaps soak
load: $(INSTALLED)
	@set -e; for part in $(LOAD); do echo "== $$part"; \
	  env -u MALLOC_MMAP_THRESHOLD_ -u MALLOC_TRIM_THRESHOLD_ OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.load.$$part; done
	@$(MAKE) --no-print-directory results

# A load run with a real Prometheus (four minutes; apt-get install prometheus), whose dashboard is drawn into one picture.
.PHONY: dashboard-picture
dashboard-picture: $(INSTALLED)
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.load.dashboard

# The API under random input, and against its own contract (an hour); fills api-fuzz.json.
FUZZ = mutated_input schemas
fuzz: $(BENCH_INSTALLED)
	@set -e; for part in $(FUZZ); do echo "== $$part"; OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.fuzz.$$part; done
	@$(MAKE) --no-print-directory results

# The retraining itself (hours, two cores; resumes at any model), and then its record.
LAB_REFERENCE := services/creditline/evaluation/lab/reference
lab-train: $(INSTALLED)
	$(BIN)/creditline lab train
	$(BIN)/creditline lab collect $(LAB_REFERENCE)/record.safetensors
	$(BIN)/creditline lab remove --output $(LAB_REFERENCE)/removals.safetensors
	$(BIN)/creditline lab contributors $(LAB_REFERENCE)/contributors.safetensors
	$(BIN)/creditline lab conditions $(LAB_REFERENCE)/conditions.safetensors

bench: $(INSTALLED)
	@set -e; for script in $(BENCHMARKS); do \
	  module=$$(echo $${script%.py} | tr / .); echo "== $$module"; $(BIN)/python -m $$module; done
	@$(MAKE) --no-print-directory results

clean:
	rm -rf $(VENV) build demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find services tests -name __pycache__ -type d -prune -exec rm -rf {} +
