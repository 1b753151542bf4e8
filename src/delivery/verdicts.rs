//! What follows when connections end over a message: it is set aside, its topic waits, or its exchange counts as complete.

use super::Delivery;
use super::case::{Control, Kind, Taken};
use super::event::{Fault, Lost, Publish};
use super::refusals::{Answer, Judgement};
use super::suspects::{Flight, Verdict};
use super::unanswered::Overdue;
use log::Level;
use std::time::Instant;

impl Delivery {
    /// Finds out whether a connection has ended over a message; what that leads to.
    pub(super) fn conclude(&mut self, why: &Lost, flight: Flight, overdue: &[Overdue], now: Instant) -> Verdict {
        match why {
            Lost::Unanswered(reason) if self.unanswered(overdue, reason, now) => Verdict::Open,
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
}
