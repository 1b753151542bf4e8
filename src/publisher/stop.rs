//! How the publisher stops: everything safe first, then a goodbye.

use super::{End, Publisher};
use crate::delivery::{Lost, NotPublished, Publish};
use crate::status;
use log::{info, warn};
use std::time::{Duration, Instant};

/// How long a failing disk is tried when everything else has ended.
const LAST_TRIES: Duration = Duration::from_millis(500);

impl Publisher {
    /// Makes everything safe, waits for what is in flight, says goodbye.
    pub(super) fn stop(&mut self) {
        // First of all, for whoever stops us may lose patience. What fails here is tried again below.
        let _ = self.intake.save_rest(&mut self.spool, self.window.range_in_flight(), &self.counters);
        // The broker's time begins when the disk has taken its own.
        let deadline = Instant::now() + self.config.shutdown_timeout;
        info!("stopping in_flight={} backlog={}", self.in_flight(), self.spool.backlog().messages);
        self.wait_until(deadline, |publisher| {
            publisher.in_flight() == 0 && publisher.connection.awaited_status().is_none()
        });
        if self.connection.limit().is_some()
            && self.connection.awaited_status().is_none()
            && self.publish_offline().is_ok_and(|published| published)
        {
            self.wait_until(deadline, |publisher| publisher.connection.awaited_status().is_none());
        }
        if self.connection.limit().is_some() {
            self.connection.disconnect();
            while self.connection.is_disconnecting() && self.answer_next(deadline) {}
        }
        self.intake.give_back(self.bypass.give_back());
        if let Err(error) = self.save(deadline.max(Instant::now() + LAST_TRIES)) {
            warn!("not everything is safe on the disk error={error}");
            if self.end == End::Stopped {
                self.end = End::Unsaved(error);
            }
        } else {
            self.connection.end_session();
        }
        info!("stopped backlog={}", self.spool.backlog().messages);
    }

    /// Says on the status topic, where there is one and the broker takes it, that nobody is there any more; whether an
    /// answer will come.
    ///
    /// # Errors
    /// [`Lost`]: there is no connection any more.
    pub(super) fn publish_offline(&mut self) -> Result<bool, Lost> {
        let status = status::offline(&self.config, self.started).filter(|_| !self.caution.is_without_status());
        match status.map(|status| self.connection.publish(Publish::Status, status)) {
            Some(Ok(())) => Ok(true),
            None | Some(Err(NotPublished::TooLarge(_))) => Ok(false),
            Some(Err(NotPublished::Lost(lost))) => Err(lost),
        }
    }

    /// Puts everything on the medium; why that did not work until the deadline.
    fn save(&mut self, deadline: Instant) -> Result<(), String> {
        loop {
            self.pulse.works(Instant::now());
            match self.intake.save_rest(&mut self.spool, self.window.range_in_flight(), &self.counters) {
                Err(_) if Instant::now() < deadline => std::thread::sleep(LAST_TRIES / 5),
                result => return result,
            }
        }
    }

    /// Answers the library until something holds, the connection is gone, or the deadline has passed.
    fn wait_until(&mut self, deadline: Instant, holds: impl Fn(&Self) -> bool) {
        while self.connection.limit().is_some() && !holds(self) && self.answer_next(deadline) {}
    }

    /// Waits for the library; whether it said something before the deadline.
    fn answer_next(&mut self, deadline: Instant) -> bool {
        self.pulse.rests_until(deadline);
        let ring = self.rings.recv_deadline(deadline);
        self.pulse.works(Instant::now());
        let rang = ring.is_ok();
        self.answer(ring.into_iter());
        rang
    }
}
