//! What a rule drops, told as it grows: the first at once, then when the number has doubled or ten minutes have passed, and
//! the rest at the end. So a day of drops without a pause is 144 lines and one for each doubling, and every message is in one
//! of them. Pure.

use crate::message::Seq;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// After this long whatever came is told.
const LATEST: Duration = Duration::from_secs(600);
/// Before that nothing is, however much comes.
const EARLIEST: Duration = Duration::from_secs(10);

/// Messages that one rule has dropped, one after the other.
#[derive(Debug, Default)]
pub struct Tally {
    dropped: Dropped,
    told: u64,
    told_at: Option<Instant>,
    paused_at: Option<Instant>,
}

/// How many messages were dropped since the row of drops began, and between which seqs they lie.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Dropped {
    pub count: u64,
    pub range: Option<RangeInclusive<Seq>>,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "count={}", self.count)?;
        match &self.range {
            Some(range) => write!(f, " seq={}..{}", range.start(), range.end()),
            None => Ok(()),
        }
    }
}

impl Tally {
    /// These were dropped. `range`: where they lie; the number may be smaller.
    pub fn add(&mut self, count: u64, range: &RangeInclusive<Seq>) {
        if count == 0 {
            return;
        }
        self.dropped.count += count;
        let all = self.dropped.range.as_ref().unwrap_or(range);
        self.dropped.range = Some(*all.start().min(range.start())..=*all.end().max(range.end()));
    }

    /// Whether nothing of the present row was told yet.
    pub fn is_new(&self) -> bool {
        self.told == 0
    }

    /// Whether a row is going on.
    pub fn is_on(&self) -> bool {
        self.dropped.count > 0
    }

    /// What is to be told now.
    pub fn look(&mut self, now: Instant) -> Option<Dropped> {
        if self.dropped.count == self.told {
            return None;
        }
        let waited = self.told_at.map_or(LATEST, |at| now.saturating_duration_since(at));
        let has_doubled = self.dropped.count >= self.told.saturating_mul(2);
        if waited < EARLIEST || waited < LATEST && !has_doubled {
            return None;
        }
        (self.told, self.told_at) = (self.dropped.count, Some(now));
        Some(self.dropped.clone())
    }

    /// What to tell where something else comes between the drops: the rest, once in ten minutes. Such gaps may be many.
    pub fn pause(&mut self, now: Instant) -> Option<Dropped> {
        if self.paused_at.is_some_and(|at| now.saturating_duration_since(at) < LATEST) {
            return self.look(now);
        }
        let rest = self.rest()?;
        (self.told_at, self.paused_at) = (Some(now), Some(now));
        Some(rest)
    }

    /// Ends the row where all of it was told ten minutes ago: the next drop is news again.
    pub fn lapse(&mut self, now: Instant) {
        let is_over = |at| now.saturating_duration_since(at) >= LATEST;
        if self.dropped.count == self.told && self.told_at.is_some_and(is_over) {
            *self = Self::default();
        }
    }

    /// What was not told of the present row.
    fn rest(&mut self) -> Option<Dropped> {
        let rest = (self.dropped.count > self.told).then(|| self.dropped.clone());
        self.told = self.dropped.count;
        rest
    }

    /// Ends the row; what was not told of it.
    pub fn ended(&mut self) -> Option<Dropped> {
        let rest = self.rest();
        *self = Self::default();
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_of_drops_is_a_bounded_number_of_lines_and_the_last_has_all_of_them() {
        let (mut tally, start) = (Tally::default(), Instant::now());
        let mut told = Vec::new();

        for second in 0..86_400 {
            tally.add(1, &(Seq(second + 1)..=Seq(second + 1)));
            told.extend(tally.look(start + Duration::from_secs(second)));
        }
        told.extend(tally.ended());

        assert_eq!(told[0].to_string(), "count=1 seq=1..1");
        assert_eq!(told.last().unwrap().to_string(), "count=86400 seq=1..86400");
        assert!((100..170).contains(&told.len()), "{}", told.len());
        assert!(!tally.is_on() && tally.ended().is_none());
    }

    #[test]
    fn a_burst_is_told_at_its_beginning_and_its_end() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        let mut told = Vec::new();

        for seq in 1..=500 {
            tally.add(1, &(Seq(seq)..=Seq(seq)));
            told.extend(tally.look(now));
        }
        told.extend(tally.ended());

        let told: Vec<u64> = told.iter().map(|dropped| dropped.count).collect();
        assert_eq!(told, [1, 500]);
    }
}
