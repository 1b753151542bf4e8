//! The simulated brokers: what they take, refuse and forget.

use crate::delivery::{Publish, Refusal, Scope};
use crate::message::{Qos, Seq};
use crate::payload::Outgoing;
use std::collections::{BTreeMap, BTreeSet};

/// Of so many messages one is poison, where there is poison.
const POISON: u64 = 97;

/// How a broker answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Good,
    /// It refuses every message with this reason.
    Refuses(Code),
    /// It accepts connections and ends them at the first publish, as in an election.
    HangsUp,
    /// It answers nothing.
    Silent,
}

/// The reason with which a broker refuses a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    Unspecified,
    Implementation,
    NotAuthorized,
    TopicName,
    Quota,
}

/// What becomes of the messages that a broker never takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poison {
    Refused(Code),
    /// The connection ends over it.
    HangsUp,
    /// The connection ends over it, and the broker says so.
    Blamed,
    /// It is never answered.
    Mute,
    /// At QoS 2 its exchange is never completed.
    Unfinished,
    /// At QoS 2 the connection ends over its PUBREL.
    HangsUpAtRelease,
}

/// What a broker does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Takes,
    Refuses(Code),
    HangsUp,
    Blames,
    /// It does not answer this one.
    Ignores,
    /// It does not answer this one, nor anything after it.
    Nothing,
}

/// A message on its way to a broker.
#[derive(Debug, Clone)]
pub struct Packet {
    pub what: Publish,
    pub topic: String,
    pub qos: Qos,
    /// The number of the sample, which the payload has.
    pub sample: Option<u64>,
}

/// A broker.
#[derive(Debug)]
pub struct Broker {
    pub is_up: bool,
    pub mood: Mood,
    /// The topics of which it refuses every message, and why.
    pub refused_topics: BTreeMap<String, Code>,
    /// The place of the sessions that it keeps, which it may share with others.
    pub store: usize,
}

/// Our session, as brokers keep it.
#[derive(Debug, Default)]
pub struct Kept {
    pub is_present: bool,
    /// Messages at QoS 2 that the broker has and whose exchange is not complete.
    pub received: BTreeSet<Seq>,
    /// Which of all sessions there ever were it is.
    pub life: u32,
}

impl Code {
    /// Those with which a broker refuses whatever there is.
    pub const OF_ALL: [Code; 3] = [Code::Unspecified, Code::Implementation, Code::Quota];
    /// Those with which it refuses a topic.
    pub const OF_TOPIC: [Code; 2] = [Code::NotAuthorized, Code::TopicName];

    pub fn refusal(self) -> Refusal {
        let (scope, text) = match self {
            Code::Unspecified => (Scope::Broker, "unspecified error (0x80)"),
            Code::Implementation => (Scope::Broker, "implementation specific error (0x83)"),
            Code::NotAuthorized => (Scope::Topic, "not authorized (0x87)"),
            Code::TopicName => (Scope::Topic, "topic name invalid (0x90)"),
            Code::Quota => return Refusal::ForNow("quota exceeded (0x97)".to_owned()),
        };
        Refusal::Flatly(scope, text.to_owned())
    }
}

impl Packet {
    pub fn of(what: Publish, outgoing: &Outgoing) -> Self {
        let payload = String::from_utf8_lossy(&outgoing.payload);
        let number = payload.split_once("\"n\":").map(|(_, rest)| rest.split(|end: char| !end.is_ascii_digit()).next());
        let sample = number.flatten().and_then(|number| number.parse().ok());
        Self { what, topic: outgoing.topic.clone(), qos: outgoing.qos, sample }
    }
}

impl Broker {
    pub fn new(store: usize) -> Self {
        Self { is_up: true, mood: Mood::Good, refused_topics: BTreeMap::new(), store }
    }

    /// The broker's trouble is over.
    pub fn recover(&mut self) {
        *self = Self::new(self.store);
    }

    /// What it does with a message that arrives.
    pub fn answer(&self, packet: &Packet, poison: Option<Poison>, random: &mut fastrand::Rng) -> Answer {
        let of_topic = self.refused_topics.get(&packet.topic).copied();
        let refusal = match (self.mood, of_topic) {
            (Mood::Silent, _) => return Answer::Nothing,
            (Mood::HangsUp, _) => return Answer::HangsUp,
            // It has two reasons, and gives one.
            (Mood::Refuses(code), Some(of_topic)) => Some(if random.bool() { code } else { of_topic }),
            (Mood::Refuses(code), None) => Some(code),
            (Mood::Good, of_topic) => of_topic,
        };
        match (poison.filter(|_| is_poison(packet.what)), refusal) {
            (Some(Poison::HangsUp), _) => Answer::HangsUp,
            (Some(Poison::Blamed), _) => Answer::Blames,
            (Some(Poison::Mute), _) => Answer::Ignores,
            (Some(Poison::Unfinished | Poison::HangsUpAtRelease), None) => Answer::Takes,
            (_, Some(code)) | (Some(Poison::Refused(code)), None) => Answer::Refuses(code),
            (None, None) => Answer::Takes,
        }
    }
}

/// Whether no broker ever takes this message, where there is poison.
pub fn is_poison(what: Publish) -> bool {
    what.spooled().is_some_and(|seq| seq.0 % POISON == 13)
}
