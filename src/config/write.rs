//! Writes the effective configuration in the schema that it is read by.

use super::{AtMax, Config, Protocol, Source, SourceKind, Sync, WhenFull};
use bytesize::ByteSize;
use log::LevelFilter;
use serde_json::{Value, json};
use std::time::Duration;

impl Config {
    /// The effective configuration as YAML. It has no secrets: passwords stay in the files that it names.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let Config { device, broker, retry, telemetry, channel, spool, delivery, shutdown_timeout, logging, status } =
            self;
        let value = json!({
            "device": device,
            "broker": {
                "url": broker.url,
                "client_id": broker.client_id,
                "protocol": match broker.protocol { Protocol::V5 => json!(5), Protocol::V311 => json!("3.1.1") },
                "keep_alive": time(broker.keep_alive),
                "connect_timeout": time(broker.connect_timeout),
                "session_expiry": time(broker.session_expiry),
                "username": broker.username,
                "password_file": broker.password_file,
            },
            "retry": {
                "initial_delay": time(retry.initial_delay),
                "factor": retry.factor,
                "max_delay": time(retry.max_delay),
                "at_max": match retry.at_max { AtMax::Exit => "exit", AtMax::Hold => "hold" },
                "jitter": retry.jitter,
            },
            "telemetry": {
                "interval": time(telemetry.interval),
                "topic": telemetry.topic,
                "qos": telemetry.qos as u8,
                "format": "json",
                "sources": telemetry.sources.iter().map(source).collect::<Vec<_>>(),
            },
            "channel": { "capacity": channel.capacity },
            "spool": {
                "directory": spool.directory,
                "max_size": size(spool.max_size),
                "max_age": spool.max_age.map(time),
                "when_full": match spool.when_full {
                    WhenFull::DropOldest => "drop_oldest",
                    WhenFull::DropNewest => "drop_newest",
                },
                "sync": match spool.sync { Sync::Always => "always".to_owned(), Sync::Every(interval) => time(interval) },
            },
            "delivery": {
                "window": delivery.window,
                "ack_timeout": time(delivery.ack_timeout),
                "max_rate": delivery.max_rate,
            },
            "shutdown_timeout": time(*shutdown_timeout),
            "logging": {
                "directory": logging.directory,
                "rotate_every": time(logging.rotate_every),
                "keep_files": logging.keep_files,
                "max_file_size": size(logging.max_file_size),
                "debug": logging.debug,
                "info": logging.info,
                "sample": level(logging.sample),
                "paho": level(logging.paho),
                "console": level(logging.console),
            },
            "status": { "topic": status.topic, "interval": time(status.interval) },
        });
        serde_yaml::to_string(&value).expect("plain values can be written as YAML")
    }
}

fn source(source: &Source) -> Value {
    let mut value = json!({ "name": source.name });
    match &source.kind {
        SourceKind::System => value["type"] = json!("system"),
        SourceKind::File { path, scale, offset, unit } => {
            value["type"] = json!("file");
            value["path"] = json!(path);
            value["scale"] = json!(scale);
            value["offset"] = json!(offset);
            value["unit"] = json!(unit);
        }
        SourceKind::Simulated { seed } => {
            value["type"] = json!("simulated");
            value["seed"] = json!(seed);
        }
    }
    value["interval"] = json!(time(source.interval));
    value["topic"] = json!(source.topic);
    value["qos"] = json!(source.qos as u8);
    value["retain"] = json!(source.retain);
    value["format"] = json!("json");
    value["expiry"] = json!(source.expiry.map(time));
    value
}

fn time(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// In the largest unit that shows the exact number.
fn size(bytes: u64) -> String {
    let shown = ByteSize(bytes).display().iec().to_string();
    if shown.parse::<ByteSize>().is_ok_and(|size| size.as_u64() == bytes) { shown } else { bytes.to_string() }
}

fn level(level: LevelFilter) -> String {
    level.as_str().to_lowercase()
}
