//! The end of a connection or of an attempt, and what was logged of them, so that an outage does not fill the log. Pure.

use super::action::Remains;
use super::event::Lost;
use crate::burst::Burst;
use log::Level;
use std::collections::BTreeSet;
use std::time::Duration;

/// The end of a connection, or of an attempt.
#[derive(Debug, Clone, Copy)]
pub struct Loss<'a> {
    pub why: &'a Lost,
    pub remains: &'a Remains,
    /// How long the connection had lasted.
    pub lasted: Option<Duration>,
    pub delay: Delay,
}

/// How long to wait for the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delay {
    /// As the back-off says.
    Growing,
    /// The first delay of the back-off.
    Short,
}

/// How many different reasons of failures are warned of in a row; a broker's own words may never end.
const REASONS: usize = 16;

/// What was logged of failures.
#[derive(Debug, Default)]
pub struct Failures {
    pub row: Burst,
    /// Why the connection failed since it last held, without digits: what is new among them is news.
    pub reasons: BTreeSet<String>,
    /// Attempts that led to a connection which did not last.
    pub unproved: Burst,
}

impl Failures {
    /// How loud a failure is: a reason that was not there before may be another trouble behind the first one.
    pub fn level_of(&mut self, reason: &str) -> Level {
        let level = self.row.failed();
        let words: String = reason.chars().filter(|character| !character.is_ascii_digit()).collect();
        if self.reasons.len() < REASONS && self.reasons.insert(words) { Level::Warn } else { level }
    }
}
