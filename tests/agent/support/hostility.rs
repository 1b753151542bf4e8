//! One connection to a hostile broker, from its beginning to its end: what is played comes from a seed.

use super::excuses::Excuses;
use super::forge::Forge;
use super::hostile_frames;
use super::line::{Line, Transport};
use super::mqtt::{Packet, PacketKind, Publish, answer, packet};
use super::properties::Forgery;
use super::websocket::{BINARY, PING, frame};
use fastrand::Rng;
use std::thread;
use std::time::Duration;

/// How much of a packet a note has.
const NOTED: usize = 300;

pub struct Hostility {
    line: Line,
    rng: Rng,
    transport: Transport,
    excuses: Excuses,
    notes: Vec<String>,
    /// Messages that have come and were not answered: packet id and QoS.
    waiting: Vec<(u16, u8)>,
    /// Releases that were not answered.
    releases: Vec<u16>,
    has_connected: bool,
}

impl Hostility {
    pub fn new(line: Line, rng: Rng, transport: Transport) -> Self {
        let (excuses, notes, waiting, releases) = (Excuses::default(), Vec::new(), Vec::new(), Vec::new());
        Self { line, rng, transport, excuses, notes, waiting, releases, has_connected: false }
    }

    /// Plays the whole connection; what it gives are the messages that the client may take as finished, and what was sent.
    pub fn play(mut self) -> (Excuses, Vec<String>) {
        if self.begin() {
            self.greet();
            for _ in 0..self.rng.u8(1..9) {
                if self.line.is_over {
                    break;
                }
                self.step();
            }
        }
        self.end()
    }

    /// What comes before MQTT.
    fn begin(&mut self) -> bool {
        if !self.transport.is_web_socket() {
            return true;
        }
        if self.one_in(12) {
            let Some(request) = self.line.read_request() else { return false };
            let answer = hostile_frames::response(&mut self.rng, &request);
            self.raw("instead of the handshake", &answer);
            return self.rng.bool();
        }
        self.line.upgrade().is_some()
    }

    fn greet(&mut self) {
        if self.one_in(20) {
            self.forge("before CONNECT");
        }
        for _ in 0..100 {
            if self.has_connected || self.line.is_over {
                break;
            }
            self.listen(Duration::from_millis(50));
        }
        match self.rng.u8(0..16) {
            0 | 1 => self.forge("instead of CONNACK"),
            2 | 3 => {
                let connack = self.forger(|forge| forge.connack());
                self.send("a CONNACK", &connack);
            }
            _ => {
                let session = u8::from(self.one_in(4));
                let mut body = vec![session, 0];
                if self.excuses.version() == 5 {
                    body.extend(Forgery(&mut self.rng).harmless());
                }
                self.send("a right CONNACK", &packet(0x20, &body));
                let patience = self.rng.u64(1..40);
                self.listen(Duration::from_millis(patience));
            }
        }
    }

    fn step(&mut self) {
        let patience = Duration::from_millis(self.rng.u64(0..12));
        self.listen(patience);
        match self.rng.u8(0..10) {
            0..4 => self.answer(),
            4 if self.transport.is_web_socket() => {
                let frames = hostile_frames::frames(&mut self.rng);
                self.raw("frames", &frames);
            }
            4 if self.transport.is_encrypted() && self.one_in(4) => {
                let bytes: Vec<u8> = (0..self.rng.usize(1..100)).map(|_| self.rng.u8(..)).collect();
                self.note("beside TLS", &bytes);
                let _ = self.line.send_beside_tls(&bytes);
            }
            _ => self.forge("forged"),
        }
    }

    /// Takes what has come.
    fn listen(&mut self, patience: Duration) {
        self.line.receive(patience);
        self.read();
    }

    fn read(&mut self) {
        while let Some(packet) = Packet::take(&mut self.line.received) {
            match packet.kind() {
                Some(PacketKind::Connect) => {
                    self.has_connected = true;
                    self.excuses.connect(&packet);
                }
                Some(PacketKind::Publish) => {
                    let Some(publish) = Publish::decode(&packet, self.excuses.version()) else { continue };
                    self.excuses.receive(&publish);
                    self.waiting.extend(publish.packet_id.map(|id| (id, publish.qos)));
                }
                Some(PacketKind::Pubrel) => self.releases.extend(packet.id()),
                _ => {}
            }
        }
    }

    /// Does what a broker should do, with some of what waits.
    fn answer(&mut self) {
        let version = self.excuses.version();
        let count = self.rng.usize(0..=self.waiting.len());
        let mut answers = Vec::new();
        for (id, qos) in self.waiting.drain(..count) {
            let kind = if qos == 1 { PacketKind::Puback } else { PacketKind::Pubrec };
            answers.extend(answer(kind, version, id, 0));
        }
        for id in self.releases.drain(..) {
            answers.extend(answer(PacketKind::Pubcomp, version, id, 0));
        }
        if !answers.is_empty() {
            self.send("right answers", &answers);
        }
    }

    fn forger(&mut self, forge: impl FnOnce(&mut Forge) -> Vec<u8>) -> Vec<u8> {
        let (version, ids) = (self.excuses.version(), self.excuses.ids());
        forge(&mut Forge { rng: &mut self.rng, version, ids: &ids })
    }

    fn forge(&mut self, what: &str) {
        let packets = self.forger(|forge| forge.packets());
        self.send(what, &packets);
    }

    /// Sends MQTT, whole or in pieces.
    fn send(&mut self, what: &str, bytes: &[u8]) {
        self.excuses.send(bytes);
        self.note(what, bytes);
        let pieces: Vec<&[u8]> = match self.rng.u8(0..6) {
            0 if bytes.len() <= 300 => bytes.chunks(1).collect(),
            1 | 2 => {
                let (first, second) = bytes.split_at(self.rng.usize(0..=bytes.len().min(120)));
                vec![first, second]
            }
            3 if bytes.len() < 100_000 => {
                bytes.chunks(self.rng.usize(1..=bytes.len().max(1)).max(bytes.len() / 50)).collect()
            }
            _ => vec![bytes],
        };
        let pause = Duration::from_micros(*self.rng.choice(&[0, 0, 200, 2000]).unwrap());
        for piece in pieces {
            if self.piece(piece).is_err() {
                self.line.is_over = true;
                return;
            }
            thread::sleep(if bytes.len() > 300 { pause.min(Duration::from_micros(200)) } else { pause });
        }
    }

    fn piece(&mut self, piece: &[u8]) -> std::io::Result<()> {
        if !self.transport.is_web_socket() {
            return self.line.send(piece);
        }
        match self.rng.u8(0..8) {
            // A frame that comes in pieces, a message of several frames, and control frames in between.
            0 => {
                let frame = frame(BINARY, true, piece);
                let (first, second) = frame.split_at(self.rng.usize(0..frame.len().min(20)));
                self.line.send_raw(first)?;
                thread::sleep(Duration::from_millis(1));
                self.line.send_raw(second)
            }
            1 => self.line.send_raw(&hostile_frames::fragments(&mut self.rng, piece)),
            2 => {
                self.line.send_raw(&frame(PING, true, b"ping"))?;
                self.line.send(piece)
            }
            _ => self.line.send(piece),
        }
    }

    /// Sends bytes beside WebSocket's frames.
    fn raw(&mut self, what: &str, bytes: &[u8]) {
        self.note(what, bytes);
        if self.line.send_raw(bytes).is_err() {
            self.line.is_over = true;
        }
    }

    fn note(&mut self, what: &str, bytes: &[u8]) {
        let hex: String = bytes.iter().take(NOTED).map(|byte| format!("{byte:02x}")).collect();
        let rest = bytes.len().saturating_sub(NOTED);
        self.notes.push(format!("{what}: {hex}{}", if rest > 0 { format!(" and {rest} more") } else { String::new() }));
    }

    fn end(mut self) -> (Excuses, Vec<String>) {
        let patience = self.rng.u64(0..20);
        self.listen(Duration::from_millis(patience));
        // What the client has sent and nobody reads could not be excused.
        if self.one_in(3) && !self.excuses.is_blind && self.notes.iter().all(|note| !note.starts_with("a CONNACK")) {
            self.line.reset();
            return (self.excuses, self.notes);
        }
        if self.one_in(10) {
            self.listen(Duration::from_millis(200));
        }
        self.line.finish(Duration::from_secs(3));
        self.read();
        (self.excuses, self.notes)
    }

    fn one_in(&mut self, count: u8) -> bool {
        self.rng.u8(0..count) == 0
    }
}
