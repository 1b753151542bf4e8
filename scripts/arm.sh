#!/usr/bin/env bash
# Builds packhorse for ARM without containers: Debian's cross compilers, Debian's Rust with its sources, from which the
# standard library is built for the target. The binaries are left where `cargo build --target` leaves them.
set -euo pipefail
cd "$(dirname "$0")/.."

# Debian's name for each target, and qemu's.
declare -A systems=([aarch64-unknown-linux-gnu]=aarch64-linux-gnu [armv7-unknown-linux-gnueabihf]=arm-linux-gnueabihf)
declare -A machines=([aarch64-unknown-linux-gnu]=aarch64 [armv7-unknown-linux-gnueabihf]=arm)
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(aarch64-unknown-linux-gnu armv7-unknown-linux-gnueabihf)

# Debian's Rust, whatever else is in the path: only it brings the sources of its standard library. Building that is not a
# stable feature of cargo.
export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1

for target in "${targets[@]}"; do
    system=${systems[$target]:-}
    if [ -z "$system" ]; then
        echo "$target is not built here; there are: ${!systems[*]}" >&2
        exit 64
    fi
    name=${target//-/_}
    export "CARGO_TARGET_${name^^}_LINKER=$system-gcc" "CC_$name=$system-gcc"
    /usr/bin/cargo build --release --locked --features vendored-tls \
        -Zbuild-std=std,panic_unwind --target "$target" --target-dir target/arm
    binary=target/arm/$target/release/packhorse
    # `PACKHORSE_BINARY=target/arm/TARGET/run cargo test --test agent` runs the tests on it.
    run=target/arm/$target/run
    printf '#!/bin/sh\nexec qemu-%s-static -L /usr/%s %q "$@"\n' \
        "${machines[$target]}" "$system" "$PWD/$binary" >"$run"
    chmod +x "$run"
    echo "$binary: $(stat --format %s "$binary") bytes, $("$run" --version)"
done
