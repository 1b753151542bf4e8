//! What waits: messages, and about how many bytes they have on the disk.

use super::Spool;
use super::sector;
use super::segment::HEADER;

/// What is waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Messages that are not finished.
    pub messages: u64,
    /// Bytes of their records. Where a segment has others that are finished, all of them count as equally long.
    pub bytes: u64,
}

impl Spool {
    /// What is waiting. It looks at each segment: [`Spool::waiting`] tells the messages alone.
    pub fn backlog(&self) -> Backlog {
        let finished = self.journal.finished();
        let low = finished.low();
        // What is below the lowest message that waits is not looked at.
        let oldest = self.segments.range(..=low).next_back().map_or(low, |(first, _)| *first);
        let ends = self.segments.range(oldest.next()..).map(|(first, _)| *first).chain([self.writer.next()]);
        let bytes = self.segments.range(oldest..).zip(ends).map(|((first, size), end)| {
            let content = if *first == self.writer.first() { self.writer.end() } else { sector::capacity(*size) };
            share(
                content.saturating_sub(HEADER as u64),
                finished.unfinished_in(*first, end),
                end.0.saturating_sub(first.0),
            )
        });
        Backlog { messages: self.waiting(), bytes: bytes.sum() }
    }

    /// How many messages are not finished.
    pub fn waiting(&self) -> u64 {
        let finished = self.journal.finished();
        let waiting = self.writer.next().0.saturating_sub(finished.low().0);
        waiting.saturating_sub(finished.count_above())
    }
}

/// `bytes` × `some` / `all`; a segment without messages has none that wait.
fn share(bytes: u64, some: u64, all: u64) -> u64 {
    let share = (u128::from(bytes) * u128::from(some)).checked_div(u128::from(all)).unwrap_or(0);
    u64::try_from(share).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{append, config, folder, open, samples};
    use super::*;
    use crate::message::Seq;
    use std::time::Instant;

    #[test]
    fn the_bytes_that_wait_are_those_of_the_messages_and_not_of_the_files() {
        let folder = folder();
        let mut spool = open(&config(folder.path())).unwrap();
        assert_eq!(spool.backlog(), Backlog { messages: 0, bytes: 0 });

        append(&mut spool, &samples(1..=3));
        let three = spool.backlog();
        (1..=3).for_each(|seq| spool.finish(Seq(seq), Instant::now()));
        let none = spool.backlog();

        assert!(three.messages == 3 && (3 * 40..1000).contains(&three.bytes), "{three:?}");
        assert_eq!(none, Backlog { messages: 0, bytes: 0 });
    }

    #[test]
    fn they_are_about_as_many_whatever_waits_where_and_after_a_restart() {
        let folder = folder();
        let small = crate::config::Spool { max_size: 2 * 1024 * 1024, ..config(folder.path()) };
        let mut spool = open(&small).unwrap();
        for batch in 0..100 {
            append(&mut spool, &samples(batch * 100..(batch + 1) * 100));
        }
        let all = spool.backlog();
        assert!(spool.segments.len() > 3, "{:?}", spool.segments);

        (1..=10_000).filter(|seq| seq % 10 < 9).for_each(|seq| spool.finish(Seq(seq), Instant::now()));
        let tenth = spool.backlog();
        spool.trim().unwrap();
        spool.sync_journal().unwrap();
        drop(spool);
        let restarted = open(&small).unwrap().backlog();

        assert_eq!((all.messages, tenth.messages), (10_000, 1000));
        assert!((all.bytes / 11..all.bytes / 9).contains(&tenth.bytes), "{tenth:?} of {all:?}");
        assert_eq!(restarted, tenth);
    }
}
