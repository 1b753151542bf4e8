#!/usr/bin/env bash
# Makes the Debian package of a release binary, as target/debian/packhorse_VERSION_ARCHITECTURE.deb.
#
#   scripts/deb.sh [--target TARGET] [VERSION [FILE]]
#
#   TARGET    packs what scripts/arm.sh built for it [default: what `cargo build --release` built]
#   VERSION   Debian's, such as 0.1.0-2 [default: the crate's, revision 1]
#   FILE      where the package goes
set -euo pipefail
cd "$(dirname "$0")/.."

# The newest that was tried; installed beside the build, so that nothing else on this machine changes.
cargo_deb=3.8.0
target=${CARGO_TARGET_DIR:-target}
tool="$target/tools/bin/cargo-deb"
program="$target/release/packhorse"
options=(--quiet --no-build --no-dbgsym)
embedded=
if [ "${1:-}" = --target ]; then
    program=$target/arm/$2/run
    options+=(--target "$2" --output "${4:-$target/debian/}")
    export CARGO_TARGET_DIR=$target/arm
    embedded="
Files: openssl/*
Copyright: 1998-2026, The OpenSSL Project Authors
License: Apache-2.0
Comment: built along, into the program, of what the crate openssl-src has.
"
    shift 2
elif [ $# -gt 1 ]; then
    options+=(--output "$2")
fi
version=${1:-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)-1}
if [ "$("$tool" --version 2>/dev/null)" != "cargo-deb $cargo_deb" ]; then
    cargo install --locked --version "$cargo_deb" --root "$target/tools" cargo-deb
fi

# Cargo.toml names these by fixed paths, wherever the binary is built.
made=target/package
mkdir -p "$made"
"$program" man >"$made/packhorse.1"
for shell in bash zsh fish; do
    "$program" completions "$shell" >"$made/packhorse.$shell"
done
# The date of the last commit: building again gives the same package.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
cat >"$made/changelog" <<CHANGELOG
packhorse ($version) stable; urgency=medium

  * packhorse ${version%-*}; CHANGELOG.md in its sources says what is new.

 -- The packhorse authors <packhorse@packages.invalid>  $(date -R -u -d "@$SOURCE_DATE_EPOCH")
CHANGELOG
cat >"$made/copyright" <<COPYRIGHT
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: packhorse

Files: *
Copyright: 2026, The packhorse authors
License: Expat or Apache-2.0

Files: vendor/paho-mqtt-sys/*
Copyright: 2009-2025, IBM Corp., Frank Pagliughi and others
License: EPL-2.0 or BSD-3-Clause~Eclipse
$embedded
License: Expat
$(sed -n '3,$ { s/^$/./; s/^/ /; p }' LICENSE-MIT)

License: Apache-2.0
 On Debian systems, the full text of the Apache License, Version 2.0, is in
 /usr/share/common-licenses/Apache-2.0.

License: EPL-2.0 or BSD-3-Clause~Eclipse
 The Eclipse Public License 2.0, https://www.eclipse.org/legal/epl-2.0/, or
 the Eclipse Distribution License 1.0, https://www.eclipse.org/org/documents/edl-v10.php.
 The sources, with the changes that packhorse makes to them, are in the folder
 vendor/paho-mqtt-sys of packhorse's sources.
COPYRIGHT
package=$("$tool" deb "${options[@]}" --deb-version "$version")
if [ -n "$embedded" ]; then
    # Debian's cross libraries ask for `libc6:arm64`; a package names what is of its own architecture without that.
    unpacked=$(mktemp -d)
    trap 'rm -r "$unpacked"' EXIT
    dpkg-deb --raw-extract "$package" "$unpacked/package"
    sed -i '/^Depends:/ s/libc6:[a-z0-9]*/libc6/' "$unpacked/package/DEBIAN/control"
    dpkg-deb --root-owner-group --build "$unpacked/package" "$package" >/dev/null
fi
echo "$package"
