#!/usr/bin/env bash
# Runs libFuzzer on the parsers of the MQTT library's C part, with AddressSanitizer and UndefinedBehaviorSanitizer:
#
#   fuzz/run.sh [SECONDS]   for each of the fuzzers [default: 600]
#
# What they find is left under target/fuzz/NAME/findings; the same program plays such a file again. The corpus grows under
# target/fuzz/NAME/corpus, and begins with what seeds.py writes.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-600}
source=vendor/paho-mqtt-sys/paho.mqtt.c/src
made=${CARGO_TARGET_DIR:-target}/fuzz
mkdir -p "$made/include"

# cmake fills this in elsewhere.
sed 's/@[A-Za-z_]*@/fuzz/g' "$source/VersionInfo.h.in" >"$made/include/VersionInfo.h"
# What the library is built with, but for TLS, which hands on bytes and no packets.
options=(-O1 -g -w -std=gnu99 -D_GNU_SOURCE -DHIGH_PERFORMANCE=1 -DPAHO_MQTT_STATIC=1 -DUNIXSOCK=1
    -fsanitize=address,undefined -fno-sanitize-recover=all -I "$source" -I "$made/include")
# Each of them has a main function, or another interface than MQTTAsync.
library=("$source"/*.c)
for without in MQTTClient.c MQTTVersion.c Heap.c StackTrace.c; do
    library=("${library[@]/$source\/$without/}")
done
objects=()
build() {
    local file=$1 object=$2
    shift 2
    clang "${options[@]}" -fsanitize=fuzzer-no-link "$@" -c "$file" -o "$object"
}
for file in "${library[@]}"; do
    [ -n "$file" ] || continue
    object=$made/$(basename "$file" .c).o
    build "$file" "$object"
    objects+=("$object")
done
link() {
    local name=$1
    shift
    clang "${options[@]}" -fsanitize=fuzzer "$@" -o "$made/fuzz-$name" -lpthread
}

declare -A kinds=([connack]="2 2" [publish]="3 3" [acknowledgements]="4 11" [disconnect]="14 14" [auth]="15 15")
for name in "${!kinds[@]}"; do
    read -r first last <<<"${kinds[$name]}"
    build fuzz/packets.c "$made/packets-$name.o" "-DFIRST=$first" "-DLAST=$last"
    link "$name" "$made/packets-$name.o" "${objects[@]}"
done
build fuzz/websocket.c "$made/websocket.o"
link websocket "$made/websocket.o" "${objects[@]}"
# It includes two files of the library, for what is static there.
build fuzz/client.c "$made/client.o"
others=()
for object in "${objects[@]}"; do
    case $(basename "$object") in MQTTAsyncUtils.o | WebSocket.o) ;; *) others+=("$object") ;; esac
done
link client "$made/client.o" "${others[@]}"

python3 fuzz/seeds.py "$made/seeds"
failed=()
for name in connack publish acknowledgements disconnect auth websocket client; do
    mkdir -p "$made/$name/corpus" "$made/$name/findings"
    echo "fuzzing $name for $seconds s"
    "$made/fuzz-$name" -max_total_time="$seconds" -max_len=4096 -timeout=20 -rss_limit_mb=1024 -print_final_stats=1 \
        -verbosity=0 -artifact_prefix="$made/$name/findings/" "$made/$name/corpus" "$made/seeds/$name" \
        >"$made/$name/log" 2>&1 || failed+=("$name")
    grep -E 'stat::number_of_executed_units|SUMMARY' "$made/$name/log" || true
done
[ ${#failed[@]} -eq 0 ] || {
    for name in "${failed[@]}"; do
        echo "=== $name" >&2
        grep -m1 -A25 -E 'ERROR:|runtime error:' "$made/$name/log" >&2 || tail -20 "$made/$name/log" >&2
    done
    echo "findings in: ${failed[*]}" >&2
    exit 1
}
