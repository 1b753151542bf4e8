//! The spool as anybody may look at it, beside a running agent too: takes no lock, and writes and creates nothing.
//!
//! The agent writes meanwhile. What is read is a moment's picture: segments, then the journal, so that what has left the
//! folder since is known to be finished. Where a segment is gone, or holds something else by the time that it is read,
//! the picture is taken again and reading goes on from the same message.

mod holder;

use super::account::Account;
use super::copies::Copies;
use super::folder;
use super::impostors;
use super::newest::Newest;
use super::reader::{Flaw, Limit, Reader, Step};
use super::record::RouteId;
use super::segment::{self, TailState};
use super::{OpenError, sector};
use crate::message::{Message, Route, Seq, StreamId};
use crate::spool::finished::Finished;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use holder::Holder;

/// Pictures taken at most until nothing is half written, and how long apart: the agent writes a batch at a time.
const TRIES: u32 = 5;
/// Pictures taken at most for one message that cannot be read.
const LOOKS: u32 = 2;
const APART: Duration = Duration::from_millis(20);

/// What is damaged, or lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file; `None`: there is none.
    pub file: Option<PathBuf>,
    /// From which byte of the file on, where that is known.
    pub at: Option<u64>,
    /// How many bytes of content hold nothing that can be read.
    pub bytes: u64,
    /// The messages that are lost by it.
    pub lost: Option<RangeInclusive<Seq>>,
    /// In words.
    pub what: &'static str,
}

impl Damage {
    /// How many messages are lost by it.
    #[must_use]
    pub fn lost_messages(&self) -> u64 {
        self.lost.as_ref().map_or(0, |lost| lost.end().0 - lost.start().0 + 1)
    }
}

/// What looking on gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Sight {
    /// The next message that waits.
    Message(Message),
    Damage(Damage),
    End,
}

/// What a folder tells without a look into its messages.
#[derive(Debug, Clone)]
pub struct Facts {
    /// `None`: nothing names one, as in an empty folder.
    pub stream: Option<StreamId>,
    /// The format version of segments that this program reads.
    pub format: u8,
    pub segments: usize,
    /// Bytes of the segments' files.
    pub bytes: u64,
    /// Messages that are not finished.
    pub waiting: u64,
    /// The lowest number that is not finished.
    pub low: Seq,
    /// How many numbers above that are finished.
    pub finished_above: u64,
    /// The number of the next message.
    pub next: Seq,
    /// Copies of damaged segments, and their bytes.
    pub copies: (usize, u64),
    /// Whether a good journal says what is finished.
    pub has_journal: bool,
    /// Who holds the folder.
    pub holder: Holder,
}

/// A folder that is looked at.
#[derive(Debug)]
pub struct View {
    directory: PathBuf,
    configured: HashMap<RouteId, Arc<Route>>,
    picture: Picture,
    reader: Reader,
    /// What is known and not told yet, the next one last.
    untold: Vec<Sight>,
    /// The message that pictures were taken again for, and how often.
    tried: (Seq, u32),
}

/// The folder at one moment.
#[derive(Debug)]
struct Picture {
    segments: BTreeMap<Seq, u64>,
    stream: Option<StreamId>,
    finished: Finished,
    has_journal: bool,
    limit: Limit,
    /// Routes that the newest segment explains.
    routes: HashMap<RouteId, Arc<Route>>,
    /// How the newest segment ends.
    tail: Option<TailState>,
    holder: Holder,
    damage: Vec<Damage>,
}

impl View {
    /// Looks at a spool's folder. `routes` are the configured ones: messages whose route was damaged are read with these.
    ///
    /// # Errors
    /// [`OpenError::Io`]: the folder is not there, or may not be read.
    pub fn of(directory: &Path, routes: &[Arc<Route>]) -> Result<View, OpenError> {
        let picture = Picture::settled(directory).map_err(OpenError::io(directory, "look into the folder"))?;
        let configured = routes.iter().map(|route| (RouteId::of(route), Arc::clone(route))).collect();
        let reader = reader(directory, &picture, &configured, picture.finished.low());
        let untold = picture.damage.iter().rev().cloned().map(Sight::Damage).collect();
        Ok(View { directory: directory.to_owned(), configured, picture, reader, untold, tried: (Seq::FIRST, 0) })
    }

    /// What the folder tells without a look into its messages.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let Picture { segments, stream, finished, has_journal, limit, holder, .. } = &self.picture;
        let copies = Copies::of(&self.directory);
        Facts {
            stream: *stream,
            format: segment::FORMAT,
            segments: segments.len(),
            bytes: segments.values().sum(),
            waiting: finished.unfinished_in(Seq::FIRST, limit.next),
            low: finished.low().min(limit.next),
            finished_above: finished.count_above(),
            next: limit.next,
            copies: (copies.count(), copies.bytes()),
            has_journal: *has_journal,
            holder: *holder,
        }
    }

    /// The next message that waits, from the oldest on, or damage.
    ///
    /// # Errors
    /// The medium's.
    pub fn look_on(&mut self) -> Result<Sight, OpenError> {
        loop {
            if let Some(sight) = self.untold.pop() {
                return Ok(sight);
            }
            let Picture { segments, finished, limit, .. } = &self.picture;
            let from = finished.next_unfinished(self.reader.next());
            let step = self.reader.step(segments, finished, *limit, |_| None);
            if self.takes_another_picture(&step, from) {
                continue;
            }
            let read = self.picture.segments.range(..=from).next_back().map_or(Seq::FIRST, |(first, _)| *first);
            let step = step.map_err(naming(segment::path(&self.directory, read)));
            let step = step.map_err(OpenError::io(&self.directory, "read a segment"))?;
            let met = self.reader.met();
            let sight = match step {
                Step::Message(message) => Sight::Message(message),
                Step::End => Sight::End,
                Step::Lost(lost) => return Ok(Sight::Damage(self.damage(met, Some(lost)))),
            };
            if met.is_none() {
                return Ok(sight);
            }
            self.untold.push(sight);
            return Ok(Sight::Damage(self.damage(met, None)));
        }
    }

    /// Begins again where the agent may have changed what was read under us; whether it does. What is there for good
    /// reads the same again.
    fn takes_another_picture(&mut self, step: &io::Result<Step>, from: Seq) -> bool {
        let may_be_over = match step {
            Ok(Step::Message(_) | Step::End) => false,
            Ok(Step::Lost(_)) => self.picture.holder.may_write(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if self.tried.0 != from {
            self.tried = (from, 0);
        }
        if !may_be_over || self.tried.1 == LOOKS {
            return false;
        }
        self.tried.1 += 1;
        let Ok(picture) = Picture::settled(&self.directory) else { return false };
        self.reader = reader(&self.directory, &picture, &self.configured, from);
        self.picture = picture;
        true
    }

    fn damage(&self, met: Option<Flaw>, lost: Option<RangeInclusive<Seq>>) -> Damage {
        let (segment, at, bytes, what) = match met.unwrap_or(Flaw::NoSegment) {
            Flaw::Bad { segment, at, bytes } => (Some(segment), Some(at), bytes, "cannot be read"),
            Flaw::NoRoute { segment, at } => (Some(segment), Some(at), 0, "the topic of a message cannot be read"),
            Flaw::Gap { segment } => (Some(segment), None, 0, "numbers are missing"),
            Flaw::Foreign { segment } => (Some(segment), None, 0, "is of a format that this version cannot read"),
            Flaw::NoSegment => (None, None, 0, "no segment has these messages"),
        };
        Damage { file: segment.map(|first| segment::path(&self.directory, first)), at, bytes, lost, what }
    }
}

fn reader(directory: &Path, picture: &Picture, configured: &HashMap<RouteId, Arc<Route>>, from: Seq) -> Reader {
    let mut known = configured.clone();
    known.extend(picture.routes.iter().map(|(id, route)| (*id, Arc::clone(route))));
    Reader::new(directory, picture.stream.unwrap_or(StreamId(0)), from, known)
}

impl Picture {
    /// The folder at a moment at which nothing was half written, as far as that can be had.
    fn settled(directory: &Path) -> io::Result<Picture> {
        let mut tries = 0;
        loop {
            let picture = Self::taken(directory);
            tries += 1;
            let is_moving = match &picture {
                Ok(picture) => picture.holder.may_write() && picture.may_be_half(directory),
                Err(error) => error.kind() == io::ErrorKind::NotFound && directory.is_dir(),
            };
            if !is_moving || tries == TRIES {
                return picture;
            }
            std::thread::sleep(APART);
        }
    }

    /// Whether the agent was writing, or has begun another segment meanwhile.
    fn may_be_half(&self, directory: &Path) -> bool {
        let newest = folder::list(directory).map(|listing| listing.segments.last_key_value().map(|(first, _)| *first));
        self.tail == Some(TailState::Broken)
            || newest.is_ok_and(|newest| newest != self.segments.last_key_value().map(|(first, _)| *first))
    }

    fn taken(directory: &Path) -> io::Result<Picture> {
        let holder = Holder::of(directory);
        let mut listing = folder::list(directory)?;
        let impostors = impostors::take_out(directory, &mut listing.segments);
        let Account { stream, recovered, accepted, bereft } =
            Account::by(directory, &listing.segments, listing.believed).map_err(naming(directory.join("journal")))?;
        let segments = listing.segments;
        let newest = segments
            .last_key_value()
            .map(|(first, _)| {
                Newest::read(directory, *first, accepted).map_err(naming(segment::path(directory, *first)))
            })
            .transpose()?;
        let limit = newest.as_ref().map_or(
            Limit { next: accepted, growing: accepted, offset: 0, room_for_copies: None },
            |newest| Limit {
                next: newest.next,
                growing: newest.first,
                offset: newest.tail.offset as u64,
                room_for_copies: None,
            },
        );
        let oldest = segments.keys().next().copied().unwrap_or(limit.next);
        let has_journal = recovered.is_some();
        let finished = recovered.map_or(Finished::below(oldest), |recovered| recovered.finished);
        let odd = listing.misnamed.into_iter().chain(impostors.iter().map(|first| segment::path(directory, *first)));
        let odd = odd.map(|path| Damage::of(path, "has the name of a segment, and is none that the spool can use"));
        let mut damage: Vec<Damage> = odd.collect();
        if !has_journal && oldest < limit.next {
            let what = "is missing or damaged: every message in the spool counts as waiting";
            damage.push(Damage::of(directory.join("journal"), what));
        }
        if bereft.is_some() {
            let what = "its segments are gone: what waited in them is lost";
            damage.push(Damage::of(directory.join("journal"), what));
        }
        damage.extend(newest.as_ref().and_then(|newest| broken_end(directory, newest)));
        Ok(Picture {
            tail: newest.as_ref().map(|newest| newest.tail.state),
            routes: newest.map_or_else(HashMap::new, |newest| newest.routes()),
            segments,
            stream,
            finished,
            has_journal,
            limit,
            holder,
            damage,
        })
    }
}

/// An error with the file that it is about.
fn naming(path: PathBuf) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

impl Damage {
    fn of(file: PathBuf, what: &'static str) -> Damage {
        Damage { file: Some(file), at: None, bytes: 0, lost: None, what }
    }
}

/// What is wrong behind the last good record of the newest segment.
fn broken_end(directory: &Path, newest: &Newest) -> Option<Damage> {
    if newest.tail.state != TailState::Broken || newest.content.is_empty() {
        return None;
    }
    let rest = newest.content.get(newest.tail.offset..).unwrap_or_default();
    let bytes = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
    let what = "ends in a write that did not finish, which no message was accepted by, or in damage";
    let at = Some(sector::in_file(newest.tail.offset as u64));
    Some(Damage { at, bytes, ..Damage::of(segment::path(directory, newest.first), what) })
}

#[cfg(test)]
mod tests;
