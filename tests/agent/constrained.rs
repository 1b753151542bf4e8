//! On constrained hardware: what the agent takes while nothing happens, and that it keeps its promises with little memory
//! and a part of a processor.

use crate::support::{
    Agent, Authority, Broker, ControlGroup, Gateway, Judgement, PATIENCE, Settings, Subscriber, skip, wait_for,
};
use crate::tls;
use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// A gateway that has nothing to do: by default, a sample of the machine every 10 s and a status every minute.
fn resting() -> Settings {
    Settings { interval: "10s", more: String::new(), ..Settings::default() }
}

/// Looks at an agent once it is connected: no thread wakes up twice a second, all of them together use less than a
/// hundredth of a processor, and less than so many KiB are resident.
fn rests(gateway: &Gateway, limit: u64) {
    const SECONDS: u64 = 12;
    gateway.edit("[{name: wind, type: simulated, seed: 7}]", "[{name: board, type: system}]");
    gateway.edit("keep_alive: 5s", "keep_alive: 30s");
    let agent = gateway.start();
    agent.wait_for_output("connected to");
    std::thread::sleep(Duration::from_secs(1));

    let used_before = agent.cpu_ticks();
    let wake_ups = agent.wake_ups_in(Duration::from_secs(SECONDS));
    let used = agent.cpu_ticks() - used_before;
    let [resident, own] = ["VmRSS", "RssAnon"].map(|name| agent.memory(name));

    for (name, wakes) in &wake_ups {
        println!("thread {name}: {wakes} wake-ups in {SECONDS} s");
        assert!(*wakes < 2 * SECONDS, "thread {name} woke {wakes} times in {SECONDS} s");
    }
    for thread in ["sampler", "publisher", "MQTTAsync_send", "MQTTAsync_rcv"] {
        assert!(wake_ups.iter().any(|(name, _)| name == thread), "no thread {thread} in {wake_ups:?}");
    }
    // Of 10 ms.
    println!("{used} ticks of processor time");
    assert!(used < SECONDS, "{used} ticks");
    println!("{resident} KiB are resident, {own} KiB of them its own, the others are of program and libraries");
    assert!(own < 3 * 1024, "{own} KiB");
    if std::env::var_os("PACKHORSE_BINARY").is_some() {
        assert!(resident < limit, "{resident} KiB, {limit} allowed");
    } else {
        skip("how much is resident, for a debug binary is larger; PACKHORSE_BINARY names a release binary");
    }
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn at_rest_it_takes_less_than_8_mib_and_next_to_no_processor_time() {
    let broker = Broker::start();
    rests(&Gateway::new(&broker.url(), &resting()), 8 * 1024);
}

#[test]
fn at_rest_over_tls_it_takes_less_than_12_mib_and_next_to_no_processor_time() {
    let authority = Authority::new();
    let broker = tls::Encrypted::start(&authority, &authority.sign("broker", &["localhost"]), "");
    rests(&tls::gateway(&broker.url("mqtts", "localhost"), &tls::ca(&authority), &resting()), 12 * 1024);
}

/// The bytes of all files in a folder.
fn size(folder: &Path) -> u64 {
    // A file may go while we look.
    fs::read_dir(folder).unwrap().filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).sum()
}

/// A device whose backlog grows fast: many small messages, and large ones that make it long.
fn busy_gateway(url: &str, spool: &Path) -> Gateway {
    let gateway = Gateway::new(url, &Settings { qos: 2, interval: "1ms", ..Settings::default() });
    let text = gateway.config().with_file_name("text");
    fs::write(&text, "telemetry ".repeat(3000)).unwrap();
    let large =
        |number: u32| format!(", {{name: text-{number}, type: file, path: {}, interval: 20ms}}", text.display());
    let large: String = (1..=4).map(large).collect();
    gateway.edit("seed: 7}]", &format!("seed: 7}}{large}]"));
    gateway.edit(&gateway.spool().display().to_string(), &spool.display().to_string());
    gateway
}

/// Says what an agent took, before it ends.
fn report(agent: &Agent, group: &ControlGroup, when: &str) {
    let [peak, own] = ["VmHWM", "RssAnon"].map(|name| agent.memory(name));
    let (all, waits) = (group.peak_memory() >> 10, group.throttled());
    println!("{when}: at most {peak} KiB resident, {own} KiB its own; at most {all} KiB with files, {waits} waits");
}

#[test]
fn with_64_mib_and_a_fifth_of_a_processor_a_longer_backlog_arrives_whole() {
    const MEBIBYTES: u64 = 64;
    let Some(group) = ControlGroup::new(MEBIBYTES, 20) else { return };
    // It is not killed, and writing its store at every change would make it slower than the agent.
    let mut broker = Broker::with("allow_anonymous true\nautosave_on_changes false");
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    // On a disk, also where /tmp is in memory.
    let disk = tempfile::tempdir_in("/var/tmp").unwrap();
    let gateway = busy_gateway(&broker.url(), disk.path());
    broker.stop();

    let agent = gateway.start_in(&group);
    wait_for("the backlog is longer than the memory", 3 * PATIENCE, || {
        assert_eq!(group.killed_for_memory(), 0);
        (size(disk.path()) > (MEBIBYTES + 16) << 20).then_some(())
    });
    report(&agent, &group, "in the outage");
    agent.kill();
    // Less comes than the broker of a busy machine takes.
    gateway.edit("interval: 20ms", "interval: 1s");
    let agent = gateway.start_in(&group);
    agent.wait_for_output("retrying in");
    broker.run();
    subscriber.wait_for_count(1000);
    report(&agent, &group, "in the drain");
    agent.kill();
    let agent = gateway.start_in(&group);
    subscriber.wait_for_count(2000);

    // A stop that has to wait for a broker that says nothing, for all of `shutdown_timeout`.
    broker.pause();
    agent.signal(Signal::TERM);
    let begin = Instant::now();
    assert_eq!(agent.wait().code(), Some(0));
    let stop = begin.elapsed();
    println!("stopped in {stop:?}");
    assert!(stop < Duration::from_secs(2 + 3), "{stop:?}");
    broker.resume();

    let accepted = gateway.accepted();
    let agent = gateway.start_in(&group);
    subscriber.wait_for_all(&accepted);
    report(&agent, &group, "at the end");
    assert_eq!(agent.stop().code(), Some(0));
    let judgement = Judgement::of(&subscriber.arrivals());
    judgement.assert_complete(&accepted);
    judgement.assert_no_duplicates();
    assert_eq!(group.killed_for_memory(), 0);
    assert!(group.throttled() > 0, "there was time enough, which proves nothing");
}
