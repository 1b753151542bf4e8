//! When samples were taken, also those that were taken before the clock was set.
//!
//! Every sample has the boot clock beside the wall clock. Once something keeps the wall clock right, the beginning of
//! this boot is known, and with it the times of all its samples. It is noted in the spool, so that samples of this boot
//! that are published after the next one have their right times, too.

use super::disk::Access;
use crate::clock::Clock;
use crate::delivery::Dated;
use crate::message::{Message, Stamp};
use crate::payload::{self, Outgoing, Time};
use crate::spool::Boots;
use log::info;
use std::time::{Duration, Instant};

/// How often the clock is asked whether it is right, until it is.
const LOOK: Duration = Duration::from_secs(1);

/// Knows the times of samples.
pub struct Times {
    clock: Clock,
    boots: Boots,
    next_look: Instant,
    disk: Access,
}

impl Times {
    pub fn new(clock: Clock, boots: Boots) -> Self {
        Self { clock, boots, next_look: Instant::now(), disk: Access::new("note when this boot began") }
    }

    /// Names the present boot.
    pub fn boot_id(&self) -> u32 {
        self.clock.boot_id()
    }

    /// The present moment.
    pub fn now(&self) -> Stamp {
        self.clock.now()
    }

    /// When [`Times::look`] has something to do; `None`: nothing any more. A machine whose clock nothing ever sets is not
    /// woken more often than this for it.
    pub fn deadline(&self) -> Option<Instant> {
        const UNHURRIED: Duration = Duration::from_secs(60);
        self.boots.beginning(self.clock.boot_id()).is_none().then(|| self.next_look + UNHURRIED)
    }

    /// Asks the clock whether it is right, when that is due and not known.
    pub fn look(&mut self, now: Instant) {
        if now < self.next_look || self.boots.beginning(self.clock.boot_id()).is_some() || !self.disk.is_due(now) {
            return;
        }
        self.next_look = now + LOOK;
        let stamp = self.clock.now();
        if !stamp.synchronised {
            return;
        }
        let boot = i64::try_from(stamp.boot).unwrap_or(i64::MAX);
        match self.boots.note(stamp.boot_id, stamp.wall.saturating_sub(boot)) {
            Ok(()) => {
                self.disk.worked();
                info!("the clock is right; samples that were taken before get their times");
            }
            Err(error) => self.disk.failed(now, &error),
        }
    }

    /// When a sample was taken.
    pub fn of(&self, taken: Stamp) -> Time {
        match self.boots.beginning(taken.boot_id) {
            Some(beginning) if !taken.synchronised => {
                let boot = i64::try_from(taken.boot).unwrap_or(i64::MAX);
                Time { wall: beginning.saturating_add(boot), certain: true }
            }
            _ => Time::as_taken(taken),
        }
    }

    /// How long ago a sample was taken. Within one boot the boot clock knows, whatever the wall clock did. Where nobody
    /// knows it counts as new: a message must not be dropped for an age that a wrong clock gave it.
    pub fn waited(&self, taken: Stamp) -> Duration {
        let now = self.clock.read();
        let milliseconds = if taken.boot_id == self.clock.boot_id() {
            now.boot.saturating_sub(taken.boot)
        } else {
            let (present, boot) =
                (self.boots.beginning(self.clock.boot_id()), i64::try_from(now.boot).unwrap_or(i64::MAX));
            let then = self.of(taken);
            let between =
                present.filter(|_| then.certain).map(|present| present.saturating_add(boot).saturating_sub(then.wall));
            between.and_then(|between| u64::try_from(between).ok()).unwrap_or(0)
        };
        Duration::from_millis(milliseconds)
    }

    /// What a message is published as.
    pub fn render(&self, message: &Message, dated: Dated) -> Outgoing {
        let taken = message.sample.taken;
        let time = match dated {
            Dated::IfKnown => self.of(taken),
            Dated::AsTaken => Time::as_taken(taken),
        };
        payload::outgoing(message, time, self.waited(taken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Spool as Settings;
    use crate::config::{Sync, WhenFull};
    use crate::spool::Spool;
    use proptest::prelude::*;

    const OTHER_BOOT: u32 = 0x1234_5678;

    fn times(clock: Clock, known: &[(u32, i64)]) -> Times {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            directory: folder.path().to_owned(),
            max_size: 1 << 20,
            max_age: None,
            when_full: WhenFull::DropOldest,
            sync: Sync::Always,
        };
        let mut boots = Spool::open(&settings, &[]).unwrap().boots();
        known.iter().for_each(|(id, beginning)| boots.note(*id, *beginning).unwrap());
        Times::new(clock, boots)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        #[test]
        fn a_sample_gets_its_time_when_its_boot_s_beginning_is_known(
            wall in -1_000_000_000_000..4_000_000_000_000_i64, boot in 0..100_000_000_000_u64,
            beginning in 0..4_000_000_000_000_i64, synchronised: bool, known: bool,
        ) {
            let times = times(Clock::new(), &[(if known { OTHER_BOOT } else { !OTHER_BOOT }, beginning)]);
            let taken = Stamp { wall, boot, boot_id: OTHER_BOOT, synchronised };

            let time = times.of(taken);

            let expected = match (synchronised, known) {
                (true, _) => Time { wall, certain: true },
                (false, true) => Time { wall: beginning + i64::try_from(boot).unwrap(), certain: true },
                (false, false) => Time { wall, certain: false },
            };
            prop_assert_eq!(time, expected);
        }
    }

    #[test]
    fn ages_are_known_within_a_boot_and_between_boots_that_are_known() {
        let clock = Clock::new();
        let now = clock.read();
        let here = |boot| Stamp { wall: 0, boot, boot_id: clock.boot_id(), synchronised: false };
        let elsewhere = |wall, synchronised| Stamp { wall, boot: 5000, boot_id: OTHER_BOOT, synchronised };
        let beginning = now.wall - i64::try_from(now.boot).unwrap();
        let [nothing, this, both] = [
            times(clock, &[]),
            times(clock, &[(clock.boot_id(), beginning)]),
            times(clock, &[(clock.boot_id(), beginning), (OTHER_BOOT, now.wall - 65_000)]),
        ];
        let seconds = |age: Duration| age.as_secs();

        assert_eq!(seconds(nothing.waited(here(now.boot.saturating_sub(3000)))), 3);
        assert_eq!(seconds(this.waited(elsewhere(now.wall - 60_000, true))), 60);
        assert_eq!(seconds(both.waited(elsewhere(0, false))), 60);
        // Half a century, if one believed the clock.
        assert_eq!(seconds(this.waited(elsewhere(0, false))), 0);
        assert_eq!(seconds(nothing.waited(elsewhere(now.wall - 60_000, true))), 0);
    }
}
