//! The gateway's end of the session in the simulated world: what it noted of messages on their way.

use super::broker::Packet;
use crate::delivery::{Publish, UnderWay};
use crate::message::{Qos, Seq};
use crate::spool::Stage;
use std::collections::{BTreeMap, BTreeSet};

/// A message on its way.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub packet: Packet,
    pub stage: Stage,
    /// The place in the order of sending.
    number: u64,
}

/// The notes. What is at QoS 2 outlives the process and, where it was flushed, the power.
#[derive(Debug, Default)]
pub struct Notes {
    /// The place of the broker in the configuration whose session it is.
    pub session: usize,
    is_established: bool,
    exchanges: BTreeMap<Seq, Exchange>,
    /// The process knows that these exchanges are over; their notes stay until the journal has it.
    over: BTreeSet<Seq>,
    /// What is under way at QoS 1 in the same session, in memory.
    at_qos_1: BTreeMap<Publish, Exchange>,
    numbers: u64,
}

impl Notes {
    /// Whether a connection to this broker resumes the session.
    pub fn resumes_at(&self, member: usize) -> bool {
        self.is_established && self.session == member
    }

    /// A broker has begun a new session.
    pub fn establish(&mut self, member: usize) {
        *self = Self { session: member, is_established: true, numbers: self.numbers, ..Self::default() };
    }

    /// The next connection begins a new session.
    pub fn forget(&mut self) {
        *self = Self { session: self.session, numbers: self.numbers, ..Self::default() };
    }

    /// The process has ended.
    pub fn process_ended(&mut self) {
        self.over.clear();
        self.at_qos_1.clear();
    }

    /// What is on its way at QoS 1: the next process publishes it anew, after what it resumes at QoS 2.
    pub fn unanswered_at_qos_1(&self) -> impl Iterator<Item = Publish> + '_ {
        self.at_qos_1.keys().copied()
    }

    /// A packet leaves.
    pub fn published(&mut self, packet: Packet) {
        self.numbers += 1;
        let exchange = Exchange { packet, stage: Stage::Published, number: self.numbers };
        match (exchange.packet.what, exchange.packet.qos) {
            (_, Qos::AtMostOnce) => {}
            (Publish::Message(seq), Qos::ExactlyOnce) => {
                self.exchanges.insert(seq, exchange);
            }
            (what, Qos::AtLeastOnce | Qos::ExactlyOnce) => {
                self.at_qos_1.insert(what, exchange);
            }
        }
    }

    /// The broker has confirmed a message at QoS 2.
    pub fn received(&mut self, seq: Seq) {
        if let Some(exchange) = self.exchanges.get_mut(&seq) {
            exchange.stage = Stage::Received;
        }
    }

    /// The broker has answered for good.
    pub fn answered(&mut self, what: Publish) {
        self.at_qos_1.remove(&what);
    }

    /// A message is over.
    pub fn end(&mut self, what: Publish) {
        self.at_qos_1.remove(&what);
        if let Some(seq) = what.spooled().filter(|seq| self.exchanges.contains_key(seq)) {
            self.over.insert(seq);
        }
    }

    /// An exchange is over, and its message may be published in another one.
    pub fn abandon(&mut self, what: Publish) {
        self.at_qos_1.remove(&what);
        if let Some(seq) = what.spooled() {
            self.exchanges.remove(&seq);
        }
    }

    /// What is over needs no note any more.
    pub fn journal_written(&mut self) {
        let over = std::mem::take(&mut self.over);
        self.exchanges.retain(|seq, _| !over.contains(seq));
    }

    /// What is on its way, in the order of sending.
    pub fn on_their_way(&self) -> Vec<Exchange> {
        let at_qos_2 = self.exchanges.iter().filter(|(seq, _)| !self.over.contains(seq)).map(|(_, exchange)| exchange);
        let mut exchanges: Vec<Exchange> = at_qos_2.chain(self.at_qos_1.values()).cloned().collect();
        exchanges.sort_by_key(|exchange| exchange.number);
        exchanges
    }

    /// Whether messages are on their way at QoS 2.
    pub fn is_busy(&self) -> bool {
        self.exchanges.keys().any(|seq| !self.over.contains(seq))
    }

    pub fn under_way(&self) -> Vec<UnderWay> {
        let exchanges = self.on_their_way();
        let under_way =
            |exchange: &Exchange| UnderWay { what: exchange.packet.what, confirmed: exchange.stage == Stage::Received };
        exchanges.iter().map(under_way).collect()
    }
}
