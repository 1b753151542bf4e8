#!/usr/bin/env bash
# Looks into the packages for ARM that scripts/deb.sh made: they are the one of this machine, but for the program.
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() { echo "FAILED: $1" >&2; exit 1; }
# What is promised, and a command that shows it.
promise() {
    local what=$1
    shift
    "$@" || fail "$what"
    echo "ok: $what"
}

packages=${CARGO_TARGET_DIR:-target}/debian
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)-1
package() { echo "$packages/packhorse_${version}_$1.deb"; }
files() { dpkg-deb --contents "$(package "$1")" | awk '$6 != "./" { print $1, $6 }' | sort; }
program() { dpkg-deb --fsys-tarfile "$(package "$1")" | tar -xO ./usr/bin/packhorse | file --brief -; }
depends() { dpkg-deb --field "$(package "$1")" Depends; }

this=$(dpkg --print-architecture)
promise "lintian finds no errors in the package for $this" lintian --allow-root --fail-on error "$(package "$this")"
for pair in "arm64:64-bit LSB pie executable, ARM aarch64" "armhf:32-bit LSB pie executable, ARM, EABI5"; do
    architecture=${pair%%:*} machine=${pair#*:}
    promise "the package for $architecture says so" \
        test "$(dpkg-deb --field "$(package "$architecture")" Architecture)" = "$architecture"
    promise "its program is for that machine" grep -q "ELF $machine" <(program "$architecture")
    promise "it depends on that system's C library, not older than what it was linked with" \
        grep -Eq '^libc6 \(>= 2\.[0-9]+\), systemd' <(depends "$architecture")
    promise "it has the files that the one for $this has" diff <(files "$this") <(files "$architecture")
    promise "lintian finds no errors in it" lintian --allow-root --fail-on error "$(package "$architecture")"
done
