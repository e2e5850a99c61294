# Two commands set everything up on a fresh Debian machine: `make demo` shows wiesel at work, `make test` proves it.
#
# Each installs the Debian packages that are missing where it may (as root), and prints the line to run where it may not. Everything
# past that is Rust: `cargo xtask`. librocksdb-dev is not among the packages: state is restored into memory today, nothing links the
# store, and what is not linked is not installed.

.PHONY: help demo test bench packages-build
.ONESHELL:
.SILENT:
SHELL := /bin/sh
.SHELLFLAGS := -eu -c

help:
	echo 'make demo   build wiesel (release) and run it on generated payments'
	echo 'make test   every test, against real servers that it obtains and starts by itself'
	echo 'make bench  wiesel and Apache Flink on the same topic, side by side; writes bench/RESULTS.md'

# A C compiler, make and pkg-config build librdkafka; without them and without the right to install them nothing can be built.
packages-build:
	if ! command -v cargo >/dev/null; then
	    echo 'Rust is missing; install it with the line of https://rustup.rs and open a new shell' >&2
	    exit 1
	fi
	missing=''
	if ! command -v cc >/dev/null || ! command -v make >/dev/null; then missing="$$missing build-essential"; fi
	if ! command -v pkg-config >/dev/null; then missing="$$missing pkg-config"; fi
	if ! pkg-config --exists openssl 2>/dev/null; then missing="$$missing libssl-dev"; fi
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	    echo "installing$$missing"
	    apt-get update -qq
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null
	elif [ -n "$$missing" ]; then
	    echo "missing on this machine:$$missing" >&2
	    echo "to install:  sudo apt-get install -y --no-install-recommends$$missing" >&2
	fi
	if ! command -v cc >/dev/null || ! command -v make >/dev/null; then exit 1; fi

demo: packages-build
	features=''
	if ! pkg-config --exists openssl 2>/dev/null; then
	    echo 'libssl-dev is missing: building without Kafka; the demo does not need it, your own jobs will' >&2
	    features='--no-default-features'
	fi
	cargo build --release --package wiesel $$features
	"$${CARGO_TARGET_DIR:-target}/release/wiesel" demo

# Maven, a JDK and PostgreSQL are installed by the harness itself when a test needs them.
test: packages-build
	if ! pkg-config --exists openssl 2>/dev/null; then exit 1; fi
	cargo xtask test

bench: packages-build
	if ! pkg-config --exists openssl 2>/dev/null; then exit 1; fi
	cargo xtask bench
