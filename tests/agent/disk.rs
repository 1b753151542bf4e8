//! A disk that is full, read-only or gone: the agent lives, publishes from memory, counts, and recovers.

use crate::support::{
    Agent, Arrival, Broker, Gateway, Judgement, Settings, SmallDisk, Subscriber, log_files, skip, wait_until,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// What the system calls say (errno-base.h).
const EIO: i32 = 5;
const EROFS: i32 = 30;

/// What arrived, by stream: the spool's, and that of what came from memory.
fn by_stream(arrivals: &[Arrival]) -> BTreeMap<String, Vec<Arrival>> {
    let mut streams: BTreeMap<String, Vec<Arrival>> = BTreeMap::new();
    for arrival in arrivals {
        streams.entry(arrival.identity().0).or_default().push(arrival.clone());
    }
    streams
}

/// How messages go while the disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// From memory; `repeated` of them at most arrive twice.
    FromMemory { repeated: usize },
    /// From memory until a segment is finished, whose file the spool uses again: a full disk has room for that.
    Any,
}

/// A device whose spool is on a small disk, cut into the smallest segments.
fn gateway_on(disk: &SmallDisk, url: &str, qos: u8) -> Gateway {
    let gateway = Gateway::new(url, &Settings { qos, interval: "1ms", ..Settings::default() });
    gateway.put_spool_on(disk, "1MiB");
    gateway
}

/// The disk fails and works again while messages flow: both streams are complete, and the log says so once. `way`: how
/// messages go while the disk fails.
fn survives(broker: &Broker, gateway: &Gateway, agent: Agent, fail: impl Fn(&Agent), mend: impl Fn(&Agent), way: Way) {
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    subscriber.wait_for_count(100);
    let (spool, first) = subscriber.arrivals()[0].identity();
    fail(&agent);
    let already = subscriber.arrivals().len();
    match way {
        Way::FromMemory { .. } => {
            agent.wait_for_output("publishing from memory");
            subscriber.wait_until("messages from memory arrive", |arrivals| {
                arrivals.iter().filter(|arrival| arrival.identity().0 != spool).count() >= 300
            });
        }
        Way::Any => subscriber.wait_for_count(already + 1000),
    }
    let before = gateway.accepted_count();
    mend(&agent);
    if way != Way::Any {
        agent.wait_for_output("the disk works again");
    }
    wait_until("messages are accepted again", || gateway.accepted_count() >= before + 200);
    let accepted = gateway.accepted();
    let newest = *accepted.last().unwrap().end();
    subscriber.wait_until("everything accepted arrives", |arrivals| {
        arrivals.iter().rev().any(|arrival| arrival.identity() == (spool.clone(), newest))
    });
    assert_eq!(agent.stop().code(), Some(0));

    // A connection that is lost on a busy machine may repeat a window at QoS 1, which says nothing of the disk.
    let losses = log_files(&gateway.logs(), "debug.log.").concat().matches("; retrying ").count();
    let allowed = losses * 100 + if let Way::FromMemory { repeated } = way { repeated } else { 0 };
    for (stream, arrivals) in by_stream(&subscriber.arrivals()) {
        let judgement = Judgement::of(&arrivals);
        let expected = if stream == spool { first } else { 1 };
        println!("stream {stream}, from {expected}");
        let last = *judgement.seqs.last().unwrap();
        assert!((expected..=last).all(|seq| judgement.seqs.contains(&seq)), "a gap in {stream}");
        assert!(judgement.disorder.is_empty(), "{:?}", judgement.disorder);
        assert!(judgement.duplicates <= allowed, "{} duplicates, {losses} connections lost", judgement.duplicates);
    }
    let info = log_files(&gateway.logs(), "info.log.").concat();
    let warnings = info.matches("cannot write the spool").count();
    assert!(warnings == 1 || way == Way::Any, "one warning for the row: {info}");
}

fn a_full_disk(qos: u8) {
    let Some(disk) = SmallDisk::mount(16) else { return };
    let broker = Broker::start();
    let gateway = gateway_on(&disk, &broker.url(), qos);
    let agent = gateway.start();
    survives(&broker, &gateway, agent, |_| disk.fill(), |_| disk.free(), Way::Any);
}

#[test]
fn a_full_disk_at_qos_1() {
    a_full_disk(1);
}

#[test]
fn a_full_disk_at_qos_2() {
    a_full_disk(2);
}

/// A device on a small disk whose broker is away. Messages of 20 kB fill the disk within seconds.
fn gateway_without_a_broker(max_size: &str) -> Option<(SmallDisk, Broker, Subscriber, Gateway)> {
    let disk = SmallDisk::mount(8)?;
    let mut broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    broker.stop();
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "100ms", ..Settings::default() });
    gateway.add_text_source("camera", &"x".repeat(20_000), "10ms");
    gateway.put_spool_on(&disk, max_size);
    Some((disk, broker, subscriber, gateway))
}

/// What was accepted, is there, and did not give way arrives without a gap; how many gave way.
fn the_rest_arrives(mut broker: Broker, subscriber: &Subscriber, gateway: &Gateway, agent: Agent) -> u64 {
    let newest = *gateway.accepted().last().unwrap().end();
    broker.run();
    subscriber
        .wait_until("the newest arrives", |arrivals| arrivals.iter().any(|arrival| arrival.identity().1 >= newest));
    assert_eq!(agent.stop().code(), Some(0));
    let streams = by_stream(&subscriber.arrivals());
    let arrivals = streams.values().max_by_key(|arrivals| arrivals.len()).unwrap();
    let judgement = Judgement::of(arrivals);
    let (first, last) = (*judgement.seqs.first().unwrap(), *judgement.seqs.last().unwrap());
    assert!((first..=last).all(|seq| judgement.seqs.contains(&seq)), "a gap behind {first}");
    assert!(last >= newest && judgement.disorder.is_empty(), "{last}, {newest}, {:?}", judgement.disorder);
    first - 1
}

#[test]
fn on_a_disk_that_is_smaller_than_the_spool_the_oldest_give_way() {
    let Some((_disk, broker, subscriber, gateway)) = gateway_without_a_broker("256MiB") else { return };
    let agent = gateway.start();
    agent.wait_for_output("the disk is full; the oldest messages give way");
    agent.wait_for_output("spool full; oldest messages dropped");

    let before = gateway.accepted_count();
    wait_until("the newest are accepted", || gateway.accepted_count() >= before + 300);
    let gave_way = the_rest_arrives(broker, &subscriber, &gateway, agent);

    assert!(gave_way >= 50, "{gave_way} gave way: a segment of 1 MiB at least");
    assert_eq!(gateway.logged("the disk is full; "), 1, "it stays full");
}

#[test]
fn where_something_else_fills_the_disk_the_oldest_give_way() {
    let Some((disk, broker, subscriber, gateway)) = gateway_without_a_broker("4MiB") else { return };
    let agent = gateway.start();
    wait_until("some segments", || gateway.accepted_count() >= 60);
    disk.fill();
    agent.wait_for_output("the disk is full; the oldest messages give way");

    let before = gateway.accepted_count();
    wait_until("the newest are accepted", || gateway.accepted_count() >= before + 100);
    disk.free();

    assert!(the_rest_arrives(broker, &subscriber, &gateway, agent) > 0);
}

#[test]
fn on_a_full_disk_nothing_accepted_gives_way_where_the_newest_are_to_be_dropped() {
    let Some((disk, mut broker, subscriber, gateway)) = gateway_without_a_broker("256MiB") else { return };
    gateway.edit("max_size: 256MiB", "max_size: 256MiB, when_full: drop_newest");
    gateway.edit("status: {topic: ~}", "status: {topic: ~}\nchannel: {capacity: 20}");
    let agent = gateway.start();
    agent.wait_for_output("channel full");

    let accepted = gateway.accepted();
    broker.run();
    subscriber.wait_for_all(&accepted);

    assert_eq!(gateway.logged("give way"), 0);
    drop((agent, disk));
}

/// Debian's fiu-utils make the system calls of a process fail. `None` where they are not installed, which is said.
fn preload() -> Option<&'static str> {
    const LIBRARIES: &str = "/usr/lib/fiu/fiu_run_preload.so /usr/lib/fiu/fiu_posix_preload.so";
    if LIBRARIES.split(' ').all(|library| Path::new(library).exists()) {
        return Some(LIBRARIES);
    }
    skip("fiu-utils is not installed");
    None
}

/// Tells the agent's preloaded library what is to fail, or not any more.
pub fn control(fifo: &Path, agent: &Agent, command: &str) {
    let output = Command::new("fiu-ctrl").arg("-f").arg(fifo).args(["-c", command, &agent.id().to_string()]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn a_disk_whose_calls_fail(calls: &str, error: i32, qos: u8, repeated: usize) {
    a_disk_whose_calls_fail_while(calls, error, qos, repeated, |_, _| {});
}

/// `meanwhile` is done while the disk fails.
fn a_disk_whose_calls_fail_while(
    calls: &str,
    error: i32,
    qos: u8,
    repeated: usize,
    meanwhile: impl Fn(&Gateway, &Agent),
) {
    let Some(preload) = preload() else { return };
    let broker = Broker::start();
    let gateway = Gateway::new(&broker.url(), &Settings { qos, interval: "2ms", ..Settings::default() });
    let fifo = gateway.logs().with_extension("fiu");
    let agent = gateway.start_with(&[("LD_PRELOAD", preload), ("FIU_CTRL_FIFO", fifo.to_str().unwrap())]);
    let fail = |agent: &Agent| {
        control(&fifo, agent, &format!("enable name={calls},failinfo={error}"));
        meanwhile(&gateway, agent);
    };
    let mend = |agent: &Agent| control(&fifo, agent, &format!("disable name={calls}"));
    survives(&broker, &gateway, agent, fail, mend, Way::FromMemory { repeated });
}

#[test]
fn a_disk_that_cannot_flush() {
    a_disk_whose_calls_fail("posix/io/sync/fdatasync", EIO, 1, 0);
}

#[test]
fn a_disk_that_cannot_write() {
    a_disk_whose_calls_fail("posix/io/rw/pwrite", EIO, 1, 0);
}

#[test]
fn a_disk_that_has_become_read_only() {
    a_disk_whose_calls_fail("posix/io/rw/pwrite", EROFS, 1, 0);
}

#[test]
fn a_disk_that_cannot_note_what_is_in_flight_at_qos_2() {
    // What is in flight when the session has to be given up may be repeated: at most a window.
    a_disk_whose_calls_fail("posix/io/rw/pwrite", EIO, 2, 20);
}

#[test]
fn another_configuration_takes_over_what_the_disk_did_not_take() {
    // As above.
    for (qos, repeated) in [(1, 0), (2, 20)] {
        a_disk_whose_calls_fail_while("posix/io/rw/pwrite", EIO, qos, repeated, |gateway, agent| {
            agent.wait_for_output("publishing from memory");
            gateway.edit("window: 100", "window: 50");
            agent.wait_for_output("configuration changed; connecting anew");
        });
    }
}
