#!/bin/bash
# What the unit promises, under a systemd that runs: readiness, the sandbox, restarts, the watchdog, secrets.
set -u
folder=/etc/systemd/system/packhorse.service.d
config=/etc/packhorse/config.yaml

fail() {
    echo "FAILED: $1"
    systemctl status --no-pager --lines 30 packhorse
    exit 1
}
# Waits for a command to succeed, about 40 s.
promise() {
    local what=$1 deadline=$((SECONDS + 40))
    shift
    while [ "$SECONDS" -lt "$deadline" ]; do
        if "$@" >/dev/null 2>&1; then
            echo "ok: $what"
            return
        fi
        sleep 0.2
    done
    fail "$what"
}
is() { [ "$(systemctl show --property "$1" --value packhorse)" = "$2" ]; }
says() { systemctl show --property StatusText --value packhorse | grep -q "$1"; }
logged() { journalctl -b --no-pager -u packhorse | grep "$1"; }
drop_in() {
    mkdir -p "$folder"
    cat >"$folder/test.conf"
    systemctl daemon-reload
}
broker() {
    printf 'listener 1883 127.0.0.1\n%s\n' "$1" >/tmp/mosquitto.conf
    mosquitto -c /tmp/mosquitto.conf >/dev/null 2>&1 &
    broker=$!
}
end_broker() { kill "$broker" && wait "$broker"; }

promise "it is ready though no broker is there" is ActiveState active
promise "the status says so" says "cannot reach mqtt://localhost:1883: connection refused"
promise "the spool is there, for the user and the group" \
    test "$(stat -c %U:%G:%a /var/lib/packhorse /var/log/packhorse | sort -u)" = packhorse:packhorse:750
promise "and so are its files" sh -c 'stat -c %U:%a /var/lib/packhorse/spool/*.seg | grep -qx packhorse:640'

broker "allow_anonymous true"
sed -i "s|- {name: board, type: system}|&\n    - {name: mtu, type: file, path: /sys/class/net/lo/mtu}|" "$config"
systemctl restart packhorse
promise "it connects" says "connected to mqtt://localhost:1883; messages waiting: 0"
promise "what it reads from /proc and of the spool's disk arrives" sh -c \
    'timeout 15 mosquitto_sub -h 127.0.0.1 -t "telemetry/#" -C 1 | grep load1 | grep memory | grep disk'
promise "and of /sys" sh -c 'timeout 25 mosquitto_sub -h 127.0.0.1 -t "telemetry/+/mtu" -C 1 | grep 65536'
pid=$(systemctl show --property MainPID --value packhorse)
promise "it has no capabilities and a system-call filter" sh -c \
    "grep -q '^CapBnd:.*0000000000000000' /proc/$pid/status && grep -q '^Seccomp:.*2' /proc/$pid/status"
promise "nothing that it tried was refused" sh -c '! journalctl -b --no-pager -u packhorse | grep -i "permi"'

sed -i 's/^  interval: 10s/  interval: 1s/' "$config"
promise "an edit is applied while it runs" logged "configuration changed"
echo "tpyo: 1" >>"$config"
promise "a bad one is not, and the status says so" says "connected to .*configuration not applied: line .*, a key that is not known"
sed -i '/^tpyo/d' "$config"
promise "until it is mended" sh -c '! systemctl show --property StatusText --value packhorse | grep "not applied"'
promise "without a restart" test "$(systemctl show --property MainPID --value packhorse)" = "$pid"
promise "a stop is clean" systemctl stop packhorse
promise "and its result a success" is Result success

stream() { journalctl -b --no-pager -u packhorse | sed -n 's/.*spool opened folder=\([^ ]*\) stream=\([^ ]*\).*/\1 \2/p' | tail -n 1; }
read -r from name <<<"$(stream)"
install -d -o packhorse -g packhorse -m 0750 /mnt/ssd/spool
cp -a "$from/." /mnt/ssd/spool/
drop_in <<'CONF'
[Unit]
RequiresMountsFor=/mnt/ssd/spool
[Service]
ReadWritePaths=/mnt/ssd/spool
CONF
sed -i "s|^  directory: $from|  directory: /mnt/ssd/spool|" "$config"
systemctl start packhorse
promise "the spool moves to another disk with its stream" eval '[ "$(stream)" = "/mnt/ssd/spool $name" ]'
promise "and works there" says "connected to"
systemctl stop packhorse
sed -i "s|^  directory: /mnt/ssd/spool|  directory: $from|" "$config"

drop_in <<'CONF'
[Service]
WatchdogSec=4s
RestartSec=1h
CONF
cp "$config" /tmp/config
sed -i 's|- {name: board, type: system}|- {name: stuck, type: file, path: /etc/packhorse/fifo}|' "$config"
mkfifo -m 0644 /etc/packhorse/fifo
systemctl start packhorse
promise "a source that never returns is named" says "source stuck hangs"
pid=$(systemctl show --property MainPID --value packhorse)
sleep 8
promise "and is no reason for the watchdog" test "$(systemctl show --property MainPID --value packhorse)" = "$pid"
kill -STOP "$pid"
promise "which ends an agent that does nothing" is Result watchdog
systemctl stop packhorse
cp /tmp/config "$config"

echo "tpyo: 1" >>"$config"
systemctl start packhorse
promise "a bad configuration ends it" is ExecMainStatus 78
sleep 1
promise "for good" is ActiveState failed
cp /tmp/config "$config"
systemctl reset-failed packhorse
end_broker

drop_in <<'CONF'
[Service]
RestartSec=1s
CONF
printf 'packhorse:not-a-real-password\n' >/tmp/users
mosquitto_passwd -U /tmp/users && chmod 0644 /tmp/users
broker "$(printf 'allow_anonymous false\npassword_file /tmp/users')"
sed -i 's/^  on_refusal: hold/  on_refusal: exit/' "$config"
systemctl start packhorse
promise "a broker that refuses it is left alone for long" is SubState start-pre
sleep 4
promise "and not only for a moment" test "$(systemctl show --property SubState,NRestarts --value packhorse | tr '\n' ' ')" = "1 start-pre "
promise "because of 77" sh -c 'journalctl -b --no-pager -u packhorse | grep "code=exited, status=77"'
began=$SECONDS
systemctl stop packhorse
promise "which a stop ends at once" test $((SECONDS - began)) -lt 5

printf not-a-real-password >/etc/packhorse/credentials/password
sed -i 's/^  username: ~/  username: packhorse/; s/^  password_file: ~/  password_file: secret_password/' "$config"
systemctl start packhorse
promise "a secret that only root can read lets it in" says "connected to"
promise "a check sees what the unit sees" systemd-run --quiet --pipe --wait \
    --property User=packhorse --property LoadCredential=secret:/etc/packhorse/credentials packhorse check
promise "it is not written to the journal" sh -c '! journalctl -b --no-pager | grep not-a-real'
systemctl stop packhorse
end_broker
echo "the unit keeps its promises"
