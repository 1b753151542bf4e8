//! Sensors that hang or take their time, beside good ones: the good ones stay on their grid, and nothing else waits.

use crate::support::{Agent, Arrival, Broker, Gateway, Manager, STATUS, Settings, Subscriber, scale, skip, wait_until};
use rustix::fs::{CWD, Mode, mkfifoat};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Milliseconds between two samples of a good source.
const INTERVAL: i64 = 100;
const GOOD: usize = 50;
/// Samples that a source takes while the agent starts, which has more to do then.
const SETTLED: usize = 10;
/// A user without privileges, whom nothing else runs as.
const USER: u32 = 54_399;

fn fifo(gateway: &Gateway, name: &str) -> PathBuf {
    let path = gateway.config().with_file_name(name);
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
    path
}

/// Whoever reads the FIFO waits for three seconds each time. It ends with the test's process.
fn answer_slowly(path: &Path) {
    let path = path.to_owned();
    std::thread::spawn(move || {
        while let Ok(mut file) = fs::OpenOptions::new().write(true).open(&path) {
            std::thread::sleep(Duration::from_secs(3));
            let _ = file.write_all(b"3\n");
            drop(file);
            // The reader sees the end only while nobody has the pipe open for writing.
            std::thread::sleep(Duration::from_millis(100));
        }
    });
}

/// A gateway with one source that hangs for ever, one that takes three seconds, and the good ones.
fn gateway(broker: &Broker) -> Gateway {
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "100ms", qos: 0, ..Settings::default() });
    let [gate, slow] = ["gate", "slow"].map(|name| fifo(&gateway, name));
    answer_slowly(&slow);
    let good = (0..GOOD).map(|number| {
        let path = gateway.config().with_file_name(format!("good-{number}"));
        fs::write(&path, format!("{number}\n")).unwrap();
        format!("{{name: good-{number}, type: file, path: {}}}", path.display())
    });
    let hung = format!("{{name: gate, type: file, path: {}, interval: 1s}}", gate.display());
    let slow = format!("{{name: slow, type: file, path: {}, interval: 5s}}", slow.display());
    let sources: Vec<String> = [hung, slow].into_iter().chain(good).collect();
    gateway.edit("{name: wind, type: simulated, seed: 7}", &sources.join(", "));
    gateway
}

fn milliseconds(arrival: &Arrival) -> i64 {
    let time = arrival.payload["time"].as_str().unwrap();
    chrono::DateTime::parse_from_rfc3339(time).unwrap().timestamp_millis()
}

/// How late each sample of the good sources was, in milliseconds, and how many ticks have none.
fn lateness(arrivals: &[Arrival]) -> (Vec<i64>, i64) {
    let mut times: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for arrival in arrivals.iter().filter(|arrival| arrival.topic.contains("/good-")) {
        times.entry(&arrival.topic).or_default().push(milliseconds(arrival));
    }
    assert_eq!(times.len(), GOOD);
    let settled: Vec<&[i64]> = times.values().map(|times| &times[SETTLED..]).collect();
    // All grids begin at the same moment, and that is where the earliest sample of all was on time: whoever always comes
    // last in the row of a tick is late.
    let origin = settled[0][0];
    let since_tick = |time: &i64| time - origin - (time - origin + INTERVAL / 2).div_euclid(INTERVAL) * INTERVAL;
    let grid = origin + settled.concat().iter().map(since_tick).min().unwrap();
    let (mut late, mut missed) = (Vec::new(), 0);
    for times in settled {
        let ticks: Vec<i64> = times.iter().map(|time| (time - grid).div_euclid(INTERVAL)).collect();
        late.extend(times.iter().map(|time| (time - grid).rem_euclid(INTERVAL)));
        missed += ticks.windows(2).map(|pair| pair[1] - pair[0] - 1).sum::<i64>();
    }
    late.sort_unstable();
    (late, missed)
}

#[test]
fn whoever_always_comes_last_in_the_row_of_a_tick_is_late() {
    let sample = |source: usize, tick: i64| {
        let late = if source == GOOD - 1 { 30 } else { 0 };
        let time = chrono::DateTime::from_timestamp_millis(INTERVAL * tick + 57 + late).unwrap().to_rfc3339();
        Arrival {
            topic: format!("telemetry/gateway-7/good-{source}"),
            payload: serde_json::json!({ "time": time }),
            ..Arrival::default()
        }
    };
    let arrivals: Vec<Arrival> = (0..100).flat_map(|tick| (0..GOOD).map(move |source| sample(source, tick))).collect();

    let (late, missed) = lateness(&arrivals);

    assert_eq!((late.iter().filter(|late| **late == 30).count(), missed), (100 - SETTLED, 0));
    assert_eq!(late.iter().filter(|late| **late == 0).count(), (GOOD - 1) * (100 - SETTLED));
}

/// How late this process itself wakes up on a grid of ten milliseconds meanwhile, in milliseconds, at the 99th percentile:
/// what a busy machine costs whoever sleeps.
fn lateness_of_a_bystander(time: Duration) -> i64 {
    let start = Instant::now();
    let mut late: Vec<Duration> = (1..)
        .map(|tick| start + Duration::from_millis(10) * tick)
        .take_while(|due| *due < start + time)
        .map(|due| {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            due.elapsed()
        })
        .collect();
    late.sort_unstable();
    i64::try_from(late[late.len() * 99 / 100].as_millis()).unwrap()
}

fn thread_count(agent: &Agent) -> usize {
    fs::read_dir(format!("/proc/{}/task", agent.id())).unwrap().count()
}

#[test]
fn fifty_sources_stay_on_their_grid_beside_one_that_hangs_and_one_that_takes_three_seconds() {
    let (broker, manager) = (Broker::start(), Manager::start());
    let subscriber = Subscriber::start(&broker.url(), "telemetry/#");
    let status = Subscriber::start(&broker.url(), STATUS);
    let gateway = gateway(&broker);
    gateway.turn_status_on();

    let agent = gateway.start_with(&[("NOTIFY_SOCKET", &manager.socket()), ("WATCHDOG_USEC", "2000000")]);
    let time = Duration::from_secs(scale(10, 60) as u64);
    let noise = lateness_of_a_bystander(time);
    let (threads, resident) = (thread_count(&agent), agent.memory("VmRSS"));
    manager.wait_for("; source gate hangs");
    let named = |arrival: &Arrival| arrival.payload["hanging"] == serde_json::json!(["gate"]);
    status.wait_until("the status message names it", |arrivals| arrivals.iter().any(named));
    let fed = manager.saying("WATCHDOG=1").len() as u64;
    let output = agent.output();
    let asked = Instant::now();
    assert_eq!(agent.stop().code(), Some(0));
    let stopped = asked.elapsed();

    let arrivals = subscriber.arrivals();
    let (late, missed) = lateness(&arrivals);
    let p99 = late[late.len() * 99 / 100];
    let worst = late.last().unwrap();
    println!(
        "{} samples of {GOOD} sources in {time:?}: p99 {p99} ms late (a bystander {noise}), worst {worst} ms, {missed} missed; \
         {threads} threads, {resident} KiB resident; stopped after {stopped:?}",
        late.len()
    );
    // A debug build takes its time for fifty readings in a row.
    let allowed = if cfg!(debug_assertions) && std::env::var_os("PACKHORSE_BINARY").is_none() { 25 } else { 5 };
    // A tick is a row of threads that wake each other up.
    assert!(p99 < allowed + 3 * noise, "{p99} ms");
    assert_eq!(missed, 0);
    assert!(late.len() as u64 > GOOD as u64 * (time.as_secs() * 10 - 30));
    assert!(arrivals.iter().any(|arrival| arrival.topic.ends_with("/slow")), "the slow one is sampled, too");
    // What waits for a processor looks like what hangs, for two milliseconds.
    assert!(threads < 16 + 2 * usize::try_from(noise).unwrap(), "{threads} threads");
    assert!(resident < 32 * 1024, "{resident} KiB");
    assert!(fed >= time.as_secs(), "fed {fed} times");
    assert_eq!(output.matches("the source hangs: no reading within 1s (timeout) source=gate").count(), 1, "{output}");
    assert!(!output.contains("ticks missed source=gate"), "{output}");
    assert!(stopped < Duration::from_secs(2), "{stopped:?}");
}

#[test]
fn a_source_that_answers_late_is_sampled_again_and_what_was_late_is_thrown_away() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/+/gate");
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    let gate = fifo(&gateway, "gate");
    gateway
        .edit("seed: 7}", &format!("seed: 7}}, {{name: gate, type: file, path: {}, interval: 300ms}}", gate.display()));
    let agent = gateway.start();
    agent.wait_for_output("the source hangs: no reading within 300ms (timeout) source=gate");

    // What a writer says goes to the reading that hangs; then a file takes the place of the pipe.
    fs::write(gate.with_file_name("file"), "2\n").unwrap();
    let late = fs::OpenOptions::new().write(true).open(&gate).unwrap();
    fs::rename(gate.with_file_name("file"), &gate).unwrap();
    (&late).write_all(b"1\n").unwrap();
    drop(late);
    agent.wait_for_output("source answers again source=gate");
    subscriber.wait_for_count(3);

    let values: Vec<_> = subscriber.arrivals().iter().map(|arrival| arrival.payload["data"]["value"].clone()).collect();
    assert!(values.iter().all(|value| *value == 2), "{values:?}");
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn a_hundred_sources_that_hang_hold_up_none_and_take_a_thread_each() {
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/+/wind");
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "100ms", ..Settings::default() });
    let gate = fifo(&gateway, "gate").display().to_string();
    let hung: Vec<String> = (0..100).map(|number| format!("{{name: h{number}, type: file, path: {gate}}}")).collect();
    gateway.edit("seed: 7}", &format!("seed: 7}}, {}", hung.join(", ")));

    let agent = gateway.start();
    agent.wait_for_output("(timeout) source=h99");
    let before = subscriber.arrivals().len();
    subscriber.wait_for_count(before + 20);

    let threads = thread_count(&agent);
    assert!((100..120).contains(&threads), "{threads} threads");
    assert!(agent.memory("VmRSS") < 32 * 1024, "{}", agent.memory("VmRSS"));
    let asked = Instant::now();
    assert_eq!(agent.stop().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}

/// Lets the agent's user have so many threads, in all of its processes.
fn limit_threads(agent: &Agent, limit: u32) {
    // The hard limit stays, so that no privileges are needed.
    let arguments = [format!("--pid={}", agent.id()), format!("--nproc={limit}:")];
    let status = Command::new("prlimit").args(arguments).uid(USER).gid(USER).status();
    assert!(status.unwrap().success());
}

#[test]
fn a_thread_that_cannot_be_had_is_logged_once_and_not_asked_for_all_the_time() {
    if !rustix::process::geteuid().is_root() {
        skip("threads are counted by user, and only root can start the agent as another");
        return;
    }
    let broker = Broker::start();
    let subscriber = Subscriber::start(&broker.url(), "telemetry/+/last");
    let gateway = Gateway::new(&broker.url(), &Settings { interval: "500ms", ..Settings::default() });
    let path = |name: &str| gateway.config().with_file_name(name);
    // Far more than there are helpers: all of these hang when the sources do.
    let names: Vec<String> = (0..40).map(|number| format!("s{number}")).chain(["last".to_owned()]).collect();
    let sources = names.iter().map(|name| {
        fs::write(path(name), "1\n").unwrap();
        format!("{{name: {name}, type: file, path: {}, timeout: 5s}}", path(name).display())
    });
    gateway.edit("{name: wind, type: simulated, seed: 7}", &sources.collect::<Vec<_>>().join(", "));
    let agent = gateway.start_as(USER);
    subscriber.wait_for_count(1);

    limit_threads(&agent, 1);
    let pipe = fifo(&gateway, "pipe");
    chown(&pipe, Some(USER), Some(USER)).unwrap();
    for name in names.iter().filter(|name| *name != "last") {
        fs::hard_link(&pipe, path("link")).unwrap();
        fs::rename(path("link"), path(name)).unwrap();
    }
    let failure = "no thread can be started to read a source";
    agent.wait_for_output(failure);
    let began = Instant::now();
    wait_until("time passes", || began.elapsed() > Duration::from_secs(3));
    let lines = gateway.logged(failure);
    limit_threads(&agent, 1000);
    agent.wait_for_output("threads to read sources can be started again failures=");

    assert_eq!(lines, 1);
    let output = agent.output();
    let failures = output.split("again failures=").nth(1).unwrap().lines().next().unwrap().parse::<u64>().unwrap();
    assert!(failures <= began.elapsed().as_secs() + 1, "{failures} in {:?}", began.elapsed());
    let before = subscriber.arrivals().len();
    subscriber.wait_for_count(before + 2);
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn an_edit_is_applied_while_a_sensor_is_unplugged() {
    let broker = Broker::start();
    let gateway = Gateway::new(&broker.url(), &Settings::default());
    gateway.add_text_source("cabinet", "1", "100ms");
    let agent = gateway.start();
    agent.wait_for_output("connected to");

    fs::remove_file(gateway.logs().with_extension("txt")).unwrap();
    agent.wait_for_output("sample failed; trying again at the next tick source=cabinet");
    gateway.edit("window: 100", "window: 50");

    wait_until("the edit is applied", || agent.output().contains("configuration changed"));
    assert!(!agent.output().contains("configuration not applied"), "{}", agent.output());
    assert_eq!(agent.stop().code(), Some(0));
}
