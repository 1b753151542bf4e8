//! One bit of what a broker sends, flipped, as on a line without checksums.

use super::excuses::{Excuses, acknowledgement};
use super::mqtt::{Packet, PacketKind};
use fastrand::Rng;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long the connection goes on after the flip. What the client answers to it, it answers at once.
const AFTERWARDS: Duration = Duration::from_millis(300);

/// The flip of one connection.
pub struct Flip {
    rng: Rng,
    /// Packets that pass before.
    countdown: usize,
    flipped: Option<Instant>,
    /// Kinds and packet ids of what the broker acknowledged in truth.
    acknowledged: BTreeSet<(u8, u16)>,
}

impl Flip {
    pub fn new(mut rng: Rng) -> Self {
        // The first one is the CONNACK.
        let countdown = if rng.u8(0..8) == 0 { 0 } else { rng.usize(1..30) };
        Self { rng, countdown, flipped: None, acknowledged: BTreeSet::new() }
    }

    /// The packet as the client gets it.
    pub fn pass(
        &mut self,
        mut packet: Vec<u8>,
        excuses: &mut Excuses,
        notes: &mut Vec<String>,
        flips: &AtomicUsize,
    ) -> Vec<u8> {
        if let Some(truth) =
            Packet::take(&mut packet.clone()).and_then(|truth| acknowledgement(&truth, excuses.version()))
        {
            self.acknowledged.insert(truth);
        }
        if self.flipped.is_none() && self.countdown == 0 {
            let before = format!("{packet:02x?}");
            self.flip(&mut packet);
            self.flipped = Some(Instant::now());
            flips.fetch_add(1, Ordering::Relaxed);
            notes.push(format!("{before} became {packet:02x?}"));
        }
        self.countdown = self.countdown.saturating_sub(1);
        if self.flipped.is_some() {
            // Another packet id, which may be in flight, is another packet, and a valid one.
            excuses.send_unless(&packet, &self.acknowledged);
        }
        packet
    }

    fn flip(&mut self, packet: &mut [u8]) {
        let bit = self.rng.usize(0..packet.len() * 8);
        // Whether the broker has our session is a bit by itself: a CONNACK that says the opposite is valid, and with it the
        // client gives messages packet ids under which the broker has others.
        let says_session = PacketKind::of(packet[0]) == Some(PacketKind::Connack) && bit == 16;
        let bit = if says_session { bit + 1 } else { bit };
        packet[bit / 8] ^= 1 << (bit % 8);
    }

    /// Whether the connection has had its time.
    pub fn is_over(&self) -> bool {
        self.flipped.is_some_and(|at| at.elapsed() > AFTERWARDS)
    }
}
