//! What follows when the broker refuses a message with a reason: it is tried again, it is set aside, or everything that
//! the broker refuses waits. Pure.
//!
//! A reason is no better proof than a silent end: a broker whose access list is wrong, or whose store is full, refuses
//! every message, and each with a good reason. So a message is set aside only when the broker has just accepted another
//! one, and refuses this one again. Where all are refused, one of them is tried after a delay that grows.
//!
//! "Not authorized" is about a topic: the other message has to be of the same one, and only that topic waits.

use super::backoff::{Backoff, Next};
use super::event::{Publish, Scope};
use crate::config::{AtMax, Retry};
use crate::planted::{Planted, is_planted};
use std::collections::BTreeMap;
use std::time::Instant;

/// How often the broker refuses a message before it is set aside, and how many refusals in a row make one ask whether
/// it takes anything.
const STRIKES: u32 = 3;
/// Topics that are refused and kept apart; those beyond count as the broker's refusals.
const TOPICS: usize = 256;

/// Who refuses what.
#[derive(Debug)]
pub struct Refusals {
    retry: Retry,
    broker: Row,
    topics: BTreeMap<String, Row>,
    /// The messages that were refused and are not over, with their topics.
    messages: BTreeMap<Publish, Refused>,
    /// Whether the control may be of a topic that was refused: no other one waits.
    is_any_topic_control: bool,
    /// Whether so many messages of refused topics wait that others wait behind them.
    is_blocking: bool,
    /// Whether other messages may be published than when that was asked last.
    has_changed: bool,
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

/// The refusals of one scope.
#[derive(Debug)]
struct Row {
    stage: Stage,
    /// Refusals since something was accepted.
    refused: u32,
    /// How many messages were accepted.
    accepted: u64,
    backoff: Backoff,
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Messages are published.
    Open,
    /// Nothing but a message that was not refused yet, to see whether the broker accepts anything.
    Control(Option<Publish>),
    /// That one was refused as well.
    Exhausted,
    /// Nothing until then.
    Held(Instant),
    /// One message, to see whether that has changed.
    Probe(Option<Publish>),
}

/// What follows from a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// The message is published again, in its turn.
    Again,
    /// The broker accepts others, and not this one.
    SetAside,
}

/// The broker, or a topic, refuses everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// `None`: every topic.
    pub topic: Option<String>,
    pub reason: String,
    /// When one message is tried.
    pub until: Instant,
    /// How often in a row it came to this.
    pub times: u32,
}

/// Every message of a topic, or of any, in words.
pub fn every_message(topic: Option<&str>) -> String {
    topic.map_or_else(|| "every message".to_owned(), |topic| format!("every message of {topic}"))
}

/// Whether a message of this topic was refused, and is not over.
fn is_refused_topic(messages: &BTreeMap<Publish, Refused>, topic: &str) -> bool {
    messages.values().any(|refused| refused.topic == topic)
}

impl Row {
    fn new(retry: &Retry) -> Self {
        let backoff = Backoff::new(Retry { at_max: AtMax::Hold, ..retry.clone() });
        Self { stage: Stage::Open, refused: 0, accepted: 0, backoff, reason: String::new() }
    }

    fn is_holding(&self) -> bool {
        self.stage != Stage::Open
    }

    /// Holds everything; until when.
    fn hold(&mut self, now: Instant, random: f64) -> Instant {
        // The retry at once was the control.
        let until = match self.backoff.fail_slowly(random) {
            Next::Wait(delay) => now + delay,
            Next::GiveUp => now,
        };
        self.stage = Stage::Held(until);
        until
    }

    /// Something was accepted; whether everything was refused before.
    fn accept(&mut self) -> bool {
        let was_holding = matches!(self.stage, Stage::Held(_) | Stage::Probe(_)) || self.backoff.failures() > 0;
        self.accepted += 1;
        (self.stage, self.refused) = (Stage::Open, 0);
        self.backoff.succeed();
        was_holding
    }

    fn refuse(&mut self, what: Publish, reason: &str) {
        self.refused = self.refused.saturating_add(1);
        reason.clone_into(&mut self.reason);
        match self.stage {
            Stage::Open if self.refused >= STRIKES => self.stage = Stage::Control(None),
            Stage::Probe(Some(probe)) if probe == what => self.stage = Stage::Control(None),
            Stage::Control(Some(control)) if control == what => self.stage = Stage::Exhausted,
            Stage::Open | Stage::Control(_) | Stage::Exhausted | Stage::Held(_) | Stage::Probe(_) => {}
        }
    }

    fn allows(&self, is_refused: bool) -> bool {
        match self.stage {
            Stage::Open | Stage::Probe(None) => true,
            Stage::Control(None) => !is_refused,
            Stage::Control(Some(_)) | Stage::Exhausted | Stage::Probe(Some(_)) | Stage::Held(_) => false,
        }
    }

    /// Notes that a message was published; whether it is the one that was to be tried.
    fn sent(&mut self, what: Publish) -> bool {
        match &mut self.stage {
            Stage::Control(sent @ None) | Stage::Probe(sent @ None) => {
                *sent = Some(what);
                true
            }
            Stage::Open | Stage::Control(Some(_)) | Stage::Exhausted | Stage::Probe(Some(_)) | Stage::Held(_) => false,
        }
    }

    /// What was sent is not in flight any more, and was not answered.
    fn connection_lost(&mut self) {
        match &mut self.stage {
            Stage::Control(sent) | Stage::Probe(sent) => *sent = None,
            Stage::Open | Stage::Exhausted | Stage::Held(_) => {}
        }
    }

    /// A message is not in flight any more; whether it was the one that is tried.
    fn forget(&mut self, what: Publish) -> bool {
        match &mut self.stage {
            Stage::Control(sent) | Stage::Probe(sent) if *sent == Some(what) => sent.take().is_some(),
            Stage::Control(_) | Stage::Probe(_) | Stage::Open | Stage::Exhausted | Stage::Held(_) => false,
        }
    }

    /// Has the next try be due.
    fn hurry(&mut self, now: Instant) {
        if let Stage::Held(until) = &mut self.stage {
            *until = now;
        }
    }

    /// Lets a message be tried when that is due; whether it is.
    fn turn(&mut self, now: Instant) -> bool {
        let is_due = matches!(self.stage, Stage::Held(until) if now >= until);
        if is_due {
            self.stage = Stage::Probe(None);
        }
        is_due
    }
}

impl Refusals {
    /// Nothing is refused. `retry` gives the delays between tries; they never end.
    pub fn new(retry: &Retry) -> Self {
        Self {
            broker: Row::new(retry),
            topics: BTreeMap::new(),
            messages: BTreeMap::new(),
            is_any_topic_control: false,
            is_blocking: false,
            has_changed: true,
            retry: retry.clone(),
        }
    }

    /// Whether this message may be published now.
    pub fn allows(&self, what: Publish, topic: &str) -> bool {
        if self.is_idle() {
            return true;
        }
        let refused = self.messages.get(&what).map(|refused| refused.scope);
        let is_control = self.broker.stage == Stage::Control(None);
        let may_be_control = || self.is_any_topic_control || !is_refused_topic(&self.messages, topic);
        self.broker.allows(refused.is_some())
            && (!is_control || may_be_control())
            && self.topics.get(topic).is_none_or(|row| row.allows(refused == Some(Scope::Topic)))
    }

    /// Whether nothing was refused of late.
    fn is_idle(&self) -> bool {
        self.messages.is_empty() && !self.is_holding()
    }

    /// Whether messages wait because all are refused, or that is being found out.
    pub fn is_holding(&self) -> bool {
        self.broker.is_holding() || (!self.topics.is_empty() && self.topics.values().any(Row::is_holding))
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
            Scope::Topic => self.topics.entry(topic.to_owned()).or_insert_with(|| Row::new(&self.retry)),
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
        if self.broker.stage == Stage::Control(None) && self.is_any_topic_control == has(&is_other) {
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
                let until = row.hold(now, random());
                let times = row.backoff.failures() - 1;
                holds.push(Hold { topic: topic.map(str::to_owned), reason: row.reason.clone(), until, times });
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
        let until = |row: &Row| if let Stage::Held(until) = row.stage { Some(until) } else { None };
        self.topics.values().chain([&self.broker]).filter_map(until).min()
    }

    /// What is refused altogether, and why: for the status. `None`: nothing is.
    pub fn summary(&self) -> Option<String> {
        let held = |row: &Row| row.is_holding() && row.backoff.failures() > 0;
        let refuses = |topic, row: &Row| format!("the broker refuses {}: {}", every_message(topic), row.reason);
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

    fn forget_try(&mut self, what: Publish) {
        for row in self.topics.values_mut().chain([&mut self.broker]) {
            self.has_changed |= row.forget(what);
        }
    }

    /// What is in flight was not answered.
    pub fn connection_lost(&mut self) {
        self.has_changed = true;
        self.broker.connection_lost();
        self.topics.values_mut().for_each(Row::connection_lost);
    }

    /// Forgets topics that nothing is held against.
    fn tidy(&mut self) {
        let messages = &self.messages;
        self.topics.retain(|topic, row| row.is_holding() || is_refused_topic(messages, topic));
    }
}
