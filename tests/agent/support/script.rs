//! What a scripted broker is to do, beside what every broker does.

use super::mqtt::{Connect, PacketKind, Publish};
use std::time::Duration;

/// For reactions and deaths that have no end.
pub const ALWAYS: u32 = u32::MAX;

/// What a broker does; the default is all that is right.
pub struct Script {
    /// What CONNACK says: a return code (3.1.1) or a reason code (5). Anything but 0 closes the connection.
    pub connect_code: u8,
    /// Asked when `connect_code` is 0; what it gives counts instead.
    pub authorize: Box<dyn FnMut(&Connect) -> u8 + Send>,
    /// The protocol version in whose form CONNACK is sent; `None`: the client's.
    pub connack_form: Option<u8>,
    /// When CONNACK is sent, after CONNECT; `None`: never.
    pub connack_after: Option<Duration>,
    /// What CONNACK says of the session, while the broker acts by the truth; `None`: the truth.
    pub session_present: Option<bool>,
    /// What becomes of exchanges at QoS 2 when their connection ends.
    pub exchanges: Exchanges,
    /// How many publishes above QoS 0 it takes at a time; only MQTT 5 tells the client.
    pub receive_maximum: u16,
    /// In bytes; only MQTT 5 tells the client. A larger packet ends the connection.
    pub maximum_packet_size: Option<u32>,
    /// When PUBACK, PUBREC and PUBCOMP are sent, after what they answer; `None`: never.
    pub acknowledge_after: Option<Duration>,
    /// The first that matches and is not used up counts.
    pub reactions: Vec<Reaction>,
    pub deaths: Vec<Death>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            connect_code: 0,
            authorize: Box::new(|_| 0),
            connack_form: None,
            connack_after: Some(Duration::ZERO),
            session_present: None,
            exchanges: Exchanges::Kept,
            receive_maximum: u16::MAX,
            maximum_packet_size: None,
            acknowledge_after: Some(Duration::ZERO),
            reactions: Vec::new(),
            deaths: Vec::new(),
        }
    }
}

impl Script {
    /// Adds a reaction to the first so many publishes that match.
    pub fn react(
        mut self,
        matches: impl Fn(&Publish) -> bool + Send + 'static,
        response: Response,
        times: u32,
    ) -> Self {
        self.reactions.push(Reaction { matches: Box::new(matches), response, times });
        self
    }

    pub fn die(mut self, death: Death) -> Self {
        self.deaths.push(death);
        self
    }

    pub(super) fn reaction(&mut self, publish: &Publish) -> Option<Response> {
        let mut reactions = self.reactions.iter_mut();
        let reaction = reactions.find(|reaction| reaction.times > 0 && (reaction.matches)(publish))?;
        reaction.times = reaction.times.saturating_sub(u32::from(reaction.times != ALWAYS));
        Some(reaction.response)
    }

    /// Counts a packet; where it kills the broker, and for how long.
    pub(super) fn death(&mut self, packet: PacketKind) -> Option<(Point, Duration)> {
        let mut found = None;
        for death in self.deaths.iter_mut().filter(|death| death.packet == packet && death.times > 0) {
            death.seen += 1;
            if death.seen.is_multiple_of(death.every) {
                death.times = death.times.saturating_sub(u32::from(death.times != ALWAYS));
                found = found.or(Some((death.point, death.away)));
            }
        }
        found
    }
}

/// What becomes of exchanges at QoS 2 when their connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchanges {
    /// They stay in the session, and a PUBREL that is unknown is answered.
    Kept,
    /// They are forgotten, although the session is kept, and a PUBREL that is unknown ends the connection by FIN, without
    /// PUBCOMP. As rumqttd 0.20 does it (`AckLog` in `rumqttd/src/router/logs.rs` lives as long as the connection).
    Lost,
    /// They are forgotten, although the session is kept, and a PUBREL that is unknown is never answered.
    Unanswered,
}

/// What the broker does with some publishes. It does not meet a publish at QoS 2 that the broker had taken before.
pub struct Reaction {
    matches: Box<dyn Fn(&Publish) -> bool + Send>,
    response: Response,
    /// How often it is still to come.
    times: u32,
}

#[derive(Debug, Clone, Copy)]
pub enum Response {
    /// PUBACK or PUBREC with this reason code. From 0x80 on the message is not taken. MQTT 3.1.1 has no reason codes: the
    /// answer looks like any other there.
    Answer(u8),
    /// Instead of taking the message: DISCONNECT with this reason code and FIN; in 3.1.1, FIN alone.
    Disconnect(u8),
    /// Instead of taking the message: FIN.
    Close,
    /// It neither takes nor answers the message.
    Ignore,
    /// Instead of taking the message, and whatever follows over the connection: these bytes, made of protocol version and
    /// packet id.
    Say(fn(u8, u16) -> Vec<u8>),
}

/// The broker ends all connections by RST and is away for a moment. What it wrote down and its sessions stay.
pub struct Death {
    packet: PacketKind,
    point: Point,
    every: u32,
    times: u32,
    away: Duration,
    seen: u32,
}

impl Death {
    /// A death at the next packet of this kind, PUBLISH or PUBREL, for 50 ms.
    pub fn at(packet: PacketKind, point: Point) -> Self {
        assert!(matches!(packet, PacketKind::Publish | PacketKind::Pubrel), "{packet:?} is not supported");
        Self { packet, point, every: 1, times: 1, away: Duration::from_millis(50), seen: 0 }
    }

    /// At each n-th packet instead of the next one, counted over all connections.
    pub fn every(self, every: u32) -> Self {
        assert!(every > 0, "counted from 1");
        Self { every, ..self }
    }

    /// So many times instead of once.
    pub fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }

    /// How long new connections are refused.
    pub fn away(self, away: Duration) -> Self {
        Self { away, ..self }
    }
}

/// Where in the handling of a packet the broker dies. For a PUBREL, forgetting the packet id is what is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    BeforeWriting,
    BeforeAcknowledging,
    /// Right after the answer was sent, which may be lost with the connection. A broker that never acknowledges does
    /// not get there.
    AfterAcknowledging,
}
