//! What the connection has to say: connected, acknowledged, refused, lost; and what follows for the messages.

use super::Publisher;
use super::sending::as_control;
use crate::delivery::{Event, Lost, Publish};
use crate::message::{Qos, Seq};
use crate::mqtt::Ring;
use log::{debug, warn};
use std::time::{Duration, Instant};

/// How long the library may take to tell why there is no connection any more, after it has let a publish fail: a
/// callback in another thread, on a slow machine.
const LAST_WORDS: Duration = Duration::from_millis(200);

impl Publisher {
    pub(super) fn answer_waiting(&mut self) {
        let rings = self.rings.clone();
        self.answer(rings.try_iter());
    }

    pub(super) fn answer(&mut self, rings: impl Iterator<Item = Ring>) {
        for ring in rings {
            match self.connection.answer(ring) {
                None | Some(Event::Disconnected) => {}
                Some(Event::Connected(connected)) => self.connected(connected),
                Some(Event::Acknowledged(Publish::Status)) => {
                    self.caution.answered(Publish::Status);
                    if self.connection.has_finished_resumed_status() {
                        self.publish_status(Instant::now());
                    }
                }
                Some(Event::Acknowledged(Publish::Message(seq))) => self.acknowledged(seq),
                Some(Event::Acknowledged(Publish::Bypass(seq))) => self.bypassed(seq),
                Some(Event::Refused(Publish::Bypass(seq), refusal)) => self.bypass_refused(seq, &refusal.to_string()),
                Some(Event::Refused(Publish::Message(seq), refusal)) => self.refused(seq, refusal),
                Some(Event::Refused(Publish::Status, refusal)) => self.status_refused(&refusal.to_string()),
                Some(Event::Lost(lost)) => self.lost(lost),
            }
        }
    }

    pub(super) fn connected(&mut self, connected: crate::delivery::Connected) {
        self.counters.connections.add(1);
        let now = Instant::now();
        self.caution.connected();
        if self.caution.is_without_status() {
            let topic = &self.config.status.topic;
            warn!("connections end over the status message; going without it over this one topic={topic:?}");
        }
        self.connection.connected(connected, now, self.spool.backlog());
        if connected.session_present {
            if self.connection.session().is_some_and(|session| session.contains(Publish::Status)) {
                self.connection.resume_status(now);
            }
            let resumed = self.window.resume(now, |seq| self.caution.resumes(Publish::Message(seq)));
            debug!("session resumed in_flight={resumed}");
        } else {
            let released = self.window.release();
            if released > 0 {
                warn!("the broker has forgotten our session; {released} messages in flight are published again");
            }
        }
        if self.config.status.topic.is_some() {
            self.publish_status(Instant::now());
        }
    }

    pub(super) fn acknowledged(&mut self, seq: Seq) {
        let Some(message) = self.window.remove(seq) else { return };
        self.confirmed(Publish::Message(seq), message.sample.route.qos);
        self.counters.acknowledged.add(1);
        self.finish(seq);
    }

    /// The library is done with a message of this quality of service.
    fn confirmed(&mut self, what: Publish, qos: Qos) {
        let qos = if self.caution.is_control(what) { as_control(qos) } else { qos };
        if self.connection.is_confirmed(qos) {
            self.connection.carries(Instant::now());
            self.caution.answered(what);
        }
    }

    /// The broker has taken a message from memory.
    fn bypassed(&mut self, seq: Seq) {
        let Some(message) = self.bypass.window_mut().remove(seq) else { return };
        self.confirmed(Publish::Bypass(seq), message.sample.route.qos);
        self.counters.acknowledged.add(1);
    }

    /// The broker will not take a message from memory, and there is no disk to set it aside on.
    pub(super) fn bypass_refused(&mut self, seq: Seq, reason: &str) {
        if let Some(message) = self.bypass.window_mut().remove(seq) {
            let topic = &message.sample.route.topic;
            warn!("message from memory refused; dropped seq={seq} topic={topic} reason={reason}");
            self.counters.rejected.add(1);
        }
    }

    /// A message has left the window for good.
    pub(super) fn finish(&mut self, seq: Seq) {
        self.spool.finish(seq, Instant::now());
        if let Some(session) = self.connection.session() {
            session.end(Publish::Message(seq));
        }
    }

    /// A publish failed, for there is no connection any more. What the broker said when it ended it may be on its way
    /// here still.
    pub(super) fn not_published(&mut self, lost: Lost) {
        let deadline = Instant::now() + LAST_WORDS;
        let rings = self.rings.clone();
        while let Ok(ring) = rings.recv_deadline(deadline) {
            if let Some(lost) = self.last_word(ring) {
                return self.lost(lost);
            }
        }
        self.lost(lost);
    }

    pub(super) fn lost(&mut self, lost: Lost) {
        self.next_status = None;
        self.take_last_acknowledgements();
        let ending = self.ending(&lost);
        let end = self.connection.lost(lost, self.spool.backlog());
        // Only now that nothing more is sent over the former connection it is certain what is on its way.
        let session = self.connection.session();
        self.window.connection_lost(|seq| session.is_some_and(|session| session.contains(Publish::Message(seq))));
        self.conclude(ending);
        self.abandon_from_memory();
        self.bypass.window_mut().connection_lost(|_| false);
        if !self.intake.is_failing() {
            self.intake.give_back(self.bypass.give_back());
        }
        // With another configuration it may do better.
        if let Some(end) = end.filter(|_| self.change.is_none()) {
            self.end = end;
            // The agent may be stopping already, and not listen any more.
            let _ = self.gives_up.try_send(());
        }
    }

    /// Messages from memory are given back to the spool or published anew, and so is a status message that must not be
    /// resumed with the session.
    fn abandon_from_memory(&self) {
        let Some(session) = self.connection.session() else { return };
        let without_status = self.caution.is_without_status() || !self.caution.resumes(Publish::Status);
        for under_way in session.under_way() {
            match under_way.what {
                Publish::Bypass(_) => session.abandon(under_way.what),
                Publish::Status if without_status => session.abandon(under_way.what),
                Publish::Status | Publish::Message(_) => {}
            }
        }
    }

    /// What the broker acknowledged before the connection was lost must not be published again: on a link that is lost
    /// over and over, that is all the progress there is.
    fn take_last_acknowledgements(&mut self) {
        let rings = self.rings.clone();
        for ring in rings.try_iter() {
            self.last_word(ring);
        }
    }

    /// What a ring says after the connection was lost: an acknowledgement counts; why it was lost is given back.
    fn last_word(&mut self, ring: Ring) -> Option<Lost> {
        match self.connection.answer(ring)? {
            Event::Acknowledged(Publish::Message(seq)) => self.acknowledged(seq),
            Event::Acknowledged(Publish::Bypass(seq)) => self.bypassed(seq),
            Event::Lost(lost) => return Some(lost),
            Event::Acknowledged(Publish::Status) | Event::Refused(..) | Event::Connected(_) | Event::Disconnected => {}
        }
        None
    }
}
