# Sluice. `make check test` need Go alone. `make e2e` uses real servers: what is not installed is skipped with the command
# that installs it, and fails under E2E=require.
GO       ?= go
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
FUZZTIME ?= 30s
SEEDS    ?= 1000000
SEED     ?= 100000

.PHONY: all build check test race fuzz explore mutants crash crash-ledger e2e bench run clean
all: build modules

build: ## bin/sluice: one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/sluice ./cmd/sluice

include wasm-modules/modules.mk

check: ## gofmt, vet, staticcheck, tidy, layout; govulncheck where its database can be reached
	@test -z "$$(gofmt -l .)" || { echo 'gofmt would change:'; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff
	$(GO) test -count=1 ./tests
	@out=$$($(GO) run golang.org/x/vuln/cmd/govulncheck@v1.1.4 ./... 2>&1) || { \
		case "$$out" in *'fetching vulnerabilities'*) echo 'govulncheck: its database is out of reach, not checked';; *) echo "$$out"; exit 1;; esac; }

test: ## unit and in-process tests, Go alone
	$(GO) test ./...

race:
	$(GO) test -race -short ./...

explore: ## SEEDS schedules of the simulation, from SEED on; `make test` plays 110,000
	$(GO) test -count=1 -timeout 0 -v -run TestSchedules ./tests/simulation -schedules $(SEEDS) -seed $(SEED)

fuzz: ## every fuzz target for FUZZTIME
	@for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
		done; \
	done

mutants: ## the bridge with one rule broken after another: the tests have to notice each
	MUTANTS=1 $(GO) test -count=1 -timeout 0 -v -run TestMutants ./tests/mutants

crash-ledger: ## the ledger cut, garbled and killed, repeatedly
	$(GO) test -count=3 -run 'Crash|Cut|Kill' ./bridge/ledger

crash: crash-ledger build ## the bridge, its broker and its store broken a hundred times each; prints a table. Disks take root
	E2E=$(or $(E2E),1) CRASH_KILLS=100 CRASH_CUTS=100 CRASH_RESTARTS=20 CRASH_ROUNDS=5 CRASH_SILENCES=5 CRASH_FULL=60 CRASH_HANG=30 \
		$(GO) test -count=1 -timeout 3h -parallel 4 -v ./tests/crash
	SWAPS=100 SWAP_RECORDS=1000000 $(GO) test -count=1 -timeout 20m -v -run TestSwapUnderLoad ./cmd/sluice

e2e: build modules ## real ReductStore and Mosquitto; E2E=require fails on what is missing
	E2E=$(or $(E2E),1) $(GO) test -count=1 -timeout 40m -v -run . ./tests/e2e ./bridge/reduct ./bridge/mqtt ./tests/guests
	E2E=$(or $(E2E),1) $(GO) test -count=1 -timeout 20m -parallel 4 -v ./tests/crash

bench: build modules ## ratios in one run; see tests/bench/RESULTS.md
	E2E=$(or $(E2E),1) $(GO) test -run '^$$' -bench . -benchtime 1x -timeout 2h ./tests/bench

run: build modules ## a simulated site, an embedded broker and the bridge between them, until Ctrl-C
	bin/sluice demo --config config.toml

clean:
	rm -rf bin wasm-modules/dist
