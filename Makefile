# Everything a person does here is a target; `make` alone lists them.
#
# `make tour` and `make test` need a Rust toolchain (1.90 or later) and CPython 3.11 or later with
# pip on the machine; all else goes into the folders .venv, .venv-newest and target.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.NOTPARALLEL:
.DEFAULT_GOAL := help

# The oldest and the newest suitable Python of the machine; name others with MANYHANDS_PYTHON and
# MANYHANDS_PYTHON_NEWEST. Looked up once, and only by the targets that need it.
FIND_PYTHON := python3 tools/find_python.py
PYTHON = $(eval PYTHON := $$(shell $(FIND_PYTHON) oldest))$(PYTHON)
PYTHON_NEWEST = $(eval PYTHON_NEWEST := $$(shell $(FIND_PYTHON) newest))$(PYTHON_NEWEST)
PYTHON_CONFORMANCE = $(eval PYTHON_CONFORMANCE := $$(shell $(FIND_PYTHON) 3.13))$(PYTHON_CONFORMANCE)

VENV := .venv
VENV_NEWEST := .venv-newest
BIN := $(VENV)/bin

# The extension links to no libpython, so a test program made of it cannot; pytest tests it.
RUST_TESTED := --workspace --exclude manyhands-python
# PyO3 asks this Python about its version; the same one each time, or everything is rebuilt.
export PYO3_PYTHON = $(CURDIR)/$(BIN)/python

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9.-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# What people install is built as `release`. The checks take `tested`, which is the same without
# link-time optimization and ready in half the time.
PROFILE := release
test lint types stubs test-python test-newest: PROFILE := tested

.PHONY: build
build: $(VENV)/.installed ## build the extension and install the package into .venv
	$(call build_into,$(VENV))

.PHONY: tour
tour: build ## run the main job on this machine's Python library: results and timings
	$(BIN)/manyhands tour

.PHONY: test
test: lint test-rust loom test-python test-newest test-conformance ## all checks and all tests: Rust, its models, oldest and newest Python, CPython's own

# Separate targets, so that `make --keep-going` shows what each of them has to say.
.PHONY: lint format-check clippy layers tree ruff types stubs
lint: format-check clippy layers tree ruff types stubs ## formatting, lints, types, stubs, layers, file lengths

format-check: $(VENV)/.installed
	cargo fmt --all --check
	$(BIN)/ruff format --check

clippy: $(VENV)/.installed
	cargo clippy --workspace --all-targets --locked -- -D warnings

layers: $(VENV)/.installed
	$(BIN)/python tools/check_layers.py
	$(BIN)/python tools/check_rooms.py

tree: $(VENV)/.installed
	$(BIN)/python tools/check_tree.py

ruff: $(VENV)/.installed
	$(BIN)/ruff check

types: build
	$(BIN)/mypy

stubs: build
	$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml manyhands._runtime

# cargo-nextest has a watchdog per test (.config/nextest.toml); without it, one for the whole run.
.PHONY: test-rust
test-rust: $(VENV)/.installed ## Rust tests and documentation tests
	if cargo nextest --version >/dev/null 2>&1; then \
		cargo nextest run $(RUST_TESTED) --locked; \
	else \
		timeout --kill-after=10 1200 cargo test $(RUST_TESTED) --locked; \
	fi
	timeout --kill-after=10 600 cargo test --doc $(RUST_TESTED) --locked

# Models of the protocols that take no lock, run in every order of their steps up to the number of
# preemptions that a model names. Its own target folder: the flag changes every crate.
.PHONY: loom
loom: ## every loom model of the workspace
	RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR="$${CARGO_TARGET_DIR:-target}/loom" \
		timeout --kill-after=10 1200 cargo test --profile tested --locked --lib \
		-p manyhands-sync -p manyhands-queue -p manyhands-pool

# The crates in which code is unsafe, with a compiler that checks each access while the tests run.
# Needs a nightly toolchain; ThreadSanitizer also needs its rust-src, as it must see the standard
# library's code, or it takes what is ordered there for races.
SANITIZED := -p manyhands-sys -p manyhands-sync -p manyhands-shm -p manyhands-queue -p manyhands-pool
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
NIGHTLY_SOURCE = $(shell rustc +nightly --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library
.PHONY: sanitize
sanitize: ## Rust tests under AddressSanitizer and ThreadSanitizer, where there is a nightly toolchain
	if ! cargo +nightly --version >/dev/null 2>&1; then \
		echo "There is no nightly toolchain here (rustup toolchain install nightly): not checked."; \
	else \
		RUSTFLAGS="-Zsanitizer=address" ASAN_OPTIONS=detect_leaks=0 CARGO_TARGET_DIR=target/address \
			cargo +nightly nextest run $(SANITIZED) --locked --target $(HOST); \
		if [ -d "$(NIGHTLY_SOURCE)" ]; then \
			RUSTFLAGS="-Zsanitizer=thread" CARGO_TARGET_DIR=target/thread \
				TSAN_OPTIONS="suppressions=$(CURDIR)/tools/thread_sanitizer.txt" \
				cargo +nightly nextest run $(SANITIZED) --locked -Zbuild-std --target $(HOST); \
		else \
			echo "The nightly toolchain has no rust-src (rustup component add rust-src" \
				"--toolchain nightly): not checked for races."; \
		fi; \
	fi

# Each test has its watchdogs; the one here is for the end of the run.
.PHONY: test-python
test-python: build ## pytest on the oldest Python found (ARGS="-k name" selects)
	timeout --foreground --kill-after=10 1800 $(BIN)/python -m pytest $(ARGS)

.PHONY: test-newest
test-newest: ## what depends on the Python, on the newest one found, if it is another one
	if [ "$(PYTHON)" = "$(PYTHON_NEWEST)" ]; then \
		echo "$(PYTHON) is the only suitable Python here: already tested."; \
	else \
		$(MAKE) --no-print-directory VENV=$(VENV_NEWEST) PYTHON="$(PYTHON_NEWEST)" \
			ARGS='-m "not any_python" $(ARGS)' test-python; \
	fi

.PHONY: test-conformance
test-conformance: ## CPython 3.13's own tests, where there is a CPython 3.13
	if $(FIND_PYTHON) 3.13 >/dev/null 2>&1; then \
		$(MAKE) --no-print-directory conformance; \
	else \
		echo "There is no CPython 3.13 here, whose own tests are run on ours: not tested."; \
	fi

.PHONY: bench
bench: ## measure against the standard library and peers, in one run (ARGS="--quick" for a look)
	$(MAKE) --no-print-directory VENV=$(VENV_NEWEST) PYTHON="$(PYTHON_NEWEST)" bench-python
	cargo bench --locked -p manyhands --bench process_pool
	cargo bench --locked -p manyhands-sync --bench locks

.PHONY: bench-python
bench-python: build $(VENV)/.bench-installed
	$(BIN)/python benches/run.py $(ARGS)

# CPython's own tests run in virtual environments of their own: a .pth file there puts ours into
# every interpreter that the tests start. Of 3.11 no test of concurrent.futures is installed, and of
# multiprocessing's no suites: conformance/mp_*.py are those.
# (SUITES="test.test_queue" ARGS="--match Lifo" selects)
#
# CPython 3.13 is most often the newest one, whose environment is there then.
CONFORMANCE = $(if $(filter $(PYTHON_CONFORMANCE),$(PYTHON_NEWEST)),$(VENV_NEWEST),.conformance/build)
SUITES := test.test_multiprocessing_spawn test.test_multiprocessing_forkserver \
	test.test_multiprocessing_fork test.test_concurrent_futures test.test_threading \
	test.test_multiprocessing_main_handling test.test_queue test.test_threading_local
.PHONY: conformance conformance-3.11
conformance: ## CPython 3.13's own tests of what we replace, on ours
	$(MAKE) --no-print-directory VENV=$(CONFORMANCE) PYTHON="$(PYTHON_CONFORMANCE)" \
		PROFILE=tested build
	$(CONFORMANCE)/bin/python conformance/run.py --shim manyhands_shim --jobs 2 --readme README.md \
		$(addprefix --exclude ,$(wildcard conformance/*.exclude.txt)) $(ARGS) $(SUITES)

conformance-3.11: SUITES := test.test_queue test.test_threading test.test_threading_local \
	mp_fork mp_spawn mp_forkserver test.test_multiprocessing_main_handling
conformance-3.11: CONFORMANCE := .conformance/build-3.11
conformance-3.11: PYTHON_CONFORMANCE = $(shell $(FIND_PYTHON) 3.11)
conformance-3.11: conformance ## CPython 3.11's own tests of what we replace, on ours

.PHONY: docs
docs: $(VENV)/.docs-installed ## build the user guide into site/, warnings are errors
	$(BIN)/mkdocs build --strict
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

.PHONY: clean
clean: ## remove everything that was built or installed here
	rm -rf $(VENV) $(VENV_NEWEST) .conformance target site .pytest_cache .ruff_cache .mypy_cache
	rm -f python/manyhands/*.so
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# One target folder per Python: PyO3 depends on the interpreter, and sharing a folder would
# rebuild it at every change of venv.
define build_into
	PYO3_PYTHON="$(CURDIR)/$(1)/bin/python" VIRTUAL_ENV="$(CURDIR)/$(1)" \
		"$(1)/bin/maturin" develop --profile $(PROFILE) --locked --target-dir \
		"$${CARGO_TARGET_DIR:-target}/$$($(1)/bin/python -c 'import sys; print(sys.implementation.cache_tag)')"
endef

%/.installed: requirements-dev.txt
	@test -n "$(PYTHON)" || exit 1
	"$(PYTHON)" -m venv --clear $*
	$*/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

%/.bench-installed: requirements-bench.txt %/.installed
	$*/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

%/.docs-installed: requirements-docs.txt %/.installed
	$*/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@
