# roomd: the whole workshop. `make help` lists what there is.

GO          ?= go
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 20s
RUNS        ?= 3
PREFIX      ?= /usr/local

.PHONY: help run build install test check fmt vet lint cross fuzz bench bench-peers microbench

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## start the server with ./config.toml
	$(GO) run ./cmd/roomd serve

build: ## build bin/roomd
	$(GO) build -o bin/roomd ./cmd/roomd

install: build ## install the binary under PREFIX (default /usr/local)
	install -D -m 0755 bin/roomd $(DESTDIR)$(PREFIX)/bin/roomd

test: ## run all tests with the race detector
	$(GO) test -race ./...

check: fmt vet lint cross test ## everything that must hold: format, vet, staticcheck, other systems, tests

fmt:
	@files=$$(gofmt -l .); test -z "$$files" || { echo "gofmt would change:"; echo "$$files"; exit 1; }

vet:
	$(GO) vet ./...

lint:
	$(GO) run $(STATICCHECK) ./...

cross:
	GOOS=linux GOARCH=arm64 $(GO) build -o /dev/null ./cmd/roomd
	GOOS=darwin $(GO) build -o /dev/null ./cmd/roomd
	GOOS=freebsd $(GO) build -o /dev/null ./cmd/roomd

fuzz: ## run each fuzz target for FUZZTIME (default 20s)
	@for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
		done; \
	done

bench: build ## measure roomd over its sockets in the standard shapes (bin/roomd bench --help)
	bin/roomd bench --runs $(RUNS)

bench-peers: build ## the same, side by side with redis-server and nats-server; writes docs/performance.md
	bin/roomd bench --runs $(RUNS) --peers --write docs/performance.md

microbench: ## measure parts: the store, the log, a room's deliveries, starting with many rooms
	$(GO) test -run '^$$' -bench . -benchmem ./...
