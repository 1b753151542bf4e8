//! Latencies, in classes that are 5 % wide: a long test needs no more memory than a short one. Pure.

use std::time::Duration;

/// How much wider each class is than the one before.
const GROWTH: f64 = 1.05;
/// The lower end of the first class, in microseconds.
const FIRST: f64 = 10.0;
/// The last class begins above a month.
const CLASSES: usize = 540;

/// How many of each class there were.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    all: u64,
    longest: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; CLASSES], all: 0, longest: Duration::ZERO }
    }
}

impl Histogram {
    pub fn add(&mut self, latency: Duration) {
        let microseconds = latency.as_secs_f64() * 1e6;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        let class = ((microseconds / FIRST).ln() / GROWTH.ln()).ceil().max(0.0) as usize;
        self.counts[class.min(CLASSES - 1)] += 1;
        self.all += 1;
        self.longest = self.longest.max(latency);
    }

    /// The latency that this part of all, from 0 to 1, does not exceed, by at most 5 % too long; `None`: there are none.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "it is a part of a number of messages"
        )]
        let rank = ((self.all as f64 * part).ceil() as u64).max(1);
        let mut below = 0;
        let class = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        })?;
        Some(upper_end(class).min(self.longest))
    }

    /// The longest of all.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.longest
    }
}

/// The upper end of a class.
fn upper_end(class: usize) -> Duration {
    let class = i32::try_from(class).unwrap_or(i32::MAX);
    Duration::from_secs_f64(FIRST * GROWTH.powi(class) / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_quantile_is_at_most_five_percent_too_long(
            mut latencies in proptest::collection::vec(10u64..10_000_000_000, 1..200), part in 0.0..1.0f64,
        ) {
            let mut histogram = Histogram::default();
            latencies.iter().for_each(|latency| histogram.add(Duration::from_micros(*latency)));
            latencies.sort_unstable();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let rank = ((latencies.len() as f64 * part).ceil() as usize).max(1);

            let found = histogram.quantile(part).unwrap().as_secs_f64() * 1e6;

            #[expect(clippy::cast_precision_loss)]
            let exact = latencies[rank - 1] as f64;
            prop_assert!(found >= exact * 0.999 && found <= exact * 1.051, "{found} for {exact}");
        }
    }

    #[test]
    fn there_is_none_of_nothing_and_every_latency_has_a_class() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);

        histogram.add(Duration::ZERO);
        histogram.add(Duration::MAX);

        assert_eq!(histogram.quantile(0.5), Some(Duration::from_micros(10)));
        assert!(histogram.quantile(1.0).unwrap() > Duration::from_secs(86_400 * 30));
        assert_eq!(histogram.longest(), Duration::MAX);
    }
}
