//! Signs of life: whether a thread still does its work, for the watchdog.
//!
//! A thread says when it begins something, and before it waits by when it will be back. So a thread that waits costs no
//! wake-ups and is told from one that hangs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The signs of life of one thread, which leaves them; another one looks at them.
#[derive(Debug)]
pub struct Pulse {
    epoch: Instant,
    /// Milliseconds after `epoch`: when the thread was last seen, or when it will be back.
    expected: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { epoch: Instant::now(), expected: AtomicU64::new(0) }
    }
}

impl Pulse {
    /// The thread does something that takes a moment.
    pub fn works(&self, now: Instant) {
        self.expect(now);
    }

    /// The thread waits, and will be back by then at the latest.
    pub fn rests_until(&self, until: Instant) {
        self.expect(until);
    }

    /// The thread waits, for as long as it takes.
    pub fn rests(&self) {
        self.expected.store(u64::MAX, Ordering::Relaxed);
    }

    /// For how long nothing has been heard of a thread that should have been heard of. Milliseconds are exact.
    #[must_use]
    pub fn silence(&self, now: Instant) -> Duration {
        let now = self.milliseconds(now);
        Duration::from_millis(now.saturating_sub(self.expected.load(Ordering::Relaxed)))
    }

    fn expect(&self, at: Instant) {
        self.expected.store(self.milliseconds(at), Ordering::Relaxed);
    }

    fn milliseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_thread_that_works_is_silent_from_its_last_sign_on() {
        let (pulse, now) = (Pulse::default(), Instant::now());

        pulse.works(now);

        assert_eq!(pulse.silence(now), Duration::ZERO);
        assert!((Duration::from_millis(59_999)..=60 * SECOND).contains(&pulse.silence(now + 60 * SECOND)));
    }

    #[test]
    fn a_thread_that_waits_is_silent_only_when_it_does_not_come_back() {
        let (pulse, now) = (Pulse::default(), Instant::now());

        pulse.rests_until(now + 3600 * SECOND);
        assert_eq!(pulse.silence(now + 3599 * SECOND), Duration::ZERO);
        assert!(pulse.silence(now + 3602 * SECOND) > SECOND);

        pulse.rests();
        assert_eq!(pulse.silence(now + 1_000_000 * SECOND), Duration::ZERO);
    }
}
