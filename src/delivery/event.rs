//! What the connection tells the publisher, in words of our own.

use crate::config::Limits;
use crate::message::Seq;
use std::fmt;

/// What a publish is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Publish {
    /// A message of the spool.
    Message(Seq),
    /// A message from memory, past a disk that fails.
    Bypass(Seq),
    /// The status message.
    Status,
}

/// What happened on the present connection.
#[derive(Debug)]
pub enum Event {
    Connected(Connected),
    /// The broker has taken what was published.
    Acknowledged(Publish),
    /// The broker has refused what was published, and says why.
    Refused(Publish, Refusal),
    /// There is no connection any more, or none came about.
    Lost(Lost),
    /// The connection was closed as we wanted.
    Disconnected,
}

/// What the broker said when it accepted the connection.
#[derive(Debug, Clone, Copy)]
pub struct Connected {
    pub session_present: bool,
    pub limits: Limits,
}

/// Why the broker did not take what was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It may take it later.
    ForNow(String),
    /// It says nothing of later.
    Flatly(String),
    /// The library keeps the reason to itself, for what a former connection had begun.
    Unsaid,
}

/// Why something was not published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotPublished {
    /// There is no connection any more.
    Lost(Lost),
    /// The broker said that it takes no packet of this size: a connection would end over it.
    TooLarge(String),
}

/// Why a connection ended or did not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// Trying again may help.
    Passing(String),
    /// Trying again at this broker will help, for it had a session of ours to end first.
    Again(String),
    /// The broker says that another one is to be used. Trying again may help, elsewhere sooner than here.
    Moved(String),
    /// The other side, or something between, ended it. Trying again may help, unless it was because of a message.
    Ended(String),
    /// The broker ended it because of a packet that it got.
    Blamed(String),
    /// The broker refuses the credentials, the client id or the protocol version: trying again cannot help.
    Refused(String),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::Passing(reason)
            | Lost::Again(reason)
            | Lost::Moved(reason)
            | Lost::Ended(reason)
            | Lost::Blamed(reason)
            | Lost::Refused(reason) => f.write_str(reason),
        }
    }
}
