//! The load: messages that say when they were made, as many as are asked for.

use crate::source::{Data, Error, Source};
use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The key of the time at which a message was made: the monotonic clock, in microseconds, which both ends share.
pub const MADE: &str = "made_microseconds";
/// The key of what makes a message as long as it is to be.
const FILLER: &str = "filler";
/// About what a message has beside the filler, in bytes.
const FRAME: usize = 200;

/// The monotonic clock, in microseconds.
#[must_use]
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let (seconds, nanoseconds) = (time.tv_sec.cast_unsigned(), time.tv_nsec.cast_unsigned());
    seconds * 1_000_000 + nanoseconds / 1000
}

/// A time in microseconds.
#[must_use]
pub fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// What all sources of a load share.
#[derive(Debug)]
pub struct Quota {
    left: AtomicU64,
    until: Option<u64>,
    over: AtomicBool,
}

impl Quota {
    /// So many messages, and none from `until` on.
    #[must_use]
    pub fn new(messages: u64, until: Option<u64>) -> Arc<Self> {
        Arc::new(Self { left: messages.into(), until, over: AtomicBool::new(messages == 0) })
    }

    /// Whether nothing more is made.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn take(&self, now: u64) -> bool {
        let is_late = self.until.is_some_and(|until| now >= until);
        let taken = !is_late
            && self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if !taken {
            self.over.store(true, Ordering::Relaxed);
        }
        taken
    }
}

/// A source of the load.
#[derive(Debug)]
pub struct Load {
    quota: Arc<Quota>,
    filler: String,
}

impl Load {
    /// Messages of about so many bytes at least.
    #[must_use]
    pub fn new(quota: &Arc<Quota>, size: usize) -> Self {
        Self { quota: Arc::clone(quota), filler: "x".repeat(size.saturating_sub(FRAME)) }
    }
}

impl Source for Load {
    fn sample(&mut self) -> Result<Data, Error> {
        let now = now();
        if !self.quota.take(now) {
            return Err(Error::Over);
        }
        let mut data = Data::from_iter([(MADE.to_owned(), now.into())]);
        if !self.filler.is_empty() {
            data.insert(FILLER.to_owned(), self.filler.as_str().into());
        }
        Ok(data)
    }

    fn may_block(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sources_together_make_as_many_as_are_asked_for() {
        let quota = Quota::new(3, None);
        let mut sources = [Load::new(&quota, 0), Load::new(&quota, 300)];

        let made = (0..5).map(|turn| sources[turn % 2].sample().map(|data| data.len()).ok()).collect::<Vec<_>>();

        assert_eq!(made, [Some(1), Some(2), Some(1), None, None]);
        assert!(quota.is_over());
    }

    #[test]
    fn nothing_is_made_when_the_time_is_over() {
        let quota = Quota::new(3, Some(now()));

        assert!(Load::new(&quota, 0).sample().is_err() && quota.is_over());
    }
}
