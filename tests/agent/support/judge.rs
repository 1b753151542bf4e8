//! What arrived, judged: gaps, duplicates, order.

use super::gateway::Gateway;
use super::scripted::Scripted;
use super::subscriber::{Arrival, Subscriber, wait_for_all};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// How many messages these ranges of seq are.
pub fn count(ranges: &[RangeInclusive<u64>]) -> usize {
    ranges.iter().map(|range| usize::try_from(range.end() - range.start() + 1).unwrap()).sum()
}

/// What arrived of one stream.
#[derive(Debug)]
pub struct Judgement {
    pub seqs: BTreeSet<u64>,
    pub duplicates: usize,
    /// Topics on which a message arrived for the first time after one with a higher seq.
    pub disorder: Vec<String>,
}

impl Judgement {
    /// Judges telemetry messages, which must all be of one stream.
    pub fn of(arrivals: &[Arrival]) -> Self {
        Self::of_refusing(arrivals, &BTreeSet::new())
    }

    /// As [`of`](Self::of), where the broker refused these seqs first: others may come before them.
    pub fn of_refusing(arrivals: &[Arrival], refused: &BTreeSet<u64>) -> Self {
        let streams: BTreeSet<String> = arrivals.iter().map(|arrival| arrival.identity().0).collect();
        assert!(streams.len() <= 1, "one spool, one stream: {streams:?}");
        let (mut seqs, mut duplicates, mut disorder) = (BTreeSet::new(), 0, Vec::new());
        let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
        for arrival in arrivals {
            let seq = arrival.identity().1;
            if !seqs.insert(seq) {
                duplicates += 1;
                continue;
            }
            let newest = newest.entry(&arrival.topic).or_default();
            if seq < *newest && !refused.contains(&seq) {
                disorder.push(format!("{}: {seq} after {newest}", arrival.topic));
            }
            *newest = seq.max(*newest);
        }
        let judgement = Self { seqs, duplicates, disorder };
        println!(
            "received {} messages, {} missing up to the newest, {} duplicates, {} out of order",
            judgement.seqs.len(),
            judgement.seqs.last().unwrap_or(&0) - judgement.seqs.len() as u64,
            judgement.duplicates,
            judgement.disorder.len()
        );
        judgement
    }

    /// As [`of_the_rest`](Self::of_the_rest), by what a scripted broker took. The last agent is killed.
    pub fn of_the_scripted_rest(gateway: &Gateway, broker: &Scripted) -> Self {
        let accepted = gateway.accepted();
        let agent = gateway.start();
        wait_for_all(&accepted, |known| broker.arrivals()[known..].to_vec());
        agent.kill();
        let judgement = Self::of(&broker.arrivals());
        judgement.assert_complete(&accepted);
        judgement
    }

    /// Lets another agent deliver what is left when the last one has ended, and judges: everything accepted has arrived, in
    /// order.
    pub fn of_the_rest(gateway: &Gateway, subscriber: &Subscriber) -> Self {
        let accepted = gateway.accepted();
        let agent = gateway.start();
        subscriber.wait_for_all(&accepted);
        assert_eq!(agent.stop().code(), Some(0));
        let judgement = Self::of(&subscriber.arrivals());
        judgement.assert_complete(&accepted);
        judgement
    }

    /// Everything that was said to be accepted arrived, from 1 without a gap, in order. An agent that is killed may
    /// have accepted a few more than it could say.
    pub fn assert_complete(&self, accepted: &[RangeInclusive<u64>]) {
        let newest = accepted.iter().map(|range| *range.end()).max().unwrap_or(0);
        let missing: Vec<u64> = (1..=newest).filter(|seq| !self.seqs.contains(seq)).collect();
        assert!(missing.is_empty(), "lost: {missing:?}");
        assert!(self.disorder.is_empty(), "out of order: {:?}", self.disorder);
    }

    pub fn assert_no_duplicates(&self) {
        assert_eq!(self.duplicates, 0, "duplicates");
    }
}
