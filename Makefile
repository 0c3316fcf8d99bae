# SPDX-License-Identifier: LGPL-3.0-only

# make demo     the main job, step by step, on the embedded instance
# make check    every test, lint included
# make install  PREFIX=/usr/local DESTDIR=

PREFIX ?= /usr/local
DESTDIR ?=
SWIFT ?= swift
STATIC = -c release --static-swift-stdlib -Xswiftc -static-stdlib

.PHONY: all build release demo check test lint format fuzz benchmark install clean deps

all: build

# Debug: build/flux-delegate and build/delegate.so, quick to make.
build:
	$(SWIFT) build
	@scripts/collect debug

# Release, self-contained: nothing of Swift is needed where they run.
release:
	$(SWIFT) build $(STATIC) --product delegate --scratch-path .build-release
	$(SWIFT) build $(STATIC) --product flux-delegate --scratch-path .build-release
	@scripts/collect release

deps:
	@scripts/deps

demo: deps build
	@scripts/demo

check: deps lint build
	scripts/check

test: build
	$(SWIFT) test

lint:
	$(SWIFT) format lint --strict --parallel --recursive Package.swift Sources Tests Benchmarks Fuzz
	scripts/lint-sources

format:
	$(SWIFT) format --in-place --parallel --recursive Package.swift Sources Tests Benchmarks Fuzz

fuzz:
	scripts/fuzz 60

benchmark: release
	scripts/benchmark

install: release
	install -D -m 755 build/flux-delegate $(DESTDIR)$(PREFIX)/bin/flux-delegate
	install -d $(DESTDIR)$(PREFIX)/libexec/flux/cmd
	ln -sf ../../../bin/flux-delegate $(DESTDIR)$(PREFIX)/libexec/flux/cmd/flux-delegate
	install -D -m 755 build/delegate.so $(DESTDIR)$(PREFIX)/lib/flux/job-manager/plugins/delegate.so
	install -D -m 644 docs/man/flux-delegate.1 $(DESTDIR)$(PREFIX)/share/man/man1/flux-delegate.1

clean:
	rm -rf .build .build-release build
