//! Putting back what was set aside, with interruptions wherever they may come.

use super::*;
use crate::spool::power_cut::{End, Medium};
use crate::spool::tests::{append, config, drain, folder, open, samples};
use std::collections::BTreeSet;

/// A spool in which so many messages were set aside.
fn with_set_aside(directory: &Path, count: u64) -> Spool {
    fill(open(&config(directory)).unwrap(), count)
}

fn fill(mut spool: Spool, count: u64) -> Spool {
    append(&mut spool, &samples(1..=count));
    while let Some(message) = spool.next(Instant::now(), |lost| panic!("{lost:?}")).unwrap() {
        spool.set_aside(&message, "not authorized").unwrap();
        spool.finish(message.seq, Instant::now());
    }
    spool.sync_journal().unwrap();
    spool
}

fn given_out(spool: &mut Spool) -> Vec<Sample> {
    drain(spool).0.into_iter().map(|message| message.sample).collect()
}

#[test]
fn everything_comes_back_in_order_behind_the_backlog() {
    let folder = folder();
    let mut spool = with_set_aside(folder.path(), 150);
    append(&mut spool, &samples([1000]));

    let requeued = spool.requeue(Instant::now()).unwrap();

    assert_eq!((requeued.messages, requeued.waiting, requeued.unusable.len()), (150, 0, 0));
    assert_eq!(given_out(&mut spool), [samples([1000]), samples(1..=150)].concat());
    assert!(files(folder.path()).unwrap().is_empty());
}

#[test]
fn an_interruption_anywhere_neither_loses_nor_repeats() {
    for kill in 1..12 {
        let folder = folder();
        let mut spool = with_set_aside(folder.path(), 5);
        Medium::watch(folder.path(), &End { kills: BTreeSet::from([kill]), cut: u32::MAX, seed: 0 });
        let _ = crate::spool::power_cut::unless_killed(|| spool.requeue(Instant::now()));
        drop(spool);
        Medium::end();

        let mut spool = open(&config(folder.path())).unwrap();
        let requeued = spool.requeue(Instant::now()).unwrap();

        assert_eq!(requeued.unusable, [], "kill at flush {kill}");
        assert_eq!(given_out(&mut spool), samples(1..=5), "kill at flush {kill}");
        assert!(files(folder.path()).unwrap().is_empty() && !Intent::path(folder.path()).exists());
    }
}

#[test]
fn numbers_that_others_got_are_not_taken_for_what_was_put_back() {
    let folder = folder();
    let mut spool = with_set_aside(folder.path(), 3);
    let names = files(folder.path()).unwrap();
    let names = names.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    Intent { stream: spool.stream, first: spool.writer.next(), names }.write(folder.path()).unwrap();
    append(&mut spool, &samples(100..=103));
    drop(spool);

    let mut spool = open(&config(folder.path())).unwrap();

    assert_eq!(files(folder.path()).unwrap().len(), 3, "nothing is lost");
    assert_eq!(spool.requeue(Instant::now()).unwrap().messages, 3);
}

#[test]
fn a_full_spool_drops_nothing_and_leaves_the_rest() {
    let folder = folder();
    let small = crate::config::Spool {
        max_size: 128 * 1024,
        when_full: crate::config::WhenFull::DropNewest,
        ..config(folder.path())
    };
    let mut spool = fill(open(&small).unwrap(), 1000);
    append(&mut spool, &samples(2000..=3499));

    let requeued = spool.requeue(Instant::now()).unwrap();

    assert!(requeued.stopped.is_some() && requeued.waiting > 0, "{requeued:?}");
    assert_eq!(requeued.waiting as usize, files(folder.path()).unwrap().len());
    let expected = [samples(2000..=3499), samples(1..=requeued.messages)].concat();
    assert_eq!(given_out(&mut spool), expected);
}

#[test]
fn what_is_forged_or_damaged_stays() {
    let folder = folder();
    let mut spool = with_set_aside(folder.path(), 2);
    let rejected = folder.path().join("rejected");
    let name = |seq: u64| rejected.join(format!("00000001-{seq:020}.json"));
    std::os::unix::fs::symlink("/etc/passwd", name(1)).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, name(2), rustix::fs::Mode::RUSR).unwrap();
    fs::File::create(name(3)).unwrap().set_len(1 << 40).unwrap();
    fs::write(name(4), "{\"reason\": ").unwrap();
    fs::write(rejected.join("notes.txt"), "mine").unwrap();
    fs::create_dir(name(5)).unwrap();

    let requeued = spool.requeue(Instant::now()).unwrap();

    assert_eq!((requeued.messages, requeued.unusable.len()), (2, 6), "{requeued:?}");
    assert_eq!(files(folder.path()).unwrap().len(), 6);
}
