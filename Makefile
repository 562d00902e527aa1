# The two commands of a newcomer are `make demo` and `make test`. Each installs what it needs and says what.
#
#   make demo [FLAVOUR=mysql] [AUTO=1 [RUNS=20]]    a cluster on loopback whose primary you kill
#   make test                                       everything that must hold, on real servers as well
#   make test-quick                                 the same without real servers
#   make test-all                                   `make test`, its longer labs, viewers behind proxies, the dashboard in a browser,
#                                                   and the feed's protocols case by case
#   make bench                                      footprint, gap and decisions from a release build
#   make bench-feed [VIEWERS=1000,5000] [ROUNDS=3]  viewers, beside the official Socket.IO server (a release build as well)
#   make sim SEEDS=20000 | SEED=7                   simulated runs of the decisions, or one of them again
#   make soak                                       the same until stopped, the laws of the unit tests first
#   make bite [ROW=quorum]                          faults put in on purpose: the simulator must find each
#   make faults [ROW=host-lost] [FLAVOUR=mysql] [RUNS=20]    the fault matrix on real servers, as a table
#   make exhaustive [SCOPE=false_alarm]             every single cut and crash at every step, of a small cluster
#   make build tools fmt clippy doc unit lab lab-long   the parts

SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: bench bench-feed bite exhaustive demo faults properties sim soak test test-all test-quick proxies browser protocols build tools fmt clippy \
	doc unit lab lab-long

FLAVOUR ?= mariadb
CARGO ?= cargo
INSTALL := tests/tools/install.sh
# The newest library wins no test: what Cargo.lock names is built. Every recipe says --workspace, so that one set of
# features is compiled, once.
LOCKED := --locked --workspace
TARGET = "$$($(CARGO) metadata --locked --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')"
RELEASE = $(TARGET)/release
DEBUG = $(TARGET)/debug

demo:
	@$(INSTALL) base $(filter mysql,$(FLAVOUR)) >&2
	@$(CARGO) build $(LOCKED) --bins
	@exec "$$($(CARGO) metadata --locked --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug/demo"

# Footprint, gap and decisions from a release build; compare only figures of one run.
bench: tools
	$(CARGO) build $(LOCKED) --release --bins
	@$(RELEASE)/bench; first=$$?; $(RELEASE)/bench_decisions && exit $$first

bench-feed:
	@$(INSTALL) base feed
	$(CARGO) build $(LOCKED) --release --bins
	@$(RELEASE)/bench_feed; first=$$?; $(RELEASE)/bench_crowd && exit $$first

test: tools fmt clippy doc build unit lab

test-quick: fmt clippy doc unit

test-all: test lab-long proxies browser protocols

# Both protocols of the feed, case by case; it waits until heartbeats are missed.
protocols: build
	@$(INSTALL) base feed
	$(CARGO) test $(LOCKED) --test protocols

# A thousand viewers behind nginx and HAProxy.
proxies: build
	@$(INSTALL) base proxies
	$(CARGO) test $(LOCKED) --test proxies -- --test-threads=1 --nocapture

# The dashboard is built anew, and looked at in a browser beside real clusters. Screenshots land in target/screenshots.
browser: build
	@$(INSTALL) base mysql feed browser
	$(CARGO) test $(LOCKED) --test browser -- --test-threads=1 --nocapture

soak: properties

# The laws that unit tests draw their examples for by lot, with many of them.
properties:
	PROPTEST_CASES=20000 $(CARGO) test $(LOCKED) --lib --test gtid_properties

sim soak:
	@$(CARGO) build --locked --release -p tasuki-tests --bin sim
	@$(if $(filter soak,$@),SEEDS=0 FROM=$$(date +%s)) exec $(RELEASE)/sim

bite:
	@$(CARGO) build --locked -p tasuki-tests --bin bite
	@exec $(DEBUG)/bite

# FLAVOUR has a default for the demo; the matrix runs both unless one is asked for.
faults: tools build
	@$(if $(filter-out undefined file,$(origin FLAVOUR)),,FLAVOUR=) exec $(DEBUG)/faults

exhaustive:
	@$(CARGO) build --locked --release -p tasuki-tests --bin exhaustive
	@exec $(RELEASE)/exhaustive

tools:
	@$(INSTALL) base net mysql feed ssh

build:
	$(CARGO) build $(LOCKED) --bins

fmt:
	$(CARGO) fmt --all --check

clippy:
	$(CARGO) clippy $(LOCKED) --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(LOCKED) --no-deps

# Unit tests, stories, contracts, house rules: whatever needs no server. What is drawn by lot is the same in every run;
# `make soak` draws anew, and more.
unit:
	PROPTEST_RNG_SEED=1 $(CARGO) test $(LOCKED) -- --skip lab_

# Real servers on loopback, and in network namespaces where this runs as root. One at a time: they measure.
LONG := lab_group lab_outages lab_reclone lab_rescue lab_switchover
LABS := $(basename $(notdir $(wildcard tests/tests/lab_*.rs)))

lab: build
	$(CARGO) test $(LOCKED) $(addprefix --test ,$(filter-out $(LONG),$(LABS))) -- --test-threads=1

lab-long: build
	$(CARGO) test $(LOCKED) $(addprefix --test ,$(LONG)) -- --test-threads=1
