//! What arrived, and what follows from that: every accepted message arrived, waits, was dropped by a rule, or is lost. Pure.

use super::histogram::Histogram;
use serde::Deserialize;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Numbers further than this beyond what may be accepted are not ours.
const BEYOND: u64 = 1_000_000;
/// Messages that are named in a verdict, of each kind.
const NAMED: usize = 10;

/// What is read of a payload.
#[derive(Debug, Deserialize)]
struct Payload<'a> {
    stream: &'a str,
    seq: u64,
    data: Made,
}

#[derive(Debug, Deserialize)]
struct Made {
    #[serde(rename = "made_microseconds")]
    made: u64,
}

/// How a message has come to the second connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copy {
    /// As one of its own.
    Own,
    /// Marked by the broker as one that it has sent before (DUP).
    Repeat,
}

/// What has arrived.
#[derive(Debug)]
pub struct Ledger {
    /// The stream of the spool; until it is known, the first that arrives.
    stream: Option<String>,
    /// How often each seq arrived, from 1 on.
    arrived: Vec<u8>,
    bound: u64,
    received: u64,
    newest: u64,
    out_of_order: u64,
    duplicates: Named,
    repeats: u64,
    not_spooled: u64,
    strangers: u64,
    latencies: Histogram,
}

/// Some messages: how many, and the first of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    pub count: u64,
    pub first: Vec<u64>,
}

impl Named {
    fn add(&mut self, seq: u64) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(seq);
        }
    }
}

/// What there is of the second connection in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Second {
    /// What does not come is not there.
    Connected,
    Away,
}

/// What is known of the accepted messages beside what arrived.
pub struct Accepted<'a> {
    /// How many, which is the seq of the last.
    pub count: u64,
    pub is_waiting: &'a dyn Fn(u64) -> bool,
    /// What left by a rule.
    pub dropped: &'a [RangeInclusive<u64>],
    pub second: Second,
}

/// What became of every message.
#[derive(Debug, Clone)]
pub struct Balance {
    pub accepted: u64,
    pub received: u64,
    pub waiting: u64,
    pub dropped: u64,
    pub lost: Named,
    /// That the broker has acknowledged and may still have for the second connection, which is away.
    pub unseen: u64,
    /// That arrived again, sent by the agent.
    pub duplicates: Named,
    /// That arrived again, sent by the broker.
    pub repeats: u64,
    /// First arrivals after one of a higher seq.
    pub out_of_order: u64,
    /// That the disk did not take, and that arrived from memory.
    pub not_spooled: u64,
    /// Messages of somebody else under the topic.
    pub strangers: u64,
    pub latencies: Histogram,
}

impl Ledger {
    /// A ledger for about so many messages.
    #[must_use]
    pub fn new(count: u64) -> Self {
        Self {
            stream: None,
            arrived: Vec::new(),
            bound: count.saturating_add(BEYOND),
            received: 0,
            newest: 0,
            out_of_order: 0,
            duplicates: Named::default(),
            repeats: 0,
            not_spooled: 0,
            strangers: 0,
            latencies: Histogram::default(),
        }
    }

    /// The spool's stream.
    pub fn is_of(&mut self, stream: &str) {
        self.stream.get_or_insert_with(|| stream.to_owned());
    }

    /// Messages that arrived, each once.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// A payload has come at `now`, by the clock of [`super::load::now`].
    pub fn arrived(&mut self, payload: &[u8], now: u64, copy: impl FnOnce() -> Copy) {
        let Ok(Payload { stream, seq, data }) = serde_json::from_slice::<Payload<'_>>(payload) else {
            self.strangers += 1;
            return;
        };
        if self.stream.as_deref() != Some(stream) {
            self.not_spooled += 1;
            return;
        }
        let Some(index) =
            seq.checked_sub(1).filter(|_| seq <= self.bound).and_then(|index| usize::try_from(index).ok())
        else {
            self.strangers += 1;
            return;
        };
        if self.arrived.len() <= index {
            self.arrived.resize(index + 1, 0);
        }
        let times = &mut self.arrived[index];
        *times = times.saturating_add(1);
        if *times > 1 {
            match copy() {
                Copy::Own => self.duplicates.add(seq),
                Copy::Repeat => self.repeats += 1,
            }
            return;
        }
        self.received += 1;
        self.out_of_order += u64::from(seq < self.newest);
        self.newest = self.newest.max(seq);
        self.latencies.add(Duration::from_micros(now.saturating_sub(data.made)));
    }

    /// What became of every accepted message. A message that has arrived counts as that, whatever else became of it.
    #[must_use]
    pub fn settle(&self, accepted: &Accepted<'_>) -> Balance {
        let (mut received, mut waiting, mut dropped) = (0, 0, 0);
        let (mut lost, mut unseen) = (Named::default(), 0);
        for seq in 1..=accepted.count {
            let index = usize::try_from(seq - 1).unwrap_or(usize::MAX);
            if self.arrived.get(index).is_some_and(|times| *times > 0) {
                received += 1;
            } else if (accepted.is_waiting)(seq) {
                waiting += 1;
            } else if accepted.dropped.iter().any(|range| range.contains(&seq)) {
                dropped += 1;
            } else {
                match accepted.second {
                    Second::Connected => lost.add(seq),
                    Second::Away => unseen += 1,
                }
            }
        }
        Balance {
            accepted: accepted.count,
            received,
            waiting,
            dropped,
            lost,
            unseen,
            duplicates: self.duplicates.clone(),
            repeats: self.repeats,
            out_of_order: self.out_of_order,
            not_spooled: self.not_spooled,
            strangers: self.strangers,
            latencies: self.latencies.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::MADE;
    use super::*;
    use proptest::prelude::*;

    fn payload(stream: &str, seq: u64, made: u64) -> Vec<u8> {
        format!(r#"{{"device":"d","stream":"{stream}","seq":{seq},"data":{{"{MADE}":{made},"filler":"x"}}}}"#).into()
    }

    fn ledger(arrivals: impl IntoIterator<Item = u64>) -> Ledger {
        let mut ledger = Ledger::new(1000);
        ledger.is_of("s");
        arrivals.into_iter().for_each(|seq| ledger.arrived(&payload("s", seq, 0), 1000, || Copy::Own));
        ledger
    }

    fn settle(ledger: &Ledger, count: u64, waiting: &[u64], dropped: &[RangeInclusive<u64>]) -> Balance {
        let is_waiting = &|seq| waiting.contains(&seq);
        ledger.settle(&Accepted { count, is_waiting, dropped, second: Second::Connected })
    }

    proptest! {
        #[test]
        fn every_accepted_message_is_in_one_place(
            arrivals in proptest::collection::vec(1u64..50, 0..80),
            waiting in proptest::collection::vec(1u64..50, 0..20), (first, length) in (1u64..50, 0u64..20),
        ) {
            let balance = settle(&ledger(arrivals.clone()), 40, &waiting, &[first..=first + length]);

            let Balance { received, waiting: waits, dropped, ref lost, .. } = balance;
            prop_assert_eq!(received + waits + dropped + lost.count, 40);
            let excused = |seq: &u64| {
                arrivals.contains(seq) || waiting.contains(seq) || (first..=first + length).contains(seq)
            };
            let missing: Vec<u64> = (1..=40).filter(|seq| !excused(seq)).collect();
            prop_assert_eq!(lost.count, missing.len() as u64);
            prop_assert_eq!(&lost.first[..], &missing[..missing.len().min(NAMED)]);
        }
    }

    #[test]
    fn a_message_that_waits_is_not_lost_and_one_that_does_not_is() {
        let balance = settle(&ledger([1, 2, 5]), 6, &[6], &[4..=4]);

        assert_eq!((balance.received, balance.waiting, balance.dropped), (3, 1, 1));
        assert_eq!(balance.lost, Named { count: 1, first: vec![3] });
    }

    #[test]
    fn nothing_is_lost_for_certain_while_nobody_could_see_it() {
        let accepted = Accepted { count: 3, is_waiting: &|_| false, dropped: &[], second: Second::Away };

        let balance = ledger([1]).settle(&accepted);

        assert_eq!((balance.lost.count, balance.unseen, balance.received), (0, 2, 1));
    }

    #[test]
    fn the_broker_s_repeats_are_not_ours() {
        let mut ledger = ledger([1, 2]);

        ledger.arrived(&payload("s", 1, 0), 9, || Copy::Repeat);
        ledger.arrived(&payload("s", 2, 0), 9, || Copy::Own);
        let balance = settle(&ledger, 2, &[], &[]);

        assert_eq!((balance.repeats, balance.duplicates), (1, Named { count: 1, first: vec![2] }));
        assert_eq!((balance.received, balance.out_of_order), (2, 0));
    }

    #[test]
    fn only_first_arrivals_count_for_the_order() {
        assert_eq!(settle(&ledger([1, 2, 3, 1, 2, 4]), 4, &[], &[]).out_of_order, 0);
        assert_eq!(settle(&ledger([1, 3, 2, 4]), 4, &[], &[]).out_of_order, 1);
    }

    #[test]
    fn what_is_not_of_the_spool_is_counted_apart() {
        let mut ledger = ledger([1]);

        ledger.arrived(&payload("other", 1, 0), 9, || Copy::Own);
        for stranger in [&b"not JSON"[..], &payload("s", 0, 0), &payload("s", u64::MAX, 0)] {
            ledger.arrived(stranger, 9, || Copy::Own);
        }
        let balance = settle(&ledger, 1, &[], &[]);

        assert_eq!((balance.not_spooled, balance.strangers, balance.received), (1, 3, 1));
    }
}
