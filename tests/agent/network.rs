//! A network that goes away and comes back: a back-off of hours ends with it.

use crate::support::{Gateway, Netns, Settings, log_files, stays, wait_until};
use std::time::{Duration, Instant};

#[test]
fn the_agent_connects_within_five_seconds_of_a_route_s_return_and_for_nothing_less() {
    // After two failures the next attempt is an hour away.
    let retry = "{initial_delay: 1h, factor: 2, max_delay: 10h}";
    let gateway = Gateway::new("mqtt://10.99.99.1:1883", &Settings { retry, ..Settings::default() });
    let conf = gateway.logs().with_extension("conf");
    std::fs::write(&conf, "listener 1883 10.99.99.1\nuser root\nallow_anonymous true\n").unwrap();
    let script = format!(
        "ip link set lo up; ip link add wan0 type veth peer name wan1; ip link set wan1 up; ip address add 10.99.99.1/24 dev wan0; ip link set wan0 up; \
         mosquitto=$(command -v mosquitto || echo /usr/sbin/mosquitto); \"$mosquitto\" -c {} & \
         until grep -q :075B /proc/net/tcp; do sleep 0.05; done; \
         ip address delete 10.99.99.1/24 dev wan0; ip link set wan0 down; exec {} --config {}",
        conf.display(),
        env!("CARGO_BIN_EXE_packhorse"),
        gateway.config().display()
    );
    let Some(netns) = Netns::run(&script) else { return };
    let log =
        || if gateway.logs().exists() { log_files(&gateway.logs(), "debug.log.").concat() } else { String::new() };
    wait_until("the agent waits for an hour", || log().contains("retrying in 3"));

    // What comes and goes with containers: interfaces, and an address of another network.
    netns.command(&["ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1"]);
    netns.command(&["ip", "address", "add", "172.30.0.1/24", "dev", "veth0"]);
    netns.command(&["ip", "link", "set", "veth1", "up"]);
    netns.command(&["ip", "link", "set", "veth0", "up"]);
    // The agent looks every 2 s.
    stays("the agent waits", Duration::from_secs(5), || !log().contains("the network has changed"));
    let returned = Instant::now();
    netns.command(&["ip", "link", "set", "wan0", "up"]);
    netns.command(&["ip", "address", "add", "10.99.99.1/24", "dev", "wan0"]);
    wait_until("the agent connects", || log().contains("connected to"));

    println!("connected {:?} after the network's return", returned.elapsed());
    assert!(returned.elapsed() < Duration::from_secs(5), "{:?}", returned.elapsed());
    assert!(log().contains("the network has changed (route to 10.99.99.0/24 on wan0)"), "{}", log());
}
