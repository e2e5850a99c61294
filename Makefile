# Two commands set everything up on a fresh Debian machine: `make demo` shows wiesel at work, `make test` proves it.
#
# Each installs the Debian packages that are missing where it may (as root), and prints the line to run where it may not. Everything
# past that is Rust: `cargo xtask`.

.PHONY: help demo test bench packages-build
.ONESHELL:
.SILENT:
SHELL := /bin/sh
.SHELLFLAGS := -eu -c

help:
	echo 'make demo   build wiesel (release) and run it on generated payments'
	echo 'make test   every test, against real servers that it obtains and starts by itself'
	echo 'make bench  wiesel and Apache Flink on the same topic, side by side; writes bench/RESULTS.md'

# A C compiler, make and pkg-config build librdkafka; without them and without the right to install them nothing can be built. OpenSSL
# and RocksDB are Debian's; a program without them has no Kafka, or no state larger than memory.
packages-build:
	if ! command -v cargo >/dev/null; then
	    echo 'Rust is missing; install it with the line of https://rustup.rs and open a new shell' >&2
	    exit 1
	fi
	missing=''
	if ! command -v cc >/dev/null || ! command -v make >/dev/null; then missing="$$missing build-essential"; fi
	if ! command -v pkg-config >/dev/null; then missing="$$missing pkg-config"; fi
	if ! pkg-config --exists openssl 2>/dev/null; then missing="$$missing libssl-dev"; fi
	if [ ! -e /usr/include/rocksdb/c.h ]; then missing="$$missing librocksdb-dev"; fi
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
	if pkg-config --exists openssl 2>/dev/null; then
	    features="$$features kafka"
	else
	    echo 'libssl-dev is missing: building without Kafka; the demo does not need it, your own jobs will' >&2
	fi
	if [ -e /usr/include/rocksdb/c.h ]; then
	    features="$$features rocksdb"
	else
	    echo 'librocksdb-dev is missing: building without it; state larger than memory then ends a job' >&2
	fi
	cargo build --release --package wiesel --no-default-features --features "$$features"
	"$${CARGO_TARGET_DIR:-target}/release/wiesel" demo

# Maven, a JDK and PostgreSQL are installed by the harness itself when a test needs them.
test: packages-build
	if ! pkg-config --exists openssl 2>/dev/null || [ ! -e /usr/include/rocksdb/c.h ]; then exit 1; fi
	cargo xtask test

bench: packages-build
	if ! pkg-config --exists openssl 2>/dev/null || [ ! -e /usr/include/rocksdb/c.h ]; then exit 1; fi
	cargo xtask bench
