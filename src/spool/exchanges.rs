//! The exchanges under way at QoS 2: which message was published under which packet identifier, and how far the broker
//! has come with it. With this a new process goes on with the broker's session where the former one was killed.
//!
//! One file of fixed size: a header, and a slot for each packet identifier. A slot is written before its packet leaves,
//! without a flush: it survives the process, not a power cut. Going on with a session that has moved on since would
//! let the broker take a new message for one that it has already, which would lose it. So the file is trusted within
//! the boot that wrote it, and after a reboot only when it was flushed at the end. Otherwise a new session begins, and
//! what was in flight is published again.
//!
//! `docs/spool-format.md` has the layout.

use super::medium;
use super::record::{u32_at, u64_at};
use super::segment::sync_directory;
use crate::message::{Seq, StreamId};
use crate::own;
use log::warn;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::iter;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"PKXCHG\0\x01";
const HEADER: usize = 36;
/// Where the slots begin: the header has a block of its own.
const SLOTS: usize = 4096;
const SLOT: usize = 16;
/// A slot for every packet identifier; zero is none, its slot stays empty.
const SIZE: usize = SLOTS + SLOT * (u16::MAX as usize + 1);
const FLAG_ESTABLISHED: u8 = 1;
const FLAG_FLUSHED: u8 = 2;

/// Whose exchanges these are. They mean nothing to another session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Party {
    pub stream: StreamId,
    /// A checksum of what makes the session at the broker: address, client id, protocol.
    pub session: u32,
    /// Names the present boot.
    pub boot_id: u32,
}

/// How far the broker has come with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The PUBLISH leaves, or has left.
    Published = 1,
    /// PUBREC has come: the broker has the message, and PUBREL leaves or has left.
    Received = 2,
}

/// A message on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    pub seq: Seq,
    pub stage: Stage,
    /// Whether it was published to be retained, which the broker may not have allowed: it must be sent again as it was.
    pub retain: bool,
    /// Whether it was published with a time that is right. What was not must be sent again with the same wrong one: a
    /// broker that compares payloads would take it for another message.
    pub dated: bool,
}

/// All exchanges of one session.
#[derive(Debug)]
pub struct Exchanges {
    file: File,
    party: Party,
    /// Seeds the slots' checksums: beginning a session makes all former slots void.
    generation: u64,
    established: bool,
    under_way: BTreeMap<u16, Exchange>,
    ids: HashMap<Seq, u16>,
    /// Packet identifiers of exchanges that are over but stand in the file.
    over: Vec<u16>,
}

impl Exchanges {
    /// Opens the file in `directory`, or creates it. There is no established session when the file is another
    /// party's, is damaged, or cannot be trusted after a reboot. Sessions of `others` may be gone on with as well as the
    /// party's own: the same client's at other brokers.
    ///
    /// # Errors
    /// The medium's.
    pub fn open(directory: &Path, party: Party, others: &[u32]) -> io::Result<Exchanges> {
        let path = path(directory);
        let bytes = match medium::read(&path, SIZE as u64 + 1) {
            // Where some of it cannot be read, nothing of it can be trusted: it is written anew, which mends it.
            Ok(medium::Content { bytes, bad_blocks: 0 }) => bytes,
            Ok(_) => Vec::new(),
            Err(error) if error.kind() == io::ErrorKind::NotFound || own::is_planted(&error) => Vec::new(),
            Err(error) => return Err(error),
        };
        let (file, bytes) = match own::keep(&path) {
            // What others put there says nothing of our session.
            Err(error) if own::is_planted(&error) => {
                warn!("exchanges begin anew, for {} {error}", path.display());
                (own::begin(&path)?, Vec::new())
            }
            opened => (opened?, bytes),
        };
        if bytes.len() != SIZE {
            let empty = || {
                file.set_len(0)?;
                file.write_all_at(&vec![0; SIZE], 0)?;
                medium::sync_all(&file)?;
                sync_directory(directory)
            };
            empty().inspect_err(|_| {
                // What it takes is for others where the disk is full.
                let _ = fs::remove_file(&path);
            })?;
        }
        let mut exchanges = Exchanges {
            file,
            party,
            generation: 0,
            established: false,
            under_way: BTreeMap::new(),
            ids: HashMap::new(),
            over: Vec::new(),
        };
        let session = |session| recover(&bytes, Party { session, ..party });
        let recovered = iter::once(&party.session).chain(others).find_map(|name| Some((*name, session(*name)?)));
        match recovered {
            Some((name, (generation, under_way))) => {
                exchanges.party.session = name;
                exchanges.generation = generation;
                exchanges.established = true;
                exchanges.ids = under_way.iter().map(|(id, exchange)| (exchange.seq, *id)).collect();
                exchanges.under_way = under_way;
            }
            None => exchanges.generation = RandomState::new().build_hasher().finish(),
        }
        exchanges.write_header(0)?;
        // From here on slots change without a flush: a mark of an orderly end must be gone before that.
        medium::sync_data(&exchanges.file)?;
        Ok(exchanges)
    }

    /// The number behind the highest one that the file names as a message of this stream; the first one where it names
    /// none. Only what was accepted is published, so these numbers are given, whether the session can be trusted or not.
    pub fn named_end(directory: &Path, stream: StreamId) -> Seq {
        let content = medium::read(&path(directory), SIZE as u64);
        let bytes = content.map_or_else(|_| Vec::new(), |content| content.bytes);
        let header = read_header(&bytes).filter(|header| header.stream == stream);
        let last =
            header.and_then(|header| under_way(&bytes, header.generation).values().map(|exchange| exchange.seq).max());
        last.map_or(Seq::FIRST, Seq::next)
    }

    /// Whether a folder has such a file.
    pub fn exist(directory: &Path) -> bool {
        path(directory).exists()
    }

    /// Removes the file, when nobody needs it any more.
    ///
    /// # Errors
    /// The medium's.
    pub fn remove(directory: &Path) -> io::Result<()> {
        fs::remove_file(path(directory))
    }

    /// The name of the session.
    pub fn session(&self) -> u32 {
        self.party.session
    }

    /// Turns to another session, of which nothing is known: it is begun anew.
    ///
    /// # Errors
    /// The medium's; everything is forgotten all the same.
    pub fn turn_to(&mut self, session: u32) -> io::Result<()> {
        self.party.session = session;
        self.forget()
    }

    /// Whether the broker is to go on with the former session.
    pub fn is_established(&self) -> bool {
        self.established
    }

    /// The exchanges under way, by packet identifier.
    pub fn under_way(&self) -> impl Iterator<Item = (u16, Exchange)> + '_ {
        self.under_way.iter().map(|(id, exchange)| (*id, *exchange))
    }

    /// The exchange under a packet identifier.
    pub fn get(&self, id: u16) -> Option<Exchange> {
        self.under_way.get(&id).copied()
    }

    /// Whether a message is on its way.
    pub fn contains(&self, seq: Seq) -> bool {
        self.ids.contains_key(&seq)
    }

    /// How far the broker has come with a message that is on its way.
    pub fn stage_of(&self, seq: Seq) -> Option<Stage> {
        self.get(*self.ids.get(&seq)?).map(|exchange| exchange.stage)
    }

    /// Forgets everything: the next session is a new one.
    ///
    /// # Errors
    /// The medium's; everything is forgotten all the same.
    pub fn forget(&mut self) -> io::Result<()> {
        self.begin(false)
    }

    /// The broker has begun a new session: nothing is under way.
    ///
    /// # Errors
    /// The medium's; after a `kill -9` the next session will be a new one then.
    pub fn establish(&mut self) -> io::Result<()> {
        self.begin(true)
    }

    /// A message's PUBLISH is about to leave.
    ///
    /// # Errors
    /// The medium's.
    pub fn published(&mut self, id: u16, exchange: Exchange) -> io::Result<()> {
        let seq = exchange.seq;
        // The library may use an identifier again before we know that its exchange has ended.
        if let Some(former) = self.under_way.insert(id, exchange)
            && former.seq != seq
        {
            self.ids.remove(&former.seq);
        }
        self.ids.insert(seq, id);
        self.over.retain(|over| *over != id);
        self.write_slot(id)
    }

    /// PUBREC has come, and PUBREL is about to leave.
    ///
    /// # Errors
    /// The medium's.
    pub fn received(&mut self, id: u16) -> io::Result<()> {
        match self.under_way.get_mut(&id) {
            Some(exchange) if exchange.stage == Stage::Published => exchange.stage = Stage::Received,
            _ => return Ok(()),
        }
        self.write_slot(id)
    }

    /// A message's exchange is over. It stands in the file until [`Exchanges::clear`], which must not come before the
    /// journal says that the message is finished.
    pub fn end(&mut self, seq: Seq) {
        if let Some(id) = self.ids.remove(&seq) {
            self.under_way.remove(&id);
            self.over.push(id);
        }
    }

    /// A message's exchange is over without the message being finished: it may be sent in another one.
    ///
    /// # Errors
    /// The medium's; the next [`Exchanges::clear`] tries again.
    pub fn abandon(&mut self, seq: Seq) -> io::Result<()> {
        let Some(id) = self.ids.remove(&seq) else { return Ok(()) };
        self.under_way.remove(&id);
        let written = self.write_slot(id);
        if written.is_err() {
            self.over.push(id);
        }
        written
    }

    /// Whether exchanges that are over stand in the file.
    pub fn is_to_clear(&self) -> bool {
        !self.over.is_empty()
    }

    /// Removes exchanges that are over from the file.
    ///
    /// # Errors
    /// The medium's; the next call tries again.
    pub fn clear(&mut self) -> io::Result<()> {
        while let Some(id) = self.over.last() {
            self.write_slot(*id)?;
            self.over.pop();
        }
        Ok(())
    }

    /// Makes the file one that can be trusted after a reboot. Nothing may follow.
    ///
    /// # Errors
    /// The medium's.
    pub fn flush(&mut self) -> io::Result<()> {
        self.clear()?;
        medium::sync_data(&self.file)?;
        self.write_header(FLAG_FLUSHED)?;
        medium::sync_data(&self.file)
    }

    fn begin(&mut self, established: bool) -> io::Result<()> {
        self.generation = self.generation.wrapping_add(1);
        self.established = established;
        self.under_way.clear();
        self.ids.clear();
        self.over.clear();
        self.write_header(0)
    }

    fn write_header(&self, flags: u8) -> io::Result<()> {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.generation.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.party.stream.0.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.party.session.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.party.boot_id.to_le_bytes());
        bytes[28] = flags | if self.established { FLAG_ESTABLISHED } else { 0 };
        let sum = crc32c::crc32c(&bytes[..32]);
        bytes[32..].copy_from_slice(&sum.to_le_bytes());
        self.file.write_all_at(&bytes, 0)
    }

    /// Writes what is under way under a packet identifier: nothing, as zeros, where there is none.
    fn write_slot(&self, id: u16) -> io::Result<()> {
        let mut bytes = [0; SLOT];
        if let Some(Exchange { seq, stage, retain, dated }) = self.under_way.get(&id) {
            bytes[..8].copy_from_slice(&seq.0.to_le_bytes());
            bytes[8] = *stage as u8;
            bytes[9] = u8::from(*retain);
            bytes[10] = u8::from(*dated);
            let sum = slot_sum(self.generation, id, &bytes[..12]);
            bytes[12..].copy_from_slice(&sum.to_le_bytes());
        }
        self.file.write_all_at(&bytes, (SLOTS + usize::from(id) * SLOT) as u64)
    }
}

fn path(directory: &Path) -> PathBuf {
    directory.join("exchanges")
}

fn slot_sum(generation: u64, id: u16, slot: &[u8]) -> u32 {
    let seed = crc32c::crc32c_append(crc32c::crc32c(&generation.to_le_bytes()), &id.to_le_bytes());
    crc32c::crc32c_append(seed, slot)
}

/// What the head of a file says.
struct Header {
    generation: u64,
    stream: StreamId,
    session: u32,
    boot_id: u32,
    flags: u8,
}

/// The header of a whole file; `None`: it is damaged. Never panics, whatever the bytes are.
fn read_header(bytes: &[u8]) -> Option<Header> {
    if bytes.len() != SIZE || bytes[..8] != MAGIC || crc32c::crc32c(&bytes[..32]) != u32_at(bytes, 32) {
        return None;
    }
    Some(Header {
        generation: u64_at(bytes, 8),
        stream: StreamId(u32_at(bytes, 16)),
        session: u32_at(bytes, 20),
        boot_id: u32_at(bytes, 24),
        flags: bytes[28],
    })
}

/// Generation and exchanges of an established session that can be trusted.
fn recover(bytes: &[u8], party: Party) -> Option<(u64, BTreeMap<u16, Exchange>)> {
    let Header { generation, stream, session, boot_id, flags } = read_header(bytes)?;
    let same = stream == party.stream && session == party.session;
    let trusted = flags & FLAG_FLUSHED != 0 || boot_id == party.boot_id;
    if flags & FLAG_ESTABLISHED == 0 || !same || !trusted {
        return None;
    }
    let under_way = under_way(bytes, generation);
    let seqs: BTreeSet<Seq> = under_way.values().map(|exchange| exchange.seq).collect();
    // A message is under way once; what says more was not written by us.
    (seqs.len() == under_way.len()).then_some((generation, under_way))
}

/// The exchanges of one generation, by packet identifier, in a file whose header is good.
fn under_way(bytes: &[u8], generation: u64) -> BTreeMap<u16, Exchange> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exchange(seq: u64, retain: bool) -> Exchange {
        Exchange { seq: Seq(seq), stage: Stage::Published, retain, dated: seq.is_multiple_of(2) }
    }

    const PARTY: Party = Party { stream: StreamId(0x3f9a_1c02), session: 7, boot_id: 1 };

    fn listed(exchanges: &Exchanges) -> Vec<(u16, u64, Stage)> {
        exchanges.under_way().map(|(id, Exchange { seq, stage, .. })| (id, seq.0, stage)).collect()
    }

    fn established(directory: &Path) -> Exchanges {
        let mut exchanges = Exchanges::open(directory, PARTY, &[]).unwrap();
        exchanges.establish().unwrap();
        exchanges
    }

    #[derive(Debug, Clone)]
    enum Step {
        Publish(u16),
        Receive(prop::sample::Index),
        End(prop::sample::Index),
        Clear,
        Reopen,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1u16..).prop_map(Step::Publish),
            3 => any::<prop::sample::Index>().prop_map(Step::Receive),
            3 => any::<prop::sample::Index>().prop_map(Step::End),
            2 => Just(Step::Clear),
            1 => Just(Step::Reopen),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_new_process_knows_what_was_under_way(steps in proptest::collection::vec(step(), 1..60)) {
            let folder = tempfile::tempdir().unwrap();
            let mut exchanges = established(folder.path());
            let (mut model, mut next) = (BTreeMap::new(), 0);

            for step in steps.into_iter().chain([Step::Clear, Step::Reopen]) {
                let ids: Vec<u16> = model.keys().copied().collect();
                match step {
                    Step::Publish(id) if !model.contains_key(&id) => {
                        next += 1;
                        exchanges.published(id, exchange(next, false)).unwrap();
                        model.insert(id, (next, Stage::Published));
                    }
                    Step::Receive(index) if !ids.is_empty() => {
                        let id = *index.get(&ids);
                        exchanges.received(id).unwrap();
                        model.get_mut(&id).unwrap().1 = Stage::Received;
                    }
                    Step::End(index) if !ids.is_empty() => {
                        let (seq, _) = model.remove(index.get(&ids)).unwrap();
                        exchanges.end(Seq(seq));
                        prop_assert!(!exchanges.contains(Seq(seq)));
                    }
                    Step::Clear => exchanges.clear().unwrap(),
                    Step::Reopen => {
                        exchanges.clear().unwrap();
                        exchanges = Exchanges::open(folder.path(), PARTY, &[]).unwrap();
                    }
                    Step::Publish(_) | Step::Receive(_) | Step::End(_) => {}
                }
                let expected: Vec<_> = model.iter().map(|(id, (seq, stage))| (*id, *seq, *stage)).collect();
                prop_assert_eq!(listed(&exchanges), expected);
            }
        }
    }

    #[test]
    fn an_exchange_that_is_over_stands_in_the_file_until_it_is_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let mut exchanges = established(folder.path());
        exchanges.published(5, exchange(100, false)).unwrap();
        exchanges.received(5).unwrap();

        exchanges.end(Seq(100));
        let before = listed(&Exchanges::open(folder.path(), PARTY, &[]).unwrap());
        exchanges.clear().unwrap();
        let after = listed(&Exchanges::open(folder.path(), PARTY, &[]).unwrap());

        assert_eq!(before, [(5, 100, Stage::Received)]);
        assert_eq!(after, []);
    }

    #[test]
    fn a_packet_identifier_that_is_used_again_is_not_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let mut exchanges = established(folder.path());
        exchanges.published(5, exchange(100, false)).unwrap();

        exchanges.end(Seq(100));
        exchanges.published(5, exchange(101, false)).unwrap();
        exchanges.clear().unwrap();

        assert_eq!(listed(&Exchanges::open(folder.path(), PARTY, &[]).unwrap()), [(5, 101, Stage::Published)]);
    }

    #[test]
    fn the_end_of_a_message_leaves_another_one_with_its_identifier_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut exchanges = established(folder.path());
        exchanges.published(1, exchange(100, false)).unwrap();

        exchanges.published(1, exchange(101, true)).unwrap();
        exchanges.end(Seq(100));
        exchanges.clear().unwrap();

        assert!(exchanges.contains(Seq(101)) && !exchanges.contains(Seq(100)));
        let reopened = Exchanges::open(folder.path(), PARTY, &[]).unwrap();
        assert_eq!(reopened.get(1), Some(exchange(101, true)));
    }

    #[test]
    fn abandoning_one_exchange_leaves_others_that_are_over_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut exchanges = established(folder.path());
        exchanges.published(1, exchange(100, false)).unwrap();
        exchanges.published(2, exchange(101, false)).unwrap();

        exchanges.end(Seq(100));
        exchanges.abandon(Seq(101)).unwrap();

        assert_eq!(listed(&Exchanges::open(folder.path(), PARTY, &[]).unwrap()), [(1, 100, Stage::Published)]);
    }

    #[test]
    fn a_reboot_is_trusted_after_an_orderly_end_only() {
        let folder = tempfile::tempdir().unwrap();
        let rebooted = Party { boot_id: 2, ..PARTY };
        let mut exchanges = established(folder.path());
        exchanges.published(5, exchange(100, false)).unwrap();

        exchanges.flush().unwrap();
        let orderly = Exchanges::open(folder.path(), rebooted, &[]).unwrap();
        let again = Exchanges::open(folder.path(), PARTY, &[]).unwrap();

        assert!(orderly.is_established());
        assert_eq!(listed(&orderly), [(5, 100, Stage::Published)]);
        // The mark was gone as soon as the file was opened, and this boot is another one.
        assert!(!again.is_established());
        assert_eq!(listed(&again), []);
    }

    #[test]
    fn another_session_is_not_gone_on_with() {
        for other in [Party { session: 8, ..PARTY }, Party { stream: StreamId(1), ..PARTY }] {
            let folder = tempfile::tempdir().unwrap();
            established(folder.path()).published(5, exchange(100, false)).unwrap();

            let exchanges = Exchanges::open(folder.path(), other, &[]).unwrap();

            assert!(!exchanges.is_established());
            assert_eq!(listed(&exchanges), []);
        }
    }

    #[test]
    fn a_forgotten_session_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let mut exchanges = established(folder.path());
        exchanges.published(5, exchange(100, false)).unwrap();

        exchanges.forget().unwrap();
        let forgotten = Exchanges::open(folder.path(), PARTY, &[]).unwrap().is_established();
        exchanges.establish().unwrap();
        let exchanges = Exchanges::open(folder.path(), PARTY, &[]).unwrap();

        assert!(!forgotten);
        assert!(exchanges.is_established());
        assert_eq!(listed(&exchanges), []);
    }

    #[test]
    fn a_damaged_file_is_no_session() {
        for length in [0, 10, SIZE - 1, SIZE + 1] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(path(folder.path()), vec![0xff; length]).unwrap();

            let exchanges = Exchanges::open(folder.path(), PARTY, &[]).unwrap();

            assert!(!exchanges.is_established());
            assert_eq!(fs::metadata(path(folder.path())).unwrap().len(), SIZE as u64);
        }
    }
}
