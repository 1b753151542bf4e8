#!/usr/bin/env bash
# Runs the core of the tests on the binaries that scripts/arm.sh built, on qemu: what must hold on a device, as far as
# an emulator of the processor alone can show it. The brokers and the tests themselves are this machine's.
set -euo pipefail
cd "$(dirname "$0")/.."

targets=(aarch64-unknown-linux-gnu armv7-unknown-linux-gnueabihf)
# Publishing at each QoS and over TLS, `kill -9` and going on, stopping. The others either hold the agent to times that an
# emulator cannot keep, or reach into its process with tools of this machine.
tests=(
    delivery::a_message_is_as_documented
    delivery::qos_0_over_mqtt_5
    delivery::qos_1_over_mqtt_3_1_1
    delivery::qos_1_over_mqtt_5
    delivery::qos_2_over_mqtt_3_1_1
    delivery::qos_2_over_mqtt_5
    kills::
    stop::
    tls::
)
# Seconds that the tests of one target may take. They took 116 to 180 on two cores with other work.
limit=600

for target in "${targets[@]}"; do
    start=$SECONDS
    PACKHORSE_BINARY=$(realpath "${CARGO_TARGET_DIR:-target}/arm/$target/run")
    export PACKHORSE_BINARY
    cargo test --no-run --test check --test agent
    timeout "$limit" cargo test --test check
    # Not all at once: what shares the cores with an emulator misses its time limits.
    timeout "$limit" cargo test --test agent -- --test-threads 2 "${tests[@]}"
    PACKHORSE_BINARY=$(realpath "${CARGO_TARGET_DIR:-target}/arm/$target/release/packhorse") cargo test --test hardening
    echo "$target: the core of the tests took $((SECONDS - start)) s"
done
