#!/usr/bin/env bash
# Builds the agent with AddressSanitizer, its C part with UndefinedBehaviorSanitizer as well: what reads or writes where it
# must not ends the process with a report instead of passing by chance. The binary is target/asan/packhorse.
set -euo pipefail
cd "$(dirname "$0")/.."

# With a target of its own, build scripts and macros are built without.
target=$(rustc -vV | sed -n 's/^host: //p')
made=${CARGO_TARGET_DIR:-target}/asan
# Sanitizers are not a stable feature of the compiler. gcc's calls and LLVM's library, which rustc links, fit each other.
export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address -Cforce-frame-pointers=yes" CARGO_PROFILE_DEV_OPT_LEVEL=1
export "CFLAGS_${target//-/_}=-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g"
cargo build --locked --target "$target" --target-dir "$made"
ln -sf "$target/debug/packhorse" "$made/packhorse"
