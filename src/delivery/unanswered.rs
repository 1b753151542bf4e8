//! What the broker leaves unanswered although it answers what came later: a message, or the rest of an exchange at QoS 2,
//! that a broker never answers would otherwise be sent over one connection after the other for ever.
//!
//! A broker that takes something else shows that it is alive, but not that it could have taken this: what belongs to a topic
//! may have to wait for a queue that has lost its majority, while other topics are answered. So a message is to blame only
//! where another one of its own topic was taken after it, or since it stayed unanswered; else its topic waits. An exchange that
//! is confirmed has nothing to wait for.

use super::Delivery;
use super::action::{Action, Now, Remains};
use super::case::{Kind, Taken};
use super::event::{Lost, Publish};
use super::tries::Proof;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Over how many connections something must stay unanswered while the broker takes others.
const STRIKES: u32 = 3;

/// What the broker has taken out of turn, and what it has not.
#[derive(Debug, Default)]
pub struct Unanswered {
    /// The newest publish of each topic that the broker took over the present connection before an older one, and when it was
    /// sent. `None`: the status message.
    taken: BTreeMap<Option<String>, Sent>,
    /// Over how many connections these stayed unanswered.
    strikes: BTreeMap<Publish, u32>,
    /// How many publishes the newest connection has taken at a time; `None`: there was none.
    limit: Option<usize>,
    /// Whether the broker has answered anything over the present connection.
    has_answered: bool,
}

/// When something was sent, and what. What was sent at the same moment was sent in order.
type Sent = (Instant, Publish);

/// A publish that the broker had the time to answer.
#[derive(Debug, Clone, Copy)]
pub struct Overdue {
    what: Publish,
    kind: Kind,
    /// What the broker took meanwhile; `None`: nothing.
    taken: Option<Taken>,
}

impl Unanswered {
    /// There is a new connection, which takes so many publishes at a time.
    pub fn connected(&mut self, limit: Option<usize>) {
        self.taken.clear();
        (self.limit, self.has_answered) = (limit, false);
    }

    /// The broker has answered something.
    pub fn answered(&mut self) {
        self.has_answered = true;
    }

    /// Whether the broker has answered anything over the present connection.
    pub fn has_answered(&self) -> bool {
        self.has_answered
    }

    /// How many publishes the newest connection has taken at a time, and how many of those may have stayed unanswered, so that
    /// others get past them.
    pub fn limits(&self) -> (usize, usize) {
        (self.limit.unwrap_or(usize::MAX), (self.limit.unwrap_or(0) / 2).max(1))
    }

    /// The broker has taken something that was sent then, although something older is in flight. `None`: the status message.
    pub fn taken(&mut self, topic: Option<&str>, sent: Sent) {
        let newest = self.taken.entry(topic.map(str::to_owned)).or_insert(sent);
        *newest = (*newest).max(sent);
    }

    /// What the broker has taken that was sent after something of this topic.
    fn taken_after(&self, topic: Option<&str>, sent: Sent) -> Option<Taken> {
        let is_of_it = |other: &Option<String>| topic.is_some() && other.as_deref() == topic;
        let later = self.taken.iter().filter(|(_, newest)| sent < **newest);
        later.map(|(other, _)| if is_of_it(other) { Taken::ItsTopic } else { Taken::OtherTopics }).max()
    }

    /// A connection more has ended without an answer to this, although there could have been one; whether there never will.
    fn strike(&mut self, what: Publish) -> bool {
        let times = self.strikes.entry(what).or_default();
        *times += 1;
        *times >= STRIKES
    }

    /// What stayed unanswered before. It must leave room for others.
    pub fn struck(&self) -> &BTreeMap<Publish, u32> {
        &self.strikes
    }

    /// A publish has reached its end, or was answered.
    pub fn over(&mut self, what: Publish) {
        self.strikes.remove(&what);
    }

    /// Another broker, or the same one with another configuration, may answer what the former one did not.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

impl Delivery {
    /// When the oldest publish in flight must be acknowledged.
    pub(super) fn ack_deadline(&self) -> Option<Instant> {
        self.connection.limit()?;
        Some(self.window.oldest_sent()? + self.config.delivery.ack_timeout)
    }

    /// Asks for what excuses a broker that has not acknowledged something in time. What has come must have been told.
    pub(super) fn check_acknowledgements(&mut self, now: Now) {
        if self.ack_deadline().is_some_and(|deadline| now.at >= deadline)
            && let Some(since) = self.window.oldest_sent()
        {
            self.actions.push_back(Action::TakeStalls(since));
        }
    }

    /// Only the broker's time counts: while the library's threads wait for the disk, no acknowledgement can come in.
    pub(super) fn stalled(&mut self, stalled: Duration, now: Now) {
        if !stalled.is_zero() {
            self.window.postpone(stalled, now.at);
        }
        if self.ack_deadline().is_some_and(|deadline| now.at >= deadline) {
            let timeout = humantime::format_duration(self.config.delivery.ack_timeout);
            self.actions.push_back(Action::Close(Lost::Unanswered(format!("no acknowledgement for {timeout}"))));
        }
    }

    /// The broker takes a publish of this topic, or the status message (`None`), which is in flight still.
    pub(super) fn taken(&mut self, what: Publish) {
        if self.window.oldest() == Some(what) {
            return;
        }
        let Some(sent) = self.window.sent_at(what) else { return };
        let topic = self.window.get(what).map(|message| message.sample.route.topic.as_str());
        self.unanswered.taken(topic, (sent, what));
    }

    /// What is in flight that the broker had the time to answer.
    pub(super) fn overdue(&self, remains: &Remains, now: Instant) -> Vec<Overdue> {
        let timeout = self.config.delivery.ack_timeout;
        let overdue = self.window.in_flight_since().filter(|(sent, _)| now >= *sent + timeout);
        let is_confirmed = |what| remains.under_way.iter().any(|held| held.what == what && held.confirmed);
        let overdue = overdue.map(|(sent, what)| {
            let topic = self.window.get(what).map(|message| message.sample.route.topic.as_str());
            let kind = if is_confirmed(what) { Kind::Confirmed } else { Kind::Unknown };
            // Before others of the same moment the status message is sent.
            let order = if what == Publish::Status { Publish::FIRST } else { what };
            Overdue { what, kind, taken: self.unanswered.taken_after(topic, (sent, order)) }
        });
        overdue.collect()
    }

    /// The connection was closed because the broker did not answer these in time; whether it has answered anything later.
    pub(super) fn unanswered(&mut self, overdue: &[Overdue], reason: &str, now: Instant) -> bool {
        if overdue.iter().all(|overdue| overdue.taken.is_none()) {
            return false;
        }
        self.suspects.lasted(overdue.iter().map(|overdue| overdue.what));
        for Overdue { what, kind, taken } in overdue {
            let Some(taken) = taken else { continue };
            if *what == Publish::Status {
                if self.unanswered.strike(*what) {
                    self.suspects.status_unanswered();
                    self.unanswered.over(*what);
                }
            } else if *kind != Kind::Confirmed && *taken == Taken::OtherTopics && !self.was_passed(*what) {
                self.hold_topic_of(*what, reason, now);
            } else if self.unanswered.strike(*what) {
                self.give_up(*what, *kind, reason);
            }
        }
        true
    }

    /// Whether the broker has taken another message of its topic since this one stayed unanswered for the last time.
    fn was_passed(&mut self, what: Publish) -> bool {
        let Some(message) = self.window.get(what) else { return false };
        self.refusals.unanswered(what, &message.sample.route.topic)
    }

    /// The broker answers other topics, and not this message's.
    fn hold_topic_of(&mut self, what: Publish, reason: &str, now: Instant) {
        let Some(message) = self.window.get(what) else { return };
        let topic = message.sample.route.topic.clone();
        self.hold_topic(&topic, reason, Proof::Control, now);
    }

    /// Whether another message that stayed unanswered before may be sent: these have half of the window, so that others get
    /// past.
    pub(super) fn takes_struck(&self) -> bool {
        let struck = self.unanswered.struck();
        let in_flight = struck.keys().filter(|struck| self.window.sent_at(**struck).is_some()).count();
        in_flight < self.unanswered.limits().1
    }

    /// Whether this stayed unanswered before, or was refused.
    pub(super) fn is_doubtful(&self, what: Publish) -> bool {
        self.unanswered.struck().contains_key(&what) || self.refusals.is_refused(what)
    }
}
