//! Sectors with tags: how a segment's bytes lie in its file. Pure; knows no files.
//!
//! A file is a row of sectors of 512 bytes, the unit that a medium writes whole or not at all. Each begins with a tag
//! of 6 bytes, made from the segment's first seq and the sector's number, and holds 506 bytes of the segment's content.
//! A sector with any other tag reads as zeros. So a file that held another segment before looks like one of zeros, and
//! what a write that did not finish leaves looks the same in both: sectors of zeros.
//!
//! No two uses of a file have the same first seq, so no tag of a former use is right in this one. A tag counts as right
//! with one byte of it wrong, so that a flipped byte costs no more than what it is in: a tag of another use passes with
//! a likelihood of 6 × 255 in 2⁴⁸, and the records' checksums stand behind it.

use crate::message::Seq;
use std::ops::Range;

/// What storage writes whole or not at all. SD cards and disks promise 512 bytes, most of them 4,096.
pub const SECTOR: usize = 512;
const TAG: usize = 6;
/// Bytes of content in a sector.
pub const DATA: usize = SECTOR - TAG;
/// What file systems write at least, and flash too.
pub const PAGE: usize = 4096;
/// Bytes of content in a page.
pub const PAGE_DATA: usize = PAGE / SECTOR * DATA;

/// Bytes of content that a file of `length` bytes has room for.
pub fn capacity(length: u64) -> u64 {
    let (sector, data, tag) = (SECTOR as u64, DATA as u64, TAG as u64);
    length / sector * data + (length % sector).saturating_sub(tag)
}

/// Bytes of the smallest file of whole pages that has room for so much content.
pub fn file_length(content: u64) -> u64 {
    content.div_ceil(PAGE_DATA as u64) * PAGE as u64
}

/// The number of the sector that holds the byte of content at `offset`.
pub fn number_of(offset: u64) -> u64 {
    offset / DATA as u64
}

/// Where in the file a sector begins.
pub fn position(number: u64) -> u64 {
    number * SECTOR as u64
}

/// Where in the content a sector begins.
pub fn content_offset(number: u64) -> u64 {
    number * DATA as u64
}

/// Where in the file a byte of the content stands.
pub fn in_file(offset: u64) -> u64 {
    position(number_of(offset)) + TAG as u64 + offset % DATA as u64
}

/// Appends the sectors that hold `content`, the first of which has this number; the rest of the last one is zeros.
pub fn seal(out: &mut Vec<u8>, content: &[u8], number: u64, first: Seq) {
    for (data, number) in content.chunks(DATA).zip(number..) {
        out.extend_from_slice(&tag(first, number));
        out.extend_from_slice(data);
        out.resize(out.len() + DATA - data.len(), 0);
    }
}

/// Appends the content of sectors, the first of which has this number; the last one may be cut short. All of those with
/// wrong tags is zeros.
pub fn unseal(out: &mut Vec<u8>, sectors: &[u8], number: u64, first: Seq) {
    for (sector, number) in sectors.chunks(SECTOR).zip(number..) {
        let Some((found, data)) = sector.split_first_chunk::<TAG>() else { return };
        if is_right(*found, tag(first, number)) {
            out.extend_from_slice(data);
        } else {
            out.resize(out.len() + data.len(), 0);
        }
    }
}

/// Bytes of a file that are to be written when `content` changes from `changed` on: whole sectors, to the end of the
/// page, so that the system need not read what the page held before.
pub fn span(changed: u64, end: u64, file_length: u64) -> Range<u64> {
    let stop = position(end.div_ceil(DATA as u64)).next_multiple_of(PAGE as u64);
    position(number_of(changed))..stop.min(file_length)
}

fn is_right(found: [u8; TAG], tag: [u8; TAG]) -> bool {
    found.iter().zip(tag).filter(|(found, right)| **found != *right).count() <= 1
}

fn tag(first: Seq, number: u64) -> [u8; TAG] {
    let [a, b, c, d, e, f, ..] = mix(mix(first.0).wrapping_add(number)).to_le_bytes();
    // Two bytes that are never zero: zeros are no tag.
    [a | 1, b | 1, c, d, e, f]
}

/// One step of SplitMix64: numbers that differ little give numbers that have nothing in common.
pub(super) fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sealed(content: &[u8], number: u64, first: Seq) -> Vec<u8> {
        let mut sectors = Vec::new();
        seal(&mut sectors, content, number, first);
        sectors
    }

    fn unsealed(sectors: &[u8], number: u64, first: Seq) -> Vec<u8> {
        let mut content = Vec::new();
        unseal(&mut content, sectors, number, first);
        content
    }

    prop_compose! {
        fn any_content()(content in proptest::collection::vec(1u8.., 1..3000)) -> Vec<u8> { content }
    }

    proptest! {
        #[test]
        fn content_is_read_as_it_was_written(content in any_content(), number in 0u64..4096, first: u64) {
            let sectors = sealed(&content, number, Seq(first));

            let read = unsealed(&sectors, number, Seq(first));

            prop_assert_eq!(sectors.len() % SECTOR, 0);
            prop_assert_eq!(read.len() as u64, capacity(sectors.len() as u64));
            prop_assert_eq!(&read[..content.len()], &content);
            prop_assert!(read[content.len()..].iter().all(|byte| *byte == 0));
        }

        #[test]
        fn what_another_segment_left_reads_as_zeros(
            content in any_content(), number in 0u64..4096, first: u64, by in 1u64..,
        ) {
            let sectors = sealed(&content, number, Seq(first));

            let read = unsealed(&sectors, number, Seq(first.wrapping_add(by)));

            prop_assert_eq!(read, vec![0; usize::try_from(capacity(sectors.len() as u64)).unwrap()]);
        }

        #[test]
        fn a_sector_in_another_ones_place_reads_as_zeros(
            content in any_content(), number in 0u64..4096, by in 1u64..4096,
        ) {
            let sectors = sealed(&content, number, Seq(1));

            let read = unsealed(&sectors, number + by, Seq(1));

            prop_assert!(read.iter().all(|byte| *byte == 0));
        }

        #[test]
        fn a_flipped_byte_costs_that_byte_at_most(content in any_content(), at: prop::sample::Index, flip in 1u8..) {
            let mut sectors = sealed(&content, 0, Seq(1));
            let whole = unsealed(&sectors, 0, Seq(1));
            let at = at.index(sectors.len());
            sectors[at] ^= flip;

            let read = unsealed(&sectors, 0, Seq(1));

            let differing = whole.iter().zip(&read).filter(|(whole, read)| whole != read).count();
            prop_assert_eq!(differing, usize::from(at % SECTOR >= TAG));
        }

        #[test]
        fn a_cut_file_holds_what_is_before_the_cut(content in any_content(), cut: prop::sample::Index) {
            let sectors = sealed(&content, 0, Seq(1));
            let cut = cut.index(sectors.len());

            let read = unsealed(&sectors[..cut], 0, Seq(1));

            prop_assert_eq!(read.len() as u64, capacity(cut as u64));
            let kept = read.len().min(content.len());
            prop_assert_eq!(&read[..kept], &content[..kept]);
        }

        #[test]
        fn zeros_are_never_content(number: u64, first: u64) {
            prop_assert!(!is_right([0; TAG], tag(Seq(first), number)));
        }

        #[test]
        fn whole_pages_are_written_behind_what_changed(changed in 0u64..20_000, length in 1u64..20_000) {
            let end = changed + length;

            let span = span(changed, end, file_length(end));

            prop_assert_eq!(span.start, position(number_of(changed)));
            prop_assert_eq!(span.end, file_length(end));
            prop_assert!(capacity(file_length(end)) >= end);
        }
    }
}
