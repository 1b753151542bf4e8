//! A disk that is full, read-only or gone: the agent lives, publishes from memory, counts, and recovers.

use crate::support::{Arrival, Broker, Gateway, Judgement, Settings, SmallDisk, Subscriber, log_files, wait_until};
use std::collections::BTreeMap;

/// What arrived, by stream: the spool's, and that of what came from memory.
fn by_stream(arrivals: &[Arrival]) -> BTreeMap<String, Vec<Arrival>> {
    let mut streams: BTreeMap<String, Vec<Arrival>> = BTreeMap::new();
    for arrival in arrivals {
        streams.entry(arrival.identity().0).or_default().push(arrival.clone());
    }
    streams
}

/// A device whose spool is on a small disk, cut into the smallest segments.
fn gateway_on(disk: &SmallDisk, url: &str, qos: u8) -> Gateway {
    let gateway = Gateway::new(url, &Settings { qos, interval: "1ms", ..Settings::default() });
    gateway.edit(
        &format!("spool: {{directory: {}}}", gateway.spool().display()),
        &format!("spool: {{directory: {}/spool, max_size: 1MiB}}", disk.path().display()),
    );
    gateway
}

fn a_disk_that_fails(qos: u8, fail: impl Fn(&SmallDisk), mend: impl Fn(&SmallDisk)) {
    let Some(disk) = SmallDisk::mount(4 * 1024) else { return };
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let gateway = gateway_on(&disk, &broker.url(), qos);
    let agent = gateway.start();
    subscriber.wait_for_count(100);

    fail(&disk);
    agent.wait_for_output("publishing from memory");
    subscriber.wait_until("messages from memory arrive", |arrivals| by_stream(arrivals).len() == 2);
    let from_memory = |arrivals: &[Arrival]| by_stream(arrivals).values().map(Vec::len).min().unwrap();
    subscriber.wait_until("more of them arrive", |arrivals| from_memory(arrivals) >= 500);
    let before = gateway.accepted_count();
    mend(&disk);
    agent.wait_for_output("the disk works again");
    wait_until("messages are accepted again", || gateway.accepted_count() >= before + 200);
    let accepted = gateway.accepted();
    let (spool, newest) = (accepted.len(), *accepted.last().unwrap().end());
    subscriber.wait_until("everything accepted arrives", |arrivals| {
        arrivals.iter().rev().any(|arrival| arrival.identity().1 >= newest && by_stream(arrivals).len() == 2)
    });
    assert_eq!(agent.stop().code(), Some(0));

    println!("{spool} commits; {} from memory", from_memory(&subscriber.arrivals()));
    for (stream, arrivals) in by_stream(&subscriber.arrivals()) {
        println!("stream {stream}:");
        let judgement = Judgement::of(&arrivals);
        let last = *judgement.seqs.last().unwrap();
        judgement.assert_complete(&[1..=last]);
        judgement.assert_no_duplicates();
    }
    let info = log_files(&gateway.logs(), "info.log.").concat();
    assert_eq!(info.matches("cannot write the spool").count(), 1, "one warning for the row: {info}");
}

#[test]
fn a_full_disk_at_qos_1() {
    a_disk_that_fails(1, SmallDisk::fill, SmallDisk::free);
}

#[test]
fn a_full_disk_at_qos_2() {
    a_disk_that_fails(2, SmallDisk::fill, SmallDisk::free);
}
