//! Files with a segment's name that are none, in the middle of another segment's numbers.
//!
//! The name of a segment says where the one before it ends. A name alone is no proof: an empty file, or one of which
//! nothing is left, would cut off messages that the segment before it holds. So such a file is set aside where that
//! segment goes on beyond its number.

use super::folder;
use super::medium;
use super::record::{Decoded, Seed, decode};
use super::sector;
use super::segment::{self, HEADER, LARGEST, Search};
use crate::message::Seq;
use log::warn;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Sets impostors aside and takes them out of the segments.
pub fn remove(directory: &Path, segments: &mut BTreeMap<Seq, u64>) {
    for first in take_out(directory, segments) {
        warn!("a file has the name of a segment, and its messages are in the one before it first_seq={first}");
        folder::set_aside_if_there(&segment::path(directory, first));
    }
}

/// Takes impostors out of the segments, and leaves their files alone; their names' numbers. Where all headers are good
/// that costs one sector read for each.
pub fn take_out(directory: &Path, segments: &mut BTreeMap<Seq, u64>) -> Vec<Seq> {
    let (mut before, mut impostors) = (None, Vec::new());
    for first in segments.keys().copied().collect::<Vec<_>>() {
        match is_impostor(directory, before, first) {
            Ok(true) => {
                segments.remove(&first);
                impostors.push(first);
            }
            Ok(false) => before = Some(first),
            // The reader meets it again, and reports what cannot be read.
            Err(error) => {
                warn!("segment not looked at first_seq={first} error={error}");
                before = Some(first);
            }
        }
    }
    impostors
}

fn is_impostor(directory: &Path, before: Option<Seq>, first: Seq) -> io::Result<bool> {
    let Some(before) = before else { return Ok(false) };
    if segment::read_header(directory, first)?.is_some() {
        return Ok(false);
    }
    if content(directory, first)?.is_none_or(|content| holds_a_message(&content, first)) {
        return Ok(false);
    }
    Ok(content(directory, before)?.is_some_and(|former| segment::find_tail(&former, before, before).next > first))
}

/// A segment's content; `None`: it is of a format that this version cannot read.
fn content(directory: &Path, first: Seq) -> io::Result<Option<Vec<u8>>> {
    let sectors = medium::read(&segment::path(directory, first), LARGEST)?.bytes;
    if segment::foreign_format(&sectors).is_some() {
        return Ok(None);
    }
    let mut content = Vec::new();
    sector::unseal(&mut content, &sectors, 0, first);
    Ok(Some(content))
}

/// Whether a segment's content has a good record of a message, be there damage before it or not.
fn holds_a_message(content: &[u8], first: Seq) -> bool {
    let mut search = Search::new(first, content.len() as u64);
    let mut offset = HEADER.min(content.len());
    loop {
        match decode(&content[offset..], Seed::of(first)) {
            Decoded::Record(frame) if frame.seq().is_some() => return true,
            Decoded::Record(frame) => offset += frame.length,
            _ => match search.resync(content, offset + 1, 0, first) {
                Some(found) => offset = found,
                None => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{append, config, drain, folder, open, samples, seqs};
    use super::*;
    use std::fs;
    use std::time::Instant;

    /// 265 messages in one segment, the first 115 of which are finished.
    fn spool(directory: &Path) {
        let mut spool = open(&config(directory)).unwrap();
        append(&mut spool, &samples(1..=265));
        (1..=115).for_each(|seq| spool.finish(Seq(seq), Instant::now()));
        spool.trim().unwrap();
    }

    #[test]
    fn a_name_alone_cuts_off_no_messages() {
        let (zeros, noise) = (vec![0; 1024 * 1024], vec![0xa5; 50_000]);
        for content in [Vec::new(), vec![0; 511], zeros, noise] {
            for firsts in [&[2][..], &[116], &[200], &[2, 3, 116, 265]] {
                let folder = folder();
                spool(folder.path());
                for first in firsts {
                    fs::write(segment::path(folder.path(), Seq(*first)), &content).unwrap();
                }

                let mut spool = open(&config(folder.path())).unwrap();
                let accepted = append(&mut spool, &samples(266..=270));
                let (messages, lost) = drain(&mut spool);

                assert_eq!(accepted, Seq(266)..=Seq(270), "{firsts:?}, {} bytes", content.len());
                assert_eq!(seqs(&messages), (116..=270).collect::<Vec<_>>(), "{firsts:?}, {} bytes", content.len());
                assert!(lost.is_empty(), "{lost:?}");
            }
        }
    }
}
