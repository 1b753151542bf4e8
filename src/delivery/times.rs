//! When samples were taken, also those that were taken before the clock was set. Pure: the present moment is an argument.
//!
//! Every sample has the boot clock beside the wall clock. Once something keeps the wall clock right, the beginning of
//! this boot is known, and with it the times of all its samples.

use crate::clock::Reading;
use crate::message::{Message, Stamp};
use crate::payload::{self, Outgoing, Time};
use std::time::Duration;

/// With which time a message is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dated {
    /// With the right one, where that is known.
    IfKnown,
    /// With the wall clock's at the time, although a better one is known by now: it was published so before.
    AsTaken,
}

impl From<bool> for Dated {
    /// Whether it was published with the right time before.
    fn from(dated: bool) -> Self {
        if dated { Dated::IfKnown } else { Dated::AsTaken }
    }
}

/// Knows the times of samples.
#[derive(Debug, Clone)]
pub struct Times {
    /// Names the present boot.
    boot_id: u32,
    /// Boot id, and the wall clock in milliseconds since 1970 at which its boot clock was zero.
    beginnings: Vec<(u32, i64)>,
}

impl Times {
    /// What is known at the start. `boot_id` names the present boot.
    #[must_use]
    pub fn new(boot_id: u32, beginnings: Vec<(u32, i64)>) -> Self {
        Self { boot_id, beginnings }
    }

    /// Notes when the present boot began, in milliseconds since 1970.
    pub fn began(&mut self, beginning: i64) {
        self.beginnings.push((self.boot_id, beginning));
    }

    /// When a boot began, where that is known.
    fn beginning(&self, boot_id: u32) -> Option<i64> {
        self.beginnings.iter().find(|(id, _)| *id == boot_id).map(|(_, beginning)| *beginning)
    }

    /// When a sample was taken.
    #[must_use]
    pub fn of(&self, taken: Stamp) -> Time {
        match self.beginning(taken.boot_id) {
            Some(beginning) if !taken.synchronised => {
                let boot = i64::try_from(taken.boot).unwrap_or(i64::MAX);
                Time { wall: beginning.saturating_add(boot), certain: true }
            }
            _ => Time::as_taken(taken),
        }
    }

    /// The present time.
    #[must_use]
    pub fn present(&self, now: Reading) -> Time {
        // What has set the clock once in this boot keeps it right.
        Time { wall: now.wall, certain: self.beginning(self.boot_id).is_some() }
    }

    /// How long ago a sample was taken. Within one boot the boot clock knows, whatever the wall clock did. Where nobody
    /// knows it counts as new: a message must not be dropped for an age that a wrong clock gave it.
    #[must_use]
    pub fn waited(&self, taken: Stamp, now: Reading) -> Duration {
        let milliseconds = if taken.boot_id == self.boot_id {
            now.boot.saturating_sub(taken.boot)
        } else {
            let (present, boot) = (self.beginning(self.boot_id), i64::try_from(now.boot).unwrap_or(i64::MAX));
            let then = self.of(taken);
            let between =
                present.filter(|_| then.certain).map(|present| present.saturating_add(boot).saturating_sub(then.wall));
            between.and_then(|between| u64::try_from(between).ok()).unwrap_or(0)
        };
        Duration::from_millis(milliseconds)
    }

    /// What a message is published as.
    #[must_use]
    pub fn render(&self, message: &Message, dated: Dated, now: Reading) -> Outgoing {
        let taken = message.sample.taken;
        let time = match dated {
            Dated::IfKnown => self.of(taken),
            Dated::AsTaken => Time::as_taken(taken),
        };
        payload::outgoing(message, time, self.waited(taken, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HERE: u32 = 1;
    const OTHER_BOOT: u32 = 0x1234_5678;

    proptest! {
        #[test]
        fn a_sample_gets_its_time_when_its_boot_s_beginning_is_known(
            wall in -1_000_000_000_000..4_000_000_000_000_i64, boot in 0..100_000_000_000_u64,
            beginning in 0..4_000_000_000_000_i64, synchronised: bool, known: bool,
        ) {
            let times = Times::new(HERE, vec![(if known { OTHER_BOOT } else { !OTHER_BOOT }, beginning)]);
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
        let now = Reading { wall: 1_700_000_000_000, boot: 50_000 };
        let here = |boot| Stamp { wall: 0, boot, boot_id: HERE, synchronised: false };
        let elsewhere = |wall, synchronised| Stamp { wall, boot: 5000, boot_id: OTHER_BOOT, synchronised };
        let beginning = now.wall - 50_000;
        let [nothing, this, both] =
            [vec![], vec![(HERE, beginning)], vec![(HERE, beginning), (OTHER_BOOT, now.wall - 65_000)]]
                .map(|known| Times::new(HERE, known));
        let seconds = |times: &Times, taken| times.waited(taken, now).as_secs();

        assert_eq!(seconds(&nothing, here(now.boot - 3000)), 3);
        assert_eq!(seconds(&this, elsewhere(now.wall - 60_000, true)), 60);
        assert_eq!(seconds(&both, elsewhere(0, false)), 60);
        // Half a century, if one believed the clock.
        assert_eq!(seconds(&this, elsewhere(0, false)), 0);
        assert_eq!(seconds(&nothing, elsewhere(now.wall - 60_000, true)), 0);
    }
}
