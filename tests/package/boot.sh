#!/usr/bin/env bash
# Boots a Debian in which the package is installed, and runs the unit in it, as tests/package/inside.sh says.
#
#   tests/package/boot.sh FOLDER     the Debian's, which is changed
set -euo pipefail
root=$1
install -m 0755 "$(dirname "$0")/inside.sh" "$root/inside.sh"
cat >"$root/etc/systemd/system/inside.service" <<'UNIT'
[Unit]
# Not after packhorse.service, which may never start.
After=basic.target
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
ExecStart=/inside.sh
TimeoutStartSec=5min
StandardOutput=file:/result
StandardError=file:/result
UNIT
mkdir -p "$root/etc/systemd/system/default.target.wants"
ln -s ../inside.service "$root/etc/systemd/system/default.target.wants/inside.service"
# As Debian's installer writes it.
echo "127.0.0.1 localhost" >"$root/etc/hosts"
rm -f "$root/etc/systemd/system/multi-user.target.wants/mosquitto.service"
# No network but a loopback of its own.
timeout --kill-after=5 360 systemd-nspawn --quiet --register=no --keep-unit --console=pipe --private-network \
    --directory="$root" --boot </dev/null >"$root/console" 2>&1 || true
if [ ! -e "$root/result" ]; then
    echo "skipped: this machine does not let a systemd boot: $(tail -n 1 "$root/console")"
    exit 0
fi
cat "$root/result"
grep -qx "the unit keeps its promises" "$root/result"
