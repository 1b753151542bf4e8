//! What is tried where the broker refuses everything, or everything of a topic: a control, then one message after a delay
//! that grows. Pure.

use super::backoff::Backoff;
use super::event::Publish;
use crate::config::{AtMax, Retry};
use std::time::Instant;

/// How many refusals in a row make one ask whether anything is taken.
const ROW: u32 = 3;
/// How often the oldest message of a topic that gets no answer is tried before another one is, which may overtake it.
const TRIES_IN_ORDER: u32 = 8;
/// Failures of a back-off when the first wait begins.
const FIRST_WAIT: u32 = 2;

/// The refusals of one scope.
#[derive(Debug)]
pub struct Tries {
    pub stage: Stage,
    /// Refusals since something was accepted.
    refused: u32,
    /// How many messages were accepted.
    pub accepted: u64,
    backoff: Backoff,
    pub reason: String,
    /// Whether it was told that everything is refused.
    pub is_told: bool,
    /// Over how many messages of the topic in a row connections ended, and they were set aside.
    pub set_aside: u32,
    /// What becomes of the messages, as far as is known.
    fate: Fate,
    /// How many messages in a row were tried and got no answer.
    in_vain: u32,
}

/// What becomes of messages that a broker does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// They are answered.
    Answered,
    /// They get no answer, and connections wait for it in vain.
    Unanswered,
    /// Connections end over them.
    EndsConnections,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Messages are published.
    Open,
    /// Nothing but a message that was not refused yet, to see whether the broker accepts anything.
    Control(Option<Publish>),
    /// As above, but there is none: until then, or until one comes.
    Lacking(Instant),
    /// That one was refused as well.
    Exhausted,
    /// Nothing until then.
    Held(Instant),
    /// One message, to see whether that has changed.
    Probe(Option<Publish>),
}

/// What shows that more than one message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Nothing: there was no other one, or the reason says that it passes.
    Guess,
    /// Another one was refused as well, or the broker takes those of other topics.
    Control,
}

/// The broker, or a topic, refuses everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// `None`: every topic.
    pub topic: Option<String>,
    pub reason: String,
    /// When one message is tried.
    pub until: Instant,
    /// Whether nothing was told of it yet.
    pub is_news: bool,
}

impl Tries {
    pub fn new(retry: &Retry) -> Self {
        let backoff = Backoff::new(Retry { at_max: AtMax::Hold, ..retry.clone() });
        Self {
            stage: Stage::Open,
            refused: 0,
            accepted: 0,
            backoff,
            reason: String::new(),
            is_told: false,
            set_aside: 0,
            fate: Fate::Answered,
            in_vain: 0,
        }
    }

    pub fn is_holding(&self) -> bool {
        self.stage != Stage::Open
    }

    /// Whether the next message is to show whether the broker accepts anything.
    pub fn seeks_control(&self) -> bool {
        matches!(self.stage, Stage::Control(None) | Stage::Lacking(_))
    }

    /// Whether the next message is to show whether the broker takes it, or anything.
    pub fn seeks_try(&self) -> bool {
        self.seeks_control() || self.stage == Stage::Probe(None)
    }

    /// Whether this message is in flight to show that.
    pub fn is_try(&self, what: Publish) -> bool {
        self.stage == Stage::Control(Some(what)) || self.stage == Stage::Probe(Some(what))
    }

    /// When one is to be tried again: ever later.
    pub fn delay(&mut self, now: Instant, random: f64) -> Instant {
        // The retry at once was the control.
        now + self.backoff.fail_slowly(random)
    }

    /// What is to be told of the wait for the next try: nothing where it is the first, and nobody knows whether others are
    /// refused as well.
    pub fn tell(&mut self, topic: Option<&str>, until: Instant, proof: Proof) -> Option<Hold> {
        if proof == Proof::Guess && !self.is_told && self.backoff.failures() <= FIRST_WAIT {
            return None;
        }
        let is_news = !std::mem::replace(&mut self.is_told, true);
        Some(Hold { topic: topic.map(str::to_owned), reason: self.reason.clone(), until, is_news })
    }

    /// Something was accepted; whether it was told before that everything is refused.
    pub fn accept(&mut self) -> bool {
        self.accepted += 1;
        (self.stage, self.refused) = (Stage::Open, 0);
        self.backoff.succeed();
        (self.set_aside, self.fate, self.in_vain) = (0, Fate::Answered, 0);
        std::mem::take(&mut self.is_told)
    }

    /// Connections end over this message, and not over those of other topics: asks for another one of this topic.
    pub fn convict(&mut self, what: Publish, reason: &str) {
        reason.clone_into(&mut self.reason);
        self.fate = Fate::EndsConnections;
        self.stage = match self.stage {
            Stage::Control(Some(control)) if control == what => Stage::Exhausted,
            stage @ (Stage::Lacking(_) | Stage::Exhausted | Stage::Held(_)) => stage,
            Stage::Open | Stage::Control(_) | Stage::Probe(_) => Stage::Control(None),
        };
    }

    /// The messages get no answer, while those of other topics do.
    pub fn unanswered(&mut self) {
        if self.fate == Fate::Answered {
            self.fate = Fate::Unanswered;
        }
    }

    /// Whether a connection comes to an end over the messages, instead of an answer.
    pub fn ends_connections(&self) -> bool {
        self.fate != Fate::Answered
    }

    /// A connection has ended; the message that was being tried, if that is the answer.
    pub fn ended(&mut self) -> Option<Publish> {
        let (stage, tried) = match self.stage {
            _ if !self.ends_connections() => return None,
            Stage::Control(Some(control)) => (Stage::Exhausted, control),
            Stage::Probe(Some(probe)) => (self.after_probe(), probe),
            Stage::Open
            | Stage::Control(None)
            | Stage::Lacking(_)
            | Stage::Exhausted
            | Stage::Held(_)
            | Stage::Probe(None) => return None,
        };
        self.stage = stage;
        Some(tried)
    }

    /// What follows a message that was tried in vain. Where messages get no answer, the oldest is tried again and again, for
    /// the queue behind them may be away, and they are to arrive in order when it is back.
    fn after_probe(&mut self) -> Stage {
        self.in_vain = self.in_vain.saturating_add(1);
        let is_in_order = self.fate == Fate::Unanswered && !self.in_vain.is_multiple_of(TRIES_IN_ORDER);
        if is_in_order { Stage::Exhausted } else { Stage::Control(None) }
    }

    pub fn refuse(&mut self, what: Publish, reason: &str) {
        self.refused = self.refused.saturating_add(1);
        reason.clone_into(&mut self.reason);
        match self.stage {
            Stage::Open if self.refused >= ROW => self.stage = Stage::Control(None),
            Stage::Probe(Some(probe)) if probe == what => self.stage = Stage::Control(None),
            Stage::Control(Some(control)) if control == what => self.stage = Stage::Exhausted,
            Stage::Open
            | Stage::Control(_)
            | Stage::Lacking(_)
            | Stage::Exhausted
            | Stage::Held(_)
            | Stage::Probe(_) => {}
        }
    }

    pub fn allows(&self, is_refused: bool) -> bool {
        match self.stage {
            Stage::Open | Stage::Probe(None) => true,
            Stage::Control(None) | Stage::Lacking(_) => !is_refused,
            Stage::Control(Some(_)) | Stage::Exhausted | Stage::Probe(Some(_)) | Stage::Held(_) => false,
        }
    }

    /// Notes that a message was published; whether it is the one that was to be tried.
    pub fn sent(&mut self, what: Publish) -> bool {
        match &mut self.stage {
            Stage::Control(sent @ None) | Stage::Probe(sent @ None) => {
                *sent = Some(what);
                true
            }
            Stage::Lacking(_) => {
                self.stage = Stage::Control(Some(what));
                true
            }
            Stage::Open | Stage::Control(Some(_)) | Stage::Exhausted | Stage::Probe(Some(_)) | Stage::Held(_) => false,
        }
    }

    /// What was sent is not in flight any more, and was not answered.
    pub fn connection_lost(&mut self) {
        match &mut self.stage {
            Stage::Control(sent) | Stage::Probe(sent) => *sent = None,
            Stage::Open | Stage::Lacking(_) | Stage::Exhausted | Stage::Held(_) => {}
        }
    }

    /// A message is not in flight any more; whether it was the one that is tried.
    pub fn forget(&mut self, what: Publish) -> bool {
        match &mut self.stage {
            Stage::Control(sent) | Stage::Probe(sent) if *sent == Some(what) => sent.take().is_some(),
            Stage::Control(_)
            | Stage::Lacking(_)
            | Stage::Probe(_)
            | Stage::Open
            | Stage::Exhausted
            | Stage::Held(_) => false,
        }
    }

    /// Has the next try be due.
    pub fn hurry(&mut self, now: Instant) {
        if let Stage::Held(until) | Stage::Lacking(until) = &mut self.stage {
            *until = now;
        }
    }

    /// Lets a message be tried when that is due; whether it is.
    pub fn turn(&mut self, now: Instant) -> bool {
        let is_due = matches!(self.stage, Stage::Held(until) | Stage::Lacking(until) if now >= until);
        if is_due {
            self.stage = Stage::Probe(None);
        }
        is_due
    }
}
