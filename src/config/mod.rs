//! The configuration: what the YAML file may say, and what holds where it says nothing.
//!
//! The structs are the effective configuration: every value is present, checked and in its own unit. [`inspect()`] reads a
//! file into them and tells all that is wrong with it at once; [`Config::to_yaml`] writes them back. Nothing outside this
//! module knows which crates read and write the YAML.

mod address;
mod azure;
mod hints;
mod host;
mod indentation;
mod load;
mod odd;
mod problem;
mod profile;
mod proxy;
mod read;
mod section;
mod slips;
mod sources;
mod tls;
mod tree;
mod value;
mod write;

#[cfg(test)]
mod tests;

pub use address::{Address, Query, Scheme};
pub use load::{Inspection, NotFound, bytes, host_name, inspect, inspect_bytes, keys, locate, parse};
pub use problem::{Problem, Problems};
pub use profile::{BrokerProfile, Credentials, Limits, Sessions};
pub use proxy::Proxy;
pub use section::{NamedFile, Role};

use crate::azure::{Device, Origin};
use crate::message::{Format, Qos};
use log::LevelFilter;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest password that MQTT carries (section 3.1.3.6), in bytes.
pub const PASSWORD_MAX: usize = 65_535;

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
    /// At least one. They are tried in order.
    pub addresses: Vec<Address>,
    /// `{device}` replaced; `{stream}` may still be in it, for only the spool knows that.
    pub client_id: String,
    pub protocol: Protocol,
    pub keep_alive: Duration,
    pub connect_timeout: Duration,
    pub session_expiry: Duration,
    pub username: Option<String>,
    /// Resolved: a bare name is taken from `$CREDENTIALS_DIRECTORY` when that is set. Read at every connection attempt.
    pub password_file: Option<PathBuf>,
    /// On the way to every address; `None`: none.
    pub proxy: Option<Proxy>,
    pub tls: Tls,
    /// `None`: a broker.
    pub azure_iot_hub: Option<AzureIotHub>,
    /// Where connections go instead: a relay of `packhorse verify`. There is no key for it.
    pub detours: Vec<Detour>,
}

/// What is dialed in the place of a host and its port. Everything else, TLS too, has the host's name as before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detour {
    pub host: String,
    pub port: u16,
    pub through: SocketAddr,
}

/// What TLS goes by, for the addresses that use it. The files are read at every connection attempt; bare names are
/// taken from `$CREDENTIALS_DIRECTORY` when that is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Certificates of the authorities to trust, in PEM; `None`: the system's.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate and those that lead to its authority, in PEM.
    pub cert_file: Option<PathBuf>,
    /// Its key in PEM; `None`: it is in the certificate's file.
    pub key_file: Option<PathBuf>,
    /// Whether the broker must prove who it is.
    pub verify: bool,
    /// The application protocol to ask for (ALPN, RFC 7301).
    pub alpn: Option<String>,
}

/// Azure IoT Hub in place of a broker. What follows from its device stands in the keys around: address, client id, user
/// name and topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzureIotHub {
    /// Read at every connection attempt, for the key in it. It is no part of the configuration.
    pub connection_string: Origin,
    /// How long a token is valid. It is renewed earlier.
    pub token_lifetime: Duration,
    /// Our device, as the connection string named it when the configuration was read.
    pub device: Device,
}

/// The geometric back-off between connection attempts.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    pub initial_delay: Duration,
    /// At least 1.
    pub factor: f64,
    pub max_delay: Duration,
    pub at_max: AtMax,
    pub on_refusal: OnRefusal,
    /// Fraction of the delay that is added or taken at random, 0 to 1.
    pub jitter: f64,
    /// How long a connection that carries messages must last before the back-off begins anew. Default: `initial_delay`.
    pub stable_after: Duration,
}

/// What to do when the delay would pass `max_delay`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtMax {
    /// Give up: exit code 69.
    Exit,
    /// Keep trying every `max_delay`.
    Hold,
}

/// What to do when every broker refuses credentials, client id or protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRefusal {
    /// Sample and spool on, and ask again now and then.
    Hold,
    /// Give up: exit code 77.
    Exit,
}

impl Broker {
    /// What is dialed for an address: the proxy, or the broker itself.
    pub fn dialed<'a>(&'a self, address: &'a Address) -> (&'a str, u16) {
        match &self.proxy {
            Some(proxy) => (&proxy.host, proxy.port),
            None => (&address.host, address.port),
        }
    }

    /// The relay on the way to a host, if there is one.
    pub fn detour(&self, host: &str, port: u16) -> Option<SocketAddr> {
        self.detours.iter().find(|detour| detour.host == host && detour.port == port).map(|detour| detour.through)
    }

    /// The files that say who we are and whom we trust. They are read at every connection attempt.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let proxy = self.proxy.as_ref().and_then(|proxy| proxy.password_file.as_ref());
        let hub = self.azure_iot_hub.as_ref().and_then(|hub| hub.connection_string.file());
        let tls = [&self.tls.ca_file, &self.tls.cert_file, &self.tls.key_file];
        let files = tls.into_iter().flatten().chain(&self.password_file).chain(proxy);
        files.map(PathBuf::as_path).chain(hub)
    }
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
    /// How long a reading may take.
    pub timeout: Duration,
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
    /// A number or text in a file: `value x scale + offset`. What is not scaled is taken as it stands.
    File { path: PathBuf, read_as: ReadAs, scale: f64, offset: f64, unit: Option<String> },
    /// A wind speed that walks at random; the same seed gives the same walk. Without one, every run differs.
    Simulated { seed: Option<u64> },
}

/// What the content of a file is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadAs {
    /// A number where it looks like one, else text.
    Auto,
    Number,
    Text,
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
