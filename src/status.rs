//! Counters that the two threads keep and the status message shows.

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
