//! What may reach a broker again: what was in flight when a connection was lost, and what is over where the journal was lost
//! before it had that.

use super::history::Broken;
use crate::message::Seq;
use std::collections::{BTreeMap, BTreeSet};

/// What is known of repeats of the spool's messages, at QoS 1 and 2.
#[derive(Debug, Default)]
pub struct Repeats {
    /// Messages that the gateway has let go of.
    over: BTreeSet<Seq>,
    /// The number of the connection over which a message arrived last.
    connections: BTreeMap<Seq, u64>,
    /// How often a process did not know that a message was over, in all.
    pub forgotten: u64,
    pub broken: Option<Broken>,
}

impl Repeats {
    /// The gateway has let go of a message.
    pub fn over(&mut self, seq: Seq) {
        self.over.insert(seq);
    }

    /// A message has reached a broker over the connection of this number.
    pub fn arrived(&mut self, seq: Seq, connection: u64) {
        if self.over.contains(&seq) {
            self.broken.get_or_insert(format!("message {seq} arrived after it was over"));
        }
        if self.connections.insert(seq, connection) == Some(connection) {
            self.broken.get_or_insert(format!("message {seq} arrived twice over one connection"));
        }
    }

    /// A process ends. `is_finished`: whether its journal has a message; what it passed over comes again.
    pub fn process_ended(&mut self, is_finished: impl Fn(Seq) -> bool) {
        self.over.retain(|seq| is_finished(*seq));
    }

    /// A process has begun. What it does not know to be over comes again: `allowed` messages at most.
    pub fn process_began(&mut self, is_finished: impl Fn(Seq) -> bool, allowed: u64) {
        let before = self.over.len();
        self.over.retain(|seq| is_finished(*seq));
        let forgotten = (before - self.over.len()) as u64;
        self.forgotten += forgotten;
        if forgotten > allowed {
            self.broken.get_or_insert(format!("{forgotten} messages that are over come again; allowed: {allowed}"));
        }
    }
}

mod tests {
    use super::*;

    #[test]
    fn what_is_over_must_not_arrive_again_unless_a_process_has_forgotten_that() {
        let mut repeats = Repeats::default();
        (1..=3).for_each(|seq| repeats.arrived(Seq(seq), 1));
        (1..=2).for_each(|seq| repeats.over(Seq(seq)));
        repeats.process_ended(|_| true);

        repeats.process_began(|seq| seq == Seq(1), 1);
        (2..=3).for_each(|seq| repeats.arrived(Seq(seq), 2));
        assert_eq!((repeats.broken.take(), repeats.forgotten), (None, 1));

        repeats.arrived(Seq(1), 2);
        assert!(repeats.broken.is_some());
    }

    #[test]
    fn what_is_forgotten_is_bounded_and_nothing_arrives_twice_over_one_connection() {
        let mut repeats = Repeats::default();
        (1..=2).for_each(|seq| repeats.over(Seq(seq)));
        repeats.process_began(|_| false, 1);
        assert!(repeats.broken.take().is_some());

        (0..2).for_each(|_| repeats.arrived(Seq(7), 1));
        assert!(repeats.broken.is_some());
    }
}
