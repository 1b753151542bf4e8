//! When which fault begins and ends. Pure.

use std::fmt;
use std::time::{Duration, Instant};

/// The part of the time between two faults that bytes are held back for, and the longest time.
const HELD: (u32, Duration) = (4, Duration::from_secs(2));
/// The same for a black hole.
const SWALLOWED: (u32, Duration) = (2, Duration::from_secs(5));
/// An outage begins when this part of the messages should be there.
const OUTAGE_AFTER: u32 = 3;

/// What happens to the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    Cut,
    Delay,
    BlackHole,
    Outage,
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Harm::Cut => "the connection is cut",
            Harm::Delay => "what passes is held back",
            Harm::BlackHole => "what passes vanishes",
            Harm::Outage => "the broker is out of reach",
        })
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It lasts so long.
    Begin(Harm, Duration),
    End(Harm),
    Kill,
}

/// Which faults are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    pub cut_every: Option<Duration>,
    pub kill_every: Option<Duration>,
    pub outage: Option<Duration>,
}

impl Wanted {
    /// Whether the connection needs a relay.
    #[must_use]
    pub fn harms_the_connection(&self) -> bool {
        self.cut_every.is_some() || self.outage.is_some()
    }
}

/// The faults of a test.
#[derive(Debug)]
pub struct Faults {
    wanted: Wanted,
    next_cut: Option<Instant>,
    next_kill: Option<Instant>,
    outage_at: Option<Instant>,
    present: Option<(Harm, Instant)>,
    /// Counts the faults of `cut_every`, which take turns.
    cuts: usize,
}

impl Faults {
    /// Faults from now on, in a test whose messages are made within `time`.
    #[must_use]
    pub fn new(wanted: Wanted, now: Instant, time: Duration) -> Self {
        Self {
            wanted,
            next_cut: wanted.cut_every.map(|every| now + every),
            next_kill: wanted.kill_every.map(|every| now + every),
            outage_at: wanted.outage.map(|_| now + time / OUTAGE_AFTER),
            present: None,
            cuts: 0,
        }
    }

    /// Whether a fault of the connection goes on.
    #[must_use]
    pub fn is_harmed(&self) -> bool {
        self.present.is_some()
    }

    /// What is to be done now, if anything. `is_over`: all messages are made, so that nothing begins any more.
    pub fn next(&mut self, now: Instant, is_over: bool) -> Option<Step> {
        match self.present {
            Some((harm, until)) if now >= until => {
                self.present = None;
                return Some(Step::End(harm));
            }
            Some(_) => {}
            None if is_over => {}
            None => {
                if let Some(step) = self.begin(now) {
                    return Some(step);
                }
            }
        }
        let every = self.wanted.kill_every.filter(|_| !is_over)?;
        self.next_kill.filter(|due| now >= *due)?;
        self.next_kill = Some(now + every);
        Some(Step::Kill)
    }

    fn begin(&mut self, now: Instant) -> Option<Step> {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| now >= at);
        let (harm, time) = if is_due(self.outage_at) {
            self.outage_at = None;
            (Harm::Outage, self.wanted.outage?)
        } else if is_due(self.next_cut) {
            let every = self.wanted.cut_every?;
            self.next_cut = Some(now + every);
            self.cuts += 1;
            match self.cuts % 3 {
                1 => (Harm::Cut, Duration::ZERO),
                2 => (Harm::Delay, (every / HELD.0).min(HELD.1)),
                _ => (Harm::BlackHole, (every / SWALLOWED.0).min(SWALLOWED.1)),
            }
        } else {
            return None;
        };
        self.present = Some((harm, now + time));
        Some(Step::Begin(harm, time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The steps of a test, by the seconds at which they come; `over`: when all messages are made.
    fn steps(wanted: Wanted, time: u64, over: u64) -> Vec<(u64, Step)> {
        let start = Instant::now();
        let mut faults = Faults::new(wanted, start, Duration::from_secs(time));
        let mut steps = Vec::new();
        for second in 0..200 {
            while let Some(step) = faults.next(start + Duration::from_secs(second), second >= over) {
                steps.push((second, step));
            }
        }
        steps
    }

    #[test]
    fn faults_of_the_connection_take_turns_and_each_ends() {
        let wanted = Wanted { cut_every: Some(Duration::from_secs(10)), ..Wanted::default() };

        let steps = steps(wanted, 100, 35);

        let (cut, held, hole) = (Duration::ZERO, Duration::from_secs(2), Duration::from_secs(5));
        let expected = [
            (10, Step::Begin(Harm::Cut, cut)),
            (10, Step::End(Harm::Cut)),
            (20, Step::Begin(Harm::Delay, held)),
            (22, Step::End(Harm::Delay)),
            (30, Step::Begin(Harm::BlackHole, hole)),
            (35, Step::End(Harm::BlackHole)),
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn an_outage_begins_after_a_third_and_ends_when_its_time_is_over() {
        let outage = Duration::from_secs(120);
        let wanted = Wanted { outage: Some(outage), ..Wanted::default() };

        let steps = steps(wanted, 30, 30);

        assert_eq!(steps, [(10, Step::Begin(Harm::Outage, outage)), (130, Step::End(Harm::Outage))]);
    }

    #[test]
    fn kills_come_as_often_as_asked_for_until_all_messages_are_made() {
        let wanted = Wanted { kill_every: Some(Duration::from_secs(30)), ..Wanted::default() };

        assert_eq!(steps(wanted, 100, 100), [(30, Step::Kill), (60, Step::Kill), (90, Step::Kill)]);
    }
}
