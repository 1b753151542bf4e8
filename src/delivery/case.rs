//! A message that connections may have ended over, and how many tries and strikes make it guilty. Pure.

use super::event::Publish;

/// How often connections must end over a suspect that is published alone before a control is tried.
pub const TRIES: u32 = 3;
/// As [`TRIES`], where the library sends the suspect with all that the session has in flight, as soon as there is a
/// connection.
pub const TRIES_RESUMING: u32 = 10;
/// As [`TRIES`], where the control would be of the suspect's topic; doubled each time that it did not help.
const TRIES_IN_ORDER: u32 = 8;
/// How often [`TRIES_IN_ORDER`] is doubled.
const DOUBLINGS: u32 = 5;
/// How often a connection must end over a suspect after a control was taken.
const STRIKES: u32 = 3;

/// A message that connections may have ended over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    pub suspect: Publish,
    /// How often a connection ended over it although a control was taken before.
    pub strikes: u32,
    /// Controls that were not taken either.
    pub failed: Vec<Publish>,
    /// How many of them were of the suspect's topic.
    pub in_vain: u32,
    pub kind: Kind,
    /// What the broker took although it did not take the suspect.
    pub taken: Taken,
}

/// What is known of a suspect beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Unknown,
    /// The broker has confirmed it by PUBREC: only the rest of the exchange can be what connections end over, and order is
    /// not at stake any more.
    Confirmed,
    /// The broker says that a packet was bad; maybe this one.
    Blamed,
    /// It is as large as messages that connections have ended over.
    Oversize,
}

/// What the broker has taken although it did not take, or not answer, something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Taken {
    /// The status message, or messages of other topics.
    OtherTopics,
    /// A message of its topic.
    ItsTopic,
}

/// What can be published as a control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Nothing yet.
    None,
    /// The status message.
    Status,
    /// Something that overtakes nothing of its own topic.
    Free,
    /// A message of the suspect's topic alone.
    SameTopic,
}

impl Case {
    /// Nothing is held against it yet.
    pub fn of(suspect: Publish, kind: Kind) -> Self {
        Self { suspect, strikes: 0, failed: Vec::new(), in_vain: 0, kind, taken: Taken::OtherTopics }
    }

    /// How many ends after a control make the suspect guilty.
    pub fn enough_strikes(&self) -> u32 {
        match self.kind {
            Kind::Unknown | Kind::Confirmed | Kind::Blamed => STRIKES,
            Kind::Oversize => 1,
        }
    }

    /// How many ends over the suspect alone come before this control.
    pub fn enough_tries(&self, control: Control, resuming: bool) -> u32 {
        match (self.kind, control) {
            (Kind::Unknown, _) | (_, Control::None) => {}
            (Kind::Confirmed | Kind::Blamed, _) => return TRIES,
            (Kind::Oversize, _) => return 1,
        }
        let tries = match control {
            Control::None => u32::MAX,
            Control::Status | Control::Free => TRIES,
            Control::SameTopic => TRIES_IN_ORDER << self.in_vain.min(DOUBLINGS),
        };
        tries.max(if resuming { TRIES_RESUMING } else { 0 })
    }

    /// A control was not taken either.
    pub fn without_help(mut self, control: Option<(Publish, Control)>) -> Self {
        if let Some((what, control)) = control {
            self.in_vain += u32::from(control == Control::SameTopic);
            self.failed.retain(|failed| *failed != what);
            self.failed.push(what);
        }
        self
    }
}
