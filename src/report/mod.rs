//! What a running agent says of itself when it is asked: `packhorse status` prints it.
//!
//! One structure for all: the agent fills it, `--json` prints it as it is, and the text is made of it. The names of its keys
//! are stable; quantities are in base units (seconds, bytes, messages), times in RFC 3339, UTC. `docs/looking-into.md` has
//! each key. Text that others wrote has been made harmless by who puts it in here ([`crate::foreign`]).

mod advice;
mod health;
mod numbers;
mod rates;
#[cfg(test)]
mod tests;
mod text;

use crate::status::CountersNow;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use advice::advice;
pub use health::{CODES, judge};
pub use numbers::{count, counted, time};
pub use rates::{Averages, Rate, Rates};
pub use text::{WIDTH, text, wrapped};

/// How an agent fares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub health: Health,
    /// What makes it degraded; empty where it is healthy.
    pub reasons: Vec<Reason>,
    /// When this was written, by the device's clock.
    pub time: String,
    pub agent: Agent,
    pub configuration: Configuration,
    pub clock: Clock,
    pub threads: Vec<Thread>,
    /// This and the next three are of the publisher: absent while it does not answer.
    pub connection: Option<Connection>,
    pub waiting: Option<Waiting>,
    pub rates: Option<Rates>,
    pub spool: Option<Spool>,
    /// Absent while the sampler does not answer.
    pub sources: Option<Vec<Source>>,
    pub counters: CountersNow,
}

/// What the exit code says as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    Healthy,
    Degraded,
}

/// One thing that makes an agent degraded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// One of [`CODES`].
    pub code: String,
    pub text: String,
}

/// The process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    pub device: String,
    pub version: String,
    pub process: u32,
    pub since: String,
    pub uptime_seconds: f64,
    /// Whether it was asked to stop.
    pub is_stopping: bool,
}

/// Which configuration holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    pub file: String,
    /// When the present one was handed to the threads.
    pub since: String,
    /// The first problem of the file as it is now, which keeps it from being applied.
    pub problem: Option<String>,
}

/// The device's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Whether something keeps it right.
    pub is_synchronised: bool,
}

/// A thread's signs of life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Thread {
    pub name: String,
    /// For how long it has not come back that should have.
    pub silent_seconds: f64,
}

/// The connection to the broker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    pub state: State,
    /// Of the broker that is connected to, or tried next.
    pub address: String,
    /// Since when there is a connection; where there is none, since when there is none.
    pub since: String,
    pub lasts_seconds: f64,
    /// MQTT's version: `5` or `3.1.1`.
    pub protocol: String,
    /// Whether the broker had a session of ours when it accepted the connection; absent without one.
    pub session_present: Option<bool>,
    /// Publishes that may be in flight; absent without a connection.
    pub window: Option<u64>,
    pub in_flight: u64,
    /// Attempts that failed since a connection last proved itself.
    pub failures: u64,
    pub next_attempt: Option<String>,
    pub next_attempt_seconds: Option<f64>,
    pub last_error: Option<LastError>,
    /// What the broker refuses altogether, and why.
    pub refused: Option<String>,
}

/// Where the connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Connected,
    Connecting,
    /// For the next attempt.
    Waiting,
    /// The brokers refuse us, or a file of ours cannot be used: asked again rarely, and when that changes.
    Refused,
    /// Another one follows at once, or the agent stops.
    Closing,
    /// There will be none.
    Over,
}

/// Why the last connection ended, or did not come about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastError {
    pub text: String,
    /// What to look at, where that is known.
    pub advice: Option<String>,
    pub time: String,
    pub age_seconds: f64,
}

/// What the broker does not have yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    pub messages: u64,
    pub bytes: u64,
    /// When the oldest was sampled; absent where none waits, or where that cannot be read.
    pub oldest: Option<String>,
    pub oldest_age_seconds: Option<f64>,
    /// Until all has drained, at the present pace; absent where it does not drain.
    pub drained_in_seconds: Option<f64>,
}

/// The spool and its disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spool {
    pub directory: String,
    pub stream: String,
    /// The lowest number that waits; the same as `next_seq` where none does.
    pub oldest_seq: u64,
    /// The number of the next message.
    pub next_seq: u64,
    /// Of its files.
    pub bytes: u64,
    pub max_bytes: u64,
    /// Whether the disk does not take what is to be written.
    pub disk_fails: bool,
    /// Absent where the file system does not tell.
    pub disk_free_bytes: Option<u64>,
    pub disk_total_bytes: Option<u64>,
    /// How long ago a message was last dropped by a rule, set aside, or lost to damage; absent: none since the start.
    pub last_drop_seconds: Option<u64>,
}

/// A source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    pub name: String,
    pub interval_seconds: f64,
    pub state: SourceState,
    /// The last sample's data; a text where it is long, or looks like a secret.
    pub value: Option<Value>,
    pub time: Option<String>,
    pub age_seconds: Option<f64>,
    /// Since the start, or since an edit made the source anew.
    pub samples: u64,
    pub failed_samples: u64,
    pub missed_ticks: u64,
    /// How long after its tick the last sample was begun.
    pub late_seconds: f64,
    /// Why the last sample failed; absent where it did not.
    pub error: Option<String>,
}

/// What became of a source's last sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// There was none yet.
    New,
    Works,
    Fails,
    Hangs,
}

/// What the publisher has to say.
#[derive(Debug, Clone, PartialEq)]
pub struct Publishing {
    pub connection: Connection,
    pub waiting: Waiting,
    pub rates: Rates,
    pub spool: Spool,
}

/// Seconds, to the millisecond.
#[must_use]
pub fn seconds(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}
