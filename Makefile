# Sluice. `make check test` need Go alone; `make e2e` uses real servers and skips what is not installed (E2E=require: fails).
GO      ?= go
GUESTS  := stable-speed label-remap reshape
DIST    := wasm-modules/dist
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

.PHONY: all build modules check test race fuzz crash e2e bench run clean
all: build modules

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/sluice ./cmd/sluice

check:
	@test -z "$$(gofmt -l .)" || { echo 'gofmt would change:'; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff

test:
	$(GO) test ./...

race:
	$(GO) test -race ./...
