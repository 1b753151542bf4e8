//! The exchanges as a new process finds them.

use super::format::{SLOT, SLOTS, slot_sum};
use super::*;
use proptest::prelude::*;

/// A file that says this, with right checksums.
pub fn forge(generation: u64, stream: u32, slots: &[(u16, u64, u8)]) -> Vec<u8> {
    let flags = FLAG_ESTABLISHED | FLAG_FLUSHED;
    let stream = StreamId(stream);
    let header = Header { generation, stream, session: 7, boot_id: 1, flags, token: 1, identity: 1 };
    let mut bytes = vec![0; SIZE];
    bytes[..HEADER].copy_from_slice(&header.encode());
    for (id, seq, stage) in slots {
        let slot = &mut bytes[SLOTS + usize::from(*id) * SLOT..][..SLOT];
        slot[..8].copy_from_slice(&seq.to_le_bytes());
        slot[8] = *stage;
        let sum = slot_sum(generation, *id, &slot[..12]);
        slot[12..].copy_from_slice(&sum.to_le_bytes());
    }
    bytes
}

fn exchange(seq: u64, retain: bool) -> Exchange {
    Exchange { seq: Seq(seq), stage: Stage::Published, retain, dated: seq.is_multiple_of(2) }
}

const PARTY: Party = Party { stream: StreamId(0x3f9a_1c02), session: 7, boot_id: 1 };

/// Opens the exchanges of a folder, which the same witness knows.
fn open(directory: &Path, party: Party) -> Exchanges {
    Exchanges::open(directory, party, &[], Witness::at(&directory.join("witness"), party.boot_id)).unwrap()
}

impl Exchanges {
    /// Those of the session of this name, for tests elsewhere. The folder is the tests' own.
    pub fn of_session(directory: &Path, session: u32) -> Exchanges {
        open(directory, Party { session, ..PARTY })
    }
}

fn listed(exchanges: &Exchanges) -> Vec<(u16, u64, Stage)> {
    exchanges.under_way().map(|(id, Exchange { seq, stage, .. })| (id, seq.0, stage)).collect()
}

fn established(directory: &Path) -> Exchanges {
    let mut exchanges = open(directory, PARTY);
    exchanges.establish().unwrap();
    exchanges
}

#[derive(Debug, Clone)]
enum Step {
    Publish(u16),
    Receive(prop::sample::Index),
    End(prop::sample::Index),
    Clear,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u16..).prop_map(Step::Publish),
        3 => any::<prop::sample::Index>().prop_map(Step::Receive),
        3 => any::<prop::sample::Index>().prop_map(Step::End),
        2 => Just(Step::Clear),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_new_process_knows_what_was_under_way(steps in proptest::collection::vec(step(), 1..60)) {
        let folder = tempfile::tempdir().unwrap();
        let mut exchanges = established(folder.path());
        let (mut model, mut next) = (BTreeMap::new(), 0);

        for step in steps.into_iter().chain([Step::Clear, Step::Reopen]) {
            let ids: Vec<u16> = model.keys().copied().collect();
            match step {
                Step::Publish(id) if !model.contains_key(&id) => {
                    next += 1;
                    exchanges.published(id, exchange(next, false)).unwrap();
                    model.insert(id, (next, Stage::Published));
                }
                Step::Receive(index) if !ids.is_empty() => {
                    let id = *index.get(&ids);
                    exchanges.received(id).unwrap();
                    model.get_mut(&id).unwrap().1 = Stage::Received;
                }
                Step::End(index) if !ids.is_empty() => {
                    let (seq, _) = model.remove(index.get(&ids)).unwrap();
                    exchanges.end(Seq(seq));
                    prop_assert!(!exchanges.contains(Seq(seq)));
                }
                Step::Clear => exchanges.clear().unwrap(),
                Step::Reopen => {
                    exchanges.clear().unwrap();
                    exchanges = open(folder.path(), PARTY);
                }
                Step::Publish(_) | Step::Receive(_) | Step::End(_) => {}
            }
            let expected: Vec<_> = model.iter().map(|(id, (seq, stage))| (*id, *seq, *stage)).collect();
            prop_assert_eq!(listed(&exchanges), expected);
        }
    }
}

#[test]
fn an_exchange_that_is_over_stands_in_the_file_until_it_is_cleared() {
    let folder = tempfile::tempdir().unwrap();
    let mut exchanges = established(folder.path());
    exchanges.published(5, exchange(100, false)).unwrap();
    exchanges.received(5).unwrap();

    exchanges.end(Seq(100));
    let before = listed(&open(folder.path(), PARTY));
    exchanges.clear().unwrap();
    let after = listed(&open(folder.path(), PARTY));

    assert_eq!(before, [(5, 100, Stage::Received)]);
    assert_eq!(after, []);
}

#[test]
fn a_packet_identifier_that_is_used_again_is_not_cleared() {
    let folder = tempfile::tempdir().unwrap();
    let mut exchanges = established(folder.path());
    exchanges.published(5, exchange(100, false)).unwrap();

    exchanges.end(Seq(100));
    exchanges.published(5, exchange(101, false)).unwrap();
    exchanges.clear().unwrap();

    assert_eq!(listed(&open(folder.path(), PARTY)), [(5, 101, Stage::Published)]);
}

#[test]
fn the_end_of_a_message_leaves_another_one_with_its_identifier_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut exchanges = established(folder.path());
    exchanges.published(1, exchange(100, false)).unwrap();

    exchanges.published(1, exchange(101, true)).unwrap();
    exchanges.end(Seq(100));
    exchanges.clear().unwrap();

    assert!(exchanges.contains(Seq(101)) && !exchanges.contains(Seq(100)));
    let reopened = open(folder.path(), PARTY);
    assert_eq!(reopened.get(1), Some(exchange(101, true)));
}

#[test]
fn abandoning_one_exchange_leaves_others_that_are_over_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut exchanges = established(folder.path());
    exchanges.published(1, exchange(100, false)).unwrap();
    exchanges.published(2, exchange(101, false)).unwrap();

    exchanges.end(Seq(100));
    exchanges.abandon(Seq(101)).unwrap();

    assert_eq!(listed(&open(folder.path(), PARTY)), [(1, 100, Stage::Published)]);
}

#[test]
fn a_reboot_is_trusted_after_an_orderly_end_only() {
    let folder = tempfile::tempdir().unwrap();
    let rebooted = Party { boot_id: 2, ..PARTY };
    let mut exchanges = established(folder.path());
    exchanges.published(5, exchange(100, false)).unwrap();

    exchanges.flush().unwrap();
    let orderly = open(folder.path(), rebooted);
    let again = open(folder.path(), PARTY);

    assert!(orderly.is_established());
    assert_eq!(listed(&orderly), [(5, 100, Stage::Published)]);
    // The mark was gone as soon as the file was opened, and this boot is another one.
    assert!(!again.is_established());
    assert_eq!(listed(&again), []);
}

#[test]
fn another_session_is_not_gone_on_with() {
    for other in [Party { session: 8, ..PARTY }, Party { stream: StreamId(1), ..PARTY }] {
        let folder = tempfile::tempdir().unwrap();
        established(folder.path()).published(5, exchange(100, false)).unwrap();

        let exchanges = open(folder.path(), other);

        assert!(!exchanges.is_established());
        assert_eq!(listed(&exchanges), []);
    }
}

#[test]
fn a_forgotten_session_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut exchanges = established(folder.path());
    exchanges.published(5, exchange(100, false)).unwrap();

    exchanges.forget().unwrap();
    let forgotten = open(folder.path(), PARTY).is_established();
    exchanges.establish().unwrap();
    let exchanges = open(folder.path(), PARTY);

    assert!(!forgotten);
    assert!(exchanges.is_established());
    assert_eq!(listed(&exchanges), []);
}

#[test]
fn a_damaged_file_is_no_session() {
    for length in [0, 10, SIZE - 1, SIZE + 1] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(path(folder.path()), vec![0xff; length]).unwrap();

        let exchanges = open(folder.path(), PARTY);

        assert!(!exchanges.is_established());
        assert_eq!(fs::metadata(path(folder.path())).unwrap().len(), SIZE as u64);
    }
}

/// What is found of a file of which some pages were not written back: of each either what was there before, or what is
/// there now.
fn found(before: &[u8], now: &[u8], lost: &[bool]) -> Vec<u8> {
    let pages = before.chunks(SLOTS).zip(now.chunks(SLOTS)).zip(lost.iter().cycle());
    pages.flat_map(|((before, now), lost)| if *lost { before } else { now }).copied().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_medium_that_has_forgotten_something_is_no_session(
        before in proptest::collection::vec(step(), 0..20), after in proptest::collection::vec(step(), 0..20),
        lost in proptest::collection::vec(any::<bool>(), 1..300),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut exchanges = established(folder.path());
        let (mut next, mut kept) = (0, Vec::new());
        for (number, step) in before.iter().chain(&after).enumerate() {
            if number == before.len() {
                kept = fs::read(path(folder.path())).unwrap();
            }
            let under_way: Vec<_> = exchanges.under_way().collect();
            match step {
                Step::Publish(id) if exchanges.get(*id).is_none() => {
                    next += 1;
                    exchanges.published(*id, exchange(next, false)).unwrap();
                }
                Step::Receive(index) if !under_way.is_empty() => exchanges.received(index.get(&under_way).0).unwrap(),
                Step::End(index) if !under_way.is_empty() => exchanges.end(index.get(&under_way).1.seq),
                Step::Clear => exchanges.clear().unwrap(),
                Step::Reopen => {
                    exchanges.clear().unwrap();
                    exchanges = open(folder.path(), PARTY);
                }
                Step::Publish(_) | Step::Receive(_) | Step::End(_) => {}
            }
        }
        exchanges.clear().unwrap();
        let expected = listed(&exchanges);
        let now = fs::read(path(folder.path())).unwrap();
        let found = if kept.is_empty() { now.clone() } else { found(&kept, &now, &lost) };
        fs::write(path(folder.path()), &found).unwrap();

        let exchanges = open(folder.path(), PARTY);

        let is_as_left = found == now;
        prop_assert!(exchanges.is_established() || !is_as_left);
        prop_assert!(!exchanges.is_established() || listed(&exchanges) == expected, "{:?} {expected:?}", listed(&exchanges));
    }
}

#[test]
fn a_process_that_is_killed_while_it_opens_the_file_leaves_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let mut exchanges = established(folder.path());
    exchanges.published(5, exchange(100, false)).unwrap();
    let former = fs::read(path(folder.path())).unwrap();
    let before = exchanges.state;

    // As far as it comes before the header is written.
    let after = open(folder.path(), PARTY).state;
    Witness::at(&folder.path().join("witness"), PARTY.boot_id).expect(before, after);
    fs::write(path(folder.path()), &former).unwrap();
    let opened = open(folder.path(), PARTY);
    // Not when it was open: this is what a snapshot of an earlier day holds.
    fs::write(path(folder.path()), &former).unwrap();
    let restored = open(folder.path(), PARTY);

    assert_eq!(listed(&opened), [(5, 100, Stage::Published)]);
    assert!(!restored.is_established());
}

#[test]
fn nobody_vouches_for_what_was_not_flushed() {
    let folder = tempfile::tempdir().unwrap();
    established(folder.path()).published(5, exchange(100, false)).unwrap();

    fs::remove_file(folder.path().join("witness")).unwrap();

    assert!(!open(folder.path(), PARTY).is_established());
}

#[test]
fn a_copy_of_what_was_left_in_order_is_no_session() {
    let [folder, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    fs::write(folder.path().join("lock"), "").unwrap();
    let mut exchanges = established(folder.path());
    exchanges.published(5, exchange(100, false)).unwrap();
    exchanges.flush().unwrap();
    fs::copy(path(folder.path()), path(other.path())).unwrap();
    let left = fs::read(path(folder.path())).unwrap();
    let rebooted = Party { boot_id: 2, ..PARTY };
    let reopen = || open(folder.path(), rebooted).is_established();

    let copy = open(other.path(), rebooted).is_established();
    let same = reopen();
    // Into the same files, as `cp` does it.
    fs::remove_file(folder.path().join("witness")).unwrap();
    fs::write(path(folder.path()), &left).unwrap();
    fs::write(folder.path().join("lock"), "").unwrap();
    fs::set_permissions(folder.path().join("lock"), std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    let in_place = reopen();

    assert_eq!((copy, same, in_place), (false, true, false));
}
