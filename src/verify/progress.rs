//! How far the test is: a line that is drawn again and again on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often a terminal's line is drawn.
const DRAWN: Duration = Duration::from_millis(200);
/// How often there is a line elsewhere, which may be a log.
const PRINTED: Duration = Duration::from_secs(10);
/// Columns of the bar, so that all of the line fits into 80.
const BAR: u64 = 20;

/// How far it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct State {
    /// Messages to be accepted in all.
    pub count: u64,
    pub accepted: u64,
    pub received: u64,
    pub waiting: u64,
}

/// Where it is shown: standard error, for standard output is for the verdict.
#[derive(Debug)]
pub struct Progress {
    is_terminal: bool,
    started: Instant,
    shown: Option<Instant>,
}

impl Progress {
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), started: now, shown: None }
    }

    /// Shows the state, if it is time.
    pub fn show(&mut self, state: State, now: Instant) {
        let every = if self.is_terminal { DRAWN } else { PRINTED };
        let last = *self.shown.get_or_insert(self.started);
        if now.saturating_duration_since(last) < every {
            return;
        }
        self.shown = Some(now);
        let State { count, accepted, received, waiting } = state;
        let figures = format!("{received} of {count} received, {accepted} accepted, {waiting} waiting");
        if self.is_terminal {
            // Clears the rest of the line (ECMA-48: EL).
            self.write(&format!("\r{} {figures}\x1b[K", bar(received, count)));
        } else {
            self.write(&format!("{} {figures}\n", self.time(now)));
        }
    }

    /// Tells of something that has happened.
    pub fn tell(&mut self, what: &str, now: Instant) {
        let clear = if self.is_terminal { "\r\x1b[K" } else { "" };
        self.write(&format!("{clear}{} {what}\n", self.time(now)));
    }

    /// Nothing more is shown.
    pub fn end(&self) {
        if self.is_terminal {
            self.write("\r\x1b[K");
        }
    }

    fn time(&self, now: Instant) -> String {
        format!("{:>6.1} s", now.saturating_duration_since(self.started).as_secs_f64())
    }

    /// That nobody sees it is no reason to end the test.
    fn write(&self, text: &str) {
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

fn bar(part: u64, all: u64) -> String {
    let full = (part.min(all) * BAR).checked_div(all).unwrap_or(0);
    let number = |columns: u64| usize::try_from(columns).unwrap_or(0);
    format!("[{}{}]", "#".repeat(number(full)), ".".repeat(number(BAR - full)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_as_full_as_the_part_is_large() {
        assert_eq!(bar(0, 100), format!("[{}]", ".".repeat(20)));
        assert_eq!(bar(50, 100), format!("[{}{}]", "#".repeat(10), ".".repeat(10)));
        assert_eq!(bar(200, 100), format!("[{}]", "#".repeat(20)));
        assert_eq!(bar(0, 0), format!("[{}]", ".".repeat(20)));
    }
}
