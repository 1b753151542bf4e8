//! What the length of the backlog costs: it should be nothing.
//!
//! `cargo bench --bench scale` builds backlogs of 10,000 to 1,000,000 messages of 200 bytes, starts the agent on each
//! and prints, as medians of three rounds: the peak memory of the process that built the backlog, the time
//! from the agent's start until it says "spool opened", its peak memory before it reaches a broker, and peak memory and
//! messages per second while it drains to a mosquitto on the loopback at QoS 1, and the CPU time that each message takes,
//! which tells other work on the machine from ours; and how long `spool list --limit 10` takes. Of a long backlog the first 200,000 messages are drained.
//! `-- --full` goes on to 10,000,000, which takes 2 GB of disk and some minutes.

#[allow(dead_code, unused_imports, reason = "the tests use the rest")]
#[path = "../tests/agent/support/mod.rs"]
mod support;

mod load;

use load::{MARKS, agent, fill, median, peak, samples, seconds};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::{Broker, Subscriber};

/// What a rate is measured over, where there are so many messages: the first and the last of them are marked.
const STRETCH: u64 = 200_000;
/// Each takes the backlogs in turn, so that other work on the machine falls on all of them.
const ROUNDS: usize = 3;
const WINDOW: u16 = 100;

/// The most that a backlog may cost, however long it is.
const START_UP_SECONDS: f64 = 2.0;
const MEMORY_KIB: f64 = 16.0 * 1024.0;
const LIST_SECONDS: f64 = 0.1;
/// How far the rates may lie below that of the shortest backlog.
const RATE: f64 = 0.9;

/// One backlog's place on the curve. Memory in KiB.
struct Figures {
    building: f64,
    start_up: f64,
    started: f64,
    draining: f64,
    rate: f64,
    /// Of CPU time for each message.
    microseconds: f64,
    /// Seconds.
    list: f64,
}

fn main() {
    if let Ok(folder) = std::env::var("SCALE_BUILD") {
        let count = std::env::var("SCALE_COUNT").unwrap().parse().unwrap();
        let stretch = stretch(count);
        fill(Path::new(&folder), count, samples(|number| number == 1 || number == stretch));
        return println!("{}", peak(std::process::id()));
    }
    let full = std::env::args().any(|argument| argument == "--full");
    let counts = [10_000, 100_000, 1_000_000, 10_000_000];
    let counts = &counts[..if full { 4 } else { 3 }];
    let rounds: Vec<Vec<Figures>> = (0..ROUNDS).map(|_| counts.iter().map(|count| measure(*count)).collect()).collect();
    println!(
        "{:>10} {:>14} {:>10} {:>14} {:>14} {:>8} {:>10} {:>8}",
        "backlog", "building, KiB", "start, ms", "started, KiB", "draining, KiB", "msg/s", "us CPU/msg", "list, ms"
    );
    let mut curve = Vec::new();
    for (place, count) in counts.iter().enumerate() {
        let of = |value: fn(&Figures) -> f64| median(rounds.iter().map(|round| value(&round[place])).collect());
        let figures = Figures {
            building: of(|figures| figures.building),
            start_up: of(|figures| figures.start_up),
            started: of(|figures| figures.started),
            draining: of(|figures| figures.draining),
            rate: of(|figures| figures.rate),
            microseconds: of(|figures| figures.microseconds),
            list: of(|figures| figures.list),
        };
        let Figures { building, start_up, started, draining, rate, microseconds, list } = figures;
        println!(
            "{count:10} {building:14.0} {:10.1} {started:14.0} {draining:14.0} {rate:8.0} {microseconds:10.1} {:8.1}",
            start_up * 1000.0,
            list * 1000.0
        );
        curve.push(figures);
    }
    let verdict = |met| if met { "met" } else { "missed" };
    let all = |holds: &dyn Fn(&Figures) -> bool| verdict(curve.iter().all(holds));
    println!("target: starts within 2 s: {}", all(&|figures| figures.start_up < START_UP_SECONDS));
    println!("target: lists 10 within 100 ms: {}", all(&|figures| figures.list < LIST_SECONDS));
    println!("target: under 16 MiB: {}", all(&|figures| figures.started.max(figures.draining) < MEMORY_KIB));
    println!(
        "target: drains within 10 % of the shortest backlog's rate: {}",
        all(&|figures| figures.rate >= curve[0].rate * RATE)
    );
}

fn stretch(count: u64) -> u64 {
    count.min(STRETCH)
}

fn measure(count: u64) -> Figures {
    let folder = tempfile::tempdir().unwrap();
    let building = build(folder.path(), count);

    let absent = Agent::start(&Broker::absent("").url(), folder.path());
    // Time for the first attempt to connect, which brings the MQTT library in.
    sleep(Duration::from_millis(300));
    let (start_up, started) = (absent.start_up, peak(absent.child.id()));
    drop(absent);
    let list = list(folder.path());

    let broker = Broker::with(&format!("allow_anonymous true\nmax_inflight_messages {WINDOW}"));
    let marks = Subscriber::start(&broker.url(), MARKS);
    let agent = Agent::start(&broker.url(), folder.path());
    let (begin, used) = (arrival(&marks, 1), seconds(agent.child.id()));
    let (end, used_at_end) = (arrival(&marks, 2), seconds(agent.child.id()));
    let draining = peak(agent.child.id());
    #[allow(clippy::cast_precision_loss, reason = "counts are small")]
    let messages = stretch(count) as f64;
    let rate = messages / (end - begin).as_secs_f64();
    Figures { building, start_up, started, draining, rate, microseconds: (used_at_end - used) / messages * 1e6, list }
}

/// How long it takes to list the first ten messages, in seconds. The configuration is the agent's.
fn list(folder: &Path) -> f64 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_packhorse"));
    command.arg("--config").arg(folder.join("config.yaml")).args(["spool", "list", "--limit", "10"]);
    let begin = Instant::now();
    let output = command.output().unwrap();
    let took = begin.elapsed().as_secs_f64();
    assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 10, "ten messages are listed");
    took
}

/// Builds the backlog in a process of its own; that process's peak memory in KiB.
fn build(folder: &Path, count: u64) -> f64 {
    let output = Command::new(std::env::current_exe().unwrap())
        .env("SCALE_BUILD", folder)
        .env("SCALE_COUNT", count.to_string())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "the backlog is built");
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// When this many marks had arrived.
fn arrival(marks: &Subscriber, count: usize) -> Instant {
    // The shortest backlog is gone in a quarter of a second: the tests' patience looks too rarely.
    let deadline = Instant::now() + Duration::from_secs(120);
    while marks.arrivals().len() < count {
        assert!(Instant::now() < deadline, "mark {count} does not arrive");
        sleep(Duration::from_micros(500));
    }
    Instant::now()
}

/// A running agent that has opened its spool. Dropping it kills it.
struct Agent {
    child: Child,
    /// Seconds.
    start_up: f64,
    _console: BufReader<ChildStdout>,
}

impl Agent {
    fn start(url: &str, folder: &Path) -> Self {
        let begin = Instant::now();
        let mut child = agent(url, folder, WINDOW).stdout(Stdio::piped()).spawn().unwrap();
        let mut console = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("spool opened") {
            line.clear();
            assert_ne!(console.read_line(&mut line).unwrap(), 0, "the agent says that it has opened its spool");
        }
        Self { child, start_up: begin.elapsed().as_secs_f64(), _console: console }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // The figures are taken, or the bench has failed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
