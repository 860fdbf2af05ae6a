# Errand: `make` lists the targets.
SHELL := /bin/sh
GO ?= go
LINT := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
# The race detector needs a C compiler; CI always has one.
RACE := $(shell command -v gcc >/dev/null 2>&1 || command -v clang >/dev/null 2>&1 && echo -race)
# BROWSER=1 adds the tests of the web UI in a real browser (needs chromium).
TAGS := $(if $(BROWSER),-tags browser,)
# How many packages are tested at once: most of the time a test waits, so one more than cores.
PACKAGES := $(shell echo $$(($$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2) + 1)))
VERSION ?= dev
LDFLAGS := -s -w -X errand.internal/internal/buildinfo.Version=$(VERSION) -X errand.internal/internal/buildinfo.Commit=$(shell git rev-parse --short HEAD 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help demo up run build client test test/faults bench lint golden golden-check tidy tidy-check verify redis promtool languages postgres hooks

# The recipe in it has a module of its own, so that no producer needs its dependencies.
OUTBOX := docs/outbox

help: ## list the targets
	@grep -hE '^[a-z/-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: ## play the story, then serve the web UI: nothing to install
	$(GO) run ./cmd/demo

up: ## start worker, Redis and vendor sandbox in containers
	docker compose --profile demo up --build

run: ## run a worker with the settings in .env
	@test -f .env || { echo "no .env here: cp .env.example .env and fill it in"; exit 1; }
	set -a && . ./.env && set +a && exec $(GO) run ./cmd/worker

build: ## build bin/worker and bin/enqueue
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/worker ./cmd/enqueue

OAPI := github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.5.0
CLIENT := internal/httpapi/apiclient

client: ## generate the Go client of docs/openapi.json that the tests use
	$(GO) run $(OAPI) -generate types,client -package apiclient -o $(CLIENT)/client.gen.go \
		-include-operation-ids enqueue-danaconnect-otp-send,get-task,cancel-task \
		docs/openapi.json
	sha256sum <docs/openapi.json | cut -d' ' -f1 >$(CLIENT)/openapi.sha256

redis: # the tests need a real redis-server
	@./.ci/need redis-server

promtool: # the tests of the alert rules need promtool
	@./.ci/need promtool

languages: # the tests run the snippets of docs/producing.md, and shells complete
	@for program in curl python3 node php zsh; do ./.ci/need $$program || exit 1; done

postgres: # the tests of docs/outbox start one
	@./.ci/need postgres

test: redis promtool languages postgres ## run all tests (installs the programs that they need, such as redis-server, if they are missing)
	$(GO) test $(RACE) $(TAGS) -p $(PACKAGES) -timeout 20m ./...
	cd $(OUTBOX) && $(GO) test $(RACE) ./...

test/faults: redis ## run the long fault suite: kills, restarts, Redis trouble (about half an hour)
	packages=$$($(GO) list ./...) && FLEET_LONG=1 $(GO) test -count=1 -v -timeout 85m \
		$$(echo "$$packages" | grep '/faults$$') ./internal/fleet ./internal/events ./internal/httpapi

bench: redis ## run the benchmarks, as ratios against plain asynq where there is one
	$(GO) test -run '^$$' -bench . -benchtime 1x -timeout 60m ./internal/bench
	$(GO) test -run '^$$' -bench . -benchmem ./clients ./internal/app ./internal/seal ./internal/tokens

lint: ## run golangci-lint, pinned
	$(LINT) run ./...
	cd $(OUTBOX) && $(LINT) run ./...

golden: ## rewrite golden files, .env.example and the README's tables; review the diff
	UPDATE_GOLDEN=1 $(GO) test -count=1 -run '^TestGolden' ./...

golden-check: redis # fail if make golden would change anything (make test does too)
	$(GO) test -run '^TestGolden' ./...

tidy: ## tidy go.mod and go.sum of both modules
	$(GO) mod tidy
	cd $(OUTBOX) && $(GO) mod tidy

tidy-check: # fail if go.mod or go.sum are not tidy, or a file is not formatted
	$(GO) mod tidy -diff
	cd $(OUTBOX) && $(GO) mod tidy -diff
	@test -z "$$(gofmt -l .)" || { echo "not formatted (gofmt -w):"; gofmt -l .; exit 1; }

verify: tidy-check lint test ## what CI runs

hooks: ## check tidiness and golden files before every commit
	git config core.hooksPath .ci/hooks
