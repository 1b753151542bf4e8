//! How a test went, over its time: what is drawn of it. A long test has no more points than a short one. Pure.

use super::faults::Harm;
use std::time::{Duration, Instant};

/// Points at most; then every other one is left out, and the next ones come half as often.
const POINTS: usize = 600;
/// The time between two points at first.
const EVERY: Duration = Duration::from_millis(200);
/// Faults that are remembered. More could not be told apart in a picture.
const FAULTS: usize = 1000;

/// How far it was at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Since the beginning.
    pub at: Duration,
    /// PUBLISH packets, repetitions included.
    pub published: u64,
    pub received: u64,
    pub waiting: u64,
}

/// A fault, from when to when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spell {
    pub from: Duration,
    pub to: Duration,
    /// `None`: the agent was killed.
    pub harm: Option<Harm>,
}

#[derive(Debug, Clone)]
pub struct History {
    started: Instant,
    every: Duration,
    pub points: Vec<Point>,
    pub spells: Vec<Spell>,
}

impl History {
    #[must_use]
    pub fn new(started: Instant) -> Self {
        Self { started, every: EVERY, points: Vec::new(), spells: Vec::new() }
    }

    fn since(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    /// Notes how far it is, if it is time.
    pub fn note(&mut self, now: Instant, published: u64, received: u64, waiting: u64) {
        let at = self.since(now);
        if self.points.last().is_some_and(|last| at < last.at + self.every) {
            return;
        }
        self.points.push(Point { at, published, received, waiting });
        if self.points.len() > POINTS {
            let mut number = 0;
            self.points.retain(|_| {
                number += 1;
                number % 2 == 1
            });
            self.every *= 2;
        }
    }

    /// A fault begins, which lasts so long; without one the agent is killed.
    pub fn fault(&mut self, now: Instant, harm: Option<Harm>, time: Duration) {
        if self.spells.len() < FAULTS {
            let from = self.since(now);
            self.spells.push(Spell { from, to: from + time, harm });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_has_as_many_points_as_a_minute_from_its_beginning_to_its_end() {
        let start = Instant::now();
        let mut history = History::new(start);

        for second in 0..604_800 {
            history.note(start + Duration::from_secs(second), second, second, 0);
        }

        assert!((POINTS / 2..=POINTS).contains(&history.points.len()), "{}", history.points.len());
        assert_eq!(history.points[0].at, Duration::ZERO);
        assert!(history.points.last().unwrap().at > Duration::from_secs(600_000));
        assert!(history.points.is_sorted_by_key(|point| point.at));
    }
}
