//! The geometric back-off between connection attempts. Pure: no clock, no randomness of its own.

use crate::config::{AtMax, Retry};
use std::time::Duration;

/// When brokers that refuse us are asked again first, and at the latest: often enough for a password that was put right
/// there, and seldom enough for those that lock out whom they refuse several times in a few minutes.
const ASK_AGAIN: Duration = Duration::from_secs(60);
const ASK_AGAIN_LATEST: Duration = Duration::from_secs(15 * 60);

/// What to do after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try again after this long.
    Wait(Duration),
    /// The delay has passed `max_delay`, and the configuration says to exit then.
    GiveUp,
}

/// Counts failures and says how long to wait. The first failure is retried at once, then the delay grows from
/// `initial_delay` by `factor` each time.
#[derive(Debug)]
pub struct Backoff {
    retry: Retry,
    failures: u32,
    /// The delay after the next failure, before jitter; `None`: none yet, at once.
    delay: Option<Duration>,
}

impl Backoff {
    pub fn new(retry: Retry) -> Self {
        Self { retry, failures: 0, delay: None }
    }

    /// Between the questions at brokers that refuse us.
    pub fn of_refusals(retry: &Retry) -> Self {
        let (initial_delay, max_delay) = (ASK_AGAIN, ASK_AGAIN_LATEST);
        Self::new(Retry { initial_delay, factor: 2.0, max_delay, at_max: AtMax::Hold, ..retry.clone() })
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Counts a failure. `random` is drawn evenly from 0 to 1 and places the delay within its jitter.
    pub fn fail(&mut self, random: f64) -> Next {
        self.failures = self.failures.saturating_add(1);
        let Retry { initial_delay, factor, max_delay, at_max, jitter, on_refusal: _, stable_after: _ } = self.retry;
        let Some(delay) = self.delay else {
            self.delay = Some(initial_delay);
            return Next::Wait(Duration::ZERO);
        };
        if delay > max_delay && at_max == AtMax::Exit {
            return Next::GiveUp;
        }
        let delay = delay.min(max_delay);
        // Beyond `max_delay` the size does not matter any more; this also keeps the product within bounds.
        self.delay = Some(Duration::try_from_secs_f64(delay.as_secs_f64() * factor).unwrap_or(Duration::MAX));
        let spread = 1.0 + jitter * (2.0 * random - 1.0);
        Next::Wait(Duration::try_from_secs_f64(delay.as_secs_f64() * spread).unwrap_or(delay))
    }

    /// As [`Backoff::fail`], for what has failed for good as far as one knows: there is no first retry at once, and it never
    /// gives up.
    pub fn fail_slowly(&mut self, random: f64) -> Duration {
        if self.failures == 0 {
            let _ = self.fail(random);
        }
        match self.fail(random) {
            Next::Wait(delay) => delay,
            Next::GiveUp => self.retry.max_delay,
        }
    }

    /// Counts a failure that does not make the next delay longer.
    pub fn fail_quickly(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.retry.initial_delay
    }

    /// A connection has proved itself, or everything has changed: the next failure is the first one.
    pub fn succeed(&mut self) {
        self.failures = 0;
        self.delay = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OnRefusal;
    use proptest::prelude::*;

    fn retry(at_max: AtMax, jitter: f64) -> Retry {
        let (initial_delay, max_delay) = (Duration::from_secs(2), Duration::from_secs(60));
        let on_refusal = OnRefusal::Hold;
        Retry { initial_delay, factor: 2.0, max_delay, at_max, on_refusal, jitter, stable_after: initial_delay }
    }

    fn waits(backoff: &mut Backoff, count: usize) -> Vec<u64> {
        let seconds = |next| match next {
            Next::Wait(delay) => delay.as_secs(),
            Next::GiveUp => u64::MAX,
        };
        (0..count).map(|_| seconds(backoff.fail(0.5))).collect()
    }

    #[test]
    fn the_first_failure_is_retried_at_once_then_the_delay_grows_until_it_gives_up() {
        let mut backoff = Backoff::new(retry(AtMax::Exit, 0.0));

        assert_eq!(waits(&mut backoff, 7), [0, 2, 4, 8, 16, 32, u64::MAX]);
        assert_eq!(backoff.failures(), 7);
    }

    #[test]
    fn holding_repeats_the_largest_delay() {
        let mut backoff = Backoff::new(retry(AtMax::Hold, 0.0));

        assert_eq!(waits(&mut backoff, 9), [0, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn a_success_starts_from_the_beginning() {
        let mut backoff = Backoff::new(retry(AtMax::Exit, 0.0));
        waits(&mut backoff, 4);

        backoff.succeed();

        assert_eq!(backoff.failures(), 0);
        assert_eq!(waits(&mut backoff, 3), [0, 2, 4]);
    }

    proptest! {
        #[test]
        fn every_delay_is_within_its_jitter_and_none_passes_the_largest(
            initial in 1u64..100_000, factor in 1.0f64..1e9, largest in 0u64..10_000_000, jitter in 0.0f64..=1.0,
            randoms in proptest::collection::vec(0.0f64..=1.0, 1..60),
        ) {
            let initial_delay = Duration::from_millis(initial);
            let max_delay = initial_delay + Duration::from_millis(largest);
            let retry = Retry { initial_delay, factor, max_delay, ..retry(AtMax::Hold, jitter) };
            let mut backoff = Backoff::new(retry);

            prop_assert_eq!(backoff.fail(randoms[0]), Next::Wait(Duration::ZERO));
            for (failure, random) in randoms[1..].iter().enumerate() {
                let plain = initial_delay.as_secs_f64() * factor.powi(i32::try_from(failure).unwrap());
                let plain = plain.min(max_delay.as_secs_f64());
                let Next::Wait(delay) = backoff.fail(*random) else { panic!("gave up while holding") };
                let delay = delay.as_secs_f64();
                prop_assert!(delay >= plain * (1.0 - jitter) * 0.999 - 1e-6, "{} < {}", delay, plain);
                prop_assert!(delay <= plain * (1.0 + jitter) * 1.001 + 1e-6, "{} > {}", delay, plain);
            }
        }

        #[test]
        fn exiting_ends_after_finitely_many_failures(initial in 1u64..100_000, factor in 1.01f64..10.0, times in 1.0f64..1000.0) {
            let initial_delay = Duration::from_millis(initial);
            let max_delay = initial_delay.mul_f64(times);
            let retry = Retry { initial_delay, factor, max_delay, ..retry(AtMax::Exit, 0.1) };
            let mut backoff = Backoff::new(retry);

            let given_up = (0..2000).any(|_| backoff.fail(0.3) == Next::GiveUp);

            prop_assert!(given_up);
        }
    }
}
