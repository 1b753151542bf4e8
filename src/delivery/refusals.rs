//! What follows when the broker refuses a message with a reason: it is tried again, it is set aside, or everything that
//! the broker refuses waits. Pure.
//!
//! A reason is no better proof than a silent end: a broker whose access list is wrong, or whose store is full, refuses
//! every message, and each with a good reason. So a message is set aside only when the broker has just accepted another
//! one, and refuses this one again. Where all are refused, one of them is tried after a delay that grows.
//!
//! "Not authorized" is about a topic: the other message has to be of the same one, and only that topic waits.

use super::event::{Publish, Scope};
use super::tries::{Hold, Proof, Stage, Tries};
use crate::config::Retry;
use crate::planted::{Planted, is_planted};
use std::collections::BTreeMap;
use std::time::Instant;

/// How often the broker refuses a message before it is set aside.
const STRIKES: u32 = 3;
/// How many messages of a topic in a row are set aside because connections end over them, before it is asked whether they do
/// over others as well.
const SET_ASIDE: u32 = 2;
/// Topics that are refused and kept apart; those beyond count as the broker's refusals.
const TOPICS: usize = 256;

/// Who refuses what.
#[derive(Debug)]
pub struct Refusals {
    retry: Retry,
    broker: Tries,
    topics: BTreeMap<String, Tries>,
    /// The messages that were refused and are not over, with their topics.
    messages: BTreeMap<Publish, Refused>,
    /// Whether the control may be of a topic that was refused: no other one waits.
    is_any_topic_control: bool,
    /// Whether so many messages of refused topics wait that others wait behind them.
    is_blocking: bool,
    /// Whether other messages may be published than when that was asked last.
    has_changed: bool,
    /// The place in the configuration of the broker that was connected to last.
    member: usize,
}

/// A message that was refused.
#[derive(Debug)]
struct Refused {
    /// The first time, and each time that others had been accepted in between.
    strikes: u32,
    scope: Scope,
    topic: String,
    /// How many others had been accepted when it was refused last.
    accepted: u64,
}

/// What the broker does about a message that it does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It ends the connection.
    Ends,
    /// Nothing.
    None,
}

/// What follows from a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// The message is published again, in its turn.
    Again,
    /// The broker accepts others, and not this one.
    SetAside,
}

/// Every message of a topic, or of any, in words.
pub fn every_message(topic: Option<&str>) -> String {
    topic.map_or_else(|| "every message".to_owned(), |topic| format!("every message of {topic}"))
}

/// Whether a message of this topic was refused, and is not over.
fn is_refused_topic(messages: &BTreeMap<Publish, Refused>, topic: &str) -> bool {
    messages.values().any(|refused| refused.topic == topic)
}

impl Refusals {
    /// Nothing is refused. `retry` gives the delays between tries; they never end.
    pub fn new(retry: &Retry) -> Self {
        Self {
            broker: Tries::new(retry),
            topics: BTreeMap::new(),
            messages: BTreeMap::new(),
            is_any_topic_control: false,
            is_blocking: false,
            has_changed: true,
            member: 0,
            retry: retry.clone(),
        }
    }

    /// Whether this message may be published now.
    pub fn allows(&self, what: Publish, topic: &str) -> bool {
        if self.is_idle() {
            return true;
        }
        let refused = self.messages.get(&what).map(|refused| refused.scope);
        let is_control = self.broker.seeks_control();
        let may_be_control = || self.is_any_topic_control || !is_refused_topic(&self.messages, topic);
        self.broker.allows(refused.is_some())
            && (!is_control || may_be_control())
            && self.topics.get(topic).is_none_or(|row| row.allows(refused == Some(Scope::Topic)))
    }

    /// Whether this was refused, or not answered, and is not over.
    pub fn is_refused(&self, what: Publish) -> bool {
        self.messages.contains_key(&what)
    }

    /// Whether a connection must not resume this, for connections end over it or its like.
    pub fn leaves_out(&self, what: Publish, topic: &str) -> bool {
        self.topics.get(topic).is_some_and(|row| row.ends_connections() && !row.allows(self.is_refused(what)))
    }

    /// Whether nothing was refused of late.
    fn is_idle(&self) -> bool {
        self.messages.is_empty() && self.topics.is_empty() && !self.broker.is_holding()
    }

    /// Whether messages wait because all are refused, or that is being found out.
    pub fn is_holding(&self) -> bool {
        self.broker.is_holding() || (!self.topics.is_empty() && self.topics.values().any(Tries::is_holding))
    }

    /// Whether [`Refusals::allows`] may give other answers than when this was asked last.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.has_changed)
    }

    /// Whether messages that are not refused may be behind those that are, and may be published.
    pub fn reads_on(&self) -> bool {
        self.is_holding() && !matches!(self.broker.stage, Stage::Exhausted | Stage::Held(_))
    }

    /// Notes that there is no room to read on; whether that is news.
    pub fn blocks(&mut self) -> bool {
        self.reads_on() && !std::mem::replace(&mut self.is_blocking, true)
    }

    /// Whether the next message of this topic shows whether the broker takes anything.
    pub fn is_to_be_a_try(&self, topic: &str) -> bool {
        self.is_holding() && (self.broker.seeks_try() || self.topics.get(topic).is_some_and(Tries::seeks_try))
    }

    /// Whether this is in flight to show that.
    pub fn is_try(&self, what: Publish) -> bool {
        self.is_holding() && self.topics.values().chain([&self.broker]).any(|row| row.is_try(what))
    }

    /// A message was published.
    pub fn sent(&mut self, what: Publish, topic: &str) {
        if !self.is_holding() {
            return;
        }
        self.has_changed |= self.broker.sent(what);
        if let Some(row) = self.topics.get_mut(topic) {
            self.has_changed |= row.sent(what);
        }
    }

    /// The broker has accepted a message; what it refused before, when it refused everything.
    pub fn accepted(&mut self, what: Publish, topic: &str) -> Vec<Option<String>> {
        if self.is_idle() {
            return Vec::new();
        }
        self.has_changed |= self.messages.remove(&what).is_some() || self.broker.is_holding();
        let mut opened = Vec::new();
        if self.broker.accept() {
            opened.push(None);
        }
        let row = self.topics.get_mut(topic);
        self.has_changed |= row.is_some();
        if let Some(row) = row
            && row.accept()
        {
            opened.push(Some(topic.to_owned()));
            self.is_blocking = false;
        }
        self.tidy();
        opened
    }

    /// The broker has refused a message; what follows for it.
    pub fn refused(&mut self, what: Publish, topic: &str, scope: Scope, reason: &str) -> Judgement {
        self.has_changed = true;
        let scope = match scope {
            Scope::Topic if self.topics.contains_key(topic) || self.topics.len() < TOPICS => Scope::Topic,
            Scope::Topic | Scope::Broker => Scope::Broker,
        };
        let row = match scope {
            Scope::Topic => self.topics.entry(topic.to_owned()).or_insert_with(|| Tries::new(&self.retry)),
            Scope::Broker => &mut self.broker,
        };
        let accepted = row.accepted;
        let refused = self.messages.entry(what).or_insert_with(|| Refused {
            strikes: 0,
            scope,
            topic: topic.to_owned(),
            accepted,
        });
        let accepts_others = refused.scope == scope && accepted > refused.accepted;
        (refused.accepted, refused.scope) = (accepted, scope);
        let accepts_others = accepts_others || is_planted(Planted::SetAsideWithoutControl);
        if refused.strikes == 0 || accepts_others {
            refused.strikes += 1;
        }
        if refused.strikes >= STRIKES && !is_planted(Planted::NeverSetAside) {
            return Judgement::SetAside;
        }
        row.refuse(what, reason);
        // It may have been another scope's try as well, which is not answered by this: another message is tried there.
        if !is_planted(Planted::TryForgotten) {
            self.forget_try(what);
        }
        Judgement::Again
    }

    /// The broker takes messages of other topics, and not this one. Where connections end over it, it is set aside, and so is
    /// the next one of its topic. After that, and where there is no answer, only one is that the broker does not take right
    /// before and after another one of this topic.
    pub fn convicted(&mut self, what: Publish, topic: &str, answer: Answer, reason: &str) -> Judgement {
        if !self.topics.contains_key(topic) && self.topics.len() >= TOPICS {
            return Judgement::SetAside;
        }
        self.has_changed = true;
        let row = self.topics.entry(topic.to_owned()).or_insert_with(|| Tries::new(&self.retry));
        if answer == Answer::Ends && row.set_aside < SET_ASIDE {
            row.set_aside += 1;
            return Judgement::SetAside;
        }
        let before = self.messages.get(&what).filter(|refused| refused.scope == Scope::Topic);
        if before.is_some_and(|refused| row.accepted > refused.accepted) {
            return Judgement::SetAside;
        }
        row.convict(what, reason);
        let refused = Refused { strikes: 1, scope: Scope::Topic, topic: topic.to_owned(), accepted: row.accepted };
        self.messages.insert(what, refused);
        Judgement::Again
    }

    /// The broker has taken messages of other topics, and left this one unanswered; whether it has taken another one of its topic
    /// since it did so before.
    pub fn unanswered(&mut self, what: Publish, topic: &str) -> bool {
        let accepted = self.topics.get(topic).map_or(0, |row| row.accepted);
        let refused = Refused { strikes: 0, scope: Scope::Topic, topic: topic.to_owned(), accepted };
        let before = self.messages.insert(what, refused).filter(|refused| refused.scope == Scope::Topic);
        self.has_changed = true;
        before.is_some_and(|before| accepted > before.accepted)
    }

    /// The connection may have ended over a message; whether that answers a try of topics over whose messages they end.
    pub fn ended_over_a_try(&mut self) -> bool {
        let mut is_answered = false;
        for (topic, row) in &mut self.topics {
            let Some(tried) = row.ended() else { continue };
            is_answered = true;
            let refused = Refused { strikes: 0, scope: Scope::Topic, topic: topic.clone(), accepted: row.accepted };
            self.messages.entry(tried).or_insert(refused);
        }
        self.has_changed |= is_answered;
        is_answered
    }

    /// Holds a topic that the broker takes nothing of for now; what is to be told.
    pub fn hold_topic(&mut self, topic: &str, reason: &str, proof: Proof, now: Instant, random: f64) -> Option<Hold> {
        self.has_changed = true;
        let row = match self.topics.len() < TOPICS || self.topics.contains_key(topic) {
            true => self.topics.entry(topic.to_owned()).or_insert_with(|| Tries::new(&self.retry)),
            false => &mut self.broker,
        };
        if let Stage::Held(_) = row.stage {
            return None;
        }
        reason.clone_into(&mut row.reason);
        // What the session has of a topic that gets no answer would take the place of others.
        if proof == Proof::Control {
            row.unanswered();
        }
        let until = row.delay(now, random);
        row.stage = Stage::Held(until);
        row.tell(Some(topic), until, proof)
    }

    /// Holds each scope that is to try a message and has none that it could try, or whose control was refused. `has`:
    /// whether such a message waits, by its topic.
    pub fn settle(
        &mut self,
        now: Instant,
        mut random: impl FnMut() -> f64,
        has: impl Fn(&dyn Fn(Publish, &str) -> bool) -> bool,
    ) -> Vec<Hold> {
        if !self.is_holding() {
            return Vec::new();
        }
        let mut holds = Vec::new();
        let messages = &self.messages;
        let is_other = |what: Publish, topic: &str| !messages.contains_key(&what) && !is_refused_topic(messages, topic);
        let is_control = self.broker.seeks_control();
        if is_control && self.is_any_topic_control == has(&is_other) {
            self.is_any_topic_control = !self.is_any_topic_control;
            self.has_changed = true;
        }
        let rows = self.topics.iter_mut().map(|(topic, row)| (Some(topic.as_str()), row));
        for (topic, row) in rows.chain([(None, &mut self.broker)]) {
            self.has_changed |= row.turn(now);
            let is_new = |what: Publish, its: &str| {
                !messages.contains_key(&what) && topic.is_none_or(|topic: &str| its == topic)
            };
            let is_without = row.stage == Stage::Control(None) && !has(&is_new);
            if is_without || row.stage == Stage::Exhausted {
                self.has_changed = true;
                let until = row.delay(now, random());
                // The reason says it of a topic.
                let proof = if is_without && topic.is_none() { Proof::Guess } else { Proof::Control };
                row.stage = if is_without { Stage::Lacking(until) } else { Stage::Held(until) };
                holds.extend(row.tell(topic, until, proof));
            }
        }
        holds
    }

    /// Has what waits for its next try be tried.
    pub fn hurry(&mut self, now: Instant) {
        self.topics.values_mut().chain([&mut self.broker]).for_each(|row| row.hurry(now));
    }

    /// When a message is to be tried.
    pub fn deadline(&self) -> Option<Instant> {
        let until = |row: &Tries| match row.stage {
            Stage::Held(until) | Stage::Lacking(until) => Some(until),
            Stage::Open | Stage::Control(_) | Stage::Exhausted | Stage::Probe(_) => None,
        };
        self.topics.values().chain([&self.broker]).filter_map(until).min()
    }

    /// What is refused altogether, and why: for the status. `None`: nothing is.
    pub fn summary(&self) -> Option<String> {
        let held = |row: &Tries| row.is_told;
        let refuses = |topic, row: &Tries| format!("the broker refuses {}: {}", every_message(topic), row.reason);
        if held(&self.broker) {
            return Some(refuses(None, &self.broker));
        }
        let mut topics = self.topics.iter().filter(|(_, row)| held(row));
        let (topic, row) = topics.next()?;
        let more = topics.count();
        let more = if more == 0 { String::new() } else { format!(" (and {more} more topics)") };
        Some(refuses(Some(topic.as_str()), row) + &more)
    }

    /// A message is over, by whatever way.
    pub fn forget(&mut self, what: Publish) {
        if self.is_idle() {
            return;
        }
        self.has_changed |= self.messages.remove(&what).is_some();
        self.forget_try(what);
        self.tidy();
    }

    /// A message is not being tried any more: its answer says nothing of what it was tried for.
    pub fn forget_try(&mut self, what: Publish) {
        for row in self.topics.values_mut().chain([&mut self.broker]) {
            self.has_changed |= row.forget(what);
        }
    }

    /// There is a connection to this broker: what another one has taken says nothing of what this one refuses.
    pub fn connected(&mut self, member: usize) {
        if std::mem::replace(&mut self.member, member) == member {
            return;
        }
        for refused in self.messages.values_mut() {
            let row = if refused.scope == Scope::Topic { self.topics.get(&refused.topic) } else { Some(&self.broker) };
            refused.accepted = row.map_or(0, |row| row.accepted);
        }
    }

    /// What is in flight was not answered.
    pub fn connection_lost(&mut self) {
        self.has_changed = true;
        self.broker.connection_lost();
        self.topics.values_mut().for_each(Tries::connection_lost);
    }

    /// Forgets topics that nothing is held against.
    fn tidy(&mut self) {
        let messages = &self.messages;
        self.topics.retain(|topic, row| row.is_holding() || row.set_aside > 0 || is_refused_topic(messages, topic));
    }
}
