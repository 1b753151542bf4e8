//! Promises of the journal.

use super::*;
use proptest::prelude::*;

/// A file that says this, with right checksums, in the half where such a generation belongs.
pub fn forge(stream: u32, generation: u64, low: u64, ranges: &[(u64, u64)], entries: &[(u64, u64)]) -> Vec<u8> {
    let range = |(first, last): &(u64, u64)| [first.to_le_bytes(), last.to_le_bytes()].concat();
    let head = [MAGIC, generation.to_le_bytes(), low.to_le_bytes()].concat();
    let counts = [stream, u32::try_from(ranges.len()).unwrap()].map(u32::to_le_bytes).concat();
    let mut half = [head, counts, ranges.iter().flat_map(range).collect()].concat();
    half.extend(crc32c::crc32c(&half).to_le_bytes());
    for entry in entries.iter().map(range) {
        half.extend(&entry);
        half.extend(entry_sum(generation, &entry).to_le_bytes());
    }
    half.resize(HALF, 0);
    let other = vec![0; HALF];
    if half_of(generation) == 0 { [half, other].concat() } else { [other, half].concat() }
}

const STREAM: StreamId = StreamId(0x3f9a_1c02);

fn reopen(directory: &Path) -> Journal {
    let recovered = Journal::read(directory).unwrap().expect("a good journal");
    Journal::resume(directory, recovered).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn it_says_after_a_restart_what_was_written_before(
        batches in proptest::collection::vec(proptest::collection::vec((1u64..3000, 0u64..50), 1..40), 1..20),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(folder.path(), STREAM, Finished::below(Seq(1))).unwrap();
        let mut model = Finished::below(Seq(1));

        for (number, batch) in batches.iter().enumerate() {
            for (first, length) in batch {
                let range = Seq(*first)..=Seq(first + length);
                journal.finish(&range, Instant::now());
                model.insert(&range);
            }
            journal.write().unwrap();
            if number % 3 == 0 {
                journal = reopen(folder.path());
            }
        }

        let journal = reopen(folder.path());
        prop_assert_eq!(journal.finished(), &model);
        prop_assert_eq!(journal.stream, STREAM);
    }

    #[test]
    fn a_damaged_byte_never_invents_a_finished_message(at: prop::sample::Index, flip in 1u8..) {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(folder.path(), STREAM, Finished::below(Seq(1))).unwrap();
        for seq in (1..400).step_by(2) {
            journal.finish(&(Seq(seq)..=Seq(seq)), Instant::now());
        }
        journal.write().unwrap();
        let written = fs::read(folder.path().join("journal")).unwrap();
        let used = written.iter().rposition(|byte| *byte != 0).unwrap() + 1;

        let mut damaged = written.clone();
        damaged[at.index(used)] ^= flip;

        if let Some(recovered) = recover(&damaged) {
            let mut both = journal.finished().clone();
            recovered.finished.ranges().for_each(|range| both.insert(&range));
            prop_assert_eq!(&both, journal.finished());
            prop_assert!(recovered.finished.low() <= journal.finished().low());
        }
    }

    #[test]
    fn no_bytes_whatever_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), magic: bool) {
        if magic && bytes.len() >= 8 {
            bytes[..8].copy_from_slice(&MAGIC);
        }
        recover(&bytes);
    }
}

#[test]
fn it_stays_at_its_size_however_much_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(folder.path(), STREAM, Finished::below(Seq(1))).unwrap();

    // Every second one, then those between: no two make a row.
    for seq in (1..=20_000).step_by(2).chain((2..=20_000).step_by(2)) {
        journal.finish(&(Seq(seq)..=Seq(seq)), Instant::now());
        journal.write().unwrap();
    }

    assert!(journal.generation > 2);
    assert_eq!(fs::metadata(folder.path().join("journal")).unwrap().len(), 2 * HALF as u64);
    assert_eq!(reopen(folder.path()).finished().low(), Seq(20_001));
}

#[test]
fn a_row_of_acknowledgements_takes_one_entry_until_it_is_flushed() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(folder.path(), STREAM, Finished::below(Seq(1))).unwrap();
    let begin = journal.offset;
    let row = |journal: &mut Journal, seqs: RangeInclusive<u64>| {
        for seq in seqs {
            journal.finish(&(Seq(seq)..=Seq(seq)), Instant::now());
            journal.write().unwrap();
        }
        (journal.offset - begin) / ENTRY
    };

    let one = row(&mut journal, 1..=1000);
    journal.sync().unwrap();
    let flushed = fs::read(folder.path().join("journal")).unwrap();
    let two = row(&mut journal, 1001..=2000);
    let three = row(&mut journal, 3000..=4000);

    assert_eq!((one, two, three), (1, 2, 3));
    let now = fs::read(folder.path().join("journal")).unwrap();
    assert_eq!(now[..begin + ENTRY], flushed[..begin + ENTRY], "what was flushed is not touched");
    let mut finished = Finished::below(Seq(2001));
    finished.insert(&(Seq(3000)..=Seq(4000)));
    assert_eq!(reopen(folder.path()).finished(), &finished);
}

#[test]
fn an_entry_across_two_sectors_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(folder.path(), STREAM, Finished::below(Seq(1))).unwrap();
    let mut seq = 0;

    for _ in 0..200 {
        let before = journal.offset;
        // A gap, then a row of two.
        seq += 2;
        for seq in [seq, seq + 1] {
            journal.finish(&(Seq(seq)..=Seq(seq)), Instant::now());
            journal.write().unwrap();
        }
        seq += 1;

        let crosses = before / SECTOR != (before + ENTRY - 1) / SECTOR;
        assert_eq!((journal.offset - before) / ENTRY, if crosses { 2 } else { 1 }, "at {before}");
    }
}

#[test]
fn an_interrupted_switch_leaves_the_former_half_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(folder.path(), STREAM, Finished::below(Seq(1))).unwrap();
    journal.finish(&(Seq(1)..=Seq(7)), Instant::now());
    journal.write().unwrap();
    let before = fs::read(folder.path().join("journal")).unwrap();

    journal.finish(&(Seq(8)..=Seq(9)), Instant::now());
    journal.switch().unwrap();
    let after = fs::read(folder.path().join("journal")).unwrap();

    // The second half's first bytes are there, the rest of its snapshot is not.
    let mut torn = before;
    torn[HALF..HALF + 20].copy_from_slice(&after[HALF..HALF + 20]);
    torn[..HALF].copy_from_slice(&after[..HALF]);
    assert_eq!(half_of(journal.generation), 1);
    assert_eq!(recover(&torn).unwrap().finished.low(), Seq(8));
}

#[test]
fn without_a_file_it_stays_in_memory_until_there_can_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("spool");
    let mut journal = Journal::open(&directory, STREAM, None, Finished::below(Seq(1)));
    assert!(journal.is_missing());
    journal.sync().unwrap();

    journal.finish(&(Seq(1)..=Seq(7)), Instant::now());
    assert!(journal.write().is_err());
    fs::create_dir(&directory).unwrap();
    journal.finish(&(Seq(8)..=Seq(9)), Instant::now());
    journal.write().unwrap();

    assert!(!journal.is_missing());
    assert_eq!(reopen(&directory).finished(), &Finished::below(Seq(10)));
}

#[test]
fn a_half_that_may_not_be_on_the_medium_is_begun_anew_and_not_followed_by_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(folder.path(), STREAM, Finished::below(Seq(1))).unwrap();
    let half = half_of(journal.generation);

    journal.half = Half::Unflushed;
    journal.finish(&(Seq(1)..=Seq(3)), Instant::now());
    journal.sync().unwrap();
    let same = half_of(journal.generation);
    journal.half = Half::Forgetful;
    journal.finish(&(Seq(4)..=Seq(5)), Instant::now());
    journal.sync().unwrap();

    assert_eq!((same, half_of(journal.generation)), (half, 1 - half));
    assert_eq!(reopen(folder.path()).finished(), &Finished::below(Seq(6)));
}
