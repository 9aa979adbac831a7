# Everything that is done with this tree, for people and for CI alike. make
# alone lists the targets. Tools and stand-ins go below .tools, nothing is
# installed that is there already, nothing is built that is up to date.

GOLANGCI_LINT_VERSION := v2.12.2
GOVULNCHECK_VERSION   := v1.1.4

# What may be given on the command line: make run ARGS='--config my.yaml'.
ARGS        ?=
TESTFLAGS   ?=
FUZZTIME    ?= 20s
FUZZ        ?= .
BENCH       ?= .
# Measures the whole server; gets "-json FILE" for its figures.
BENCH_PROGRAM ?= ./cmd/camwire/bench
SOAK        ?= 10m

# A log that names every test can be counted.
ifdef CI
TESTFLAGS += -v
endif

NODE_BIN := $(CURDIR)/.tools/node/node_modules/.bin
export PATH := $(NODE_BIN):$(PATH)
# The linter's cache remembers paths: two clones must not share one.
export GOLANGCI_LINT_CACHE := $(CURDIR)/.tools/lint-cache

LINT         := .tools/golangci-lint-$(GOLANGCI_LINT_VERSION)/golangci-lint
NODE_MODULES := frontend/node_modules/.package-lock.json
PAGES        := frontend/dist/index.html
# Folders are among them: removing a file changes only its folder's time.
PAGE_SOURCES := $(shell find frontend -mindepth 1 \
	\( -name node_modules -o -path frontend/dist -o -path frontend/placeholder \) -prune -o ! -name '*.go' -print)

E2E := ./cmd/camwire/e2e

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Two compilers and a browser at a time help nobody; the Go tool is parallel by itself.
.NOTPARALLEL:
.PHONY: help run build frontend check vet lint unit test race e2e fuzz bench soak vuln dist fmt deps deps-test clean distclean

help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## build and start Camwire with live pictures (ARGS='--config FILE')
	bin/camwire run $(ARGS)

build: deps $(PAGES) ## build the pages and bin/camwire
	go build -o bin/camwire ./cmd/camwire

frontend: deps $(PAGES) ## build the pages alone

check: build vet lint unit ## build, vet, lint, quick tests: before each commit

# The linter comes last: a complaint about style must not hide a failing test.
test: build vet race e2e lint ## every test, race detector on, end to end with ffmpeg and Chromium

# Without cgo there is no codec work, but still a server that passes streams on.
vet: deps
	go vet ./...
	CGO_ENABLED=0 go build -o /dev/null ./cmd/camwire

lint: deps $(LINT) $(NODE_MODULES) ## golangci-lint, type check and lint of the pages
	$(LINT) run ./...
	cd frontend && npm run --silent check

# Tests that need more than a few seconds leave themselves out under -short.
unit: deps $(NODE_MODULES)
	go test -short -timeout 3m $(TESTFLAGS) ./...
	cd frontend && npm run --silent test

# The tests with a USB camera keep their kernel below .tools.
race: deps-test
	CAMWIRE_VM_CACHE='$(CURDIR)/.tools/vm' go test -race -timeout 12m $(TESTFLAGS) $$(go list ./... | grep -v '/cmd/camwire/e2e')
	cd frontend && npm run --silent test

e2e: build deps-test ## the end-to-end tests alone (TESTFLAGS='-v -run Name')
	CHROMIUM="$$(.ci/deps chromium)" CAMWIRE_VM_CACHE='$(CURDIR)/.tools/vm' go test -count=1 -timeout 15m $(TESTFLAGS) $(E2E)/...

fuzz: deps ## run each fuzz target for FUZZTIME=20s (FUZZ=pattern chooses)
	.ci/fuzz '$(FUZZTIME)' '$(FUZZ)'

bench: build deps-test ## benchmarks: a table here, figures in .bench (BENCH=pattern)
	.ci/bench '$(BENCH)'
ifneq ($(wildcard $(BENCH_PROGRAM)/*.go),)
	CHROMIUM="$$(.ci/deps chromium)" CAMWIRE_VM_CACHE='$(CURDIR)/.tools/vm' go run $(BENCH_PROGRAM) -json .bench/program.json
endif

soak: build ## torture a running server for SOAK=10m and watch its memory
	go run ./cmd/camwire/soak -bin bin/camwire -for '$(SOAK)'

vuln: deps ## look for known vulnerabilities in what the program calls (needs the internet)
	.ci/vuln '$(GOVULNCHECK_VERSION)'

dist: build ## archives for a release in bin/dist, with checksums
	.ci/dist

fmt: deps $(LINT) ## format the Go code
	$(LINT) fmt ./...

deps: ## install what building needs, if it is missing
	@.ci/deps build

deps-test: deps $(NODE_MODULES) ## install what testing needs, if it is missing
	@.ci/deps test

clean: ## remove what was built
	rm -rf bin .bench frontend/node_modules
	find frontend/dist -mindepth 1 ! -name .gitkeep -delete

distclean: clean ## remove the fetched tools too
	rm -rf .tools

# npm writes this file last; it is older than the lock file after an update.
$(NODE_MODULES): frontend/package-lock.json frontend/package.json frontend/.npmrc
	cd frontend && npm ci --include=dev --loglevel=error
	@touch $@

$(PAGES): $(NODE_MODULES) $(PAGE_SOURCES)
	cd frontend && npm run --silent build
	@touch $@

$(LINT):
	@echo 'building golangci-lint $(GOLANGCI_LINT_VERSION), once: a few minutes'
	GOBIN='$(CURDIR)/$(@D)' go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
