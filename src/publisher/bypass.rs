//! The way past a disk that fails: what the spool does not take is published from memory.
//!
//! Such messages were never accepted: they do not outlive the process. They are of a stream of their own, so that the
//! spool's stream stays without gaps and repeats whatever becomes of them, and are published at QoS 1 at most, for
//! nothing about them can be noted on the disk.

use super::window::Window;
use crate::message::{Message, Qos, Route, Sample, Seq, StreamId};
use log::{info, warn};
use std::sync::Arc;

/// Messages that are published from memory.
#[derive(Debug)]
pub struct Bypass {
    stream: StreamId,
    next: Seq,
    window: Window,
    /// Whether the log says that messages take this way.
    reported: bool,
}

impl Bypass {
    /// `capacity`: how many messages are on their way at most.
    pub fn new(capacity: usize) -> Self {
        Self { stream: StreamId::random(), next: Seq::FIRST, window: Window::new(capacity), reported: false }
    }

    /// The messages on their way.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// The messages on their way.
    pub fn window_mut(&mut self) -> &mut Window {
        &mut self.window
    }

    /// Takes a sample that the spool did not take.
    pub fn push(&mut self, sample: Sample) {
        if !std::mem::replace(&mut self.reported, true) {
            warn!("the disk fails; publishing from memory stream={} seq={}", self.stream, self.next);
        }
        let Sample { route, taken, data } = sample;
        let route = match route.qos {
            Qos::ExactlyOnce => Arc::new(Route { qos: Qos::AtLeastOnce, ..Route::clone(&route) }),
            Qos::AtMostOnce | Qos::AtLeastOnce => route,
        };
        self.window.push(Message { stream: self.stream, seq: self.next, sample: Sample { route, taken, data } });
        self.next = self.next.next();
    }

    /// Notes that the spool takes samples again.
    pub fn ended(&mut self) {
        if std::mem::take(&mut self.reported) {
            info!("the disk works again; published from memory stream={} up to seq={}", self.stream, self.next.0 - 1);
        }
    }

    /// Gives back everything that is not acknowledged, for the spool, in order.
    pub fn give_back(&mut self) -> Vec<Sample> {
        self.window.drain().map(|message| message.sample).collect()
    }
}
