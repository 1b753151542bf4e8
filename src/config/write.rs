//! Writing the effective configuration as YAML: the schema of the file, every key with its value.
//!
//! Reading the text again gives the same configuration, but for a token in the user name, which is not shown. Passwords
//! are in files of their own, and text that looks like a secret is refused everywhere else.

use super::value::size_text;
use super::{
    AtMax, AzureIotHub, Broker, Config, Delivery, Logging, OnRefusal, Protocol, ReadAs, Retry, Source, SourceKind,
    Spool, Status, Sync,
};
use super::{Telemetry, WhenFull};
use crate::azure::Origin;
use crate::foreign;
use crate::message::{Format, Qos};
use log::LevelFilter;
use serde_yaml::{Mapping, Value};
use std::path::Path;
use std::time::Duration;

impl Config {
    /// The effective configuration in the file's own schema.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let whole = mapping([
            ("device", self.device.as_str().into()),
            ("broker", broker(&self.broker)),
            ("retry", retry(&self.retry)),
            ("telemetry", telemetry(&self.telemetry)),
            ("channel", mapping([("capacity", self.channel.capacity.into())])),
            ("spool", spool(&self.spool)),
            ("delivery", delivery(&self.delivery)),
            ("shutdown_timeout", duration(self.shutdown_timeout)),
            ("logging", logging(&self.logging)),
            ("status", status(&self.status)),
        ]);
        // Writing to memory fails only for maps with keys that YAML cannot write; ours are text.
        serde_yaml::to_string(&whole).unwrap_or_default()
    }
}

fn broker(broker: &Broker) -> Value {
    let (url, urls) = match broker.addresses.as_slice() {
        [one] => (one.to_string().into(), Value::Null),
        several => (Value::Null, Value::Sequence(several.iter().map(|one| one.to_string().into()).collect())),
    };
    mapping([
        ("url", url),
        ("urls", urls),
        ("client_id", broker.client_id.as_str().into()),
        (
            "protocol",
            match broker.protocol {
                Protocol::V5 => 5.into(),
                Protocol::V311 => "3.1.1".into(),
            },
        ),
        ("keep_alive", duration(broker.keep_alive)),
        ("connect_timeout", duration(broker.connect_timeout)),
        ("session_expiry", duration(broker.session_expiry)),
        ("username", broker.username.as_deref().map(foreign::hide).into_value()),
        ("password_file", broker.password_file.as_deref().map(path).into_value()),
        ("proxy", broker.proxy.as_ref().map(ToString::to_string).into_value()),
        ("proxy_username", broker.proxy.as_ref().and_then(|proxy| proxy.username.as_deref()).into_value()),
        (
            "proxy_password_file",
            broker.proxy.as_ref().and_then(|proxy| proxy.password_file.as_deref()).map(path).into_value(),
        ),
        (
            "tls",
            mapping([
                ("ca_file", broker.tls.ca_file.as_deref().map(path).into_value()),
                ("cert_file", broker.tls.cert_file.as_deref().map(path).into_value()),
                ("key_file", broker.tls.key_file.as_deref().map(path).into_value()),
                ("verify", broker.tls.verify.into()),
                ("alpn", broker.tls.alpn.as_deref().into_value()),
            ]),
        ),
        ("azure_iot_hub", broker.azure_iot_hub.as_ref().map(azure_iot_hub).into_value()),
    ])
}

fn azure_iot_hub(hub: &AzureIotHub) -> Value {
    let file = match &hub.connection_string {
        Origin::File(file) => Some(path(file)),
        Origin::Environment => None,
    };
    mapping([("connection_string_file", file.into_value()), ("token_lifetime", duration(hub.token_lifetime))])
}

fn retry(retry: &Retry) -> Value {
    mapping([
        ("initial_delay", duration(retry.initial_delay)),
        ("factor", retry.factor.into()),
        ("max_delay", duration(retry.max_delay)),
        (
            "at_max",
            match retry.at_max {
                AtMax::Exit => "exit".into(),
                AtMax::Hold => "hold".into(),
            },
        ),
        (
            "on_refusal",
            match retry.on_refusal {
                OnRefusal::Hold => "hold".into(),
                OnRefusal::Exit => "exit".into(),
            },
        ),
        ("jitter", retry.jitter.into()),
        ("stable_after", duration(retry.stable_after)),
    ])
}

fn telemetry(telemetry: &Telemetry) -> Value {
    mapping([
        ("interval", duration(telemetry.interval)),
        ("topic", telemetry.topic.as_str().into()),
        ("qos", qos(telemetry.qos)),
        ("format", format(telemetry.format)),
        ("sources", Value::Sequence(telemetry.sources.iter().map(source).collect())),
    ])
}

fn source(source: &Source) -> Value {
    let mut keys = vec![("name", source.name.as_str().into())];
    match &source.kind {
        SourceKind::System => keys.push(("type", "system".into())),
        SourceKind::File { path: file, read_as: reading, scale, offset, unit } => keys.extend([
            ("type", "file".into()),
            ("path", path(file)),
            ("as", read_as(*reading)),
            ("scale", (*scale).into()),
            ("offset", (*offset).into()),
            ("unit", unit.as_deref().into_value()),
        ]),
        SourceKind::Simulated { seed } => keys.extend([("type", "simulated".into()), ("seed", seed.into_value())]),
    }
    keys.extend([
        ("interval", duration(source.interval)),
        ("timeout", duration(source.timeout)),
        ("topic", source.topic.as_str().into()),
        ("qos", qos(source.qos)),
        ("retain", source.retain.into()),
        ("format", format(source.format)),
        ("expiry", source.expiry.map(duration).into_value()),
    ]);
    mapping(keys)
}

fn spool(spool: &Spool) -> Value {
    mapping([
        ("directory", path(&spool.directory)),
        ("max_size", size_text(spool.max_size).into()),
        ("max_age", spool.max_age.map(duration).into_value()),
        (
            "when_full",
            match spool.when_full {
                WhenFull::DropOldest => "drop_oldest".into(),
                WhenFull::DropNewest => "drop_newest".into(),
            },
        ),
        (
            "sync",
            match spool.sync {
                Sync::Always => "always".into(),
                Sync::Every(most) => duration(most),
            },
        ),
    ])
}

fn delivery(delivery: &Delivery) -> Value {
    mapping([
        ("window", delivery.window.into()),
        ("ack_timeout", duration(delivery.ack_timeout)),
        ("max_rate", delivery.max_rate.into_value()),
    ])
}

fn logging(logging: &Logging) -> Value {
    mapping([
        ("directory", path(&logging.directory)),
        ("rotate_every", duration(logging.rotate_every)),
        ("keep_files", logging.keep_files.into()),
        ("max_file_size", size_text(logging.max_file_size).into()),
        ("debug", logging.debug.into()),
        ("info", logging.info.into()),
        ("sample", level(logging.sample)),
        ("paho", level(logging.paho)),
        ("console", level(logging.console)),
    ])
}

fn status(status: &Status) -> Value {
    mapping([
        ("topic", status.topic.as_deref().into_value()),
        ("interval", duration(status.interval)),
        ("prometheus_textfile", Value::Null),
    ])
}

fn mapping(keys: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Mapping(keys.into_iter().map(|(key, value)| (Value::from(key), value)).collect::<Mapping>())
}

/// Nothing is written as `null`.
trait IntoValue {
    fn into_value(self) -> Value;
}

impl<T: Into<Value>> IntoValue for Option<T> {
    fn into_value(self) -> Value {
        self.map_or(Value::Null, Into::into)
    }
}

fn path(path: &Path) -> Value {
    // A path of the file is text; only `$CREDENTIALS_DIRECTORY` could be anything else.
    path.to_string_lossy().into_owned().into()
}

fn duration(duration: Duration) -> Value {
    humantime::format_duration(duration).to_string().into()
}

fn qos(qos: Qos) -> Value {
    (qos as u8).into()
}

fn format(format: Format) -> Value {
    match format {
        Format::Json => "json".into(),
    }
}

fn read_as(read_as: ReadAs) -> Value {
    match read_as {
        ReadAs::Auto => "auto".into(),
        ReadAs::Number => "number".into(),
        ReadAs::Text => "text".into(),
    }
}

fn level(level: LevelFilter) -> Value {
    level.as_str().to_ascii_lowercase().into()
}
