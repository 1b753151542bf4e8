//! Torn writes and damage in the newest segment, whose file is new, or held other messages before.
//!
//! What is written stands from the segment's beginning on. A medium writes sectors whole or not at all, so a torn write
//! is made of sectors from before and after it; damage is made of anything.

use super::tests::{append, config, drain, folder, newest, open, route, samples, seqs};
use super::*;
use sector::{PAGE, PAGE_DATA, SECTOR};
use std::collections::BTreeSet;
use std::fs;
use tempfile::TempDir;

/// What the newest segment's file is.
#[derive(Debug, Clone, Copy)]
enum Ground {
    New,
    /// Full of an earlier segment's records.
    UsedBefore,
}

const GROUNDS: [Ground; 2] = [Ground::New, Ground::UsedBefore];

/// A spool whose newest segment holds nothing yet.
struct Fixture {
    folder: TempDir,
    spool: Spool,
    /// The seq below the first one of the newest segment.
    base: u64,
}

impl Fixture {
    fn new(ground: Ground) -> Fixture {
        let folder = folder();
        let mut spool = open(&config::Spool { max_size: 1024 * 1024, ..config(folder.path()) }).unwrap();
        if let Ground::UsedBefore = ground {
            while spool.segments.len() < 3 {
                let first = spool.writer.next().0;
                append(&mut spool, &samples(first..first + 100));
            }
            (1..spool.writer.next().0).for_each(|seq| spool.finish(Seq(seq), Instant::now()));
            spool.trim().unwrap();
            let files = fs::read_dir(folder.path()).unwrap().count();
            spool.begin_segment(&samples([1])[0], None, &mut Vec::new(), Instant::now()).unwrap();
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), files, "a file is used again");
            let left = fs::read(newest(folder.path())).unwrap();
            assert!(left[PAGE..].iter().filter(|byte| **byte != 0).count() > 40_000, "records of a former use");
        }
        let base = spool.writer.next().0 - 1;
        Fixture { folder, spool, base }
    }

    /// Appends so many messages, as one batch; where in the file they begin and end.
    fn append(&mut self, count: u64) -> (usize, usize) {
        let begin = self.place();
        let next = self.spool.writer.next().0;
        append(&mut self.spool, &samples(next..next + count));
        (begin, self.place())
    }

    /// Where in the file the next record begins.
    fn place(&self) -> usize {
        place(self.spool.writer.committed_offset())
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(newest(self.folder.path())).unwrap()
    }

    /// A folder with the newest segment alone, whose file holds this; and the file.
    fn copy(&self, bytes: &[u8]) -> (TempDir, PathBuf) {
        let copy = folder();
        let name = copy.path().join(newest(self.folder.path()).file_name().unwrap());
        fs::write(&name, bytes).unwrap();
        (copy, name)
    }

    /// These messages, counted from the segment's first on.
    fn numbers(&self, range: RangeInclusive<u64>) -> Vec<u64> {
        range.map(|number| self.base + number).collect()
    }
}

/// Where in the file the byte of content at `offset` stands.
fn place(offset: u64) -> usize {
    let number = sector::number_of(offset);
    let place = sector::position(number) + offset - sector::content_offset(number) + (SECTOR - sector::DATA) as u64;
    usize::try_from(place).unwrap()
}

fn sector_mut(bytes: &mut [u8], number: usize) -> &mut [u8] {
    &mut bytes[number * SECTOR..(number + 1) * SECTOR]
}

#[test]
fn a_torn_tail_is_overwritten() {
    for ground in GROUNDS {
        let (kept, torn_batch) = (20, 6);
        let mut fixture = Fixture::new(ground);
        let (_, begin) = fixture.append(kept);
        let (_, end) = fixture.append(torn_batch);
        let whole = fixture.bytes();

        for cut in begin..end {
            for shorten in [false, true] {
                let mut bytes = whole.clone();
                if shorten {
                    bytes.truncate(cut);
                } else {
                    bytes[cut..].fill(0);
                }
                let (copy, _) = fixture.copy(&bytes);

                let mut spool = open(&config(copy.path())).unwrap();
                let next = append(&mut spool, &samples([0])).start().0 - fixture.base;
                let (messages, lost) = drain(&mut spool);

                assert!((kept + 1..=kept + torn_batch).contains(&next), "{ground:?}, cut at {cut}: {next} is next");
                assert_eq!(seqs(&messages), fixture.numbers(1..=next), "{ground:?}, cut at {cut}");
                assert!(lost.is_empty(), "{ground:?}, cut at {cut}");
            }
        }
    }
}

#[test]
fn sectors_that_never_reached_the_medium_are_a_torn_write() {
    for ground in GROUNDS {
        let mut fixture = Fixture::new(ground);
        let (_, begin) = fixture.append(20);
        let before = fixture.bytes();
        let (_, end) = fixture.append(60);
        let after = fixture.bytes();
        let sectors: Vec<usize> = (begin / SECTOR..=end / SECTOR).collect();
        assert!(sectors.len() > 5);

        // Each alone is missing, each alone is there, and all up to one or from one on.
        type Chosen = fn(usize, usize) -> bool;
        let choices: [Chosen; 4] = [|at, one| at != one, |at, one| at == one, |at, one| at < one, |at, one| at > one];
        for (one, chosen) in sectors.iter().flat_map(|one| choices.map(|chosen| (*one, chosen))) {
            let mut bytes = before.clone();
            for written in sectors.iter().filter(|at| chosen(**at, one)) {
                sector_mut(&mut bytes, *written).copy_from_slice(&after[written * SECTOR..][..SECTOR]);
            }
            let (copy, _) = fixture.copy(&bytes);

            let mut spool = open(&config(copy.path())).unwrap();
            let next = spool.writer.next().0 - fixture.base;
            append(&mut spool, &samples(next..=90));
            let (messages, lost) = drain(&mut spool);

            assert!((21..=81).contains(&next), "{ground:?}, sector {one}: {next} is next");
            assert_eq!(seqs(&messages), fixture.numbers(1..=90), "{ground:?}, sector {one}");
            assert!(lost.is_empty(), "{ground:?}, sector {one}");
        }
    }
}

#[test]
fn a_first_write_that_is_torn_is_forgotten() {
    for ground in GROUNDS {
        let mut fixture = Fixture::new(ground);
        let before = fixture.bytes();
        let (_, end) = fixture.append(60);
        let after = fixture.bytes();

        for missing in 0..=end / SECTOR {
            let mut bytes = after.clone();
            sector_mut(&mut bytes, missing).copy_from_slice(&before[missing * SECTOR..][..SECTOR]);
            let (copy, _) = fixture.copy(&bytes);

            let mut spool = open(&config(copy.path())).unwrap();
            let next = append(&mut spool, &samples([0])).start().0 - fixture.base;
            let (messages, lost) = drain(&mut spool);

            assert!((1..=60).contains(&next) && (missing > 0 || next == 1), "{ground:?}, sector {missing}: {next}");
            assert_eq!(seqs(&messages), fixture.numbers(1..=next), "{ground:?}, sector {missing}");
            assert!(lost.is_empty(), "{ground:?}, sector {missing}");
        }
    }
}

#[test]
fn a_flipped_byte_costs_at_most_one_message() {
    for ground in GROUNDS {
        let mut fixture = Fixture::new(ground);
        let end = (0..4).map(|_| fixture.append(5).1).max().unwrap();
        let whole = fixture.bytes();

        for at in 0..end {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x41;
            let (copy, _) = fixture.copy(&bytes);

            let mut spool = Spool::open(&config(copy.path()), &[route("board"), route("wind")]).unwrap();
            let next = append(&mut spool, &samples([21]));
            let (messages, lost) = drain(&mut spool);

            let expected = Seq(fixture.base + 21);
            assert_eq!(next, expected..=expected, "{ground:?}, byte {at}: a seq was given out twice");
            let present: BTreeSet<u64> = seqs(&messages).into_iter().collect();
            assert!(present.is_disjoint(&lost) && present.len() + lost.len() == 21, "{ground:?}, byte {at}: {lost:?}");
            assert!(lost.len() <= 1, "{ground:?}, byte {at}: {lost:?}");
        }
    }
}

#[test]
fn a_zeroed_block_costs_what_was_in_it() {
    for ground in GROUNDS {
        let mut fixture = Fixture::new(ground);
        fixture.append(500);
        fixture.append(1);
        let mut bytes = fixture.bytes();
        bytes[2 * PAGE..3 * PAGE].fill(0);
        let (copy, name) = fixture.copy(&bytes);

        let mut spool = open(&config(copy.path())).unwrap();
        let (messages, lost) = drain(&mut spool);

        assert_eq!(messages.len() + lost.len(), 501);
        assert!((60..90).contains(&lost.len()), "{} records of 50 to 60 bytes in 4096", lost.len());
        assert!(name.with_extension("seg.damaged").exists());
        let next = Seq(fixture.base + 502);
        assert_eq!(append(&mut spool, &samples([502])), next..=next);
    }
}

#[test]
fn a_sector_with_a_wrong_tag_costs_what_was_in_it() {
    for ground in GROUNDS {
        let mut fixture = Fixture::new(ground);
        fixture.append(200);
        let (_, end) = fixture.append(1);
        let whole = fixture.bytes();

        for number in 1..end / SECTOR - 1 {
            let mut bytes = whole.clone();
            sector_mut(&mut bytes, number)[..2].iter_mut().for_each(|byte| *byte ^= 0x41);
            let (copy, _) = fixture.copy(&bytes);

            let mut spool = open(&config(copy.path())).unwrap();
            let next = append(&mut spool, &samples([202])).start().0 - fixture.base;
            let (messages, lost) = drain(&mut spool);

            assert_eq!(next, 202, "{ground:?}, sector {number}: a seq was given out twice");
            assert_eq!(messages.len() + lost.len(), 202, "{ground:?}, sector {number}");
            assert!((8..=12).contains(&lost.len()), "{ground:?}, sector {number}: {lost:?}");
        }
    }
}

/// Appends messages of about 200 bytes, one in each commit, so that pages are padded; the last thing there is padding.
fn pad(fixture: &mut Fixture) -> u64 {
    for number in 1..100 {
        let mut sample = samples([number]);
        sample[0].data = format!("{{\"text\":\"{}\"}}", "x".repeat(200)).into_bytes();
        append(&mut fixture.spool, &sample);
        if number > 40 && fixture.spool.writer.committed_offset().is_multiple_of(PAGE_DATA as u64) {
            return number;
        }
    }
    unreachable!("every seventeenth message or so ends a page")
}

#[test]
fn a_record_that_a_page_has_no_room_for_begins_the_next_one() {
    for ground in GROUNDS {
        let mut fixture = Fixture::new(ground);
        let count = pad(&mut fixture);
        let end = fixture.spool.writer.committed_offset();
        let (copy, _) = fixture.copy(&fixture.bytes());

        let mut spool = open(&config(copy.path())).unwrap();
        let (messages, lost) = drain(&mut spool);
        let next = *append(&mut spool, &samples([0])).start();
        let behind = drain(&mut spool).0;

        assert_eq!(sector::position(sector::number_of(end)) % PAGE as u64, 0, "it is a page of the file too");
        assert_eq!(seqs(&messages), fixture.numbers(1..=count));
        assert!(lost.is_empty());
        assert_eq!(next.0, fixture.base + count + 1);
        assert_eq!(seqs(&behind), [next.0]);
        assert!(
            spool.writer.committed_offset() > end && spool.segments.len() == 1,
            "appending goes on behind the padding"
        );
    }
}

#[test]
fn a_flipped_byte_before_or_in_padding_costs_at_most_one_message() {
    for ground in GROUNDS {
        let mut fixture = Fixture::new(ground);
        let count = pad(&mut fixture);
        let end = fixture.place() - (SECTOR - sector::DATA);
        let whole = fixture.bytes();

        for at in (end - 4096 - 500..end - 4096 + 300).chain(end - 500..end) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x41;
            let (copy, _) = fixture.copy(&bytes);

            let mut spool = open(&config(copy.path())).unwrap();
            let next = append(&mut spool, &samples([0])).end().0 - fixture.base;
            let (messages, lost) = drain(&mut spool);

            assert!((count + 1..=count + 2).contains(&next), "{ground:?}, byte {at}: a seq was given out twice");
            let present: BTreeSet<u64> = seqs(&messages).into_iter().collect();
            let all = present.len() + lost.len();
            assert!(present.is_disjoint(&lost) && all as u64 == next, "{ground:?}, byte {at}: {lost:?}");
            assert!(lost.len() <= 1, "{ground:?}, byte {at}: {lost:?}");
        }
    }
}

#[test]
fn a_write_torn_before_or_in_padding_gives_its_number_again() {
    for ground in GROUNDS {
        let mut fixture = Fixture::new(ground);
        let count = pad(&mut fixture);
        let whole = fixture.bytes();
        let end = (fixture.place() - 1) / SECTOR;
        let mut content = Vec::new();
        sector::unseal(&mut content, &whole[..end * SECTOR], 0, Seq(fixture.base + 1));
        let mut search = segment::Search::new(Seq(fixture.base + 1), u64::MAX);
        let begin = (segment::HEADER..content.len())
            .rev()
            .find(|at| search.resync(&content, *at, 0, Seq(fixture.base + count)) == Some(*at))
            .expect("the last message's record");
        let begin = place(begin as u64);

        for missing in begin / SECTOR..end {
            for rest_too in [false, true] {
                let mut bytes = whole.clone();
                let last = if rest_too { end * SECTOR } else { (missing + 1) * SECTOR };
                // What stood in the sector before stays.
                bytes[begin.max(missing * SECTOR)..last].fill(0);
                let (copy, _) = fixture.copy(&bytes);

                let mut spool = open(&config(copy.path())).unwrap();
                let next = append(&mut spool, &samples([0])).start().0 - fixture.base;
                let (messages, lost) = drain(&mut spool);

                assert!((count..=count + 1).contains(&next), "{ground:?}, sector {missing}: {next}");
                assert_eq!(seqs(&messages), fixture.numbers(1..=next), "{ground:?}, sector {missing}");
                assert!(lost.is_empty(), "{ground:?}, sector {missing}");
            }
        }
    }
}
