//! What follows when connections end over a message: it is set aside, its topic waits, or its exchange counts as complete.

use super::Delivery;
use super::action::{Action, How, Remains};
use super::case::{Control, Kind, Taken};
use super::event::{Fault, Lost, Publish};
use super::refusals::{Answer, Judgement};
use super::suspects::{Flight, Verdict};
use super::unanswered::Overdue;
use crate::message::Qos;
use log::Level;
use std::time::Instant;

impl Delivery {
    /// Finds out whether a connection has ended over a message; what that leads to.
    pub(super) fn conclude(
        &mut self,
        why: &Lost,
        flight: Flight,
        overdue: &[Overdue],
        remains: &Remains,
        now: Instant,
    ) -> Verdict {
        match why {
            Lost::Unanswered(reason) if self.unanswered(overdue, remains, reason, now) => Verdict::Open,
            Lost::Ended(_) | Lost::Unanswered(_) | Lost::Blamed(..) => {
                let control = self.suspects.suspect().map_or(Control::None, |suspect| self.control_for(suspect));
                let verdict = self.suspects.ended(flight, control);
                self.log(Level::Debug, format!("connection ended, maybe over {:?}: {verdict:?}", flight.first));
                if let Verdict::Guilty(suspect, taken) = verdict {
                    self.convict(suspect, flight.kind, taken, why, now);
                }
                verdict
            }
            Lost::Passing(_)
            | Lost::Again(_)
            | Lost::Moved(_)
            | Lost::Will(..)
            | Lost::Refused(_)
            | Lost::Unusable(_) => {
                // A broker that is away says nothing of those that are not.
                if self.connection.limit().is_some() || !self.connection.has_several() {
                    self.suspects.interrupted();
                }
                Verdict::Open
            }
        }
    }

    /// Connections end over this message, and the broker takes others.
    fn convict(&mut self, what: Publish, kind: Kind, taken: Taken, why: &Lost, now: Instant) {
        let Some(topic) = self.window.get(what).map(|message| message.sample.route.topic.clone()) else { return };
        let reason = why.to_string();
        let answer = if let Lost::Unanswered(_) = why { Answer::None } else { Answer::Ends };
        // What else is wrong with this one the broker has said: others of its size may be right.
        let may_be_its_size = matches!(why, Lost::Ended(_) | Lost::Blamed(Fault::Size, _));
        if kind != Kind::Confirmed && may_be_its_size {
            let size = self.window.size_of(what);
            self.size_limit().rejected(size, &topic, now);
        }
        let judgement = match (kind, taken) {
            (Kind::Confirmed | Kind::Oversize, _) | (_, Taken::ItsTopic) => Judgement::SetAside,
            (Kind::Unknown | Kind::Blamed, Taken::OtherTopics) => {
                self.refusals.convicted(what, &topic, answer, &reason)
            }
        };
        match judgement {
            Judgement::SetAside => self.give_up(what, kind, &reason),
            Judgement::Again => {
                self.log(Level::Debug, format!("asking for another message of the topic what={what:?} topic={topic}"));
                // What the session has of it is left out until the topic has its turn.
            }
        }
    }

    /// The broker will not take a message that may be on its way in the session.
    pub(super) fn give_up(&mut self, what: Publish, kind: Kind, reason: &str) {
        let Some(seq) = self.window.get(what).map(|message| message.seq) else { return };
        let held = self.held_at(what);
        if kind == Kind::Confirmed {
            let text = format!(
                "the broker has confirmed a message and never completes the exchange; it counts as complete seq={seq} \
                 reason={reason}"
            );
            self.log(Level::Warn, text);
            self.window.take(what);
            self.over(what, How::Completed);
        } else {
            self.set_aside(what, reason.to_owned());
        }
        self.leave_session(what, held);
    }

    /// The quality of service of a message that is on its way in the session; `None`: it is not.
    fn held_at(&self, what: Publish) -> Option<Qos> {
        let is_held = self.window.held().any(|held| held == what);
        self.window.get(what).filter(|_| is_held).map(|message| message.sample.route.qos)
    }

    /// What was on its way in the session at this quality of service is not any more. Its packet identifier must not be used
    /// again while the broker may hold it: the session ends with it.
    fn leave_session(&mut self, what: Publish, held: Option<Qos>) {
        match held {
            None => {}
            Some(Qos::ExactlyOnce) => {
                self.actions.push_back(Action::ForgetSession);
                let released = self.window.release();
                let text = format!(
                    "beginning a new session without the message; others in flight are published again count={released}"
                );
                self.log(Level::Warn, text);
            }
            // Its packet identifier means nothing to the broker once it is not sent any more.
            Some(Qos::AtMostOnce | Qos::AtLeastOnce) => self.actions.push_back(Action::Abandon(what)),
        }
    }
}
