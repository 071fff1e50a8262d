# What a developer types, and what .ci/run calls. Bare `make` explains itself.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

GO ?= go
BIN      := bin
ONLY     ?= redis,rabbit,kafka# brokers that `make test` and `make bench` start
BROKERS  ?= redis,rabbit,kafka# brokers that `make brokers` starts
PKGS     ?= ./...#        packages that test, bench and fuzz look at
FUZZTIME ?= 30s#          per fuzz target
BENCH    ?= .#            benchmarks to run, a regular expression
TESTARGS ?=#              more flags for go test, such as -run=TestX -count=1
TIMEOUT  ?= 20m#          per package
REQUIRE  ?=#              prometheus: its absence fails tests, as that of a broker does

GOLANGCI_VERSION    := v2.12.2
GOVULNCHECK_VERSION := v1.1.4

only  := $(subst $() ,,$(ONLY))
# What is measured in part is not written.
page  := $(if $(filter-out .,$(BENCH))$(filter-out ./...,$(PKGS))$(TESTARGS),,-page docs/benchmarks.md)
tests  = $(GO) test -json -timeout=$(TIMEOUT) $(TESTARGS)

##@ Every day

.PHONY: help
help: ## print this
	@awk 'BEGIN {FS = ":.*## "} {gsub(/\$$\$$/, "$$")} \
		/^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\nVariables, as in `make test PKGS=./codec/...`\n'
	@awk '/^[A-Z]+ +\?=.*#/ {name = $$1; sub(/^[^=]*= */, ""); split($$0, a, / *# */); \
		printf "  %-13s %s%s\n", name, a[2], a[1] == "" ? "" : " (" a[1] ")"}' $(MAKEFILE_LIST)

.PHONY: check
check: lint test ## everything that must be right before a commit: lint, test

.PHONY: fmt
fmt: $(BIN)/golangci-lint ## format the code (gofumpt, imports in groups)
	$(BIN)/golangci-lint fmt ./...

.PHONY: test
test: $(BIN)/testsummary cc ## run all tests with the race detector and the brokers of ONLY
	LEAT_TEST_REQUIRE=$(only),$(REQUIRE) $(GO) run ./integration/cmd/brokers run -only=$(only) -- \
		$(tests) -race $(PKGS) | $(BIN)/testsummary

.PHONY: test-unit
test-unit: $(BIN)/testsummary cc ## run the tests that need no broker, with the race detector
	$(tests) -race $(PKGS) | $(BIN)/testsummary

##@ Brokers

.PHONY: brokers
brokers: ## start the brokers of BROKERS and leave them up: eval "$$(make -s brokers)"
	@$(GO) run ./integration/cmd/brokers up -only=$(subst $() ,,$(BROKERS))

.PHONY: brokers-down
brokers-down: ## stop what `make brokers` started
	@$(GO) run ./integration/cmd/brokers down

##@ Quality

.PHONY: lint
lint: $(BIN)/golangci-lint ## format, vet, golangci-lint, go.mod, generated files, what each package links
	@.ci/lint

.PHONY: cover
cover: ## measure which statements the tests reach; writes coverage.html
	$(GO) test -timeout=$(TIMEOUT) -coverpkg=./... -coverprofile=coverage.out $(TESTARGS) $(PKGS)
	$(GO) tool cover -html=coverage.out -o coverage.html
	@$(GO) tool cover -func=coverage.out | tail -n 1

.PHONY: bench
bench: $(BIN)/benchtable ## run the benchmarks of PKGS that match BENCH, with ratios; all of them: write docs/benchmarks.md
	@LEAT_TEST_REQUIRE=$(only) $(GO) run ./integration/cmd/brokers run -only=$(only) -- \
		$(GO) test -run='^$$' -bench='$(BENCH)' -benchmem -timeout=60m $(TESTARGS) $(PKGS) | $(BIN)/benchtable $(page)

.PHONY: fuzz
fuzz: ## run every fuzz target of PKGS for FUZZTIME
	@for pkg in $$($(GO) list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' $(PKGS)); do \
		dir=$$($(GO) list -f '{{.Dir}}' $$pkg); \
		grep -qs '^func Fuzz' $$dir/*_test.go || continue; \
		for target in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' $$dir/*_test.go | cut -c6-); do \
			echo "== $$pkg $$target"; \
			$(GO) test -run='^$$' -fuzz="^$$target\$$" -fuzztime=$(FUZZTIME) $$pkg || exit 1; \
		done; \
	done

.PHONY: vuln
vuln: $(BIN)/govulncheck ## look for known vulnerabilities (needs the network)
	@.ci/vuln

##@ Housekeeping

.PHONY: generate
generate: ## write the generated files anew
	$(GO) generate ./...

.PHONY: tools
tools: $(BIN)/golangci-lint $(BIN)/govulncheck $(BIN)/testsummary ## put the pinned tools into ./bin

# The race detector needs a C compiler. Debian has none by default.
.PHONY: cc
cc:
	@command -v $${CC:-gcc} >/dev/null || .ci/debian gcc libc6-dev

$(BIN)/golangci-lint: .golangci.yml
	@test -x $@ && $@ version 2>/dev/null | grep -qF '$(GOLANGCI_VERSION:v%=%)' || { \
		echo "building golangci-lint $(GOLANGCI_VERSION) into ./bin: minutes, once"; \
		GOBIN=$(CURDIR)/$(BIN) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION); }
	@touch $@

$(BIN)/govulncheck: Makefile
	GOBIN=$(CURDIR)/$(BIN) $(GO) install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)
	@touch $@

.PHONY: $(BIN)/testsummary $(BIN)/benchtable
$(BIN)/testsummary $(BIN)/benchtable:
	@$(GO) build -o $@ ./integration/cmd/$(@F)
