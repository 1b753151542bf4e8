//! What is remembered of a source for who asks how it fares: its last sample, and what went wrong.

use crate::clock::{Reading, rfc3339};
use crate::foreign;
use crate::message::Stamp;
use crate::report::{self, SourceState, seconds};
use serde_json::Value;
use std::time::Duration;

/// Bytes of a sample's data that are kept as they are: a system's figures have half of that.
const KEPT: usize = 1024;

/// What happened to a source since it was made.
#[derive(Debug, Default)]
pub struct History {
    last: Option<(Stamp, Data)>,
    samples: u64,
    failed: u64,
    missed: u64,
    /// How long after its tick the last reading was begun.
    late: Duration,
    /// Why the last reading failed.
    error: Option<String>,
}

/// A sample's data, bounded.
#[derive(Debug)]
enum Data {
    /// One JSON object.
    Whole(Vec<u8>),
    /// The beginning of one that is long, or looks like a secret.
    Shown(String),
}

impl History {
    /// A reading begins so long after its tick, of which so many before were missed.
    pub fn begins(&mut self, late: Duration, missed: u64) {
        self.late = late;
        self.missed += missed;
    }

    /// A sample was taken.
    pub fn sampled(&mut self, taken: Stamp, data: &[u8]) {
        let text = String::from_utf8_lossy(data);
        let is_plain = data.len() <= KEPT && foreign::secret_at(&text).is_none();
        let data = if is_plain { Data::Whole(data.to_vec()) } else { Data::Shown(foreign::shown(&text)) };
        self.last = Some((taken, data));
        self.samples += 1;
        self.error = None;
    }

    /// No sample came of it.
    pub fn failed(&mut self, why: &str) {
        self.failed += 1;
        self.error = Some(foreign::shown(why));
    }

    /// How the source fares.
    pub fn report(&self, name: &str, interval: Duration, hangs: bool, now: Reading) -> report::Source {
        // By the boot clock, which never steps.
        let age = |taken: Stamp| Duration::from_millis(now.boot.saturating_sub(taken.boot));
        let age = self.last.as_ref().map(|(taken, _)| age(*taken));
        let time = age.map(|age| now.wall - i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        report::Source {
            name: foreign::shown(name),
            interval_seconds: seconds(interval),
            state: match (&self.error, &self.last) {
                _ if hangs => SourceState::Hangs,
                (Some(_), _) => SourceState::Fails,
                (None, Some(_)) => SourceState::Works,
                (None, None) => SourceState::New,
            },
            value: self.last.as_ref().map(|(_, data)| data.value()),
            time: time.map(rfc3339),
            age_seconds: age.map(seconds),
            samples: self.samples,
            failed_samples: self.failed,
            missed_ticks: self.missed,
            late_seconds: seconds(self.late),
            error: self.error.clone(),
        }
    }
}

impl Data {
    fn value(&self) -> Value {
        match self {
            Data::Whole(data) => serde_json::from_slice(data).unwrap_or_default(),
            Data::Shown(text) => Value::String(text.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(boot: u64) -> Stamp {
        Stamp { wall: 0, boot, boot_id: 1, synchronised: false }
    }

    #[test]
    fn a_source_tells_its_last_value_its_age_and_what_went_wrong() {
        let now = Reading { wall: 1_700_000_000_000, boot: 100_000 };
        let mut history = History::default();
        let state = |history: &History| history.report("s", Duration::from_secs(10), false, now).state;
        assert_eq!(state(&history), SourceState::New);

        history.begins(Duration::from_millis(20), 3);
        history.sampled(stamp(98_500), br#"{"load1":0.12}"#);
        assert_eq!(state(&history), SourceState::Works);
        history.failed("cannot read `x`: No such file");
        let report = history.report("s", Duration::from_secs(10), false, now);

        assert_eq!((report.state, report.samples, report.failed_samples), (SourceState::Fails, 1, 1));
        assert_eq!((report.missed_ticks, report.late_seconds, report.age_seconds), (3, 0.02, Some(1.5)));
        assert_eq!(report.value, Some(serde_json::json!({"load1": 0.12})));
        assert_eq!(report.time.as_deref(), Some("2023-11-14T22:13:18.500Z"), "by the clock as it is now");
        assert_eq!(history.report("s", Duration::ZERO, true, now).state, SourceState::Hangs);
    }

    #[test]
    fn a_secret_is_not_kept_and_a_long_text_is_cut() {
        let mut history = History::default();
        let long = format!(r#"{{"value":"{}"}}"#, "x".repeat(5000));
        for (data, most) in [(r#"{"value":"password=not-a-real-one"}"#, 60), (&long, 210)] {
            history.sampled(stamp(0), data.as_bytes());

            let value = history.report("s", Duration::ZERO, false, Reading { wall: 0, boot: 0 }).value.unwrap();

            let text = value.as_str().unwrap();
            assert!(!text.contains("not-a-real-one") && text.chars().count() <= most, "{text}");
        }
    }
}
