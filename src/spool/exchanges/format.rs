//! The layout of the exchanges' file: a header, and a slot for each packet identifier. Reads bytes and makes them; what is
//! read is forged until its checksum says otherwise. `docs/spool-format.md` has the tables.

use super::super::record::{u32_at, u64_at};
use super::super::sector::mix;
use super::super::witness::{State, Word};
use super::{Exchange, Party, Stage};
use crate::message::{Seq, StreamId};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

const MAGIC: [u8; 8] = *b"PKXCHG\0\x02";
pub(super) const HEADER: usize = 52;
const HEADER_SUM: usize = HEADER - 4;
/// Where the slots begin: the header has a block of its own.
pub(super) const SLOTS: usize = 4096;
pub(super) const SLOT: usize = 16;
/// A slot for every packet identifier; zero is none, its slot stays empty.
pub(super) const SIZE: usize = SLOTS + SLOT * (u16::MAX as usize + 1);
pub(super) const FLAG_ESTABLISHED: u8 = 1;
pub(super) const FLAG_FLUSHED: u8 = 2;

/// The bytes of a packet identifier's slot: zeros where nothing is under way.
pub(super) fn slot(generation: u64, id: u16, exchange: Option<&Exchange>) -> [u8; SLOT] {
    let mut bytes = [0; SLOT];
    if let Some(Exchange { seq, stage, retain, dated }) = exchange {
        bytes[..8].copy_from_slice(&seq.0.to_le_bytes());
        bytes[8] = *stage as u8;
        bytes[9] = u8::from(*retain);
        bytes[10] = u8::from(*dated);
        let sum = slot_sum(generation, id, &bytes[..12]);
        bytes[12..].copy_from_slice(&sum.to_le_bytes());
    }
    bytes
}

/// Where in the file a packet identifier's slot begins.
pub(super) fn position(id: u16) -> u64 {
    (SLOTS + usize::from(id) * SLOT) as u64
}

pub(super) fn slot_sum(generation: u64, id: u16, slot: &[u8]) -> u32 {
    let seed = crc32c::crc32c_append(crc32c::crc32c(&generation.to_le_bytes()), &id.to_le_bytes());
    crc32c::crc32c_append(seed, slot)
}

/// What tells the file from a copy of it: when it was made, which nobody can set; where a file system does not know that,
/// its inode. And when the lock file changed last, which nobody does but who copies a whole folder into this one.
pub(super) fn identity(file: &File, directory: &Path) -> io::Result<u64> {
    let metadata = file.metadata()?;
    let made = metadata.created().ok().and_then(|made| made.duration_since(UNIX_EPOCH).ok());
    let made = made.map_or([metadata.ino(), 0], |made| [made.as_secs(), u64::from(made.subsec_nanos()) + 1]);
    let lock = directory.join("lock").symlink_metadata().ok();
    let changed = lock.map_or([0, 0], |lock| [lock.ctime(), lock.ctime_nsec()].map(i64::cast_unsigned));
    let numbers = [made, changed].concat();
    Ok(numbers.iter().fold(0, |identity, number| mix(identity ^ number)))
}

/// What the head of a file says.
pub(super) struct Header {
    pub generation: u64,
    pub stream: StreamId,
    pub session: u32,
    pub boot_id: u32,
    pub flags: u8,
    pub token: u64,
    pub identity: u64,
}

impl Header {
    pub fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.generation.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.stream.0.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.session.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.boot_id.to_le_bytes());
        bytes[28] = self.flags;
        bytes[32..40].copy_from_slice(&self.token.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.identity.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..HEADER_SUM]);
        bytes[HEADER_SUM..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Its part of the state. The mark of an orderly end is none: it says that what is there was flushed.
    pub fn state(&self) -> State {
        let established = u64::from(self.flags & FLAG_ESTABLISHED);
        let party = [self.stream.0, self.session, self.boot_id].map(u64::from);
        State::of(&[&[self.generation, self.token, established], party.as_slice()].concat())
    }

    /// Whether the session can be resumed, of a party that has `others` too, given what the witness says and what tells
    /// the file from a copy.
    pub fn is_resumed_by(&self, party: Party, others: &[u32], word: Word, identity: u64) -> bool {
        let is_ours = self.stream == party.stream && (self.session == party.session || others.contains(&self.session));
        let is_as_left = match word {
            Word::Same => self.boot_id == party.boot_id || self.flags & FLAG_FLUSHED != 0,
            Word::Others => false,
            Word::Nothing => self.flags & FLAG_FLUSHED != 0 && self.identity == identity,
        };
        self.flags & FLAG_ESTABLISHED != 0 && is_ours && is_as_left
    }
}

/// The header of a whole file; `None`: it is damaged. Never panics, whatever the bytes are.
pub(super) fn read_header(bytes: &[u8]) -> Option<Header> {
    if bytes.len() != SIZE || bytes[..8] != MAGIC || crc32c::crc32c(&bytes[..HEADER_SUM]) != u32_at(bytes, HEADER_SUM) {
        return None;
    }
    Some(Header {
        generation: u64_at(bytes, 8),
        stream: StreamId(u32_at(bytes, 16)),
        session: u32_at(bytes, 20),
        boot_id: u32_at(bytes, 24),
        flags: bytes[28],
        token: u64_at(bytes, 32),
        identity: u64_at(bytes, 40),
    })
}

/// The exchanges of one generation, by packet identifier, in a file whose header is good.
pub(super) fn under_way(bytes: &[u8], generation: u64) -> BTreeMap<u16, Exchange> {
    let mut under_way = BTreeMap::new();
    for (id, slot) in (0..=u16::MAX).zip(bytes[SLOTS..].chunks_exact(SLOT)).skip(1) {
        if slot.iter().all(|byte| *byte == 0) {
            continue;
        }
        let stage = match slot[8] {
            1 => Stage::Published,
            2 => Stage::Received,
            _ => continue,
        };
        let seq = Seq(u64_at(slot, 0));
        // What does not fit is a slot of a former generation.
        if seq < Seq::LAST && slot_sum(generation, id, &slot[..12]) == u32_at(slot, 12) {
            under_way.insert(id, Exchange { seq, stage, retain: slot[9] != 0, dated: slot[10] != 0 });
        }
    }
    under_way
}

impl Exchange {
    /// Its part of the state.
    pub fn state(&self, id: u16) -> State {
        let flags = [self.stage as u8, u8::from(self.retain), u8::from(self.dated), 0];
        State::of(&[u64::from(id) + 1, self.seq.0, u32::from_le_bytes(flags).into()])
    }
}

pub(super) fn state_of(under_way: &BTreeMap<u16, Exchange>) -> State {
    under_way.iter().fold(State::of(&[]), |state, (id, exchange)| state.with(exchange.state(*id)))
}

/// Whether each message is under way once; what says more was not written by us.
pub(super) fn are_distinct(under_way: &BTreeMap<u16, Exchange>) -> bool {
    under_way.values().map(|exchange| exchange.seq).collect::<BTreeSet<_>>().len() == under_way.len()
}
