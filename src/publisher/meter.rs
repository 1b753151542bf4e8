//! How many messages come and go, for who asks: followed at every turn, so it wakes nobody. Pure: what was counted and the
//! present moment are arguments.

use crate::report::{Rate, Rates};
use crate::status::{Counters, CountersNow};
use std::time::{Duration, Instant};

/// What was counted, over time.
#[derive(Debug)]
pub struct Meter {
    accepted: Rate,
    acknowledged: Rate,
    /// Acknowledged since the present connection came about: how fast it drains.
    over_this_connection: Rate,
    seen: CountersNow,
    last_drop: Option<Instant>,
}

impl Meter {
    /// Nothing was counted yet.
    pub fn new(now: Instant) -> Self {
        let [accepted, acknowledged, over_this_connection] = std::array::from_fn(|_| Rate::new(now));
        Self { accepted, acknowledged, over_this_connection, seen: CountersNow::default(), last_drop: None }
    }

    /// Takes note of what was counted since the last look.
    pub fn look(&mut self, counters: &Counters, now: Instant) {
        let counted = CountersNow::from(counters);
        let former = std::mem::replace(&mut self.seen, counted);
        if counted == former {
            return;
        }
        let acknowledged = counted.acknowledged - former.acknowledged;
        if counted.connections != former.connections {
            self.over_this_connection = Rate::new(now);
        }
        for (rate, count) in [
            (&mut self.accepted, counted.accepted - former.accepted),
            (&mut self.acknowledged, acknowledged),
            (&mut self.over_this_connection, acknowledged),
        ] {
            if count > 0 {
                rate.add(count, now);
            }
        }
        if counted.undelivered() + counted.dropped_channel_full > former.undelivered() + former.dropped_channel_full {
            self.last_drop = Some(now);
        }
    }

    /// The rates by now.
    pub fn rates(&self, now: Instant) -> Rates {
        Rates { in_per_second: self.accepted.per_second(now), out_per_second: self.acknowledged.per_second(now) }
    }

    /// How long it takes until this many messages are gone, at the pace of the present connection; `None`: they do not get
    /// fewer.
    pub fn drained_in(&self, messages: u64, now: Instant) -> Option<Duration> {
        let [out, into] = [&self.over_this_connection, &self.accepted].map(|rate| rate.per_second(now).one);
        let fewer = (out - into).max(0.0);
        Duration::try_from_secs_f64(messages as f64 / fewer).ok()
    }

    /// How long ago something was last dropped by a rule, set aside or lost to damage; `None`: never.
    pub fn since_drop(&self, now: Instant) -> Option<Duration> {
        self.last_drop.map(|last| now.saturating_duration_since(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_end_of_a_drain_is_told_from_the_first_seconds_of_a_connection_on() {
        let (start, counters) = (Instant::now(), Counters::default());
        let mut meter = Meter::new(start);
        // Ten messages a second, and nobody takes them for an hour.
        (1..=3600).for_each(|second| {
            counters.accepted.add(10);
            meter.look(&counters, start + second * SECOND);
        });
        assert_eq!(meter.drained_in(36_000, start + 3600 * SECOND), None);

        counters.connections.add(1);
        meter.look(&counters, start + 3600 * SECOND);
        (3601..=3605).for_each(|second| {
            counters.accepted.add(10);
            counters.acknowledged.add(1000);
            meter.look(&counters, start + second * SECOND);
        });
        let left = meter.drained_in(31_050, start + 3605 * SECOND).unwrap();

        // 990 fewer each second.
        assert!((28..35).contains(&left.as_secs()), "{left:?}");
        assert_eq!(meter.since_drop(start + 3605 * SECOND), None);
        counters.dropped_expired.add(1);
        meter.look(&counters, start + 3606 * SECOND);
        assert_eq!(meter.since_drop(start + 3608 * SECOND), Some(2 * SECOND));
    }
}
