//! How fast a full spool drains to a mosquitto on the loopback, beside the bare MQTT library with the same window.
//!
//! `cargo bench --bench drain` sends 100,000 messages of 200 bytes at QoS 1, three times each in turn, and prints
//! medians: messages per second between the arrivals of the first and the last message at a subscriber, CPU time per
//! message of the publishing process, and its peak memory. `-- --quick` sends 10,000.

#[allow(dead_code, unused_imports, reason = "the tests use the rest")]
#[path = "../tests/agent/support/mod.rs"]
mod support;

use packhorse::clock::Clock;
use packhorse::config::{self, Sync, WhenFull};
use packhorse::message::{Format, Message, Qos, Route, Sample, Seq, StreamId};
use packhorse::payload;
use packhorse::spool::Spool;
use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Broker, Subscriber, wait_for};

/// Bytes of a payload.
const PAYLOAD: usize = 200;
/// The kernel's unit of CPU time in /proc/PID/stat (proc(5); 100 on all Linux systems that run this).
const TICKS_PER_SECOND: f64 = 100.0;
const ROUNDS: usize = 3;

/// What one process did.
struct Figures {
    rate: f64,
    microseconds: f64,
    kibibytes: f64,
}

fn main() {
    if let Ok(url) = std::env::var("DRAIN_BARE") {
        let count = std::env::var("DRAIN_COUNT").unwrap().parse().unwrap();
        let window = std::env::var("DRAIN_WINDOW").unwrap().parse().unwrap();
        return publish_bare(&url, count, window);
    }
    let quick = std::env::args().any(|argument| argument == "--quick");
    let count = if quick { 10_000 } else { 100_000 };
    for window in [100, 20] {
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            bare.push(measure(count, window, start_bare));
            ours.push(measure(count, window, start_agent));
        }
        let (ours, bare) = (median(&ours), median(&bare));
        println!("{count} messages of {PAYLOAD} bytes at QoS 1, window {window}, medians of {ROUNDS}:");
        for (name, figures) in [("packhorse, from a full spool", &ours), ("the bare library, from memory", &bare)] {
            let Figures { rate, microseconds, kibibytes } = figures;
            println!("  {name:30} {rate:8.0} msg/s  {microseconds:6.1} us CPU/msg  {kibibytes:6.0} KiB peak");
        }
        println!(
            "  ratio                          {:8.2}        {:6.2}",
            ours.rate / bare.rate,
            ours.microseconds / bare.microseconds
        );
        if window == 100 && !quick {
            let verdict = |met| if met { "met" } else { "missed" };
            println!("  target: over 40000 msg/s: {}", verdict(ours.rate > 40_000.0));
            println!("  target: under 16 MiB: {}", verdict(ours.kibibytes < 16.0 * 1024.0));
        }
    }
}

fn measure(count: u64, window: u16, start: fn(&str, &Path, u64, u16) -> Child) -> Figures {
    let broker = Broker::with(&format!("allow_anonymous true\nmax_inflight_messages {window}"));
    // Sees the first and the last message alone, so that it costs nothing.
    let edges = Subscriber::start(&broker.url(), "edge/+");
    let folder = tempfile::tempdir().unwrap();
    let mut child = start(&broker.url(), folder.path(), count, window);
    edges.wait_for_count(1);
    let begin = Instant::now();
    edges.wait_for_count(2);
    let elapsed = begin.elapsed();
    let (ticks, kibibytes) = usage(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    #[allow(clippy::cast_precision_loss, reason = "counts are small")]
    let count = count as f64;
    Figures { rate: count / elapsed.as_secs_f64(), microseconds: ticks / TICKS_PER_SECOND / count * 1e6, kibibytes }
}

/// CPU ticks and peak memory in KiB of a process.
fn usage(id: u32) -> (f64, f64) {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    (ticks, peak.trim().trim_end_matches(" kB").parse().unwrap())
}

fn median(figures: &[Figures]) -> Figures {
    let of = |value: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = figures.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Figures { rate: of(|f| f.rate), microseconds: of(|f| f.microseconds), kibibytes: of(|f| f.kibibytes) }
}

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

/// The samples from the first to the last, whose payloads have the wanted size; the edges go to topics of their own.
fn samples(count: u64) -> impl Iterator<Item = Sample> {
    let routes = [route("edge/first"), route("telemetry/gateway-7/wind"), route("edge/last")];
    let taken = Clock::new().now();
    let empty = Sample { route: Arc::clone(&routes[1]), taken, data: Vec::new() };
    let frame = payload::outgoing(&Message { stream: StreamId(0), seq: Seq(10_000), sample: empty }, Duration::ZERO);
    let data = format!("{{\"text\":\"{}\"}}", "x".repeat(PAYLOAD - frame.payload.len() - 11)).into_bytes();
    (1..=count).map(move |number| {
        let route = Arc::clone(&routes[usize::from(number > 1) + usize::from(number == count)]);
        Sample { route, taken, data: data.clone() }
    })
}

fn start_agent(url: &str, folder: &Path, count: u64, window: u16) -> Child {
    let directory = folder.join("spool");
    let config = config::Spool {
        directory,
        max_size: 1 << 30,
        max_age: None,
        when_full: WhenFull::DropOldest,
        sync: Sync::Always,
    };
    let mut spool = Spool::open(&config, &[]).unwrap();
    let samples: Vec<Sample> = samples(count).collect();
    for batch in samples.chunks(1000) {
        assert_eq!(spool.append(batch, None).taken, batch.len());
        spool.commit().unwrap();
    }
    drop(spool);
    let path = folder.display();
    let text = format!(
        "broker: {{url: \"{url}\", client_id: drain}}\ntelemetry: {{interval: 1h, sources: [{{name: w, type: simulated}}]}}\n\
         spool: {{directory: {path}/spool, max_size: 1GiB}}\ndelivery: {{window: {window}}}\n\
         logging: {{directory: {path}/log}}\nstatus: {{topic: ~}}\n"
    );
    fs::write(folder.join("config.yaml"), text).unwrap();
    let config = folder.join("config.yaml");
    let agent = Command::new(env!("CARGO_BIN_EXE_packhorse")).arg("--config").arg(config).stdout(Stdio::null()).spawn();
    agent.unwrap()
}

fn start_bare(url: &str, _folder: &Path, count: u64, window: u16) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .env("DRAIN_BARE", url)
        .env("DRAIN_COUNT", count.to_string())
        .env("DRAIN_WINDOW", window.to_string())
        .spawn()
        .unwrap()
}

/// The same messages over the library alone: a window of tokens, the oldest waited for.
fn publish_bare(url: &str, count: u64, window: usize) {
    let client = paho_mqtt::CreateOptionsBuilder::new()
        .server_uri(url)
        .client_id("drain")
        .mqtt_version(5)
        .persistence(paho_mqtt::PersistenceType::None)
        .max_buffered_messages(1000)
        .create_client()
        .unwrap();
    let window_option = i32::try_from(window).unwrap();
    client.connect(paho_mqtt::ConnectOptionsBuilder::new_v5().max_inflight(window_option).finalize()).wait().unwrap();
    let mut tokens: VecDeque<paho_mqtt::DeliveryToken> = VecDeque::new();
    for (seq, sample) in (1..).zip(samples(count)) {
        if tokens.len() == window {
            tokens.pop_front().unwrap().wait().unwrap();
        }
        let outgoing = payload::outgoing(&Message { stream: StreamId(7), seq: Seq(seq), sample }, Duration::ZERO);
        let mut properties = paho_mqtt::Properties::new();
        properties.push_string(paho_mqtt::PropertyCode::ContentType, outgoing.content_type).unwrap();
        for (name, value) in &outgoing.user_properties {
            properties.push_string_pair(paho_mqtt::PropertyCode::UserProperty, name, value).unwrap();
        }
        let message = paho_mqtt::MessageBuilder::new().topic(outgoing.topic).payload(outgoing.payload).qos(1);
        tokens.push_back(client.publish(message.properties(properties).finalize()));
    }
    for token in tokens {
        token.wait().unwrap();
    }
    // Stays until it was looked at.
    wait_for("the measuring process ends this one", Duration::from_secs(60), || None::<()>);
}
