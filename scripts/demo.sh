#!/usr/bin/env bash
# Shows the point of packhorse on this machine's own sensors: messages flow to a private mosquitto, that goes away for some
# seconds, the backlog grows and drains, and nothing is lost. Ctrl-C ends it early; nothing is left behind.
set -euo pipefail

agent=$1
# How long messages flow before and after the outage, and how long that lasts, in seconds.
flow=${DEMO_FLOW:-5}
outage=${DEMO_OUTAGE:-8}
folder=$(mktemp -d)
declare -A children=()

# Starts a program under a name, with its output in a file of that name. A Ctrl-C on the terminal is not for it.
begin() {
    local name=$1
    shift
    setsid "$@" >>"$folder/$name.out" 2>>"$folder/$name.log" &
    children[$name]=$!
}

end() {
    local process=${children[$1]:-}
    unset "children[$1]"
    [ -n "$process" ] || return 0
    kill "$process" 2>/dev/null || true
    wait "$process" 2>/dev/null || true
}

# `wait` hears a signal at once; a command in the foreground would keep it to itself.
pause() {
    sleep "$1" &
    wait $! || true
}

# Everybody who should run.
look() {
    for name in "${!children[@]}"; do
        kill -0 "${children[$name]}" 2>/dev/null && continue
        echo "The $name has ended by itself:" >&2
        tail -n 20 "$folder/$name.log" >&2
        clean
        exit 1
    done
}

clean() {
    trap - EXIT INT TERM
    # The agent first: it says goodbye while the broker still listens.
    for name in agent shown subscriber broker; do
        end "$name"
    done
    rm -rf "$folder"
}

packhorse() {
    "$agent" --config "$folder/config.yaml" "$@" 2>/dev/null
}

waiting() {
    packhorse status --json | sed -n 's/.*"waiting":{"messages":\([0-9]*\).*/\1/p'
}

# Has the rest delivered, and counts. Accepted is what the agent has logged as that, received what the subscriber has.
conclude() {
    trap '' INT TERM
    [ -n "${children[broker]:-}" ] || run_broker
    local left=0 accepted received all
    # What is sampled while the agent stops is delivered as well where nothing waits.
    packhorse drain --wait --timeout 20s >/dev/null || left=$(waiting)
    end agent
    accepted=$(sed -n 's/.* accepted stream=[0-9a-f]* seq=[0-9]*\.\.\([0-9]*\)$/\1/p' "$folder"/log/debug.log.* | sort -n | tail -n 1)
    for _ in {1..50}; do
        all=$(sed -n 's/.*"seq":\([0-9]*\),.*/\1/p' "$folder/subscriber.out" | wc -l)
        received=$(sed -n 's/.*"seq":\([0-9]*\),.*/\1/p' "$folder/subscriber.out" | sort -u | wc -l)
        [ "$received" -lt $((${accepted:-0} - ${left:-0})) ] || break
        sleep 0.1
    done
    clean
    echo "The demo has ended; nothing is left behind."
    local kept=""
    [ "${left:-0}" = 0 ] || kept=", waiting $left"
    echo "accepted ${accepted:-0}, received $received, lost $((${accepted:-0} - received - ${left:-0})), duplicated $((all - received))$kept"
    exit 0
}

mosquitto=$(command -v mosquitto || echo /usr/sbin/mosquitto)
run_broker() {
    begin broker "$mosquitto" -c "$folder/mosquitto.conf"
    pause 0.5
}

trap 'clean' EXIT
trap 'clean; echo; echo "The demo has ended; nothing is left behind."; exit 0' INT TERM

for _ in 1 2 3 4 5; do
    # A free port is found by trying: another program may have the one that was drawn.
    port=$((20000 + RANDOM % 20000))
    # What the subscriber has not got yet outlives the outage, too.
    cat >"$folder/mosquitto.conf" <<CONF
listener $port 127.0.0.1
allow_anonymous true
persistence true
persistence_location $folder/
user $(id -un)
CONF
    run_broker
    kill -0 "${children[broker]}" 2>/dev/null && break
    end broker
done
[ -n "${children[broker]:-}" ] || { tail -n 20 "$folder/broker.log" >&2; exit 1; }

cat >"$folder/config.yaml" <<YAML
device: demo
broker:
  url: mqtt://127.0.0.1:$port
retry: {initial_delay: 500ms, factor: 1, max_delay: 500ms, at_max: hold}
telemetry:
  interval: 2s
  sources:
    - {name: board, type: system}
    - {name: wind, type: simulated, interval: 500ms}
spool: {directory: $folder/spool}
logging: {directory: $folder/log, console: warn}
YAML

begin subscriber mosquitto_sub -h 127.0.0.1 -p "$port" -i demo-subscriber -c -q 1 -t 'telemetry/#' -v
pause 0.5
tail -n +1 -f "$folder/subscriber.out" 2>/dev/null &
children[shown]=$!
export RUNTIME_DIRECTORY=$folder
begin agent "$agent" --config "$folder/config.yaml"

echo "A mosquitto listens on 127.0.0.1:$port, packhorse samples this machine, and this is what a subscriber receives."
echo "Ctrl-C ends the demo early."
trap 'echo; conclude' INT TERM
pause "$flow"
look

echo "--- The broker stops. packhorse samples on, and keeps what it samples."
end broker
for ((second = 1; second <= outage; second++)); do
    pause 1
    look
    echo "--- no broker for $second s: $(waiting) messages wait"
done

echo "--- The broker is back. What waits is delivered, in order."
run_broker
packhorse drain --wait --timeout 30s || true
pause "$flow"
look
conclude
