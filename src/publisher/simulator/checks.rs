//! The promises that hold at every moment of a history.

use super::history::{Broken, Gateway, History};
use crate::clock::{instant, virtual_time};
use crate::delivery::{Action, How, Publish, Reach};
use crate::message::Qos;
use std::collections::BTreeSet;
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
    arrivals: usize,
    losses: u64,
    after_power_cut: bool,
}

impl Watch {
    pub fn new(now: Instant) -> Self {
        Self { last_turn: None, turns: 0, minute: now, woken: 0, idle: now, life: Life::default(), broken: None }
    }

    /// The next life begins after a power cut.
    pub fn power_is_cut(&mut self) {
        self.life.after_power_cut = true;
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
        let before = publisher.clock.now();
        while let Some(action) = publisher.delivery.next_action(before) {
            match action {
                Action::Log(..) => {}
                // What is too old is dropped when its turn comes, and what follows from that is done then.
                Action::End(_, How::Expired | How::TooOld) => {
                    publisher.perform(action, before);
                    publisher.act();
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
        if let Some(broken) = self.watch.broken.take() {
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
        self.check_progress()?;
        self.check_rate()?;
        self.check_attempts()?;
        let held = self.gateway().publisher.delivery.held_in_memory();
        let bound = usize::from(window) + 4000;
        if held > bound { Err(format!("{held} messages are in memory; allowed: {bound}")) } else { Ok(()) }
    }

    /// Whatever a broker refuses, it is asked again.
    fn check_progress(&mut self) -> Result<(), Broken> {
        let now = instant();
        let Gateway { publisher, .. } = self.gateway();
        let store = &publisher.store;
        let waits = store.backlog().messages > 0 && store.rejected_later() == 0 && !store.is_failing();
        let is_connected = matches!(publisher.delivery.reach(), Reach::Connected(_));
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

    /// What arrived again in the life of this process, at QoS 1: no more than a window for each loss, the one that ended
    /// the former process among them, and after a power cut what the journal had not flushed.
    pub(super) fn judge_life(&mut self) -> Result<(), Broken> {
        let seen = &self.world.borrow().seen;
        let life = std::mem::take(&mut self.watch.life);
        self.watch.life = Life { arrivals: seen.arrivals.len(), losses: seen.losses, after_power_cut: false };
        let (before, of_life) = seen.arrivals.split_at(life.arrivals);
        let mut known: BTreeSet<Publish> = before.iter().map(|arrival| arrival.packet.what).collect();
        let of_life = of_life.iter().filter(|arrival| arrival.packet.qos == Qos::AtLeastOnce);
        let repeats = of_life
            .filter(|arrival| arrival.packet.what.spooled().is_some() && !known.insert(arrival.packet.what))
            .count() as u64;
        let losses = seen.losses - life.losses + 1;
        let by_power = if life.after_power_cut { 2500 } else { 0 };
        let allowed = losses * u64::from(self.terms.window) + by_power;
        if repeats > allowed {
            return Err(format!("{repeats} arrived again in the life of a process; allowed: {allowed}"));
        }
        Ok(())
    }
}
