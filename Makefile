# What building, testing and trying out packhorse needs. Everything beyond Rust itself comes from Debian's packages.

PACKAGES := cmake gcc libc6-dev make pkg-config libssl-dev mosquitto mosquitto-clients
# What the tests and benchmarks need beside: networks, clocks and disks that fail, a store to compare with, and brokers.
TEST_PACKAGES := iproute2 faketime fiu-utils libsqlite3-dev systemd e2fsprogs man-db rabbitmq-server nats-server zsh fish
# What the package's test needs beside: a Debian of its own, and a look at what Debian would say.
PACKAGE_PACKAGES := dpkg-dev debootstrap lintian systemd-container

# What building for ARM needs beside: cross compilers, a Rust that brings the sources of its standard library, and
# something to run the result on.
ARM_PACKAGES := cmake make perl rustc-web cargo-web rust-web-src gcc-aarch64-linux-gnu libc6-dev-arm64-cross \
	gcc-arm-linux-gnueabihf libc6-dev-armhf-cross qemu-user-static
TARGET := aarch64-unknown-linux-gnu

# How long `make fuzz` runs each fuzzer.
FUZZ_SECONDS := 600

.PHONY: help demo test test-arm test-package soak asan fuzz lint bench bench-flash bench-scale arm cross deps test-deps build deb deb-arm

help: ## Says what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: deps ## Runs the agent against a broker of its own that goes and comes back, and counts what arrives; 20 seconds
	@# The debug build is ready soonest, and a demo does not need speed.
	cargo build
	@scripts/demo.sh target/debug/packhorse

test: test-deps build ## Runs all tests, those of kills and of constrained hardware on the release binary
	cargo test -- --skip rabbitmq:: --skip clusters:: --skip constrained:: --skip memory:: --skip forged:: --skip fifty_sources
	@# By themselves: clusters elect for seconds, and what else runs then would miss its time limits.
	cargo test --test agent -- rabbitmq:: clusters::
	PACKHORSE_BINARY=$(CURDIR)/target/release/packhorse cargo test --test agent kills::
	@# By themselves, too: they measure.
	PACKHORSE_BINARY=$(CURDIR)/target/release/packhorse cargo test --test agent -- --test-threads 1 constrained:: memory:: fifty_sources
	PACKHORSE_BINARY=$(CURDIR)/target/release/packhorse cargo test --test hardening

test-arm: test-deps arm ## Runs the core of the tests on both ARM binaries, on qemu
	@scripts/test-arm.sh

test-package: build ## Installs, boots, upgrades, removes and purges the package in a Debian of its own; needs root, 2 to 5 minutes
	@scripts/install-deps.sh $(PACKAGE_PACKAGES)
	@tests/package/test.sh

soak: test-deps build ## Runs the fault tests at length, on the release binary; PACKHORSE_SEED=... replays a run
	PACKHORSE_SOAK=1 PACKHORSE_BINARY=$(CURDIR)/target/release/packhorse \
		cargo test --test agent -- --nocapture --test-threads 2 kills:: faults:: edits:: hostile:: rabbitmq:: clusters::
	PACKHORSE_SOAK=1 PACKHORSE_BINARY=$(CURDIR)/target/release/packhorse \
		cargo test --test agent -- --nocapture --test-threads 1 memory::
	PACKHORSE_SIMULATE=1800 cargo test --release --lib -- --nocapture simulator::
	@scripts/asan.sh
	PACKHORSE_SOAK=1 PACKHORSE_BINARY=$(CURDIR)/target/asan/packhorse \
		cargo test --test agent -- --nocapture --test-threads 1 forged::

asan: test-deps ## Plays a hostile broker for a minute, against a binary with sanitizers; PACKHORSE_SEED=... replays it
	@scripts/asan.sh
	PACKHORSE_BINARY=$(CURDIR)/target/asan/packhorse PACKHORSE_HOSTILE_SECONDS=60 \
		cargo test --test agent -- --nocapture --test-threads 1 forged::

fuzz: deps ## Runs libFuzzer on the C part's parsers, each for FUZZ_SECONDS (600)
	@scripts/install-deps.sh clang python3
	@# What sanitizers and fuzzers are linked with, of the same version.
	@scripts/install-deps.sh libclang-rt-$$(clang -dumpversion | cut -d . -f 1)-dev
	@fuzz/run.sh $(FUZZ_SECONDS)

lint: test-deps ## Checks formatting, lints and documentation
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items

bench: test-deps ## Measures the drain of a backlog beside the bare MQTT library
	cargo bench --bench drain

bench-flash: test-deps ## Measures what a durable message costs the medium, beside SQLite and redb; needs root
	cargo bench --bench flash

bench-scale: test-deps ## Measures start, memory and drain as the backlog grows to a million messages
	cargo bench --bench scale

arm: ## Builds for 64-bit and 32-bit ARM by Debian's cross compilers, and tries the binaries on qemu
	@scripts/install-deps.sh $(ARM_PACKAGES)
	@scripts/arm.sh

cross: ## Builds for TARGET in a container, by cross (cargo install cross)
	CROSS_CONFIG=cross.toml cross build --release --locked --features vendored-tls --target $(TARGET)

deb: build ## Makes the Debian package, target/debian/packhorse_VERSION_ARCHITECTURE.deb
	@scripts/install-deps.sh dpkg-dev
	@scripts/deb.sh

deb-arm: arm deb ## Makes the Debian packages for arm64 and armhf, of what `make arm` built, and looks into them
	@scripts/install-deps.sh dpkg-dev lintian
	@scripts/deb.sh --target aarch64-unknown-linux-gnu
	@scripts/deb.sh --target armv7-unknown-linux-gnueabihf
	@tests/package/arm.sh

build: deps ## Builds the release binary, target/release/packhorse
	cargo build --release

deps: ## Installs what building and the demo need and is missing
	@scripts/install-deps.sh $(PACKAGES)

test-deps: ## Installs what the tests need and is missing
	@scripts/install-deps.sh $(PACKAGES) $(TEST_PACKAGES)
