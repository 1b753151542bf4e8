//! The promises that hold for a whole history.

use super::broker::{Packet, is_poison};
use super::history::{Broken, History, Stream};
use super::seen::{Arrival, Seen};
use crate::delivery::Publish;
use crate::message::{Qos, Seq};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

impl History {
    /// The promises that hold at the end of a stream.
    pub(super) fn judge(&mut self, stream: Stream) -> Result<(), Broken> {
        if let Some(broken) = self.watch.broken.take() {
            return Err(broken);
        }
        let world = self.world.borrow();
        let seen = &world.seen;
        let arrived: BTreeSet<Seq> = seen.arrivals.iter().filter_map(|arrival| arrival.packet.what.spooled()).collect();
        let aside = set_aside(self.folder.path(), &stream.id.to_string());
        let is_known = |seq| arrived.contains(&seq) || aside.contains(&seq) || seen.at_qos_0.contains(&seq);
        let missing: Vec<u64> = (1..stream.next.0).filter(|seq| !is_known(Seq(*seq))).collect();
        if missing.len() as u64 > self.dropped {
            let some: Vec<_> = missing.iter().take(10).collect();
            return Err(format!("{} messages are missing, as {some:?}; {} were counted", missing.len(), self.dropped));
        }
        for seq in &aside {
            if world.poison.is_none() || !is_poison(Publish::Message(*seq)) {
                return Err(format!("message {seq} was set aside, and the broker takes it"));
            }
            if arrived.contains(seq) {
                return Err(format!("message {seq} arrived and was set aside"));
            }
        }
        self.judge_repeats(seen)?;
        judge_order(seen)?;
        judge_numbers(seen)
    }

    /// At QoS 1 no more than a window arrives again for each loss; at QoS 2, for each new session. What the journal has lost
    /// comes on top of that.
    fn judge_repeats(&self, seen: &Seen) -> Result<(), Broken> {
        let forgotten = seen.repeats.forgotten;
        let window = u64::from(self.terms.window);
        let lives: BTreeSet<u32> = seen.arrivals.iter().map(|arrival| arrival.life).collect();
        let of = |qos: Qos| seen.arrivals.iter().filter(move |arrival| arrival.packet.qos == qos);
        let within = repeats(of(Qos::ExactlyOnce).map(|arrival| (arrival.packet.what, arrival.life)));
        let across = repeats(of(Qos::ExactlyOnce).map(|arrival| (arrival.packet.what, 0)));
        let at_least = repeats(of(Qos::AtLeastOnce).map(|arrival| (arrival.packet.what, 0)));
        let bounds = [
            (within, 0, "at QoS 2 within a session"),
            (across, lives.len() as u64 * window + forgotten, "at QoS 2"),
            (at_least, seen.losses * window + forgotten, "at QoS 1"),
        ];
        for (repeats, allowed, which) in bounds {
            if repeats > allowed {
                return Err(format!("{repeats} arrived again {which}; allowed: {allowed}"));
            }
        }
        Ok(())
    }
}

/// How many of these spooled messages arrived again.
fn repeats(arrivals: impl Iterator<Item = (Publish, u32)>) -> u64 {
    let mut counts: BTreeMap<(Publish, u32), u64> = BTreeMap::new();
    for arrival in arrivals.filter(|(what, _)| what.spooled().is_some()) {
        *counts.entry(arrival).or_default() += 1;
    }
    counts.values().map(|count| count - 1).sum()
}

/// First arrivals come in order, but for what was refused or connections ended over. Then messages of other topics may
/// overtake as well.
fn judge_order(seen: &Seen) -> Result<(), Broken> {
    let mut known = BTreeSet::new();
    let mut highest: BTreeMap<&str, Seq> = BTreeMap::new();
    for Arrival { packet: Packet { what, topic, .. }, .. } in &seen.arrivals {
        let Some(seq) = what.spooled().filter(|seq| known.insert(*seq)) else { continue };
        let of_topic = highest.get(topic.as_str()).copied().unwrap_or(Seq(0));
        let of_all = highest.values().copied().max().unwrap_or(Seq(0));
        // One at QoS 0 that was lost may come again after a power cut.
        let is_excused =
            [&seen.excused, &seen.at_qos_0].iter().any(|set| set.contains(&seq)) || seen.refused_topics.contains(topic);
        if seq < of_topic && !is_excused {
            return Err(format!("message {seq} arrived after {of_topic} of its topic"));
        }
        if seq < of_all && !is_excused && !seen.has_hung_up && !seen.overtaken_topics.contains(topic) {
            return Err(format!("message {seq} arrived after {of_all}"));
        }
        highest.insert(topic, of_topic.max(seq));
    }
    Ok(())
}

/// A number of the spool names one sample for ever.
fn judge_numbers(seen: &Seen) -> Result<(), Broken> {
    let mut samples: BTreeMap<Seq, u64> = BTreeMap::new();
    for arrival in &seen.arrivals {
        let (Some(seq), Some(sample)) = (arrival.packet.what.spooled(), arrival.packet.sample) else { continue };
        if *samples.entry(seq).or_insert(sample) != sample {
            return Err(format!("message {seq} is two samples"));
        }
    }
    Ok(())
}

/// The messages of a stream that were set aside.
fn set_aside(folder: &Path, stream: &str) -> BTreeSet<Seq> {
    let files = std::fs::read_dir(folder.join("rejected")).into_iter().flatten().flatten();
    let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
    let seq = |name: String| {
        let number = name.strip_prefix(stream)?.strip_prefix('-')?.strip_suffix(".json")?.parse().ok()?;
        Some(Seq(number))
    };
    names.filter_map(seq).collect()
}
