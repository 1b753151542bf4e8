//! What is sent next: the one path that every publish takes. It asks the window, the broker's limits, the suspects, the
//! refusals and the rate.

use super::action::{Action, How, Now};
use super::case::Control;
use super::event::{Publish, Scope};
use super::rate::Rate;
use super::refusals::every_message;
use super::tally::{Dropped, Tally};
use super::tries::{Hold, Proof};
use super::{Dated, Delivery, Outdated, packet};
use crate::message::{Message, Qos, Seq};
use crate::payload::Outgoing;
use crate::planted::{Planted, is_planted};
use crate::status;
use log::Level;
use std::time::{Duration, Instant};

/// How many messages more than the window's are read while the broker refuses everything of a topic, so that others get
/// past it, as far as [`window::MOST`](super::window::MOST) lets them.
const AROUND_REFUSED: usize = 3900;

/// The quality of service at which a message shows whether the broker takes anything: at QoS 0 nothing would.
pub(super) fn as_control(qos: Qos) -> Qos {
    qos.max(Qos::AtLeastOnce)
}

/// What holds for a publish beyond what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Urgency {
    /// It keeps to the rate.
    Paced,
    /// The last words over a connection do not wait for the rate.
    LastWords,
}

impl Delivery {
    /// Publishes the status message when it is due, else the next message.
    pub(super) fn publish_next(&mut self, now: Now) {
        self.pace.due = None;
        if self.presence.is_due(now.at) && !self.window.has_status() {
            if self.connection.is_leaving() || self.suspects.is_without_status() {
                self.presence.done(now.at, self.config.status.interval);
            } else if self.has_room_at_broker() && self.is_paced(now) {
                self.actions.push_back(Action::Compose);
            }
            if !self.actions.is_empty() {
                return;
            }
        }
        // Which topics wait says what a connection resumes: that must not change while it is being made.
        if self.connection.limit().is_some() && self.refusals.is_holding() {
            self.settle_refusals(now);
        }
        self.attend_to_suspect(now);
        while self.actions.is_empty() && self.may_send(now) && self.publish_message(now) {}
    }

    /// Whether the broker takes one publish more.
    pub(super) fn has_room_at_broker(&self) -> bool {
        let in_flight = self.window.counted()
            - usize::from(is_planted(Planted::StatusNotCounted) && self.window.status_in_flight());
        self.connection.limit().is_some_and(|limit| in_flight < limit)
    }

    /// Whether the connection takes another message.
    pub(super) fn may_send(&self, now: Now) -> bool {
        self.has_room_at_broker()
            && self.resumed_first_until().is_none_or(|until| now.at >= until)
            && !self.has_to_resume()
            && (!self.has_condemned() || self.may_send_beside_condemned())
            && self.suspects.allows(self.window.in_flight(), self.connection.lasting(), now.at)
    }

    /// Whether the rate lets a publish go now. If not, it is due later.
    fn is_paced(&mut self, now: Now) -> bool {
        self.pace.due = self.pace.rate.as_ref().and_then(Rate::next).filter(|next| now.at < *next);
        self.pace.due.is_none() || is_planted(Planted::RateForgotten)
    }

    /// Sends, drops or sets aside the next message, or asks for it; whether there may be another one.
    fn publish_message(&mut self, now: Now) -> bool {
        let Some((what, control)) = self.next_message() else { return false };
        let Some(message) = self.window.get(what) else { return false };
        let waited = self.times.waited(message.sample.taken, now.clock);
        if let Some(how) = self.outdated(message, waited) {
            self.drop_outdated(what, how, waited, now);
            return true;
        }
        if !self.is_paced(now) {
            return false;
        }
        let Some(message) = self.window.get(what) else { return false };
        let outgoing = self.times.render(message, Dated::IfKnown, now.clock);
        let is_try = control.is_some() || self.refusals.is_to_be_a_try(&outgoing.topic);
        let qos = if is_try { as_control(outgoing.qos) } else { outgoing.qos };
        if !self.send(what, Outgoing { qos, ..outgoing }, Urgency::Paced, now) {
            return true;
        }
        if let Some(control) = control {
            self.suspects.published(what, control);
        }
        if let Some(message) = self.window.get(what) {
            self.refusals.sent(what, &message.sample.route.topic);
        }
        self.tell_outdated(|tally| tally.pause(now.at));
        true
    }

    /// The one way to the broker: sees to its limits, and notes what is in flight; whether it is sent.
    fn send(&mut self, what: Publish, outgoing: Outgoing, urgency: Urgency, now: Now) -> bool {
        let limits = self.connection.limits();
        let mut outgoing = self.connection.profile().outgoing(outgoing);
        outgoing.qos = outgoing.qos.min(limits.qos);
        outgoing.retain &= limits.retain;
        let size = packet::size(&outgoing, self.config.broker.protocol);
        if size > limits.packet_size {
            let maximum = limits.packet_size;
            self.larger_than_announced(what, format!("{size} bytes, and the broker takes {maximum} at most"), now);
            return false;
        }
        if let Some(limit) = self.size_limit().exceeded(size, &outgoing.topic, now.at) {
            self.too_large(what, format!("{size} bytes, and connections end over packets of {limit} bytes"));
            return false;
        }
        self.window.sent(what, size, now.at);
        if let Some(rate) = self.pace.rate.as_mut().filter(|_| urgency == Urgency::Paced) {
            rate.published(now.at);
        }
        self.actions.push_back(Action::Publish { what, outgoing });
        true
    }

    /// A packet is larger than the broker says that it takes. That is as a refusal: where it has not taken any message over this
    /// connection, the limit may be a mistake that would set everything aside.
    fn larger_than_announced(&mut self, what: Publish, reason: String, now: Now) {
        let topic = self.window.get(what).map(|message| message.sample.route.topic.clone());
        match topic.filter(|_| !self.takes_messages) {
            Some(topic) => {
                self.refusals.sent(what, &topic);
                self.judge_refused(what, &topic, Scope::Broker, reason, now);
            }
            None => self.too_large(what, reason),
        }
    }

    fn too_large(&mut self, what: Publish, reason: String) {
        match what {
            Publish::Status => self.status_refused(&reason),
            Publish::Message(_) | Publish::Bypass(_) => self.set_aside(what, reason),
        }
    }

    /// Publishes the status message that the shell has composed.
    pub(super) fn publish_status(&mut self, status: Option<Outgoing>, now: Now) {
        self.presence.done(now.at, self.config.status.interval);
        if let Some(status) = status {
            self.send(Publish::Status, status, Urgency::Paced, now);
        }
    }

    /// Says on the status topic, where there is one and the broker takes it, that nobody is here any more. Once a
    /// connection; whether an answer will come.
    pub(super) fn say_goodbye(&mut self, now: Now) -> bool {
        let goodbye = status::goodbye(&self.config, self.times.present(now.clock));
        let is_wanted = self.presence.takes_leave() && !self.suspects.is_without_status() && !self.window.has_status();
        match goodbye.filter(|_| is_wanted) {
            Some(goodbye) => self.send(Publish::Status, goodbye, Urgency::LastWords, now),
            None => false,
        }
    }

    /// The message that is published next, if there is one; as what, where it is to show whether the broker takes
    /// anything. Asks the store for one where it may have more.
    fn next_message(&mut self) -> Option<(Publish, Option<Control>)> {
        if self.suspects.passed_over().is_some() {
            return self.next_control().map(|(what, control)| (what, Some(control)));
        }
        if self.refusals.take_changed() || !self.unanswered.struck().is_empty() || self.has_condemned() {
            self.window.reconsider();
        }
        let shunned = self.topics_beside_condemned();
        let takes_struck = self.takes_struck();
        let (refusals, struck) = (&self.refusals, self.unanswered.struck());
        let next = self.window.next_to_send(|what, message| {
            let topic = &message.sample.route.topic;
            refusals.allows(what, topic) && (takes_struck || !struck.contains_key(&what)) && !shunned.contains(topic)
        });
        if let Some(next) = next {
            return Some((next, None));
        }
        if self.may_read() {
            self.actions.push_back(Action::Read);
        } else if !self.is_exhausted && self.refusals.blocks() {
            let count = self.window.len();
            let text = format!("too many messages of refused topics wait; those behind wait as well count={count}");
            self.log(Level::Warn, text);
        }
        None
    }

    /// Whether the store may have another message, and there is room for it.
    fn may_read(&self) -> bool {
        let reads_on = self.refusals.reads_on() || !self.unanswered.struck().is_empty();
        let more = if reads_on { AROUND_REFUSED } else { 0 };
        !self.is_exhausted && self.window.has_room(more)
    }

    /// Holds what the broker refuses altogether.
    pub(super) fn settle_refusals(&mut self, now: Now) {
        let may_read = self.may_read();
        let (window, random) = (&self.window, &mut self.random);
        let has = |is_sought: &dyn Fn(Publish, &str) -> bool| {
            may_read || window.waiting().any(|(what, message)| is_sought(what, &message.sample.route.topic))
        };
        for hold in self.refusals.settle(now.at, || random.f64(), has) {
            self.tell_hold(&hold, now.at);
        }
    }

    /// Lets a topic wait that the broker takes nothing of for now.
    pub(super) fn hold_topic(&mut self, topic: &str, reason: &str, proof: Proof, now: Instant) {
        if let Some(hold) = self.refusals.hold_topic(topic, reason, proof, now, self.random.f64()) {
            self.tell_hold(&hold, now);
        }
    }

    /// Tells that the broker refuses everything of a topic, or of all.
    fn tell_hold(&mut self, hold: &Hold, now: Instant) {
        let Hold { topic, reason, until, is_news } = hold;
        let what = every_message(topic.as_deref());
        let delay = until.saturating_duration_since(now).as_secs_f64();
        let level = if *is_news { Level::Warn } else { Level::Debug };
        self.log(
            level,
            format!("the broker refuses {what}; they wait, and one is tried in {delay:.1} s reason={reason}"),
        );
        self.presence.changed(now);
    }

    fn drop_outdated(&mut self, what: Publish, how: How, waited: Duration, now: Now) {
        let seq = self.window.get(what).map_or(Seq(0), |message| message.seq);
        let waited = humantime::format_duration(waited);
        self.log(Level::Debug, format!("message dropped seq={seq} waited={waited}"));
        let Outdated { expired, too_old } = &mut self.outdated;
        if how == How::Expired { expired } else { too_old }.add(1, &(seq..=seq));
        self.tell_outdated(|tally| tally.look(now.at));
        self.window.take(what);
        self.over(what, how);
    }

    /// Tells how many messages were dropped because they are too old, where `look` has something to tell.
    pub(super) fn tell_outdated(&mut self, mut look: impl FnMut(&mut Tally) -> Option<Dropped>) {
        let Outdated { expired, too_old } = &mut self.outdated;
        for (tally, rule) in [(expired, "expiry"), (too_old, "spool.max_age")] {
            let level = if tally.is_new() { Level::Warn } else { Level::Info };
            if let Some(dropped) = look(tally) {
                let text = format!("messages dropped, too old rule={rule} {dropped}");
                self.actions.push_back(Action::Log(level, text));
            }
        }
    }

    /// By which rule a message is too old; `None`: it is not.
    fn outdated(&self, message: &Message, waited: Duration) -> Option<How> {
        if message.sample.route.expiry.is_some_and(|expiry| waited >= expiry) {
            return Some(How::Expired);
        }
        self.config.spool.max_age.is_some_and(|age| waited >= age).then_some(How::TooOld)
    }
}
