//! The exchanges under way at QoS 2: which message was published under which packet identifier, and how far the broker
//! has come with it. With this a new process goes on with the broker's session where the former one was killed.
//!
//! One file of fixed size: a header, and a slot for each packet identifier. A slot is written before its packet leaves,
//! without a flush: it survives the process, not a power cut. Resuming a session that has moved on since would let the
//! broker take a new message for one that it has already, which would lose it. So the file is trusted only when it is the
//! one that was left: within the boot that wrote it, when a witness outside the folder vouches for it
//! ([`super::witness`]); after a reboot, when it was flushed at the end and is no copy. Otherwise a new session begins, and
//! what was in flight is published again.
//!
//! `docs/spool-format.md` has the layout.

mod format;

use super::believed::Believed;
use super::folder;
use super::medium;
use super::segment::sync_directory;
use super::witness::{State, Witness};
use crate::message::{Seq, StreamId};
use crate::own;
use format::{
    FLAG_ESTABLISHED, FLAG_FLUSHED, HEADER, Header, SIZE, are_distinct, identity, read_header, state_of, under_way,
};
use log::{info, warn};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

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
    witness: Witness,
    /// What tells this file from a copy of it.
    identity: u64,
    /// Drawn at random when the file was opened.
    token: u64,
    party: Party,
    /// Seeds the slots' checksums: beginning a session makes all former slots void.
    generation: u64,
    established: bool,
    under_way: BTreeMap<u16, Exchange>,
    ids: HashMap<Seq, u16>,
    /// Packet identifiers of exchanges that are over but stand in the file.
    over: Vec<u16>,
    /// What stands in the file, by packet identifier.
    standing: HashMap<u16, State>,
    state: State,
}

impl Exchanges {
    /// Opens the file in `directory`, or creates it. There is no established session when the file is another
    /// party's, is damaged, or cannot be trusted. Sessions of `others` may be resumed as well as the party's own: the same
    /// client's at other brokers.
    ///
    /// # Errors
    /// The medium's.
    pub fn open(directory: &Path, party: Party, others: &[u32], witness: Witness) -> io::Result<Exchanges> {
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
        let identity = identity(&file, directory)?;
        let found = read_header(&bytes).map(|header| {
            let under_way = under_way(&bytes, header.generation);
            let state = header.state().with(state_of(&under_way));
            (header, under_way, state)
        });
        let word = witness.word(found.as_ref().map(|(.., state)| *state));
        let mut exchanges = Exchanges {
            file,
            witness,
            identity,
            token: random(),
            party,
            generation: random(),
            established: false,
            under_way: BTreeMap::new(),
            ids: HashMap::new(),
            over: Vec::new(),
            standing: HashMap::new(),
            state: State::of(&[]),
        };
        let before = found.and_then(|(header, under_way, state)| {
            let is_resumed = header.is_resumed_by(party, others, word, identity) && are_distinct(&under_way);
            if is_resumed {
                exchanges.resume(&header, under_way);
            } else if header.flags & FLAG_ESTABLISHED != 0 {
                info!("exchanges at QoS 2 are not those that were left; what was in flight is published again");
            }
            is_resumed.then_some(state)
        });
        exchanges.state = exchanges.header(0).state().with(state_of(&exchanges.under_way));
        exchanges.witness.expect(before.unwrap_or(exchanges.state), exchanges.state);
        exchanges.write_header(0)?;
        // From here on slots change without a flush: a mark of an orderly end, and the token that a former snapshot has,
        // must be gone before that.
        medium::sync_data(&exchanges.file)?;
        exchanges.witness.expect(exchanges.state, exchanges.state);
        Ok(exchanges)
    }

    fn resume(&mut self, header: &Header, under_way: BTreeMap<u16, Exchange>) {
        self.party.session = header.session;
        self.generation = header.generation;
        self.established = true;
        self.ids = under_way.iter().map(|(id, exchange)| (exchange.seq, *id)).collect();
        self.standing = under_way.iter().map(|(id, exchange)| (*id, exchange.state(*id))).collect();
        self.under_way = under_way;
    }

    /// The number behind the highest one that the file names as a message of this stream; the first one where it names
    /// none that is believed. Only what was accepted is published, so these numbers are given, whether the session can be trusted or not.
    pub fn named_end(directory: &Path, stream: StreamId, believed: Believed) -> Seq {
        let content = medium::read(&path(directory), SIZE as u64);
        let bytes = content.map_or_else(|_| Vec::new(), |content| content.bytes);
        let header = read_header(&bytes).filter(|header| header.stream == stream);
        let named = header.map_or_else(BTreeMap::new, |header| under_way(&bytes, header.generation));
        let last = named.values().map(|exchange| exchange.seq).filter(|seq| believed.has(*seq)).max();
        last.map_or(Seq::FIRST, Seq::next)
    }

    /// Whether a folder has such a file.
    pub fn exist(directory: &Path) -> bool {
        path(directory).exists()
    }

    /// Removes the file, when nobody needs it any more. After a power cut it may be found again, and after an orderly end
    /// it would be trusted: so its header is made void before, on the medium.
    ///
    /// # Errors
    /// The medium's. The next call tries again.
    pub fn remove(directory: &Path) -> io::Result<()> {
        let path = path(directory);
        match own::edit(&path) {
            Ok(file) => {
                file.write_all_at(&[0; HEADER], 0)?;
                medium::sync_data(&file)?;
            }
            // What others put there is not trusted.
            Err(error) if own::is_planted(&error) => {}
            Err(error) => return Err(error),
        }
        fs::remove_file(path)?;
        sync_directory(directory)
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

    /// Writes the file anew from memory where it was taken away from its folder, cut short, or replaced; whether it was. What
    /// is over must be in the journal by then.
    ///
    /// # Errors
    /// The medium's.
    pub fn put_back(&mut self, directory: &Path) -> io::Result<bool> {
        let path = path(directory);
        let is_there = own::is_at(&self.file, &path)? && self.file.metadata()?.len() == SIZE as u64;
        if !is_there {
            folder::make_way(&path);
            self.file = own::begin(&path)?;
        }
        let identity = identity(&self.file, directory)?;
        if is_there && identity == self.identity {
            return Ok(false);
        }
        self.identity = identity;
        self.over.clear();
        self.standing = self.under_way.iter().map(|(id, exchange)| (*id, exchange.state(*id))).collect();
        let after = self.header(0).state().with(state_of(&self.under_way));
        self.witness.expect(self.state, after);
        let mut bytes = vec![0; SIZE];
        bytes[..HEADER].copy_from_slice(&self.header(0).encode());
        for (id, exchange) in &self.under_way {
            let at = usize::try_from(format::position(*id)).expect("within the file");
            let slot = format::slot(self.generation, *id, Some(exchange));
            bytes[at..at + slot.len()].copy_from_slice(&slot);
        }
        self.file.write_all_at(&bytes, 0)?;
        medium::sync_all(&self.file)?;
        sync_directory(directory)?;
        self.witness.expect(after, after);
        self.state = after;
        Ok(!is_there)
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
        self.standing.clear();
        let after = self.header(0).state();
        self.witness.expect(self.state, after);
        self.write_header(0)?;
        self.witness.expect(after, after);
        self.state = after;
        Ok(())
    }

    fn header(&self, flags: u8) -> Header {
        let Party { stream, session, boot_id } = self.party;
        let flags = flags | if self.established { FLAG_ESTABLISHED } else { 0 };
        let (generation, token, identity) = (self.generation, self.token, self.identity);
        Header { generation, stream, session, boot_id, flags, token, identity }
    }

    fn write_header(&self, flags: u8) -> io::Result<()> {
        self.file.write_all_at(&self.header(flags).encode(), 0)
    }

    /// Writes what is under way under a packet identifier: nothing, as zeros, where there is none.
    fn write_slot(&mut self, id: u16) -> io::Result<()> {
        let bytes = format::slot(self.generation, id, self.under_way.get(&id));
        let nothing = State::of(&[]);
        let written = self.under_way.get(&id).map(|exchange| exchange.state(id));
        let standing = self.standing.get(&id).copied().unwrap_or(nothing);
        let after = self.state.without(standing).with(written.unwrap_or(nothing));
        self.witness.expect(self.state, after);
        self.file.write_all_at(&bytes, format::position(id))?;
        self.witness.expect(after, after);
        self.state = after;
        match written {
            Some(written) => self.standing.insert(id, written),
            None => self.standing.remove(&id),
        };
        Ok(())
    }
}

fn path(directory: &Path) -> PathBuf {
    directory.join("exchanges")
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
pub(super) mod tests;
