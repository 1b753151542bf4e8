//! Looks until the clock is right, and notes in the spool when this boot began, so that samples of this boot that are
//! published after the next one have their right times, too.

use super::disk::Access;
use crate::clock::{Clock, Reading, instant};
use crate::delivery::{Now, Times};
use crate::message::Stamp;
use crate::spool::Boots;
use log::{debug, info};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// How often the clock is asked whether it is right, until it is.
const LOOK: Duration = Duration::from_secs(1);

/// A machine whose clock nothing ever sets is not woken more often than this for it.
const UNHURRIED: Duration = Duration::from_secs(60);

/// How long a look at wall clock and boot clock serves.
const FRESH: Duration = Duration::from_millis(1);

/// The clock, and what is known of this boot.
#[derive(Debug)]
pub struct ClockWatch {
    clock: Clock,
    boots: Boots,
    next_look: Instant,
    disk: Access,
    /// What wall clock and boot clock said of late, and until when that serves.
    read: Cell<(Instant, Reading)>,
}

impl ClockWatch {
    pub fn new(clock: Clock, boots: Boots) -> Self {
        let read = Cell::new((instant() + FRESH, clock.read()));
        Self { clock, boots, next_look: instant(), disk: Access::new("note when this boot began"), read }
    }

    /// Names the present boot.
    pub fn boot_id(&self) -> u32 {
        self.clock.boot_id()
    }

    /// The present moment. Wall clock and boot clock are for ages, and may be [`FRESH`] old.
    pub fn now(&self) -> Now {
        let at = instant();
        if at >= self.read.get().0 {
            self.read.set((at + FRESH, self.clock.read()));
        }
        Now { at, clock: self.read.get().1 }
    }

    /// The present moment, as a sample would have it.
    pub fn stamp(&self) -> Stamp {
        self.clock.now()
    }

    /// What is known of the boots at the start.
    pub fn times(&self) -> Times {
        Times::new(self.clock.boot_id(), self.boots.known().to_vec())
    }

    /// When [`ClockWatch::look`] has something to do; `None`: nothing any more.
    pub fn deadline(&self) -> Option<Instant> {
        self.boots.beginning(self.clock.boot_id()).is_none().then(|| self.next_look + UNHURRIED)
    }

    /// Notes again what is known of boots where that was taken away.
    pub fn put_back(&self) {
        if let Err(error) = self.boots.put_back() {
            debug!("cannot note again when boots began error={error}");
        }
    }

    /// Asks the clock whether it is right, when that is due and not known. When this boot began, in milliseconds since
    /// 1970, once that is noted.
    pub fn look(&mut self, now: Instant) -> Option<i64> {
        if now < self.next_look || self.boots.beginning(self.clock.boot_id()).is_some() || !self.disk.is_due(now) {
            return None;
        }
        self.next_look = now + LOOK;
        let stamp = self.clock.now();
        if !stamp.synchronised {
            return None;
        }
        let boot = i64::try_from(stamp.boot).unwrap_or(i64::MAX);
        let beginning = stamp.wall.saturating_sub(boot);
        match self.boots.note(stamp.boot_id, beginning) {
            Ok(()) => {
                self.disk.worked();
                info!("the clock is right; samples that were taken before get their times");
                Some(beginning)
            }
            Err(error) => {
                self.disk.failed(&error);
                None
            }
        }
    }
}
