#!/usr/bin/env bash
# Runs the agent on this machine's own sensors against a private mosquitto, and shows what a subscriber receives.
# Ctrl-C ends all of it and leaves nothing behind.
set -euo pipefail

agent=$1
folder=$(mktemp -d)
children=()

finish() {
    trap - EXIT INT TERM
    # The newest first: the agent says goodbye while the broker still listens.
    for ((child = ${#children[@]} - 1; child >= 0; child--)); do
        kill "${children[child]}" 2>/dev/null || true
        wait "${children[child]}" 2>/dev/null || true
    done
    rm -rf "$folder"
}
trap finish EXIT
trap 'finish; echo; echo "The demo has ended; nothing is left behind."; exit 0' INT TERM

died() {
    echo "The $1 has ended by itself:" >&2
    tail -n 20 "$folder/$1.log" >&2
    exit 1
}

mosquitto=$(command -v mosquitto || echo /usr/sbin/mosquitto)
for _ in 1 2 3 4 5; do
    # A free port is found by trying: another program may have the one that was drawn.
    port=$((20000 + RANDOM % 20000))
    printf 'listener %s 127.0.0.1\nallow_anonymous true\n' "$port" >"$folder/mosquitto.conf"
    "$mosquitto" -c "$folder/mosquitto.conf" >"$folder/broker.log" 2>&1 &
    broker=$!
    sleep 0.5
    kill -0 "$broker" 2>/dev/null && break
    broker=
done
[ -n "$broker" ] || died broker
children+=("$broker")

cat >"$folder/config.yaml" <<YAML
broker:
  url: mqtt://127.0.0.1:$port
telemetry:
  interval: 2s
  sources:
    - {name: board, type: system}
    - {name: wind, type: simulated, interval: 1s}
spool: {directory: $folder/spool}
logging: {directory: $folder/log, console: warn}
YAML

mosquitto_sub -h 127.0.0.1 -p "$port" -t '#' -v &
subscriber=$!
children+=("$subscriber")
"$agent" --config "$folder/config.yaml" >"$folder/agent.log" 2>&1 &
sampler=$!
children+=("$sampler")

echo "A mosquitto listens on 127.0.0.1:$port, packhorse samples this machine, and this is what a subscriber receives."
echo "Ctrl-C ends the demo."
# `wait` hears a signal at once; a command in the foreground may keep it to itself.
wait -n "${children[@]}" || true
# Ctrl-C reaches all of them: what has ended may have ended by it.
sleep 0.5 &
wait $! || true
kill -0 "$broker" 2>/dev/null || died broker
kill -0 "$sampler" 2>/dev/null || died agent
echo "The subscriber has ended by itself." >&2
exit 1
