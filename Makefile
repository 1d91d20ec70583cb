# roomd: the whole workshop. `make help` lists what there is.

GO          ?= go
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 20s
RUNS        ?= 3
LINES       ?= 1000000
PREFIX      ?= /usr/local
VERSION     ?= $(shell v=$$(git describe --tags --match 'v[0-9]*' 2>/dev/null) && echo $${v\#v} || git log -1 --format='%cd.%h' --date=format:%Y%m%d%H%M%S 2>/dev/null | sed "s/^/$$(cat cmd/roomd/VERSION)~/" | grep . || cat cmd/roomd/VERSION)
NFPM        ?= github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.0
SBOM        ?= github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
TARGETS     ?= linux/amd64 linux/arm64 linux/armv7 linux/386 linux/riscv64 darwin/amd64 darwin/arm64 freebsd/amd64
CONTAINER   ?= podman
PREVIOUS    ?= $(shell git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null || git rev-list --max-count=1 --skip=30 HEAD)
BIN         ?= bin
DOC         := $(PREFIX)/share/doc/roomd
packaging   := cmd/roomd/packaging
KILLS       ?= 2000
ABUSE       ?= 172000
FUZZTERMINAL ?= 10m

.PHONY: abuse api axe clients help run build man install deb rpm dist screenshots try-dist dist/image container try-container dist/previous.deb try-deb try-rpm upgrades test test-386 check fmt vet lint cross fuzz fuzz-terminal hostile storm soak bench bench-peers bench-growth microbench

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Not by "go run", which ends with an error after Ctrl-C.
run: build ## build bin/roomd, and start the server with ./config.toml
	@exec $(BIN)/roomd serve --config config.toml

# Without cgo the binary needs no C library of a certain age.
build: ## build bin/roomd
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-X main.release=$(VERSION)' -o $(BIN)/roomd ./cmd/roomd

man: ## make the man pages and the shell completions in bin/man
	rm -rf $(BIN)/man
	$(GO) run -tags man ./cmd/roomd man $(BIN)/man

install: build man ## install under PREFIX (default /usr/local) and /etc; DESTDIR is put before both
	install -D -m 0755 $(BIN)/roomd $(DESTDIR)$(PREFIX)/bin/roomd
	install -d $(addprefix $(DESTDIR)$(PREFIX)/,lib/systemd/system lib/sysusers.d share/man/man1 \
		share/bash-completion/completions share/zsh/site-functions share/fish/vendor_completions.d)
	sed 's|/usr/bin/|$(PREFIX)/bin/|' $(packaging)/roomd.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/roomd.service
	install -m 0644 $(packaging)/roomd.socket $(DESTDIR)$(PREFIX)/lib/systemd/system/
	install -m 0644 $(packaging)/sysusers.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/roomd.conf
	install -m 0644 $(BIN)/man/man1/* $(DESTDIR)$(PREFIX)/share/man/man1/
	install -m 0644 $(BIN)/man/bash/roomd $(DESTDIR)$(PREFIX)/share/bash-completion/completions/
	install -m 0644 $(BIN)/man/zsh/_roomd $(DESTDIR)$(PREFIX)/share/zsh/site-functions/
	install -m 0644 $(BIN)/man/fish/roomd.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/
	install -d $(DESTDIR)$(DOC)/docs/screenshots
	install -m 0644 README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE config.toml $(DESTDIR)$(DOC)/
	install -m 0644 docs/*.md docs/*.json $(DESTDIR)$(DOC)/docs/
	install -m 0644 docs/screenshots/* $(DESTDIR)$(DOC)/docs/screenshots/
	cp -R examples $(DESTDIR)$(DOC)/
	install -d $(DESTDIR)/etc/roomd
	@test -e $(DESTDIR)/etc/roomd/config.toml || { echo "installing /etc/roomd/config.toml"; \
		sed -e 's|^data = .*|data = "/var/lib/roomd/roomd.db"|' -e 's|^socket = .*|socket = "/run/roomd/roomd.sock"|' \
		-e 's|^group = .*|group = "roomd-admin"|' config.toml >$(DESTDIR)/etc/roomd/config.toml; }

deb: ## make a Debian package in dist
rpm: ## make an RPM package in dist
deb rpm:
	rm -rf dist/root
	$(MAKE) install DESTDIR=dist/root PREFIX=/usr
	VERSION='$(VERSION)' ARCH=$$($(GO) env GOARCH) \
		$(GO) run $(NFPM) package --config $(packaging)/nfpm.yaml --packager $@ --target dist/

dist: ## make the archives of a release for TARGETS in dist, with SHA256SUMS and lists of their parts (SBOM)
	GO='$(GO)' SBOM='$(SBOM)' $(packaging)/dist '$(VERSION)' dist $(TARGETS)

try-dist: ## make the archives for TARGETS twice, compare them, and run those that this machine can run
	GO='$(GO)' SBOM='$(SBOM)' $(packaging)/try-dist $(TARGETS)

# By a module of its own: it needs much that roomd does not.
try-manifests: ## check the manifests in examples against the types of Kubernetes and Compose
	cd cmd/roomd/testdata/manifests && $(GO) run . $(abspath examples/container/compose.yaml examples/kubernetes/roomd.yaml)

# The image has one file beside its configuration: the static binary.
dist/image: build
	rm -rf dist/image
	install -D -m 0755 $(BIN)/roomd dist/image/root/usr/bin/roomd
	install -d dist/image/root/etc/roomd dist/image/data
	sed -e 's|^listen = \["127.0.0.1"\]|listen = ["0.0.0.0"]|' -e 's|^data = .*|data = "/var/lib/roomd/roomd.db"|' \
		-e 's|^listen = \["127.0.0.1:6667"\]|listen = ["0.0.0.0:6667"]|' -e 's|^socket = .*|socket = "/var/lib/roomd/roomd.sock"|' config.toml >dist/image/root/etc/roomd/config.toml

# Only that format has health checks; Docker knows no other.
container: dist/image ## make the container image "roomd" with CONTAINER (default podman; or docker, or buildah)
	$(CONTAINER) build $(if $(findstring docker,$(CONTAINER)),,--format docker) -t roomd -t roomd:$(subst ~,-,$(VERSION)) -f $(packaging)/Containerfile dist/image

try-container: dist/image ## run the image with podman on a read-only root: serve, stop, replace it
	$(packaging)/try-container dist/image

# A package of an older commit, which is upgraded from.
dist/previous.deb:
	rm -rf dist/previous
	git worktree prune && git worktree add -q --detach dist/previous $(PREVIOUS)
	$(MAKE) -C dist/previous deb && cp "$$(ls -t dist/previous/dist/*.deb | head -1)" $@
	git worktree remove --force dist/previous

try-deb: deb dist/previous.deb ## install, upgrade (from PREVIOUS), remove and purge the package in a new Debian system in a folder, and in one that has booted (needs root and debootstrap)
	$(packaging)/try-package "$$(ls -t dist/roomd*.deb | head -1)" dist/previous.deb
	$(packaging)/try-service "$$(ls -t dist/roomd*.deb | head -1)"

try-rpm: rpm ## the same for the RPM package, without a booted system
	$(packaging)/try-package "$$(ls -t dist/roomd*.rpm | head -1)"

upgrades: ## 2,000 members in 64 rooms talk through ten upgrades, then 9,000 through three, then 500 of IRC in eight rooms each; every line is checked
	$(GO) test ./cmd/roomd -count=1 -run TestUpgradeUnderLoad -v -upgrade.members 2000 -upgrade.rooms 64 -upgrade.times 10 -upgrade.pause 500ms
	$(GO) test ./cmd/roomd -count=1 -run TestUpgradeUnderLoad -v -upgrade.members 9000 -upgrade.rooms 64 -upgrade.times 3 -upgrade.pause 10s
	$(GO) test ./cmd/roomd -count=1 -run TestUpgradeIRCUnderLoad -v -upgrade.irc 500 -upgrade.times 10

clients: ## other programs (nc, telnet, …) as clients: each sends 200 times to each kind of port and closes at once; no line may be missing
	$(GO) test ./cmd/roomd -count=1 -run TestOtherClients -v -clients.sends 200

# The checks of pages for people with disabilities. The version is pinned, and so is what npm gives.
axe: ## get axe-core from npm into bin: tests check the page with it
	@mkdir -p $(BIN)
	@cd $(BIN) && npm pack --silent axe-core@4.14.1 >/dev/null && tar -xzOf axe-core-4.14.1.tgz package/axe.min.js >axe.min.js && rm axe-core-4.14.1.tgz
	@echo "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c  $(BIN)/axe.min.js" | sha256sum --check --quiet

screenshots: ## make the pictures of the page in docs/screenshots (needs chromium-headless-shell and fonts-inter-variable)
	ROOMD_SCREENSHOTS=$(CURDIR)/docs/screenshots $(GO) test -count=1 -v -run '^TestScreenshots$$' ./cmd/roomd/browsertest

test: ## run all tests with the race detector
	$(GO) test -race -parallel 8 ./...

api: ## compare the API of netsvc/client with that of the last release
	@GO='$(GO)' $(packaging)/api

check: fmt vet lint api cross test test-386 ## everything that must hold: format, vet, staticcheck, other systems, tests

fmt:
	@files=$$(gofmt -l .); test -z "$$files" || { echo "gofmt would change:"; echo "$$files"; exit 1; }

vet:
	$(GO) vet ./...
	$(GO) vet -tags man ./cmd/roomd

lint:
	$(GO) run $(STATICCHECK) ./...

cross:
	GOOS=linux GOARCH=arm64 $(GO) build -o /dev/null ./cmd/roomd
	GOOS=linux GOARCH=386 $(GO) vet ./...
	GOOS=darwin $(GO) build -o /dev/null ./cmd/roomd
	GOOS=freebsd $(GO) build -o /dev/null ./cmd/roomd
	GOOS=openbsd $(GO) build -o /dev/null ./cmd/roomd
	GOOS=netbsd $(GO) build -o /dev/null ./cmd/roomd

# The race detector is not for 32 bits. Another machine than amd64 cannot run them.
test-386:
	@test "$$($(GO) env GOARCH)" != amd64 || GOARCH=386 $(GO) test ./store/... ./netsvc/wire ./netsvc/roomlog

hostile: ## 60 s of more than ninety kinds of bad clients at once, against 260 good members; 10,000 that read nothing
	ROOMD_HOSTILE=60s $(GO) test -count=1 -v -timeout 20m -run '^(TestHostile|TestGuessing|TestGreedyClients)$$' ./cmd/roomd

storm: ## 10 minutes of reloads, upgrades, signals and stops in random order, with the race detector; STORM=-storm.seed=N repeats one
	$(GO) test -race -count=1 -v -timeout 20m -run '^TestStorm$$' ./cmd/roomd -storm 10m $(STORM)

abuse: ## ABUSE (default 172000) random operations of clients and operators, with an upgrade every 4 s and the race detector
	$(GO) test -race -count=1 -v -timeout 60m -run '^TestAbuse$$' ./cmd/roomd -abuse $(ABUSE) -abuse.upgrade 4s

fuzz: ## run each fuzz target for FUZZTIME (default 20s)
	@for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
		done; \
	done

fuzz-terminal: ## press any keys at admin, chat and serve --console, FUZZTERMINAL (default 10m) each
	ROOMD_FUZZ_TERMINAL=$(FUZZTERMINAL) $(GO) test -race -count=1 -v -timeout 2h -run '^TestTerminalFuzz$$' ./cmd/roomd

soak: ## the long forms of tests: 100,000 lines through restarts, a job killed fifty times, KILLS (default 2000) deaths of the server, power loss, 500 flipped bits
	ROOMD_SOAK=1 $(GO) test -race -count=1 -v -timeout 1h -run 'Through|Cut' ./cmd/roomd ./netsvc/client
	ROOMD_SOAK=1 $(GO) test -count=1 -v -timeout 1h -run 'FlippedBits|PowerLoss' ./store
	ROOMD_KILLS=$(KILLS) $(GO) test -count=1 -v -timeout 1h -run KillCampaign ./cmd/roomd

bench: build ## measure roomd over its sockets in the standard shapes (bin/roomd bench --help)
	bin/roomd bench --runs $(RUNS)

bench-peers: build ## the same, side by side with redis-server, nats-server, inspircd and ngircd; writes docs/performance.md
	bin/roomd bench --runs $(RUNS) --peers --write docs/performance.md

bench-growth: build ## how the cost grows with members, rooms and LINES of history (default 1000000); writes docs/performance.md
	bin/roomd bench growth --runs $(RUNS) --lines $(LINES) --write docs/performance.md

microbench: ## measure parts: the store, the log, a room's deliveries, starting with many rooms
	$(GO) test -run '^$$' -bench . -benchmem ./...
