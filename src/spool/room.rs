//! Makes room for what comes: which segment's file is used again, which is deleted, which is dropped.
//!
//! A finished segment's file is kept, one at most, and becomes the next segment: nothing has to be filled with zeros
//! again. It counts towards the spool's size, and goes before a message would have to.

use super::writer::Writer;
use super::{Spool, segment};
use crate::config::WhenFull;
use crate::message::{Sample, Seq};
use std::fs;
use std::io;
use std::ops::RangeInclusive;

/// Why there is no room for a sample.
#[derive(Debug, thiserror::Error)]
pub(super) enum Full {
    #[error("the spool is full")]
    Newest,
    #[error("no new segment: {0}")]
    Error(#[from] io::Error),
}

impl Spool {
    /// Begins a segment for a sample that the present one has no room for.
    ///
    /// `dropped` gets what was dropped to make room, whether a segment could be begun or not.
    ///
    /// # Errors
    /// [`Full`]. The next call tries again.
    pub(super) fn begin_segment(
        &mut self,
        sample: &Sample,
        in_flight: Option<&RangeInclusive<Seq>>,
        dropped: &mut Vec<RangeInclusive<Seq>>,
    ) -> Result<(), Full> {
        let size = self.segment_size.max(Writer::segment_size_for(sample));
        loop {
            let finished = self.finished_segment();
            if let Some(first) = finished.filter(|first| self.segments[first] == size)
                && segment::may_be_used_again(&self.directory, first, self.stream, size)
            {
                return Ok(self.recycle(first, size)?);
            }
            // Where the spool is to be smaller than it was, the segment being written may be all that it has room for, and
            // only another one can take its place.
            let is_outgrown = self.segments.len() == 1 && size == self.segment_size;
            let is_full = !is_outgrown && self.segments.values().sum::<u64>() + size > self.max_size;
            match finished {
                Some(first) if is_full => self.remove_segments([first])?,
                None if is_full => {
                    let victim = self.victim(in_flight).filter(|_| self.when_full == WhenFull::DropOldest);
                    self.drop_messages(&victim.ok_or(Full::Newest)?, dropped);
                }
                Some(_) | None => match self.writer.begin_segment(&self.directory, self.stream, size) {
                    Ok(()) => {
                        self.segments.insert(self.writer.first(), size);
                        return Ok(());
                    }
                    Err(error) => match finished.filter(|_| error.kind() == io::ErrorKind::StorageFull) {
                        Some(first) => self.remove_segments([first])?,
                        None => return Err(error.into()),
                    },
                },
            }
        }
    }

    /// Deletes finished segments from the oldest on, but for one that can be used again.
    ///
    /// # Errors
    /// The medium's. The next call tries again.
    pub(super) fn remove_finished(&mut self) -> io::Result<()> {
        let low = self.journal.finished().low();
        let ends = self.segments.keys().skip(1);
        let mut finished: Vec<Seq> =
            self.segments.keys().zip(ends).filter(|(_, end)| **end <= low).map(|(first, _)| *first).collect();
        finished.pop_if(|last| self.segments[last] == self.segment_size);
        self.remove_segments(finished)
    }

    /// The oldest segment in which all is finished, but for the one being written.
    fn finished_segment(&self) -> Option<Seq> {
        let finished = self.journal.finished();
        let mut firsts = self.segments.keys().zip(self.segments.keys().skip(1));
        firsts.find(|(first, next)| finished.next_unfinished(**first) >= **next).map(|(first, _)| *first)
    }

    fn recycle(&mut self, former: Seq, size: u64) -> io::Result<()> {
        // The journal must say that its messages are finished before they disappear: else they would look lost.
        self.journal.sync()?;
        self.writer.begin_segment_in(&self.directory, self.stream, size, former)?;
        self.segments.remove(&former);
        self.segments.insert(self.writer.first(), size);
        Ok(())
    }

    /// Deletes segments in which all is finished.
    fn remove_segments(&mut self, firsts: impl IntoIterator<Item = Seq>) -> io::Result<()> {
        let mut firsts = firsts.into_iter().peekable();
        if firsts.peek().is_some() {
            // As above.
            self.journal.sync()?;
        }
        for first in firsts {
            match fs::remove_file(segment::path(&self.directory, first)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => self.segments.remove(&first),
            };
        }
        Ok(())
    }

    /// The oldest segment that is neither being written nor holds a message in flight: its first and last seq.
    fn victim(&self, in_flight: Option<&RangeInclusive<Seq>>) -> Option<RangeInclusive<Seq>> {
        let firsts = self.segments.keys().zip(self.segments.keys().skip(1));
        firsts
            .map(|(first, next)| *first..=Seq(next.0 - 1))
            .find(|range| in_flight.is_none_or(|flight| range.end() < flight.start() || flight.end() < range.start()))
    }

    /// Drops what is not finished of these messages.
    fn drop_messages(&mut self, range: &RangeInclusive<Seq>, dropped: &mut Vec<RangeInclusive<Seq>>) {
        let mut seq = self.journal.finished().next_unfinished(*range.start());
        while seq <= *range.end() {
            let end = self.journal.finished().unfinished_row_end(seq, *range.end());
            dropped.push(seq..=end);
            seq = self.journal.finished().next_unfinished(end.next());
        }
        self.journal.finish(range);
    }
}
