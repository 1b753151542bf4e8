//! What comes after damage: a damaged spool opens, takes more, and delivers to the end.
//!
//! A spool lives several times. In each life it takes messages, gives them out and finishes some; then its process is
//! killed and its segments are damaged. Every number is judged in each life: its message is finished, or given out as it
//! was accepted, or reported lost, and never two of these. What was accepted after the damage is given out.

use super::tests::{append, config, drain, folder, newest, open, samples, seqs};
use super::*;
use proptest::prelude::*;
use proptest::sample::Index;
use sector::{PAGE, SECTOR};
use std::collections::BTreeSet;
use std::fs;

/// What happens to a segment's file.
#[derive(Debug, Clone)]
enum Damage {
    /// So many pages from one on read as zeros, as those of a medium do that has lost them.
    LostPages(Index, usize),
    /// As above, counted back from the last page that is written to.
    LostLate(usize, usize),
    LostSectors(Index, usize),
    Flipped(Index, u8),
    /// One sector has another one's content.
    Misplaced(Index, Index),
    Cut(Index),
}

#[derive(Debug, Clone)]
struct Life {
    /// Bytes of data of the messages of each batch.
    batches: Vec<Vec<usize>>,
    /// Which of the messages that are given out are finished.
    finished: Vec<bool>,
    /// What becomes of which segment, counted from the newest.
    damage: Vec<(usize, Damage)>,
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => (any::<Index>(), 1usize..3).prop_map(|(index, count)| Damage::LostPages(index, count)),
        8 => (1usize..5, 1usize..3).prop_map(|(back, count)| Damage::LostLate(back, count)),
        4 => (any::<Index>(), 1usize..10).prop_map(|(index, count)| Damage::LostSectors(index, count)),
        2 => (any::<Index>(), 1u8..).prop_map(|(index, flip)| Damage::Flipped(index, flip)),
        1 => any::<(Index, Index)>().prop_map(|(from, to)| Damage::Misplaced(from, to)),
        1 => any::<Index>().prop_map(Damage::Cut),
    ]
}

prop_compose! {
    fn life()(
        batches in proptest::collection::vec(proptest::collection::vec(0usize..400, 1..60), 0..6),
        finished in prop_oneof![
            1 => Just(vec![false]),
            1 => Just(vec![true]),
            1 => proptest::collection::vec(any::<bool>(), 1..200),
            // All but a few are acknowledged, and those behind an acknowledged one are the newest.
            4 => (proptest::collection::vec(prop_oneof![9 => Just(true), 1 => Just(false)], 1..200), 0usize..40)
                .prop_map(|(finished, waiting)| [finished, vec![false; waiting]].concat()),
        ],
        damage in proptest::collection::vec((prop_oneof![3 => Just(0), 1 => 0usize..4], damage()), 0..3),
    ) -> Life {
        Life { batches, finished, damage }
    }
}

impl Damage {
    fn inflict(&self, bytes: &mut Vec<u8>) {
        let Some(used) = bytes.iter().rposition(|byte| *byte != 0) else { return };
        let sector = |index: &Index| index.index(used / SECTOR + 1) * SECTOR;
        match self {
            Damage::LostPages(index, count) => {
                let first = index.index(used / PAGE + 1) * PAGE;
                let end = (first + count * PAGE).min(bytes.len());
                bytes[first..end].fill(0);
            }
            Damage::LostLate(back, count) => {
                let first = (used / PAGE).saturating_sub(*back) * PAGE;
                let end = (first + count * PAGE).min(bytes.len());
                bytes[first..end].fill(0);
            }
            Damage::LostSectors(index, count) => {
                let end = (sector(index) + count * SECTOR).min(bytes.len());
                bytes[sector(index)..end].fill(0);
            }
            Damage::Flipped(index, flip) => bytes[index.index(used + 1)] ^= flip,
            Damage::Misplaced(from, to) => {
                let content = bytes[sector(from)..(sector(from) + SECTOR).min(bytes.len())].to_vec();
                let end = (sector(to) + content.len()).min(bytes.len());
                bytes[sector(to)..end].copy_from_slice(&content[..end - sector(to)]);
            }
            Damage::Cut(index) => bytes.truncate(index.index(used + 1)),
        }
    }
}

/// What is known of all numbers that were given.
#[derive(Debug, Default)]
struct Judge {
    made: u64,
    /// Accepted, and not finished.
    waiting: BTreeMap<u64, Sample>,
    finished: BTreeSet<u64>,
}

impl Judge {
    /// Accepts messages that have so much data.
    fn append(&mut self, spool: &mut Spool, sizes: &[usize]) {
        let mut samples = samples(self.made..self.made + sizes.len() as u64);
        self.made += sizes.len() as u64;
        for (sample, size) in samples.iter_mut().zip(sizes) {
            sample.data.splice(1..1, format!("\"pad\":\"{}\",", "x".repeat(*size)).into_bytes());
        }
        let accepted = append(spool, &samples);
        self.waiting.extend((accepted.start().0..).zip(samples));
    }

    /// A damaged spool was opened: what it took for a write that did not finish has no number any more.
    fn reopened(&mut self, spool: &Spool) {
        let next = spool.writer.next().0;
        let forgotten = self.waiting.split_off(&next);
        let proven = self.finished.last().copied().unwrap_or(0);
        assert!(proven < next, "seq {proven} is finished, and {next} is next");
        assert!(forgotten.keys().all(|seq| *seq > proven), "{proven} proves that {:?} were accepted", forgotten.keys());
    }

    /// Everything is given out, in order and as it was, or is reported lost.
    fn deliver(&mut self, spool: &mut Spool, new_from: u64) -> Vec<u64> {
        let (messages, lost) = drain(spool);
        let delivered = seqs(&messages);
        assert!(delivered.is_sorted_by(|before, after| before < after), "out of order");
        for message in &messages {
            assert_eq!(Some(&message.sample), self.waiting.get(&message.seq.0), "message {}", message.seq);
        }
        let delivered_set: BTreeSet<u64> = delivered.iter().copied().collect();
        for seq in 1..spool.writer.next().0 {
            let states = [self.finished.contains(&seq), delivered_set.contains(&seq), lost.contains(&seq)];
            let count = states.iter().filter(|state| **state).count();
            assert_eq!(count, 1, "message {seq} is finished, given out, lost: {states:?}");
            assert!(seq < new_from || states[1], "message {seq} was accepted after the damage: {states:?}");
        }
        assert!(lost.iter().all(|seq| *seq < spool.writer.next().0), "numbers are lost that were never given");
        for seq in lost {
            self.waiting.remove(&seq);
            self.finished.insert(seq);
        }
        delivered
    }

    fn finish(&mut self, spool: &mut Spool, seq: u64) {
        spool.finish(Seq(seq), Instant::now());
        self.waiting.remove(&seq);
        self.finished.insert(seq);
    }

    fn live(&mut self, config: &config::Spool, life: &Life) {
        let mut spool = open(config).unwrap();
        self.reopened(&spool);
        let new_from = spool.writer.next().0;
        for batch in [&vec![10, 20]].into_iter().chain(&life.batches) {
            self.append(&mut spool, batch);
        }
        let delivered = self.deliver(&mut spool, new_from);
        for (seq, _) in delivered.iter().zip(life.finished.iter().cycle()).filter(|(_, finished)| **finished) {
            self.finish(&mut spool, *seq);
        }
        spool.trim().unwrap();
        drop(spool);
        for (number, damage) in &life.damage {
            let segments = folder::segments(&config.directory).unwrap();
            let Some(first) = segments.0.keys().rev().nth(*number) else { continue };
            let name = segment::path(&config.directory, *first);
            let mut bytes = fs::read(&name).unwrap();
            damage.inflict(&mut bytes);
            fs::write(name, bytes).unwrap();
        }
    }
}

/// A spool of small segments.
fn small(directory: &Path) -> config::Spool {
    config::Spool { max_size: 2 * 1024 * 1024, ..config(directory) }
}

/// How many times a property is tried.
fn cases(few: u32, many: u32) -> ProptestConfig {
    let soak = std::env::var_os("PACKHORSE_SOAK").is_some();
    ProptestConfig::with_cases(if soak { many } else { few })
}

proptest! {
    #![proptest_config(cases(200, 20_000))]
    #[test]
    fn what_is_accepted_after_damage_is_delivered(lives in proptest::collection::vec(life(), 1..5)) {
        let folder = folder();
        let config = small(folder.path());
        let mut judge = Judge::default();

        for life in &lives {
            judge.live(&config, life);
        }

        judge.live(&config, &Life { batches: vec![vec![0; 40]], finished: vec![true], damage: Vec::new() });
    }
}

#[test]
fn a_page_lost_before_an_acknowledged_message_costs_no_later_one() {
    for (waiting, acknowledged) in [(18, 51), (18, 33), (3, 41), (30, 59), (19, 21)] {
        for page in 0..4 {
            let folder = folder();
            let config = small(folder.path());
            let mut judge = Judge::default();
            let mut spool = open(&config).unwrap();
            judge.append(&mut spool, &[200; 20]);
            judge.append(&mut spool, &[200; 40]);
            for seq in judge.deliver(&mut spool, 1).into_iter().filter(|seq| *seq != waiting && *seq <= acknowledged) {
                judge.finish(&mut spool, seq);
            }
            spool.trim().unwrap();
            drop(spool);
            let mut bytes = fs::read(newest(folder.path())).unwrap();
            bytes[page * PAGE..(page + 1) * PAGE].fill(0);
            fs::write(newest(folder.path()), bytes).unwrap();

            let mut spool = open(&config).unwrap();
            judge.reopened(&spool);
            let new_from = spool.writer.next().0;
            judge.append(&mut spool, &[10; 30]);
            let delivered = judge.deliver(&mut spool, new_from);

            assert!(delivered.ends_with(&(new_from..new_from + 30).collect::<Vec<_>>()));
        }
    }
}
