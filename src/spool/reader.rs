//! Reads the spool's messages in order, across segments, damage and what is finished already.
//!
//! Holds one piece of one segment in memory, however long the backlog is.

use super::copies::Copies;
use super::finished::Finished;
use super::medium;
use super::record::{Content, Decoded, RouteId, Seed, StoredMessage, decode};
use super::sector::{self, SECTOR};
use super::segment::{self, HEADER, Header, Search};
use crate::message::{Message, Route, Sample, Seq, Stamp, StreamId};
use crate::own;
use log::warn;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of a file read at once: large enough for a drain, small beside the memory of a small gateway. Whole sectors.
const PIECE: usize = 64 * 1024;
/// Routes of the segments read so far that are remembered at most. Each segment explains its own again; others serve only
/// those whose route is damaged.
const REMEMBERED_ROUTES: usize = 4096;

/// How far may be read.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// The first seq that may not be read yet.
    pub next: Seq,
    /// The first seq of the segment being written, which may not have a file yet: the segments before it are whole.
    pub growing: Seq,
    /// Where in the newest segment's content the readable bytes end.
    pub offset: u64,
    /// Bytes that copies of damaged segments may have; `None`: none is made.
    pub room_for_copies: Option<u64>,
}

/// What reading on gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Message(Message),
    /// These messages cannot be read; they are lost to damage.
    Lost(RangeInclusive<Seq>),
    /// Everything that may be read was read.
    End,
}

/// A place in the spool, moving forwards.
#[derive(Debug)]
pub struct Reader {
    directory: PathBuf,
    stream: StreamId,
    /// The next seq to be read.
    next: Seq,
    /// What was known at the beginning.
    known: HashMap<RouteId, Arc<Route>>,
    /// What segments explained.
    explained: HashMap<RouteId, Arc<Route>>,
    open: Option<OpenSegment>,
    copies: Copies,
    /// What the last steps met, until somebody asks.
    met: Option<Flaw>,
}

/// What is wrong with a place in the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// `bytes` of content hold no good records, from this byte of the file on.
    Bad { segment: Seq, at: u64, bytes: u64 },
    /// The message that ends at this byte of the file names a route that nothing explains.
    NoRoute { segment: Seq, at: u64 },
    /// The records go on without these numbers.
    Gap { segment: Seq },
    /// It is of a format that this version does not read.
    Foreign { segment: Seq },
    /// No segment has these numbers.
    NoSegment,
}

#[derive(Debug)]
struct OpenSegment {
    first: Seq,
    /// The seq behind the last one that this segment holds; `None`: it is the newest and still grows.
    end: Option<Seq>,
    stream: StreamId,
    seed: Seed,
    /// Whether this program can read it.
    is_foreign: bool,
    file: File,
    /// The segment's content from `start` on.
    buffer: Vec<u8>,
    start: u64,
    /// Where in the buffer the next record begins.
    at: usize,
    search: Search,
    damaged_copy_made: bool,
}

impl Reader {
    /// Begins at `next`. The routes are what damaged segments are read with.
    pub fn new(directory: &Path, stream: StreamId, next: Seq, known: HashMap<RouteId, Arc<Route>>) -> Self {
        let (directory, copies) = (directory.to_owned(), Copies::of(directory));
        Self { directory, stream, next, known, explained: HashMap::new(), open: None, copies, met: None }
    }

    /// The next seq to be read.
    pub fn next(&self) -> Seq {
        self.next
    }

    /// What the steps since the last call met. Only the last one is kept of what stands apart.
    pub fn met(&mut self) -> Option<Flaw> {
        self.met.take()
    }

    /// Opens the segment that is being read again: its name leads to another file by now.
    pub fn reopen(&mut self) {
        self.open = None;
    }

    /// The segments are in another folder from here on.
    pub fn move_to(&mut self, directory: &Path) {
        self.directory = directory.to_owned();
        self.copies = Copies::of(directory);
        self.reopen();
    }

    /// The copies of damaged segments.
    pub fn copies(&self) -> &Copies {
        &self.copies
    }

    /// The copies of damaged segments, to make room.
    pub fn copies_mut(&mut self) -> &mut Copies {
        &mut self.copies
    }

    /// Reads on, leaving out what is finished. `segments` are the first seqs of all segments; `held` gives the open file of one,
    /// where there is one, for its name may have been taken away.
    ///
    /// # Errors
    /// The medium's. The place is kept: the next call tries again.
    pub fn step<'a>(
        &mut self,
        segments: &BTreeMap<Seq, u64>,
        finished: &Finished,
        limit: Limit,
        held: impl Fn(Seq) -> Option<&'a File>,
    ) -> io::Result<Step> {
        loop {
            self.next = finished.next_unfinished(self.next);
            if self.next >= limit.next {
                return Ok(Step::End);
            }
            if let Some(lost) = self.enter(segments, limit, &held)? {
                self.met = Some(Flaw::NoSegment);
                return Ok(self.lose(lost, finished));
            }
            let Some(open) = self.open.as_mut() else { return Ok(Step::End) };
            let end = open.end.unwrap_or(limit.next);
            let bound = match open.end {
                Some(_) if open.is_foreign => 0,
                Some(_) => sector::capacity(segment::LARGEST),
                None => limit.offset,
            };
            match open.read(bound)? {
                Some(Record::Route(id, route)) => {
                    self.explained.insert(id, route);
                }
                // What stands here from `end` on was never accepted: it was written by a commit that did not finish, and
                // these numbers are, or will be, those of other messages.
                Some(Record::Message(found)) if found.seq < self.next || found.seq >= end => open.at = found.end,
                Some(Record::Message(found)) if found.seq > self.next => {
                    open.keep_damaged(&mut self.copies, limit.room_for_copies);
                    self.met.get_or_insert(Flaw::Gap { segment: open.first });
                    return Ok(self.lose(Seq(found.seq.0 - 1), finished));
                }
                Some(Record::Message(found)) => {
                    open.at = found.end;
                    self.next = found.seq.next();
                    let route = self.explained.get(&found.route).or_else(|| self.known.get(&found.route));
                    let Some(route) = route.cloned() else {
                        open.keep_damaged(&mut self.copies, limit.room_for_copies);
                        let at = sector::in_file(open.place());
                        self.met.get_or_insert(Flaw::NoRoute { segment: open.first, at });
                        return Ok(Step::Lost(found.seq..=found.seq));
                    };
                    let sample = Sample { route, taken: found.taken, data: open.buffer[found.data].to_vec() };
                    return Ok(Step::Message(Message { stream: open.stream, seq: found.seq, sample }));
                }
                None => {
                    open.keep_damaged(&mut self.copies, limit.room_for_copies);
                    let from = open.place();
                    let is_found = open.resync(bound, self.next)?;
                    let flaw = open.flaw(from);
                    self.met = Some(self.met.map_or(flaw, |met| met.and(flaw)));
                    if !is_found {
                        return Ok(self.lose(Seq(end.0 - 1), finished));
                    }
                }
            }
        }
    }

    /// Makes the segment that holds `self.next` the open one; the last one of those from there on that no segment
    /// holds, if any.
    fn enter<'a>(
        &mut self,
        segments: &BTreeMap<Seq, u64>,
        limit: Limit,
        held: impl Fn(Seq) -> Option<&'a File>,
    ) -> io::Result<Option<Seq>> {
        let newer = segments.range(self.next.next()..).next().map(|(first, _)| *first);
        let holds = segments.range(..=self.next).next_back();
        let newer = newer.or(Some(limit.growing).filter(|growing| self.next < *growing));
        let Some((&first, _)) = holds else {
            self.open = None;
            return Ok(Some(Seq(newer.unwrap_or(limit.next).0 - 1)));
        };
        if let Some(open) = self.open.as_mut().filter(|open| open.first == first) {
            open.end = newer;
            return Ok(None);
        }
        let path = segment::path(&self.directory, first);
        let file = match held(first) {
            Some(held) if own::is_displaced(held, &path)? => held.try_clone()?,
            Some(_) | None => own::read(&path)?,
        };
        let file_length = file.metadata()?.len().min(segment::LARGEST);
        let (mut beginning, mut head) = (vec![0; SECTOR], Vec::new());
        let got = medium::read_up_to(&file, &mut beginning, 0)?;
        let foreign = segment::foreign_format(&beginning[..got]);
        if let Some(format) = foreign {
            warn!("segment of a format that this version cannot read first_seq={first} format={format}");
        }
        sector::unseal(&mut head, &beginning[..got], 0, first);
        let stream = Header::decode(&head).map_or(self.stream, |header| header.stream);
        self.open = Some(OpenSegment {
            first,
            end: newer,
            stream,
            seed: Seed::of(first),
            is_foreign: foreign.is_some(),
            file,
            buffer: Vec::new(),
            start: HEADER as u64,
            at: 0,
            search: Search::new(first, sector::capacity(file_length)),
            damaged_copy_made: false,
        });
        if self.explained.len() > REMEMBERED_ROUTES {
            self.explained.clear();
        }
        Ok(None)
    }

    /// The messages up to `last` cannot be read. Those that are finished are not lost.
    fn lose(&mut self, last: Seq, finished: &Finished) -> Step {
        let first = self.next;
        let last = finished.unfinished_row_end(first, last);
        self.next = last.next();
        Step::Lost(first..=last)
    }
}

impl Flaw {
    /// This and what was met after it.
    fn and(self, next: Flaw) -> Flaw {
        match (self, next) {
            (Flaw::Bad { segment, at, bytes }, Flaw::Bad { segment: same, bytes: more, .. }) if segment == same => {
                Flaw::Bad { segment, at, bytes: bytes + more }
            }
            _ => next,
        }
    }
}

/// A good record at the reading place.
enum Record {
    Route(RouteId, Arc<Route>),
    Message(Found),
}

/// A message whose data is in the buffer.
struct Found {
    seq: Seq,
    taken: Stamp,
    route: RouteId,
    data: Range<usize>,
    /// Where in the buffer the next record begins.
    end: usize,
}

impl OpenSegment {
    /// Looks at the record at the reading place, and steps over it when it is a route. `None`: there is no good one.
    fn read(&mut self, bound: u64) -> io::Result<Option<Record>> {
        let mut wanted = super::record::FRAME;
        loop {
            if self.buffer.len() - self.at < wanted {
                self.fill(wanted, bound)?;
            }
            let frame = match decode(&self.buffer[self.at..], self.seed) {
                Decoded::Record(frame) => frame,
                Decoded::Incomplete(length) if length > wanted && self.has(length, bound)? => {
                    wanted = length;
                    continue;
                }
                Decoded::Incomplete(_) | Decoded::End | Decoded::Damaged => return Ok(None),
            };
            let end = self.at + frame.length;
            return Ok(Some(match frame.content {
                Content::Padding => {
                    self.at = end;
                    wanted = super::record::FRAME;
                    continue;
                }
                Content::Route(id, route) => {
                    self.at = end;
                    Record::Route(id, route)
                }
                Content::Message(StoredMessage { seq, .. })
                    if !segment::is_possible(seq, self.first, self.start + self.at as u64) =>
                {
                    return Ok(None);
                }
                Content::Message(StoredMessage { seq, taken, route, data }) => {
                    Record::Message(Found { seq, taken, route, data: end - data.len()..end, end })
                }
            }));
        }
    }

    /// Whether the segment has `length` bytes from the reading place on, so that a damaged length asks for nothing
    /// that is not there.
    fn has(&self, length: usize, bound: u64) -> io::Result<bool> {
        let end = bound.min(sector::capacity(self.file.metadata()?.len()));
        Ok((self.start + self.at as u64).saturating_add(length as u64) <= end)
    }

    /// Reads on until `wanted` bytes are at the reading place, or as many as there are up to `bound`.
    fn fill(&mut self, wanted: usize, bound: u64) -> io::Result<()> {
        if self.buffer.len() - self.at >= wanted || self.end() >= bound {
            return Ok(());
        }
        self.buffer.drain(..self.at);
        self.start += self.at as u64;
        self.at = 0;
        let mut piece = Vec::new();
        while self.buffer.len() < wanted && self.end() < bound {
            // The sector in which the buffer ends is read again: it may hold more by now.
            let number = sector::number_of(self.end());
            let known = self.end() - sector::content_offset(number);
            let sectors = sector::number_of(bound.saturating_add(sector::DATA as u64 - 1)) - number;
            let missing = (wanted - self.buffer.len()) / sector::DATA + 2;
            let room = usize::try_from(sectors).unwrap_or(usize::MAX).min(missing.max(PIECE / SECTOR));
            piece.resize(room * SECTOR, 0);
            let got = medium::read_up_to(&self.file, &mut piece, sector::position(number))?;
            let before = self.buffer.len();
            sector::unseal(&mut self.buffer, &piece[..got], number, self.first);
            let known = usize::try_from(known).expect("less than a sector").min(self.buffer.len() - before);
            self.buffer.drain(before..before + known);
            if self.buffer.len() == before {
                break;
            }
        }
        let readable = usize::try_from(bound.saturating_sub(self.start)).unwrap_or(usize::MAX);
        self.buffer.truncate(readable);
        Ok(())
    }

    /// The reading place, in the segment's content.
    fn place(&self) -> u64 {
        self.start + self.at as u64
    }

    /// What is wrong with the content from here to the reading place.
    fn flaw(&self, from: u64) -> Flaw {
        match self.is_foreign {
            true => Flaw::Foreign { segment: self.first },
            false => Flaw::Bad { segment: self.first, at: sector::in_file(from), bytes: self.place() - from },
        }
    }

    /// Where in the segment's content the buffer ends.
    fn end(&self) -> u64 {
        self.start + self.buffer.len() as u64
    }

    /// Moves to the next good record behind the reading place; whether there is one.
    fn resync(&mut self, bound: u64, next: Seq) -> io::Result<bool> {
        let end = sector::capacity(self.file.metadata()?.len()).min(bound);
        let size = usize::try_from(end.saturating_sub(self.start)).unwrap_or(0);
        self.fill(size.saturating_sub(self.at), bound)?;
        let from = (self.at + 1).min(self.buffer.len());
        let found = self.search.resync(&self.buffer, from, self.start, next);
        self.at = found.unwrap_or(self.buffer.len());
        Ok(found.is_some())
    }

    /// Keeps a copy of a damaged segment, once, for whoever wants to look into it.
    fn keep_damaged(&mut self, copies: &mut Copies, room: Option<u64>) {
        if !std::mem::replace(&mut self.damaged_copy_made, true)
            && let Some(room) = room
        {
            copies.keep(&self.file, self.first, room);
        }
    }
}
