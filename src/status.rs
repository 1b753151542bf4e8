//! Counters that the two threads keep, and the status message that shows them.

use crate::clock::rfc3339;
use crate::config::Config;
use crate::message::Qos;
use crate::payload::{Outgoing, Time};
use crate::spool::Backlog;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};

/// Sources that the status message names: with a thousand of them it would be larger than many brokers take.
const NAMES_MAX: usize = 20;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The present value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What happened since the agent started. Shared by both threads; no value depends on another.
#[derive(Debug, Default)]
pub struct Counters {
    /// Samples taken.
    pub sampled: Counter,
    /// Ticks of the grid that passed before their source could be sampled.
    pub missed_ticks: Counter,
    /// Samples that a source failed to give.
    pub failed_samples: Counter,
    /// Samples that found the channel full.
    pub dropped_channel_full: Counter,
    /// Messages on the medium.
    pub accepted: Counter,
    /// PUBLISH packets handed to the MQTT library, repetitions included.
    pub published: Counter,
    /// PUBLISH packets among them whose message the disk did not take.
    pub from_memory: Counter,
    /// Messages that the broker acknowledged.
    pub acknowledged: Counter,
    /// Messages that the broker refused and that were set aside.
    pub rejected: Counter,
    /// Messages dropped because the spool had reached its size.
    pub dropped_spool_full: Counter,
    /// Messages dropped because they were older than `spool.max_age`.
    pub dropped_max_age: Counter,
    /// Messages dropped because their expiry had passed.
    pub dropped_expired: Counter,
    /// Records that could not be read back.
    pub damaged: Counter,
    /// Connections that were established.
    pub connections: Counter,
}

/// What only a running agent can say.
#[derive(Debug)]
pub struct News<'a> {
    /// When the agent started.
    pub started: Time,
    /// When the present configuration was applied.
    pub applied: Time,
    /// Why what is in its file by now cannot be applied.
    pub problem: Option<&'a str>,
    /// The names of the sources that hang.
    pub hanging: &'a [String],
    pub backlog: Backlog,
    /// Messages in the spool that the broker refused, and that the disk does not take into `rejected/` yet.
    pub rejected_later: u64,
    /// What the broker refuses altogether, and why.
    pub refused: Option<&'a str>,
    pub counters: &'a Counters,
}

/// The payload of the status message.
#[derive(Debug, Serialize)]
struct Presence<'a> {
    device: &'a str,
    status: &'static str,
    /// Where the status is `online`, when the agent started; in a goodbye, when it went. A last will has none: it is
    /// written when the connection begins, and nobody knows then when the broker will publish it.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// Marks the times here as those of a clock that nothing has set yet, as in the payload of a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<&'static str>,
    version: &'static str,
    #[serde(flatten)]
    news: Option<NewsNow<'a>>,
}

#[derive(Debug, Serialize)]
struct NewsNow<'a> {
    configuration: ConfigurationNow<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<&'a str>,
    /// The first of the sources that hang.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    hanging: &'a [String],
    /// How many more of them there are.
    #[serde(skip_serializing_if = "is_zero")]
    hanging_more: usize,
    backlog: BacklogNow,
    counters: CountersNow,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[derive(Debug, Serialize)]
struct ConfigurationNow<'a> {
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct BacklogNow {
    messages: u64,
    bytes: u64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountersNow {
    pub sampled: u64,
    pub missed_ticks: u64,
    pub failed_samples: u64,
    pub dropped_channel_full: u64,
    pub accepted: u64,
    pub published: u64,
    pub from_memory: u64,
    pub acknowledged: u64,
    pub rejected: u64,
    pub dropped_spool_full: u64,
    pub dropped_max_age: u64,
    pub dropped_expired: u64,
    pub damaged: u64,
    pub connections: u64,
}

impl CountersNow {
    /// Messages that the broker does not get: dropped by a rule, set aside, or damaged.
    #[must_use]
    pub fn undelivered(&self) -> u64 {
        self.dropped_spool_full + self.dropped_max_age + self.dropped_expired + self.rejected + self.damaged
    }
}

impl From<&Counters> for CountersNow {
    fn from(counters: &Counters) -> Self {
        Self {
            sampled: counters.sampled.get(),
            missed_ticks: counters.missed_ticks.get(),
            failed_samples: counters.failed_samples.get(),
            dropped_channel_full: counters.dropped_channel_full.get(),
            accepted: counters.accepted.get(),
            published: counters.published.get(),
            from_memory: counters.from_memory.get(),
            acknowledged: counters.acknowledged.get(),
            rejected: counters.rejected.get(),
            dropped_spool_full: counters.dropped_spool_full.get(),
            dropped_max_age: counters.dropped_max_age.get(),
            dropped_expired: counters.dropped_expired.get(),
            damaged: counters.damaged.get(),
            connections: counters.connections.get(),
        }
    }
}

/// The retained message that says the agent is here and how it fares; `None` where `status.topic` is off.
#[must_use]
pub fn online(config: &Config, news: News<'_>) -> Option<Outgoing> {
    let News { started, applied, problem, hanging, backlog, rejected_later, refused, counters } = news;
    let (hanging, more) = hanging.split_at(hanging.len().min(NAMES_MAX));
    let mut counters = CountersNow::from(counters);
    counters.rejected += rejected_later;
    let told = NewsNow {
        configuration: ConfigurationNow { since: rfc3339(applied.wall), problem },
        refused,
        hanging,
        hanging_more: more.len(),
        backlog: BacklogNow { messages: backlog.messages, bytes: backlog.bytes },
        counters,
    };
    outgoing(config, "online", Some(started), Some(told))
}

/// The retained message with which an agent leaves at this time. `None` where `status.topic` is off.
#[must_use]
pub fn goodbye(config: &Config, now: Time) -> Option<Outgoing> {
    outgoing(config, "offline", Some(now), None)
}

/// The retained message that the broker publishes when an agent is gone without a word. Nothing is in it that may have
/// changed by then. `None` where `status.topic` is off.
#[must_use]
pub fn last_will(config: &Config) -> Option<Outgoing> {
    outgoing(config, "offline", None, None)
}

fn outgoing(config: &Config, status: &'static str, since: Option<Time>, news: Option<NewsNow<'_>>) -> Option<Outgoing> {
    let topic = config.status.topic.clone()?;
    let clock = since.filter(|since| !since.certain).map(|_| "unsynchronised");
    let since = since.map(|since| rfc3339(since.wall));
    let presence = Presence { device: &config.device, status, since, clock, version: env!("CARGO_PKG_VERSION"), news };
    Some(Outgoing {
        topic,
        qos: Qos::AtLeastOnce,
        retain: true,
        content_type: "application/json",
        expiry: None,
        user_properties: Vec::new(),
        dated: true,
        payload: serde_json::to_vec(&presence).expect("plain values can be written as JSON"),
    })
}
