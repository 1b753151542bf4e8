//! Packets that no broker should send: random, malformed, out of place, at the bounds of what the format can say.

use super::properties::Forgery;
use fastrand::Rng;

/// Kinds of packets by their numbers (MQTT 5, section 2.1.2).
const CONNECT: u8 = 1;
const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const PUBREC: u8 = 5;
const PUBCOMP: u8 = 7;
const SUBACK: u8 = 9;
const UNSUBACK: u8 = 11;
const DISCONNECT: u8 = 14;
const AUTH: u8 = 15;

/// Some reason codes of every kind, and some that are none.
const CODES: [u8; 30] = [
    0, 0, 0, 0, 1, 2, 4, 0x10, 0x11, 0x18, 0x19, 0x80, 0x81, 0x82, 0x83, 0x8b, 0x8d, 0x8e, 0x90, 0x91, 0x92, 0x93,
    0x95, 0x97, 0x99, 0x9c, 0x9d, 0xa2, 0x7f, 0xff,
];

/// Larger than what the client takes.
const TOO_LARGE: usize = 300 * 1024;

/// Forges what a broker sends over one connection.
pub struct Forge<'a> {
    pub rng: &'a mut Rng,
    /// 4 is MQTT 3.1.1.
    pub version: u8,
    /// Packet ids of the client's messages in flight.
    pub ids: &'a [u16],
}

impl Forge<'_> {
    /// One packet, or a few that belong together.
    pub fn packets(&mut self) -> Vec<u8> {
        match self.rng.u8(0..20) {
            0 => self.flood(),
            1 => self.noise(),
            2 => vec![self.rng.u8(..) & 0xf0, 0],
            3 => self.acknowledgement_of_another_kind(),
            4 => self.acknowledgement_of_another_kind(),
            5 => {
                let packet = self.packet();
                [packet.clone(), packet].concat()
            }
            6 => (0..self.rng.usize(1..5)).flat_map(|_| self.packet()).collect(),
            _ => self.packet(),
        }
    }

    /// A CONNACK, right or wrong.
    pub fn connack(&mut self) -> Vec<u8> {
        let body = self.body(CONNACK);
        self.finish(CONNACK << 4, body)
    }

    fn packet(&mut self) -> Vec<u8> {
        let kind = self.rng.u8(0..16);
        let body = self.body(kind);
        let flags = match kind {
            PUBLISH => self.rng.u8(0..16),
            6 | 8 | 10 => 2,
            _ => 0,
        };
        let flags = if self.one_in(12) { self.rng.u8(0..16) } else { flags };
        let body = if kind == PUBLISH { self.publish(flags) } else { body };
        self.finish(kind << 4 | flags, body)
    }

    /// What an exchange does not allow: another kind, or another id.
    fn acknowledgement_of_another_kind(&mut self) -> Vec<u8> {
        let kind = *self.rng.choice(&[PUBACK, PUBREC, 6, PUBCOMP, SUBACK, UNSUBACK]).unwrap();
        let mut body = self.id().to_vec();
        match kind {
            SUBACK | UNSUBACK if self.version == 5 => body.extend([0, self.code()]),
            SUBACK => body.push(self.code()),
            UNSUBACK => {}
            _ if self.version == 5 && self.rng.bool() => body.push(self.code()),
            _ => {}
        }
        packet_of(kind << 4 | if kind == 6 { 2 } else { 0 }, &body)
    }

    /// Messages that nobody subscribed to.
    fn flood(&mut self) -> Vec<u8> {
        let (count, size, first) =
            (self.rng.u16(1..300), self.rng.usize(0..2000), PUBLISH << 4 | self.rng.u8(0..3) << 1);
        let mut flood = Vec::new();
        for id in 1..=count {
            let mut body = vec![0, 3, b'a', b'/', b'b'];
            if first & 6 != 0 {
                body.extend(id.to_be_bytes());
            }
            if self.version == 5 {
                body.push(0);
            }
            body.resize(body.len() + size, b'x');
            flood.extend(packet_of(first, &body));
        }
        flood
    }

    fn noise(&mut self) -> Vec<u8> {
        let length = self.rng.usize(1..200);
        (0..length).map(|_| self.rng.u8(..)).collect()
    }

    fn body(&mut self, kind: u8) -> Vec<u8> {
        let mut body = Vec::new();
        match kind {
            CONNACK => {
                let session_present = u8::from(self.rng.bool());
                body.push(if self.one_in(10) { self.rng.u8(..) } else { session_present });
                // What refuses us for good ends the agent, and takes a moment.
                body.push(if self.one_in(3) { self.code() } else { 0 });
                body.extend(self.properties());
            }
            CONNECT => {
                body.extend(b"\0\x04MQTT");
                body.extend([self.version, self.rng.u8(..), 0, 10]);
                body.extend(self.properties());
                body.extend(self.forgery().text());
            }
            PUBACK..=PUBCOMP => {
                body.extend(self.id());
                if self.version == 5 && self.rng.bool() || self.one_in(8) {
                    body.push(self.code());
                    if self.rng.bool() {
                        body.extend(self.properties());
                    }
                }
            }
            8..=UNSUBACK => {
                body.extend(self.id());
                body.extend(self.properties());
                for _ in 0..self.rng.u8(0..4) {
                    body.push(self.code());
                }
                if matches!(kind, 8 | 10) {
                    body.extend(self.forgery().text());
                }
            }
            DISCONNECT | AUTH => {
                if !self.one_in(4) {
                    body.push(self.code());
                    body.extend(self.properties());
                }
            }
            _ => {
                if self.one_in(3) {
                    body = self.noise();
                }
            }
        }
        if self.one_in(60) {
            body.resize(TOO_LARGE, 0);
        }
        body
    }

    fn publish(&mut self, flags: u8) -> Vec<u8> {
        let mut body = self.forgery().text();
        if flags & 6 != 0 {
            body.extend(self.id());
        }
        body.extend(self.properties());
        let payload = *self.rng.choice(&[0, 0, 1, 100, 5000, 70_000]).unwrap();
        body.resize(body.len() + payload, b'p');
        body
    }

    fn forgery(&mut self) -> Forgery<'_> {
        Forgery(self.rng)
    }

    /// MQTT 3.1.1 knows none, mostly.
    fn properties(&mut self) -> Vec<u8> {
        if self.version == 5 || self.one_in(10) { self.forgery().properties() } else { Vec::new() }
    }

    /// Of a message in flight, mostly.
    fn id(&mut self) -> [u8; 2] {
        let known = self.rng.choice(self.ids).copied().filter(|_| self.rng.u8(0..8) > 0);
        known.unwrap_or_else(|| *self.rng.choice(&[0, 1, 2, 7, 100, 0x4040, 0xffff]).unwrap()).to_be_bytes()
    }

    fn code(&mut self) -> u8 {
        *self.rng.choice(&CODES).unwrap()
    }

    fn one_in(&mut self, count: u8) -> bool {
        self.rng.u8(0..count) == 0
    }

    /// Adds the header, and breaks some.
    fn finish(&mut self, first: u8, mut body: Vec<u8>) -> Vec<u8> {
        if self.one_in(8) && !body.is_empty() {
            body.truncate(self.rng.usize(0..body.len()));
        }
        if self.one_in(10) {
            let more = self.noise();
            body.extend(more);
        }
        let mut packet =
            if self.one_in(10) { self.with_a_length_that_lies(first, &body) } else { packet_of(first, &body) };
        if self.one_in(8) {
            for _ in 0..self.rng.u8(1..5) {
                let position = self.rng.usize(0..packet.len().min(200));
                packet[position] ^= 1 << self.rng.u8(0..8);
            }
        }
        packet
    }

    fn with_a_length_that_lies(&mut self, first: u8, body: &[u8]) -> Vec<u8> {
        let length = match self.rng.u8(0..8) {
            0 => number(body.len() + 1),
            1 => number(body.len().saturating_sub(1)),
            2 => vec![0],
            3 => vec![0xff, 0xff, 0xff, 0x7f],
            4 => vec![0xff, 0xff, 0xff, 0xff, 0x7f],
            5 => vec![0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
            6 => number(self.rng.usize(0..TOO_LARGE)),
            // Longer than it has to be.
            _ => vec![
                u8::try_from(body.len() & 0x7f).unwrap() | 0x80,
                0x80 | u8::try_from(body.len() >> 7 & 0x7f).unwrap(),
                0,
            ],
        };
        [&[first], &length[..], body].concat()
    }
}

/// A packet of any length.
pub fn packet_of(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first], &number(body.len())[..], body].concat()
}

/// A variable byte integer (section 1.5.5).
pub fn number(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if value == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}
