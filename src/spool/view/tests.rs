//! What a visitor sees of a spool, whatever stands in its folder.

use super::super::Spool;
use super::super::tests::{append, config, drain, folder, open, samples, seqs};
use super::*;
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Instant;

/// Everything that is seen.
fn look(directory: &Path) -> (Vec<Message>, Vec<Damage>) {
    let mut view = View::of(directory, &[]).unwrap();
    let (mut messages, mut damage) = (Vec::new(), Vec::new());
    loop {
        match view.look_on().unwrap() {
            Sight::Message(message) => messages.push(message),
            Sight::Damage(found) => damage.push(found),
            Sight::End => return (messages, damage),
        }
    }
}

/// Names, contents, modes and times of all files in a folder.
fn state(directory: &Path) -> Vec<(PathBuf, Vec<u8>, u32, i64, i64)> {
    let mut state: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let metadata = path.metadata().unwrap();
            let content = fs::read(&path).unwrap_or_default();
            (path, content, metadata.mode(), metadata.ctime(), metadata.ctime_nsec())
        })
        .collect();
    state.sort();
    state
}

/// A spool of 5,000 messages in several segments, of which some are finished.
fn spool(directory: &Path) -> Spool {
    let small = crate::config::Spool { max_size: 1024 * 1024, ..config(directory) };
    let mut spool = open(&small).unwrap();
    for batch in 0..50 {
        append(&mut spool, &samples(batch * 100..(batch + 1) * 100));
    }
    (1..=50).chain([60, 61, 70]).for_each(|seq| spool.finish(Seq(seq), Instant::now()));
    spool.trim().unwrap();
    spool
}

#[test]
fn what_is_seen_beside_the_owner_is_what_waits_and_the_folder_is_as_it_was() {
    let folder = folder();
    let mut owner = spool(folder.path());
    let newest = segment::path(folder.path(), owner.segments.last_key_value().map(|(first, _)| *first).unwrap());
    fs::set_permissions(&newest, fs::Permissions::from_mode(0o666)).unwrap();
    let before = state(folder.path());

    let (messages, damage) = look(folder.path());
    let facts = View::of(folder.path(), &[]).unwrap().facts();

    assert_eq!(state(folder.path()), before);
    assert_eq!((facts.holder, facts.waiting), (Holder::Process(std::process::id()), 4947));
    assert_eq!((facts.low, facts.next, facts.finished_above), (Seq(51), Seq(5001), 3));
    assert_eq!(damage, []);
    assert_eq!((messages.len(), seqs(&messages)[..10].to_vec()), (4947, vec![51, 52, 53, 54, 55, 56, 57, 58, 59, 62]));
    assert_eq!(messages, drain(&mut owner).0);
}

#[test]
fn messages_that_leave_and_segments_that_are_used_again_meanwhile_are_no_damage() {
    let folder = folder();
    let mut owner = spool(folder.path());
    let mut view = View::of(folder.path(), &[]).unwrap();
    let (mut seen, mut next) = (Vec::new(), 0);

    loop {
        match view.look_on().unwrap() {
            Sight::Message(message) => seen.push(message.seq.0),
            Sight::End => break,
            Sight::Damage(damage) => panic!("{damage:?}"),
        }
        if seen.len().is_multiple_of(10) && next < 6000 {
            // The owner finishes far ahead of the visitor, and writes into the files that this frees.
            let row = next..next + 100;
            row.clone().for_each(|seq| owner.finish(Seq(seq + 1), Instant::now()));
            owner.trim().unwrap();
            append(&mut owner, &samples(row));
            next += 100;
        }
    }

    assert!(seen.is_sorted() && seen.len() > 100, "{}", seen.len());
}

#[test]
fn damage_is_named_with_its_place_and_what_is_lost_by_it_and_no_copy_is_kept() {
    let folder = folder();
    let owner = spool(folder.path());
    let firsts: Vec<Seq> = owner.segments.keys().copied().collect();
    drop(owner);
    let [hurt, gone] = [firsts[1], firsts[2]].map(|first| segment::path(folder.path(), first));
    let mut bytes = fs::read(&hurt).unwrap();
    bytes[20_000..20_100].fill(0x55);
    fs::write(&hurt, bytes).unwrap();
    fs::remove_file(gone).unwrap();
    fs::create_dir(segment::path(folder.path(), Seq(1_000_000))).unwrap();
    let before = state(folder.path());

    let (messages, damage) = look(folder.path());

    let lost = |damage: &Damage| damage.lost.as_ref().map_or(0, |lost| lost.end().0 - lost.start().0 + 1);
    assert_eq!(state(folder.path()), before);
    assert_eq!(damage.len(), 3, "{damage:?}");
    assert!(damage[0].what.contains("name of a segment") && lost(&damage[0]) == 0, "{damage:?}");
    assert_eq!(damage[1].file, Some(hurt));
    let at = damage[1].at.unwrap();
    assert!((19_900..=20_000).contains(&at) && (100..300).contains(&damage[1].bytes), "{damage:?}");
    assert!((2..6).contains(&lost(&damage[1])), "{damage:?}");
    // Where a segment ends only the next one tells: it is looked for in the one before.
    assert_eq!(damage[2].lost, Some(firsts[2]..=Seq(firsts[3].0 - 1)), "{damage:?}");
    assert_eq!(messages.len() as u64 + lost(&damage[1]) + lost(&damage[2]), 4947);
}

#[test]
fn a_folder_without_journal_and_one_without_segments_say_so() {
    let folder = folder();
    drop(spool(folder.path()));
    fs::write(folder.path().join("journal"), [7; 1000]).unwrap();

    let (messages, damage) = look(folder.path());

    assert_eq!(messages.len(), 5000);
    assert!(damage.len() == 1 && damage[0].what.contains("every message in the spool counts"), "{damage:?}");
    let empty = super::super::tests::folder();
    assert_eq!(look(empty.path()), (Vec::new(), Vec::new()));
    assert_eq!(View::of(empty.path(), &[]).unwrap().facts().stream, None);
    assert!(View::of(&empty.path().join("absent"), &[]).is_err());
}

/// What a test does to a file.
#[derive(Debug, Clone)]
enum Harm {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Noise(Vec<u8>),
}

fn any_harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        (any::<prop::sample::Index>(), 1u8..).prop_map(|(at, flip)| Harm::Flip(at, flip)),
        any::<prop::sample::Index>().prop_map(Harm::Cut),
        proptest::collection::vec(any::<u8>(), 0..5000).prop_map(Harm::Noise),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_whatever_make_a_look_panic_or_change_the_folder(
        harms in proptest::collection::vec((any::<prop::sample::Index>(), any_harm()), 1..6),
        name in "[0-9]{20}\\.seg|boots|exchanges|[0-9]{20}\\.new",
        noise in proptest::collection::vec(any::<u8>(), 0..2000),
    ) {
        let folder = folder();
        let mut owner = open(&crate::config::Spool { max_size: 1024 * 1024, ..config(folder.path()) }).unwrap();
        for batch in 0..20 {
            append(&mut owner, &samples(batch * 100..(batch + 1) * 100));
        }
        (1..=20).for_each(|seq| owner.finish(Seq(seq), Instant::now()));
        owner.trim().unwrap();
        drop(owner);
        fs::write(folder.path().join(name), noise).unwrap();
        let mut files: Vec<PathBuf> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for (file, harm) in harms {
            let file = &files[file.index(files.len())];
            let mut bytes = fs::read(file).unwrap();
            match harm {
                Harm::Flip(at, flip) if !bytes.is_empty() => {
                    let at = at.index(bytes.len());
                    bytes[at] ^= flip;
                }
                Harm::Flip(..) => {}
                Harm::Cut(at) => bytes.truncate(at.index(bytes.len() + 1)),
                Harm::Noise(noise) => bytes = noise,
            }
            fs::write(file, bytes).unwrap();
        }
        let before = state(folder.path());

        let (messages, _) = look(folder.path());

        prop_assert!(state(folder.path()) == before);
        prop_assert!(seqs(&messages).is_sorted());
    }
}
