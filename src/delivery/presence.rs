//! When the status message is published, and what the log says of it. Pure.

use crate::burst::Burst;
use log::Level;
use std::time::{Duration, Instant};

/// The status message and the goodbye.
#[derive(Debug, Default)]
pub struct Presence {
    /// When the status is published next; `None`: there is no connection, or no topic for it.
    next: Option<Instant>,
    refusals: Burst,
    /// Whether the present connection was told that nobody is here any more.
    said_goodbye: bool,
}

impl Presence {
    /// There is a new connection, which the status is published over at once.
    pub fn connected(&mut self, now: Instant) {
        (self.next, self.said_goodbye) = (Some(now), false);
    }

    /// There is no connection any more.
    pub fn lost(&mut self) {
        self.next = None;
    }

    /// Whether the status is to be published.
    pub fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|next| now >= next)
    }

    /// When the status is published next.
    pub fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// The status is being published, or passed over this time.
    pub fn done(&mut self, now: Instant, interval: Duration) {
        self.next = Some(now + interval);
    }

    /// The status has something new to say.
    pub fn changed(&mut self, now: Instant) {
        self.next = self.next.map(|_| now);
    }

    /// Whether the goodbye is still to be said over this connection. It counts as said from here on.
    pub fn takes_leave(&mut self) -> bool {
        self.next = None;
        !std::mem::replace(&mut self.said_goodbye, true)
    }

    /// The broker took the status message.
    pub fn accepted(&mut self) {
        self.refusals.ended();
    }

    /// The broker did not take the status message; how loud that is.
    pub fn refused(&mut self) -> Level {
        self.refusals.failed()
    }

    /// Whether the broker refused the status message when it was published last.
    pub fn is_refused(&self) -> bool {
        self.refusals.is_on()
    }
}
