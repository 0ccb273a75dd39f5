# The ways to run Fleetkey's code from a clone. On a bare Debian 12 each needs a Rust toolchain, and root or sudo: the
# tests make users, namespaces and whole boxes, none of which are this machine's own.
#
#   make cloud    a small EC2 on this machine, and a shell in it
#   make demo     a person joins and leaves a group; watch a box follow. Then launch one, image it, bring it back
#   make test     all tests
#   make check    all else that has to hold: format, lints, documentation, licences, shell, unit
#   make packages a .deb and an .rpm each of the agent and the controller, for glibc 2.17 and later
#   make bench    the numbers of the README; BENCH_OPTIONS=--quick for fewer, --help for what else there is
#   make fuzz     each fuzz target for FUZZ_SECONDS
#   make deps     the Debian packages that the above need; silent when none is missing
#   make clean    what the above have made here (the cache in ~/.cache/fleetkey stays)

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

FUZZ_SECONDS ?= 60
# The most that `systemd-analyze security` may say of the agent's unit, in tenths.
EXPOSURE := 30

CARGO ?= cargo
HOST = $(shell rustc --version --verbose | sed -n 's/^host: //p')
# Cargo runs what it has built through this: building needs no root, the tests do.
RUNNER = CARGO_TARGET_$(shell tr 'a-z-' 'A-Z_' <<<'$(HOST)')_RUNNER
ROOT = $(shell test "$$(id -u)" = 0 || echo sudo --preserve-env)
# All is built with --workspace and run from there: what another choice of packages builds, it builds anew.
TARGET = $(or $(CARGO_TARGET_DIR),target)
AS_ROOT = $(if $(ROOT),env $(RUNNER)='$(ROOT)')
VENV = FLEETKEY_TEST_VENV=$$(tests/prepare); export FLEETKEY_TEST_VENV
SCRIPTS = $(shell git ls-files | xargs grep -lE '^\#!/bin/(ba)?sh')

.PHONY: cloud demo test check packages bench fuzz deps deps-check clean

cloud: deps
	$(VENV); $(CARGO) build --quiet --workspace --bins; \
	$(ROOT) $(TARGET)/debug/fleetkey-localcloud run

demo: deps
	$(VENV); $(CARGO) build --quiet --workspace --bins; $(ROOT) $(TARGET)/debug/demo

# The integration tests come last: their line is the last one.
test: deps
	$(VENV); $(CARGO) build --workspace --bins; \
	$(AS_ROOT) $(CARGO) test --quiet --workspace --lib --bins; \
	$(CARGO) test --quiet --workspace --doc; \
	$(AS_ROOT) $(CARGO) test --workspace --test cloud; \
	$(AS_ROOT) $(CARGO) test --workspace --test boxes; \
	$(AS_ROOT) $(CARGO) test --workspace --test pages; \
	$(AS_ROOT) $(CARGO) test --workspace --test integration

check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --quiet --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --quiet --workspace --no-deps
	if command -v cargo-deny >/dev/null; then $(CARGO) deny --log-level error check licenses bans sources; \
	else echo 'cargo-deny is not installed (make deps-check): licences and versions are not checked' >&2; fi
	shellcheck $(SCRIPTS)
	systemd/verify $(EXPOSURE)

packages: deps
	CARGO=$(CARGO) packaging/make

bench: deps
	$(VENV); FLEETKEY_BENCH_VENV=$$(tests/prepare bench); export FLEETKEY_BENCH_VENV; \
	$(CARGO) build --release --workspace --bins; \
	$(ROOT) $(TARGET)/release/bench $(BENCH_OPTIONS); \
	$(if $(findstring --only,$(BENCH_OPTIONS))$(findstring --help,$(BENCH_OPTIONS)),:,$(ROOT) $(TARGET)/release/bench-boxes)

# cargo-fuzz wants a nightly compiler's options; the pinned one gives them when told to.
fuzz: deps
	command -v cargo-fuzz >/dev/null || $(CARGO) install cargo-fuzz --locked
	export RUSTC_BOOTSTRAP=1; cd tests; for target in $$($(CARGO) fuzz list); do mkdir -p fuzz/corpus/$$target; \
	$(CARGO) fuzz run "$$target" "fuzz/corpus/$$target" "fuzz/seeds/$$target" -- -max_total_time=$(FUZZ_SECONDS); done

deps:
	tests/deps

# Three minutes on one core, so not a part of deps.
deps-check:
	command -v cargo-deny >/dev/null || $(CARGO) install cargo-deny --locked

clean:
	$(CARGO) clean
	rm -rf tests/fuzz/target
