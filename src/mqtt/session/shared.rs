//! What the publisher and the library's threads share of the session: what is under way, and under which packet
//! identifier.
//!
//! Which message a packet identifier stands for follows from the order in which packets leave, and is checked by QoS and
//! payload. Whatever does not fit invalidates the session: a broker that got a new message under an identifier which it
//! knows would take it for one that it has.

use super::at_qos_1::AtQos1;
use super::{Expected, News};
use crate::burst::Burst;
use crate::delivery::Publish;
use crate::delivery::Stalls;
use crate::message::Qos;
use crate::spool::{Exchange, Exchanges, Stage};
use log::{error, log};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::time::Instant;

/// Flags of a PUBLISH packet's first byte (MQTT 5, section 3.3.1).
const DUP: u8 = 1 << 3;
const QOS: u8 = 3 << 1;
const QOS_2: u8 = 2 << 1;
const RETAIN: u8 = 1;

pub struct Shared {
    /// Counts the connections that were prepared: stores of former ones do nothing.
    pub connection: u64,
    /// What is under way at QoS 2, on the disk.
    pub exchanges: Exchanges,
    /// What is under way at QoS 1 in the same session.
    pub at_qos_1: AtQos1,
    /// What was handed to the library and has no packet identifier yet, in order.
    pub unnumbered: VecDeque<Expected>,
    /// What waits inside the library to be sent, by its key: the library reads it back when it sends it.
    pub commands: HashMap<String, Vec<u8>>,
    /// Packets that the present connection began with and that are not finished, by packet identifier.
    pub resumed: HashMap<u16, Vec<u8>>,
    /// Whether the library's client is made, and has read what it resumes.
    pub client_is_made: bool,
    /// Why neither the file nor the broker's session must be resumed: a note could not be written, or the library did
    /// what it must not.
    pub invalid: Option<String>,
    /// When notes waited for the disk, since somebody asked.
    pub stalls: Stalls,
    /// The packet identifiers that the library uses over the present connection.
    in_use: BTreeSet<u16>,
    /// The name of the session of the present connection.
    name: u32,
    disk: Burst,
}

impl Shared {
    pub fn new(exchanges: Exchanges) -> Self {
        Self {
            connection: 0,
            name: exchanges.session(),
            exchanges,
            at_qos_1: AtQos1::default(),
            unnumbered: VecDeque::new(),
            commands: HashMap::new(),
            resumed: HashMap::new(),
            client_is_made: false,
            invalid: None,
            stalls: Stalls::default(),
            in_use: BTreeSet::new(),
            disk: Burst::default(),
        }
    }

    /// A connection to the broker that keeps the session of this name begins, with nothing to resume so far.
    pub fn begin(&mut self, name: u32) {
        self.connection += 1;
        self.name = name;
        self.client_is_made = false;
        self.unnumbered.clear();
        self.commands.clear();
        self.resume(HashMap::new());
    }

    /// The connection resumes these packets.
    pub fn resume(&mut self, packets: HashMap<u16, Vec<u8>>) {
        self.in_use = packets.keys().copied().collect();
        self.resumed = packets;
    }

    /// The broker has begun a new session; whether that could be noted.
    pub fn establish(&mut self) -> bool {
        self.at_qos_1.clear();
        self.resume(HashMap::new());
        let name = self.name;
        if self.exchanges.session() != name {
            self.note(|exchanges| exchanges.turn_to(name));
        }
        self.note(Exchanges::establish);
        self.invalid.is_none()
    }

    pub fn forget(&mut self) {
        self.at_qos_1.clear();
        self.note(Exchanges::forget);
    }

    /// Forgets the session where it cannot be trusted any more.
    pub fn forget_invalid(&mut self) {
        if self.invalid.take().is_some() {
            self.forget();
        }
    }

    /// The library did what it must not.
    fn invalidate(&mut self, reason: String) {
        error!("beginning a new session, which may repeat messages: {reason}");
        self.invalid.get_or_insert(reason);
    }

    /// Changes the exchanges. After a failure the file is behind, and a process that resumed it could have the broker
    /// take a new message for one that it has.
    pub fn note(&mut self, change: impl FnOnce(&mut Exchanges) -> io::Result<()>) {
        let begin = Instant::now();
        let noted = change(&mut self.exchanges);
        let now = Instant::now();
        let took = now.duration_since(begin);
        if took > Stalls::SHORTEST {
            self.stalls.note(took, now);
        }
        match noted {
            Ok(()) => {
                self.disk.ended();
            }
            Err(error) => {
                self.invalid.get_or_insert_with(|| "messages in flight cannot be noted".to_owned());
                log!(self.disk.failed(), "cannot note messages in flight; QoS 2 may repeat some error={error}");
            }
        }
    }

    /// The exchange is over, and the message is finished.
    pub fn end(&mut self, what: Publish) {
        self.at_qos_1.remove(what);
        if let Publish::Message(seq) = what {
            self.exchanges.end(seq);
        }
    }

    /// The exchange is over, and the message may be sent in another one.
    pub fn abandon(&mut self, what: Publish) {
        self.at_qos_1.remove(what);
        if let Publish::Message(seq) = what {
            self.note(|exchanges| exchanges.abandon(seq));
        }
    }

    /// Whether something is under way under a packet identifier.
    pub fn is_taken(&self, id: u16) -> bool {
        self.resumed.contains_key(&id) || self.at_qos_1.has_id(id) || self.exchanges.get(id).is_some()
    }

    /// The PUBLISH with this packet identifier is about to leave.
    pub fn published(&mut self, id: u16, packet: &[&[u8]]) {
        let head = packet.first().and_then(|head| head.first()).copied().unwrap_or_default();
        if head & DUP != 0 {
            // The library sends again what was noted before.
            if !self.in_use.contains(&id) {
                self.invalidate(format!("the library sends packet {id} again, which was not sent"));
            }
            return;
        }
        if self.is_taken(id) || !self.in_use.insert(id) {
            return self.invalidate(format!("the library sends another message as packet {id}, which is under way"));
        }
        let qos = if head & QOS == QOS_2 { Qos::ExactlyOnce } else { Qos::AtLeastOnce };
        // The payload is the last buffer (`MQTTPacket_send_publish` in MQTTPacket.c).
        let payload = Expected::sum(packet.last().copied().unwrap_or_default());
        match self.unnumbered.pop_front() {
            Some(expected) if expected.qos == qos && expected.payload == payload => {
                self.sent(id, expected, head & RETAIN != 0, packet);
            }
            Some(expected) => {
                self.invalidate(format!("the library sends as packet {id} another message than {:?}", expected.what));
            }
            None => self.invalidate(format!("the library sends packet {id}, which it was not given")),
        }
    }

    fn sent(&mut self, id: u16, expected: Expected, retain: bool, packet: &[&[u8]]) {
        match (expected.qos, expected.what) {
            (Qos::ExactlyOnce, Publish::Message(seq)) => {
                let exchange = Exchange { seq, stage: Stage::Published, retain, dated: expected.dated };
                self.note(|exchanges| exchanges.published(id, exchange));
            }
            (_, what) => self.at_qos_1.insert(id, what, packet.concat()),
        }
    }

    /// The PUBREL with this packet identifier is about to leave.
    pub fn received(&mut self, id: u16) {
        if !self.in_use.contains(&id) || self.at_qos_1.has_id(id) {
            return self.invalidate(format!("the library sends a PUBREL for packet {id}, which is not under way"));
        }
        self.note(|exchanges| exchanges.received(id));
    }

    /// The exchange of this packet identifier has ended, with this reason code where the broker refused the message; how,
    /// where a former connection had begun it.
    pub fn ended(&mut self, id: u16, refusal: Option<u8>) -> Option<News> {
        if !self.in_use.remove(&id) {
            self.invalidate(format!("the library has finished packet {id}, which is not under way"));
            return None;
        }
        let at_qos_1 = self.at_qos_1.remove_id(id);
        let exchange = self.exchanges.get(id);
        self.resumed.remove(&id)?;
        let what = at_qos_1.or(exchange.map(|exchange| Publish::Message(exchange.seq)))?;
        let is_confirmed = exchange.is_some_and(|exchange| exchange.stage == Stage::Received);
        Some(match refusal.filter(|_| !is_confirmed) {
            Some(reason) => News::Refused(what, reason),
            None => News::Completed(what),
        })
    }
}
