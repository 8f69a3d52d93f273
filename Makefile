# make demo   simulate skies, train a network on them, draw and save the results in demo/
# make test   the whole suite on all three backends, and once on the lowest versions
# make lint   ruff, mypy, import contract
# make sanitize     the kernels under AddressSanitizer and UndefinedBehaviorSanitizer
# make test-newest  a part of the suite on the newest Python and backends at hand
# make docs   the documentation site, in build/docs/html
# make notebooks   run the examples at full size and write them as .ipynb
# make bench  all benchmarks on all backends, with tables and pictures in benchmarks/results
# make dev    everything above ready to use, with pre-commit hooks
#
# Each target makes the virtual environment it needs and installs into it; PYTHON chooses the
# interpreter (3.11 or newer), BACKEND the one of `make demo` (tensorflow, jax or torch).

PYTHON ?= python3
BACKEND ?= tensorflow
DEMO ?= demo
BIN := .venv/bin
# Python compiles what is imported when it is imported; all of the packages would take a minute more.
PIP_FLAGS := --quiet --disable-pip-version-check --no-compile
# A part of the suite needs no backend, or compares all three: it runs once, with TensorFlow.
WITH_BACKEND := tests/ops tests/layers tests/models tests/analysis tests/compat \
	$(addprefix tests/integration/test_,export.py fused_filters.py layers_in_a_row.py \
	nan_dependence.py nesting.py old_checkpoints.py plots_of_layers.py) tests/plot/test_training.py \
	tests/demo/test_run.py tests/test_allocator.py tests/test_callbacks.py \
	tests/benchmarks/test_networks.py tests/test_resume.py \
	$(addprefix --ignore tests/compat/test_,filter_inspection.py legacy_graph.py old_plots.py)

BENCHMARKS := graph_build layer dense network memory full_size roofline scaling attention_memory

# One process a core, each with one thread: threads of several processes wait for each other. Each
# takes what lies together, so that what a file prepares or compiles is rarely done twice.
PARALLEL := --numprocesses=auto --dist=worksteal
test%: export OMP_NUM_THREADS ?= 1
# Half of the time would go into code that runs once. `make test-newest` compiles as users do.
test-tensorflow test-jax: export XLA_FLAGS ?= --xla_cpu_use_fusion_emitters=false \
	--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true
test-lowest: export XLA_FLAGS ?= --xla_backend_optimization_level=0

.PHONY: demo docs test test-tensorflow test-jax test-torch test-lowest test-newest sanitize lint dev notebooks bench clean

demo: .venv/installed-$(BACKEND)
	$(BIN)/deepsphere demo --output $(DEMO) --backend $(BACKEND)

test: test-tensorflow test-jax test-torch test-lowest

test-tensorflow: .venv/installed-dev
	KERAS_BACKEND=tensorflow $(BIN)/pytest $(PARALLEL)
	KERAS_BACKEND=tensorflow $(BIN)/pytest --doctest-modules src

test-jax: .venv/installed-dev
	KERAS_BACKEND=jax $(BIN)/pytest $(PARALLEL) $(WITH_BACKEND)

test-torch: .venv/installed-dev
	KERAS_BACKEND=torch $(BIN)/pytest $(PARALLEL) $(WITH_BACKEND)

# Every package once, which shows that the lowest versions will do; their warnings are no errors.
# What only repeats this, or needs several backends, is left to the other environment. TensorFlow
# 2.18 crashes now and then where it trains recurrent graph convolutions, which ask for a newer one.
LOWEST := -m "not slow" tests/analysis tests/data tests/demo tests/graph tests/sampling \
	$(addprefix tests/compat/test_,healpy_layers.py healpy_networks.py old_weights.py) \
	$(addprefix tests/integration/test_,docs.py old_checkpoints.py readme.py) \
	$(addprefix tests/layers/test_,protocol.py masking.py normalization.py patch_conv.py pooling.py \
	resample.py smooth_pool.py statistics.py survey_mask.py) \
	$(addprefix tests/models/test_,base.py saving.py sequential.py weight_files.py) \
	$(addprefix tests/test_,cache.py callbacks.py compiler.py extras.py processors.py) \
	--ignore tests/graph/test_resolve.py $(addprefix --ignore tests/sampling/test_,overlaps.py resampling.py) \
	--deselect tests/layers/test_protocol.py::test_functions_need_no_name \
	$(addprefix --deselect tests/data/,test_cosmology.py::test_spectrum_follows_source_redshift \
	test_cosmology.py::test_spectrum_is_that_of_convergence test_skies.py::test_gaussian_spectrum)

# Needs Python 3.11 or 3.12: the lowest versions have no wheels for newer ones.
test-lowest: .venv-lowest/installed
	KERAS_BACKEND=tensorflow .venv-lowest/bin/pytest $(PARALLEL) -W default $(LOWEST)

# Not PyTorch, whose newest wheel brings gigabytes: NEWEST_BACKENDS="tensorflow jax torch" adds it.
NEWEST_BACKENDS ?= tensorflow jax
test-newest:
	$(PYTHON) tools/test_newest.py .venv-newest $(NEWEST_BACKENDS)

sanitize: .venv/installed-dev
	$(BIN)/python tools/sanitize.py

lint: .venv/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# Sources lie in several folders: the root is where Sphinx looks for them.
docs: .venv/installed-dev .venv/installed-docs
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -c docs . build/docs/html

dev: .venv/installed-dev
	$(BIN)/pre-commit install

notebooks: .venv/installed-dev
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints/test.txt -e '.[notebooks]'
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python tools/render_notebooks.py

# Takes hours, on a machine that does nothing else meanwhile. BENCH=--quick tries if all runs.
# The backend is that of the process that only asks the others: the quickest to import.
bench: export KERAS_BACKEND = jax
bench: .venv/installed-dev
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints/test.txt -e '.[bench]'
	for script in $(BENCHMARKS); do $(BIN)/python benchmarks/$$script.py $(BENCH) || exit; done

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "DeepSphere needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv

.venv/installed-dev: pyproject.toml constraints/test.txt | .venv/bin/python
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints/test.txt torch
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints/test.txt -e '.[tensorflow,jax,torch,dev]'
	touch $@

.venv/installed-%: pyproject.toml constraints/test.txt | .venv/bin/python
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints/test.txt -e '.[demo,$*]'
	touch $@

.venv-lowest/installed: pyproject.toml constraints/lowest.txt
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install $(PIP_FLAGS) -c constraints/lowest.txt -e '.[demo,harmonics,tensorflow]' pytest pytest-timeout pytest-xdist
	touch $@

clean:
	rm -rf .venv .venv-lowest .venv-newest build dist src/*.egg-info
