//! Giving up messages that wait, because somebody says so: they are finished without being delivered.
//!
//! They are noted in the journal like acknowledged ones, from the oldest on, and their segments go the same way. So what an
//! interruption finds is a purge of fewer messages, and no number is given out twice.

use super::Spool;
use super::finished::Finished;
use super::reader::{Limit, Reader, Step};
use crate::message::{Message, Seq};
use std::io;
use std::ops::RangeInclusive;
use std::time::Instant;

/// Ranges of finished messages that may stand above what waits: half of what the journal holds, for the agent needs the rest.
const MOST_RANGES: usize = 2000;

/// Which messages are meant.
pub enum What<'a> {
    /// All, those that cannot be read as well.
    All,
    /// Those that can be read and that this says of.
    Those(&'a dyn Fn(&Message) -> bool),
}

/// What a purge comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    pub messages: u64,
    /// The lowest and the highest number of them.
    pub range: Option<(Seq, Seq)>,
    /// Messages that are meant and stay, for the journal can note no more gaps.
    pub left: u64,
}

impl Purged {
    fn add(&mut self, first: Seq, last: Seq) {
        self.messages += last.0 - first.0 + 1;
        self.range = Some((self.range.map_or(first, |(first, _)| first), last));
    }
}

impl Spool {
    /// What a purge would come to. Changes nothing.
    ///
    /// # Errors
    /// The medium's.
    pub fn would_purge(&self, what: &What<'_>) -> io::Result<Purged> {
        self.plan(what).map(|(purged, _)| purged)
    }

    /// Purges: what is meant is finished, on the medium, when this returns, and its segments are gone.
    ///
    /// # Errors
    /// The medium's. What was noted before is purged, the rest waits; the next call goes on.
    pub fn purge(&mut self, what: &What<'_>, now: Instant) -> io::Result<Purged> {
        let (purged, ranges) = self.plan(what)?;
        for range in ranges {
            self.journal.finish(&range, now);
        }
        self.sync_journal()?;
        self.trim()?;
        Ok(purged)
    }

    /// What a purge comes to, and what is to be noted for it: no more ranges than the journal holds, however many messages.
    fn plan(&self, what: &What<'_>) -> io::Result<(Purged, Vec<RangeInclusive<Seq>>)> {
        let (mut purged, mut ranges) = (Purged::default(), Vec::<RangeInclusive<Seq>>::new());
        let mut finished = self.journal.finished().clone();
        self.each(what, |first, last| {
            if !is_noted(&finished, first) {
                purged.left += 1;
                return;
            }
            finished.insert(&(first..=last));
            purged.add(first, last);
            match ranges.last_mut() {
                Some(row) if row.end().next() == first => *row = *row.start()..=last,
                _ => ranges.push(first..=last),
            }
        })?;
        Ok((purged, ranges))
    }

    /// Hands over the ranges of what is meant and not finished, in order.
    fn each(&self, what: &What<'_>, mut found: impl FnMut(Seq, Seq)) -> io::Result<()> {
        let finished = self.journal.finished();
        let limit = Limit { room_for_copies: None, ..self.limit() };
        let is_meant = match what {
            What::Those(is_meant) => is_meant,
            What::All => {
                let mut seq = finished.next_unfinished(finished.low());
                while seq < limit.next {
                    let end = finished.unfinished_row_end(seq, Seq(limit.next.0 - 1));
                    found(seq, end);
                    seq = finished.next_unfinished(end.next());
                }
                return Ok(());
            }
        };
        let mut reader = Reader::new(&self.directory, self.stream, finished.low(), self.writer.routes());
        loop {
            match reader.step(&self.segments, finished, limit, |_| None)? {
                Step::Message(message) if is_meant(&message) => found(message.seq, message.seq),
                Step::Message(_) | Step::Lost(_) => {}
                Step::End => return Ok(()),
            }
        }
    }
}

/// Whether the journal can note that this message is finished as well.
fn is_noted(finished: &Finished, seq: Seq) -> bool {
    let follows = seq == finished.low() || finished.next_unfinished(Seq(seq.0 - 1)) != Seq(seq.0 - 1);
    follows || finished.range_count() < MOST_RANGES
}

#[cfg(test)]
mod tests {
    use super::super::tests::{append, config, drain, folder, open, samples, seqs};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_purged_is_gone_after_a_restart_and_no_number_is_used_again() {
        let folder = folder();
        let small = crate::config::Spool { max_size: 1024 * 1024, ..config(folder.path()) };
        let mut spool = open(&small).unwrap();
        append(&mut spool, &samples(0..4000));
        spool.finish(Seq(2), Instant::now());
        let old = What::Those(&|message| message.seq < Seq(3500));

        let would = spool.would_purge(&old).unwrap();
        assert_eq!(spool.waiting(), 3999);
        let purged = spool.purge(&old, Instant::now()).unwrap();

        assert_eq!(purged, Purged { messages: 3498, range: Some((Seq(1), Seq(3499))), left: 0 });
        assert_eq!(would, purged);
        assert!(spool.segments.len() < 4, "{:?}", spool.segments);
        drop(spool);
        let mut spool = open(&small).unwrap();
        assert_eq!(seqs(&drain(&mut spool).0), (3500..=4000).collect::<Vec<_>>());
        let all = spool.purge(&What::All, Instant::now()).unwrap();
        assert_eq!((all.messages, all.range), (501, Some((Seq(3500), Seq(4000)))));
        drop(spool);
        let mut spool = open(&small).unwrap();
        assert_eq!((spool.waiting(), append(&mut spool, &samples([1]))), (0, Seq(4001)..=Seq(4001)));
    }

    #[test]
    fn more_gaps_than_the_journal_can_note_are_left_and_counted() {
        let folder = folder();
        let mut spool = open(&config(folder.path())).unwrap();
        append(&mut spool, &samples(0..7000));

        let purged = spool.purge(&What::Those(&|message| message.seq.0 % 2 == 0), Instant::now()).unwrap();
        drop(spool);

        assert_eq!((purged.messages, purged.left), (2000, 1500));
        let waits = seqs(&drain(&mut open(&config(folder.path())).unwrap()).0);
        assert_eq!(waits.len(), 5000);
        assert!(waits.iter().all(|seq| seq % 2 == 1 || *seq > 4000));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn exactly_what_is_meant_and_waits_is_purged(
            done in proptest::collection::btree_set(1u64..300, 0..40), modulus in 1u64..9, above in 0u64..300,
        ) {
            let folder = folder();
            let mut spool = open(&config(folder.path())).unwrap();
            append(&mut spool, &samples(0..300));
            done.iter().for_each(|seq| spool.finish(Seq(*seq), Instant::now()));
            let is_meant = |message: &Message| message.seq.0.is_multiple_of(modulus) && message.seq.0 > above;

            let purged = spool.purge(&What::Those(&is_meant), Instant::now()).unwrap();
            drop(spool);

            let is_meant = |seq: &u64| seq.is_multiple_of(modulus) && *seq > above;
            let waited: Vec<u64> = (1..=300).filter(|seq| !done.contains(seq)).collect();
            let meant: Vec<u64> = waited.iter().copied().filter(is_meant).collect();
            let range = meant.first().map(|first| (Seq(*first), Seq(*meant.last().unwrap())));
            prop_assert_eq!(purged, Purged { messages: meant.len() as u64, range, left: 0 });
            let rest: Vec<u64> = waited.into_iter().filter(|seq| !is_meant(seq)).collect();
            prop_assert_eq!(seqs(&drain(&mut open(&config(folder.path())).unwrap()).0), rest);
        }
    }
}
