//! What is under way in one direction of a connection through the fault proxy, and the rules of its passing.

use super::loopback::{How, finish};
use super::mqtt::{Frames, PacketKind};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Beyond this many bytes that are due and cannot go on, a pipe takes no more, so that the sender feels it.
const PIPE: usize = 64 * 1024;

/// A throttled pipe passes what this time allows at once.
const THROTTLE_STEP: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the broker.
    Up,
    /// From the broker to the client.
    Down,
}

impl Direction {
    pub const BOTH: [Direction; 2] = [Direction::Up, Direction::Down];
}

/// What holds for all connections.
pub struct Rules {
    /// By direction.
    pub passages: [Passage; 2],
    /// One way.
    pub delay: Duration,
    /// Per connection and direction.
    pub bytes_per_second: u64,
    pub cut_after: Option<CutAfter>,
    pub cut_before: Option<PacketKind>,
    /// Bytes by direction.
    pub passed: [u64; 2],
    /// Packets by the number of their kind, both directions together.
    pub packets: [u64; 16],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    Open,
    /// What comes waits.
    Stalled,
    /// What comes is lost.
    Swallowed,
}

/// A cut that is still to come.
pub struct CutAfter {
    pub direction: Direction,
    /// Bytes that pass before it.
    pub left: u64,
    pub how: How,
}

impl Default for Rules {
    fn default() -> Self {
        let passages = [Passage::Open; 2];
        let delay = Duration::ZERO;
        Self {
            passages,
            delay,
            bytes_per_second: u64::MAX,
            cut_after: None,
            cut_before: None,
            passed: [0; 2],
            packets: [0; 16],
        }
    }
}

impl Rules {
    /// How many of these bytes, which come next, may pass now; or that the connection is to be cut before them.
    fn permit(&mut self, direction: Direction, frames: Frames, bytes: &[u8]) -> Result<usize, How> {
        let step = u128::from(self.bytes_per_second) * THROTTLE_STEP.as_micros() / 1_000_000;
        let mut permitted = bytes.len().min(usize::try_from(step).unwrap_or(usize::MAX).max(1));
        if let Some(cut) = self.cut_after.as_ref().filter(|cut| cut.direction == direction) {
            permitted = permitted.min(usize::try_from(cut.left).unwrap_or(usize::MAX));
            if permitted == 0 {
                let how = cut.how;
                self.cut_after = None;
                return Err(how);
            }
        }
        if let Some(kind) = self.cut_before.filter(|kind| kind.is_sent_by_clients() == (direction == Direction::Up)) {
            permitted = frames.before(kind, &bytes[..permitted]);
            if permitted == 0 {
                self.cut_before = None;
                return Err(How::Reset);
            }
        }
        Ok(permitted)
    }

    /// Notes that bytes have passed, and says whether the connection is to be cut now.
    fn pass(&mut self, direction: Direction, bytes: usize) -> Result<(), How> {
        self.passed[direction as usize] += bytes as u64;
        let Some(cut) = self.cut_after.as_mut().filter(|cut| cut.direction == direction) else { return Ok(()) };
        cut.left -= bytes as u64;
        if cut.left > 0 {
            return Ok(());
        }
        let how = cut.how;
        self.cut_after = None;
        Err(how)
    }
}

/// What becomes of a connection, as one of its directions sees it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Alive,
    /// Everything has passed, the end included.
    Over,
    /// One of its ends was reset.
    Broken,
    Cut(How),
}

/// What is under way in one direction of a connection.
#[derive(Default)]
pub struct Pipe {
    /// Bytes, and when they may arrive.
    chunks: VecDeque<(Instant, Vec<u8>)>,
    /// How the source ended, and when that may be told.
    end: Option<(Instant, How)>,
    /// Where the sink's next byte stands in its packet.
    frames: Frames,
    /// Throttled until then.
    free_at: Option<Instant>,
    /// The sink takes nothing at present.
    pub blocked: bool,
    /// Something was swallowed: what comes now would make no sense to the sink.
    pub torn: bool,
    /// Everything has passed, the end included.
    over: bool,
}

impl Pipe {
    pub fn takes_more(&self, now: Instant) -> bool {
        let waiting = self.chunks.iter().take_while(|(due, _)| *due <= now).map(|(_, bytes)| bytes.len());
        self.end.is_none() && waiting.sum::<usize>() < PIPE
    }

    /// When there is something to do.
    pub fn due(&self) -> Option<Instant> {
        if self.over {
            return None;
        }
        let next = self.chunks.front().map(|(due, _)| *due).or(self.end.map(|(due, _)| due));
        next.map(|due| due.max(self.free_at.unwrap_or(due)))
    }

    /// Takes what the source has.
    pub fn fill(&mut self, mut source: &TcpStream, delay: Duration, now: Instant) {
        let mut buffer = [0; 16 * 1024];
        // A source that never pauses must not keep the others waiting.
        for _ in 0..16 {
            if !self.takes_more(now) {
                return;
            }
            match source.read(&mut buffer) {
                Ok(0) => self.end = Some((now + delay, How::Finish)),
                Ok(length) => self.chunks.push_back((now + delay, buffer[..length].to_vec())),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.end = Some((now + delay, How::Reset)),
            }
        }
    }

    /// Gives the sink nothing.
    pub fn hold(&mut self) -> Fate {
        self.blocked = false;
        Fate::Alive
    }

    /// Gives the sink what is due.
    pub fn forward(&mut self, mut sink: &TcpStream, direction: Direction, rules: &mut Rules, now: Instant) -> Fate {
        self.blocked = false;
        while let Some((due, bytes)) = self.chunks.front_mut() {
            if (*due).max(self.free_at.unwrap_or(*due)) > now {
                return Fate::Alive;
            }
            let permitted = match rules.permit(direction, self.frames, bytes) {
                Ok(permitted) => permitted,
                Err(how) => return Fate::Cut(how),
            };
            let written = match sink.write(&bytes[..permitted]) {
                Ok(written) => written,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return Fate::Alive;
                }
                Err(_) => return Fate::Broken,
            };
            self.frames.count(&bytes[..written], &mut rules.packets);
            self.frames.advance(&bytes[..written]);
            bytes.drain(..written);
            if bytes.is_empty() {
                self.chunks.pop_front();
            }
            let nanoseconds = written as u128 * 1_000_000_000 / u128::from(rules.bytes_per_second);
            let busy = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
            self.free_at = Some(self.free_at.map_or(now, |free_at| free_at.max(now - THROTTLE_STEP)) + busy);
            if let Err(how) = rules.pass(direction, written) {
                return Fate::Cut(how);
            }
        }
        match self.end {
            Some(_) if self.over => Fate::Over,
            Some((due, How::Finish)) if due <= now => {
                finish(sink);
                self.over = true;
                Fate::Over
            }
            Some((due, How::Reset)) if due <= now => Fate::Broken,
            Some(_) | None => Fate::Alive,
        }
    }

    /// Loses what is due.
    pub fn swallow(&mut self, now: Instant) -> Fate {
        self.blocked = false;
        while self.chunks.front().is_some_and(|(due, _)| *due <= now) {
            self.chunks.pop_front();
            self.torn = true;
        }
        match self.end {
            Some((due, _)) if due <= now && self.chunks.is_empty() => {
                (self.torn, self.over) = (true, true);
                Fate::Over
            }
            Some(_) | None => Fate::Alive,
        }
    }
}
