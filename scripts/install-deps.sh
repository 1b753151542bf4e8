#!/usr/bin/env bash
# Installs the Debian packages named as arguments that are not there yet. Calls apt only when something is missing.
set -euo pipefail

if ! command -v cargo >/dev/null; then
    echo "Rust is missing: https://www.rust-lang.org/tools/install says how to get it (1.89 or newer)." >&2
    exit 1
fi

missing=()
for package in "$@"; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

echo "Installing from Debian: ${missing[*]}"
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)

# Debian starts a service when it is installed. Nobody asked for a broker on this machine, so that is prevented,
# unless the machine has a policy of its own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi
# What is installed would also be started at the next boot, by systemd: that is undone for what was not enabled before.
enabled() {
    command -v systemctl >/dev/null || return 0
    systemctl --root=/ list-unit-files --type=service,socket --state=enabled --no-legend | cut -d ' ' -f 1 | sort
}
before=$(enabled)
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update --quiet --quiet
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends "${missing[@]}"
mapfile -t new < <(comm -13 <(echo "$before") <(enabled))
[ ${#new[@]} -eq 0 ] || "${as_root[@]}" systemctl --root=/ disable "${new[@]}"
