//! Which messages a client may take as finished after what a lying broker has sent.
//!
//! A client cannot know better than what it was sent: a well-formed acknowledgement of the right kind for a message in
//! flight finishes it, whether the broker meant it or not. Anything else must not.

use super::mqtt::{Connect, Packet, Publish};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Follows one connection.
#[derive(Default)]
pub struct Excuses {
    version: u8,
    /// What was sent and is no whole packet yet.
    sent: Vec<u8>,
    /// What may be taken for an acknowledgement: its kind and packet id.
    acknowledged: BTreeSet<(u8, u16)>,
    /// Messages in flight, by packet id: their seq and QoS.
    in_flight: HashMap<u16, (u64, u8)>,
    /// Messages that the client may take as finished, by seq.
    pub finished: BTreeSet<u64>,
    /// Whether something was acknowledged that may not have been read yet.
    pub is_blind: bool,
    /// What was sent under the packet ids of messages, by seq: for whoever wants to know why one was lost.
    pub trail: BTreeMap<u64, Vec<String>>,
}

impl Excuses {
    /// Takes the version from a CONNECT.
    pub fn connect(&mut self, packet: &Packet) {
        self.version = Connect::decode(packet).map_or(5, |connect| connect.version);
    }

    pub fn version(&self) -> u8 {
        self.version
    }

    /// Notes what is sent to the client, in pieces of any size. Called before it is sent.
    pub fn send(&mut self, bytes: &[u8]) {
        self.send_unless(bytes, &BTreeSet::new());
    }

    /// The same, without acknowledgements that are true.
    pub fn send_unless(&mut self, bytes: &[u8], truth: &BTreeSet<(u8, u16)>) {
        self.sent.extend(bytes);
        while let Some(packet) = Packet::take(&mut self.sent) {
            self.note(&packet);
            let Some((kind, id)) = acknowledgement(&packet, self.version) else { continue };
            if truth.contains(&(kind, id)) {
                continue;
            }
            self.acknowledged.insert((kind, id));
            match self.in_flight.get(&id) {
                Some(&(seq, qos)) => self.judge(id, seq, qos),
                None => self.is_blind = true,
            }
        }
    }

    fn note(&mut self, packet: &Packet) {
        if let (4..=11, Some((seq, _))) = (packet.first >> 4, packet.id().and_then(|id| self.in_flight.get(&id))) {
            let body = &packet.body[..packet.body.len().min(40)];
            self.trail.entry(*seq).or_default().push(format!("{:02x} {body:02x?}", packet.first));
        }
    }

    /// Notes a message that has come; it may have been acknowledged before it was read.
    pub fn receive(&mut self, publish: &Publish) {
        let payload: Option<serde_json::Value> = serde_json::from_slice(&publish.payload).ok();
        let Some(seq) = payload.and_then(|payload| payload["seq"].as_u64()) else { return };
        let Some(id) = publish.packet_id else {
            // At QoS 0, which a CONNACK may have asked for.
            self.finished.insert(seq);
            return;
        };
        self.in_flight.insert(id, (seq, publish.qos));
        self.trail.entry(seq).or_default().push(format!("published as {id}"));
        self.judge(id, seq, publish.qos);
    }

    fn judge(&mut self, id: u16, seq: u64, qos: u8) {
        // The broker takes responsibility with PUBACK at QoS 1, with PUBREC at QoS 2.
        if self.acknowledged.contains(&(if qos == 1 { 4 } else { 5 }, id)) {
            self.finished.insert(seq);
        }
    }

    /// Packet ids of messages in flight, lowest first.
    pub fn ids(&self) -> Vec<u16> {
        let mut ids: Vec<u16> = self.in_flight.keys().copied().collect();
        ids.sort_unstable();
        ids
    }
}

/// The kind and packet id of a well-formed PUBACK, PUBREC or PUBCOMP that says success (MQTT 5, sections 3.4 to 3.7).
pub fn acknowledgement(packet: &Packet, version: u8) -> Option<(u8, u16)> {
    let kind = packet.first >> 4;
    if !matches!(kind, 4 | 5 | 7) || packet.first & 0x0f != 0 {
        return None;
    }
    let id = packet.id().filter(|id| *id > 0)?;
    let succeeds = match &packet.body[2..] {
        [] => true,
        _ if version == 4 => false,
        [code] => *code == 0 || *code == 0x10,
        [code, properties @ ..] => (*code == 0 || *code == 0x10) && are_well_formed(properties),
    };
    succeeds.then_some((kind, id))
}

/// A length, at most one reason string, and user properties.
fn are_well_formed(bytes: &[u8]) -> bool {
    let Some((length, mut rest)) = number(bytes) else { return false };
    if length != rest.len() {
        return false;
    }
    let mut reasons = 0;
    while let Some((id, value)) = rest.split_first() {
        let strings = match id {
            0x1f => 1,
            0x26 => 2,
            _ => return false,
        };
        reasons += usize::from(*id == 0x1f);
        rest = value;
        for _ in 0..strings {
            let Some(after) = skip_text(rest) else { return false };
            rest = after;
        }
    }
    reasons <= 1
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

fn skip_text(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    (!text.contains(&0) && std::str::from_utf8(text).is_ok()).then_some(rest)
}
