//! The journal: which messages are finished, kept in one file of fixed size.
//!
//! The file has two halves. The half in use begins with a snapshot and goes on with entries; when it is full, a
//! snapshot with the next generation begins the other half. Nothing is ever renamed or allocated after the file was
//! made, so the journal can be written on a full disk, and an interrupted switch leaves the former half in force.
//!
//! ```text
//! snapshot: magic (8), generation (8), low seq (8), stream (4), number of ranges (4), then first and last seq (16)
//!           of each, and a CRC32C (4) over all of it
//! entry:    first seq (8), last seq (8), CRC32C (4) over both, seeded with the generation
//! ```
//!
//! Entries are written without a flush: losing the newest ones repeats messages and loses none. [`Journal::sync`] follows
//! before what they name disappears from the spool, and when many are not on the medium ([`super::unflushed`]). Acknowledgements come in rows, so the newest entry is written
//! over by one that goes on where it ends, as long as it was not flushed and lies within a sector, which the medium
//! writes whole and the system copies in one piece.

use super::finished::Finished;
use super::folder;
use super::medium;
use super::record::{u32_at, u64_at};
use super::sector::SECTOR;
use super::segment::sync_directory;
use super::unflushed::Unflushed;
use crate::message::{Seq, StreamId};
use crate::own;
use log::warn;
use std::fs::{self, File};
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

const MAGIC: [u8; 8] = *b"PKJRNL\0\x01";
const SNAPSHOT: usize = 32;
const RANGE: usize = 16;
const ENTRY: usize = 20;
/// Bytes of each half: a snapshot of a window of 8,000 messages acknowledged in the worst order fills half of it.
const HALF: usize = 128 * 1024;
/// Ranges that a snapshot holds. The ones above are forgotten when a half is switched, and after the next start
/// these messages are sent again.
const MAX_RANGES: usize = (HALF / 2 - SNAPSHOT) / RANGE;

/// The last generation that another one is to follow: a journal that is switched every millisecond gets there after
/// millions of years. What is above was not counted up to.
const LAST_GENERATION: u64 = u64::MAX / 2;

/// The journal of one spool.
#[derive(Debug)]
pub struct Journal {
    directory: PathBuf,
    /// `None`: it cannot be written to for now.
    file: Option<File>,
    stream: StreamId,
    finished: Finished,
    generation: u64,
    /// Where in the file the next entry belongs.
    offset: usize,
    /// The bytes before that place.
    end: [u8; ENTRY],
    /// The entry before that place, where it may be written over.
    newest: Option<RangeInclusive<Seq>>,
    /// Ranges not yet written.
    pending: Vec<RangeInclusive<Seq>>,
    unflushed: Unflushed,
    half: Half,
}

/// What the medium has of the half in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    /// The snapshot and all entries that were flushed.
    Sound,
    /// The snapshot. A flush has failed, after which the system may have forgotten entries.
    Forgetful,
    /// Perhaps nothing: the other half is in force there.
    Unflushed,
}

/// What a journal file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    pub stream: StreamId,
    pub finished: Finished,
    generation: u64,
    offset: usize,
}

impl Journal {
    /// Reads the journal in `directory`, read-only.
    ///
    /// `None`: there is none, or neither half has a good snapshot.
    ///
    /// # Errors
    /// The medium's.
    pub fn read(directory: &Path) -> io::Result<Option<Recovered>> {
        let bytes = match medium::read(&directory.join("journal"), 2 * HALF as u64) {
            Ok(content) => content.bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if own::is_planted(&error) => {
                warn!("journal is replaced, for it {error}");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        Ok(recover(&bytes))
    }

    /// Opens the journal that was read; where none was, begins one in which `finished` is finished. Where the disk does not
    /// take that, the journal is kept in memory until it does.
    pub fn open(directory: &Path, stream: StreamId, recovered: Option<Recovered>, finished: Finished) -> Journal {
        let finished = recovered.as_ref().map_or(finished, |recovered| recovered.finished.clone());
        let opened = match recovered {
            Some(recovered) => Self::resume(directory, recovered),
            None => Self::create(directory, stream, finished.clone()),
        };
        opened.unwrap_or_else(|error| {
            warn!("cannot write the journal; messages may be sent again after a restart error={error}");
            Self::with(directory, stream, finished)
        })
    }

    /// A journal without a file.
    fn with(directory: &Path, stream: StreamId, finished: Finished) -> Journal {
        Journal {
            directory: directory.to_owned(),
            file: None,
            stream,
            finished,
            generation: 0,
            offset: 0,
            end: [0; ENTRY],
            newest: None,
            pending: Vec::new(),
            unflushed: Unflushed::default(),
            half: Half::Sound,
        }
    }

    /// Goes on with the journal that was read.
    ///
    /// # Errors
    /// The medium's.
    pub fn resume(directory: &Path, recovered: Recovered) -> io::Result<Journal> {
        let Recovered { stream, finished, generation, offset } = recovered;
        if generation > LAST_GENERATION {
            return Self::create(directory, stream, finished);
        }
        let file = match own::edit(&directory.join("journal")) {
            // A copy that only we have says the same.
            Err(error) if own::is_planted(&error) => return Journal::create(directory, stream, finished),
            opened => opened?,
        };
        // A file that was cut short is made whole by the snapshot, and entries behind a torn one are left behind.
        file.set_len(2 * HALF as u64)?;
        // What a process that was killed has written must be on the medium before the other half is written over.
        let half = if medium::sync_data(&file).is_ok() { Half::Sound } else { Half::Unflushed };
        let without = Self::with(directory, stream, finished);
        let mut journal = Journal { file: Some(file), generation, offset, half, ..without };
        journal.rewrite()?;
        if let Err(error) = journal.flush() {
            warn!("journal not flushed error={error}");
        }
        Ok(journal)
    }

    /// Begins a journal; a former one is replaced.
    ///
    /// # Errors
    /// The medium's.
    pub fn create(directory: &Path, stream: StreamId, finished: Finished) -> io::Result<Journal> {
        let begun = directory.join("journal.new");
        let file = own::begin(&begun)?;
        let created = || {
            file.write_all_at(&vec![0; 2 * HALF], 0)?;
            let mut journal = Journal { file: Some(file), ..Self::with(directory, stream, finished) };
            journal.switch()?;
            medium::sync_all(journal.file()?)?;
            fs::rename(&begun, directory.join("journal"))?;
            sync_directory(directory)?;
            Ok(journal)
        };
        created().inspect_err(|_| {
            // What it takes is for others where the disk is full.
            let _ = fs::remove_file(&begun);
        })
    }

    /// Opens the file that could not be written to before, and writes everything.
    fn reopen(&mut self) -> io::Result<()> {
        let recovered = Self::read(&self.directory)?.filter(|recovered| recovered.stream == self.stream);
        let (finished, unflushed) = (self.finished.clone(), self.unflushed);
        let reopened = match recovered {
            Some(recovered) => Self::resume(&self.directory, Recovered { finished, ..recovered }),
            None => Self::create(&self.directory, self.stream, finished),
        };
        *self = reopened?;
        if self.half != Half::Sound {
            self.unflushed = unflushed;
        }
        Ok(())
    }

    /// Whether the file that is written to is there, by its name, its size, and what was written last.
    ///
    /// # Errors
    /// The system's, where it does not tell.
    pub fn is_there(&self) -> io::Result<bool> {
        let Some(file) = &self.file else { return Ok(true) };
        if !own::is_at(file, &self.directory.join("journal"))? || file.metadata()?.len() != 2 * HALF as u64 {
            return Ok(false);
        }
        let mut end = [0; ENTRY];
        file.read_exact_at(&mut end, self.offset.saturating_sub(ENTRY) as u64)?;
        Ok(end == self.end)
    }

    /// The journal belongs into another folder from here on.
    pub fn move_to(&mut self, directory: &Path) {
        self.directory = directory.to_owned();
    }

    /// Begins the file anew, from memory.
    ///
    /// # Errors
    /// The medium's. The next call tries again.
    pub fn begin_anew(&mut self) -> io::Result<()> {
        folder::make_way(&self.directory.join("journal"));
        *self = Self::create(&self.directory, self.stream, self.finished.clone())?;
        Ok(())
    }

    /// Whether there is no journal in the folder. The next start takes everything before the oldest segment for finished
    /// then.
    pub fn is_missing(&self) -> bool {
        self.file.is_none() && !self.directory.join("journal").exists()
    }

    /// Whether it can be written to.
    #[cfg(test)]
    pub fn has_file(&self) -> bool {
        self.file.is_some()
    }

    fn file(&self) -> io::Result<&File> {
        self.file.as_ref().ok_or_else(|| io::Error::other("the journal is not open"))
    }

    /// What is finished, the entries not yet written included.
    pub fn finished(&self) -> &Finished {
        &self.finished
    }

    /// Notes that these messages are finished, at `now`. Reaches the file with the next [`Journal::write`].
    pub fn finish(&mut self, range: &RangeInclusive<Seq>, now: Instant) {
        self.finished.insert(range);
        self.unflushed.add((range.end().0 + 1).saturating_sub(range.start().0), now);
        match self.pending.last_mut() {
            // Acknowledgements come in rows: one entry serves a row.
            Some(last) if last.end().next() == *range.start() => *last = *last.start()..=*range.end(),
            _ => self.pending.push(range.clone()),
        }
    }

    /// Hands the noted entries to the system: from here on they survive the process, not yet a power cut.
    ///
    /// # Errors
    /// The medium's; the entries stay noted and are written by the next call.
    pub fn write(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        if self.file.is_none() {
            return self.reopen();
        }
        let mut ranges = self.pending.clone();
        let mut offset = self.offset;
        if let Some(newest) = self.newest.as_ref().filter(|newest| newest.end().next() == *ranges[0].start()) {
            ranges[0] = *newest.start()..=*ranges[0].end();
            offset -= ENTRY;
        }
        let half_end = (half_of(self.generation) + 1) * HALF;
        if offset + ranges.len() * ENTRY > half_end {
            return self.switch();
        }
        let mut entries = Vec::with_capacity(ranges.len() * ENTRY);
        for range in &ranges {
            let start = entries.len();
            put_range(&mut entries, range);
            let sum = entry_sum(self.generation, &entries[start..]);
            entries.extend_from_slice(&sum.to_le_bytes());
        }
        self.file()?.write_all_at(&entries, offset as u64)?;
        self.offset = offset + entries.len();
        self.end = end_of(&entries);
        let is_in_one_sector = (self.offset - ENTRY) / SECTOR == (self.offset - 1) / SECTOR;
        self.newest = ranges.pop().filter(|_| is_in_one_sector);
        self.pending.clear();
        Ok(())
    }

    /// Writes the noted entries and waits until they are on the medium.
    ///
    /// # Errors
    /// The medium's. The next call writes again what the system may have forgotten.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.half != Half::Sound {
            return self.switch();
        }
        self.write()?;
        if self.file.is_none() {
            // Nothing has been noted.
            return Ok(());
        }
        self.newest = None;
        self.flush().inspect_err(|_| self.half = Half::Forgetful)
    }

    /// What is noted and not known to be on the medium.
    pub fn unflushed(&self) -> &Unflushed {
        &self.unflushed
    }

    /// Begins the other half with a snapshot of everything, noted entries included, and makes it durable, for the
    /// switch after this one overwrites the half that is in force now. Where this half is not in force on the medium, it
    /// begins anew.
    ///
    /// # Errors
    /// The medium's. When the flush has failed the snapshot is written all the same, and entries may follow.
    fn switch(&mut self) -> io::Result<()> {
        self.rewrite()?;
        self.flush()
    }

    /// As [`Journal::switch`], without a flush.
    fn rewrite(&mut self) -> io::Result<()> {
        let generation = self.generation + if self.half == Half::Unflushed { 2 } else { 1 };
        let snapshot = encode_snapshot(self.stream, generation, &self.finished);
        let start = half_of(generation) * HALF;
        self.file()?.write_all_at(&snapshot, start as u64)?;
        self.generation = generation;
        self.offset = start + snapshot.len();
        self.end = end_of(&snapshot);
        self.newest = None;
        self.pending.clear();
        self.half = Half::Unflushed;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        medium::sync_data(self.file()?)?;
        self.half = Half::Sound;
        self.unflushed = Unflushed::default();
        Ok(())
    }
}

/// The last bytes of a snapshot or of entries, which are longer.
fn end_of(written: &[u8]) -> [u8; ENTRY] {
    *written.last_chunk().expect("a snapshot is longer than an entry")
}

fn half_of(generation: u64) -> usize {
    usize::from(generation.is_multiple_of(2))
}

fn entry_sum(generation: u64, entry: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&generation.to_le_bytes()), entry)
}

fn encode_snapshot(stream: StreamId, generation: u64, finished: &Finished) -> Vec<u8> {
    let ranges: Vec<_> = finished.ranges().take(MAX_RANGES).collect();
    let mut bytes = Vec::with_capacity(SNAPSHOT + ranges.len() * RANGE + 4);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&generation.to_le_bytes());
    bytes.extend_from_slice(&finished.low().0.to_le_bytes());
    bytes.extend_from_slice(&stream.0.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(ranges.len()).expect("at most MAX_RANGES").to_le_bytes());
    for range in &ranges {
        put_range(&mut bytes, range);
    }
    let sum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

fn put_range(out: &mut Vec<u8>, range: &RangeInclusive<Seq>) {
    out.extend_from_slice(&range.start().0.to_le_bytes());
    out.extend_from_slice(&range.end().0.to_le_bytes());
}

/// A finished range; `None`: no stream has come so far, and believed it would leave no numbers for new messages.
fn get_range(bytes: &[u8]) -> Option<RangeInclusive<Seq>> {
    let (first, last) = (Seq(u64_at(bytes, 0)), Seq(u64_at(bytes, 8)));
    (last < Seq::LAST).then_some(first..=last)
}

/// What the bytes of a journal file say. Never panics, whatever they are.
fn recover(bytes: &[u8]) -> Option<Recovered> {
    let halves = [0, 1].into_iter().filter_map(|half| {
        let start = (half * HALF).min(bytes.len());
        let end = (start + HALF).min(bytes.len());
        replay(&bytes[start..end], half)
    });
    halves.max_by_key(|recovered| recovered.generation)
}

fn replay(bytes: &[u8], half: usize) -> Option<Recovered> {
    let head = bytes.get(..SNAPSHOT)?;
    if head[..8] != MAGIC {
        return None;
    }
    let generation = u64_at(head, 8);
    let length = SNAPSHOT + (u32_at(head, 28) as usize).checked_mul(RANGE)?;
    let sum = u32_at(bytes.get(length..length.checked_add(4)?)?, 0);
    if crc32c::crc32c(&bytes[..length]) != sum || half_of(generation) != half {
        return None;
    }
    let low = Some(Seq(u64_at(head, 16))).filter(|low| *low <= Seq::LAST)?;
    let mut finished = Finished::below(low.max(Seq::FIRST));
    for range in bytes[SNAPSHOT..length].chunks_exact(RANGE) {
        finished.insert(&get_range(range)?);
    }
    let mut offset = length + 4;
    for entry in bytes[offset..].chunks_exact(ENTRY) {
        let sound = entry_sum(generation, &entry[..RANGE]) == u32_at(entry, RANGE);
        let Some(range) = get_range(entry).filter(|_| sound) else { break };
        finished.insert(&range);
        offset += ENTRY;
    }
    Some(Recovered { stream: StreamId(u32_at(head, 24)), finished, generation, offset: half * HALF + offset })
}

#[cfg(test)]
#[path = "journal_tests.rs"]
pub(super) mod tests;
