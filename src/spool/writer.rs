//! Writes the newest segment: samples become records, records become durable.
//!
//! Offsets and sizes are those of the segment's content; where it lies in the file is known to [`super::sector`].

use super::medium;
use super::newest::{self, Newest};
use super::record::{self, FRAME, RouteId, Seed, Settled, message_length, route_length};
use super::sector::{self, DATA, PAGE_DATA};
use super::segment::{self, HEADER, Header, Tail, TailState};
use crate::message::{Route, Sample, Seq, StreamId};
use crate::own;
use log::warn;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// The most that padding takes from a page: it must not cost the spool much of its room.
const MOST_PADDING: u64 = 512;

/// The segment being written, and the messages in it that are not on the medium yet.
#[derive(Debug)]
pub struct Writer {
    /// `None`: there is no segment yet, for the disk did not take one. There is no room for a message then.
    file: Option<File>,
    file_length: u64,
    first: Seq,
    seed: Seed,
    /// Bytes of content that the file has room for.
    size: u64,
    /// The seq of the next message.
    next: Seq,
    /// The seq behind the last accepted message.
    committed_next: Seq,
    /// Where the uncommitted records begin.
    committed_offset: u64,
    /// The content from the beginning of the sector of `committed_offset` on, for sectors are written whole.
    /// Uncommitted records are kept until they are on the medium: after a failed flush the system may forget them, so
    /// they are written again.
    content: Vec<u8>,
    /// How many bytes of `content` the system has.
    written: usize,
    uncommitted_since: Option<Instant>,
    /// All routes that this spool has met since it was opened.
    ids: HashMap<Arc<Route>, RouteId>,
    /// The routes that this segment explains.
    explained: HashSet<RouteId>,
}

impl Writer {
    /// Goes on behind the newest of `segments`, or begins one, which is added to them.
    ///
    /// All seqs below `accepted` are known to have been accepted: no message gets one of them.
    ///
    /// # Errors
    /// The medium's.
    pub fn open(
        directory: &Path,
        stream: StreamId,
        accepted: Seq,
        size: u64,
        segments: &mut BTreeMap<Seq, u64>,
    ) -> io::Result<Writer> {
        let Some((&first, _)) = segments.last_key_value() else {
            return Ok(Self::create_first(directory, stream, accepted, size, segments));
        };
        let name = segment::path(directory, first);
        let file = match own::edit(&name) {
            Err(error) => {
                warn!("newest segment is not written to any more file={} error={error}", name.display());
                None
            }
            // A process that was killed may have left records that the system holds and the medium does not. They count as
            // accepted from here on. After a flush that has failed the system may forget them: nothing may follow them.
            Ok(file) => match medium::sync_data(&file) {
                Ok(()) => Some(file),
                Err(error) => {
                    warn!("newest segment is not flushed file={} error={error}", name.display());
                    None
                }
            },
        };
        let Newest { file_length, content, tail, next, .. } = Newest::read(directory, first, accepted)?;
        if let Some(file) = file
            && tail.state == TailState::Clean
            && next == tail.next
            && file.metadata()?.len() == file_length
        {
            let size = u32::try_from(file_length).unwrap_or(u32::MAX);
            return Ok(Self::resume(file, Header { stream, first, size }, &content, tail));
        }
        warn!("newest segment cannot be continued; beginning a new one file={} next_seq={next}", name.display());
        if next == first {
            // It holds nothing, and the new one takes its name.
            segments.remove(&first);
        }
        Ok(Self::create_first(directory, stream, next, size, segments))
    }

    fn create_first(
        directory: &Path,
        stream: StreamId,
        next: Seq,
        size: u64,
        segments: &mut BTreeMap<Seq, u64>,
    ) -> Writer {
        let header = header(stream, next, size);
        let tail = Tail { next, offset: HEADER, state: TailState::Clean };
        match segment::create(directory, header) {
            Ok(file) => {
                segments.insert(next, size);
                Self::resume(file, header, &[], tail)
            }
            Err(error) => {
                warn!("no new segment for now error={error}");
                Self::without(next)
            }
        }
    }

    /// A writer that waits for its first segment.
    fn without(next: Seq) -> Writer {
        Writer {
            file: None,
            file_length: 0,
            first: next,
            seed: Seed::of(next),
            size: 0,
            next,
            committed_next: next,
            committed_offset: 0,
            content: Vec::new(),
            written: 0,
            uncommitted_since: None,
            ids: HashMap::new(),
            explained: HashSet::new(),
        }
    }

    fn resume(file: File, header: Header, bytes: &[u8], tail: Tail) -> Writer {
        let Header { first, size, .. } = header;
        let seed = Seed::of(first);
        let routes = newest::routes(bytes, first, tail).into_iter();
        let ids: HashMap<_, _> = routes.map(|(id, route)| (route, id)).collect();
        let content = if tail.offset < DATA {
            // The header may be damaged, or may not have been written yet.
            let records = bytes.get(HEADER..tail.offset).unwrap_or_default();
            [&header.encode(), records].concat()
        } else {
            bytes[tail.offset - tail.offset % DATA..tail.offset].to_vec()
        };
        Writer {
            file: Some(file),
            file_length: size.into(),
            first,
            seed,
            size: sector::capacity(size.into()),
            next: tail.next,
            committed_next: tail.next,
            committed_offset: tail.offset as u64,
            written: content.len(),
            content,
            uncommitted_since: None,
            explained: ids.values().copied().collect(),
            ids,
        }
    }

    /// The file of the segment being written.
    pub fn open_file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// Goes on in another file, which has the same content as the one before.
    pub fn turn_to(&mut self, file: File) {
        self.file = Some(file);
    }

    /// Writes nothing any more to the file of the segment being written: it is another agent's.
    pub fn abandon(&mut self) {
        (self.file, self.size) = (None, 0);
    }

    /// The first seq of the segment being written, or of the one that comes.
    pub fn first(&self) -> Seq {
        self.first
    }

    /// The seq that the next message gets.
    pub fn next(&self) -> Seq {
        self.next
    }

    /// The seq behind the last accepted message.
    pub fn committed_next(&self) -> Seq {
        self.committed_next
    }

    /// Where in the segment's content the accepted messages end.
    pub fn committed_offset(&self) -> u64 {
        self.committed_offset
    }

    /// When the oldest message that is not accepted yet was pushed.
    pub fn uncommitted_since(&self) -> Option<Instant> {
        self.uncommitted_since
    }

    /// Learns a route without a message of it.
    pub fn learn(&mut self, route: &Arc<Route>) {
        self.id_of(route);
    }

    /// The routes that the newest segment explains, and those that were learned.
    pub fn routes(&self) -> HashMap<RouteId, Arc<Route>> {
        self.ids.iter().map(|(route, id)| (*id, Arc::clone(route))).collect()
    }

    /// Bytes of the file of a segment that has room for this sample alone.
    pub fn segment_size_for(sample: &Sample) -> u64 {
        sector::file_length((HEADER + route_length(&sample.route) + message_length(sample.data.len())) as u64)
    }

    /// Whether the segment has room for a sample, and for its route where that is not explained yet.
    pub fn has_room(&self, sample: &Sample) -> bool {
        let explained = self.ids.get(&sample.route).is_some_and(|id| self.explained.contains(id));
        let route = if explained { 0 } else { route_length(&sample.route) };
        self.end() + (route + message_length(sample.data.len())) as u64 <= self.size
    }

    /// Makes a sample the next message, at `now`. There must be room for it.
    pub fn push(&mut self, sample: &Sample, now: Instant) {
        debug_assert!(self.has_room(sample), "the caller begins a segment when there is no room");
        let id = self.id_of(&sample.route);
        if self.explained.insert(id) {
            let settled = self.settled();
            record::encode_route(&mut self.content, self.seed, settled, id, &sample.route);
        }
        let settled = self.settled();
        record::encode_message(&mut self.content, self.seed, settled, self.next, id, sample);
        self.next = self.next.next();
        self.uncommitted_since.get_or_insert(now);
    }

    /// Hands what was pushed to the system: it survives the process from here on, not yet a power cut.
    ///
    /// # Errors
    /// The medium's. The next call writes it again.
    pub fn write(&mut self) -> io::Result<()> {
        if self.written < self.content.len() {
            let unchanged = self.written / DATA;
            let number = sector::number_of(self.committed_offset) + unchanged as u64;
            let span = sector::span(sector::content_offset(number), self.end(), self.file_length);
            let length = usize::try_from(span.end - span.start).expect("it fits in memory");
            let mut sectors = Vec::with_capacity(length);
            sector::seal(&mut sectors, &self.content[unchanged * DATA..], number, self.first);
            sectors.resize(length, 0);
            self.file()?.write_all_at(&sectors, span.start)?;
            self.written = self.content.len();
        }
        Ok(())
    }

    /// Waits until everything pushed is on the medium.
    ///
    /// # Errors
    /// The medium's. Nothing is accepted then, and everything is written again by the next call.
    pub fn commit(&mut self) -> io::Result<()> {
        if self.uncommitted() == 0 {
            return Ok(());
        }
        self.pad();
        if let Err(error) = self.write().and_then(|()| medium::sync_data(self.file()?)) {
            self.written = self.committed();
            return Err(error);
        }
        self.committed_next = self.next;
        self.committed_offset = self.end();
        self.content.drain(..self.content.len() / DATA * DATA);
        self.written = self.content.len();
        self.uncommitted_since = None;
        Ok(())
    }

    /// Makes the present segment durable and begins the next one, in a new file of `size` bytes.
    ///
    /// # Errors
    /// The medium's. The present segment stays the one being written, but nothing more goes into it.
    pub fn begin_segment(&mut self, directory: &Path, stream: StreamId, size: u64) -> io::Result<()> {
        self.begin(header(stream, self.next, size), |header| segment::create(directory, header))
    }

    /// As [`Writer::begin_segment`], in the file of the segment that began with `former`, in which all is finished.
    ///
    /// # Errors
    /// As [`Writer::begin_segment`].
    pub fn begin_segment_in(&mut self, directory: &Path, stream: StreamId, size: u64, former: Seq) -> io::Result<()> {
        self.begin(header(stream, self.next, size), |header| segment::recycle(directory, former, header.first))
    }

    fn begin(&mut self, header: Header, file: impl FnOnce(Header) -> io::Result<File>) -> io::Result<()> {
        self.commit()?;
        // The new segment may have got its name although making that durable failed. It would be found empty after a
        // restart, so no message may get the seq that it is named by before it is there.
        self.size = self.committed_offset;
        self.file = Some(file(header)?);
        self.file_length = header.size.into();
        self.first = header.first;
        self.seed = Seed::of(header.first);
        self.size = sector::capacity(header.size.into());
        self.committed_offset = HEADER as u64;
        self.content = header.encode().to_vec();
        self.written = self.content.len();
        self.explained.clear();
        Ok(())
    }

    /// Fills the last page up when another commit like this one would touch one page less from the next one on: every
    /// page that a commit touches is written whole.
    fn pad(&mut self) {
        let committing = self.uncommitted() as u64;
        let end = self.end();
        let page = PAGE_DATA as u64;
        let rest = end.next_multiple_of(page) - end;
        let pages = |offset: u64| (offset % page + committing).div_ceil(page);
        if (FRAME as u64 + 1..=MOST_PADDING).contains(&rest) && end + rest <= self.size && pages(end) > pages(0) {
            let settled = self.settled();
            let length = usize::try_from(rest).expect("less than a page");
            record::encode_padding(&mut self.content, self.seed, settled, length);
        }
    }

    fn file(&self) -> io::Result<&File> {
        self.file.as_ref().ok_or_else(|| io::Error::other("there is no segment yet"))
    }

    fn settled(&self) -> Settled {
        if self.uncommitted() == 0 { Settled::Yes } else { Settled::No }
    }

    /// How many bytes of `content` were on the medium before.
    fn committed(&self) -> usize {
        usize::try_from(self.committed_offset % DATA as u64).expect("less than a sector")
    }

    /// How many bytes of `content` are not on the medium yet.
    fn uncommitted(&self) -> usize {
        self.content.len() - self.committed()
    }

    /// Where in the segment the next record begins.
    pub fn end(&self) -> u64 {
        self.committed_offset + self.uncommitted() as u64
    }

    fn id_of(&mut self, route: &Arc<Route>) -> RouteId {
        if let Some(id) = self.ids.get(route) {
            return *id;
        }
        let mut id = RouteId::of(route);
        while self.ids.values().any(|taken| *taken == id) {
            id = RouteId(id.0.wrapping_add(1));
        }
        self.ids.insert(Arc::clone(route), id);
        id
    }
}

fn header(stream: StreamId, first: Seq, size: u64) -> Header {
    Header { stream, first, size: u32::try_from(size).expect("a segment is smaller than 4 GiB") }
}
