//! Makes room for what comes: which segment's file is used again, which is deleted, which is dropped.
//!
//! A finished segment's file is kept, one at most, and becomes the next segment: nothing has to be filled with zeros
//! again. It counts towards the spool's size, and goes before a message would have to.

use super::claim::{Claim, is_full};
use super::writer::Writer;
use super::{Spool, segment};
use crate::config::WhenFull;
use crate::message::{Sample, Seq};
use log::warn;
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::time::Instant;

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
        now: Instant,
    ) -> Result<(), Full> {
        self.may_write()?;
        self.is_at_home()?;
        if self.claim.is_none() {
            self.claim = Some(Claim::late(&self.directory)?);
        }
        let size = self.segment_size.max(Writer::segment_size_for(sample));
        // Bytes of the segments that gave way to a full disk.
        let mut freed = 0;
        loop {
            let finished = self.finished_segment();
            // A place that was damaged once is not trusted again.
            if let Some(first) = finished.filter(|first| self.segments[first] == size)
                && !self.reader.copies().has(first)
                && segment::may_be_used_again(&self.directory, first, self.stream, size)
            {
                match self.recycle(first, size) {
                    // The name may need room in the folder.
                    Err(error) if is_full(&error) => self.remove_segments([first])?,
                    recycled => return Ok(recycled?),
                }
                continue;
            }
            // Where the spool is to be smaller than it was, the segment being written may be all that it has room for, and
            // only another one can take its place.
            let is_outgrown = self.segments.len() == 1 && size == self.segment_size;
            let is_at_limit = !is_outgrown && self.bytes() + size > self.max_size;
            if is_at_limit && self.reader.copies_mut().remove_oldest() {
                continue;
            }
            match finished {
                Some(first) if is_at_limit => self.remove_segments([first])?,
                None if is_at_limit => {
                    let victim = self.victim(in_flight).filter(|_| self.when_full == WhenFull::DropOldest);
                    self.drop_messages(&victim.ok_or(Full::Newest)?, dropped, now);
                }
                Some(_) | None => match self.writer.begin_segment(&self.directory, self.stream, size) {
                    Ok(()) => {
                        self.segments.insert(self.writer.first(), size);
                        self.full_disk.is_over();
                        return Ok(());
                    }
                    Err(error) if !is_full(&error) => return Err(error.into()),
                    Err(_) if self.reader.copies_mut().remove_oldest() => {}
                    Err(error) => match finished {
                        Some(first) => self.remove_segments([first])?,
                        None => freed += self.give_way(size, freed, in_flight, dropped, now).ok_or(error)?,
                    },
                },
            }
        }
    }

    /// Drops the oldest messages where the disk is full and they are to give way: bytes of their segment. `freed`: those of
    /// segments that gave way already, for one of `size` bytes.
    fn give_way(
        &mut self,
        size: u64,
        freed: u64,
        in_flight: Option<&RangeInclusive<Seq>>,
        dropped: &mut Vec<RangeInclusive<Seq>>,
        now: Instant,
    ) -> Option<u64> {
        if freed >= size {
            self.full_disk.was_in_vain(now);
            return None;
        }
        let is_patient = !self.full_disk.was_waited_for(self.finished_count(), now);
        if self.when_full != WhenFull::DropOldest || is_patient {
            return None;
        }
        let victim = self.victim(in_flight)?;
        self.drop_messages(&victim, dropped, now);
        if self.full_disk.gave_way(self.finished_count()) {
            let (folder, size, bytes) = (self.directory.display(), self.max_size, self.segments.bytes());
            warn!("the disk is full; the oldest messages give way folder={folder} bytes={bytes} max_size={size}");
        }
        Some(self.segments[victim.start()])
    }

    fn finished_count(&self) -> u64 {
        let finished = self.journal.finished();
        finished.low().0 + finished.count_above()
    }

    /// Bytes that count towards the spool's size.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.bytes() + self.reader.copies().bytes()
    }

    /// Removes copies of damaged segments that the spool has no room for.
    pub(super) fn make_copies_fit(&mut self) {
        let room = self.max_size.saturating_sub(self.segments.bytes());
        self.reader.copies_mut().shrink_to(room);
    }

    /// Deletes finished segments from the oldest on, but for one that can be used again. The newest stays where the disk has not
    /// taken another one yet: without any, the next start would not know how far the numbers went, and begin a new stream.
    ///
    /// # Errors
    /// The medium's. The next call tries again.
    pub(super) fn remove_finished(&mut self) -> io::Result<()> {
        let low = self.journal.finished().low();
        let mut finished: Vec<Seq> =
            self.whole_segments().take_while(|(_, end)| *end <= low).map(|(first, _)| first).collect();
        let newest = self.segments.keys().next_back().copied();
        finished.pop_if(|last| self.segments[last] == self.segment_size || newest == Some(*last));
        self.remove_segments(finished)
    }

    /// The oldest segment in which all is finished, but for the one being written.
    fn finished_segment(&self) -> Option<Seq> {
        let finished = self.journal.finished();
        // What begins behind everything finished is not: a long backlog is not looked through.
        let mut whole = self.whole_segments().take_while(|(first, _)| *first < finished.end());
        whole.find(|(first, end)| finished.next_unfinished(*first) >= *end).map(|(first, _)| first)
    }

    /// The segments but for the one being written, which may not be there: first seq of each, and the one behind its last.
    fn whole_segments(&self) -> impl Iterator<Item = (Seq, Seq)> {
        let growing = self.writer.first();
        let firsts = self.segments.range(..growing).map(|(first, _)| *first);
        firsts.map(move |first| {
            let next = self.segments.range(first.next()..growing).next();
            (first, next.map_or(growing, |(next, _)| *next))
        })
    }

    fn recycle(&mut self, former: Seq, size: u64) -> io::Result<()> {
        self.note_the_end_of([former])?;
        self.writer.begin_segment_in(&self.directory, self.stream, size, former)?;
        self.segments.remove(former);
        self.segments.insert(self.writer.first(), size);
        Ok(())
    }

    /// Has the journal say on the medium that the messages of these segments are finished before they disappear: else they
    /// would look lost. Where there is no journal, and the disk has no room for one, those before the oldest segment never do.
    fn note_the_end_of(&mut self, firsts: impl IntoIterator<Item = Seq>) -> io::Result<()> {
        let mut firsts = firsts.into_iter().peekable();
        if firsts.peek().is_none() {
            return Ok(());
        }
        let synced = self.journal.sync();
        let are_the_oldest = self.segments.keys().copied().zip(firsts).all(|(oldest, first)| oldest == first);
        if self.journal.is_missing() && are_the_oldest { Ok(()) } else { synced }
    }

    /// Deletes segments in which all is finished.
    fn remove_segments(&mut self, firsts: impl IntoIterator<Item = Seq>) -> io::Result<()> {
        let firsts: Vec<Seq> = firsts.into_iter().collect();
        self.note_the_end_of(firsts.iter().copied())?;
        for first in firsts {
            match fs::remove_file(segment::path(&self.directory, first)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => self.segments.remove(first),
            };
        }
        Ok(())
    }

    /// The oldest segment that is neither being written nor holds a message in flight: its first and last seq.
    fn victim(&self, in_flight: Option<&RangeInclusive<Seq>>) -> Option<RangeInclusive<Seq>> {
        self.whole_segments()
            .map(|(first, end)| first..=Seq(end.0 - 1))
            .find(|range| in_flight.is_none_or(|flight| range.end() < flight.start() || flight.end() < range.start()))
    }

    /// Drops what is not finished of these messages.
    fn drop_messages(&mut self, range: &RangeInclusive<Seq>, dropped: &mut Vec<RangeInclusive<Seq>>, now: Instant) {
        let mut seq = self.journal.finished().next_unfinished(*range.start());
        while seq <= *range.end() {
            let end = self.journal.finished().unfinished_row_end(seq, *range.end());
            self.leaving.leave(&(seq..=end));
            dropped.push(seq..=end);
            seq = self.journal.finished().next_unfinished(end.next());
        }
        self.journal.finish(range, now);
    }
}
