//! Segments whose files are used again.

use super::tests::{append, config, drain, folder, newest, open, samples, seqs};
use super::*;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// A spool that is cut into 16 segments of 64 KiB.
fn small(directory: &Path) -> config::Spool {
    config::Spool { max_size: 1024 * 1024, ..config(directory) }
}

/// Appends until so many segments were begun, in batches of 50.
fn fill(spool: &mut Spool, begun: usize) {
    let mut firsts = BTreeSet::from([spool.writer.first()]);
    while firsts.len() <= begun {
        let first = spool.writer.next().0;
        append(spool, &samples(first..first + 50));
        firsts.insert(spool.writer.first());
    }
}

/// A sample that needs a segment of this size nearly for itself.
fn large() -> Sample {
    let [mut sample]: [Sample; 1] = samples([0]).try_into().unwrap();
    sample.data = vec![b'x'; 64_550];
    sample
}

fn finish_all(spool: &mut Spool) {
    (spool.journal.finished().low().0..spool.writer.next().0).for_each(|seq| spool.finish(Seq(seq), Instant::now()));
    spool.trim().unwrap();
}

fn inodes(directory: &Path) -> BTreeSet<u64> {
    let files = folder::segments(directory).unwrap().0.into_keys().map(|first| segment::path(directory, first));
    files.map(|file| fs::metadata(file).unwrap().ino()).collect()
}

#[test]
fn two_files_serve_a_spool_that_is_never_full() {
    let folder = folder();
    let mut spool = open(&small(folder.path())).unwrap();
    fill(&mut spool, 1);
    finish_all(&mut spool);
    let files = inodes(folder.path());

    for begun in 0..5 {
        fill(&mut spool, 1);
        let (messages, lost) = drain(&mut spool);
        finish_all(&mut spool);

        assert_eq!(inodes(folder.path()), files, "after {begun} more");
        assert!(!messages.is_empty() && lost.is_empty());
    }
    assert_eq!(files.len(), 2);
}

#[test]
fn the_stream_stays_where_all_is_finished_and_a_failing_disk_takes_no_new_segment() {
    let folder = folder();
    let mut spool = open(&small(folder.path())).unwrap();
    append(&mut spool, &samples(0..10));
    let (stream, next) = (spool.stream(), spool.next_seq());
    drop(spool);
    // What was written last may not be on the medium: nothing is written behind it, and no other file can be made.
    medium::failing::set(Some(medium::failing::Failure::Broken));
    let mut spool = open(&small(folder.path())).unwrap();
    (1..=10).for_each(|seq| spool.finish(Seq(seq), Instant::now()));
    // Where the size has changed no segment can be used again.
    spool.change(&config::Spool { max_size: 64 * 1024 * 1024, ..small(folder.path()) }, &[]);
    let _ = spool.trim();
    medium::failing::set(None);
    spool.finish(Seq(next.0 - 1), Instant::now());
    spool.trim().unwrap();
    drop(spool);

    let spool = open(&small(folder.path())).unwrap();

    assert_eq!((spool.stream(), spool.next_seq(), spool.waiting()), (stream, next, 0));
}

#[test]
fn messages_come_back_from_a_file_that_was_used_before() {
    let folder = folder();
    let mut spool = open(&small(folder.path())).unwrap();
    fill(&mut spool, 1);
    let stream = spool.stream();
    finish_all(&mut spool);
    fill(&mut spool, 1);
    let unfinished = spool.journal.finished().low().0..spool.writer.next().0;
    drop(spool);
    // The journal is lost too, so only the file itself tells the stream.
    fs::remove_file(folder.path().join("journal")).unwrap();

    let mut spool = open(&small(folder.path())).unwrap();
    let (messages, lost) = drain(&mut spool);

    assert_eq!(spool.stream(), stream);
    assert!(unfinished.clone().all(|seq| seqs(&messages).contains(&seq)) && lost.is_empty());
    assert_eq!(append(&mut spool, &samples([0])), Seq(unfinished.end)..=Seq(unfinished.end));
}

#[test]
fn a_power_cut_before_the_first_write_to_a_used_file_costs_nothing() {
    let folder = folder();
    let mut spool = open(&small(folder.path())).unwrap();
    fill(&mut spool, 1);
    finish_all(&mut spool);
    let next = spool.writer.next();
    spool.begin_segment(&samples([0])[0], None, &mut Vec::new(), Instant::now()).unwrap();
    let stream = spool.stream();
    drop(spool);

    let mut spool = open(&small(folder.path())).unwrap();
    let accepted = append(&mut spool, &samples([0]));
    let (messages, lost) = drain(&mut spool);

    assert_eq!((spool.stream(), accepted), (stream, next..=next));
    assert_eq!(seqs(&messages), [next.0]);
    assert!(lost.is_empty());
    let header = segment::read_header(folder.path(), next).unwrap().expect("it was written with the first message");
    assert_eq!((header.stream, header.first), (stream, next));
}

#[test]
fn a_file_to_be_used_again_goes_before_a_message_does() {
    for when_full in [WhenFull::DropNewest, WhenFull::DropOldest] {
        let folder = folder();
        let mut spool = open(&config::Spool { when_full, ..small(folder.path()) }).unwrap();
        fill(&mut spool, 15);
        let second = *spool.segments.keys().nth(1).unwrap();
        (1..second.0).for_each(|seq| spool.finish(Seq(seq), Instant::now()));
        spool.trim().unwrap();
        assert_eq!(spool.bytes(), 1024 * 1024, "it counts");

        let appended = spool.append(&[large()], None, Instant::now());
        spool.commit().unwrap();

        assert_eq!(appended, Appended { taken: 1, ..Appended::default() }, "{when_full:?}");
        assert_eq!(spool.segments.len(), 16);
        assert_eq!(spool.segments.first_key_value().unwrap().0, &second);
    }
}

#[test]
fn it_goes_before_a_message_does_where_it_is_too_small_too() {
    for when_full in [WhenFull::DropNewest, WhenFull::DropOldest] {
        let folder = folder();
        let max_size = 1024 * 1024 + 48 * 1024;
        let mut spool = open(&config::Spool { when_full, max_size, ..config(folder.path()) }).unwrap();
        fill(&mut spool, 15);
        let second = *spool.segments.keys().nth(1).unwrap();
        (1..second.0).for_each(|seq| spool.finish(Seq(seq), Instant::now()));
        spool.trim().unwrap();

        let sample = Sample { data: vec![b'x'; 100 * 1024], ..large() };
        let appended = spool.append(&[sample], None, Instant::now());
        spool.commit().unwrap();

        assert_eq!(appended, Appended { taken: 1, ..Appended::default() }, "{when_full:?}");
        assert_eq!(spool.segments.first_key_value().unwrap().0, &second);
        assert!(spool.bytes() <= max_size);
    }
}

#[test]
fn a_spool_that_becomes_as_small_as_its_one_segment_goes_on() {
    let folder = folder();
    let large_spool = config::Spool { max_size: 64 * 1024 * 1024, ..config(folder.path()) };
    let mut spool = open(&large_spool).unwrap();
    append(&mut spool, &samples(1..=1));
    assert_eq!(spool.bytes(), 1024 * 1024);

    spool.change(&small(folder.path()), &[]);
    let mut taken = 0;
    while spool.segments.len() < 3 {
        let appended = spool.append(&[large()], None, Instant::now());
        spool.commit().unwrap();
        assert_eq!(appended.dropped_newest, 0, "after {taken} messages");
        taken += 1;
    }
    let waiting = spool.waiting();
    let (read, _) = drain(&mut spool);

    assert_eq!(read.len() as u64, waiting);
    assert!(spool.bytes() <= 1024 * 1024, "{}", spool.bytes());
}

#[test]
fn a_file_of_another_size_is_not_used_again() {
    let folder = folder();
    let mut spool = open(&small(folder.path())).unwrap();
    let mut large = samples([1, 2, 3]);
    large[0].data = vec![b'x'; 100 * 1024];
    append(&mut spool, &large);
    fill(&mut spool, 1);

    finish_all(&mut spool);

    assert!(spool.segments.values().all(|size| *size == 64 * 1024), "{:?}", spool.segments);
}

#[test]
fn a_file_that_is_not_what_it_seems_is_not_used_again() {
    type Spoil = fn(&Path);
    let spoil: [(&str, Spoil); 4] = [
        ("damaged header", |file| change(file, |bytes| bytes[20] ^= 1)),
        ("cut short", |file| change(file, |bytes| bytes.truncate(30_000))),
        ("damaged before", |file| fs::write(file.with_extension("seg.damaged"), "").unwrap()),
        ("gone", |file| fs::remove_file(file).unwrap()),
    ];
    for (what, spoil) in spoil {
        let folder = folder();
        let mut spool = open(&small(folder.path())).unwrap();
        fill(&mut spool, 1);
        finish_all(&mut spool);
        let files = inodes(folder.path());
        spoil(&segment::path(folder.path(), *spool.segments.keys().next().unwrap()));
        drop(spool);

        let mut spool = open(&small(folder.path())).unwrap();
        let first = spool.writer.next();
        fill(&mut spool, 1);
        let (messages, lost) = drain(&mut spool);

        assert!(!files.contains(&fs::metadata(newest(folder.path())).unwrap().ino()), "{what}");
        assert_eq!(seqs(&messages), (first.0..spool.writer.next().0).collect::<Vec<_>>(), "{what}");
        assert!(lost.is_empty(), "{what}");
        finish_all(&mut spool);
        assert_eq!(folder::segments(folder.path()).unwrap().0.len(), 2, "{what}");
    }
}

#[test]
fn a_segment_of_another_format_is_kept_and_its_numbers_are_not_given_out_again() {
    for format in [1, 3] {
        let folder = folder();
        let mut spool = open(&small(folder.path())).unwrap();
        append(&mut spool, &samples(1..=10));
        drop(spool);
        let file = newest(folder.path());
        change(&file, |bytes| {
            let at = if format == 1 { 0 } else { sector::SECTOR - sector::DATA };
            let mut header = bytes[sector::SECTOR - sector::DATA..][..segment::HEADER].to_vec();
            header[7] = format;
            let sum = crc32c::crc32c(&header[..28]);
            header[28..].copy_from_slice(&sum.to_le_bytes());
            bytes[at..at + header.len()].copy_from_slice(&header);
        });
        let foreign = fs::read(&file).unwrap();

        let mut spool = open(&small(folder.path())).unwrap();
        let next = append(&mut spool, &samples([0])).start().0;
        let (messages, lost) = drain(&mut spool);

        // No record is shorter than 36 bytes.
        assert!(next >= 64 * 1024 / 36, "{next} may be in the segment that cannot be read");
        assert_eq!((seqs(&messages), lost), (vec![next], (1..next).collect()));
        assert_eq!(fs::read(file.with_extension("seg.damaged")).unwrap(), foreign);
    }
}

#[test]
fn after_a_segment_could_not_be_begun_nothing_more_goes_into_the_present_one() {
    let folder = folder();
    let mut spool = open(&small(folder.path())).unwrap();
    fill(&mut spool, 1);
    medium::failing::set(Some(medium::failing::Failure::Broken));
    let failed = spool.append(&[large()], None, Instant::now());

    let small = spool.append(&samples([0]), None, Instant::now());
    medium::failing::set(None);
    let next = spool.writer.next();
    let after = append(&mut spool, &samples([0]));

    assert!(failed.error.is_some() && small.error.is_some());
    assert_eq!(after, next..=next);
    assert_eq!(spool.writer.first(), next);
}

fn change(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).unwrap();
    change(&mut bytes);
    fs::write(file, bytes).unwrap();
}
