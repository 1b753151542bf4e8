//! How the agent fares, in one line for the service manager: what changes the picture at once, numbers now and then.

use crate::delivery::Reach;
use std::fmt;
use std::time::{Duration, Instant};

/// How often a number that changes is told at most.
const PAUSE: Duration = Duration::from_secs(5);

/// How the agent fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub reach: Reach,
    /// Whether the disk fails.
    pub disk_fails: bool,
    /// What the broker refuses altogether, and why.
    pub refused: Option<String>,
    /// Which sources hang, in words.
    pub hanging: Option<String>,
    /// Messages that wait to be sent; not those that are in flight, else it would change with every sample.
    pub waiting: u64,
}

/// The line, with what only words can say: the broker's address, or why there is no connection.
pub struct InWords<'a>(pub &'a Standing, pub &'a str);

impl fmt::Display for InWords<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Standing { reach, disk_fails, refused, hanging, waiting }, detail) = self;
        match reach {
            Reach::Unknown => formatter.write_str("no connection yet")?,
            Reach::Away => formatter.write_str(detail)?,
            Reach::Connected(_) => write!(formatter, "connected to {detail}")?,
        }
        write!(formatter, "; messages waiting: {waiting}")?;
        for more in refused.iter().chain(hanging) {
            write!(formatter, "; {more}")?;
        }
        if *disk_fails { formatter.write_str("; the disk fails") } else { Ok(()) }
    }
}

/// Which sources hang, in words; `None`: none.
pub fn hanging(names: &[String]) -> Option<String> {
    /// Names that one line has room for.
    const MOST: usize = 5;
    let named = names[..names.len().min(MOST)].join(", ");
    match names.len() {
        0 => None,
        1 => Some(format!("source {named} hangs")),
        2..=MOST => Some(format!("sources {named} hang")),
        count => Some(format!("sources {named} and {} more hang", count - MOST)),
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

    /// The line, when it is to be told now. `detail` gives what only words can say.
    pub fn look(&mut self, now: Instant, standing: Standing, detail: impl FnOnce() -> String) -> Option<String> {
        let due = match &self.told {
            Some((told, _)) if *told == standing => None,
            Some((told, at)) if (Standing { waiting: standing.waiting, ..told.clone() }) == standing => {
                Some(*at + PAUSE)
            }
            Some(_) | None => Some(now),
        };
        self.due = due.filter(|due| now < *due);
        due.filter(|due| *due <= now)?;
        let line = InWords(&standing, &detail()).to_string();
        self.told = Some((standing, now));
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const CONNECTED: Standing =
        Standing { reach: Reach::Connected(0), disk_fails: false, refused: None, hanging: None, waiting: 0 };

    fn looks(announcer: &mut Announcer, now: Instant, standing: Standing) -> bool {
        announcer.look(now, standing, String::new).is_some()
    }

    #[test]
    fn what_changes_the_picture_is_told_at_once() {
        let (mut announcer, now) = (Announcer::default(), Instant::now());
        let unknown = Standing { reach: Reach::Unknown, ..CONNECTED };

        let away = Standing { reach: Reach::Away, ..CONNECTED };
        let failing = Standing { disk_fails: true, ..away.clone() };
        let told = [unknown, away.clone(), CONNECTED, CONNECTED, away, failing]
            .map(|standing| looks(&mut announcer, now, standing));

        assert_eq!(told, [true, true, true, false, true, true]);
    }

    #[test]
    fn a_number_is_told_when_the_pause_is_over_and_never_forgotten() {
        let (mut announcer, now) = (Announcer::default(), Instant::now());
        let waiting = |waiting| Standing { waiting, ..CONNECTED };
        looks(&mut announcer, now, waiting(0));

        assert!(!looks(&mut announcer, now + SECOND, waiting(7)));
        assert_eq!(announcer.due(), Some(now + PAUSE));
        assert!(looks(&mut announcer, now + PAUSE, waiting(9)));
        assert_eq!(announcer.due(), None);
    }

    #[test]
    fn a_number_that_comes_back_is_no_news() {
        let (mut announcer, now) = (Announcer::default(), Instant::now());
        looks(&mut announcer, now, CONNECTED);

        assert!(!looks(&mut announcer, now + SECOND, Standing { waiting: 1, ..CONNECTED }));
        assert!(!looks(&mut announcer, now + SECOND, CONNECTED));

        assert_eq!(announcer.due(), None);
    }

    #[test]
    fn sources_that_hang_are_named_as_far_as_there_is_room() {
        let names: Vec<String> = (1..=1000).map(|number| format!("s{number}")).collect();

        let words = [0, 1, 2, 1000].map(|count| hanging(&names[..count]).unwrap_or_default());

        assert_eq!(
            words,
            ["", "source s1 hangs", "sources s1, s2 hang", "sources s1, s2, s3, s4, s5 and 995 more hang"]
        );
    }

    #[test]
    fn the_line_says_where_and_why() {
        let away = Standing { reach: Reach::Away, disk_fails: true, refused: None, hanging: None, waiting: 1204 };

        assert_eq!(InWords(&CONNECTED, "mqtt://h:1883").to_string(), "connected to mqtt://h:1883; messages waiting: 0");
        assert_eq!(
            InWords(&away, "connection lost").to_string(),
            "connection lost; messages waiting: 1204; the disk fails"
        );
    }
}
