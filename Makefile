# What building, testing and trying out packhorse needs. Everything beyond Rust itself comes from Debian's packages.

PACKAGES := cmake gcc libc6-dev make pkg-config libssl-dev mosquitto mosquitto-clients
# What the tests and benchmarks need beside: networks, clocks and disks that fail, and a store to compare with.
TEST_PACKAGES := iproute2 faketime fiu-utils libsqlite3-dev

# What building for ARM needs beside: cross compilers, a Rust that brings the sources of its standard library, and
# something to run the result on.
ARM_PACKAGES := cmake make perl rustc-web cargo-web rust-web-src gcc-aarch64-linux-gnu libc6-dev-arm64-cross \
	gcc-arm-linux-gnueabihf libc6-dev-armhf-cross qemu-user-static
TARGET := aarch64-unknown-linux-gnu

.PHONY: help demo test soak lint bench bench-flash bench-scale arm cross deps test-deps build

help: ## Says what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: deps ## Runs the agent against a broker of its own and shows what arrives; Ctrl-C ends it
	@# The debug build is ready soonest, and a demo does not need speed.
	cargo build
	@scripts/demo.sh target/debug/packhorse

test: test-deps build ## Runs all tests, those that kill the agent on the release binary too
	cargo test
	PACKHORSE_BINARY=$(CURDIR)/target/release/packhorse cargo test --test agent kills::

soak: test-deps build ## Runs the fault tests at length, on the release binary; PACKHORSE_SEED=... replays a run
	PACKHORSE_SOAK=1 PACKHORSE_BINARY=$(CURDIR)/target/release/packhorse \
		cargo test --test agent -- --nocapture --test-threads 2 kills:: faults:: hostile::

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

build: deps ## Builds the release binary, target/release/packhorse
	cargo build --release

deps: ## Installs what building and the demo need and is missing
	@scripts/install-deps.sh $(PACKAGES)

test-deps: ## Installs what the tests need and is missing
	@scripts/install-deps.sh $(PACKAGES) $(TEST_PACKAGES)
