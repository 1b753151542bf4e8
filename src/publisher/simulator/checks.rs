//! The promises that hold at every moment of a history.

use super::history::{Broken, Gateway, History, Stream};
use crate::clock::{instant, virtual_time};
use crate::delivery::{Action, How, Reach};
use crate::publisher::store::Store;
use crate::spool::medium;
use crate::status::Counters;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);
/// Turns without any time passing that count as a busy loop.
const BUSY: u32 = 20_000;
/// Turns within a minute that only a deadline asked for, and that count as a busy loop.
const BUSY_BY_DEADLINES: u32 = 2000;
/// Messages that wait are tried so often at least, over a connection that is there: the delay between tries is a minute.
const STANDSTILL: Duration = Duration::from_secs(180);
/// Before a sleep ends, the gateway is asked whether it has nothing to do, so much earlier: ages are as old as this.
const JUST_BEFORE: Duration = Duration::from_millis(2);
/// The journal is flushed for so many finished messages at the latest.
const UNFLUSHED: u64 = 2500;

/// What is remembered from step to step.
#[derive(Debug)]
pub struct Watch {
    /// When it turned last, and how often at that moment.
    last_turn: Option<Instant>,
    turns: u32,
    /// A minute, and how often a deadline woke the gateway in it.
    minute: Instant,
    woken: u32,
    /// When nothing waited last that could be published.
    idle: Instant,
    life: Life,
    /// What was found between two steps.
    pub broken: Option<Broken>,
}

/// Where the life of the present process began.
#[derive(Debug, Default)]
struct Life {
    /// What waited.
    stream: Option<Stream>,
    /// Samples that were taken since.
    samples: u64,
    /// Whether the disk has failed since.
    disk_failed: bool,
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Stopped,
    Killed,
    PowerCut,
}

impl Watch {
    pub fn new(now: Instant) -> Self {
        Self { last_turn: None, turns: 0, minute: now, woken: 0, idle: now, life: Life::default(), broken: None }
    }

    /// The disk fails.
    pub fn disk_fails(&mut self) {
        self.life.disk_failed = true;
    }

    /// A sample is on its way to the publisher.
    pub fn samples(&mut self) {
        self.life.samples += 1;
    }

    /// A process starts with this.
    pub fn boots_with(&mut self, stream: Stream) {
        self.life = Life { stream: Some(stream), samples: 0, disk_failed: medium::failing::is_on() };
    }

    /// Counts turns in which no time passes.
    fn turns_at(&mut self, now: Instant) -> Result<(), Broken> {
        self.turns = if self.last_turn == Some(now) { self.turns + 1 } else { 0 };
        self.last_turn = Some(now);
        if self.turns > BUSY { Err("it turns and turns, and no time passes".to_owned()) } else { Ok(()) }
    }

    /// Counts turns that nothing but a deadline asked for.
    pub fn woken_by_a_deadline(&mut self, now: Instant) -> Result<(), Broken> {
        if now - self.minute > SECOND * 60 {
            (self.minute, self.woken) = (now, 0);
        }
        self.woken += 1;
        if self.woken > BUSY_BY_DEADLINES { Err("it wakes up all the time".to_owned()) } else { Ok(()) }
    }
}

impl History {
    /// Nothing happens until then, and the gateway sleeps. It must not have anything to do meanwhile.
    pub(super) fn sleep(&mut self, until: Instant) -> Result<(), Broken> {
        let now = instant();
        if until <= now {
            return self.watch.turns_at(now);
        }
        virtual_time::advance_to(until.checked_sub(JUST_BEFORE).unwrap_or(now));
        let publisher = &mut self.gateway().publisher;
        let before = publisher.shell.clock.now();
        while let Some(action) = publisher.shell.delivery.next_action(before) {
            match action {
                Action::Log(..) => {}
                // What is too old is dropped when its turn comes, and what follows from that is done then.
                Action::End(_, How::Expired | How::TooOld) => {
                    publisher.shell.perform(action, before);
                    publisher.shell.act();
                }
                action => {
                    let early = instant() - now;
                    return Err(format!(
                        "it sleeps for {early:?} and longer, and there is something to do: {action:?}"
                    ));
                }
            }
        }
        virtual_time::advance_to(until);
        Ok(())
    }

    /// The promises that hold at every moment.
    pub(super) fn check(&mut self) -> Result<(), Broken> {
        let found = self.world.borrow_mut().seen.repeats.broken.take();
        if let Some(broken) = self.watch.broken.take().or(found) {
            return Err(broken);
        }
        let window = self.terms.window;
        let (peak, receive_maximum) = {
            let world = self.world.borrow();
            (world.seen.peak_in_flight, world.receive_maximum)
        };
        let allowed = usize::from(window.min(receive_maximum));
        if peak > allowed {
            return Err(format!("{peak} were in flight; allowed: {allowed}"));
        }
        self.check_sums()?;
        self.check_progress()?;
        self.check_rate()?;
        self.check_attempts()?;
        let held = self.gateway().publisher.shell.delivery.held_in_memory();
        let bound = usize::from(window) + 4000;
        if held > bound { Err(format!("{held} messages are in memory; allowed: {bound}")) } else { Ok(()) }
    }

    /// How many messages are over for this process, in whichever way.
    pub(super) fn over(&mut self) -> u64 {
        let Counters { acknowledged, rejected, dropped_spool_full, dropped_max_age, dropped_expired, damaged, .. } =
            &*self.gateway().counters;
        let ways = [acknowledged, rejected, dropped_spool_full, dropped_max_age, dropped_expired, damaged];
        ways.iter().map(|counter| counter.get()).sum()
    }

    /// Every sample waits, or is over in one way that is counted; and what has a number was accepted.
    fn check_sums(&mut self) -> Result<(), Broken> {
        let Life { stream, samples, .. } = self.watch.life;
        let Some(Stream { next, backlog, .. }) = stream else { return Ok(()) };
        let (before, over) = (backlog + samples, self.over());
        let Gateway { publisher, counters, .. } = self.gateway();
        let Store { spool, intake, .. } = &publisher.shell.store;
        let in_memory = (intake.len() + publisher.shell.delivery.from_memory()) as u64;
        let (accepted, waiting) = (counters.accepted.get(), spool.waiting() + in_memory);
        let numbered = spool.next_seq().0 - next.0;
        let is_accepted = accepted == numbered || spool.commit_due(instant()).is_some() && accepted < numbered;
        if before == over + waiting && is_accepted {
            return Ok(());
        }
        Err(format!(
            "{before} samples and messages waited or came, {numbered} got numbers; {over} are over and {waiting} wait: \
             {counters:?}"
        ))
    }

    /// Whatever a broker refuses, it is asked again.
    fn check_progress(&mut self) -> Result<(), Broken> {
        let now = instant();
        let Gateway { publisher, .. } = self.gateway();
        let store = &publisher.shell.store;
        let waits = store.waiting() > 0 && store.rejected_later() == 0 && !store.is_failing();
        let is_connected = matches!(publisher.shell.delivery.reach(), Reach::Connected(_));
        if !waits || !is_connected {
            self.watch.idle = now;
        }
        let last = self.world.borrow().seen.last_try.unwrap_or(now);
        if now - last.max(self.watch.idle) > STANDSTILL {
            Err("nothing is published any more".to_owned())
        } else {
            Ok(())
        }
    }

    /// Never more than one message beyond the rate.
    fn check_rate(&mut self) -> Result<(), Broken> {
        let published = &mut self.world.borrow_mut().seen.published;
        let Some(rate) = self.terms.max_rate else {
            published.clear();
            return Ok(());
        };
        let newest = published.last().copied();
        published.retain(|at| newest.is_some_and(|newest| newest - *at <= SECOND * 10));
        let (Some(first), Some(last)) = (published.first().copied(), newest) else { return Ok(()) };
        // A process that starts anew has forgotten when the former one published.
        let allowed = ((last - first) + Duration::from_millis(10)).as_secs_f64() * rate
            + 1.0
            + (self.kills + self.powers + self.figures.faults) as f64;
        let count = published.len();
        if count as f64 > allowed { Err(format!("{count} in ten seconds; allowed: {allowed}")) } else { Ok(()) }
    }

    /// The back-off keeps a dead broker from being asked all the time.
    fn check_attempts(&mut self) -> Result<(), Broken> {
        let attempts = &mut self.world.borrow_mut().seen.attempts;
        let newest = attempts.last().copied();
        attempts.retain(|at| newest.is_some_and(|newest| newest - *at <= SECOND * 60));
        let count = attempts.len();
        if count > 100 { Err(format!("{count} attempts to connect within a minute")) } else { Ok(()) }
    }

    /// How many messages that are over the next process may not know to be: the journal is handed to the system before every
    /// publish, and flushed for so many messages and at a stop. Where the disk does not take it, there is no telling.
    pub(super) fn may_be_forgotten(&mut self, end: End) -> u64 {
        let window = u64::from(self.terms.window);
        let disk_failed = self.watch.life.disk_failed;
        match end {
            _ if !self.gateway().publisher.shell.store.spool.has_journal() => u64::MAX,
            End::Stopped => 0,
            End::Killed => window,
            End::PowerCut if disk_failed => u64::MAX,
            End::PowerCut => UNFLUSHED + window,
        }
    }
}
