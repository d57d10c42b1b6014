.PHONY: all test race bench bench-diff picture fuzz lint examples repeat tools help

GO ?= go
# How long each fuzz target runs in `make fuzz`.
FUZZTIME ?= 10s
# How many rounds `make bench` takes. Rounds alternate, so that the benchmarks of
# one round meet the same machine. benchstat wants six.
COUNT ?= 6
BENCHSTAT = golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da
# How often `make repeat` plays which scenario. Without its first builds, a run takes
# about a second, with the race detector some ten.
RUNS ?= 200
SCENARIO ?= topo/testdata/repeat.yaml

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

all: lint examples test race ## lint, examples, test and race

test: tools ## Run every test
	$(GO) test ./...

race: tools ## Run every test with the race detector
	$(GO) test -race -timeout 30m ./...

examples: ## Run every example scenario
	@set -e; tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; $(GO) build -o $$tmp/podwire ./cmd/podwire; \
	for f in examples/*.yaml examples/manifests/*.yaml; do $$tmp/podwire run $$f; done

# Independent judges that tests ask: a decoder, the real iptables and nft, a BGP
# speaker, a browser. Where they cannot be installed, the tests that want them fail
# and say how to go without. The policy keeps BIRD from being started as a service.
tools: ## Install tshark, tcpdump, iptables, nftables, ipset, iproute2, BIRD and chromium if they are missing (Debian, as root)
	@missing=; \
	command -v tshark >/dev/null || missing="$$missing tshark"; \
	command -v tcpdump >/dev/null || missing="$$missing tcpdump"; \
	command -v iptables-restore >/dev/null || missing="$$missing iptables"; \
	command -v nft >/dev/null || missing="$$missing nftables"; \
	command -v ip >/dev/null || missing="$$missing iproute2"; \
	command -v ipset >/dev/null || missing="$$missing ipset"; \
	command -v bird >/dev/null || missing="$$missing bird2"; \
	command -v chromium >/dev/null || command -v google-chrome >/dev/null || missing="$$missing chromium"; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  policy=/usr/sbin/policy-rc.d; \
	  if [ ! -e $$policy ]; then trap "rm -f $$policy" EXIT; printf '#!/bin/sh\nexit 101\n' >$$policy; chmod +x $$policy; fi; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	else \
	  echo "Some tests want$$missing: install them (Debian: sudo apt-get install$$missing)." >&2; \
	fi

bench: SHELL := /bin/bash -o pipefail
bench: ## Measure, as ratios against two bare gVisor stacks in the same run
	$(GO) test -c -o bench.test ./bench
	for i in $$(seq $(COUNT)); do ./bench.test -test.run '^$$' -test.bench . -test.benchmem || exit 1; done \
	  | tee bench.txt | $(GO) run ./bench/ratios

# Ratios of two runs can be compared, their absolute figures only on one machine. Of
# the present run, `make bench` keeps bench.txt; a new baseline is a copy of it.
bench-diff: ## Hold the last `make bench` against bench/testdata/baseline.txt, as ratios to the bare pair
	@test -s bench.txt || { echo "bench-diff: there is no bench.txt, want one of make bench COUNT=6" >&2; exit 1; }
	@set -e; tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	$(GO) run ./bench/ratios -benchfmt <bench/testdata/baseline.txt >$$tmp/baseline; \
	$(GO) run ./bench/ratios -benchfmt <bench.txt >$$tmp/now; \
	cd $$tmp && $(GO) run $(BENCHSTAT) -ignore cpu,go,gvisor,tcp baseline now

# The picture in README: the headers of one packet under each design.
picture: tools ## Draw examples/faceoff.svg from a new comparison
	$(GO) run ./cmd/podwire compare examples/faceoff.yaml --only headers --report faceoff.html
	$(GO) test ./bench/report -count 1 -run TestPicture -of $(CURDIR)/faceoff.html -picture $(CURDIR)/examples/faceoff.svg

# When the time is up while a slow input runs, the fuzzer fails with "context
# deadline exceeded" and nothing else. A finding names the input it has written.
fuzz: ## Run every fuzz target for FUZZTIME
	@tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	$(GO) list -f '{{.ImportPath}} {{.Dir}}' ./... | while read -r pkg dir; do \
	  grep -qs '^func Fuzz' $$dir/*_test.go || continue; \
	  $(GO) test -c -fuzz=. -o $$tmp/fuzz.test $$pkg || exit 1; \
	  for f in $$(cd $$dir && $$tmp/fuzz.test -test.list '^Fuzz'); do \
	    echo "$$pkg $$f"; \
	    (cd $$dir && $$tmp/fuzz.test -test.run '^$$' -test.fuzz "^$$f\$$" -test.fuzztime $(FUZZTIME) -test.fuzzminimizetime 1s \
	      -test.fuzzcachedir $$tmp/cache) </dev/null >$$tmp/out 2>&1 && tail -n 2 $$tmp/out | head -n 1 && continue; \
	    cat $$tmp/out; \
	    ! grep -q 'Failing input' $$tmp/out && grep -q '^ *context deadline exceeded$$' $$tmp/out || exit 1; \
	  done || exit 1; \
	done

repeat: ## Play SCENARIO RUNS times, loaded and raced, and want one digest of all captures
	@RUNS=$(RUNS) SCENARIO=$(SCENARIO) .ci/repeat

lint: ## Build for all systems; gofmt, vet, staticcheck
	GOOS=linux CGO_ENABLED=0 $(GO) build ./...
	GOOS=darwin CGO_ENABLED=0 $(GO) build ./...
	GOOS=windows CGO_ENABLED=0 $(GO) build ./...
	@files=$$(gofmt -l .); test -z "$$files" || { echo "gofmt: $$files"; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags goexperiment.staticlockranking ./internal/bubble # as with a runtime that is not known
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...
