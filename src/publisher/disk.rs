//! Patience with a disk that fails: one kind of access is left alone for a while after a failure, and the log tells of
//! the first failure of a row and of its end.

use crate::burst::Burst;
use crate::clock::instant;
use log::{info, log};
use std::fmt::Display;
use std::time::{Duration, Instant};

/// How long to leave a failing disk alone.
const RETRY: Duration = Duration::from_secs(1);

/// One kind of access to the disk.
#[derive(Debug)]
pub struct Access {
    /// What is done, as in "cannot write the spool".
    what: &'static str,
    failures: Burst,
    /// Until then it is left alone.
    retry: Option<Instant>,
}

impl Access {
    pub fn new(what: &'static str) -> Self {
        Self { what, failures: Burst::default(), retry: None }
    }

    /// When it may be tried again; `None`: at once.
    pub fn retry_at(&self) -> Option<Instant> {
        self.retry
    }

    /// Whether it failed when it was tried last.
    pub fn is_failing(&self) -> bool {
        self.failures.is_on()
    }

    /// Whether it may be tried.
    pub fn is_due(&self, now: Instant) -> bool {
        self.retry.is_none_or(|retry| now >= retry)
    }

    /// Notes a failure. The disk may have taken its time for it: it is left alone from now on.
    pub fn failed(&mut self, error: &dyn Display) {
        self.retry = Some(instant() + RETRY);
        log!(self.failures.failed(), "cannot {}; trying again in {} s error={error}", self.what, RETRY.as_secs());
    }

    /// Notes that it worked.
    pub fn worked(&mut self) {
        self.retry = None;
        if let Some(failures) = self.failures.ended() {
            info!("can {} again after {failures} failures", self.what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_failure_it_is_left_alone_until_the_retry() {
        let (mut access, before) = (Access::new("write"), Instant::now());

        access.failed(&"no");

        let retry = access.retry_at().unwrap();
        assert!(retry >= before + RETRY && access.is_due(retry) && !access.is_due(before));
        access.worked();
        assert!(access.is_due(before));
    }
}
