//! Counters that the two threads keep, and the status message that shows them.

use crate::clock::rfc3339;
use crate::config::Config;
use crate::message::{Qos, Stamp};
use crate::payload::Outgoing;
use crate::spool::Backlog;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

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

impl Counters {
    fn to_json(&self) -> Value {
        json!({
            "sampled": self.sampled.get(),
            "missed_ticks": self.missed_ticks.get(),
            "failed_samples": self.failed_samples.get(),
            "dropped_channel_full": self.dropped_channel_full.get(),
            "accepted": self.accepted.get(),
            "published": self.published.get(),
            "acknowledged": self.acknowledged.get(),
            "rejected": self.rejected.get(),
            "dropped_spool_full": self.dropped_spool_full.get(),
            "dropped_max_age": self.dropped_max_age.get(),
            "dropped_expired": self.dropped_expired.get(),
            "damaged": self.damaged.get(),
            "connections": self.connections.get(),
        })
    }
}

/// The retained message that says the agent is here and how it fares; `None` where `status.topic` is off.
#[must_use]
pub fn online(config: &Config, started: Stamp, backlog: Backlog, counters: &Counters) -> Option<Outgoing> {
    let mut status = presence(config, "online", started);
    status["backlog"] = json!({ "messages": backlog.messages, "bytes": backlog.bytes });
    status["counters"] = counters.to_json();
    outgoing(config, &status)
}

/// The retained message that says the agent is gone: its last will, and its goodbye. `None` where `status.topic` is
/// off.
#[must_use]
pub fn offline(config: &Config, started: Stamp) -> Option<Outgoing> {
    outgoing(config, &presence(config, "offline", started))
}

fn presence(config: &Config, status: &str, started: Stamp) -> Value {
    json!({
        "device": config.device,
        "status": status,
        "since": rfc3339(started.wall),
        "version": env!("CARGO_PKG_VERSION"),
    })
}

fn outgoing(config: &Config, status: &Value) -> Option<Outgoing> {
    Some(Outgoing {
        topic: config.status.topic.clone()?,
        qos: Qos::AtLeastOnce,
        retain: true,
        content_type: "application/json",
        expiry: None,
        user_properties: Vec::new(),
        payload: status.to_string().into_bytes(),
    })
}
