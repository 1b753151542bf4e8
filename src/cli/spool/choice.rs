//! Which messages are meant: by time and by source.

use crate::clock::Clock;
use crate::delivery::Times;
use crate::message::{Message, Stamp};
use crate::payload::Time;
use chrono::{DateTime, NaiveDate};
use clap::Args;
use std::str::FromStr;

/// Options of the commands that show messages.
#[derive(Debug, Args)]
pub struct Choice {
    /// Messages sampled then or later: a time (RFC 3339), a date (UTC), or a span such as 2h ago
    #[arg(long, value_name = "TIME")]
    from: Option<Moment>,

    /// Messages sampled before: as for --from
    #[arg(long, value_name = "TIME")]
    to: Option<Moment>,

    /// Messages of this source
    #[arg(long, value_name = "NAME")]
    source: Option<Source>,
}

impl Choice {
    /// Whether a message that was sampled at this time is meant.
    pub fn has(&self, message: &Message, time: Time) -> bool {
        self.from.is_none_or(|from| time.wall >= from.0)
            && self.to.is_none_or(|to| time.wall < to.0)
            && self.source.as_ref().is_none_or(|source| source.has(message))
    }
}

/// A moment, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub i64);

impl FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const ALLOWED: &str = "allowed are a time such as 2026-11-21T03:15:00Z, a date such as 2026-11-21 (its beginning in \
                               UTC), and a span such as 2h, 30m or 7d (so long ago)";
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(Moment(time.timestamp_millis()));
        }
        if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            return Ok(Moment(date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis()));
        }
        let span = humantime::parse_duration(text).map_err(|_| ALLOWED)?;
        let span = i64::try_from(span.as_millis()).map_err(|_| ALLOWED)?;
        Clock::new().read().wall.checked_sub(span).map(Moment).ok_or(ALLOWED)
    }
}

/// The name of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source(pub String);

impl FromStr for Source {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Source(text.to_owned()))
    }
}

impl Source {
    /// Whether a message is of this source.
    pub fn has(&self, message: &Message) -> bool {
        message.sample.route.source == self.0
    }
}

/// When samples were taken, as far as this spool knows.
pub fn times(boots: &crate::spool::Boots) -> Times {
    Times::new(Clock::new().boot_id(), boots.known().to_vec())
}

/// When a sample was taken, as a word: `~` before one that a clock said which nobody had set.
pub fn time_text(times: &Times, taken: Stamp) -> String {
    let time = times.of(taken);
    format!("{}{}", if time.certain { "" } else { "~" }, crate::clock::rfc3339(time.wall))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_a_date_and_a_span_are_moments_and_nothing_else_is() {
        let moment = |text: &str| text.parse::<Moment>().map(|moment| moment.0);

        assert_eq!(moment("1970-01-01T01:00:01.5+01:00"), Ok(1500));
        assert_eq!(moment("1970-01-02"), Ok(86_400_000));
        let ago = Clock::new().read().wall - moment("2h").unwrap();
        assert!((7_200_000..7_260_000).contains(&ago), "{ago}");
        for text in ["", "yesterday", "12", "2026-13-01", "2026-11-21T25:00:00Z", "-2h", "99999999999999999y"] {
            assert!(moment(text).is_err_and(|error| error.contains("2026-11-21")), "{text}");
        }
    }
}
