//! The configuration: what the YAML file may say, and what holds where it says nothing.
//!
//! The structs are the effective configuration: every value is present, checked and in its own unit. `read.rs` is
//! the schema that a file is read by, `write.rs` its counterpart, `files.rs` looks at the files and folders that a
//! configuration names.

mod document;
mod files;
mod read;
#[cfg(test)]
mod tests;
mod topics;
mod url;
mod values;
mod write;

pub use document::{Problem, Problems};

use crate::message::{Format, Qos};
use document::Document;
use log::LevelFilter;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the packages put the configuration.
const INSTALLED: &str = "/etc/packhorse/config.yaml";
/// Where it is looked for first, when nobody says where it is.
const LOCAL: &str = "config.yaml";
/// Bytes of a configuration at most: no real one is near it.
const LARGEST: u64 = 1024 * 1024;

/// There is no configuration where one was looked for.
#[derive(Debug, thiserror::Error)]
#[error("no configuration: neither ./{LOCAL} nor {INSTALLED} exists; name one with --config FILE or $PACKHORSE_CONFIG")]
pub struct NotFound;

/// The file to read: `named` where somebody named one, else ./config.yaml, else /etc/packhorse/config.yaml.
///
/// # Errors
/// [`NotFound`] when nobody named one and neither exists.
pub fn locate(named: Option<&Path>) -> Result<PathBuf, NotFound> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    [LOCAL, INSTALLED].into_iter().map(PathBuf::from).find(|path| path.exists()).ok_or(NotFound)
}

/// Reads a configuration.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(path: &Path) -> Result<Config, Problems> {
    parse(&text(path)?, path)
}

/// Reads a configuration from text; `file` stands in errors.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str, file: &Path) -> Result<Config, Problems> {
    interpret(&Document::parse(text, file)?, file)
}

/// Reads a configuration, and looks at every file and folder that it names.
///
/// # Errors
/// Everything that is wrong with it; with the files only where the configuration itself is good.
pub fn check(path: &Path) -> Result<Config, Problems> {
    let document = Document::parse(&text(path)?, path)?;
    let config = interpret(&document, path)?;
    files::check(&config, &document);
    let problems = document.problems();
    if problems.is_empty() { Ok(config) } else { Err(Problems::new(path, problems)) }
}

fn interpret(document: &Document, file: &Path) -> Result<Config, Problems> {
    let config = read::read(document);
    let problems = document.problems();
    if problems.is_empty() { Ok(config) } else { Err(Problems::new(file, problems)) }
}

fn text(path: &Path) -> Result<String, Problems> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        return Err(Problems::one(path, 1, format!("cannot be read: {error}")));
    }
    if bytes.len() as u64 > LARGEST {
        return Err(Problems::one(path, 1, format!("is larger than {LARGEST} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        Problems::one(path, line, "is not UTF-8 text here".to_owned())
    })
}

/// The whole of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The device's name in topics and payloads. Default: the host's name.
    pub device: String,
    pub broker: Broker,
    pub retry: Retry,
    pub telemetry: Telemetry,
    pub channel: Channel,
    pub spool: Spool,
    pub delivery: Delivery,
    /// How long a graceful stop waits for in-flight messages.
    pub shutdown_timeout: Duration,
    pub logging: Logging,
    pub status: Status,
}

/// MQTT's protocol versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    V311,
    V5,
}

/// The connection to the broker.
#[derive(Debug, Clone, PartialEq)]
pub struct Broker {
    /// `mqtt://HOST:PORT`, the port always present.
    pub url: String,
    /// `{device}` replaced; `{stream}` may still be in it, for only the spool knows that.
    pub client_id: String,
    pub protocol: Protocol,
    pub keep_alive: Duration,
    pub connect_timeout: Duration,
    pub session_expiry: Duration,
    pub username: Option<String>,
    /// Resolved: a bare name is taken from `$CREDENTIALS_DIRECTORY` when that is set. Read at every connection attempt.
    pub password_file: Option<PathBuf>,
}

/// The geometric back-off between connection attempts.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    pub initial_delay: Duration,
    /// At least 1.
    pub factor: f64,
    pub max_delay: Duration,
    pub at_max: AtMax,
    /// Fraction of the delay that is added or taken at random, 0 to 1.
    pub jitter: f64,
}

/// What to do when the delay would pass `max_delay`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtMax {
    /// Give up: exit code 69.
    Exit,
    /// Keep trying every `max_delay`.
    Hold,
}

/// What is sampled. The keys that give sources their defaults are already folded into each source.
#[derive(Debug, Clone, PartialEq)]
pub struct Telemetry {
    pub interval: Duration,
    /// As written, with `{device}` and `{source}`.
    pub topic: String,
    pub qos: Qos,
    pub format: Format,
    pub sources: Vec<Source>,
}

/// One source, with its own values or the telemetry section's.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Unique among the sources.
    pub name: String,
    pub kind: SourceKind,
    pub interval: Duration,
    /// `{device}` and `{source}` replaced; a valid topic to publish to.
    pub topic: String,
    pub qos: Qos,
    pub retain: bool,
    pub format: Format,
    pub expiry: Option<Duration>,
}

/// What a source reads, and its kind's own keys.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceKind {
    /// The machine itself.
    System,
    /// A number or text in a file: `value x scale + offset`. Text is taken as it is.
    File { path: PathBuf, scale: f64, offset: f64, unit: Option<String> },
    /// A wind speed that walks at random; the same seed gives the same walk. Without one, every run differs.
    Simulated { seed: Option<u64> },
}

/// The channel between the two threads.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    /// Samples that fit, at least 1.
    pub capacity: usize,
}

/// The spool on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Spool {
    pub directory: PathBuf,
    /// Bytes, counted in whole segments.
    pub max_size: u64,
    pub max_age: Option<Duration>,
    pub when_full: WhenFull,
    pub sync: Sync,
}

/// Which messages give way when the spool has reached `max_size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    DropOldest,
    DropNewest,
}

/// When a batch is flushed to the medium. A message leaves only after it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// After every batch.
    Always,
    /// At most this long after a batch was written.
    Every(Duration),
}

/// How the spool is drained.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Publishes in flight, 1 to 65,535 (MQTT's packet identifiers).
    pub window: u16,
    /// Age at which an unacknowledged publish ends the connection. Default: 1.5 x keep alive.
    pub ack_timeout: Duration,
    /// Messages per second; `None`: unlimited.
    pub max_rate: Option<f64>,
}

/// The log files.
#[derive(Debug, Clone, PartialEq)]
pub struct Logging {
    pub directory: PathBuf,
    pub rotate_every: Duration,
    /// Of each kind, the one being written included; at least 1.
    pub keep_files: usize,
    /// Bytes.
    pub max_file_size: u64,
    pub debug: bool,
    pub info: bool,
    pub sample: LevelFilter,
    pub paho: LevelFilter,
    pub console: LevelFilter,
}

/// The retained status message.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// `{device}` replaced; `None`: no status messages and no last will.
    pub topic: Option<String>,
    pub interval: Duration,
}
