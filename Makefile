PYTHON ?= python3
DATA ?= demo-data
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
STAMP_DEV := $(VENV)/.installed-dev

.PHONY: install install-dev demo test test-offline test-backend test-slow fuzz mutants check docs pictures release vulnerabilities bench cross-validation clean

install: $(STAMP)

$(STAMP): pyproject.toml requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# Packages for tests and checks are separate, so that the demo does not wait for them.
install-dev: $(STAMP_DEV)

$(STAMP_DEV): $(STAMP) requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-compile --requirement requirements-dev.txt
	touch $@

demo: install
	$(BIN)/tumorboard demo --out demo-run

# A worker that dies ends the tests: pytest-xdist can wait for ever for the worker that replaces it.
TESTS := -n 2 --dist loadfile --max-worker-restart 0 -m "not slow"

test: install-dev
	$(BIN)/python -m pytest $(TESTS) --cov --cov-report=term

# The same tests without a network: only the loopback interface is up.
test-offline: install-dev
	unshare -rn sh -c 'ip link set lo up; exec "$$@"' sh $(BIN)/python -m pytest $(TESTS)

NETWORK_TESTS := $(patsubst %,tests/models/test_%.py,architectures augmentation efficientnet_lite inference saving) \
    tests/workflows/test_train.py::test_the_run_folder_holds_every_file_that_its_page_promises

# Tests of the networks, a small run and the demo, on another backend of Keras: make test-backend BACKEND=torch
BACKEND ?= jax
test-backend: .venv-$(BACKEND)/.installed
	KERAS_BACKEND=$(BACKEND) .venv-$(BACKEND)/bin/python -m pytest $(TESTS) -m "not slow and not tensorflow" \
	    tests/test_backend.py tests/ensembles tests/training tests/explain $(NETWORK_TESTS)
	KERAS_BACKEND=$(BACKEND) .venv-$(BACKEND)/bin/tumorboard demo --out demo-run-$(BACKEND)

.venv-$(BACKEND)/.installed: pyproject.toml requirements-dev.txt
	test -x .venv-$(BACKEND)/bin/python || $(PYTHON) -m venv .venv-$(BACKEND)
	.venv-$(BACKEND)/bin/python -m pip install --quiet --no-compile --requirement requirements-dev.txt
	.venv-$(BACKEND)/bin/python -m pip install --quiet --no-build-isolation --editable ".[$(BACKEND)]"
	touch $@

test-slow: install-dev
	$(BIN)/python -m pytest -m slow

# Random files for every reader, SECONDS each; ends at the first find, which `make test` then reads too.
SECONDS ?= 60
fuzz: install-dev
	for target in image dicom nifti table recipe run keras; do \
	    $(BIN)/python -m tests.fuzz.run $$target --seconds $(SECONDS) || exit 1; done

# Breaks one guarding line at a time and runs the tests that must notice; an hour. See tools/mutants.toml.
mutants: install-dev
	$(BIN)/python tools/mutants.py

check: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

# The documentation as a web site in site/, built offline; a warning is an error.
docs: .venv-docs/.installed
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=src .venv-docs/bin/mkdocs build --strict --quiet

.venv-docs/.installed: requirements-docs.txt
	test -x .venv-docs/bin/python || $(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --no-compile --requirement requirements-docs.txt
	touch $@

# The pictures in docs/images, from the run of `make demo`, in a browser. To look at every view of `tumorboard
# ui`, light and dark, on a desk and a phone: TUMORBOARD_PICTURES=FOLDER pytest tests/server/test_workspace_views.py
pictures: install-dev demo
	$(BIN)/python tools/docs_pictures.py demo-run demo-data

# make release VERSION=1.2.3: sets the version, dates the changelog, builds dist/, commits and tags; publishes nothing.
release:
	test -x .venv-release/bin/python || $(PYTHON) -m venv .venv-release
	.venv-release/bin/python -m pip install --quiet build==1.6.1 cyclonedx-bom==7.5.0 wheel==0.48.0
	.venv-release/bin/python tools/release.py "$(VERSION)"

# Known vulnerabilities of all pinned packages. It needs pypi.org: a package that cannot be looked up is no success.
vulnerabilities:
	test -x .venv-audit/bin/python || $(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet pip-audit==2.10.1 && \
	.venv-audit/bin/pip-audit --strict --requirement requirements-dev.txt --no-deps || \
	{ echo "vulnerabilities: some were found, or not every package could be looked up at pypi.org (see above)" >&2; exit 1; }

# make bench [DATA=FOLDER] [RUN=RUN], where RUN is a finished run on DATA; writes benchmarks/RESULTS.md
bench: install-dev $(DATA)
	$(BIN)/python benchmarks/near_duplicates.py $(DATA)
	$(BIN)/python benchmarks/audit.py $(DATA)
	$(BIN)/python benchmarks/page.py $(DATA) $(if $(RUN),--run $(RUN))

# Cross-validation on train and validation, which chooses how to combine the models; resumable.
# make cross-validation [DATA=FOLDER]
cross-validation: install $(DATA)
	$(BIN)/tumorboard train $(DATA) --out runs/cross-validation --folds 5

demo-data: install
	$(BIN)/python -c "from pathlib import Path; from tumorboard.data.synthetic import draw; draw(Path('$@'))"

clean:
	rm -rf $(VENV) .venv-docs .venv-audit .venv-release .venv-jax .venv-torch dist site demo-run demo-run-jax demo-run-torch demo-data .pytest_cache .mypy_cache .ruff_cache htmlcov
