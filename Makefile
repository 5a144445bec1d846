# Everything is a Go command; these are their short names.
SHELL   := /bin/bash
GO      ?= go
GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
ACTIONLINT    := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
GOVULNCHECK   := golang.org/x/vuln/cmd/govulncheck@v1.9.0
MODULES  = $(shell $(GO) list -f '{{.Dir}}' -m)
SERVICES := users scheduling notifier
# Tests of what is no Go program. Outside of the workspace, where its dependencies would raise everybody's versions.
CHECKS   := $(CURDIR)/deploy/check
# The race detector needs a C compiler; without one the tests still run, and say so.
RACE    := $(if $(shell command -v gcc || command -v clang),-race)

.DEFAULT_GOAL := help
.PHONY: help run build bench chaos terraform vulnerabilities test race-note lint fmt generate fresh alone check released clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## the whole system on this machine: API on :8080, inbox on :8025, events on :4222
	@exec bin/healthmed

build: ## bin/healthmed (everything), bin/users, bin/scheduling, bin/notifier, bin/sesinbox, bin/healthmed-admin
	@mkdir -p bin
	@$(GO) build -o bin/healthmed ./deploy/standalone
	@$(GO) build -o bin/ ./deploy/sesinbox ./pkg/cmd/healthmed-admin $(foreach s,$(SERVICES),./services/$(s)/cmd/$(s))

bench: ## measure everything (a quarter of an hour); ARGS=--quick: two minutes; ARGS=--help shows the rest
	$(GO) run ./tests/load $(ARGS)

test: race-note ## unit, integration (real PostgreSQL, real JetStream) and end-to-end tests
	$(GO) test $(RACE) -shuffle=on -timeout 12m work
	@# What these read lies outside of their module, where the cache of results does not look.
	@cd $(CHECKS) && GOWORK=off $(GO) test -count=1 ./...

chaos: ## break the running system by a seeded schedule (CHAOS_ROUNDS, CHAOS_SEED) and check its promises
	@cd tests && $(GO) run ./fault/cmd/chaos

terraform: ## format, validate and test deploy/terraform, as far as this machine can (it says what it could not)
	@./deploy/terraform/check.sh

race-note:
	@[ -n "$(RACE)" ] || echo "No C compiler found: running without the race detector." >&2

lint: ## vet, golangci-lint (with the import walls) in every module, actionlint
	@$(GO) vet work
	@for d in $(MODULES); do (cd $$d && $(GO) run $(GOLANGCI_LINT) run ./...) || exit 1; done
	@cd $(CHECKS) && GOWORK=off $(GO) run $(GOLANGCI_LINT) run ./...
	@$(GO) run $(ACTIONLINT)

vulnerabilities: ## known ones that the programs reach (asks the Go vulnerability database)
	@for d in $(MODULES); do (cd $$d && GOWORK=off $(GO) run $(GOVULNCHECK) ./...) || exit 1; done

fmt: ## format every module
	@gofmt -w $(MODULES) $(CHECKS)

generate: ## code from openapi.yaml, the event contract's documents, docs/configuration.md
	@for d in $(MODULES); do (cd $$d && $(GO) generate ./...) || exit 1; done

# What differs from the last commit is compared before and after, so that edits under way don't count as stale.
DIFFERS  = { git diff; git ls-files --others --exclude-standard; } | sha256sum

fresh: ## fail when generated files or go.mod files are stale
	@before=$$($(DIFFERS)); $(MAKE) --no-print-directory generate && [ "$$before" = "$$($(DIFFERS))" ] || \
		{ git status --short; echo "generated files are stale: run 'make generate' and commit" >&2; exit 1; }
	@for d in $(MODULES) $(CHECKS); do (cd $$d && GOWORK=off $(GO) mod tidy -diff) || { echo "$$d/go.mod is stale: GOWORK=off go mod tidy" >&2; exit 1; }; done

alone: ## each module builds and vets without the workspace, as its image does
	@for d in $(MODULES) $(CHECKS); do (cd $$d && GOWORK=off $(GO) vet ./...) || exit 1; done

check: fmt-check lint fresh alone test ## everything that continuous integration runs

.PHONY: fmt-check
fmt-check:
	@out=$$(gofmt -l $(MODULES) $(CHECKS)); [ -z "$$out" ] || { echo "not formatted:"; echo "$$out"; exit 1; } >&2

released: ## at a release: today's migrations and REST documents are what the next release must not break
	@for s in $(SERVICES); do \
		cp services/$$s/internal/postgres/migrations/*.sql tests/upgrade/released/$$s/; \
		cp services/$$s/internal/api/openapi.yaml tests/rest/released/$$s.yaml; \
	done
	@mkdir -p tests/upgrade/released/keys
	@cp pkg/outbox/migrations/*.sql tests/upgrade/released/outbox/
	@cp pkg/auth/keystore/migrations/*.sql tests/upgrade/released/keys/
	@sed -i.bak '/^[^#]/d' tests/upgrade/released/contracts.txt && rm tests/upgrade/released/contracts.txt.bak

clean: ## remove built programs (data in .data stays)
	rm -rf bin
