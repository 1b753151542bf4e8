#!/usr/bin/env bash
# Builds packhorse for ARM without containers: Debian's cross compilers, Debian's Rust with its sources, from which the
# standard library is built for the target. The binaries are left where `cargo build --target` leaves them, under
# target/arm. What keeps them small is in .cargo/config.toml and Cargo.toml.
#
#   scripts/arm.sh [TARGET...]   [default: all]
set -euo pipefail
cd "$(dirname "$0")/.."

# Debian's name for each target, and qemu's.
declare -A systems=([aarch64-unknown-linux-gnu]=aarch64-linux-gnu [armv7-unknown-linux-gnueabihf]=arm-linux-gnueabihf)
declare -A machines=([aarch64-unknown-linux-gnu]=aarch64 [armv7-unknown-linux-gnueabihf]=arm)
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(aarch64-unknown-linux-gnu armv7-unknown-linux-gnueabihf)
# 6 MiB: the target for one binary with TLS in it, which is copied over slow links.
limit=$((6 * 1024 * 1024))
made=${CARGO_TARGET_DIR:-target}/arm

# Debian's Rust, whatever else is in the path: only it brings the sources of its standard library. Building that is not
# a stable feature of cargo.
export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1

options=()
for target in "${targets[@]}"; do
    system=${systems[$target]:-}
    if [ -z "$system" ]; then
        echo "$target is not built here; there are: ${!systems[*]}" >&2
        exit 64
    fi
    name=${target//-/_}
    export "CARGO_TARGET_${name^^}_LINKER=$system-gcc" "CC_$name=$system-gcc"
    options+=(--target "$target")
done
# All at once: the last steps of each use one core. Without the standard library's `backtrace`, which reads names that
# are stripped here: 0.2 MB.
/usr/bin/cargo build --release --locked --features vendored-tls \
    -Zbuild-std=std,panic_unwind -Zbuild-std-features=panic-unwind "${options[@]}" --target-dir "$made"

for target in "${targets[@]}"; do
    binary=$(realpath "$made/$target/release/packhorse")
    # `PACKHORSE_BINARY=target/arm/TARGET/run cargo test --test agent` runs the tests on it.
    run=$made/$target/run
    printf '#!/bin/sh\nexec qemu-%s-static -L /usr/%s %q "$@"\n' \
        "${machines[$target]}" "${systems[$target]}" "$binary" >"$run"
    chmod +x "$run"
    size=$(stat --format %s "$binary")
    echo "$binary: $size bytes, $("$run" --version)"
    if [ "$size" -gt "$limit" ]; then
        echo "The binary for $target has $size bytes, more than the 6 MiB ($limit) that slow links are to carry." >&2
        exit 1
    fi
done
