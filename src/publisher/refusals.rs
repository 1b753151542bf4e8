//! What becomes of a message that the broker will not take: it is tried again, then set aside, so that it blocks
//! nothing.
//!
//! Some brokers say no (a reason code in PUBACK or PUBREC, a limit in CONNACK, a reason in DISCONNECT). Others end the
//! connection without a word, above all over MQTT 3.1.1, and that is what a bad link does as well. So a connection
//! that ends before anything was acknowledged makes the lowest message in flight a suspect, which is then published
//! alone, on a connection that has lasted for a while. Only when connections end over it time and again it is set aside.

use super::Publisher;
use super::link::{Lost, NotPublished, Publish, Refusal};
use super::times::Dated;
use crate::message::Seq;
use log::{debug, log, warn};
use std::fmt;
use std::time::Instant;

/// How often the broker may refuse a message, or end the connection over it, before it is set aside.
const STRIKES: u32 = 3;
/// How often a connection may end while the library sends what the session has in flight. It does so at once and
/// all together, so a bad link is suspected first.
const STRIKES_RESUMING: u32 = 10;

/// How carefully to publish.
#[derive(Debug, Default)]
pub struct Caution {
    /// One message at a time, because connections ended over one.
    level: Level,
    /// Whether something was acknowledged on the present connection.
    acknowledged: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Level {
    #[default]
    None,
    /// The broker said that it was a packet of ours: one at a time.
    Alone,
    /// Nobody said so: one at a time, and not before the connection has lasted for a while.
    AloneAndLater,
}

impl Caution {
    /// There is a new connection.
    pub fn connected(&mut self) {
        self.acknowledged = false;
    }

    /// A message was acknowledged.
    pub fn acknowledged(&mut self) {
        *self = Self { level: Level::None, acknowledged: true };
    }

    /// Whether another message may be published. `lasting`: from when on the connection has lasted for a while.
    pub fn allows(&self, in_flight: usize, lasting: Option<Instant>) -> bool {
        match self.level {
            Level::None => true,
            Level::Alone => in_flight == 0,
            Level::AloneAndLater => in_flight == 0 && lasting.is_some_and(|lasting| Instant::now() >= lasting),
        }
    }

    /// When publishing may go on, where that waits for time alone.
    pub fn until(&self, lasting: Option<Instant>) -> Option<Instant> {
        lasting.filter(|lasting| self.level == Level::AloneAndLater && Instant::now() < *lasting)
    }
}

/// A message that a connection may have ended over.
#[derive(Debug)]
pub struct Suspicion {
    suspect: Publish,
    reason: String,
    level: Level,
    /// How many strikes are too many; `None`: this is none yet, for others were in flight as well.
    allowed: Option<u32>,
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
        self.caution.acknowledged();
        self.window.resumed(seq);
        if let Some(session) = self.connection.session() {
            session.abandon(seq);
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

    /// Whether a connection that was lost ended over a message. To be asked before the window knows of the loss.
    pub(super) fn suspicion(&self, lost: &Lost) -> Option<Suspicion> {
        let (reason, level) = match lost {
            Lost::Blamed(reason) => (reason, Level::Alone),
            Lost::Ended(reason) => (reason, Level::AloneAndLater),
            Lost::Passing(_) | Lost::Again(_) | Lost::Moved(_) | Lost::Refused(_) => return None,
        };
        if self.caution.acknowledged {
            return None;
        }
        // What the broker has confirmed is none that it ends the connection over.
        let session = self.connection.session();
        let is_confirmed =
            |seq: &Seq| session.is_some_and(|session| session.contains(*seq) && !session.is_unconfirmed(*seq));
        let suspect = match self.window.flying().find(|seq| !is_confirmed(seq)) {
            Some(seq) => Publish::Message(seq),
            None => Publish::Bypass(self.bypass.window().flying().next()?),
        };
        let allowed = match level {
            Level::AloneAndLater if self.window.is_resuming() => Some(STRIKES_RESUMING),
            Level::AloneAndLater => (self.caution.level == level && self.in_flight() == 1).then_some(STRIKES),
            // The broker reads what is resumed in order.
            Level::Alone | Level::None => (self.window.is_resuming() || self.in_flight() == 1).then_some(STRIKES),
        };
        Some(Suspicion { suspect, reason: reason.clone(), level, allowed })
    }

    /// Acts on a suspicion, once the connection is closed.
    pub(super) fn suspect(&mut self, suspicion: Suspicion) {
        let Suspicion { suspect, reason, level, allowed } = suspicion;
        self.caution.level = level;
        let Some(allowed) = allowed else { return };
        let strikes = match suspect {
            Publish::Message(seq) => self.window.refused(seq),
            Publish::Bypass(seq) => self.bypass.window_mut().refused(seq),
            Publish::Status => None,
        };
        let strikes = strikes.unwrap_or(0);
        debug!("connection ended over a message, maybe {suspect:?} times={strikes} allowed={allowed}");
        if strikes < allowed {
            return;
        }
        self.caution.level = Level::None;
        match suspect {
            Publish::Message(seq) => self.set_aside_under_way(seq, &reason),
            Publish::Bypass(seq) => self.bypass_refused(seq, &reason),
            Publish::Status => {}
        }
    }

    /// Sets a message aside that may be on its way in the session. Its packet identifier must not be used again while
    /// the broker may hold it: the session ends with it.
    fn set_aside_under_way(&mut self, seq: Seq, reason: &str) {
        let is_under_way = self.connection.session().is_some_and(|session| session.contains(seq));
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
