//! A power cut under the real agent: what had not reached the medium is gone.

use crate::support::{Broker, Gateway, Judgement, Settings, SmallDisk, Subscriber, wait_until};

/// The window, and the finished messages that may not be on the medium (the README's figures).
const REPEATED: usize = 100 + 2500;

fn a_power_cut_repeats_little(qos: u8) {
    let Some(disk) = SmallDisk::mount(32) else { return };
    let mut broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let port = broker.port();
    broker.stop();
    let gateway =
        Gateway::new(&format!("mqtt://127.0.0.1:{port}"), &Settings { qos, interval: "1ms", ..Settings::default() });
    let spool = |disk: &SmallDisk| disk.path().join("spool").display().to_string();
    gateway.edit(&gateway.spool().display().to_string(), &spool(&disk));
    let agent = gateway.start();
    wait_until("a backlog of more than may be repeated", || gateway.accepted_count() >= REPEATED * 3 / 2);
    agent.stop();

    // All of it fits in one segment, whose end would flush the journal.
    gateway.edit("interval: 1ms", "interval: 100ms");
    broker.run();
    let agent = gateway.start();
    subscriber.wait_for_all(&gateway.accepted());
    let cut = disk.after_power_cut();
    agent.kill();
    let before = gateway.accepted_count();
    gateway.edit(&spool(&disk), &spool(&cut));
    let agent = gateway.start();
    wait_until("more is accepted", || gateway.accepted_count() > before);
    subscriber.wait_for_all(&gateway.accepted());
    agent.kill();

    let repeated = Judgement::of(&subscriber.arrivals()).duplicates;
    println!("{repeated} of {before} messages were repeated");
    assert!(repeated <= REPEATED, "{repeated} of {before} messages were repeated");
}

#[test]
fn a_power_cut_repeats_little_at_qos_1() {
    a_power_cut_repeats_little(1);
}

#[test]
fn a_power_cut_repeats_little_at_qos_2() {
    a_power_cut_repeats_little(2);
}
