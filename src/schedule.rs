//! The grid that samples are taken on: start + n x interval for each source, with no drift. Pure.

use std::time::{Duration, Instant};

/// The grid of one source.
#[derive(Debug, Clone)]
pub struct Grid {
    start: Instant,
    interval: Duration,
    /// Number of the next tick.
    tick: u128,
}

/// A tick that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Ticks before this one that passed without a sample since the last one.
    pub missed: u64,
}

impl Grid {
    /// A grid whose first tick is `start`. The interval must be above zero.
    pub fn new(start: Instant, interval: Duration) -> Self {
        assert!(!interval.is_zero(), "the configuration admits intervals of at least a millisecond");
        Self { start, interval, tick: 0 }
    }

    /// When the next tick is; `None`: later than the clock can tell.
    pub fn next(&self) -> Option<Instant> {
        let offset = self.interval.as_nanos().checked_mul(self.tick)?;
        let seconds = u64::try_from(offset / 1_000_000_000).ok()?;
        let nanoseconds = u32::try_from(offset % 1_000_000_000).ok()?;
        self.start.checked_add(Duration::new(seconds, nanoseconds))
    }

    /// Takes the newest tick that is due; the ones before it are missed. `None`: none is due.
    pub fn take(&mut self, now: Instant) -> Option<Due> {
        if self.next()? > now {
            return None;
        }
        let newest = (now - self.start).as_nanos() / self.interval.as_nanos();
        let missed = u64::try_from(newest - self.tick).unwrap_or(u64::MAX);
        self.tick = newest + 1;
        Some(Due { missed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_tick_is_taken_or_missed_and_lies_on_the_grid(
            interval in 1u64..5_000, waits in proptest::collection::vec(0u64..20_000, 1..100),
        ) {
            let start = Instant::now();
            let interval = Duration::from_micros(interval);
            let mut grid = Grid::new(start, interval);
            let (mut now, mut taken, mut missed) = (start, 0, 0);

            for wait in waits {
                now += Duration::from_micros(wait);
                let next = grid.next().unwrap();
                match grid.take(now) {
                    Some(due) => {
                        prop_assert!(next <= now);
                        taken += 1;
                        missed += due.missed;
                    }
                    None => prop_assert!(next > now),
                }
                prop_assert_eq!(grid.take(now), None);
            }

            let passed = u64::try_from((now - start).as_nanos() / interval.as_nanos()).unwrap() + 1;
            prop_assert_eq!(taken + missed, passed);
            prop_assert_eq!((grid.next().unwrap() - start).as_nanos() % interval.as_nanos(), 0);
            prop_assert!(grid.next().unwrap() - now <= interval);
        }
    }

    #[test]
    fn the_first_sample_is_taken_at_the_start() {
        let start = Instant::now();
        let mut grid = Grid::new(start, Duration::from_secs(10));

        assert_eq!(grid.take(start), Some(Due { missed: 0 }));
        assert_eq!(grid.next(), Some(start + Duration::from_secs(10)));
    }

    #[test]
    fn a_long_suspend_and_a_huge_interval_do_no_harm() {
        let start = Instant::now();
        let mut fast = Grid::new(start, Duration::from_millis(1));
        let mut slow = Grid::new(start, Duration::MAX);

        let year = Duration::from_secs(365 * 86_400);
        assert_eq!(fast.take(start + year), Some(Due { missed: 365 * 86_400 * 1000 }));
        assert_eq!(slow.take(start), Some(Due { missed: 0 }));
        assert_eq!((slow.next(), slow.take(start + year)), (None, None));
    }
}
