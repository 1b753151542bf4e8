//! How much of the journal a power cut may undo: when what was finished has to be flushed. Pure.
//!
//! A flush costs the medium a page, and whoever waits for it a few milliseconds, up to a hundred on a slow card. So the
//! journal is flushed for many messages at a time, and otherwise no sooner than the system would write it back by
//! itself (30 s, `dirty_expire_centisecs` in `Documentation/admin-guide/sysctl/vm.rst` of the kernel): that costs no page
//! more. Nobody is woken for it who is awake before [`LATEST`] anyway.

use std::time::{Duration, Instant};

/// So many finished messages are flushed at once. A segment has room for 4,200 messages of 200 bytes, and its end needs a
/// flush: this makes it two. With 1,000, a drain at 20,000 messages a second would spend 8 % of its time on flushes of
/// 4 ms; with this it is 2 %.
pub const MOST: u64 = 2500;
/// What was finished so long ago is flushed as soon as somebody is awake.
pub const SOON: Duration = Duration::from_secs(30);
/// What was finished so long ago is flushed.
pub const LATEST: Duration = Duration::from_secs(60);

/// What is finished and not known to be on the medium.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unflushed {
    messages: u64,
    /// When the first of them was finished.
    since: Option<Instant>,
}

impl Unflushed {
    /// Notes that so many messages more are finished, at `now`.
    pub fn add(&mut self, messages: u64, now: Instant) {
        self.messages = self.messages.saturating_add(messages);
        self.since.get_or_insert(now);
    }

    /// Whether somebody who is awake should flush.
    pub fn is_due(&self, now: Instant) -> bool {
        self.messages >= MOST || self.since.is_some_and(|since| now >= since + SOON)
    }

    /// When somebody has to be woken to flush; `None`: there is nothing to flush.
    pub fn deadline(&self) -> Option<Instant> {
        let patience = if self.messages >= MOST { Duration::ZERO } else { LATEST };
        self.since.map(|since| since + patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_messages_are_due_at_once_and_few_after_a_while() {
        let mut unflushed = Unflushed::default();
        assert_eq!(unflushed.deadline(), None);

        let now = Instant::now();
        unflushed.add(MOST - 1, now);

        assert!(!unflushed.is_due(now));
        assert!(unflushed.is_due(now + SOON));
        assert!(unflushed.deadline() == Some(now + LATEST));
        unflushed.add(1, now);
        assert!(unflushed.is_due(now));
        assert!(unflushed.deadline().is_some_and(|at| at <= now));
    }
}
