//! How long the exchanges stay in the folder, over restarts and power cuts.

use super::power_cut::{End, Medium};
use super::tests::{append, config, folder, samples};
use super::*;
use crate::message::Qos;
use std::collections::BTreeSet;

const SESSION: [u32; 1] = [7];

fn at_qos(qos: Qos, numbers: RangeInclusive<u64>) -> Vec<Sample> {
    let with = |sample: Sample| Sample { route: Arc::new(Route { qos, ..(*sample.route).clone() }), ..sample };
    samples(numbers).into_iter().map(with).collect()
}

/// Fills so many segments.
fn fill(spool: &mut Spool, qos: Qos, segments: usize) {
    let wanted = spool.segments.len() + segments;
    while spool.segments.len() < wanted {
        append(spool, &at_qos(qos, 1..=500));
    }
}

#[test]
fn exchanges_stay_until_the_backlog_of_a_former_qos_2_is_finished() {
    let folder = folder();
    let config = config::Spool { max_size: 4 * 1024 * 1024, ..config(folder.path()) };
    let routes = |qos| at_qos(qos, 1..=1).into_iter().map(|sample| sample.route).collect::<Vec<_>>();
    let mut spool = Spool::open(&config, &routes(Qos::ExactlyOnce)).unwrap();
    spool.exchanges(&SESSION, 1).unwrap().unwrap().establish().unwrap();
    fill(&mut spool, Qos::ExactlyOnce, 2);
    drop(spool);

    for _ in 0..3 {
        let mut spool = Spool::open(&config, &routes(Qos::AtLeastOnce)).unwrap();
        assert!(spool.exchanges(&SESSION, 1).unwrap().is_some(), "messages at QoS 2 are in the spool");
        fill(&mut spool, Qos::AtLeastOnce, 1);
    }

    let now = Instant::now();
    let mut spool = Spool::open(&config, &routes(Qos::AtLeastOnce)).unwrap();
    (1..spool.writer.next().0).for_each(|seq| spool.finish(Seq(seq), now));
    spool.trim().unwrap();
    assert!(spool.exchanges(&SESSION, 1).unwrap().is_none() && !folder.path().join("exchanges").exists());
}

#[test]
fn removed_exchanges_are_trusted_by_nobody_after_a_power_cut() {
    for seed in 0..20 {
        let folder = folder();
        let config = config(folder.path());
        let routes: Vec<_> = at_qos(Qos::ExactlyOnce, 1..=1).into_iter().map(|sample| sample.route).collect();
        let spool = Spool::open(&config, &routes).unwrap();
        let mut exchanges = spool.exchanges(&SESSION, 1).unwrap().unwrap();
        exchanges.establish().unwrap();
        exchanges.flush().unwrap();
        Medium::watch(folder.path(), &End { kills: BTreeSet::new(), cut: u32::MAX, seed });

        spool.end_exchanges().unwrap();

        let image = Medium::end();
        let found = image.iter().find(|(name, _)| *name == "exchanges").map(|(_, bytes)| bytes.as_slice());
        assert!(found.is_none_or(|bytes| bytes[..8] == [0; 8]), "seed {seed}: a session that was given up is back");
    }
}
