//! What the agent under test tells of itself, a line of JSON at a time, over its standard output.

use super::load::Quota;
use crate::config::WhenFull;
use crate::message::Seq;
use crate::status::Counters;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// How often it reports while nothing happens that cannot wait.
const EVERY: Duration = Duration::from_millis(100);

/// How it fares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The name of the spool's stream.
    pub stream: String,
    /// Messages accepted in the spool's whole life.
    pub accepted: u64,
    /// Those of them that are still in the spool.
    pub waiting: u64,
    /// Since this process began: samples that never were messages, for the channel, the spool or the disk had no room.
    pub not_accepted: u64,
    /// Since this process began: samples that became messages, or did not.
    pub settled: u64,
    /// Since this process began: samples taken.
    pub sampled: u64,
    /// Since this process began.
    pub connections: u64,
    /// Whether nothing more is sampled.
    pub is_over: bool,
    /// Accepted messages that are about to leave by a rule: the first and the last.
    pub dropped: Option<(u64, u64)>,
}

/// Gives the reports.
pub struct Reporter {
    pub stream: String,
    /// What the spool had when the process began.
    pub accepted: u64,
    pub waiting: u64,
    /// What a full spool drops: the newest never were messages.
    pub when_full: WhenFull,
    pub counters: Arc<Counters>,
    pub quota: Arc<Quota>,
}

impl Reporter {
    /// Reports until `ended` is closed, and once more then. Whoever does not listen any more ends it.
    pub fn run(&self, ended: &Receiver<()>) {
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(EVERY) {
            if self.tell(None).is_err() {
                return;
            }
        }
        // As above.
        let _ = self.tell(None);
    }

    /// Reports now, and that these messages are about to leave by a rule.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn tell(&self, dropped: Option<&RangeInclusive<Seq>>) -> io::Result<()> {
        let mut line = serde_json::to_vec(&self.report(dropped))?;
        line.push(b'\n');
        io::stdout().write_all(&line)
    }

    fn report(&self, dropped: Option<&RangeInclusive<Seq>>) -> Report {
        let counters = &self.counters;
        // First what says that something is over: what is read later may only be more.
        let is_over = self.quota.is_over();
        let sampled = counters.sampled.get();
        let left = counters.acknowledged.get() + counters.rejected.get() + counters.damaged.get();
        let accepted = counters.accepted.get();
        let full = counters.dropped_spool_full.get();
        let (oldest, newest) = if self.when_full == WhenFull::DropOldest { (full, 0) } else { (0, full) };
        let not_accepted = counters.dropped_channel_full.get() + counters.from_memory.get() + newest;
        let left = left + counters.dropped_max_age.get() + oldest;
        Report {
            stream: self.stream.clone(),
            accepted: self.accepted + accepted,
            waiting: (self.waiting + accepted).saturating_sub(left),
            not_accepted,
            settled: accepted + not_accepted,
            sampled,
            connections: counters.connections.get(),
            is_over,
            dropped: dropped.map(|range| (range.start().0, range.end().0)),
        }
    }
}
