//! What becomes of what was sent: acknowledged, refused, or in flight when the connection ended.

use super::Delivery;
use super::action::{Action, How, Now, Remains};
use super::case::{Control, Kind};
use super::event::{Lost, Publish, Refusal, Scope};
use super::failures::{Delay, Loss};
use super::refusals::Judgement;
use super::sending::as_control;
use super::suspects::{Flight, Verdict};
use super::tries::Proof;
use crate::message::{Message, Qos};
use crate::planted::{Planted, is_planted};
use log::Level;

/// How many messages more than the window's are read in search of a control.
const AHEAD: usize = 100;

impl Delivery {
    /// The broker has taken what was published.
    pub(super) fn acknowledged(&mut self, what: Publish, now: Now) {
        let size = self.window.size_of(what);
        let is_answer = self.is_answer(what);
        if is_answer {
            self.unanswered.answered();
            self.taken(what);
        }
        let Some(message) = self.window.remove(what) else { return };
        let Some(message) = message else {
            self.presence.accepted();
            self.connection.rivals.carries_status();
            self.suspects.accepted(what);
            self.unanswered.over(what);
            if is_answer {
                self.size_limit().accepted(size);
            }
            return;
        };
        if is_answer {
            self.takes_messages = true;
            self.connection.carries(now.at, &mut self.actions);
            self.suspects.accepted(what);
            self.size_limit().accepted(size);
            for opened in self.refusals.accepted(what, &message.sample.route.topic) {
                let what = opened.map_or_else(|| "messages".to_owned(), |topic| format!("messages of {topic}"));
                self.log(Level::Info, format!("the broker accepts {what} again"));
                self.presence.changed(now.at);
            }
        }
        self.over(what, How::Acknowledged);
    }

    /// Whether the end of a publish is the broker's answer. At QoS 0 it only says that the message was written.
    fn is_answer(&self, what: Publish) -> bool {
        let is_try = self.suspects.is_control(what) || self.refusals.is_try(what);
        let qos = match self.window.get(what).map(|message| message.sample.route.qos) {
            Some(qos) if !is_try => qos,
            Some(qos) => as_control(qos),
            // The status message.
            None => Qos::AtLeastOnce,
        };
        qos.min(self.connection.limits().qos) > Qos::AtMostOnce
    }

    /// A message has reached its end.
    pub(super) fn over(&mut self, what: Publish, how: How) {
        self.gone(what);
        self.story.over(what, matches!(how, How::Acknowledged | How::Completed));
        self.actions.push_back(Action::End(what, how));
    }

    /// A message has left the window for good: nothing waits for it any more.
    pub(super) fn gone(&mut self, what: Publish) {
        self.suspects.over(what);
        self.unanswered.over(what);
        self.condemned.over(what);
        self.refusals.forget(what);
    }

    /// The library did not take what was to be published: no connection can have ended over it.
    pub(super) fn not_sent(&mut self, what: Publish) {
        match what {
            Publish::Status => drop(self.window.take(what)),
            Publish::Message(_) | Publish::Bypass(_) => self.window.recalled(what),
        }
        self.suspects.not_sent(what);
    }

    /// The broker has refused what was published.
    pub(super) fn refused(&mut self, what: Publish, refusal: Refusal, now: Now) {
        if what == Publish::Status {
            self.window.remove(what);
            self.suspects.refused(what);
            return self.status_refused(&refusal.to_string());
        }
        self.suspects.refused(what);
        self.unanswered.answered();
        self.unanswered.over(what);
        let Some(message) = self.window.get(what) else { return };
        let topic = message.sample.route.topic.clone();
        self.window.recalled(what);
        self.actions.push_back(Action::Abandon(what));
        let (scope, reason) = match refusal {
            // It is the broker that has to recover, not the message that is bad.
            Refusal::ForNow(reason) => {
                self.refusals.forget_try(what);
                let level = self.quota.failed();
                self.log(level, format!("the broker takes no messages for now: {reason} topic={topic}"));
                return self.hold_topic(&topic, &reason, Proof::Guess, now.at);
            }
            Refusal::Flatly(scope, reason) => (scope, reason),
        };
        self.judge_refused(what, &topic, scope, reason, now);
    }

    /// Sets aside what was refused, or has it published again.
    pub(super) fn judge_refused(&mut self, what: Publish, topic: &str, scope: Scope, reason: String, now: Now) {
        match self.refusals.refused(what, topic, scope, &reason) {
            Judgement::SetAside => self.set_aside(what, reason),
            Judgement::Again => {
                let text = format!("message refused; publishing it again what={what:?} topic={topic} reason={reason}");
                self.log(Level::Debug, text);
                self.settle_refusals(now);
            }
        }
    }

    /// There is no connection, and nothing more is sent over the former one.
    pub(super) fn lost(&mut self, why: &Lost, remains: &Remains, now: Now) {
        let was_disconnecting = self.connection.is_disconnecting();
        // What was asked for over the former connection means nothing now.
        self.actions.retain(|action| !matches!(action, Action::Publish { .. } | Action::Close(_) | Action::Disconnect));
        let flight = self.flight(why, remains);
        if flight.first.is_some() {
            self.connection.rivals.may_be_over_a_message();
        }
        let overdue = self.overdue(remains, now.at);
        self.presence.lost();
        // Where nothing at all is answered, it is the link that is mute.
        let says_something = !matches!(why, Lost::Unanswered(_)) || self.unanswered.has_answered();
        let was_try = says_something && why.may_be_over_a_message() && self.refusals.ended_over_a_try();
        self.refusals.connection_lost();
        let first = self.window.flying().next();
        if let Some(what) = first.filter(|_| is_planted(Planted::LossTakenForDelivery)) {
            self.window.take(what);
            self.over(what, How::Acknowledged);
        }
        self.window.connection_lost(&remains.under_way);
        if self.stop.is_some() {
            self.log(Level::Info, format!("{why}; stopping"));
            return self.complete_stop();
        }
        let is_confronting = self.suspects.is_confronting();
        let may_be_over_one = flight.first.is_some() && why.may_be_over_a_message();
        let verdict = if was_try {
            self.suspects.interrupted();
            Verdict::Open
        } else if was_disconnecting {
            Verdict::Open
        } else {
            self.conclude(why, flight, &overdue, now.at)
        };
        if was_try || is_confronting && verdict != Verdict::Open {
            self.connection.excuse();
        }
        self.end_session_of_condemned();
        let random = self.random.f64();
        self.backlog = remains.backlog;
        let lasted = if was_disconnecting { None } else { self.story.lost(now.at) };
        // An attempt that led to no connection, and a broker that ends it for its own reasons, bring no verdict nearer.
        let was_counted = may_be_over_one && lasted.is_some();
        let delay = if was_counted && self.suspects.has_more_tries() { Delay::Short } else { Delay::Growing };
        let loss = Loss { why, remains, lasted, delay };
        self.connection.lost(loss, now.at, random, &mut self.actions);
        if verdict == Verdict::Control {
            self.plan_control(now);
        }
        // With another configuration it may do better.
        if self.pending.is_some() {
            self.actions.retain(|action| !matches!(action, Action::GiveUp(_)));
        }
    }

    /// What was in flight over a connection that has ended.
    fn flight(&self, why: &Lost, remains: &Remains) -> Flight {
        let is_confirmed = |what: Publish| remains.under_way.iter().any(|held| held.what == what && held.confirmed);
        // What the broker has confirmed comes last: it has that already.
        let unconfirmed = self.window.flying().find(|what| !is_confirmed(*what));
        let first = unconfirmed.or_else(|| self.window.flying().next());
        // A status message that was resumed with others is suspected before them: it can be left out, and they cannot.
        let first = first.filter(|_| !self.window.is_status_resumed());
        let with_status = self.window.status_in_flight();
        let member = self.connection.member();
        let kind = match first {
            Some(_) if unconfirmed.is_none() => Kind::Confirmed,
            Some(first) if self.sizes[member].is_suspicious(self.window.size_of(first)) => Kind::Oversize,
            Some(_) if matches!(why, Lost::Blamed(..)) => Kind::Blamed,
            Some(_) | None => Kind::Unknown,
        };
        let resuming = self.window.is_resuming() && !self.window.has_sent_anew();
        let alone = self.window.in_flight() - usize::from(with_status) == 1;
        Flight { first, alone, kind, resuming, with_status }
    }

    /// Keeps a message out of the way.
    pub(super) fn set_aside(&mut self, what: Publish, reason: String) {
        let Some(message) = self.window.take(what) else { return };
        self.gone(what);
        self.story.over(what, false);
        self.actions.push_back(Action::SetAside { what, message, reason });
    }

    /// The broker did not take the status message.
    pub(super) fn status_refused(&mut self, reason: &str) {
        let level = self.presence.refused();
        let topic = &self.config.status.topic;
        let text = format!("status message refused topic={topic:?} reason={reason}");
        self.log(level, text);
    }

    /// What can be published to see whether the broker takes anything but the suspect.
    pub(super) fn control_for(&self, suspect: Publish) -> Control {
        if self.has_status() {
            return Control::Status;
        }
        self.best_control(suspect).map_or(Control::None, |(_, control)| control)
    }

    /// Whether the status message can show whether the broker takes anything.
    pub(super) fn has_status(&self) -> bool {
        self.config.status.topic.is_some() && !self.presence.is_refused() && !self.suspects.is_without_status()
    }

    /// Gets ready for a connection over which a message is published before the suspect.
    fn plan_control(&mut self, now: Now) {
        if self.has_status() {
            return;
        }
        let chosen = self.suspects.passed_over().and_then(|suspect| self.best_control(suspect));
        let Some((what, control)) = chosen else { return };
        if control == Control::SameTopic {
            // The sooner it follows the suspect's last try, the less may a broker that takes messages again get it
            // before the suspect.
            self.connection.skip_delay(now.at);
        }
        // What the session has in flight is sent as soon as there is a connection.
        if self.window.held().any(|held| held.what == what) {
            self.suspects.published(what, control);
        }
    }

    /// The message that is best published before the suspect, of those waiting.
    pub(super) fn next_control(&self) -> Option<(Publish, Control)> {
        self.choose(self.suspects.passed_over()?, self.window.waiting())
    }

    /// The message that will best be published before the suspect, of those waiting and held.
    fn best_control(&self, suspect: Publish) -> Option<(Publish, Control)> {
        self.choose(suspect, self.window.grounded())
    }

    fn choose<'a>(
        &self,
        suspect: Publish,
        among: impl Iterator<Item = (Publish, &'a Message)>,
    ) -> Option<(Publish, Control)> {
        let topic = &self.window.get(suspect)?.sample.route.topic;
        let candidates = among.map(|(what, message)| (what, message.sample.route.topic.as_str()));
        let candidates = candidates.filter(|(what, topic)| !self.refusals.leaves_out(*what, topic));
        self.suspects.choose(suspect, topic, candidates, |what| self.is_doubtful(what))
    }

    /// Whether what the session has in flight was left out, and its turn has come.
    pub(super) fn has_to_resume(&self) -> bool {
        self.resumable().any(|what| what != Publish::Status)
    }

    /// Does what a suspect needs beyond publishing what waits: reads on in search of a control, and connects anew to
    /// resume what was left out.
    pub(super) fn attend_to_suspect(&mut self, now: Now) {
        if self.leave_to_resume() {
            return;
        }
        let Some(suspect) = self.suspects.suspect() else { return };
        let is_sought = !self.has_status() || self.suspects.passed_over().is_some();
        let is_fresh =
            |(what, control)| control == Control::Free && !self.suspects.has_failed(what) && !self.is_doubtful(what);
        let has_fresh = self.best_control(suspect).is_some_and(is_fresh);
        if is_sought && !has_fresh && !self.is_exhausted && self.window.has_room(AHEAD) {
            return self.actions.push_back(Action::Read);
        }
        if self.suspects.passed_over().is_some() && self.may_send(now) && self.next_control().is_none() {
            // It was dropped, or came in time for the status message alone, which was refused.
            self.suspects.interrupted();
            self.leave_to_resume();
        }
    }

    /// Connects anew where the session has something in flight that was left out and whose turn has come; whether it has.
    fn leave_to_resume(&mut self) -> bool {
        let is_idle = self.window.in_flight() == 0 && self.connection.limit().is_some();
        if !is_idle || !(self.has_to_resume() || self.has_condemned()) {
            return false;
        }
        if !self.connection.is_leaving() {
            let why = if self.has_condemned() { "begin a new session" } else { "resume the session" };
            self.log(Level::Debug, format!("connecting anew to {why}"));
            self.connection.leave();
        }
        true
    }
}
