//! How the agent fares, in one line for the service manager: what changes the picture at once, numbers now and then.

use super::Publisher;
use std::fmt;
use std::time::{Duration, Instant};

/// How often a number that changes is told at most.
const PAUSE: Duration = Duration::from_secs(5);

/// How the agent fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub reach: Reach,
    /// Whether the disk fails.
    pub disk_fails: bool,
    /// Messages that wait to be sent; not those that are in flight, else it would change with every sample.
    pub waiting: u64,
}

/// Whether there is a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// No attempt to connect has ended yet.
    Unknown,
    Away,
    /// The broker's place in the configuration.
    Connected(usize),
}

/// The line, with what only words can say: the broker's address, or why there is no connection.
pub struct InWords<'a>(pub Standing, pub &'a str);

impl fmt::Display for InWords<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Standing { reach, disk_fails, waiting }, detail) = self;
        match reach {
            Reach::Unknown => formatter.write_str("no connection yet")?,
            Reach::Away => formatter.write_str(detail)?,
            Reach::Connected(_) => write!(formatter, "connected to {detail}")?,
        }
        write!(formatter, "; messages waiting: {waiting}")?;
        if *disk_fails { formatter.write_str("; the disk fails") } else { Ok(()) }
    }
}

/// When to tell it.
#[derive(Debug, Default)]
pub struct Announcer {
    told: Option<(Standing, Instant)>,
    /// When what has changed is to be told.
    due: Option<Instant>,
}

impl Announcer {
    /// When [`Announcer::look`] has something to tell that it held back.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether this is to be told now.
    pub fn look(&mut self, now: Instant, standing: Standing) -> bool {
        let due = match self.told {
            Some((told, _)) if told == standing => None,
            Some((told, at)) if (Standing { waiting: standing.waiting, ..told }) == standing => Some(at + PAUSE),
            Some(_) | None => Some(now),
        };
        self.due = due.filter(|due| now < *due);
        let tell = due.is_some_and(|due| due <= now);
        if tell {
            self.told = Some((standing, now));
        }
        tell
    }
}

impl Publisher {
    /// Tells how the agent fares, when that is news.
    pub(super) fn tell_news(&mut self, now: Instant) {
        let Some(news) = &self.news else { return };
        let in_flight = u64::try_from(self.window.in_flight()).unwrap_or(u64::MAX);
        let standing = Standing {
            reach: self.connection.reach(),
            disk_fails: self.intake.is_failing(),
            waiting: self.spool.backlog().messages.saturating_sub(in_flight),
        };
        if self.announcer.look(now, standing) {
            let line = InWords(standing, &self.connection.detail()).to_string();
            if news.try_send(line).is_err() {
                // It is told at the next turn.
                self.announcer = Announcer::default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const CONNECTED: Standing = Standing { reach: Reach::Connected(0), disk_fails: false, waiting: 0 };

    #[test]
    fn what_changes_the_picture_is_told_at_once() {
        let (mut announcer, now) = (Announcer::default(), Instant::now());
        let unknown = Standing { reach: Reach::Unknown, ..CONNECTED };

        let away = Standing { reach: Reach::Away, ..CONNECTED };
        let failing = Standing { disk_fails: true, ..away };
        let told = [unknown, away, CONNECTED, CONNECTED, away, failing].map(|standing| announcer.look(now, standing));

        assert_eq!(told, [true, true, true, false, true, true]);
    }

    #[test]
    fn a_number_is_told_when_the_pause_is_over_and_never_forgotten() {
        let (mut announcer, now) = (Announcer::default(), Instant::now());
        let waiting = |waiting| Standing { waiting, ..CONNECTED };
        announcer.look(now, waiting(0));

        assert!(!announcer.look(now + SECOND, waiting(7)));
        assert_eq!(announcer.due(), Some(now + PAUSE));
        assert!(announcer.look(now + PAUSE, waiting(9)));
        assert_eq!(announcer.due(), None);
    }

    #[test]
    fn a_number_that_comes_back_is_no_news() {
        let (mut announcer, now) = (Announcer::default(), Instant::now());
        announcer.look(now, CONNECTED);

        assert!(!announcer.look(now + SECOND, Standing { waiting: 1, ..CONNECTED }));
        assert!(!announcer.look(now + SECOND, CONNECTED));

        assert_eq!(announcer.due(), None);
    }

    #[test]
    fn the_line_says_where_and_why() {
        let away = Standing { reach: Reach::Away, disk_fails: true, waiting: 1204 };

        assert_eq!(InWords(CONNECTED, "mqtt://h:1883").to_string(), "connected to mqtt://h:1883; messages waiting: 0");
        assert_eq!(
            InWords(away, "connection lost").to_string(),
            "connection lost; messages waiting: 1204; the disk fails"
        );
    }
}
