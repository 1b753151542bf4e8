//! The newest segment, as it is found: where its good records end, and which number comes next. Reads only.

use super::medium;
use super::record::{Content, Decoded, RouteId, Seed, decode, message_length};
use super::sector;
use super::segment::{self, HEADER, LARGEST, Search, Tail};
use crate::message::{Route, Seq};
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The segment with the highest first seq.
#[derive(Debug)]
pub struct Newest {
    pub first: Seq,
    /// Bytes of its file, as far as it is read.
    pub file_length: u64,
    /// Its content.
    pub content: Vec<u8>,
    pub tail: Tail,
    /// The number of the next message: behind every one that may have been accepted.
    pub next: Seq,
}

impl Newest {
    /// Reads it. All seqs below `accepted` are known to have been accepted.
    ///
    /// # Errors
    /// The medium's.
    pub fn read(directory: &Path, first: Seq, accepted: Seq) -> io::Result<Newest> {
        let medium::Content { bytes: sectors, bad_blocks } = medium::read(&segment::path(directory, first), LARGEST)?;
        let file_length = sectors.len() as u64;
        let foreign = segment::foreign_format(&sectors);
        let mut content = Vec::new();
        if foreign.is_none() {
            sector::unseal(&mut content, &sectors, 0, first);
        }
        let tail = segment::find_tail(&content, first, accepted);
        // What cannot be read may have been accepted: no seq is given out that may stand there.
        let unreadable = if foreign.is_some() { file_length.div_ceil(medium::BLOCK as u64) } else { bad_blocks };
        let unreadable = unreadable * (medium::BLOCK / message_length(0) + 1) as u64;
        let next = Seq(tail.next.0 + unreadable).max(accepted);
        Ok(Newest { first, file_length, content, tail, next })
    }

    /// The routes that it explains. By number: where two claim one, it is the last one's to a reader.
    pub fn routes(&self) -> HashMap<RouteId, Arc<Route>> {
        routes(&self.content, self.first, self.tail)
    }
}

/// The routes that a segment's content explains before its tail.
pub fn routes(content: &[u8], first: Seq, tail: Tail) -> HashMap<RouteId, Arc<Route>> {
    let mut routes = HashMap::new();
    let mut search = Search::new(first, content.len() as u64);
    let mut at = HEADER;
    while at < tail.offset {
        match decode(&content[at..], Seed::of(first)) {
            Decoded::Record(frame) => {
                if let Content::Route(id, route) = frame.content {
                    routes.insert(id, route);
                }
                at += frame.length;
            }
            _ => at = search.resync(content, at + 1, 0, first).unwrap_or(tail.offset),
        }
    }
    routes
}
