//! How long the broker may take to acknowledge a publish.
//!
//! Only the broker's time counts. What has come is read before a deadline is judged, however long the disk kept the
//! publisher from it. At QoS 2 the disk can hold up the MQTT library's threads as well, which note every packet before
//! it leaves: while they wait, no acknowledgement can come in, and that time is added to the deadline.

use super::Publisher;
use crate::delivery::Lost;
use std::time::Instant;

impl Publisher {
    /// When the oldest publish in flight, a message or the status, must be acknowledged.
    pub(super) fn ack_deadline(&self) -> Option<Instant> {
        Some(self.oldest_sent()? + self.config.delivery.ack_timeout)
    }

    /// When the oldest publish in flight was sent.
    fn oldest_sent(&self) -> Option<Instant> {
        let sent = [self.window.oldest_sent(), self.bypass.window().oldest_sent(), self.connection.awaited_status()];
        sent.into_iter().flatten().min()
    }

    /// Gives up a connection over which the broker has not acknowledged something in time. What came before `now` must
    /// have been read.
    pub(super) fn check_acknowledgements(&mut self, mut now: Instant) {
        if self.ack_deadline().is_some_and(|deadline| now >= deadline) && self.excuse_stalls() {
            now = Instant::now();
            self.answer_waiting();
        }
        if self.ack_deadline().is_some_and(|deadline| now >= deadline) {
            let timeout = humantime::format_duration(self.config.delivery.ack_timeout);
            self.lost(Lost::Passing(format!("no acknowledgement for {timeout}")));
        }
    }

    /// Adds the time for which the library's threads waited for the disk, while the oldest publish was in flight, to all
    /// deadlines; whether there was any.
    fn excuse_stalls(&mut self) -> bool {
        let Some(session) = self.connection.session() else { return false };
        let Some(since) = self.oldest_sent() else { return false };
        let stalled = session.take_stalled(since);
        let now = Instant::now();
        self.window.postpone(stalled, now);
        self.bypass.window_mut().postpone(stalled, now);
        self.connection.postpone(stalled, now);
        !stalled.is_zero()
    }
}
