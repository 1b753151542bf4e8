//! A disk that does not answer for a while costs no connection: the broker is judged by its own time.

use crate::support::{
    Broker, Gateway, Judgement, PacketKind, Proxy, Settings, SmallDisk, Subscriber, log_files, wait_until,
};
use std::time::Duration;

/// The configuration's `ack_timeout`, and how long the disk stalls: longer, and shorter than the broker waits for a sign
/// of life.
const ACK_TIMEOUT: &str = "1s";
const STALL: Duration = Duration::from_millis(2500);

/// A device whose spool, and nothing else, is on a disk that can stall, some way off from the broker: there is always
/// something in flight.
fn gateway_on(disk: &SmallDisk, broker: &Broker, qos: u8) -> (Gateway, Proxy) {
    let proxy = Proxy::start(broker.port());
    proxy.delay(Duration::from_millis(20));
    let more = "status: {interval: 1s}".to_owned();
    let gateway = Gateway::new(&proxy.url(), &Settings { qos, interval: "2ms", more, ..Settings::default() });
    gateway.edit("ack_timeout: 2s", &format!("ack_timeout: {ACK_TIMEOUT}"));
    gateway.edit(&gateway.spool().display().to_string(), &disk.path().join("spool").display().to_string());
    (gateway, proxy)
}

fn stall(disk: &SmallDisk) {
    let frozen = disk.freeze();
    std::thread::sleep(STALL);
    drop(frozen);
}

fn a_stall_costs_no_connection(qos: u8) {
    let Some(disk) = SmallDisk::mount(16) else { return };
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let (gateway, proxy) = gateway_on(&disk, &broker, qos);
    let agent = gateway.start();

    for stalls in 1..=2 {
        subscriber.wait_for_count(100 * stalls);
        stall(&disk);
    }

    let before = subscriber.arrivals().len();
    wait_until("messages flow again", || subscriber.arrivals().len() >= before + 200);
    let log = log_files(&gateway.logs(), "debug.log.").concat();
    assert_eq!(log.matches("; retrying ").count(), 0, "a connection was lost");
    assert_eq!(proxy.packets(PacketKind::Connect), 1);
    assert_eq!(agent.stop().code(), Some(0));
    Judgement::of_the_rest(&gateway, &subscriber).assert_no_duplicates();
}

#[test]
fn a_disk_that_stalls_costs_no_connection_at_qos_0() {
    a_stall_costs_no_connection(0);
}

#[test]
fn a_disk_that_stalls_costs_no_connection_at_qos_1() {
    a_stall_costs_no_connection(1);
}

#[test]
fn a_disk_that_stalls_costs_no_connection_at_qos_2() {
    a_stall_costs_no_connection(2);
}

#[test]
fn a_stop_on_a_disk_that_stalls_waits_for_what_is_in_flight() {
    let Some(disk) = SmallDisk::mount(16) else { return };
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let (gateway, proxy) = gateway_on(&disk, &broker, 1);
    gateway.edit("shutdown_timeout: 2s", "shutdown_timeout: 1s");
    let agent = gateway.start();
    subscriber.wait_for_count(100);

    let frozen = disk.freeze();
    agent.signal(rustix::process::Signal::TERM);
    std::thread::sleep(STALL);
    drop(frozen);

    assert_eq!(agent.wait().code(), Some(0));
    wait_until("the connection has ended in order", || proxy.packets(PacketKind::Disconnect) == 1);
    Judgement::of_the_rest(&gateway, &subscriber).assert_no_duplicates();
}
