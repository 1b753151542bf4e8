//! The spool as its owner uses it, on a real folder.

use super::*;
use crate::config;
use crate::message::{Format, Qos, Stamp};
use std::collections::BTreeSet;
use tempfile::TempDir;

pub(super) fn folder() -> TempDir {
    // Memory-backed where there is such a place: these tests open spools thousands of times.
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(super) fn config(directory: &Path) -> config::Spool {
    config::Spool {
        directory: directory.to_owned(),
        max_size: 16 * 1024 * 1024,
        max_age: None,
        when_full: WhenFull::DropOldest,
        sync: Sync::Always,
    }
}

fn route(source: &str) -> Arc<Route> {
    Arc::new(Route {
        device: "gateway-7".to_owned(),
        source: source.to_owned(),
        topic: format!("telemetry/gateway-7/{source}"),
        qos: Qos::AtLeastOnce,
        retain: false,
        format: Format::Json,
        expiry: None,
    })
}

pub(super) fn samples(numbers: impl IntoIterator<Item = u64>) -> Vec<Sample> {
    let routes = [route("board"), route("wind")];
    numbers
        .into_iter()
        .map(|number| Sample {
            route: Arc::clone(&routes[usize::from(number % 3 == 0)]),
            taken: Stamp { wall: 1_700_000_000_000 + number.cast_signed(), boot: number, boot_id: 7 },
            data: format!("{{\"number\":{number}}}").into_bytes(),
        })
        .collect()
}

pub(super) fn open(config: &config::Spool) -> Result<Spool, OpenError> {
    Spool::open(config, &[])
}

fn append(spool: &mut Spool, samples: &[Sample]) -> RangeInclusive<Seq> {
    let appended = spool.append(samples, None);
    assert_eq!(appended, Appended { taken: samples.len(), ..Appended::default() });
    spool.commit().unwrap().expect("something was accepted")
}

/// Everything that is given out, and what is reported lost.
fn drain(spool: &mut Spool) -> (Vec<Message>, BTreeSet<u64>) {
    let (mut messages, mut lost) = (Vec::new(), BTreeSet::new());
    while let Some(message) = spool.next(|range| lost.extend(range.start().0..=range.end().0)).unwrap() {
        messages.push(message);
    }
    (messages, lost)
}

fn seqs(messages: &[Message]) -> Vec<u64> {
    messages.iter().map(|message| message.seq.0).collect()
}

fn newest(directory: &Path) -> PathBuf {
    segment::path(directory, *list(directory).unwrap().last_key_value().unwrap().0)
}

#[test]
fn messages_come_back_as_they_were_after_a_restart() {
    let folder = folder();
    let written = samples(1..=100);
    let mut spool = open(&config(folder.path())).unwrap();
    let stream = spool.stream();
    assert_eq!(append(&mut spool, &written), Seq(1)..=Seq(100));
    drop(spool);

    let mut spool = open(&config(folder.path())).unwrap();
    let (messages, lost) = drain(&mut spool);

    assert_eq!(seqs(&messages), (1..=100).collect::<Vec<_>>());
    assert!(messages.iter().all(|message| message.stream == stream));
    assert!(messages.iter().map(|message| &message.sample).eq(&written));
    assert!(lost.is_empty());
    assert_eq!(append(&mut spool, &samples([101])), Seq(101)..=Seq(101));
}

#[test]
fn nothing_is_given_out_before_it_is_accepted() {
    let folder = folder();
    let mut spool = open(&config(folder.path())).unwrap();

    spool.append(&samples([1]), None);
    let before = drain(&mut spool);
    spool.commit().unwrap();
    let after = drain(&mut spool);

    assert!(before.0.is_empty());
    assert_eq!(seqs(&after.0), [1]);
}

#[test]
fn a_commit_is_due_at_once_or_after_the_configured_time() {
    let folder = folder();
    let interval = std::time::Duration::from_secs(5);
    let mut spool = open(&config::Spool { sync: Sync::Every(interval), ..config(folder.path()) }).unwrap();
    assert_eq!(spool.commit_due(), None);

    let before = Instant::now();
    spool.append(&samples([1]), None);
    let due = spool.commit_due().unwrap();

    assert!(due >= before + interval && due <= Instant::now() + interval);
    spool.sync = Sync::Always;
    assert!(spool.commit_due().unwrap() <= Instant::now());
    spool.commit().unwrap();
    assert_eq!(spool.commit_due(), None);
}

#[test]
fn what_is_finished_is_not_given_out_again_after_a_restart() {
    let folder = folder();
    let mut spool = open(&config(folder.path())).unwrap();
    append(&mut spool, &samples(1..=10));
    for seq in [1, 2, 3, 5, 9] {
        spool.finish(Seq(seq));
    }
    spool.trim().unwrap();
    drop(spool);

    let mut spool = open(&config(folder.path())).unwrap();
    let backlog = spool.backlog();
    let (messages, _) = drain(&mut spool);

    assert_eq!(backlog.messages, 5);
    assert_eq!(seqs(&messages), [4, 6, 7, 8, 10]);
}

#[test]
fn a_second_agent_is_kept_out() {
    let folder = folder();
    let first = open(&config(folder.path())).unwrap();

    let second = open(&config(folder.path()));

    let error = second.unwrap_err().to_string();
    assert!(error.contains(&folder.path().display().to_string()) && error.contains("another agent"), "{error}");
    drop(first);
    open(&config(folder.path())).unwrap();
}

#[test]
fn a_long_backlog_crosses_segments_and_they_are_deleted_when_finished() {
    let folder = folder();
    let mut spool = open(&config::Spool { max_size: 1024 * 1024, ..config(folder.path()) }).unwrap();
    for batch in 0..50 {
        append(&mut spool, &samples(batch * 100 + 1..=batch * 100 + 100));
    }
    assert!(spool.segments.len() > 4, "{:?}", spool.segments);

    let (messages, lost) = drain(&mut spool);
    messages.iter().for_each(|message| spool.finish(message.seq));
    spool.trim().unwrap();

    assert_eq!(seqs(&messages), (1..=5000).collect::<Vec<_>>());
    assert!(lost.is_empty());
    assert_eq!(list(folder.path()).unwrap().len(), 1);
    assert_eq!(spool.backlog().messages, 0);
    drop(spool);
    assert_eq!(append(&mut open(&config(folder.path())).unwrap(), &samples([1])), Seq(5001)..=Seq(5001));
}

#[test]
fn a_message_larger_than_a_segment_gets_a_segment_of_its_own() {
    let folder = folder();
    let mut large = samples(1..=3);
    large[1].data = vec![b'x'; 3 * 1024 * 1024];
    let mut spool = open(&config(folder.path())).unwrap();

    append(&mut spool, &large);

    let (messages, lost) = drain(&mut spool);
    assert!(messages.iter().map(|message| &message.sample).eq(&large));
    assert!(lost.is_empty());
}

#[test]
fn a_full_spool_drops_the_oldest_and_says_which() {
    let folder = folder();
    let mut spool = open(&config::Spool { max_size: 1024 * 1024, ..config(folder.path()) }).unwrap();
    let mut dropped = BTreeSet::new();

    for batch in 0..300 {
        let appended = spool.append(&samples(batch * 100 + 1..=batch * 100 + 100), None);
        assert_eq!((appended.taken, appended.dropped_newest, appended.error), (100, 0, None));
        dropped.extend(appended.dropped_oldest.iter().flat_map(|range| range.start().0..=range.end().0));
    }
    spool.commit().unwrap();

    assert!(spool.backlog().bytes <= 1024 * 1024);
    let (messages, lost) = drain(&mut spool);
    assert!(!dropped.is_empty() && lost.is_empty());
    assert_eq!(dropped, (1..=dropped.len() as u64).collect());
    assert_eq!(seqs(&messages), (dropped.len() as u64 + 1..=30_000).collect::<Vec<_>>());
    assert_eq!(spool.backlog().messages, messages.len() as u64);
}

#[test]
fn a_full_spool_never_drops_what_is_in_flight() {
    let folder = folder();
    let mut spool = open(&config::Spool { max_size: 1024 * 1024, ..config(folder.path()) }).unwrap();
    let mut dropped = BTreeSet::new();

    for batch in 0..300 {
        let appended = spool.append(&samples(batch * 100 + 1..=batch * 100 + 100), Some(&(Seq(3)..=Seq(40))));
        dropped.extend(appended.dropped_oldest.iter().flat_map(|range| range.start().0..=range.end().0));
    }
    spool.commit().unwrap();

    assert!(!dropped.is_empty());
    assert!(!dropped.contains(&3) && !dropped.contains(&40));
    let (messages, lost) = drain(&mut spool);
    assert!(lost.is_empty());
    let mut all: Vec<u64> = seqs(&messages).into_iter().chain(dropped).collect();
    all.sort_unstable();
    assert_eq!(all, (1..=30_000).collect::<Vec<_>>());
}

#[test]
fn a_full_spool_that_drops_the_newest_leaves_no_gap() {
    let folder = folder();
    let full = config::Spool { max_size: 1024 * 1024, when_full: WhenFull::DropNewest, ..config(folder.path()) };
    let mut spool = open(&full).unwrap();
    let mut dropped = 0;

    for batch in 0..300 {
        let appended = spool.append(&samples(batch * 100 + 1..=batch * 100 + 100), None);
        assert_eq!((appended.taken, appended.dropped_oldest, appended.error), (100, vec![], None));
        dropped += appended.dropped_newest;
    }
    spool.commit().unwrap();

    let (messages, _) = drain(&mut spool);
    assert!(dropped > 0);
    assert_eq!(seqs(&messages), (1..=30_000 - dropped).collect::<Vec<_>>());
}

#[test]
fn a_torn_tail_is_overwritten() {
    let (kept, torn_batch) = (20, 6);
    let folder = folder();
    let mut spool = open(&config(folder.path())).unwrap();
    append(&mut spool, &samples(1..=kept));
    let begin = usize::try_from(spool.writer.committed_offset()).unwrap();
    append(&mut spool, &samples(kept + 1..=kept + torn_batch));
    let end = usize::try_from(spool.writer.committed_offset()).unwrap();
    drop(spool);
    let whole = fs::read(newest(folder.path())).unwrap();

    for cut in begin..end {
        for shorten in [false, true] {
            let copy = self::folder();
            let mut bytes = whole.clone();
            if shorten {
                bytes.truncate(cut)
            } else {
                bytes[cut..].fill(0)
            }
            fs::write(copy.path().join(newest(folder.path()).file_name().unwrap()), bytes).unwrap();

            let mut spool = open(&config(copy.path())).unwrap();
            let survived = spool.writer.next().0 - 1;
            let next = append(&mut spool, &samples([survived + 1]));
            let (messages, lost) = drain(&mut spool);

            assert!((kept..kept + torn_batch).contains(&survived), "cut at {cut}: {survived} survived");
            assert_eq!(next, Seq(survived + 1)..=Seq(survived + 1), "cut at {cut}");
            assert_eq!(seqs(&messages), (1..=survived + 1).collect::<Vec<_>>(), "cut at {cut}");
            assert!(lost.is_empty(), "cut at {cut}");
        }
    }
}

#[test]
fn sectors_that_never_reached_the_medium_are_a_torn_write() {
    let folder = folder();
    let mut spool = open(&config(folder.path())).unwrap();
    append(&mut spool, &samples(1..=20));
    let begin = usize::try_from(spool.writer.committed_offset()).unwrap();
    append(&mut spool, &samples(21..=80));
    let end = usize::try_from(spool.writer.committed_offset()).unwrap();
    drop(spool);
    let name = newest(folder.path());
    let whole = fs::read(&name).unwrap();
    let sectors: Vec<usize> = (begin / 512..=end / 512).collect();
    assert!(sectors.len() > 5);

    for missing in sectors {
        let copy = self::folder();
        let mut bytes = whole.clone();
        let sector = missing * 512;
        bytes[sector.max(begin)..(sector + 512).min(end)].fill(0);
        fs::write(copy.path().join(name.file_name().unwrap()), bytes).unwrap();

        let mut spool = open(&config(copy.path())).unwrap();
        let survived = spool.writer.next().0 - 1;
        append(&mut spool, &samples(survived + 1..=90));
        let (messages, lost) = drain(&mut spool);

        assert!((20..80).contains(&survived));
        assert_eq!(seqs(&messages), (1..=90).collect::<Vec<_>>(), "sector {missing} missing");
        assert!(lost.is_empty());
    }
}

#[test]
fn a_flipped_byte_costs_at_most_one_message() {
    let folder = folder();
    let mut spool = open(&config(folder.path())).unwrap();
    for batch in 0..4 {
        append(&mut spool, &samples(batch * 5 + 1..=batch * 5 + 5));
    }
    let end = usize::try_from(spool.writer.committed_offset()).unwrap();
    drop(spool);
    let name = newest(folder.path());
    let whole = fs::read(&name).unwrap();

    for at in 0..end {
        let copy = self::folder();
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        fs::write(copy.path().join(name.file_name().unwrap()), bytes).unwrap();

        let mut spool = Spool::open(&config(copy.path()), &[route("board"), route("wind")]).unwrap();
        let next = append(&mut spool, &samples([21]));
        let (messages, lost) = drain(&mut spool);

        assert_eq!(next, Seq(21)..=Seq(21), "byte {at}: a seq was given out twice");
        let present: BTreeSet<u64> = seqs(&messages).into_iter().collect();
        assert!(present.is_disjoint(&lost) && present.len() + lost.len() == 21, "byte {at}: {present:?} {lost:?}");
        assert!(lost.len() <= 1, "byte {at}: {lost:?}");
    }
}

/// A spool with one message of about 200 bytes in each commit, so that pages are padded; the last thing in it is padding.
fn padded(directory: &Path) -> (Spool, u64) {
    let mut spool = open(&config(directory)).unwrap();
    for number in 1.. {
        let mut sample = samples([number]);
        sample[0].data = format!("{{\"text\":\"{}\"}}", "x".repeat(200)).into_bytes();
        append(&mut spool, &sample);
        if number > 40 && spool.writer.committed_offset().is_multiple_of(4096) {
            return (spool, number);
        }
    }
    unreachable!("every seventeenth message or so ends a page")
}

#[test]
fn a_record_that_a_page_has_no_room_for_begins_the_next_one() {
    let folder = folder();
    let (spool, count) = padded(folder.path());
    let end = spool.writer.committed_offset();
    drop(spool);

    let mut spool = open(&config(folder.path())).unwrap();
    let (messages, lost) = drain(&mut spool);
    let next = append(&mut spool, &samples([count + 1]));
    let behind = drain(&mut spool).0;

    assert_eq!(seqs(&messages), (1..=count).collect::<Vec<_>>());
    assert!(lost.is_empty());
    assert_eq!(next, Seq(count + 1)..=Seq(count + 1));
    assert_eq!(seqs(&behind), [count + 1]);
    assert!(spool.writer.committed_offset() > end && spool.segments.len() == 1, "appending goes on behind the padding");
}

#[test]
fn a_flipped_byte_before_or_in_padding_costs_at_most_one_message() {
    let folder = folder();
    let (spool, count) = padded(folder.path());
    let end = usize::try_from(spool.writer.committed_offset()).unwrap();
    drop(spool);
    let name = newest(folder.path());
    let whole = fs::read(&name).unwrap();

    for at in (end - 4096 - 500..end - 4096 + 300).chain(end - 500..end) {
        let copy = self::folder();
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        fs::write(copy.path().join(name.file_name().unwrap()), bytes).unwrap();

        let mut spool = open(&config(copy.path())).unwrap();
        let next = *append(&mut spool, &samples([count + 1])).end();
        let (messages, lost) = drain(&mut spool);

        assert!((count + 1..=count + 2).contains(&next.0), "byte {at}: a seq was given out twice");
        let present: BTreeSet<u64> = seqs(&messages).into_iter().collect();
        assert!(present.is_disjoint(&lost) && (present.len() + lost.len()) as u64 == next.0, "byte {at}: {lost:?}");
        assert!(lost.len() <= 1, "byte {at}: {lost:?}");
    }
}

#[test]
fn a_write_torn_before_or_in_padding_gives_its_number_again() {
    let folder = folder();
    let (spool, count) = padded(folder.path());
    let end = usize::try_from(spool.writer.committed_offset()).unwrap();
    drop(spool);
    let name = newest(folder.path());
    let whole = fs::read(&name).unwrap();
    let seed = record::Seed::of(Seq(1));
    let begin = (segment::HEADER..end)
        .rev()
        .find(|at| segment::resync(&whole[..end], *at, seed, Seq(count)) == Some(*at))
        .expect("the last message's record");

    for missing in begin / 512..end / 512 {
        for rest_too in [false, true] {
            let copy = self::folder();
            let mut bytes = whole.clone();
            let sector = missing * 512;
            bytes[sector.max(begin)..if rest_too { end } else { sector + 512 }].fill(0);
            fs::write(copy.path().join(name.file_name().unwrap()), bytes).unwrap();

            let mut spool = open(&config(copy.path())).unwrap();
            let next = append(&mut spool, &samples([0])).start().0;
            let (messages, lost) = drain(&mut spool);

            assert!((count..=count + 1).contains(&next), "sector {missing}: {next}");
            assert_eq!(seqs(&messages), (1..=next).collect::<Vec<_>>(), "sector {missing}");
            assert!(lost.is_empty(), "sector {missing}");
        }
    }
}

#[test]
fn a_lost_segment_and_foreign_files_cost_nothing_else() {
    let folder = folder();
    let small = config::Spool { max_size: 1024 * 1024, ..config(folder.path()) };
    let mut spool = open(&small).unwrap();
    append(&mut spool, &samples(1..=5000));
    let firsts: Vec<u64> = spool.segments.keys().map(|first| first.0).collect();
    drop(spool);
    fs::remove_file(segment::path(folder.path(), Seq(firsts[1]))).unwrap();
    for foreign in ["notes.txt", "5.seg", "notes.new", "0000000000000000000x.seg"] {
        fs::write(folder.path().join(foreign), "mine").unwrap();
    }
    fs::create_dir(folder.path().join("00000000000000000009.seg")).unwrap();

    let mut spool = open(&small).unwrap();
    let (messages, lost) = drain(&mut spool);

    assert_eq!(lost, (firsts[1]..firsts[2]).collect());
    assert_eq!(seqs(&messages), (1..firsts[1]).chain(firsts[2]..=5000).collect::<Vec<_>>());
    assert!(folder.path().join("notes.new").exists());
}

#[test]
fn a_zeroed_block_costs_what_was_in_it() {
    let folder = folder();
    let mut spool = open(&config(folder.path())).unwrap();
    append(&mut spool, &samples(1..=500));
    append(&mut spool, &samples([501]));
    drop(spool);
    let name = newest(folder.path());
    let mut bytes = fs::read(&name).unwrap();
    bytes[8192..12288].fill(0);
    fs::write(&name, bytes).unwrap();

    let mut spool = open(&config(folder.path())).unwrap();
    let (messages, lost) = drain(&mut spool);

    assert_eq!(messages.len() + lost.len(), 501);
    assert!((50..80).contains(&lost.len()), "{} records of 60 to 70 bytes in 4096", lost.len());
    assert!(name.with_extension("seg.damaged").exists());
    assert_eq!(append(&mut spool, &samples([502])), Seq(502)..=Seq(502));
}

#[test]
fn a_lost_journal_repeats_messages_and_loses_none() {
    let folder = folder();
    let mut spool = open(&config(folder.path())).unwrap();
    append(&mut spool, &samples(1..=10));
    spool.finish(Seq(1));
    spool.trim().unwrap();
    let stream = spool.stream();
    drop(spool);
    fs::remove_file(folder.path().join("journal")).unwrap();

    let mut spool = open(&config(folder.path())).unwrap();

    assert_eq!(spool.stream(), stream);
    assert_eq!(seqs(&drain(&mut spool).0), (1..=10).collect::<Vec<_>>());
}

#[test]
fn lost_segments_do_not_lead_to_repeated_numbers() {
    let folder = folder();
    let mut spool = open(&config(folder.path())).unwrap();
    append(&mut spool, &samples(1..=10));
    (1..=10).for_each(|seq| spool.finish(Seq(seq)));
    spool.trim().unwrap();
    let stream = spool.stream();
    drop(spool);
    fs::remove_file(newest(folder.path())).unwrap();

    let mut spool = open(&config(folder.path())).unwrap();

    assert_eq!(spool.stream(), stream);
    assert_eq!(append(&mut spool, &samples([11])), Seq(11)..=Seq(11));
}
