//! What becomes of a message that the broker will not take: it is tried again, then set aside, so that it blocks
//! nothing.
//!
//! Some brokers say no (a reason code in PUBACK or PUBREC, a limit in CONNACK, a reason in DISCONNECT). Others end the
//! connection without a word, above all over MQTT 3.1.1, and that is what a bad link does as well, and a broker that
//! takes nothing for now. [`Caution`](super::caution::Caution) tells them apart.

use super::Publisher;
use super::caution::{Control, Flight, Verdict};
use super::window::Window;
use crate::delivery::Dated;
use crate::delivery::{Lost, NotPublished, Publish, Refusal};
use crate::message::{Message, Seq};
use log::{debug, log, warn};
use std::fmt;
use std::time::Instant;

/// How often the broker may refuse a message with words before it is set aside.
const STRIKES: u32 = 3;
/// How many messages more than the window's are read in search of a control.
const AHEAD: usize = 100;

/// What the end of a connection says of a message.
#[derive(Debug)]
pub enum Ending {
    /// Nothing, for it was no connection any more, or none yet, or it ends as planned.
    Unrelated,
    /// Nothing, for there is another reason.
    Elsewhere,
    /// It ended because of a packet.
    Blamed { flight: Flight, reason: String },
    /// It ended without a word.
    Silent { flight: Flight, reason: String },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::ForNow(reason) | Refusal::Flatly(reason) => f.write_str(reason),
            Refusal::Unsaid => f.write_str("no reason given"),
        }
    }
}

impl Publisher {
    /// The broker has refused a message.
    pub(super) fn refused(&mut self, seq: Seq, refusal: Refusal) {
        let reason = match refusal {
            // It is published again, and then the reason comes with the answer.
            Refusal::Unsaid => None,
            // It is the broker that has to recover, not the message that is bad.
            Refusal::ForNow(reason) => {
                return self.lost(Lost::Passing(format!("the broker takes no messages for now: {reason}")));
            }
            Refusal::Flatly(reason) => Some(reason),
        };
        self.connection.carries(Instant::now());
        self.caution.answered(Publish::Message(seq));
        self.window.resumed(seq);
        if let Some(session) = self.connection.session() {
            session.abandon(Publish::Message(seq));
        }
        if let Some(reason) = reason {
            let Some(strikes) = self.window.refused(seq) else { return };
            if strikes >= STRIKES {
                if !self.set_aside(seq, &reason) {
                    self.lost(Lost::Passing(format!("message {seq} refused ({reason}) and not set aside")));
                }
                return;
            }
            debug!("message refused; publishing it again seq={seq} reason={reason}");
        }
        let Some(message) = self.window.get(seq) else { return };
        let outgoing = self.times.render(message, Dated::IfKnown);
        match self.connection.publish(Publish::Message(seq), outgoing) {
            Ok(()) => {}
            Err(NotPublished::Lost(lost)) => self.not_published(lost),
            Err(NotPublished::TooLarge(reason)) => self.lost(Lost::Passing(reason)),
        }
    }

    /// Whether a connection that is lost ended over a message. To be asked before anything else knows of the loss.
    pub(super) fn ending(&self, lost: &Lost) -> Ending {
        if self.connection.is_reconnecting() {
            return Ending::Unrelated;
        }
        match lost {
            Lost::Blamed(reason) => Ending::Blamed { flight: self.flight(), reason: reason.clone() },
            Lost::Ended(reason) => Ending::Silent { flight: self.flight(), reason: reason.clone() },
            Lost::Passing(_) | Lost::Again(_) | Lost::Moved(_) | Lost::Refused(_) => Ending::Elsewhere,
        }
    }

    /// Whether the broker has confirmed that it has a message, and the exchange goes on.
    fn is_confirmed(&self, seq: Seq) -> bool {
        self.connection.session().is_some_and(|session| session.is_confirmed(Publish::Message(seq)))
    }

    fn flight(&self) -> Flight {
        // What the broker has confirmed is none that it ends the connection over.
        let from_spool = self.window.flying().find(|seq| !self.is_confirmed(*seq)).map(Publish::Message);
        let first = from_spool.or_else(|| self.bypass.window().flying().next().map(Publish::Bypass));
        let with_status = self.connection.awaited_status().is_some();
        Flight { first, alone: self.in_flight() == 1, resuming: self.window.is_resuming(), with_status }
    }

    /// Acts on the end of a connection, once it is closed.
    pub(super) fn conclude(&mut self, ending: Ending) {
        match ending {
            Ending::Unrelated => {}
            Ending::Elsewhere => self.caution.interrupted(),
            Ending::Blamed { flight, reason } => self.blamed(flight, &reason),
            Ending::Silent { flight, reason } => {
                let control = self.caution.suspect().map_or(Control::None, |suspect| self.control_for(suspect));
                let verdict = self.caution.ended(flight, control);
                debug!("connection ended without a word, maybe over {:?}: {verdict:?}", flight.first);
                match verdict {
                    Verdict::Open => {}
                    Verdict::Control => self.plan_control(),
                    Verdict::Guilty(suspect) => self.give_up(suspect, &reason),
                }
            }
        }
    }

    /// The broker ended the connection because of a packet. It reads what is resumed in order.
    fn blamed(&mut self, flight: Flight, reason: &str) {
        if !self.caution.blamed(flight) {
            return;
        }
        let Some(first) = flight.first else { return };
        if (!flight.alone || flight.with_status) && !flight.resuming {
            return;
        }
        let strikes = match first {
            Publish::Message(seq) => self.window.refused(seq),
            Publish::Bypass(seq) => self.bypass.window_mut().refused(seq),
            Publish::Status => None,
        };
        debug!("connection ended over a message, maybe {first:?} times={strikes:?}");
        if strikes.is_some_and(|strikes| strikes >= STRIKES) {
            self.caution.forgotten();
            self.give_up(first, reason);
        }
    }

    /// The broker will not take a message.
    fn give_up(&mut self, message: Publish, reason: &str) {
        match message {
            Publish::Message(seq) => self.set_aside_under_way(seq, reason),
            Publish::Bypass(seq) => self.bypass_refused(seq, reason),
            Publish::Status => {}
        }
    }

    /// What can be published to see whether the broker takes anything but the suspect.
    fn control_for(&mut self, suspect: Publish) -> Control {
        if self.has_status() { Control::Status } else { self.seek(suspect) }
    }

    /// Whether the status message can show whether the broker takes anything.
    fn has_status(&self) -> bool {
        self.config.status.topic.is_some() && !self.status_refusals.is_on() && !self.caution.is_without_status()
    }

    /// Reads on until there is a message that can be published before the suspect and overtakes none of its topic.
    fn seek(&mut self, suspect: Publish) -> Control {
        let enough = usize::from(self.config.delivery.window) + AHEAD;
        loop {
            let control = self.choose(suspect, Window::grounded).map_or(Control::None, |(_, control)| control);
            if control == Control::Free || self.window.len() + self.bypass.window().len() >= enough {
                return control;
            }
            if !self.read_on(Instant::now()) {
                let is_in_memory = matches!(suspect, Publish::Bypass(_)) && self.intake.is_failing();
                let Some(sample) = is_in_memory.then(|| self.intake.take_oldest()).flatten() else { return control };
                self.bypass.push(sample);
            }
        }
    }

    /// Gets ready for a connection over which a message is published before the suspect.
    fn plan_control(&mut self) {
        if self.has_status() {
            return;
        }
        let suspect = self.caution.passed_over();
        let Some((what, control)) = suspect.and_then(|suspect| self.choose(suspect, Window::grounded)) else { return };
        if control == Control::SameTopic {
            // The sooner it follows the suspect's last try, the less may a broker that takes messages again get it
            // before the suspect.
            self.connection.hasten(Instant::now());
        }
        // What the session has in flight is sent as soon as there is a connection.
        if matches!(what, Publish::Message(seq) if self.window.held().any(|held| held == seq)) {
            self.caution.published(what, control);
        }
    }

    /// The message that is best published before the suspect, of those waiting.
    pub(super) fn next_control(&self) -> Option<(Publish, Control)> {
        self.choose(self.caution.passed_over()?, Window::waiting)
    }

    fn choose<'a, M: Iterator<Item = &'a Message>>(
        &'a self,
        suspect: Publish,
        among: impl Fn(&'a Window) -> M,
    ) -> Option<(Publish, Control)> {
        let (window, bypass) = (&self.window, self.bypass.window());
        let suspected = match suspect {
            Publish::Message(seq) => window.get(seq),
            Publish::Bypass(seq) => bypass.get(seq),
            Publish::Status => None,
        };
        let topic = &suspected?.sample.route.topic;
        let from_spool = among(window).filter(|message| !self.is_confirmed(message.seq));
        let from_spool = from_spool.map(|message| (Publish::Message(message.seq), message));
        let from_memory = among(bypass).map(|message| (Publish::Bypass(message.seq), message));
        let candidates =
            from_spool.chain(from_memory).map(|(what, message)| (what, message.sample.route.topic.as_str()));
        self.caution.choose(suspect, topic, candidates)
    }

    /// Whether a message that the session has in flight was left out, and its turn has come.
    pub(super) fn has_to_resume(&self) -> bool {
        self.window.held().any(|seq| self.caution.resumes(Publish::Message(seq)))
    }

    /// Gets on with a suspect where that takes more than to publish what waits.
    pub(super) fn attend_to_suspect(&mut self) {
        if let Some(suspect) = self.caution.passed_over()
            && self.may_send()
            && (self.seek(suspect) == Control::None || self.next_control().is_none())
        {
            // It was dropped, or came in time for the status message alone, which was refused.
            self.caution.interrupted();
        }
        let is_idle = self.in_flight() == 0 && self.connection.awaited_status().is_none();
        if self.connection.limit().is_some() && is_idle && !self.connection.is_leaving() && self.has_to_resume() {
            debug!("connecting anew to go on with the session");
            self.next_status = None;
            self.connection.reconnect(Instant::now());
        }
    }

    /// Sets a message aside that may be on its way in the session. Its packet identifier must not be used again while
    /// the broker may hold it: the session ends with it.
    fn set_aside_under_way(&mut self, seq: Seq, reason: &str) {
        let is_under_way = self.connection.session().is_some_and(|session| session.has_noted(seq));
        if self.set_aside(seq, reason)
            && is_under_way
            && let Some(session) = self.connection.session()
        {
            session.forget();
            let released = self.window.release();
            warn!("beginning a new session without the message; others in flight are published again count={released}");
        }
    }

    /// Keeps a message out of the way in `rejected/`; whether that worked. If not, it stays where it is.
    pub(super) fn set_aside(&mut self, seq: Seq, reason: &str) -> bool {
        let now = Instant::now();
        let Some(message) = self.window.get(seq).filter(|_| self.aside.is_due(now)) else { return false };
        let topic = &message.sample.route.topic;
        match self.spool.set_aside(message, reason) {
            Ok(file) => {
                self.aside.worked();
                warn!("message refused; set aside seq={seq} topic={topic} reason={reason} file={}", file.display());
                self.counters.rejected.add(1);
                if self.window.remove(seq).is_none() {
                    self.window.discard(seq);
                }
                self.finish(seq);
                true
            }
            Err(error) => {
                // Nothing accepted is lost: it is tried again.
                debug!("message refused, and not set aside seq={seq} topic={topic} reason={reason}");
                self.aside.failed(now, &error);
                false
            }
        }
    }

    /// The status message was not taken.
    pub(super) fn status_refused(&mut self, reason: &str) {
        log!(
            self.status_refusals.failed(),
            "status message refused topic={:?} reason={reason}",
            self.config.status.topic
        );
    }
}
