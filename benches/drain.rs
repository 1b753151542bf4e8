//! How fast a full spool drains to a mosquitto on the loopback, beside the bare MQTT library with the same window.
//!
//! `cargo bench --bench drain` sends 100,000 messages of 200 bytes at QoS 1, three times each in turn, and prints
//! medians: messages per second between the arrivals of the first and the last message at a subscriber, CPU time per
//! message of the publishing process, and its peak memory. `-- --quick` sends 10,000.

#[allow(dead_code, unused_imports, reason = "the tests use the rest")]
#[path = "../tests/agent/support/mod.rs"]
mod support;

mod load;

use load::{MARKS, PAYLOAD, agent, fill, median as middle, peak, samples, seconds};
use packhorse::message::{Message, Sample, Seq, StreamId};
use packhorse::payload::{self, Time};
use std::collections::VecDeque;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::{Broker, Subscriber, wait_for};

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
    let edges = Subscriber::start(&broker.url(), MARKS);
    let folder = tempfile::tempdir().unwrap();
    let mut child = start(&broker.url(), folder.path(), count, window);
    edges.wait_for_count(1);
    let begin = Instant::now();
    edges.wait_for_count(2);
    let elapsed = begin.elapsed();
    let (seconds, kibibytes) = (seconds(child.id()), peak(child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    #[allow(clippy::cast_precision_loss, reason = "counts are small")]
    let count = count as f64;
    Figures { rate: count / elapsed.as_secs_f64(), microseconds: seconds / count * 1e6, kibibytes }
}

fn median(figures: &[Figures]) -> Figures {
    let of = |value: fn(&Figures) -> f64| middle(figures.iter().map(value).collect());
    Figures { rate: of(|f| f.rate), microseconds: of(|f| f.microseconds), kibibytes: of(|f| f.kibibytes) }
}

fn start_agent(url: &str, folder: &Path, count: u64, window: u16) -> Child {
    fill(folder, count, edges(count));
    agent(url, folder, window).stdout(Stdio::null()).spawn().unwrap()
}

/// The first and the last message are marked.
fn edges(count: u64) -> impl Iterator<Item = Sample> {
    samples(move |number| number == 1 || number == count)
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
    for (seq, sample) in (1..=count).zip(edges(count)) {
        if tokens.len() == window {
            tokens.pop_front().unwrap().wait().unwrap();
        }
        let time = Time::as_taken(sample.taken);
        let outgoing = payload::outgoing(&Message { stream: StreamId(7), seq: Seq(seq), sample }, time, Duration::ZERO);
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
