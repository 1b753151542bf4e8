//! What the simulated world has seen of a gateway, for the judges.

use super::broker::{Code, Packet};
use super::repeats::Repeats;
use crate::delivery::{Publish, Refusal, Scope};
use crate::message::{Qos, Seq};
use std::collections::BTreeSet;
use std::time::Instant;

/// A message that reached a broker.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub packet: Packet,
    /// Which session of all that there ever were it belongs to.
    pub life: u32,
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub struct Seen {
    pub arrivals: Vec<Arrival>,
    pub repeats: Repeats,
    /// Connections that ended although it was not planned.
    pub losses: u64,
    /// When it was tried to connect.
    pub attempts: Vec<Instant>,
    /// When messages were published.
    pub published: Vec<Instant>,
    /// When a message was published last, or it was tried to connect.
    pub last_try: Option<Instant>,
    pub peak_in_flight: usize,
    /// Messages that were published at QoS 0: nobody knows whether they arrive.
    pub at_qos_0: BTreeSet<Seq>,
    /// Messages that may arrive after those behind them: they were refused, or connections ended over them.
    pub excused: BTreeSet<Seq>,
    /// The topics of which every message may.
    pub refused_topics: BTreeSet<String>,
    /// The topics that others may overtake, for a message of theirs is refused or not answered.
    pub overtaken_topics: BTreeSet<String>,
    /// Whether connections have ended over messages.
    pub has_hung_up: bool,
}

impl Seen {
    /// The gateway tries to connect.
    pub fn connecting(&mut self, now: Instant) {
        self.attempts.push(now);
        self.last_try = Some(now);
    }

    /// A message has reached a broker, over the connection of this number.
    pub fn arrived(&mut self, arrival: Arrival, connection: u64) {
        if let Some(seq) = arrival.packet.what.spooled().filter(|_| arrival.packet.qos > Qos::AtMostOnce) {
            self.repeats.arrived(seq, connection);
        }
        self.arrivals.push(arrival);
    }

    /// The gateway has published.
    pub fn published(&mut self, packet: &Packet, in_flight: usize, now: Instant) {
        self.peak_in_flight = self.peak_in_flight.max(in_flight);
        if packet.qos == Qos::AtMostOnce {
            self.at_qos_0.extend(packet.what.spooled());
        }
        if packet.what != Publish::Status {
            self.published.push(now);
            self.last_try = Some(now);
        }
    }

    /// A broker has refused a message.
    pub fn refused(&mut self, packet: &Packet, code: Code) {
        self.excused.extend(packet.what.spooled());
        if let Refusal::Flatly(Scope::Topic, _) | Refusal::ForNow(_) = code.refusal() {
            self.refused_topics.insert(packet.topic.clone());
        }
        // A message of another topic shows whether the broker takes anything.
        self.overtaken_topics.insert(packet.topic.clone());
    }

    /// A broker does not answer a message.
    pub fn ignored(&mut self, packet: &Packet) {
        self.excused.extend(packet.what.spooled());
        self.overtaken_topics.insert(packet.topic.clone());
    }

    /// The process ended, and these were not answered.
    pub fn process_ended(&mut self, unanswered: impl Iterator<Item = Publish>) {
        self.excused.extend(unanswered.filter_map(Publish::spooled));
    }

    /// A connection is about to end over a message.
    pub fn hung_up(&mut self) {
        self.has_hung_up = true;
    }

    /// A connection has ended with these in flight. Where some ended over messages, the gateway cannot know which did.
    pub fn lost(&mut self, in_flight: &BTreeSet<Publish>) {
        if self.has_hung_up {
            self.excused.extend(in_flight.iter().filter_map(|what| what.spooled()));
        }
    }
}
