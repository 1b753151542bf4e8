//! What a folder tells of its stream: whose the messages are, which are finished, and how far the numbers went. Reads only.

use super::believed::Believed;
use super::exchanges::Exchanges;
use super::journal::{Journal, Recovered};
use super::segment;
use crate::message::{Seq, StreamId};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// What segments, journal and exchanges tell together.
#[derive(Debug)]
pub struct Account {
    /// `None`: nothing names one.
    pub stream: Option<StreamId>,
    /// The journal, where it is this stream's.
    pub recovered: Option<Recovered>,
    /// All seqs below this one are known to have been accepted.
    pub accepted: Seq,
    /// The stream of a journal that has lost its segments, and the number behind the last one that it names: how far they
    /// went is not known, so no number of that stream is safe to give out.
    pub bereft: Option<(StreamId, Seq)>,
}

impl Account {
    /// By a folder with these segments.
    ///
    /// # Errors
    /// The medium's, from the journal.
    pub fn by(directory: &Path, segments: &BTreeMap<Seq, u64>, believed: Believed) -> io::Result<Account> {
        let recovered = Journal::read(directory)?.filter(|recovered| believed.has(recovered.finished.end()));
        let end = |recovered: &Recovered| recovered.finished.end();
        let is_bereft = |recovered: &Recovered| segments.is_empty() && end(recovered) > Seq::FIRST;
        let bereft = recovered.as_ref().filter(|recovered| is_bereft(recovered));
        let bereft = bereft.map(|recovered| (recovered.stream, end(recovered)));
        let recovered = recovered.filter(|_| bereft.is_none());
        let journals = recovered.as_ref().map(|recovered| recovered.stream);
        let stream = newest_stream(directory, segments).or(journals);
        let recovered = recovered.filter(|recovered| Some(recovered.stream) == stream);
        // What is finished, or under way at QoS 2, was accepted, whatever the segments still tell.
        let finished_end = recovered.as_ref().map_or(Seq::FIRST, end);
        let named_end = stream.map_or(Seq::FIRST, |stream| Exchanges::named_end(directory, stream, believed));
        Ok(Account { stream, recovered, accepted: finished_end.max(named_end), bereft })
    }
}

/// The stream of the newest segment that tells it.
fn newest_stream(directory: &Path, segments: &BTreeMap<Seq, u64>) -> Option<StreamId> {
    let header = |first: &Seq| segment::read_header(directory, *first).ok().flatten();
    segments.keys().rev().find_map(header).map(|header| header.stream)
}
