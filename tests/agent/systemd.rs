//! What the service manager hears: ready, how the agent fares, alive, stopping.

use crate::support::{Agent, Broker, Gateway, Manager, Settings, SmallDisk, stays, wait_until};
use rustix::fs::{Mode, mkfifoat};
use rustix::process::Signal;
use std::fs;
use std::time::{Duration, Instant};

/// What the manager allows to pass between two signs of life, as `$WATCHDOG_USEC`. As short as these machines allow.
const LIMIT: Duration = Duration::from_secs(2);

fn start(gateway: &Gateway, manager: &Manager) -> Agent {
    let limit = LIMIT.as_micros().to_string();
    gateway.start_with(&[("NOTIFY_SOCKET", &manager.socket()), ("WATCHDOG_USEC", &limit)])
}

fn slow() -> Settings {
    Settings { interval: "100ms", ..Settings::default() }
}

#[test]
fn ready_comes_before_the_broker_answers_and_the_status_tells_of_it() {
    let (manager, mut broker) = (Manager::start(), Broker::absent("allow_anonymous true"));
    let gateway = Gateway::new(&broker.url(), &slow());
    let agent = start(&gateway, &manager);

    manager.wait_for("STATUS=no connection yet; messages waiting: ");
    manager.wait_for("STATUS=cannot reach ");
    wait_until("messages wait", || manager.saying("messages waiting: ").iter().any(|(_, said)| !said.ends_with(": 0")));
    broker.run();
    manager.wait_for(&format!("STATUS=connected to {}; ", broker.url()));
    agent.signal(Signal::TERM);
    manager.wait_for("STOPPING=1");
    assert_eq!(agent.wait().code(), Some(0));

    let heard = manager.heard();
    assert_eq!(heard[0].1, "READY=1", "{heard:?}");
    let stop = heard.iter().find(|(_, message)| message.starts_with("STOPPING=1")).unwrap();
    // shutdown_timeout is 2 s, and the disk may take some.
    assert!(stop.1.contains("EXTEND_TIMEOUT_USEC=12000000"), "{stop:?}");
    assert_eq!(manager.saying("READY=1").len(), 1);
}

#[test]
fn ready_does_not_come_when_the_spool_cannot_be_opened() {
    let manager = Manager::start();
    let gateway = Gateway::new("mqtt://127.0.0.1:1", &slow());
    fs::write(gateway.spool(), "a file where the folder should be").unwrap();

    let agent = gateway.launch_with(&[("NOTIFY_SOCKET", &manager.socket())]);

    assert_eq!(agent.wait().code(), Some(74));
    assert!(manager.heard().is_empty());
}

/// Feeding ends not before a step of a thread has taken `LIMIT`, and in time for the manager.
fn assert_starved(manager: &Manager, since: Instant, status: &str) {
    let (told, _) = manager.wait_for(status);
    let last_fed = manager.saying("WATCHDOG=1").last().unwrap().0;
    println!("fed until {:?} after the hang, told after {:?}", last_fed - since, told - since);
    assert!(told - since >= LIMIT, "{:?}", told - since);
    assert!(told - since < 3 * LIMIT, "{:?}", told - since);
    // A feeding each half LIMIT would have come in the meantime.
    stays("it is not fed", LIMIT, || manager.saying("WATCHDOG=1").last().unwrap().0 <= told);
}

#[test]
fn the_watchdog_is_fed_while_the_broker_and_a_source_hang() {
    let (manager, broker) = (Manager::start(), Broker::start());
    let gateway = Gateway::new(&broker.url(), &slow());
    let file = gateway.config().with_file_name("sensor");
    fs::write(&file, "1\n").unwrap();
    gateway.edit("seed: 7}]", &format!("seed: 7}}, {{name: cabinet, type: file, path: {}}}]", file.display()));
    let agent = start(&gateway, &manager);
    manager.wait_for("STATUS=connected");
    broker.pause();
    std::thread::sleep(2 * LIMIT);
    let fed = manager.saying("WATCHDOG=1").len();
    assert!((4..=8).contains(&fed), "fed {fed} times in twice the limit, and while starting");
    assert!(manager.saying("has not come back").is_empty());

    // Whoever opens a FIFO that nobody writes to waits for a writer.
    let fifo = file.with_file_name("fifo");
    mkfifoat(rustix::fs::CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
    let since = Instant::now();
    fs::rename(&fifo, &file).unwrap();

    manager.wait_for("; source cabinet hangs");
    agent.wait_for_output("the source hangs: no reading within 100ms (timeout) source=cabinet");
    std::thread::sleep(2 * LIMIT);
    let fed = manager.saying("WATCHDOG=1").into_iter().filter(|(at, _)| *at > since).count();
    assert!(fed >= 3, "fed {fed} times in twice the limit");
    assert!(manager.saying("has not come back").is_empty());
    broker.resume();
}

#[test]
fn the_watchdog_is_not_fed_when_the_disk_never_answers() {
    let Some(disk) = SmallDisk::mount(16) else { return };
    let (manager, broker) = (Manager::start(), Broker::start());
    let gateway = Gateway::new(&broker.url(), &slow());
    gateway.edit(&gateway.spool().display().to_string(), &disk.path().join("spool").display().to_string());
    let agent = start(&gateway, &manager);
    manager.wait_for("STATUS=connected");

    let since = Instant::now();
    let frozen = disk.freeze();
    assert_starved(&manager, since, "STATUS=the publisher thread has not come back for ");
    drop(frozen);

    agent.wait_for_output("all threads make progress again");
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn a_stop_that_takes_longer_than_the_limit_keeps_feeding() {
    let (manager, broker) = (Manager::start(), Broker::start());
    let gateway = Gateway::new(&broker.url(), &slow());
    gateway.edit("shutdown_timeout: 2s", "shutdown_timeout: 6s");
    gateway.edit("ack_timeout: 2s", "ack_timeout: 50s");
    let agent = start(&gateway, &manager);
    manager.wait_for("STATUS=connected");
    broker.pause();
    let accepted = gateway.accepted_count();
    wait_until("some more are accepted", || gateway.accepted_count() > accepted + 2);

    agent.signal(Signal::TERM);
    let (asked, _) = manager.wait_for("STOPPING=1");
    assert_eq!(agent.wait().code(), Some(0));

    let fed = manager.saying("WATCHDOG=1").into_iter().filter(|(at, _)| *at > asked).count();
    assert!(fed >= 4, "fed {fed} times in three times the limit");
    assert!(manager.saying("has not come back").is_empty());
}

#[test]
fn a_watchdog_costs_few_wake_ups() {
    const SECONDS: u64 = 12;
    let (manager, broker) = (Manager::start(), Broker::start());
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "10s", ..Settings::default() });
    // As in the unit: a minute.
    let environment = [("NOTIFY_SOCKET", manager.socket()), ("WATCHDOG_USEC", "60000000".to_owned())];
    let agent = gateway.start_with(&environment.each_ref().map(|(name, value)| (*name, value.as_str())));
    manager.wait_for("STATUS=connected");
    std::thread::sleep(Duration::from_secs(1));

    let wake_ups = agent.wake_ups_in(Duration::from_secs(SECONDS));

    for (name, wakes) in &wake_ups {
        println!("thread {name}: {wakes} wake-ups in {SECONDS} s");
        if ["packhorse", "sampler", "publisher"].contains(&name.as_str()) {
            assert!(*wakes < 2 * SECONDS, "thread {name} woke {wakes} times in {SECONDS} s");
        }
    }
    assert!(wake_ups.iter().any(|(name, _)| name == "publisher"));
}
