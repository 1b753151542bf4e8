//! The spool as its owner uses it, on a real folder.

use super::*;
use crate::config;
use crate::message::{Format, Qos, Stamp};
use std::collections::BTreeSet;
use std::fs;
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

pub(super) fn route(source: &str) -> Arc<Route> {
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
            taken: Stamp {
                wall: 1_700_000_000_000 + number.cast_signed(),
                boot: number,
                boot_id: 7,
                synchronised: true,
            },
            data: format!("{{\"number\":{number}}}").into_bytes(),
        })
        .collect()
}

pub(super) fn open(config: &config::Spool) -> Result<Spool, OpenError> {
    Spool::open(config, &[])
}

pub(super) fn append(spool: &mut Spool, samples: &[Sample]) -> RangeInclusive<Seq> {
    let appended = spool.append(samples, None, Instant::now());
    assert_eq!(appended, Appended { taken: samples.len(), ..Appended::default() });
    spool.commit().unwrap().expect("something was accepted")
}

/// Everything that is given out, and what is reported lost.
pub(super) fn drain(spool: &mut Spool) -> (Vec<Message>, BTreeSet<u64>) {
    let (mut messages, mut lost) = (Vec::new(), BTreeSet::new());
    while let Some(message) = spool.next(Instant::now(), |range| lost.extend(range.start().0..=range.end().0)).unwrap()
    {
        messages.push(message);
    }
    (messages, lost)
}

pub(super) fn seqs(messages: &[Message]) -> Vec<u64> {
    messages.iter().map(|message| message.seq.0).collect()
}

pub(super) fn newest(directory: &Path) -> PathBuf {
    segment::path(directory, *folder::segments(directory).unwrap().0.last_key_value().unwrap().0)
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

    spool.append(&samples([1]), None, Instant::now());
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
    assert_eq!(spool.commit_due(Instant::now()), None);

    let before = Instant::now();
    spool.append(&samples([1]), None, Instant::now());
    let due = spool.commit_due(Instant::now()).unwrap();

    assert!(due >= before + interval && due <= Instant::now() + interval);
    spool.sync = Sync::Always;
    assert!(spool.commit_due(Instant::now()).unwrap() <= Instant::now());
    spool.commit().unwrap();
    assert_eq!(spool.commit_due(Instant::now()), None);
}

#[test]
fn what_is_finished_is_not_given_out_again_after_a_restart() {
    let folder = folder();
    let mut spool = open(&config(folder.path())).unwrap();
    append(&mut spool, &samples(1..=10));
    for seq in [1, 2, 3, 5, 9] {
        spool.finish(Seq(seq), Instant::now());
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
    assert!(spool.segments.len() > 3, "{:?}", spool.segments);

    let (messages, lost) = drain(&mut spool);
    messages.iter().for_each(|message| spool.finish(message.seq, Instant::now()));
    spool.trim().unwrap();

    assert_eq!(seqs(&messages), (1..=5000).collect::<Vec<_>>());
    assert!(lost.is_empty());
    let left: Vec<Seq> = folder::segments(folder.path()).unwrap().0.into_keys().collect();
    assert_eq!(left.len(), 2, "the one being written, and one to be used again");
    assert_eq!(left[1], spool.writer.first());
    assert_eq!(spool.waiting(), 0);
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
        let appended = spool.append(&samples(batch * 100 + 1..=batch * 100 + 100), None, Instant::now());
        assert_eq!((appended.taken, appended.dropped_newest, appended.error), (100, 0, None));
        dropped.extend(appended.dropped_oldest.iter().flat_map(|range| range.start().0..=range.end().0));
    }
    spool.commit().unwrap();

    assert!(spool.bytes() <= 1024 * 1024);
    let (messages, lost) = drain(&mut spool);
    assert!(!dropped.is_empty() && lost.is_empty());
    assert_eq!(dropped, (1..=dropped.len() as u64).collect());
    assert_eq!(seqs(&messages), (dropped.len() as u64 + 1..=30_000).collect::<Vec<_>>());
    assert_eq!(spool.waiting(), messages.len() as u64);
}

#[test]
fn a_full_spool_never_drops_what_is_in_flight() {
    let folder = folder();
    let mut spool = open(&config::Spool { max_size: 1024 * 1024, ..config(folder.path()) }).unwrap();
    let mut dropped = BTreeSet::new();

    for batch in 0..300 {
        let appended =
            spool.append(&samples(batch * 100 + 1..=batch * 100 + 100), Some(&(Seq(3)..=Seq(40))), Instant::now());
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
        let appended = spool.append(&samples(batch * 100 + 1..=batch * 100 + 100), None, Instant::now());
        assert_eq!((appended.taken, appended.dropped_oldest, appended.error), (100, vec![], None));
        dropped += appended.dropped_newest;
    }
    spool.commit().unwrap();

    let (messages, _) = drain(&mut spool);
    assert!(dropped > 0);
    assert_eq!(seqs(&messages), (1..=30_000 - dropped).collect::<Vec<_>>());
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
fn a_lost_journal_repeats_messages_and_loses_none() {
    let folder = folder();
    let mut spool = open(&config(folder.path())).unwrap();
    append(&mut spool, &samples(1..=10));
    spool.finish(Seq(1), Instant::now());
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
    (1..=5).for_each(|seq| spool.finish(Seq(seq), Instant::now()));
    spool.trim().unwrap();
    let stream = spool.stream();
    drop(spool);
    fs::remove_file(newest(folder.path())).unwrap();

    let mut spool = open(&config(folder.path())).unwrap();
    append(&mut spool, &samples([11]));

    // How far the former stream went, nobody knows: only another one has no number of it.
    assert_ne!(spool.stream(), stream);
    assert_eq!(seqs(&drain(&mut spool).0), [1]);
}
