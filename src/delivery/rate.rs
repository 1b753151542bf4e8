//! Spaces publishes out to a number per second. Pure.

use std::time::{Duration, Instant};

/// Publishes that were due this long ago may be made up for at once; timers are not more exact than this.
const SLACK: Duration = Duration::from_millis(10);

/// A limit of messages per second.
#[derive(Debug)]
pub struct Rate {
    interval: Duration,
    next: Option<Instant>,
}

impl Rate {
    /// `per_second` must be above zero.
    pub fn new(per_second: f64) -> Self {
        Self { interval: Duration::try_from_secs_f64(1.0 / per_second).unwrap_or(Duration::MAX), next: None }
    }

    /// When the next publish may be made; `None`: at once.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Notes a publish.
    pub fn published(&mut self, now: Instant) {
        let due = self.next.map_or(now, |next| next.max(now.checked_sub(SLACK).unwrap_or(now)));
        self.next = due.checked_add(self.interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_never_exceeds_the_limit_and_reaches_it(per_second in 1.0f64..5000.0, steps in proptest::collection::vec(0u64..20_000, 1..200)) {
            let mut rate = Rate::new(per_second);
            let start = Instant::now();
            let (mut now, mut published) = (start, 0.0);

            for microseconds in steps {
                now += Duration::from_micros(microseconds);
                while rate.next().is_none_or(|next| next <= now) {
                    rate.published(now);
                    published += 1.0;
                }
                let allowed = ((now - start) + SLACK).as_secs_f64() * per_second + 1.0;
                prop_assert!(published <= allowed + 1e-6, "{} of {}", published, allowed);
            }
        }
    }

    #[test]
    fn a_steady_caller_gets_the_whole_rate() {
        let mut rate = Rate::new(1000.0);
        let start = Instant::now();
        let mut published = 0;

        for millisecond in 0..1000 {
            let now = start + Duration::from_millis(millisecond);
            while rate.next().is_none_or(|next| next <= now) {
                rate.published(now);
                published += 1;
            }
        }

        assert_eq!(published, 1000);
    }
}
