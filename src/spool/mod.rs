//! The spool: every message from its acceptance until the broker has acknowledged it, in a folder of segments.
//!
//! What it guarantees:
//! - a message that [`Spool::commit`] reported as accepted is on the medium, and [`Spool::next`] gives out no other;
//! - it stays there until [`Spool::finish`] names it, or the rule for a full spool drops it, which is reported;
//! - numbers have no gaps and no repeats within a stream;
//! - memory does not grow with the backlog;
//! - damage costs what is damaged, and is reported; a damaged spool always opens.
//!
//! It relies on one owner (the lock file keeps a second agent out) and on a medium that writes sectors of 512 bytes
//! whole or not at all. `docs/spool-format.md` describes the files.

mod backlog;
mod believed;
mod boots;
mod claim;
mod copies;
#[cfg(test)]
mod damage_life;
#[cfg(test)]
mod damage_tests;
mod exchanges;
#[cfg(test)]
mod exchanges_life;
mod finished;
mod folder;
#[cfg(test)]
mod forged;
mod full_disk;
mod impostors;
mod journal;
pub(crate) mod medium;
mod missing;
#[cfg(test)]
pub mod power_cut;
mod reader;
mod record;
mod rejected;
mod room;
#[cfg(test)]
mod room_tests;
mod sector;
mod segment;
mod segments;
#[cfg(test)]
mod tests;
mod unflushed;
mod witness;
mod writer;

use crate::config::{self, Sync, WhenFull};
use crate::message::{Message, Qos, Route, Sample, Seq, StreamId};
use crate::own;
use believed::Believed;
use claim::Claim;
use exchanges::Party;
use finished::Finished;
use full_disk::FullDisk;
use journal::Journal;
use log::{info, warn};
use reader::{Limit, Reader, Step};
use room::Full;
use segments::Segments;
use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use witness::Witness;
use writer::Writer;

pub use backlog::Backlog;
pub use boots::Boots;
pub use claim::holder;
pub use exchanges::{Exchange, Exchanges, Stage};
pub use missing::{Look, Missing};
pub use rejected::{Requeued, SetAside, files as set_aside_files, look as look_into};

/// The largest segment, in bytes: what a drop at `max_size` costs at most.
const SEGMENT: u64 = 1024 * 1024;
/// What the spool keeps beside its segments, as files.
const NAMES: [&str; 7] = ["journal", "journal.new", "boots", "boots.new", "exchanges", "requeue", "requeue.new"];
/// A small spool is cut into at least this many segments, so that dropping one drops little.
const SEGMENTS: u64 = 16;

/// Why a spool could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("spool {}: another agent uses this folder; one agent per spool is allowed", .0.display())]
    Locked(PathBuf),
    #[error("spool {}: cannot {action}: {source}", directory.display())]
    Io { directory: PathBuf, action: &'static str, source: io::Error },
}

impl OpenError {
    fn io(directory: &Path, action: &'static str) -> impl FnOnce(io::Error) -> OpenError {
        let directory = directory.to_owned();
        move |source| OpenError::Io { directory, action, source }
    }
}

/// What became of samples that were handed to [`Spool::append`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// How many of the samples were taken, from the first on. The others were not, because of the error.
    pub taken: usize,
    /// How many of those taken were dropped at once, because the spool is full and drops the newest.
    pub dropped_newest: u64,
    /// Messages that were dropped to make room. They may have been given out by [`Spool::next`].
    pub dropped_oldest: Vec<RangeInclusive<Seq>>,
    /// What kept the rest from being taken. Trying again later is right.
    pub error: Option<String>,
}

/// An open spool.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    /// Held for as long as the spool is open. `None`: there is no folder yet, for the disk does not take one.
    claim: Option<Claim>,
    /// Whether another agent has taken the folder.
    is_abandoned: bool,
    /// When the folder changed last, as it was looked through.
    looked_at: Option<SystemTime>,
    stream: StreamId,
    segments: Segments,
    writer: Writer,
    /// The first accepted message that [`Spool::commit`] has not reported yet.
    unreported: Seq,
    journal: Journal,
    reader: Reader,
    segment_size: u64,
    max_size: u64,
    when_full: WhenFull,
    full_disk: FullDisk,
    sync: Sync,
}

impl Spool {
    /// Opens the spool in the configured folder, and creates it when there is none.
    ///
    /// `routes` are the configured ones: messages whose route was damaged on disk are read with these.
    ///
    /// A disk that takes nothing is no reason not to open what it holds: what could not be written is written later.
    ///
    /// # Errors
    /// [`OpenError`]. Damage is none: it is reported in the log, and costs what is damaged.
    pub fn open(config: &config::Spool, routes: &[Arc<Route>]) -> Result<Spool, OpenError> {
        let directory = config.directory.clone();
        let claim = Claim::of(&directory)?;
        for name in NAMES {
            folder::make_way(&directory.join(name));
        }
        own::narrow_all(&directory, |name| {
            Path::new(name).extension().is_some_and(|kind| kind == "seg" || kind == "damaged")
        });
        own::narrow_all(&directory.join("rejected"), |_| true);
        let (mut segments, believed) = match &claim {
            Some(_) => folder::segments(&directory).map_err(OpenError::io(&directory, "list the folder"))?,
            None => (BTreeMap::new(), Believed::default()),
        };
        impostors::remove(&directory, &mut segments);
        // A process that was killed may have left names that the system holds and the medium does not.
        if let Err(error) = segment::sync_directory(&directory) {
            warn!("folder not flushed folder={} error={error}", directory.display());
        }
        let recovered = Journal::read(&directory).map_err(OpenError::io(&directory, "read the journal"))?;
        let recovered = recovered.filter(|recovered| believed.has(recovered.finished.end()));
        let segment_size = segment_size(config.max_size);

        let recovered = recovered.filter(|recovered| !is_bereft(recovered, &segments));
        let stream = newest_stream(&directory, &segments)
            .or(recovered.as_ref().map(|recovered| recovered.stream))
            .unwrap_or_else(StreamId::random);
        let recovered = recovered.filter(|recovered| recovered.stream == stream);
        // What is finished, or under way at QoS 2, was accepted, whatever the segments still tell.
        let finished_end = recovered.as_ref().map_or(Seq::FIRST, |recovered| recovered.finished.end());
        let accepted = finished_end.max(Exchanges::named_end(&directory, stream, believed));

        let mut writer = Writer::open(&directory, stream, accepted, segment_size, &mut segments)
            .map_err(OpenError::io(&directory, "read the newest segment"))?;
        routes.iter().for_each(|route| writer.learn(route));
        let oldest = segments.keys().next().copied().unwrap_or(writer.first());
        if recovered.is_none() {
            if oldest < writer.next() {
                warn!("journal missing or damaged; every message in the spool is published again");
            }
            folder::set_aside_if_there(&directory.join("journal"));
        }
        let journal = Journal::open(&directory, stream, recovered, Finished::below(oldest));

        let reader = Reader::new(&directory, stream, journal.finished().low(), writer.routes());
        let mut spool = Spool {
            directory,
            claim,
            is_abandoned: false,
            looked_at: None,
            stream,
            segments: segments.into(),
            unreported: writer.next(),
            writer,
            journal,
            reader,
            segment_size,
            max_size: config.max_size,
            when_full: config.when_full,
            full_disk: FullDisk::default(),
            sync: config.sync,
        };
        spool.make_copies_fit();
        spool.settle_requeue();
        let Backlog { messages, bytes } = spool.backlog();
        info!(
            "spool opened folder={} stream={stream} next_seq={} backlog={messages} bytes={bytes}",
            spool.directory.display(),
            spool.writer.next()
        );
        Ok(spool)
    }

    /// Goes on by another configuration, from the next segment on. Its folder has to be the same.
    ///
    /// `routes` are the configured ones.
    pub fn change(&mut self, config: &config::Spool, routes: &[Arc<Route>]) {
        routes.iter().for_each(|route| self.writer.learn(route));
        self.segment_size = segment_size(config.max_size);
        self.max_size = config.max_size;
        self.make_copies_fit();
        self.when_full = config.when_full;
        self.sync = config.sync;
    }

    /// Its folder.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The name of this spool's stream.
    pub fn stream(&self) -> StreamId {
        self.stream
    }

    /// What is known of the boots of this spool's messages.
    #[must_use]
    pub fn boots(&self) -> Boots {
        Boots::read(&self.directory)
    }

    /// The exchanges at QoS 2 that are under way; `None` where no message is published at QoS 2. What was accepted at QoS 2
    /// by a former configuration may be anywhere in the backlog: exchanges that are there stay until all of it is finished.
    ///
    /// `sessions` are checksums of what makes the session at each broker, at least one; `boot_id` names the present boot.
    ///
    /// # Errors
    /// The medium's.
    pub fn exchanges(&self, sessions: &[u32], boot_id: u32) -> io::Result<Option<Exchanges>> {
        let at_qos_2 = self.publishes_at_qos_2();
        if !at_qos_2 && !Exchanges::exist(&self.directory) {
            return Ok(None);
        }
        if self.claim.is_none() {
            return Err(io::Error::other("there is no folder for the spool yet"));
        }
        let [session, others @ ..] = sessions else { return Ok(None) };
        let party = Party { stream: self.stream, session: *session, boot_id };
        let exchanges = Exchanges::open(&self.directory, party, others, Witness::of(&self.directory, boot_id))?;
        if !at_qos_2 && self.waiting() == 0 && exchanges.under_way().next().is_none() {
            Exchanges::remove(&self.directory)?;
            return Ok(None);
        }
        Ok(Some(exchanges))
    }

    /// Whether messages may be published at QoS 2.
    pub fn publishes_at_qos_2(&self) -> bool {
        self.writer.routes().values().any(|route| route.qos == Qos::ExactlyOnce)
    }

    /// Forgets all exchanges at QoS 2: no session is gone on with.
    ///
    /// # Errors
    /// The medium's.
    pub fn end_exchanges(&self) -> io::Result<()> {
        if Exchanges::exist(&self.directory) { Exchanges::remove(&self.directory) } else { Ok(()) }
    }

    /// Whether a message is finished, or was dropped.
    pub fn is_finished(&self, seq: Seq) -> bool {
        self.journal.finished().next_unfinished(seq) != seq
    }

    /// The number of the next message that is appended.
    pub fn next_seq(&self) -> Seq {
        self.writer.next()
    }

    /// Whether what is finished reaches a file.
    #[cfg(test)]
    pub fn has_journal(&self) -> bool {
        self.journal.has_file()
    }

    /// Writes samples, in order, as the next messages. They are accepted once [`Spool::commit`] says so.
    ///
    /// `in_flight`: messages that must not be dropped to make room, from the lowest to the highest.
    pub fn append(&mut self, samples: &[Sample], in_flight: Option<&RangeInclusive<Seq>>, now: Instant) -> Appended {
        let mut appended = Appended::default();
        for sample in samples {
            if !self.writer.has_room(sample)
                && let Err(full) = self.begin_segment(sample, in_flight, &mut appended.dropped_oldest, now)
            {
                match full {
                    Full::Newest => appended.dropped_newest += 1,
                    Full::Error(error) => {
                        appended.error = Some(error.to_string());
                        break;
                    }
                }
            } else {
                self.writer.push(sample, now);
            }
            appended.taken += 1;
        }
        if let Err(error) = self.writer.write() {
            appended.error.get_or_insert(error.to_string());
        }
        appended
    }

    /// When what was appended has to be committed; `None`: nothing waits for it. A moment that has passed means `now`.
    pub fn commit_due(&self, now: Instant) -> Option<Instant> {
        if self.unreported < self.writer.committed_next() {
            // A new segment was begun, which committed the former one: that is to be reported.
            return Some(now);
        }
        let since = self.writer.uncommitted_since()?;
        match self.sync {
            Sync::Always => Some(since),
            Sync::Every(interval) => Some(since + interval),
        }
    }

    /// Waits until everything appended is on the medium; what was accepted since the last call, if anything.
    ///
    /// # Errors
    /// The medium's. Nothing is accepted then; the next call writes it all again.
    pub fn commit(&mut self) -> io::Result<Option<RangeInclusive<Seq>>> {
        self.writer.commit()?;
        let first = std::mem::replace(&mut self.unreported, self.writer.committed_next());
        Ok((first < self.unreported).then(|| first..=Seq(self.unreported.0 - 1)))
    }

    /// The next message in order that is accepted and not finished.
    ///
    /// `lost` is told of messages that cannot be read any more because they are damaged; they count as finished.
    ///
    /// # Errors
    /// The medium's. The next call tries again.
    pub fn next(&mut self, now: Instant, mut lost: impl FnMut(RangeInclusive<Seq>)) -> io::Result<Option<Message>> {
        let limit = self.limit();
        loop {
            let (writer, segments) = (&self.writer, &self.segments);
            let held = |first| if first == writer.first() { writer.open_file() } else { segments.held(first) };
            match self.reader.step(segments, self.journal.finished(), limit, held)? {
                Step::Message(message) => return Ok(Some(message)),
                Step::End => return Ok(None),
                Step::Lost(range) => {
                    warn!("messages lost to damage seq={}..{}", range.start(), range.end());
                    self.journal.finish(&range, now);
                    lost(range);
                }
            }
        }
    }

    fn limit(&self) -> Limit {
        Limit {
            next: self.writer.committed_next(),
            growing: self.writer.first(),
            offset: self.writer.committed_offset(),
            room_for_copies: self.max_size.saturating_sub(self.segments.bytes()),
        }
    }

    /// Notes that a message is acknowledged or dropped: it will not be given out again. A number that no accepted message
    /// has cannot be finished: the message that gets it would be lost.
    pub fn finish(&mut self, seq: Seq, now: Instant) {
        if seq < self.writer.committed_next() {
            self.journal.finish(&(seq..=seq), now);
        }
    }

    /// Hands what was finished to the system, and deletes the segments that hold nothing else, but for one: its file
    /// becomes the next segment.
    ///
    /// # Errors
    /// The medium's. Nothing is lost; messages may be sent again after a restart. The next call tries again.
    pub fn trim(&mut self) -> io::Result<()> {
        self.may_write()?;
        self.journal.write()?;
        self.remove_finished()
    }

    /// Waits until what is finished is noted on the medium, where that is much, or was long ago: a power cut repeats what
    /// is not. Whether anything was to be done.
    ///
    /// # Errors
    /// The medium's. The next call tries again.
    pub fn bound_repeats(&mut self, now: Instant) -> io::Result<bool> {
        let is_due = self.journal.unflushed().is_due(now);
        if is_due {
            self.may_write()?;
            self.journal.sync()?;
        }
        Ok(is_due)
    }

    /// When [`Spool::bound_repeats`] has to be called; `None`: there is nothing to note.
    #[must_use]
    pub fn repeats_due(&self) -> Option<Instant> {
        self.journal.unflushed().deadline()
    }

    /// Waits until what is finished is noted on the medium, for a stop.
    ///
    /// # Errors
    /// The medium's.
    pub fn sync_journal(&mut self) -> io::Result<()> {
        self.may_write()?;
        self.journal.sync()
    }

    /// Keeps a message that the broker will never take out of the way, as one JSON file in `rejected/`; the file.
    /// The message still has to be finished.
    ///
    /// # Errors
    /// The medium's.
    pub fn set_aside(&self, message: &Message, reason: &str) -> io::Result<PathBuf> {
        self.may_write()?;
        self.is_at_home()?;
        rejected::set_aside(&self.directory, message, reason)
    }
}

/// Bytes of a segment's file in a spool of this size.
fn segment_size(max_size: u64) -> u64 {
    let page = sector::PAGE as u64;
    (max_size / SEGMENTS / page * page).clamp(64 * 1024, SEGMENT)
}

/// Whether a journal has lost its segments. How far they went is not known, so no number of their stream is safe to give out.
fn is_bereft(recovered: &journal::Recovered, segments: &BTreeMap<Seq, u64>) -> bool {
    let end = recovered.finished.end();
    let is_bereft = segments.is_empty() && end > Seq::FIRST;
    if is_bereft {
        let stream = recovered.stream;
        warn!(
            "all segments are gone; what waited in them is lost; a new stream begins former={stream} next_seq>={end}"
        );
    }
    is_bereft
}

/// The stream of the newest segment that tells it.
fn newest_stream(directory: &Path, segments: &BTreeMap<Seq, u64>) -> Option<StreamId> {
    let header = |first: &Seq| segment::read_header(directory, *first).ok().flatten();
    segments.keys().rev().find_map(header).map(|header| header.stream)
}
