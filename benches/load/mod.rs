//! What the benchmarks load a spool with, and what they ask the kernel about a process.

use packhorse::clock::Clock;
use packhorse::config::{self, Sync, WhenFull};
use packhorse::message::{Format, Message, Qos, Route, Sample, Seq, Stamp, StreamId};
use packhorse::payload::{self, Time};
use packhorse::spool::Spool;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of a payload.
pub const PAYLOAD: usize = 200;
/// The topics of the marked messages.
pub const MARKS: &str = "mark/+";
/// The kernel's unit of CPU time in /proc/PID/stat (proc(5); 100 on all Linux systems that run this).
const TICKS_PER_SECOND: f64 = 100.0;
/// Room for ten million messages.
const MAX_SIZE: u64 = 8 << 30;

fn route(topic: &str) -> Arc<Route> {
    Arc::new(Route {
        device: "gateway-7".to_owned(),
        source: "wind".to_owned(),
        topic: topic.to_owned(),
        qos: Qos::AtLeastOnce,
        retain: false,
        format: Format::Json,
        expiry: None,
    })
}

/// Samples for ever, whose payloads have the wanted size. Those whose numbers, from 1 on, are marked go to a topic of
/// their own, so that a subscriber sees them alone and costs nothing.
pub fn samples(is_marked: impl Fn(u64) -> bool) -> impl Iterator<Item = Sample> {
    let (usual, marked) = (route("telemetry/gateway-7/wind"), route("mark/wind"));
    // A wrong clock would be marked in the payload.
    let taken = Stamp { synchronised: true, ..Clock::new().now() };
    let empty = Sample { route: Arc::clone(&usual), taken, data: Vec::new() };
    let frame = payload::outgoing(
        &Message { stream: StreamId(0), seq: Seq(10_000), sample: empty },
        Time::as_taken(taken),
        Duration::ZERO,
    );
    let data = format!("{{\"text\":\"{}\"}}", "x".repeat(PAYLOAD - frame.payload.len() - 11)).into_bytes();
    (1..).map(move |number| {
        let route = Arc::clone(if is_marked(number) { &marked } else { &usual });
        Sample { route, taken, data: data.clone() }
    })
}

/// Fills the spool in `folder` with this many messages, a thousand in memory at a time.
pub fn fill(folder: &Path, count: u64, mut samples: impl Iterator<Item = Sample>) {
    let config = config::Spool {
        directory: folder.join("spool"),
        max_size: MAX_SIZE,
        max_age: None,
        when_full: WhenFull::DropOldest,
        sync: Sync::Always,
    };
    let mut spool = Spool::open(&config, &[]).unwrap();
    while spool.backlog().messages < count {
        let batch: Vec<Sample> = samples.by_ref().take(1000).collect();
        assert_eq!(spool.append(&batch, None, Instant::now()).taken, batch.len());
        spool.commit().unwrap();
    }
    assert_eq!(spool.backlog().messages, count, "a multiple of a thousand");
}

/// The agent over the spool in `folder`, not started yet.
pub fn agent(url: &str, folder: &Path, window: u16) -> Command {
    let path = folder.display();
    let text = format!(
        "broker: {{url: \"{url}\", client_id: bench}}\ntelemetry: {{interval: 1h, sources: [{{name: w, type: simulated}}]}}\n\
         spool: {{directory: {path}/spool, max_size: {MAX_SIZE}}}\ndelivery: {{window: {window}}}\n\
         logging: {{directory: {path}/log}}\nstatus: {{topic: ~}}\n"
    );
    let config = folder.join("config.yaml");
    fs::write(&config, text).unwrap();
    let mut agent = Command::new(env!("CARGO_BIN_EXE_packhorse"));
    agent.arg("--config").arg(config);
    agent
}

/// CPU time that a process has taken, in seconds.
pub fn seconds(id: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / TICKS_PER_SECOND
}

/// Peak memory of a process in KiB.
pub fn peak(id: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The middle one of these values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
