//! Segments: preallocated files, each named by the first seq it may hold.
//!
//! A file is a row of sectors with tags ([`super::sector`]). What they hold begins with a header, then records follow
//! until the first zeros. The header repeats what the file's name and the journal know, so losing it loses nothing.
//!
//! ```text
//! offset size
//!  0     8    magic and format version, "PKHORSE" 2
//!  8     8    first seq
//! 16     4    stream
//! 20     4    size of the whole file in bytes
//! 24     4    zero
//! 28     4    CRC32C over the 28 bytes above
//! ```

use super::claim::is_full;
use super::medium;
use super::record::{
    Content, Decoded, FRAME, Frame, Seed, Settled, decode, is_padding, length_of, message_length, u32_at, u64_at,
};
use super::sector::{self, DATA, SECTOR};
use crate::message::{Seq, StreamId};
use crate::own;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of the header.
pub const HEADER: usize = 32;
/// The largest file that is read, in bytes: far more than the largest segment. What is beyond cannot be ours.
pub const LARGEST: u64 = 4 * 1024 * 1024;
const MAGIC: [u8; 7] = *b"PKHORSE";
/// The format version that this program reads and writes.
pub const FORMAT: u8 = 2;

/// What a segment says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub stream: StreamId,
    pub first: Seq,
    /// Bytes of the whole file.
    pub size: u32,
}

impl Header {
    /// The header's bytes.
    pub fn encode(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..7].copy_from_slice(&MAGIC);
        bytes[7] = FORMAT;
        bytes[8..16].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.stream.0.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.size.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..28]);
        bytes[28..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads a header; `None` when it is damaged or no header at all.
    pub fn decode(bytes: &[u8]) -> Option<Header> {
        format_of(bytes).filter(|format| *format == FORMAT)?;
        Some(Header { first: Seq(u64_at(bytes, 8)), stream: StreamId(u32_at(bytes, 16)), size: u32_at(bytes, 20) })
    }
}

/// The format that a good header names.
fn format_of(bytes: &[u8]) -> Option<u8> {
    let bytes = bytes.get(..HEADER)?;
    (bytes[..7] == MAGIC && crc32c::crc32c(&bytes[..28]) == u32_at(bytes, 28)).then(|| bytes[7])
}

/// The format of a segment that this program does not read, given the beginning of its file; `None`: it reads it, or
/// nothing tells.
pub fn foreign_format(file: &[u8]) -> Option<u8> {
    // In format 1 the header is the first thing in the file, since then a tag is before it.
    let header_at = |at: usize| file.get(at..).and_then(format_of);
    header_at(0).or(header_at(SECTOR - DATA)).filter(|format| *format != FORMAT)
}

/// Where the segment that begins with `first` lies.
pub fn path(directory: &Path, first: Seq) -> PathBuf {
    directory.join(format!("{:020}.seg", first.0))
}

/// The first seq that a file's name tells; `None` for any other file.
pub fn first_of(name: &OsStr) -> Option<Seq> {
    let digits = name.to_str()?.strip_suffix(".seg")?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|first| *first > 0).map(Seq)
}

/// Reads the header of a segment; `None` when it is damaged, or of another format.
///
/// # Errors
/// The medium's.
pub fn read_header(directory: &Path, first: Seq) -> io::Result<Option<Header>> {
    let (mut file, mut content) = ([0; SECTOR], Vec::new());
    match own::read(&path(directory, first))?.read_exact_at(&mut file, 0) {
        Ok(()) => {
            sector::unseal(&mut content, &file, 0, first);
            Ok(Header::decode(&content))
        }
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a file's name is that of a segment whose creation did not finish.
pub fn is_unfinished(name: &OsStr) -> bool {
    let name = Path::new(name);
    name.extension().is_some_and(|extension| extension == "new")
        && first_of(name.with_extension("seg").as_os_str()).is_some()
}

/// Creates a segment and makes it durable: zeros, header, file and folder are on the medium when this returns.
///
/// A file of this name must hold nothing: it is replaced, and removed before that where the disk is full.
///
/// # Errors
/// The medium's. A file that was begun is removed again.
pub fn create(directory: &Path, header: Header) -> io::Result<File> {
    match create_once(directory, header) {
        Err(error) if is_full(&error) && fs::remove_file(path(directory, header.first)).is_ok() => {
            create_once(directory, header)
        }
        created => created,
    }
}

fn create_once(directory: &Path, header: Header) -> io::Result<File> {
    let name = path(directory, header.first);
    let begun = name.with_extension("new");
    let file = write_zeros(&begun, header).and_then(|file| {
        fs::rename(&begun, &name)?;
        sync_directory(directory)?;
        Ok(file)
    });
    if file.is_err() {
        // The error that is reported says more than a second one from the clean-up would.
        let _ = fs::remove_file(&begun);
    }
    file
}

/// Puts the file of a segment back under its name, from the file that is open; the new file. It is on the medium when this
/// returns.
///
/// # Errors
/// The medium's.
pub fn restore(directory: &Path, first: Seq, open: &File) -> io::Result<File> {
    let length = usize::try_from(open.metadata()?.len().min(LARGEST)).map_err(io::Error::other)?;
    let mut sectors = vec![0; length];
    let read = medium::read_up_to(open, &mut sectors, 0)?;
    let name = path(directory, first);
    let begun = name.with_extension("new");
    let mut file = own::begin(&begun)?;
    let restored = file.write_all(&sectors[..read]).and_then(|()| medium::sync_all(&file)).and_then(|()| {
        fs::rename(&begun, &name)?;
        sync_directory(directory)
    });
    restored.map(|()| file).inspect_err(|_| {
        let _ = fs::remove_file(&begun);
    })
}

/// Whether a segment in which all is finished may become another one. Its header proves that it is of the present
/// format and stream, in which no first seq is used twice; and the file must be ours to write.
pub fn may_be_used_again(directory: &Path, first: Seq, stream: StreamId, size: u64) -> bool {
    let is_own = |header: Header| header.stream == stream && header.first == first && u64::from(header.size) == size;
    let header = read_header(directory, first).ok().flatten();
    header.is_some_and(is_own) && own::edit(&path(directory, first)).is_ok()
}

/// Makes a segment in which all is finished the one that begins with `first`, and its name durable. It holds nothing
/// then: not one of its sectors has a right tag. Its header comes with the first records.
///
/// # Errors
/// The medium's.
pub fn recycle(directory: &Path, former: Seq, first: Seq) -> io::Result<File> {
    let former = path(directory, former);
    let file = own::edit(&former)?;
    fs::rename(&former, path(directory, first))?;
    // Before anything is written to it: else the former name could be found with the new content.
    sync_directory(directory)?;
    Ok(file)
}

/// Where the copy of a damaged segment is kept.
pub fn damaged_copy(directory: &Path, first: Seq) -> PathBuf {
    path(directory, first).with_extension("seg.damaged")
}

fn write_zeros(name: &Path, header: Header) -> io::Result<File> {
    let mut file = own::begin(name)?;
    let zeros = vec![0; 64 * 1024];
    let mut left = header.size as usize;
    while left > 0 {
        let part = left.min(zeros.len());
        file.write_all(&zeros[..part])?;
        left -= part;
    }
    let mut beginning = Vec::new();
    sector::seal(&mut beginning, &header.encode(), 0, header.first);
    file.write_all_at(&beginning, 0)?;
    medium::sync_all(&file)?;
    Ok(file)
}

/// Makes names in a folder durable.
///
/// # Errors
/// The medium's.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    medium::sync_all(&File::open(directory)?)
}

/// How the newest segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// The seq that comes after the last one written here.
    pub next: Seq,
    /// Where the next record belongs.
    pub offset: usize,
    /// Whether records may be appended at `offset`.
    pub state: TailState,
}

/// What follows the last good record of the newest segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TailState {
    /// Zeros: go on here.
    Clean,
    /// A write that never finished, or damage: leave it as it is and begin a new segment.
    Broken,
}

/// Finds the end of the newest segment, given the whole of its content. All seqs below `accepted` are known to have
/// been accepted.
///
/// A torn write was never accepted, so its seq is given out again. A record that was whole once and is damaged now
/// may have been published: its seq is not given out again. The two are told apart by what a medium does: it writes
/// sectors whole or not at all, so a torn write leaves sectors of zeros.
pub fn find_tail(bytes: &[u8], first: Seq, accepted: Seq) -> Tail {
    let seed = Seed::of(first);
    let mut search = Search::new(first, bytes.len() as u64);
    let capacity = |header: Header| usize::try_from(sector::capacity(header.size.into())).unwrap_or(usize::MAX);
    let size = Header::decode(bytes).map_or(bytes.len(), capacity);
    let (mut offset, mut next) = (HEADER.min(bytes.len()), first);
    loop {
        match decode(&bytes[offset..], seed) {
            Decoded::Record(frame) if follows(&frame, next, first, offset as u64) => {
                next = after(&frame, next);
                offset += frame.length;
            }
            Decoded::End if is_zero(&bytes[offset..]) => {
                let state = if bytes.len() < size { TailState::Broken } else { TailState::Clean };
                return Tail { next, offset, state };
            }
            _ => match behind_damage(bytes, offset, next, accepted, &mut search) {
                Some(found) => offset = found,
                None => {
                    let holds_none = is_padding(&bytes[offset..], seed) || is_torn(bytes, offset, seed, size);
                    let next = if holds_none { next } else { next.next() };
                    return Tail { next, offset, state: TailState::Broken };
                }
            },
        }
    }
}

/// Where reading goes on behind a bad place at `offset` of the newest segment; `None`: the good records end here.
fn behind_damage(bytes: &[u8], offset: usize, next: Seq, accepted: Seq, search: &mut Search) -> Option<usize> {
    let seed = Seed::of(search.first);
    let found = search.resync(bytes, offset + 1, 0, next)?;
    let mut at = found;
    while let Decoded::Record(frame) = decode(&bytes[at..], seed) {
        // A message that was accepted was on the medium with everything before it, the rest of its batch included.
        if frame.settled == Settled::Yes || frame.seq().is_some_and(|seq| seq < accepted) {
            return Some(found);
        }
        at += frame.length;
    }
    // Nothing proves that the bad place was ever on the medium: it may be a part of the last write that is missing.
    if is_torn(bytes, offset, seed, bytes.len()) { None } else { Some(found) }
}

/// Searches one segment for good records behind bad places.
///
/// Where no record begins, what looks like the head of one is rare. A file full of such heads must not cost hours, so the
/// bytes that are read in vain are counted, and at last nothing is found any more.
#[derive(Debug)]
pub struct Search {
    first: Seq,
    /// Bytes of bodies that may still turn out to be no good record's.
    left: usize,
}

impl Search {
    /// In the segment that begins with `first` and has so many bytes of content. It takes thousands of damaged records to
    /// use up 64 times these.
    pub fn new(first: Seq, content: u64) -> Self {
        Self { first, left: usize::try_from(content.saturating_mul(64)).unwrap_or(usize::MAX) }
    }

    /// The first good record at `from` or behind it whose seq is not below `next`, in `bytes`, which begin at `start` of
    /// the content. Padding is none: it does not tell how many messages are missing before it.
    pub fn resync(&mut self, bytes: &[u8], from: usize, start: u64, next: Seq) -> Option<usize> {
        let seed = Seed::of(self.first);
        let mut at = from;
        while at < bytes.len() {
            // A record's third byte, its kind, is never zero: rows of zeros are stepped over.
            let kind = at + 2 + bytes.get(at + 2..)?.iter().position(|byte| *byte != 0)?;
            at = kind - 2;
            if let Some(length) = length_of(&bytes[at..], seed).filter(|length| *length <= bytes.len() - at) {
                if let Decoded::Record(frame) = decode(&bytes[at..], seed)
                    && frame.content != Content::Padding
                    && follows(&frame, next, self.first, start + at as u64)
                {
                    return Some(at);
                }
                self.left = self.left.checked_sub(length)?;
            }
            at += 1;
        }
        None
    }
}

fn follows(frame: &Frame<'_>, next: Seq, first: Seq, offset: u64) -> bool {
    frame.seq().is_none_or(|seq| seq >= next && is_possible(seq, first, offset))
}

/// Whether a record at `offset` of a segment's content can be that of message `seq`: there must be room for those before
/// it.
pub fn is_possible(seq: Seq, first: Seq, offset: u64) -> bool {
    let room = offset.saturating_sub(HEADER as u64) / message_length(0) as u64;
    seq.0.checked_sub(first.0).is_some_and(|before| before <= room)
}

fn after(frame: &Frame<'_>, next: Seq) -> Seq {
    frame.seq().map_or(next, Seq::next)
}

/// Whether the bad record at `offset` looks like a write that did not finish.
fn is_torn(bytes: &[u8], offset: usize, seed: Seed, size: usize) -> bool {
    // Where not even a head was written, the next record's place is unknown.
    let end = offset + length_of(&bytes[offset..], seed).unwrap_or(FRAME);
    if end > bytes.len() {
        return bytes.len() < size;
    }
    // No record ends with a zero byte: data ends with a brace, a route with its topic.
    if bytes[end - 1] == 0 && is_zero(&bytes[end..]) {
        return true;
    }
    let mut at = offset;
    while at < end {
        let sector_end = (at / DATA + 1) * DATA;
        if is_zero(&bytes[at..sector_end.min(bytes.len())]) {
            return true;
        }
        at = sector_end;
    }
    false
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
