//! The schema: which keys there are, what each may be, and what holds where the file says nothing.

use super::document::{Document, Section};
use super::topics::{self, Placeholders};
use super::values::{boolean, duration, format, integer, level, number, one_of, path, qos, size, text, whole_seconds};
use super::{
    AtMax, Broker, Channel, Config, Delivery, Logging, Protocol, Retry, Source, SourceKind, Spool, Status, Sync,
    Telemetry, WhenFull, url,
};
use crate::message::{Format, Qos};
use log::LevelFilter;
use serde_yaml::Value;
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Reads the whole schema; what is wrong is noted in the document.
pub fn read(document: &Document) -> Config {
    let root = document.root();
    let device = device(&root);
    let broker = broker(&root.section("broker"), &device);
    let spool = spool(&root.section("spool"));
    let delivery = delivery(&root.section("delivery"), broker.keep_alive);
    Config {
        retry: retry(&root.section("retry")),
        telemetry: telemetry(&root.section("telemetry"), &device),
        channel: Channel { capacity: root.section("channel").read("capacity", 1024, integer(1..=1_000_000)) },
        shutdown_timeout: root.read("shutdown_timeout", 5 * SECOND, duration(Duration::ZERO..=HOUR as u32 * SECOND)),
        logging: logging(&root.section("logging")),
        status: status(&root.section("status"), &device),
        device,
        broker,
        spool,
        delivery,
    }
}

fn device(root: &Section<'_>) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let device = root.read("device", host, text);
    if let Err(problem) = topics::check_level(&device) {
        root.problem("device", problem);
    }
    device
}

fn broker(section: &Section<'_>, device: &str) -> Broker {
    section.not_supported_yet("urls");
    section.not_supported_yet("azure_iot_hub");
    tls(&section.section("tls"));
    let url = match section.get("url") {
        Some(value) => url::broker(value).unwrap_or_else(|problem| {
            section.problem("url", problem);
            String::new()
        }),
        None => {
            section.problem("url", "missing; where is the broker? For example mqtt://localhost:1883");
            String::new()
        }
    };
    let protocol = section.read("protocol", Protocol::V5, protocol);
    let username =
        section.get("username").and_then(|value| text(value).map_err(|p| section.problem("username", p)).ok());
    let password_file = section.get("password_file").and_then(|value| {
        path(value).map(credential).map_err(|problem| section.problem("password_file", problem)).ok()
    });
    if password_file.is_some() && username.is_none() && protocol == Protocol::V311 {
        section.problem("password_file", "needs a `username`: MQTT 3.1.1 knows no password without one");
    }
    Broker {
        url,
        client_id: client_id(section, device),
        protocol,
        // MQTT's keep alive is a 16-bit number of seconds.
        keep_alive: section.read("keep_alive", 30 * SECOND, whole_seconds(1..=65_535)),
        connect_timeout: section.read("connect_timeout", 10 * SECOND, whole_seconds(1..=HOUR)),
        // MQTT 5's session expiry is a 32-bit number of seconds.
        session_expiry: section.read("session_expiry", Duration::from_secs(DAY), whole_seconds(0..=u32::MAX.into())),
        username,
        password_file,
    }
}

/// A bare name is one of systemd's credentials, where systemd passes some.
fn credential(path: PathBuf) -> PathBuf {
    let bare = path.components().count() == 1 && path.is_relative();
    match std::env::var_os("CREDENTIALS_DIRECTORY").filter(|_| bare) {
        Some(directory) => PathBuf::from(directory).join(path),
        None => path,
    }
}

fn client_id(section: &Section<'_>, device: &str) -> String {
    let template = section.read("client_id", "{device}".to_owned(), text);
    let placeholders = Placeholders { device, source: None, stream: topics::Stream::Kept };
    let expanded = topics::expand(&template, &placeholders).and_then(|id| {
        // MQTT writes strings with a 16-bit length; the stream's eight digits are still to come.
        let fits = id.len() <= 65_000 && !id.chars().any(char::is_control);
        if fits { Ok(id) } else { Err("must be at most 65,000 bytes without control characters".to_owned()) }
    });
    expanded.unwrap_or_else(|problem| {
        section.problem("client_id", problem);
        template
    })
}

fn protocol(value: &Value) -> Result<Protocol, String> {
    match (value.as_u64(), value.as_str()) {
        (Some(5), _) | (_, Some("5")) => Ok(Protocol::V5),
        (_, Some("3.1.1")) => Ok(Protocol::V311),
        _ => Err("allowed: 5, 3.1.1".to_owned()),
    }
}

fn tls(section: &Section<'_>) {
    for key in ["ca_file", "cert_file", "key_file"] {
        section.not_supported_yet(key);
    }
    if !section.read("verify", true, boolean) {
        section.problem("verify", "not supported yet: false");
    }
}

fn retry(section: &Section<'_>) -> Retry {
    let positive = || duration(Duration::from_millis(1)..=Duration::MAX);
    let retry = Retry {
        initial_delay: section.read("initial_delay", 2 * SECOND, positive()),
        factor: section.read("factor", 2.0, number(|factor| factor >= 1.0, "a number of at least 1")),
        max_delay: section.read("max_delay", Duration::from_secs(2 * HOUR), positive()),
        at_max: section.read("at_max", AtMax::Exit, one_of(&[("exit", AtMax::Exit), ("hold", AtMax::Hold)])),
        jitter: section.read("jitter", 0.1, number(|jitter| (0.0..=1.0).contains(&jitter), "a number from 0 to 1")),
    };
    if retry.initial_delay > retry.max_delay {
        section.problem("initial_delay", "must not be longer than `max_delay`");
    }
    retry
}

fn telemetry(section: &Section<'_>, device: &str) -> Telemetry {
    let mut telemetry = Telemetry {
        interval: section.read("interval", 10 * SECOND, interval()),
        topic: section.read("topic", "telemetry/{device}/{source}".to_owned(), text),
        qos: section.read("qos", Qos::AtLeastOnce, qos),
        format: section.read("format", Format::Json, format),
        sources: Vec::new(),
    };
    if let Err(problem) = topics::topic(&telemetry.topic, device, "source") {
        section.problem("topic", problem);
    }
    let mut names = HashSet::new();
    match section.sections("sources") {
        None => telemetry.sources.push(board(&telemetry, device)),
        Some(list) => {
            if list.is_empty() {
                section.problem("sources", "must name at least one source, such as {name: board, type: system}");
            }
            for source in &list {
                let source_read = self::source(source, &telemetry, device);
                if !names.insert(source_read.name.clone()) {
                    source.problem("name", format!("there is a source named {} already", source_read.name));
                }
                telemetry.sources.push(source_read);
            }
        }
    }
    telemetry
}

/// The source of a configuration that names none.
fn board(telemetry: &Telemetry, device: &str) -> Source {
    Source {
        name: "board".to_owned(),
        kind: SourceKind::System,
        interval: telemetry.interval,
        topic: topics::topic(&telemetry.topic, device, "board").unwrap_or_default(),
        qos: telemetry.qos,
        retain: false,
        format: telemetry.format,
        expiry: None,
    }
}

fn source(section: &Section<'_>, telemetry: &Telemetry, device: &str) -> Source {
    let name = section.read("name", String::new(), text);
    if section.get("name").is_none() {
        section.problem("name", "missing; every source needs a name of its own");
    } else if let Err(problem) = topics::check_level(&name) {
        section.problem("name", problem);
    }
    // The section's own topic has been checked when it is the one that is used.
    let own = section.get("topic").is_some();
    let template = section.read("topic", telemetry.topic.clone(), text);
    let topic = topics::topic(&template, device, &name).unwrap_or_else(|problem| {
        if own {
            section.problem("topic", problem);
        }
        String::new()
    });
    Source {
        kind: kind(section),
        name,
        topic,
        interval: section.read("interval", telemetry.interval, interval()),
        qos: section.read("qos", telemetry.qos, qos),
        retain: section.read("retain", false, boolean),
        format: section.read("format", telemetry.format, format),
        // MQTT 5's message expiry is a 32-bit number of seconds.
        expiry: section.read("expiry", None, |value| whole_seconds(1..=u32::MAX.into())(value).map(Some)),
    }
}

fn interval() -> impl Fn(&Value) -> Result<Duration, String> {
    duration(Duration::from_millis(1)..=Duration::MAX)
}

/// The types of source, each with the keys that belong to it alone.
const KEYS: [(&str, &[&str]); 2] = [("file", &["path", "scale", "offset", "unit"]), ("simulated", &["seed"])];

fn kind(section: &Section<'_>) -> SourceKind {
    let kind = match section.get("type") {
        Some(kind) => kind.as_str().unwrap_or_default(),
        None => {
            section.problem("type", "missing; allowed: system, file, simulated");
            return SourceKind::System;
        }
    };
    for (owner, keys) in KEYS.iter().filter(|(owner, _)| *owner != kind) {
        for key in keys.iter().filter(|key| section.get(key).is_some()) {
            section.problem(key, format!("belongs to sources of type {owner}"));
        }
    }
    match kind {
        "system" => SourceKind::System,
        "simulated" => {
            SourceKind::Simulated { seed: section.read("seed", None, |value| integer(0..=u64::MAX)(value).map(Some)) }
        }
        "file" => {
            if section.get("path").is_none() {
                section.problem("path", "missing; which file is read?");
            }
            SourceKind::File {
                path: section.read("path", PathBuf::new(), path),
                scale: section.read("scale", 1.0, number(|_| true, "a number")),
                offset: section.read("offset", 0.0, number(|_| true, "a number")),
                unit: section.read("unit", None, |value| text(value).map(Some)),
            }
        }
        "command" => {
            section.problem("type", "not supported yet: command");
            SourceKind::System
        }
        _ => {
            section.problem("type", "allowed: system, file, simulated");
            SourceKind::System
        }
    }
}

fn spool(section: &Section<'_>) -> Spool {
    let when_full = &[("drop_oldest", WhenFull::DropOldest), ("drop_newest", WhenFull::DropNewest)];
    Spool {
        directory: section.read("directory", PathBuf::from("/var/lib/packhorse/spool"), path),
        max_size: section.read("max_size", 256 * MIB, size(MIB)),
        max_age: section.read("max_age", None, |value| duration(SECOND..=Duration::MAX)(value).map(Some)),
        when_full: section.read("when_full", WhenFull::DropOldest, one_of(when_full)),
        sync: section.read("sync", Sync::Always, |value| match value.as_str() {
            Some("always") => Ok(Sync::Always),
            _ => duration(Duration::from_millis(1)..=HOUR as u32 * SECOND)(value)
                .map(Sync::Every)
                .map_err(|problem| format!("{problem}; or `always`")),
        }),
    }
}

fn delivery(section: &Section<'_>, keep_alive: Duration) -> Delivery {
    let rate = number(|rate| (0.001..=1e6).contains(&rate), "a number of messages per second, from 0.001 to 1000000");
    Delivery {
        // MQTT's packet identifiers are 16-bit numbers above zero.
        window: section.read("window", 100, integer(1..=u16::MAX)),
        ack_timeout: section.read("ack_timeout", keep_alive * 3 / 2, duration(SECOND..=Duration::MAX)),
        max_rate: section.read("max_rate", None, |value| rate(value).map(Some)),
    }
}

fn logging(section: &Section<'_>) -> Logging {
    Logging {
        directory: section.read("directory", PathBuf::from("/var/log/packhorse"), path),
        rotate_every: section.read("rotate_every", Duration::from_secs(HOUR), duration(SECOND..=Duration::MAX)),
        keep_files: section.read("keep_files", 6, integer(1..=10_000)),
        max_file_size: section.read("max_file_size", 16 * MIB, size(4 * KIB)),
        debug: section.read("debug", true, boolean),
        info: section.read("info", true, boolean),
        sample: section.read("sample", LevelFilter::Debug, level),
        paho: section.read("paho", LevelFilter::Off, level),
        console: section.read("console", LevelFilter::Info, level),
    }
}

fn status(section: &Section<'_>, device: &str) -> Status {
    section.not_supported_yet("prometheus_textfile");
    // Here null means something: no status messages. A key that is missing means the default.
    let template = if section.is_null("topic") { None } else { Some("status/{device}".to_owned()) };
    let template = section.read("topic", template, |value| text(value).map(Some));
    let topic = template.and_then(|template| {
        let placeholders = Placeholders { device, source: None, stream: topics::Stream::Unknown };
        let topic = topics::expand(&template, &placeholders).and_then(topics::check_topic);
        topic.map_err(|problem| section.problem("topic", problem)).ok()
    });
    Status { topic, interval: section.read("interval", 60 * SECOND, duration(SECOND..=Duration::MAX)) }
}
