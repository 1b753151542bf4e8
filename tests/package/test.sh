#!/usr/bin/env bash
# Installs, upgrades, removes and purges the package in a Debian of its own, and boots that Debian to run the unit under a
# real systemd. Needs root, debootstrap, lintian, systemd-nspawn and a Debian mirror; says what it skips where one is
# missing. The Debian is made once and kept under target/debian-test.
set -euo pipefail
cd "$(dirname "$0")/../.."

skip() { echo "skipped: $1"; exit 0; }
fail() { echo "FAILED: $1" >&2; exit 1; }
# What is promised, and a command that shows it.
promise() {
    local what=$1
    shift
    "$@" >"$work/output" 2>&1 || { cat "$work/output" >&2; fail "$what"; }
    echo "ok: $what"
}

[ "$(id -u)" -eq 0 ] || skip "a Debian of its own can be made by root only"
for tool in debootstrap lintian; do
    command -v "$tool" >/dev/null || skip "$tool is not installed; \`make test-package\` installs it"
done

target=${CARGO_TARGET_DIR:-target}
suite=bookworm
mirror=$(sed -nE 's/^(URIs: *|deb +(\[[^]]*\] *)?)(https?:[^ ]*debian\.org\/debian|https?:[^ ]*\/debian)\/?( .*)?$/\3/p' \
    /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -n 1 || true)
mirror=${DEBIAN_MIRROR:-${mirror:-http://deb.debian.org/debian}}
kept="$target/debian-test/$suite.tar"
mkdir -p "$target/debian-test"
work=$(mktemp -d "$PWD/$target/debian-test/run.XXXXXX" 2>/dev/null || mktemp -d "$target/debian-test/run.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
root="$work/root"

if [ ! -e "$kept" ]; then
    # What the package depends on and recommends is there from the beginning, so that the tests need no network.
    packages=systemd,systemd-sysv,dbus,libssl3,ca-certificates,mosquitto,mosquitto-clients
    timeout 1200 debootstrap --variant=minbase --include="$packages" "$suite" "$work/made" "$mirror" >"$work/log" 2>&1 ||
        { tail -n 3 "$work/log"; skip "no Debian could be made from $mirror"; }
    rm -rf "$work"/made/var/cache/apt/archives/*.deb "$work"/made/var/lib/apt/lists/*
    tar -C "$work/made" -cf "$kept.new" . && mv "$kept.new" "$kept"
    rm -rf "$work/made"
fi
mkdir "$root"
tar -C "$root" -xf "$kept"

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
first=$version-1 second=$version-2
scripts/deb.sh "$first" "$root/first.deb"
scripts/deb.sh "$second" "$work/second.deb"
promise "lintian finds no errors" lintian --allow-root --fail-on error "$root/first.deb"
# The newer package brings another configuration; else there would be nothing to decide.
dpkg-deb -R "$work/second.deb" "$work/unpacked"
echo "# New in this version." >>"$work/unpacked/etc/packhorse/config.yaml"
(cd "$work/unpacked" && md5sum $(find usr etc lib -type f 2>/dev/null) >DEBIAN/md5sums)
dpkg-deb --root-owner-group -b "$work/unpacked" "$root/second.deb" >/dev/null

inside() { timeout 120 chroot "$root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C "$@"; }
config=$root/etc/packhorse/config.yaml

promise "it installs" inside dpkg -i /first.deb
promise "it makes the user that the unit names" inside sh -c 'test "$(id -gn packhorse)" = packhorse'
promise "its configuration is a conffile" inside sh -c 'dpkg-query -Wf "\${Conffiles}" packhorse | grep -q /etc/packhorse/config.yaml'
promise "its configuration is right" inside packhorse check
promise "secrets have a folder for root alone" inside sh -c 'test "$(stat -c %a:%U /etc/packhorse/credentials)" = 700:root'
promise "the unit is enabled" inside test -L /etc/systemd/system/multi-user.target.wants/packhorse.service
promise "systemd finds nothing wrong with it" inside sh -c '! systemd-analyze verify --man=no packhorse.service 2>&1 | grep packhorse'
promise "manual page, completions and documentation are there" inside sh -c \
    'cd /usr/share && ls man/man1/packhorse.1.gz bash-completion/completions/packhorse zsh/vendor-completions/_packhorse fish/vendor_completions.d/packhorse.fish doc/packhorse/README.md doc/packhorse/docs/sources.md'

sed -i 's/^device: ~/device: edited-by-hand/' "$config"
mkdir -p "$root/var/lib/packhorse/spool" "$root/var/log/packhorse"
echo unsent >"$root/var/lib/packhorse/spool/00000000000000000001.seg"
echo line >"$root/var/log/packhorse/info.log.1"
promise "it upgrades" inside dpkg --force-confdef --force-confold -i /second.deb
promise "the newer version is there" inside sh -c "dpkg-query -Wf '\${Version}' packhorse | grep -qx $second"
promise "an upgrade keeps an edited configuration" grep -qx "device: edited-by-hand" "$config"
promise "and puts the new one beside it" grep -q "New in this version" "$config.dpkg-dist"
promise "an upgrade keeps messages" test -e "$root/var/lib/packhorse/spool/00000000000000000001.seg"

if command -v systemd-nspawn >/dev/null; then
    cp -a "$root" "$work/booted"
    tests/package/boot.sh "$work/booted" || fail "the unit under systemd"
else
    echo "skipped: systemd-nspawn is not installed, so the unit was not run"
fi

promise "it is removed" inside dpkg -r packhorse
promise "removing keeps configuration, logs and messages" inside sh -c \
    'cd / && ls etc/packhorse/config.yaml var/log/packhorse/info.log.1 var/lib/packhorse/spool/*.seg && ! ls usr/bin/packhorse'
promise "it is purged" inside sh -c 'dpkg -P packhorse 2>&1 | tee /purged'
promise "purging says where messages may be" grep -q "kept" "$root/purged"
promise "purging keeps messages alone" inside sh -c \
    'cd / && ls var/lib/packhorse/spool/*.seg && ! ls -d etc/packhorse && ! ls -d var/log/packhorse && ! ls usr/lib/systemd/system/packhorse.service'
rm -r "$root/var/lib/packhorse"
promise "it installs again" inside dpkg -i /first.deb
promise "it is purged where it never ran" inside sh -c 'dpkg -P packhorse && ! ls -d /etc/packhorse /var/lib/packhorse 2>/dev/null'
echo "all promises kept"
