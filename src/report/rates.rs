//! How many messages come in and go out a second, on average over the last 1, 5 and 15 minutes.
//!
//! The averages decay exponentially, as the kernel's load does. They are brought up to date by what happens and by who
//! asks, so nothing has to wake up for them. Pure: the present moment is an argument.

use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// What the averages are over, in seconds.
const SPANS: [f64; 3] = [60.0, 300.0, 900.0];

/// Right after the beginning a few messages would make any rate.
const SHORTEST: Duration = Duration::from_secs(1);

/// How many messages come and go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Accepted into the spool.
    pub in_per_second: Averages,
    /// Acknowledged by the broker.
    pub out_per_second: Averages,
}

/// An average over the last 1, 5 and 15 minutes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Averages {
    #[serde(rename = "1min")]
    pub one: f64,
    #[serde(rename = "5min")]
    pub five: f64,
    #[serde(rename = "15min")]
    pub fifteen: f64,
}

/// How often something happens.
#[derive(Debug, Clone)]
pub struct Rate {
    began: Instant,
    at: Instant,
    /// Events a second over each span, as of `at`, as if none had been before `began`.
    averages: [f64; 3],
}

impl Rate {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { began: now, at: now, averages: [0.0; 3] }
    }

    /// So much has happened since the last time.
    pub fn add(&mut self, count: u64, now: Instant) {
        let decayed = self.decayed(now);
        self.averages = std::array::from_fn(|number| decayed[number] + count as f64 / SPANS[number]);
        self.at = self.at.max(now);
    }

    /// Events a second over the last 1, 5 and 15 minutes; over the whole time, where that is shorter.
    #[must_use]
    pub fn per_second(&self, now: Instant) -> Averages {
        let lasted = now.saturating_duration_since(self.began).max(SHORTEST).as_secs_f64();
        let decayed = self.decayed(now);
        // What came before the beginning is not known, and must not count as nothing.
        let [one, five, fifteen] =
            std::array::from_fn(|number| rounded(decayed[number] / -(-lasted / SPANS[number]).exp_m1()));
        Averages { one, five, fifteen }
    }

    fn decayed(&self, now: Instant) -> [f64; 3] {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        std::array::from_fn(|number| self.averages[number] * (-passed / SPANS[number]).exp())
    }
}

/// To the thousandth: a message in a quarter of an hour still shows.
fn rounded(rate: f64) -> f64 {
    (rate * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn all(rates: Averages) -> [f64; 3] {
        [rates.one, rates.five, rates.fifteen]
    }

    fn is_about(rate: f64, expected: f64) -> bool {
        (rate - expected).abs() <= expected * 0.06 + 0.01
    }

    #[test]
    fn a_steady_stream_has_its_rate_from_the_first_minute_on() {
        let start = Instant::now();
        for (seconds, count) in [(10, 1), (60, 5), (3600, 1000)] {
            let mut rate = Rate::new(start);
            (1..=seconds).for_each(|second| rate.add(count, start + second * SECOND));

            let rates = all(rate.per_second(start + seconds * SECOND));

            assert!(rates.iter().all(|rate| is_about(*rate, count as f64)), "{seconds}: {rates:?}");
        }
    }

    #[test]
    fn what_has_ended_is_forgotten_soonest_by_the_shortest_average() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        (1..=3600).for_each(|second| rate.add(10, start + second * SECOND));

        let [one, five, fifteen] = all(rate.per_second(start + (3600 + 300) * SECOND));

        assert!(one < 0.1 && is_about(five, 10.0 / std::f64::consts::E) && five < fifteen, "{one} {five} {fifteen}");
    }

    proptest! {
        #[test]
        fn it_never_exceeds_the_densest_second_and_is_never_negative(counts in proptest::collection::vec(0u64..100, 1..300)) {
            let start = Instant::now();
            let mut rate = Rate::new(start);
            let mut now = start;
            for count in &counts {
                now += SECOND;
                rate.add(*count, now);
                let most = counts.iter().copied().max().unwrap_or(0) as f64;
                for average in all(rate.per_second(now)) {
                    // The last second's count weighs a little more than the span's share of it.
                    prop_assert!((0.0..=most * 1.02 + 0.01).contains(&average), "{} of {}", average, most);
                }
            }
        }
    }
}
