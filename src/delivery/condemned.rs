//! Messages that are given up and stand in the session: a broker would take another message with such a packet identifier for
//! the same one, so the session has to end with them. It ends once nothing else at QoS 2 is under way in it, for the next
//! session would publish that again. Until then nothing new is published, and what is condemned is not resumed.

use super::Delivery;
use super::action::{Action, How};
use super::case::Kind;
use super::event::Publish;
use crate::message::Qos;
use log::Level;
use std::collections::{BTreeMap, BTreeSet};

/// After so many connections the session ends although something else is under way in it.
const PATIENCE: u32 = 4;

/// What is given up and stands in the session.
#[derive(Debug, Default)]
pub struct Condemned {
    messages: BTreeMap<Publish, Sentence>,
    /// How many connections have ended since the first one.
    waited: u32,
}

/// Why a message is given up.
#[derive(Debug)]
struct Sentence {
    kind: Kind,
    reason: String,
}

impl Condemned {
    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Whether this is given up.
    pub fn contains(&self, what: Publish) -> bool {
        self.messages.contains_key(&what)
    }

    /// A publish has reached its end.
    pub fn over(&mut self, what: Publish) {
        self.messages.remove(&what);
        if self.messages.is_empty() {
            self.waited = 0;
        }
    }
}

impl Delivery {
    /// The broker will not take a message that may be on its way in the session.
    pub(super) fn give_up(&mut self, what: Publish, kind: Kind, reason: &str) {
        match self.held_at(what) {
            None => self.end(what, kind, reason),
            Some(Qos::ExactlyOnce) => {
                self.condemned.messages.insert(what, Sentence { kind, reason: reason.to_owned() });
            }
            // Its packet identifier means nothing to the broker once it is not sent any more.
            Some(Qos::AtMostOnce | Qos::AtLeastOnce) => {
                self.end(what, kind, reason);
                self.actions.push_back(Action::Abandon(what));
            }
        }
    }

    /// The quality of service of a message that is on its way in the session; `None`: it is not.
    fn held_at(&self, what: Publish) -> Option<Qos> {
        let is_held = self.window.held().any(|held| held.what == what);
        self.window.get(what).filter(|_| is_held).map(|message| message.sample.route.qos)
    }

    fn end(&mut self, what: Publish, kind: Kind, reason: &str) {
        let Some(seq) = self.window.get(what).map(|message| message.seq) else { return };
        if kind != Kind::Confirmed {
            return self.set_aside(what, reason.to_owned());
        }
        let text = format!(
            "the broker has confirmed a message and never completes the exchange; it counts as complete seq={seq} \
             reason={reason}"
        );
        self.log(Level::Warn, text);
        self.window.take(what);
        self.over(what, How::Completed);
    }

    /// Whether something is given up that stands in the session.
    pub(super) fn has_condemned(&self) -> bool {
        !self.condemned.is_empty()
    }

    /// Whether a message may be published although something is condemned: as a control, or, where there is no status message,
    /// one at a time, to see whether the broker has read what was resumed.
    pub(super) fn may_send_beside_condemned(&self) -> bool {
        self.suspects.passed_over().is_some() || (self.window.counted() == 0 && !self.has_status())
    }

    /// The topics that such a message must not be of: they may not be answered.
    pub(super) fn topics_beside_condemned(&self) -> BTreeSet<String> {
        if !self.has_condemned() {
            return BTreeSet::new();
        }
        let flying = self.window.flying().filter_map(|what| self.window.get(what));
        flying.map(|message| message.sample.route.topic.clone()).collect()
    }

    /// There is no connection: the session ends where nothing more is waited for.
    pub(super) fn end_session_of_condemned(&mut self) {
        if self.condemned.is_empty() {
            return;
        }
        self.condemned.waited += 1;
        if self.condemned.waited <= PATIENCE && self.awaits_others() {
            return;
        }
        self.end_condemned();
        self.actions.push_back(Action::ForgetSession);
        let released = self.window.release();
        let text =
            format!("beginning a new session without them; others in flight are published again count={released}");
        self.log(Level::Warn, text);
    }

    /// Whether something else at QoS 2 is under way in the session and may come to its end there.
    fn awaits_others(&self) -> bool {
        self.window.held().any(|held| {
            let message = self.window.get(held.what);
            let is_at_qos_2 = message.is_some_and(|message| message.sample.route.qos == Qos::ExactlyOnce);
            is_at_qos_2 && !self.condemned.contains(held.what) && !self.is_doubtful(held.what)
        })
    }

    /// What is condemned reaches its end. So does what the broker has confirmed and left without its last answer, though it
    /// answered what came later: it has read the PUBREL.
    pub(super) fn end_condemned(&mut self) {
        let Condemned { messages, .. } = std::mem::take(&mut self.condemned);
        for (what, Sentence { kind, reason }) in &messages {
            self.end(*what, *kind, reason);
        }
        let struck = self.unanswered.struck();
        let released = self.window.held().filter(|held| held.confirmed && struck.contains_key(&held.what));
        let released: Vec<Publish> = released.map(|held| held.what).collect();
        let reason = messages.into_values().next().map(|sentence| sentence.reason).unwrap_or_default();
        released.into_iter().for_each(|what| self.end(what, Kind::Confirmed, &reason));
    }
}
